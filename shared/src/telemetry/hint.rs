//! A message of the customer's queue: a hint that a blob exists.
//!
//! Whoever can write into the queue writes these, so a message is believed about nothing but the name of a blob in our
//! container. The URL in it is never used (MICROSOFT.md 4.3).

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::check::PROBE;
use crate::{microsoft::storage::CONTAINER, tenant::TenantId};

/// Azure's longest name of a blob, in characters.
const MAX_NAME: usize = 1024;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// This blob of our container was created.
    Created(String),
    /// Nothing for us: another container, another event, another tenant's blob, a probe of our own.
    NotOurs,
}

/// Why a message is no event. After some deliveries it goes to the quarantine with that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("neither base64 of JSON nor JSON")]
    NotJson,
    #[error("no event: a `subject` and a type are missing")]
    NoEvent,
    #[error("its `subject` is no blob's: {0}")]
    NoBlob(&'static str),
}

/// Event Grid's own schema, and the CloudEvents one, as far as we believe them.
#[derive(Deserialize)]
struct Event {
    subject: String,
    #[serde(rename = "eventType", alias = "type")]
    kind: String,
}

/// Reads a message. Event Grid writes base64 of one event; JSON as it is, and one event in a list, are tolerated.
///
/// # Errors
/// [`Unreadable`] when it is no event, or names what cannot be a blob.
pub fn parse(tenant: TenantId, text: &str) -> Result<Hint, Unreadable> {
    let text = text.trim();
    if text == PROBE {
        return Ok(Hint::NotOurs);
    }
    let decoded = STANDARD.decode(text).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let value: Option<serde_json::Value> = decoded.or_else(|| serde_json::from_str(text).ok());
    let value = match value.ok_or(Unreadable::NotJson)? {
        serde_json::Value::Array(mut events) if events.len() == 1 => events.remove(0),
        other => other,
    };
    let event: Event = serde_json::from_value(value).map_err(|_| Unreadable::NoEvent)?;
    if event.kind != "Microsoft.Storage.BlobCreated" {
        return Ok(Hint::NotOurs);
    }
    let path = event.subject.strip_prefix("/blobServices/default/containers/");
    let (container, name) =
        path.and_then(|path| path.split_once("/blobs/")).ok_or(Unreadable::NoBlob("no such path"))?;
    if container != CONTAINER {
        return Ok(Hint::NotOurs);
    }
    check_name(name).map_err(Unreadable::NoBlob)?;
    Ok(if is_of(tenant, name) { Hint::Created(name.to_owned()) } else { Hint::NotOurs })
}

/// Whether a blob is this tenant's: an account may hold the exports of several. A path of another form is nobody else's.
pub fn is_of(tenant: TenantId, name: &str) -> bool {
    let id = name.strip_prefix("tenantId=").and_then(|rest| rest.split('/').next());
    id.is_none_or(|id| id.eq_ignore_ascii_case(&tenant.to_string()))
}

/// Whether this can be the name of a blob that stays where it is: nothing that climbs, and nothing that some reader of
/// addresses might decode into climbing.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let climbs = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    if name.chars().count() > MAX_NAME {
        Err("too long")
    } else if name.split('/').any(climbs) {
        Err("it climbs")
    } else if name.contains(['\\', '%', '?', '#']) || name.chars().any(char::is_control) {
        Err("it holds what no export writes")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NAME: &str = "tenantId=00000000-0000-4000-8000-0000000000aa/y=2026/m=07/d=18/h=14/m=00/PT1H.json";

    fn tenant() -> TenantId {
        "00000000-0000-4000-8000-0000000000aa".parse().unwrap()
    }

    fn event(container: &str, name: &str) -> serde_json::Value {
        json!({
            "topic": "/subscriptions/x", "subject": format!("/blobServices/default/containers/{container}/blobs/{name}"),
            "eventType": "Microsoft.Storage.BlobCreated", "eventTime": "2026-07-18T14:00:54.7649349Z", "id": "x",
            "data": {"url": "https://evil.example/steal", "contentLength": 0, "new": true}, "dataVersion": "",
        })
    }

    #[test]
    fn a_hint_is_the_name_of_a_blob_however_it_is_wrapped() {
        let grid = event(CONTAINER, NAME);
        let cloud = json!({"specversion": "1.0", "type": "Microsoft.Storage.BlobCreated", "subject": grid["subject"], "source": "/x"});
        for text in [
            STANDARD.encode(grid.to_string()),
            grid.to_string(),
            STANDARD.encode(json!([grid]).to_string()),
            STANDARD.encode(cloud.to_string()),
            format!(" {}\n", STANDARD.encode(grid.to_string())),
        ] {
            assert_eq!(parse(tenant(), &text), Ok(Hint::Created(NAME.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_not_for_us_is_told_from_what_is_broken() {
        let other = NAME.replace("0000000000aa", "0000000000bb");
        for value in [
            event("insights-logs-advancedhunting-deviceevents", NAME),
            event(CONTAINER, &other),
            json!({"subject": "/x", "eventType": "Microsoft.Storage.BlobDeleted"}),
        ] {
            assert_eq!(parse(tenant(), &value.to_string()), Ok(Hint::NotOurs), "{value}");
        }
        assert_eq!(parse(tenant(), PROBE), Ok(Hint::NotOurs));
        for text in ["", "%%%", "e2hhbGY=", "{half", "AAAA"] {
            assert_eq!(parse(tenant(), text), Err(Unreadable::NotJson), "{text}");
        }
        for text in ["{}", "[]", "7", "null", r#"[{"subject":"a"},{}]"#, r#"{"subject":7,"eventType":"x"}"#] {
            assert_eq!(parse(tenant(), text), Err(Unreadable::NoEvent), "{text}");
        }
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_blob() {
        for name in [
            "",
            "../x",
            "a/../b",
            "a//b",
            "/a",
            "a/.",
            "a\\b",
            "a%2e%2e/b",
            "a%2Fb",
            "a\nb",
            "a?sig=x",
            "a#b",
            &"x".repeat(1025),
        ] {
            let text = event(CONTAINER, name).to_string();
            assert!(matches!(parse(tenant(), &text), Err(Unreadable::NoBlob(_))), "{name}");
        }
        for subject in
            ["", "https://evil.example/x", "/blobServices/default/containers/c", "/blobServices/x/containers/c/blobs/n"]
        {
            let mut value = event(CONTAINER, NAME);
            value["subject"] = subject.into();
            assert!(matches!(parse(tenant(), &value.to_string()), Err(Unreadable::NoBlob(_))), "{subject}");
        }
    }
}
