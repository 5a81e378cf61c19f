//! What the OCSF 1.3.0 classes have in common: how Microsoft's fields find their places, and where the rest goes.
//!
//! Every field of Microsoft's is taken out of the source as it finds its place; what is left over goes to `unmapped`, so
//! nothing can be forgotten. A value that the schema would refuse stays left over.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{microsoft::time, tenant::TenantId};

/// The longest string that OCSF allows where it names a limit, in characters.
const MAX_TEXT: usize = 65_535;

/// How events are written.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub tenant: TenantId,
    pub raw_data: bool,
}

/// Which product says so, about whose tenant.
pub fn metadata(style: Style, uid: &str) -> Value {
    json!({
        "version": "1.3.0",
        "product": { "vendor_name": "Microsoft", "name": "Microsoft Defender for Endpoint" },
        "uid": uid,
        "tenant_uid": style.tenant.to_string(),
    })
}

/// Puts what is left over into `unmapped` and the source's text into `raw_data`, or beside the leftovers as `source`
/// where it is longer than the schema allows. A field of Microsoft's that has this name makes room for it.
pub fn keep_source(event: &mut Value, style: Style, mut left_over: Map<String, Value>, text: &str) {
    if style.raw_data && fits(text) {
        put(event, "raw_data", Some(text.into()));
    } else if style.raw_data
        && let Some(theirs) = left_over.insert("source".to_owned(), text.into())
    {
        let mut name = "_source".to_owned();
        while left_over.contains_key(&name) {
            name.insert(0, '_');
        }
        left_over.insert(name, theirs);
    }
    put(event, "unmapped", (!left_over.is_empty()).then_some(Value::Object(left_over)));
}

/// An enum of Microsoft's as OCSF's number and the text; an unknown one is *Other* (99) with its text.
pub fn coded(from: &mut Map<String, Value>, name: &str, table: &[(&str, u32)]) -> (u32, Value) {
    match from.get(name) {
        None | Some(Value::Null) => {
            drop_null(from, name);
            (0, "Unknown".into())
        }
        Some(Value::String(text)) if fits(text) => {
            let id = table.iter().find(|(known, _)| known == text).map_or(99, |(_, id)| *id);
            (id, take(from, name).unwrap_or_default())
        }
        // Not a string at all: it stays left over as it is.
        Some(other) => (99, other.to_string().chars().take(200).collect::<String>().into()),
    }
}

pub fn take(from: &mut Map<String, Value>, name: &str) -> Option<Value> {
    from.remove(name)
}

/// `null` says nothing that a missing field does not.
pub fn drop_null(from: &mut Map<String, Value>, name: &str) {
    if from.get(name).is_some_and(Value::is_null) {
        from.remove(name);
    }
}

pub fn fits(text: &str) -> bool {
    text.len() <= MAX_TEXT || text.chars().count() <= MAX_TEXT
}

pub fn text_of(from: &mut Map<String, Value>, name: &str) -> Option<Value> {
    drop_null(from, name);
    from.get(name)?.as_str().filter(|text| !text.is_empty() && fits(text))?;
    take(from, name)
}

pub fn integer_of(from: &mut Map<String, Value>, name: &str) -> Option<i64> {
    drop_null(from, name);
    let number = from.get(name)?.as_i64()?;
    take(from, name);
    Some(number)
}

/// Milliseconds since the epoch, as OCSF's `timestamp_t`.
pub fn time_of(from: &mut Map<String, Value>, name: &str) -> Option<Value> {
    drop_null(from, name);
    let at: Timestamp = time::parse(from.get(name)?.as_str()?)?;
    take(from, name);
    Some(at.as_millisecond().into())
}

pub fn put(into: &mut Value, name: &str, value: Option<Value>) {
    if let (Some(map), Some(value)) = (into.as_object_mut(), value) {
        map.insert(name.to_owned(), value);
    }
}

/// OCSF's `hostname_t`.
pub fn is_hostname(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// OCSF's `email_t`, a little stricter.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_fits =
        !local.is_empty() && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
    local_fits && domain.contains('.') && is_hostname(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmapped(text: &str, raw_data: bool) -> Value {
        let style = Style { tenant: "00000000-0000-4000-8000-0000000000aa".parse().unwrap(), raw_data };
        let left_over = serde_json::from_value(json!({"source": 7, "_source": 8})).unwrap();
        let mut event = json!({});
        keep_source(&mut event, style, left_over, text);
        json!([event["unmapped"], event["raw_data"]])
    }

    #[test]
    fn a_field_of_microsofts_that_is_called_source_is_kept_beside_the_text() {
        let theirs = json!({"source": 7, "_source": 8});
        assert_eq!(unmapped("{}", true), json!([theirs, "{}"]));
        let long = "x".repeat(MAX_TEXT + 1);
        assert_eq!(unmapped(&long, true), json!([{"source": long, "_source": 8, "__source": 7}, null]));
        assert_eq!(unmapped(&long, false), json!([theirs, null]));
    }
}
