//! The daily check: what about each stored credential a person should know, and which of them are due for rotation.
//!
//! Secrets and certificates are judged alike. A federated credential has no end and is never due: of it the check tells
//! whether Entra takes it, and what else the application may.

mod examine;
mod run;
pub mod told;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::{EntryKind, EntryName};
use crate::tenant::TenantId;

pub use run::check;

/// How many days before its end a credential is warned about, and how loudly.
const WARNINGS: [(i64, Severity); 4] =
    [(1, Severity::Critical), (7, Severity::Warning), (14, Severity::Warning), (30, Severity::Notice)];
/// The event of the daily schedule.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CheckEvent {
    pub check: What,
    pub scheduled_time: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Credentials,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many entries were looked at.
    pub checked: usize,
    pub findings: Vec<Finding>,
    /// When the first of the current credentials ends, of those whose end is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_end: Option<Timestamp>,
    /// The entries, by their full names, that whoever hosts the vault should rotate now. Where the platform has its own
    /// schedule for a secret, that is none of them.
    pub due: Vec<String>,
}

impl Report {
    /// How many findings somebody has to do something about.
    pub fn pressing(&self) -> u64 {
        self.findings.iter().filter(|finding| finding.severity >= Severity::Warning).count() as u64
    }

    /// Whole days until the first credential ends; 0 once one has ended.
    pub fn days_left(&self, now: Timestamp) -> Option<u64> {
        self.first_end.map(|end| u64::try_from(end.duration_since(now).as_hours() / 24).unwrap_or(0))
    }
}

/// One thing that a person should know. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The entry's full name.
    pub vault: String,
    /// As a person types it.
    pub name: String,
    pub kind: Kind,
    pub severity: Severity,
    /// What is so, and the next step.
    pub text: String,
    /// Whose own application it is; none of ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// When the current credential ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether the check before did not find it, or not as bad.
    #[serde(rename = "new")]
    pub is_new: bool,
}

impl Finding {
    pub fn of(name: &EntryName, short: &str, kind: Kind, severity: Severity, text: String) -> Self {
        let tenant_id = match name.kind {
            EntryKind::Tenant(tenant) => Some(tenant),
            _ => None,
        };
        let (vault, name) = (name.full.clone(), short.to_owned());
        Self { vault, name, kind, severity, text, tenant_id, expires_at: None, is_new: false }
    }

    /// Whether it is worth an event: what presses every day, and the rest when it is new.
    pub fn is_worth_an_event(&self) -> bool {
        self.severity >= Severity::Warning || self.is_new
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Expiry,
    /// Nobody has said when it ends.
    UnknownEnd,
    HalfLifeOver,
    RotationOverdue,
    RotationStuck,
    /// The vault and Entra do not agree about the current credential.
    Drift,
    Refused,
    ExtraPrivileges,
    MayNotRotate,
    /// Something of ours that nobody needs could not be removed.
    Leftover,
    Unusable,
    NotChecked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Notice,
    Warning,
    Critical,
}

#[cfg(test)]
mod tests {
    use super::{
        super::ownership::tests::{hours, noon},
        *,
    };

    #[test]
    fn the_days_left_are_whole_ones_of_the_first_end_and_never_below_none() {
        let left = |after: Option<i64>| {
            let first_end = after.map(|after| noon() + hours(after));
            Report { first_end, ..Report::default() }.days_left(noon())
        };
        assert_eq!([left(Some(49)), left(Some(47)), left(Some(-100)), left(None)], [Some(2), Some(1), Some(0), None]);
    }
}
