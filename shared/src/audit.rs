//! Who did what, when: entries that are only ever added.

use futures::future::try_join_all;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    plain,
    ports::store::{Expect, Key, Store, StoreError, Write},
    random,
    tenant::TenantId,
};

/// Days that are read at once, and how many times that before a search for older entries is given up.
const STRIDE: usize = 7;
const STRIDES: usize = 13;
const MAX_DETAIL: usize = 1000;

/// Whoever caused something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Actor {
    /// A person of the provider, signed in to the console.
    Operator { oid: String, name: String },
    /// A program of the provider's, by its bearer token.
    Script { id: String, name: String },
    /// A person of a customer's, by their own sign-in.
    Administrator { oid: String, name: String },
    /// Whoever held the link by which a tenant's credential is renewed. Nobody signs in there, so nobody is named.
    LinkHolder,
    /// Whoever may run `muster` on its machine, or as the operator's role on AWS.
    CommandLine,
    /// Nobody: it was due.
    Muster,
}

impl Actor {
    /// As people read it.
    pub fn name(&self) -> &str {
        match self {
            Self::Operator { name, .. } | Self::Script { name, .. } | Self::Administrator { name, .. } => name,
            Self::LinkHolder => "holder of the renewal link",
            Self::CommandLine => "command line",
            Self::Muster => "Muster",
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    SignedIn,
    SignedOut,
    AccountCreated,
    Invited,
    InvitationWithdrawn,
    /// An administrator approved, and the tenant is bound or claimed.
    Consented,
    /// An operator took the tenant in, or added feeds to it.
    Connected,
    Confirmed,
    Changed,
    Paused,
    Resumed,
    Moved,
    PulledNow,
    BackfillBegun,
    /// An operator's word that a crowd of machines is gone.
    Accepted,
    Removed,
    SecretRemoved,
    SecretRestored,
    CredentialStored,
    /// A credential took the place of the one before it by itself.
    CredentialRotated,
    /// The daily check found something new that a person has to do, or found it over.
    CredentialWarned,
    /// An operator made a link for renewing the credential of a tenant's own application.
    RenewalLinkMade,
    /// Whoever was sent a renewal link gave a new credential.
    CredentialRenewed,
}

impl Action {
    /// As people read it.
    pub fn title(self) -> &'static str {
        match self {
            Self::SignedIn => "signed in",
            Self::SignedOut => "signed out",
            Self::AccountCreated => "created an account",
            Self::Invited => "invited",
            Self::InvitationWithdrawn => "withdrew an invitation",
            Self::Consented => "approved access",
            Self::Connected => "connected",
            Self::Confirmed => "confirmed",
            Self::Changed => "changed settings",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Moved => "moved to another account",
            Self::PulledNow => "pulled now",
            Self::BackfillBegun => "began a backfill",
            Self::Accepted => "accepted that machines are gone",
            Self::Removed => "removed",
            Self::SecretRemoved => "deleted a secret",
            Self::SecretRestored => "restored a secret",
            Self::CredentialStored => "stored a credential",
            Self::CredentialRotated => "rotated a credential",
            Self::CredentialWarned => "warned of a credential",
            Self::RenewalLinkMade => "made a renewal link",
            Self::CredentialRenewed => "renewed a credential",
        }
    }
}

/// One line of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    pub at: Timestamp,
    pub actor: Actor,
    pub action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// A sentence for people; never a secret, nor a link that is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Entry {
    pub fn new(at: Timestamp, actor: &Actor, action: Action) -> Self {
        Self { at, actor: actor.clone(), action, tenant_id: None, account: None, detail: String::new() }
    }

    #[must_use]
    pub fn of_tenant(self, tenant: TenantId) -> Self {
        Self { tenant_id: Some(tenant), ..self }
    }

    #[must_use]
    pub fn of_account(self, account: impl Into<String>) -> Self {
        Self { account: Some(account.into()), ..self }
    }

    #[must_use]
    pub fn saying(self, detail: impl AsRef<str>) -> Self {
        Self { detail: plain::visible(detail.as_ref(), MAX_DETAIL), ..self }
    }

    /// The write that adds it, to be committed together with what it tells of.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if it cannot be encoded, or the machine has no randomness.
    pub fn write(&self) -> Result<Write, StoreError> {
        let invalid = |cause: String| StoreError::Invalid(cause);
        let value = serde_json::to_value(self).map_err(|cause| invalid(cause.to_string()))?;
        let id = random::id().map_err(|cause| invalid(cause.to_string()))?;
        let key = Key::new(partition(day(self.at)), format!("{}#{id}", moment(self.at)));
        Ok(Write::Put { key, value, expect: Expect::Absent })
    }

    /// Adds it alone, where what it tells of is not in our store.
    ///
    /// # Errors
    /// As the store's.
    pub async fn add(&self, store: &dyn Store) -> Result<(), StoreError> {
        store.commit(vec![self.write()?]).await
    }
}

/// Entries before a moment, the newest first: at most `limit`, and fewer only where the last quarter
/// before that moment has no more. Days are read whole, a week at a time.
///
/// # Errors
/// As the store's.
pub async fn before(store: &dyn Store, moment: Timestamp, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let (mut entries, mut last) = (Vec::new(), day(moment));
    for _ in 0..STRIDES {
        let days = std::iter::successors(Some(last), |day| day.yesterday().ok()).take(STRIDE);
        let days: Vec<Date> = days.collect();
        let partitions = days.iter().map(|day| partition(*day));
        let read = try_join_all(partitions.map(|partition| async move { store.query(&partition, "").await })).await?;
        for items in read {
            for (key, item) in items.into_iter().rev() {
                match serde_json::from_value::<Entry>(item.value) {
                    Ok(entry) if entry.at < moment => entries.push(entry),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::error!(entry = %key.sort, %error, "an entry of the audit trail cannot be read")
                    }
                }
            }
        }
        let Some(older) = days.last().and_then(|day| day.yesterday().ok()) else { break };
        if entries.len() >= limit {
            break;
        }
        last = older;
    }
    entries.truncate(limit);
    Ok(entries)
}

/// The first so many, and what happened at the very moment of the last: pages are told apart by moments. Also whether that
/// left anything over.
pub fn whole_moments(mut entries: Vec<Entry>, most: usize) -> (Vec<Entry>, bool) {
    let Some(last) = entries.get(most.saturating_sub(1)).map(|entry| entry.at) else { return (entries, false) };
    let before = entries.len();
    let mut place = 0;
    entries.retain(|entry| {
        place += 1;
        place <= most || entry.at == last
    });
    let rest = before > entries.len();
    (entries, rest)
}

fn day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn partition(day: Date) -> String {
    format!("audit#{day}")
}

/// Sorts as time does.
fn moment(at: Timestamp) -> String {
    format!("{:020}", at.as_nanosecond().max(0))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn entries_sort_by_time_and_no_two_share_a_key() {
        let at: Timestamp = "2026-11-22T23:59:59.9Z".parse().unwrap();
        let later = at + SignedDuration::from_millis(50);
        let keys =
            [at, at, later].map(|at| Entry::new(at, &Actor::Muster, Action::Removed).write().unwrap().key().clone());
        assert_eq!(keys[0].partition, "audit#2026-11-22");
        assert_ne!(keys[0], keys[1]);
        assert!(keys[0].sort < keys[2].sort && keys[1].sort < keys[2].sort);
    }

    #[test]
    fn what_an_entry_says_is_one_printable_line() {
        let entry = Entry::new(Timestamp::UNIX_EPOCH, &Actor::CommandLine, Action::Moved).saying("a\nb\u{202e}c");
        assert!(!entry.detail.contains(['\n', '\u{202e}']), "{}", entry.detail);
    }
}
