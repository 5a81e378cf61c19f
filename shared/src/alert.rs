//! Alerts: from Defender's `/api/alerts` to OCSF Detection Findings in the lake, each version exactly once.
//!
//! `pull` is the operation; everything it decides is in the pure modules beside it: `window` (what to ask), `seen` (what
//! we have), `progress` (how far we are), `ladder` (what to do when Microsoft fails), `finding` (what leaves us).

pub mod backfill;
pub mod commit;
pub mod finding;
pub mod ladder;
pub mod progress;
pub mod pull;
pub mod seen;
pub mod window;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    App,
    microsoft::time,
    record::{CommitError, Progress, usable_id},
    tenant::{State, TenantId},
};
use progress::AlertFeed;

/// Lets go of the state of a removed tenant, but for what keeps alerts from leaving twice. How many items it was.
///
/// # Errors
/// [`CommitError::Conflict`] when somebody else wrote first.
pub async fn leave(app: &App, tenant: TenantId) -> Result<usize, CommitError> {
    match commit::Desk::open(app, tenant).await? {
        Some(desk) if desk.state.connection.state == State::Removed => desk.leave().await.map(|()| 1),
        _ => Ok(0),
    }
}

/// Whether an item of the tenant's partition outlives its removal.
pub fn outlives_removal(sort: &str) -> bool {
    sort == AlertFeed::ITEM || sort.starts_with(seen::PREFIX)
}

/// One version of an alert, as a look shows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sighting {
    /// `lastUpdateTime`: with the id, what makes a version.
    pub updated: Timestamp,
    pub id: String,
    /// `alertCreationTime`; where it is missing, `lastUpdateTime`.
    pub created: Timestamp,
}

/// Why a record cannot be an alert; goes to the quarantine with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("not a JSON object")]
    NotAnObject,
    #[error("no usable `id`")]
    NoId,
    #[error("no usable `lastUpdateTime`")]
    NoTime,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    id: Value,
    #[serde(default, rename = "lastUpdateTime")]
    updated: Value,
    #[serde(default, rename = "alertCreationTime")]
    created: Value,
}

/// The id of a record, readable or not otherwise.
fn id_of(text: &[u8]) -> Option<String> {
    usable_id(&serde_json::from_slice::<Head>(text).ok()?.id).map(str::to_owned)
}

impl Sighting {
    /// Reads what identifies an alert; every other field may be anything.
    ///
    /// # Errors
    /// [`Unreadable`] when there is no id or no time, without which a version has no identity.
    pub fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        let head: Head = serde_json::from_slice(text).map_err(|_| Unreadable::NotAnObject)?;
        let id = usable_id(&head.id);
        let at = |value: &Value| value.as_str().and_then(time::parse);
        let updated = at(&head.updated);
        let id = id.ok_or(Unreadable::NoId)?.to_owned();
        let updated = updated.ok_or(Unreadable::NoTime)?;
        Ok(Self { updated, id, created: at(&head.created).unwrap_or(updated) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_needs_an_id_and_a_time_and_tolerates_everything_else() {
        let good = Sighting::parse(
            br#"{"id":"da1_-1","lastUpdateTime":"2026-01-26T20:33:59.2Z","alertCreationTime":null,"severity":7,"new":{}}"#,
        )
        .unwrap();
        assert_eq!(good.created, good.updated);
        for (text, reason) in [
            (r#"{"lastUpdateTime":"2026-01-26T20:33:59.2Z"}"#, Unreadable::NoId),
            (r#"{"id":7,"lastUpdateTime":"2026-01-26T20:33:59.2Z"}"#, Unreadable::NoId),
            (r#"{"id":" ","lastUpdateTime":"2026-01-26T20:33:59.2Z"}"#, Unreadable::NoId),
            (r#"{"id":"da1"}"#, Unreadable::NoTime),
            (r#"{"id":"da1","lastUpdateTime":1706301239}"#, Unreadable::NoTime),
            (r#"{"id":"da1","lastUpdateTime":"soon"}"#, Unreadable::NoTime),
            ("42", Unreadable::NotAnObject),
            ("{half", Unreadable::NotAnObject),
        ] {
            assert_eq!(Sighting::parse(text.as_bytes()), Err(reason), "{text}");
        }
    }
}
