//! Defender for Endpoint's API: its requests, and what its refusals mean.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{
    page::{PageEnd, PageSplitter},
    time,
};
use crate::{
    clock::Clock,
    http::{Body, Request},
};

/// Any of these app roles lets us read alerts (MICROSOFT.md 3.2).
pub const ALERT_ROLES: [&str; 2] = ["Alert.Read.All", "Alert.ReadWrite.All"];
/// Any of these lets us read machines (MICROSOFT.md 3.3).
pub const MACHINE_ROLES: [&str; 2] = ["Machine.Read.All", "Machine.ReadWrite.All"];
/// The largest `$top` that Defender takes.
pub const MAX_TOP: usize = 10_000;
/// When a 429 names no time (MICROSOFT.md 3.5).
const DEFAULT_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// One page of `/api/alerts` with `lastUpdateTime` in `(after, until]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertsQuery {
    pub after: Timestamp,
    pub until: Timestamp,
    pub top: usize,
    pub skip: usize,
    pub evidence: bool,
}

/// Spaces go as `%20`: a `+` is a space only to those who read the query as a form.
pub fn alerts_request(base: &Url, query: &AlertsQuery) -> Request {
    let mut url = base.clone();
    url.set_path("/api/alerts");
    let mut text = format!(
        "$filter=lastUpdateTime%20gt%20{}%20and%20lastUpdateTime%20le%20{}&$top={}",
        time::literal(query.after),
        time::literal(query.until),
        query.top
    );
    if query.skip > 0 {
        text.push_str(&format!("&$skip={}", query.skip));
    }
    if query.evidence {
        text.push_str("&$expand=evidence");
    }
    url.set_query(Some(&text));
    Request::get(url)
}

/// The least that can be asked of `/api/machines`. `$top` caps the whole list, so this is for trying access only.
pub fn first_machine_request(base: &Url) -> Request {
    let mut url = base.clone();
    url.set_path(MACHINES);
    url.set_query(Some("$top=1"));
    Request::get(url)
}

/// One alert by its id, with evidence.
pub fn alert_request(base: &Url, id: &str) -> Request {
    let mut url = base.clone();
    url.set_path("");
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().extend(["api", "alerts", id]);
    }
    url.set_query(Some("$expand=evidence"));
    Request::get(url)
}

const MACHINES: &str = "/api/machines";
/// A longer query is no place in a list. The place is kept in the state's item, and few servers take a longer line.
const MAX_CONTINUATION: usize = 8 << 10;

/// Where in the list of machines a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    Start,
    Skip(u64),
    /// The query of a next link.
    Link(String),
}

/// One page of `/api/machines`. There is never a `$top`: it would cap the whole list (PAINS 17).
pub fn machines_request(base: &Url, position: &Position) -> Request {
    let mut url = base.clone();
    url.set_path(MACHINES);
    match position {
        Position::Start => url.set_query(None),
        Position::Skip(skip) => url.set_query(Some(&format!("$skip={skip}"))),
        Position::Link(query) => url.set_query(Some(query)),
    }
    Request::get(url)
}

/// Where a next link of the list of machines leads, if it leads on in that list. Only its query is used: host and path
/// are ours, whatever it says.
pub fn continuation(link: &str) -> Option<Position> {
    let link = Url::parse(link).ok()?;
    let query = link.query().filter(|query| !query.is_empty() && query.len() <= MAX_CONTINUATION)?;
    (link.path() == MACHINES).then(|| Position::Link(query.to_owned()))
}

/// One machine by its id.
pub fn machine_request(base: &Url, id: &str) -> Request {
    let mut url = base.clone();
    url.set_path("");
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.clear().extend(["api", "machines", id]);
    }
    url.set_query(None);
    Request::get(url)
}

/// The elements of a page, read from the wire as they arrive. No page is ever held whole.
#[derive(Debug)]
pub struct Elements {
    body: Option<Body>,
    splitter: PageSplitter,
    received: u64,
    count: usize,
    limits: Limits,
    end: PageEnd,
}

/// What bounds a body that never ends.
#[derive(Debug, Clone)]
pub struct Limits {
    pub bytes: u64,
    pub elements: usize,
    pub clock: Clock,
    pub deadline: Timestamp,
}

impl Elements {
    pub fn new(body: Body, limits: Limits) -> Self {
        let splitter = PageSplitter::default();
        Self { body: Some(body), splitter, received: 0, count: 0, limits, end: PageEnd::default() }
    }

    /// The text of the next element; `None` at the end of a complete page.
    ///
    /// # Errors
    /// A sentence about the service's failure; what came before is good.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(element) = self.splitter.element().map_err(|error| error.to_string())? {
                self.count += 1;
                if self.count > self.limits.elements {
                    return Err(format!("the page holds more than the {} asked for", self.limits.elements));
                }
                return Ok(Some(element.to_vec()));
            }
            let Some(body) = &mut self.body else { return Ok(None) };
            match body.chunk().await.map_err(|error| error.to_string())? {
                Some(chunk) => {
                    self.received += chunk.len() as u64;
                    if self.received > self.limits.bytes || self.limits.clock.now() > self.limits.deadline {
                        return Err("the answer does not end".to_owned());
                    }
                    self.splitter.push(&chunk);
                }
                None => {
                    self.body = None;
                    self.end = std::mem::take(&mut self.splitter).finish().map_err(|error| error.to_string())?;
                    return Ok(None);
                }
            }
        }
    }

    /// Elements received so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether the service announced more behind this page.
    pub fn has_more(&self) -> bool {
        self.end.next_link.is_some()
    }

    /// The link as sent. Its host is anybody's: it is never followed, see [`continuation`].
    pub fn next_link(&self) -> Option<&str> {
        self.end.next_link.as_deref()
    }
}

/// An answer other than 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Throttled {
        pause: SignedDuration,
    },
    /// A stale token at first, the tenant's licence at the second time.
    Unauthorized {
        message: String,
    },
    Forbidden {
        code: String,
        message: String,
    },
    NotFound,
    /// Our request is wrong; asking again changes nothing.
    BadRequest {
        message: String,
    },
    /// 5xx, or an answer that no document knows.
    Unavailable {
        message: String,
    },
}

/// Reads an answer other than 200 (MICROSOFT.md 3.5).
pub fn refusal(status: u16, retry_after: Option<&str>, body: &[u8]) -> Refusal {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |pointer: &str| -> String {
        let text = value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(300).collect()
    };
    let (code, message) = (text("/error/code"), text("/error/message"));
    match status {
        429 => Refusal::Throttled {
            pause: retry_after
                .and_then(|text| text.trim().parse().ok())
                .or_else(|| seconds_in_words(&message))
                .map_or(DEFAULT_PAUSE, |seconds: i64| SignedDuration::from_secs(seconds.clamp(1, 3600))),
        },
        401 => Refusal::Unauthorized { message },
        403 => Refusal::Forbidden { code, message },
        404 => Refusal::NotFound,
        400 => Refusal::BadRequest { message },
        _ => Refusal::Unavailable { message: format!("HTTP {status} {code} {message}").trim_end().to_owned() },
    }
}

/// Whether a body is an error of Defender's own making, and not a gateway's page.
pub fn is_error(body: &[u8]) -> bool {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    value.pointer("/error/code").is_some_and(Value::is_string)
}

/// "You can send requests again in 8 seconds."
fn seconds_in_words(message: &str) -> Option<i64> {
    let (_, rest) = message.split_once("again in ")?;
    rest.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_unquoted_half_open_and_in_ticks() {
        let base = Url::parse("https://api.security.microsoft.com/").unwrap();
        let query = AlertsQuery {
            after: "2026-11-22T02:20:00Z".parse().unwrap(),
            until: "2026-11-22T02:25:00.1234567Z".parse().unwrap(),
            top: 1000,
            skip: 0,
            evidence: true,
        };
        assert_eq!(
            alerts_request(&base, &query).url.as_str(),
            "https://api.security.microsoft.com/api/alerts?$filter=lastUpdateTime%20gt%202026-11-22T02:20:00.0000000Z\
             %20and%20lastUpdateTime%20le%202026-11-22T02:25:00.1234567Z&$top=1000&$expand=evidence"
        );
        assert_eq!(
            alert_request(&base, "da1_-2/../x?y").url.as_str(),
            "https://api.security.microsoft.com/api/alerts/da1_-2%2F..%2Fx%3Fy?$expand=evidence"
        );
    }

    #[test]
    fn of_a_next_link_only_the_query_is_used_and_only_within_the_list() {
        let base = Url::parse("https://api.security.microsoft.com/").unwrap();
        let request = |position: &Position| machines_request(&base, position).url.to_string();
        assert_eq!(request(&Position::Start), "https://api.security.microsoft.com/api/machines");
        assert_eq!(request(&Position::Skip(7)), "https://api.security.microsoft.com/api/machines?$skip=7");
        let elsewhere = continuation("https://evil.example/api/machines?$skiptoken=a%20b").unwrap();
        assert_eq!(request(&elsewhere), "https://api.security.microsoft.com/api/machines?$skiptoken=a%20b");
        let long = format!("https://api.security.microsoft.com/api/machines?{}", "x".repeat(MAX_CONTINUATION + 1));
        for link in [
            "https://api.security.microsoft.com/api/machines",
            "https://api.security.microsoft.com/api/machines?",
            "https://api.security.microsoft.com/api/alerts?$skip=1",
            "https://api.security.microsoft.com/api/machines/../alerts?$skip=1",
            "/api/machines?$skip=1",
            "nonsense",
            &long,
        ] {
            assert_eq!(continuation(link), None, "{link}");
        }
        assert_eq!(
            machine_request(&base, "../m?1").url.as_str(),
            "https://api.security.microsoft.com/api/machines/..%2Fm%3F1"
        );
    }

    #[test]
    fn a_throttled_answer_tells_its_pause_in_the_header_in_words_or_not_at_all() {
        let words = br#"{"error":{"code":"429","message":"API calls quota exceeded! Maximum allowed 100 per 00:01:00 for the key Destination+TenantID+AppID. You can send requests again in 8 seconds."}}"#;
        for (header, body, seconds) in
            [(Some("17"), words.as_slice(), 17), (None, words, 8), (None, b"<html>", 60), (Some("soon"), b"", 60)]
        {
            let pause = SignedDuration::from_secs(seconds);
            assert_eq!(refusal(429, header, body), Refusal::Throttled { pause });
        }
    }

    #[test]
    fn only_defenders_own_404_is_an_empty_inventory() {
        let theirs =
            br#"{"error":{"code":"ResourceNotFound","message":"No recent machines were found.","target":"t"}}"#;
        assert!(is_error(theirs));
        for body in [b"".as_slice(), b"<html>", b"{}", b"[]", br#"{"error":"not_found"}"#, br#"{"error":{"code":404}}"#]
        {
            assert!(!is_error(body), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn html_where_json_belongs_is_the_services_trouble() {
        assert!(matches!(refusal(502, None, b"<html>Bad Gateway</html>"), Refusal::Unavailable { .. }));
        assert!(matches!(refusal(302, None, b""), Refusal::Unavailable { .. }));
    }
}
