//! The seen-set: which versions of which alerts have left us, in one item per tenant and hour.
//!
//! An alert leaves two marks. One for the version, in the hour of its `lastUpdateTime`: it keeps a version from leaving
//! twice. One for the id, in the hour of its `alertCreationTime`: it tells an update from a first sight. A quarantined
//! record leaves the mark of its text. Marks are the first 16 bytes of a SHA-256.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Sighting;
use crate::{
    microsoft::time,
    ports::store::{Expect, Key, Store, StoreError, Write},
    record::{Mark, mark},
    tenant::TenantId,
};

/// More spill into a second item. Every commit writes the last item of each bucket anew and pays for its kilobytes, and all
/// of them together must fit into one transaction.
pub(super) const MARKS_PER_ITEM: usize = 1_500;
/// Microsoft keeps alerts for 180 days; a look never goes further back.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 190);
pub(super) const PREFIX: &str = "alerts#seen#";

/// Which item a mark is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Hours since the epoch.
    Hour(i64),
    Quarantine,
}

impl Bucket {
    pub fn of(at: Timestamp) -> Self {
        Self::Hour(at.as_second().div_euclid(3600))
    }

    fn prefix(self) -> String {
        match self {
            Self::Hour(hour) => format!("{PREFIX}{hour:010}#"),
            Self::Quarantine => format!("{PREFIX}quarantine#"),
        }
    }

    fn expires_at(self) -> Option<i64> {
        match self {
            Self::Hour(hour) => Some((hour + 1) * 3600 + KEPT.as_secs()),
            Self::Quarantine => None,
        }
    }
}

/// The mark of an alert's version. In hex it is the event's `metadata.uid`, so a lake object tells its own marks.
pub fn version_mark(tenant: TenantId, id: &str, updated: Timestamp) -> Mark {
    mark(&[b"alert", tenant.to_string().as_bytes(), id.as_bytes(), time::literal(updated).as_bytes()])
}

/// The mark of the event that brings a version's evidence after all.
pub fn completion_mark(tenant: TenantId, id: &str, updated: Timestamp) -> Mark {
    mark(&[b"evidence", tenant.to_string().as_bytes(), id.as_bytes(), time::literal(updated).as_bytes()])
}

pub fn id_mark(tenant: TenantId, id: &str) -> Mark {
    mark(&[b"id", tenant.to_string().as_bytes(), id.as_bytes()])
}

/// The mark of a quarantined record, from the SHA-256 of its text.
pub fn text_mark(sha256: &[u8]) -> Mark {
    mark(&[b"text", sha256])
}

#[derive(Debug, Default)]
struct Items {
    marks: HashSet<Mark>,
    /// The last item's sort key, version and marks; new ones go there while they fit.
    last: Option<(Key, u64, Vec<Mark>)>,
    count: usize,
}

/// The buckets that one pass has read.
#[derive(Debug)]
pub struct Seen {
    tenant: TenantId,
    buckets: BTreeMap<Bucket, Items>,
}

impl Seen {
    pub fn new(tenant: TenantId) -> Self {
        Self { tenant, buckets: BTreeMap::new() }
    }

    /// Reads the buckets that are not here yet.
    ///
    /// # Errors
    /// As the store's; [`StoreError::Invalid`] for an item that is not ours.
    pub async fn load(&mut self, store: &dyn Store, wanted: &BTreeSet<Bucket>) -> Result<(), StoreError> {
        for &bucket in wanted {
            if self.buckets.contains_key(&bucket) {
                continue;
            }
            let mut items = Items::default();
            for (key, item) in store.query(&self.tenant.partition(), &bucket.prefix()).await? {
                let marks = decode(&item.value).ok_or_else(|| {
                    StoreError::Invalid(format!("{}/{} is no seen-set item", key.partition, key.sort))
                })?;
                items.marks.extend(&marks);
                items.count += 1;
                items.last = Some((key, item.version, marks));
            }
            self.buckets.insert(bucket, items);
        }
        Ok(())
    }

    pub fn contains(&self, bucket: Bucket, mark: &Mark) -> bool {
        self.buckets.get(&bucket).is_some_and(|items| items.marks.contains(mark))
    }

    pub fn has_version(&self, sighting: &Sighting) -> bool {
        self.contains(Bucket::of(sighting.updated), &version_mark(self.tenant, &sighting.id, sighting.updated))
    }

    pub fn has_id(&self, sighting: &Sighting) -> bool {
        self.contains(Bucket::of(sighting.created), &id_mark(self.tenant, &sighting.id))
    }

    /// The writes that add these marks, for the commit's own transaction. The buckets must have been loaded.
    pub fn writes(&self, added: impl IntoIterator<Item = (Bucket, Mark)>) -> Vec<Write> {
        let mut by_bucket: BTreeMap<Bucket, Vec<Mark>> = BTreeMap::new();
        for (bucket, mark) in added {
            let marks = by_bucket.entry(bucket).or_default();
            if !self.contains(bucket, &mark) && !marks.contains(&mark) {
                marks.push(mark);
            }
        }
        by_bucket.retain(|_, marks| !marks.is_empty());
        by_bucket.into_iter().map(|(bucket, marks)| self.write(bucket, marks)).collect()
    }

    fn write(&self, bucket: Bucket, added: Vec<Mark>) -> Write {
        let items = self.buckets.get(&bucket);
        let (key, expect, marks) = match items.and_then(|items| items.last.as_ref()) {
            Some((key, version, marks)) if marks.len() + added.len() <= MARKS_PER_ITEM => {
                (key.clone(), Expect::Version(*version), marks.iter().chain(&added).copied().collect())
            }
            _ => {
                let number = items.map_or(0, |items| items.count);
                let key = Key::new(self.tenant.partition(), format!("{}{number:04}", bucket.prefix()));
                (key, Expect::Absent, added)
            }
        };
        Write::Put { key, value: encode(bucket, &marks), expect }
    }
}

pub(super) fn encode(bucket: Bucket, marks: &[Mark]) -> Value {
    let mut value = json!({ "marks": STANDARD.encode(marks.as_flattened()) });
    if let Some(at) = bucket.expires_at() {
        value["expires_at"] = at.into();
    }
    value
}

fn decode(value: &Value) -> Option<Vec<Mark>> {
    let bytes = STANDARD.decode(value.get("marks")?.as_str()?).ok()?;
    let (marks, rest) = bytes.as_chunks::<16>();
    rest.is_empty().then(|| marks.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{from_hex, hex};

    fn tenant() -> TenantId {
        "00000000-0000-4000-8000-0000000000aa".parse().unwrap()
    }

    #[test]
    fn a_version_is_an_id_at_an_instant_however_the_instant_is_written() {
        let at = |text: &str| time::parse(text).unwrap();
        let mark = version_mark(tenant(), "da1", at("2026-01-26T20:33:57.1300000Z"));
        assert_eq!(mark, version_mark(tenant(), "da1", at("2026-01-26 20:33:57.13")));
        assert_ne!(mark, version_mark(tenant(), "da1", at("2026-01-26T20:33:57.1300001Z")));
        assert_ne!(mark, version_mark(tenant(), "da2", at("2026-01-26T20:33:57.13Z")));
        assert_eq!(from_hex(&hex(&mark)), Some(mark));
        assert_eq!((from_hex("zz"), from_hex("")), (None, None));
    }

    #[test]
    fn marks_survive_the_item_and_spill_into_a_second_one() {
        let bucket = Bucket::Hour(7);
        let marks: Vec<Mark> = (0..MARKS_PER_ITEM as u128).map(u128::to_be_bytes).collect();
        assert_eq!(decode(&encode(bucket, &marks)), Some(marks.clone()));
        let mut seen = Seen::new(tenant());
        let key = Key::new("p", "s");
        seen.buckets.insert(
            bucket,
            Items { marks: marks.iter().copied().collect(), last: Some((key, 3, marks.clone())), count: 1 },
        );
        assert_eq!(seen.writes([(bucket, marks[5])]), [], "a mark that is there is not added");
        let writes = seen.writes([(bucket, [0xFF; 16])]);
        assert_eq!(writes.len(), 1);
        assert_eq!(
            (writes[0].key().sort.as_str(), writes[0].expect()),
            ("alerts#seen#0000000007#0001", Expect::Absent)
        );
    }
}
