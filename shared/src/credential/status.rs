//! What is known of each stored credential without opening the vault: an item for each entry, written when an application
//! is saved, when a rotation ends, and by the daily check.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    check::{Kind, told::Told},
    entry::Entry,
};
use crate::{
    ports::store::{Expect, Item, Key, Store, StoreError, Write},
    tenant::TenantId,
};

const PARTITION: &str = "credentials";
const FIELD: &str = "status";
/// Who ends sooner is worth a word.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One entry of the vault. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The entry as a person types it: `app`, `tenants/{id}`.
    pub name: String,
    pub application: Whose,
    /// `client_secret`, `certificate` or `federated`; none of an entry that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    pub checked_at: Timestamp,
    /// What a person should know, each with the next step.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub warnings: BTreeMap<Kind, String>,
    /// The version that the last rotation made, whose end the trail was told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_to: Option<String>,
    /// What the trail was told of findings, so that it is not told every day.
    #[serde(default, skip_serializing_if = "Told::is_empty")]
    pub told: Told,
}

/// Whose application it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// The provider's.
    App,
    /// The tenant's own.
    Own,
}

/// The name of a tenant's own entry, without the prefix.
pub fn own(tenant: TenantId) -> String {
    format!("tenants/{tenant}")
}

impl Status {
    pub fn new(name: &str, entry: Option<&Entry>, now: Timestamp) -> Self {
        Self {
            name: name.to_owned(),
            application: if name.starts_with("tenants/") { Whose::Own } else { Whose::App },
            kind: entry.map(|entry| entry.application.credential.kind().to_owned()),
            expires_at: entry.and_then(|entry| entry.expires_at),
            checked_at: now,
            warnings: BTreeMap::new(),
            rotated_to: None,
            told: Told::new(),
        }
    }

    fn is_pressing(&self, now: Timestamp) -> bool {
        !self.warnings.is_empty() || self.expires_at.is_some_and(|end| end.duration_since(now) <= SOON)
    }

    /// The write that keeps it in the place of what is there now.
    ///
    /// # Errors
    /// As the store's.
    pub async fn write(&self, store: &dyn Store) -> Result<Write, StoreError> {
        Ok(self.put(Expect::as_read(store.get(&key(&self.name)).await?.as_ref())))
    }

    /// The write that keeps it in the place of what was read.
    pub fn put(&self, expect: Expect) -> Write {
        // Under a name of its own: an item's `expires_at` is when the store forgets it.
        Write::Put { key: key(&self.name), value: json!({ FIELD: self }), expect }
    }
}

fn key(name: &str) -> Key {
    Key::new(PARTITION, name)
}

/// Every entry, by name. One that cannot be read is left out: the next check writes it anew.
///
/// # Errors
/// As the store's.
pub async fn all(store: &dyn Store) -> Result<BTreeMap<String, Status>, StoreError> {
    let items = store.query(PARTITION, "").await?.into_iter();
    Ok(items.filter_map(|(key, item)| Some((key.sort, read(item)?))).collect())
}

/// One entry, if anything is known of it.
///
/// # Errors
/// As the store's.
pub async fn one(store: &dyn Store, name: &str) -> Result<Option<Status>, StoreError> {
    Ok(as_read(store, name).await?.0)
}

/// One entry, and what a write expects that is to be made of it.
///
/// # Errors
/// As the store's.
pub async fn as_read(store: &dyn Store, name: &str) -> Result<(Option<Status>, Expect), StoreError> {
    let item = store.get(&key(name)).await?;
    let expect = Expect::as_read(item.as_ref());
    Ok((item.and_then(read), expect))
}

fn read(mut item: Item) -> Option<Status> {
    serde_json::from_value(item.value.get_mut(FIELD)?.take()).ok()
}

/// Those that end within 30 days or bear warnings, whoever ends first before the others.
///
/// # Errors
/// As the store's.
pub async fn pressing(store: &dyn Store, now: Timestamp) -> Result<Vec<Status>, StoreError> {
    let mut pressing: Vec<Status> = all(store).await?.into_values().filter(|status| status.is_pressing(now)).collect();
    pressing.sort_by_key(|status| status.expires_at.unwrap_or(Timestamp::MAX));
    Ok(pressing)
}

/// The write that forgets an entry, whose item the store clears away then; `None` where nothing is known of it.
///
/// # Errors
/// As the store's.
pub async fn forget(store: &dyn Store, name: &str, now: Timestamp) -> Result<Option<Write>, StoreError> {
    let item = store.get(&key(name)).await?.filter(|item| item.value.get(FIELD).is_some());
    let value = json!({ "expires_at": now.as_second() });
    Ok(item.map(|item| Write::Put { key: key(name), value, expect: Expect::Version(item.version) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_within_thirty_days_or_bears_a_warning_is_pressing() {
        let now = Timestamp::UNIX_EPOCH;
        let status = |left: Option<i64>, warnings: &[(Kind, &str)]| Status {
            expires_at: left.map(|hours| now + SignedDuration::from_hours(hours)),
            warnings: warnings.iter().map(|(kind, text)| (*kind, (*text).to_owned())).collect(),
            ..Status::new("app", None, now)
        };
        for (left, warnings, expected) in [
            (None, &[][..], false),
            (None, &[(Kind::Refused, "x")], true),
            (Some(30 * 24), &[], true),
            (Some(30 * 24 + 1), &[], false),
            (Some(-5), &[], true),
        ] {
            assert_eq!(status(left, warnings).is_pressing(now), expected, "{left:?} {warnings:?}");
        }
    }

    #[test]
    fn an_entry_says_whose_application_it_is() {
        let now = Timestamp::UNIX_EPOCH;
        for (name, whose) in
            [("app", Whose::App), ("apps/x", Whose::App), ("console", Whose::App), ("tenants/x", Whose::Own)]
        {
            assert_eq!(Status::new(name, None, now).application, whose);
        }
        let text = serde_json::to_string(&Status::new("app", None, now)).unwrap();
        assert_eq!(text, r#"{"name":"app","application":"app","checked_at":"1970-01-01T00:00:00Z"}"#);
    }
}
