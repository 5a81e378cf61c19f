//! How far a tenant's telemetry has come, and the registry of its blobs.
//!
//! One item for the feed, and one for each blob. Blobs that are done
//! lie under a prefix of their own, so that a pass reads only those that may still grow.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::blob::Blob;
use crate::{
    ports::store::{Expect, Item, Key, Store, StoreError, Write},
    record::{History, Ledger, Progress},
    tenant::TenantId,
};

/// Without news the watermark is written this often.
pub const HEARTBEAT: SignedDuration = SignedDuration::from_mins(15);

const LIVE: &str = "telemetry#blob#";
const RETIRED: &str = "telemetry#retired#";

/// The decision to create one lake object, with everything that its commit changes, written before the object is put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// None where a commit only brings marks, of lines that went to the quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub opened_at: Timestamp,
    pub step: Step,
}

/// What one commit changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The blobs as they are afterwards, by id.
    pub blobs: BTreeMap<String, Blob>,
    /// Those of them that are done.
    #[serde(default)]
    pub retired: Vec<String>,
    pub counts: Ledger,
    pub bytes: u64,
    /// Segments that nothing points to afterwards.
    #[serde(default)]
    pub folded: Vec<String>,
    /// Segments that are new.
    #[serde(default)]
    pub segments: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryFeed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    pub ledger: Ledger,
    /// Bytes of blobs that have been taken in.
    pub bytes: u64,
    /// When the feed's first pass began.
    pub since: Option<Timestamp>,
    /// Everything that was announced until then has been read and delivered; what has grown in a quiet blob within sixteen
    /// minutes of it, and what nobody announced within the hour.
    pub watermark: Option<Timestamp>,
    /// When the whole container was last listed.
    pub listed_at: Option<Timestamp>,
    /// Where a listing goes on that took longer than a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing: Option<String>,
    /// The last listing found more blobs than are kept in mind.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub crowded: bool,
    /// Bytes that are known to be there and not read yet, and how many blobs may still grow.
    pub behind: u64,
    pub blobs: u64,
    /// Names of segments that nothing points to any more; the next pass removes them, when nobody reads them any more.
    pub superseded: Vec<String>,
    #[serde(skip_serializing_if = "History::is_empty")]
    pub history: History,
}

impl Progress for TelemetryFeed {
    const ITEM: &'static str = "telemetry#progress";

    fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn history(&mut self) -> &mut History {
        &mut self.history
    }

    fn unwritten() -> Option<Self> {
        Some(Self::default())
    }
}

impl TelemetryFeed {
    /// What stays when the tenant has left. The registry of blobs, whose offsets and marks say what has been delivered, has
    /// items of its own.
    #[must_use]
    pub fn left(self) -> Self {
        Self { superseded: self.superseded, ..Self::default() }
    }
}

/// Whether an item of the tenant's partition outlives its removal.
pub fn outlives_removal(sort: &str) -> bool {
    sort == TelemetryFeed::ITEM || sort.starts_with(LIVE) || sort.starts_with(RETIRED)
}

fn read(key: &Key, item: Item) -> Result<Blob, StoreError> {
    serde_json::from_value(item.value)
        .map_err(|cause| StoreError::Invalid(format!("{}/{} cannot be read: {cause}", key.partition, key.sort)))
}

/// Which part of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Live,
    Retired,
}

impl Part {
    fn prefix(self) -> &'static str {
        match self {
            Self::Live => LIVE,
            Self::Retired => RETIRED,
        }
    }

    fn key(self, tenant: TenantId, id: &str) -> Key {
        Key::new(tenant.partition(), format!("{}{id}", self.prefix()))
    }

    /// All blobs of it, by id.
    ///
    /// # Errors
    /// As the store's.
    pub async fn load(self, store: &dyn Store, tenant: TenantId) -> Result<BTreeMap<String, (Blob, u64)>, StoreError> {
        let items = store.query(&tenant.partition(), self.prefix()).await?;
        let known = items.into_iter().map(|(key, item)| {
            let (id, version) = (key.sort[self.prefix().len()..].to_owned(), item.version);
            Ok((id, (read(&key, item)?, version)))
        });
        known.collect()
    }

    /// # Errors
    /// As the store's.
    pub async fn get(self, store: &dyn Store, tenant: TenantId, id: &str) -> Result<Option<(Blob, u64)>, StoreError> {
        let key = self.key(tenant, id);
        let item = store.get(&key).await?;
        item.map(|item| Ok((item.version, read(&key, item)?)))
            .transpose()
            .map(|found| found.map(|(version, blob)| (blob, version)))
    }

    /// # Errors
    /// Never but for a defect.
    pub fn put(self, tenant: TenantId, id: &str, blob: &Blob, expect: Expect) -> Result<Write, StoreError> {
        let value = serde_json::to_value(blob).map_err(|cause| StoreError::Invalid(cause.to_string()))?;
        Ok(Write::Put { key: self.key(tenant, id), value, expect })
    }

    pub fn delete(self, tenant: TenantId, id: &str, version: u64) -> Write {
        Write::Delete { key: self.key(tenant, id), expect: Expect::Version(version) }
    }
}
