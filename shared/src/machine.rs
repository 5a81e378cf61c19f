//! Machines: a tenant's device inventory from Defender's `/api/machines`, as OCSF events of what changed, each exactly once.
//!
//! `pull` is the operation; everything it decides is in the pure modules beside it: `snapshot` (what we know), `run` (who is
//! missing, who is gone), `progress` (how far we are), `inventory` (what leaves us). `accept` is the operator's word.

pub mod accept;
pub mod commit;
pub mod inventory;
pub mod progress;
pub mod pull;
pub mod run;
pub mod snapshot;

use serde_json::{Map, Value};

use crate::{
    App,
    record::{CommitError, Mark, Progress, mark, usable_id},
    tenant::{State, TenantId},
};
use progress::MachineFeed;

/// Lets go of the state of a removed tenant, but for the snapshot, by which a return is told from news. How many items it
/// was.
///
/// # Errors
/// [`CommitError::Conflict`] when somebody else wrote first.
pub async fn leave(app: &App, tenant: TenantId) -> Result<usize, CommitError> {
    match commit::Desk::open(app, tenant).await? {
        Some(desk) if desk.state.connection.state == State::Removed => desk.leave().await.map(usize::from),
        _ => Ok(0),
    }
}

/// Whether an item of the tenant's partition outlives its removal.
pub fn outlives_removal(sort: &str) -> bool {
    sort == MachineFeed::ITEM
}

/// What identifies a machine's record, and what tells whether it has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    pub id: String,
    /// Over every field but `lastSeen`, which moves by itself.
    pub content: Mark,
    /// This record is no machine any more: it lives on under that id.
    pub merged_into: Option<String>,
}

/// Why a record cannot be a machine; goes to the quarantine with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("not a JSON object")]
    NotAnObject,
    /// With the record's text as it is known again by: without `lastSeen`.
    #[error("no usable `id`")]
    NoId(String),
}

impl Sighting {
    /// Reads a record. Every field but the id may be anything.
    ///
    /// # Errors
    /// [`Unreadable`] when there is no id, without which a machine has no identity.
    pub fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        let mut fields = fields(text).ok_or(Unreadable::NotAnObject)?;
        fields.remove("lastSeen");
        let text_of = |name| fields.get(name).and_then(usable_id);
        let merged_into = text_of("mergedIntoMachineId").filter(|target| Some(*target) != text_of("id"));
        let (id, merged_into) = (text_of("id").map(str::to_owned), merged_into.map(str::to_owned));
        // A map writes its fields in the order of their names, so the text is the same however Microsoft orders them.
        let content = Value::Object(fields).to_string();
        match id {
            Some(id) => Ok(Self { id, content: mark(&[b"machine", content.as_bytes()]), merged_into }),
            None => Err(Unreadable::NoId(content)),
        }
    }
}

/// A record's fields, without what only says how it was asked for.
fn fields(text: &[u8]) -> Option<Map<String, Value>> {
    let mut fields: Map<String, Value> = serde_json::from_slice(text).ok()?;
    fields.retain(|name, _| !name.starts_with("@odata."));
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_changed_when_anything_but_its_last_seen_has() {
        let parse = |text: &str| Sighting::parse(text.as_bytes()).unwrap();
        let first = parse(r#"{"id":"m1","lastSeen":"2026-01-01T00:00:00Z","riskScore":"Low","x":null}"#);
        let later =
            parse(r#"{"@odata.context":"c","x":null,"riskScore":"Low","lastSeen":"2026-01-02T00:00:00Z","id":"m1"}"#);
        assert_eq!(first, later);
        assert_ne!(first.content, parse(r#"{"id":"m1","riskScore":"High","x":null}"#).content);
        assert_ne!(first.content, parse(r#"{"id":"m1","riskScore":"Low"}"#).content);
    }

    #[test]
    fn a_machine_needs_an_id_and_is_not_merged_into_itself() {
        let merged = |text: &str| Sighting::parse(text.as_bytes()).unwrap().merged_into;
        assert_eq!(merged(r#"{"id":"m1","mergedIntoMachineId":"m2"}"#), Some("m2".to_owned()));
        for text in
            [r#"{"id":"m1","mergedIntoMachineId":"m1"}"#, r#"{"id":"m1","mergedIntoMachineId":""}"#, r#"{"id":"m1"}"#]
        {
            assert_eq!(merged(text), None, "{text}");
        }
        for text in [r#"{"lastSeen":"1"}"#, r#"{"id":""}"#, r#"{"id":7}"#, r#"{"id":".."}"#] {
            assert!(matches!(Sighting::parse(text.as_bytes()), Err(Unreadable::NoId(_))), "{text}");
        }
        for text in ["7", "{half", r#"{"id":"\ud800"}"#] {
            assert_eq!(Sighting::parse(text.as_bytes()), Err(Unreadable::NotAnObject), "{text}");
        }
        let again = |seen: &str| Sighting::parse(format!(r#"{{"lastSeen":"{seen}","a":1}}"#).as_bytes());
        assert_eq!(again("1"), again("2"), "known again whenever it was seen");
    }
}
