//! The query options of the alerts API (MICROSOFT 3.2).

use url::form_urlencoded;

use crate::filter::{Filter, FilterError, invalid};

/// What the page documents as its maximum.
const PAGE_MAXIMUM: usize = 10_000;

/// The options of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) filter: Option<Filter>,
    /// At most this many alerts; the page maximum where `$top` is not given.
    pub(crate) top: usize,
    pub(crate) skip: usize,
    pub(crate) expand: bool,
}

impl Query {
    /// The options of the list.
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        let mut query = Self { filter: None, top: PAGE_MAXIMUM, skip: 0, expand: false };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if seen.contains(&name) {
                return Err(invalid(format!(
                    "Query option '{name}' was specified more than once, but it must be specified at most once."
                )));
            }
            match &*name {
                "$filter" => query.filter = Some(Filter::parse(&value)?),
                "$top" => query.top = number(&name, &value, 1, PAGE_MAXIMUM)?,
                "$skip" => query.skip = number(&name, &value, 0, usize::MAX)?,
                "$expand" => query.expand = expand(&value)?,
                // The page documents no $orderby, and no order.
                "$orderby" => return Err(invalid("Query option 'OrderBy' is not allowed.".into())),
                _ => return Err(FilterError::NotModelled(format!("the query option {name}"))),
            }
            seen.push(name);
        }
        Ok(query)
    }

    /// The options of a single alert: `$expand` and no other.
    pub(crate) fn parse_single(text: &str) -> Result<bool, FilterError> {
        let mut expanded = false;
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match &*name {
                "$expand" => expanded = expand(&value)?,
                _ => return Err(FilterError::NotModelled(format!("the query option {name} on a single alert"))),
            }
        }
        Ok(expanded)
    }

    /// The same query text from another place on.
    pub(crate) fn with_skip(text: &str, skip: usize) -> String {
        let kept = form_urlencoded::parse(text.as_bytes()).filter(|(name, _)| name != "$skip");
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept)
            .append_pair("$skip", &skip.to_string())
            .finish();
        query.replace("%24", "$").replace('+', "%20")
    }
}

pub(crate) fn number(name: &str, value: &str, least: usize, most: usize) -> Result<usize, FilterError> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|number| digits && (least..=most).contains(number));
    number.ok_or_else(|| {
        invalid(format!("Invalid value '{value}' for {name} query option found: between {least} and {most}."))
    })
}

fn expand(value: &str) -> Result<bool, FilterError> {
    match value {
        "evidence" => Ok(true),
        other => Err(FilterError::NotModelled(format!("$expand={other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_in_either_encoding() {
        let query = Query::parse("%24filter=status+eq+'New'&$top=5&$skip=10&$expand=evidence").unwrap();
        assert_eq!((query.top, query.skip, query.expand), (5, 10, true));
        assert_eq!(query.filter, Query::parse("$filter=status%20eq%20%27New%27").unwrap().filter);
        assert_eq!(Query::parse("").unwrap(), Query { filter: None, top: 10_000, skip: 0, expand: false });
    }

    #[test]
    fn what_the_page_forbids_is_invalid_and_the_rest_not_modelled() {
        for text in ["$top=0", "$top=10001", "$top=-1", "$top=+5", "$top=", "$skip=x", "$orderby=id", "$top=1&$top=1"] {
            assert!(matches!(Query::parse(text), Err(FilterError::Invalid(_))), "{text}");
        }
        for text in ["$select=id", "$count=true", "top=5", "$expand=machine", "$Top=5"] {
            assert!(matches!(Query::parse(text), Err(FilterError::NotModelled(_))), "{text}");
        }
        assert_eq!(Query::parse_single("$expand=evidence"), Ok(true));
        assert!(matches!(Query::parse_single("$top=1"), Err(FilterError::NotModelled(_))));
    }

    #[test]
    fn a_next_link_keeps_the_query_and_moves_on() {
        let next = Query::with_skip("$filter=lastUpdateTime+ge+2026-01-01T00:00:00%2B01:00&$top=5&$skip=5", 10);
        assert_eq!(next, "$filter=lastUpdateTime%20ge%202026-01-01T00%3A00%3A00%2B01%3A00&$top=5&$skip=10");
    }
}
