//! What keeps us from a tenant, each thing beside the field of a form that it belongs to.

use schemars::JsonSchema;
use serde::Serialize;

use super::Feed;
use crate::microsoft::token::{EntraError, Refusal, TokenError};

/// What an operator gives to connect a tenant, as the JSON API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Field {
    #[serde(rename = "account")]
    Account,
    #[serde(rename = "tenant_id")]
    TenantId,
    #[serde(rename = "client_id")]
    ClientId,
    #[serde(rename = "credential")]
    Credential,
    /// Also what the tenant itself lacks: a role, a licence.
    #[serde(rename = "feeds")]
    Feeds,
    #[serde(rename = "storage.account_name")]
    StorageAccount,
    #[serde(rename = "storage.queue_name")]
    StorageQueue,
    #[serde(rename = "region")]
    Region,
}

/// One thing that is missing, and who must do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Missing {
    pub field: Field,
    /// The feed that it keeps from working; none where it is no feed's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed: Option<Feed>,
    /// Entra's number, as in AADSTS700016.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    pub detail: String,
}

impl Missing {
    pub fn of(field: Field, detail: impl Into<String>) -> Self {
        Self { field, feed: None, code: None, detail: detail.into() }
    }

    pub(super) fn of_feed(feed: Feed, field: Field, detail: impl Into<String>) -> Self {
        Self { feed: Some(feed), ..Self::of(field, detail) }
    }

    /// Why there is no token for this feed.
    pub(super) fn of_token(feed: Feed, error: &TokenError, detail: impl Into<String>) -> Self {
        let code = match error {
            TokenError::Refused(error) => error.code,
            _ => None,
        };
        Self { code, ..Self::of_feed(feed, field(error, feed), detail) }
    }
}

/// Everything that is missing, each once, with the feeds that it keeps from working.
pub fn lines(missing: &[Missing]) -> Vec<String> {
    let mut lines: Vec<(Vec<&str>, &str)> = Vec::new();
    for Missing { feed, detail, .. } in missing {
        let feed = feed.map(Feed::name);
        match lines.iter_mut().find(|(_, known)| known == detail) {
            Some((feeds, _)) if feed.is_some_and(|feed| feeds.contains(&feed)) => {}
            Some((feeds, _)) => feeds.extend(feed),
            None => lines.push((feed.into_iter().collect(), detail)),
        }
    }
    let line = |(feeds, detail): (Vec<&str>, &str)| match feeds.as_slice() {
        [] => detail.to_owned(),
        feeds => format!("{}: {detail}", feeds.join(", ")),
    };
    lines.into_iter().map(line).collect()
}

/// Which field an operator would look at.
fn field(error: &TokenError, feed: Feed) -> Field {
    match error {
        TokenError::Refused(error) => field_of_refusal(error, feed),
        TokenError::NoApplication { .. } | TokenError::NoIdentity(_) => Field::Credential,
        TokenError::WrongToken(_) | TokenError::Unreachable(_) | TokenError::Platform(_) => Field::Feeds,
    }
}

fn field_of_refusal(error: &EntraError, feed: Feed) -> Field {
    match (error.refusal(), error.code) {
        (Refusal::OurCredential, _) | (Refusal::OurRequest, Some(7_000_216 | 7_000_218)) => Field::Credential,
        (Refusal::NoTenant | Refusal::OtherCloud, _) | (Refusal::OurRequest, Some(900_023)) => Field::TenantId,
        // Approved, but not for what is asked.
        (Refusal::NotConsented, Some(65_001)) => Field::Feeds,
        (Refusal::NotConsented | Refusal::Disabled | Refusal::ConditionalAccess | Refusal::OurRequest, _) => {
            Field::ClientId
        }
        (Refusal::NoDefender, _) if feed == Feed::Telemetry => Field::StorageAccount,
        (Refusal::NoDefender | Refusal::Throttled | Refusal::Transient | Refusal::Unknown, _) => Field::Feeds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_entra_belongs_to_a_field() {
        for (code, expected) in [
            (7_000_215, Field::Credential),
            (7_000_222, Field::Credential),
            (700_027, Field::Credential),
            (700_016, Field::ClientId),
            (7_000_112, Field::ClientId),
            (90_002, Field::TenantId),
            (90_038, Field::TenantId),
            (65_001, Field::Feeds),
            (500_011, Field::Feeds),
            (123_456, Field::Feeds),
        ] {
            let error = EntraError {
                status: 400,
                error: "invalid_client".to_owned(),
                code: Some(code),
                summary: String::new(),
                retry_after: None,
                clock_skew: None,
            };
            let missing = Missing::of_token(Feed::Alerts, &TokenError::Refused(error), "words");
            assert_eq!((missing.field, missing.code), (expected, Some(code)), "AADSTS{code}");
        }
    }

    #[test]
    fn a_line_names_the_feeds_that_share_a_trouble_and_each_trouble_comes_once() {
        let of = |feed, detail: &str| Missing::of_feed(feed, Field::Feeds, detail);
        let missing = [
            of(Feed::Alerts, "a"),
            of(Feed::Machines, "b"),
            of(Feed::Machines, "a"),
            of(Feed::Machines, "b"),
            Missing::of(Field::Credential, "c"),
        ];
        assert_eq!(lines(&missing), ["alerts, machines: a", "machines: b", "c"]);
    }

    #[test]
    fn fields_are_named_as_the_api_names_them() {
        let text = serde_json::to_string(&Missing::of_feed(Feed::Telemetry, Field::StorageQueue, "x")).unwrap();
        assert_eq!(text, r#"{"field":"storage.queue_name","feed":"telemetry","detail":"x"}"#);
    }
}
