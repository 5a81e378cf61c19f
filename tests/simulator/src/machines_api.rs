//! Defender's machines API (MICROSOFT 3.3): the list, page by page, and one machine by its id.

use serde_json::Value;
use url::form_urlencoded;

use crate::defender::{CONTENT_TYPE, admit, bad_request, error, judge, not_found, unauthorized};
use crate::dice::Dice;
use crate::fault::Fault;
use crate::filter::{FilterError, invalid};
use crate::http::{Body, Chunk, Request, Response};
use crate::log::Trail;
use crate::machines::{EmptyInventory, Item, NextLinks, PastTheEnd};
use crate::query::number;
use crate::refusal::Refused;
use crate::world::World;

/// Either role opens the machines API.
const ROLES: [&str; 2] = ["Machine.Read.All", "Machine.ReadWrite.All"];
const CONTEXT: &str = "https://api.securitycenter.microsoft.com/api/$metadata#Machines";
const TOP_MAXIMUM: usize = 10_000;
const CHUNK: usize = 64 * 1024;

/// The options of one list.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Options {
    top: Option<usize>,
    skip: usize,
}

impl Options {
    /// `$filter` is documented and nobody here needs it; what is not modelled is refused.
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        let mut options = Self::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if seen.contains(&name) {
                return Err(invalid(format!(
                    "Query option '{name}' was specified more than once, but it must be specified at most once."
                )));
            }
            match &*name {
                "$top" => options.top = Some(number(&name, &value, 1, TOP_MAXIMUM)?),
                "$skip" => options.skip = number(&name, &value, 0, usize::MAX)?,
                _ => return Err(FilterError::NotModelled(format!("the query option {name} on machines"))),
            }
            seen.push(name);
        }
        Ok(options)
    }

    /// A single machine takes none.
    pub(crate) fn parse_single(text: &str) -> Result<(), FilterError> {
        match form_urlencoded::parse(text.as_bytes()).next() {
            None => Ok(()),
            Some((name, _)) => Err(FilterError::NotModelled(format!("the query option {name} on a single machine"))),
        }
    }
}

pub(crate) fn list(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    fault: &Fault,
    trail: &mut Trail,
) -> Result<Response, Refused> {
    let options = judge(Options::parse(request.query()))?;
    let tenant = admit(world, dice, request, &ROLES, trail)?;
    let options = options.map_err(|message| Refused::Answer(bad_request(&message, dice)))?;
    let Some(tenant) = world.tenant(&tenant) else { return Err(Refused::Answer(unauthorized(dice, "Unauthorized"))) };
    let machines = &mut tenant.machines;

    let total = machines.listed().count();
    let past_the_end = options.skip > 0 && options.skip >= total;
    if total == 0 && machines.empty == EmptyInventory::NotFound
        || past_the_end && machines.past_the_end == PastTheEnd::NotFound
    {
        machines.apply_next_change();
        return Err(Refused::Answer(error(404, "ResourceNotFound", "No recent machines were found.", &dice.guid())));
    }
    let size = options.top.unwrap_or(usize::MAX).min(machines.page_size);
    let skip = if machines.past_the_end == PastTheEnd::FirstPage { 0 } else { options.skip };
    let items: Vec<Item> = machines.listed().skip(skip).take(size).collect();
    let seen = skip.saturating_add(items.len());
    let next_link = match fault {
        Fault::NextLink(link) => Some(link.clone()),
        // `$top` caps the whole list, so behind it there is nothing more to be had (PAINS 17).
        _ if options.top.is_none() && machines.next_links == NextLinks::Always && seen < total => {
            let origin = request.origin("https://api.securitycenter.microsoft.com");
            Some(format!("{origin}{}?$skip={seen}", request.path()))
        }
        _ => None,
    };
    machines.apply_next_change();
    Ok(Response::new(200, CONTENT_TYPE, page(items, next_link)))
}

pub(crate) fn one(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    id: &str,
    trail: &mut Trail,
) -> Result<Response, Refused> {
    let query = judge(Options::parse_single(request.query()))?;
    let tenant = admit(world, dice, request, &ROLES, trail)?;
    query.map_err(|message| Refused::Answer(bad_request(&message, dice)))?;
    let Some(tenant) = world.tenant(&tenant) else { return Err(Refused::Answer(unauthorized(dice, "Unauthorized"))) };
    let Some(item) = tenant.machines.item(id) else {
        return Err(Refused::Answer(not_found(dice, "Machine", id)));
    };
    let mut machine = Vec::new();
    item.write(&mut machine);
    if let Some(members) = machine.strip_prefix(b"{") {
        machine = [format!(r#"{{"@odata.context":"{CONTEXT}/$entity","#).as_bytes(), members].concat();
    }
    Ok(Response::new(200, CONTENT_TYPE, machine))
}

/// Written while it is read, so that 100,000 machines cost one chunk of memory.
fn page(items: Vec<Item>, next_link: Option<String>) -> Body {
    let mut items = items.into_iter();
    let mut text = format!(r#"{{"@odata.context":"{CONTEXT}","value":["#).into_bytes();
    let (mut first, mut over) = (true, false);
    Body::lazy(std::iter::from_fn(move || {
        if over {
            return None;
        }
        while text.len() < CHUNK {
            let Some(item) = items.next() else {
                text.push(b']');
                if let Some(link) = &next_link {
                    text.extend_from_slice(format!(r#","@odata.nextLink":{}"#, Value::from(link.as_str())).as_bytes());
                }
                text.push(b'}');
                over = true;
                break;
            };
            if !first {
                text.push(b',');
            }
            first = false;
            item.write(&mut text);
        }
        Some(Chunk::Data(std::mem::take(&mut text)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_top_and_skip_and_no_other_option() {
        assert_eq!(Options::parse("$top=5&$skip=10"), Ok(Options { top: Some(5), skip: 10 }));
        for text in ["$top=0", "$top=10001", "$skip=-1", "$skip=1&$skip=2"] {
            assert!(matches!(Options::parse(text), Err(FilterError::Invalid(_))), "{text}");
        }
        for text in ["$filter=id eq 'x'", "$expand=x", "$select=id", "$orderby=id", "$count=true", "skip=1"] {
            assert!(matches!(Options::parse(text), Err(FilterError::NotModelled(_))), "{text}");
        }
        assert!(Options::parse_single("").is_ok());
        assert!(matches!(Options::parse_single("$expand=x"), Err(FilterError::NotModelled(_))));
    }
}
