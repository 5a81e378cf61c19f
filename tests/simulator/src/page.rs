//! A page of alerts as a body that is written while it is read: 10,000 alerts of 30 KB cost one chunk of memory.

use crate::alerts::Item;
use crate::http::{Body, Chunk};

const CHUNK: usize = 64 * 1024;

/// The envelope names the commercial host whatever origin serves it.
pub(crate) const CONTEXT: &str = "https://api.securitycenter.microsoft.com/api/$metadata#Alerts";

pub(crate) fn page(items: Vec<Item>, expand: bool, next_link: Option<String>) -> Body {
    let mut items = items.into_iter();
    let mut text = format!(r#"{{"@odata.context":"{CONTEXT}","value":["#).into_bytes();
    let mut first = true;
    let mut over = false;
    Body::lazy(std::iter::from_fn(move || {
        if over {
            return None;
        }
        while text.len() < CHUNK {
            let Some(item) = items.next() else {
                text.push(b']');
                if let Some(link) = &next_link {
                    text.extend_from_slice(
                        format!(r#","@odata.nextLink":{}"#, serde_json::Value::from(link.as_str())).as_bytes(),
                    );
                }
                text.push(b'}');
                over = true;
                break;
            };
            if !first {
                text.push(b',');
            }
            first = false;
            item.write(expand, &mut text);
        }
        Some(Chunk::Data(std::mem::take(&mut text)))
    }))
}

/// One alert with the context of a single entity.
pub(crate) fn single(item: &Item, expand: bool) -> Vec<u8> {
    let mut alert = Vec::new();
    item.write(expand, &mut alert);
    match alert.strip_prefix(b"{") {
        Some(members) => [format!(r#"{{"@odata.context":"{CONTEXT}/$entity","#).as_bytes(), members].concat(),
        None => alert,
    }
}
