//! The state store: versioned items under (partition, sort), written by conditional transactions.

use async_trait::async_trait;
use serde_json::Value;

use super::Unavailable;

/// DynamoDB's limits, which every implementation enforces so that what runs on one machine runs on AWS.
pub const MAX_WRITES: usize = 100;
/// Bytes of one item's JSON; AWS counts attribute names too, hence the room to the 400 KB of the service.
pub const MAX_ITEM_BYTES: usize = 380 * 1024;
/// Bytes of all items of one commit; the service takes 4 MB, names included.
pub const MAX_COMMIT_BYTES: usize = 3800 * 1024;

/// Where an item lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub partition: String,
    pub sort: String,
}

impl Key {
    pub fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self { partition: partition.into(), sort: sort.into() }
    }
}

/// An item as it was read. The version grows by one with every write and is what the next write expects.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub version: u64,
    pub value: Value,
}

/// What a write demands of the item it touches. There is no "whatever": a blind write is how updates get lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Version(u64),
}

impl Expect {
    /// What a writer who read `item` expects to find.
    pub fn as_read(item: Option<&Item>) -> Self {
        item.map_or(Self::Absent, |item| Self::Version(item.version))
    }

    /// The version that a successful put under this expectation leaves behind.
    pub fn next_version(self) -> u64 {
        match self {
            Self::Absent => 1,
            Self::Version(version) => version + 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    Put {
        key: Key,
        value: Value,
        expect: Expect,
    },
    Delete {
        key: Key,
        expect: Expect,
    },
    /// Nothing is written; the transaction fails unless the expectation holds.
    Check {
        key: Key,
        expect: Expect,
    },
}

impl Write {
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Check { key, .. } => key,
        }
    }

    pub fn expect(&self) -> Expect {
        match self {
            Self::Put { expect, .. } | Self::Delete { expect, .. } | Self::Check { expect, .. } => *expect,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another writer came first. Read again, decide again.
    #[error("the state changed meanwhile")]
    Conflict,
    /// The caller built a transaction that no implementation takes; a defect of ours.
    #[error("transaction refused: {0}")]
    Invalid(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Contract: reads are strongly consistent, but a query is no snapshot: of a commit that happens meanwhile it may show a
/// part. A commit applies all its writes or none, and fails with [`StoreError::Conflict`] when any expectation does not
/// hold; once it has returned, its writes survive a crash. No two writes of one commit name the same key.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError>;

    /// All items of a partition whose sort key begins with `prefix`, in order of the sort key.
    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<(Key, Item)>, StoreError>;

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError>;
}

/// The checks every implementation makes before it touches anything.
///
/// # Errors
/// [`StoreError::Invalid`] naming the limit that is exceeded.
pub fn validate(writes: &[Write]) -> Result<(), StoreError> {
    if writes.is_empty() || writes.len() > MAX_WRITES {
        return Err(StoreError::Invalid(format!("{} writes; a transaction takes 1 to {MAX_WRITES}", writes.len())));
    }
    let mut keys: Vec<&Key> = writes.iter().map(Write::key).collect();
    keys.sort();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(StoreError::Invalid("two writes name the same item".to_owned()));
    }
    let mut together = 0;
    for write in writes {
        if let Write::Put { key, value, .. } = write {
            let bytes = value.to_string().len();
            together += bytes;
            if bytes > MAX_ITEM_BYTES {
                return Err(StoreError::Invalid(format!(
                    "{}/{} has {bytes} bytes; an item takes {MAX_ITEM_BYTES}",
                    key.partition, key.sort
                )));
            }
        }
    }
    if together > MAX_COMMIT_BYTES {
        return Err(StoreError::Invalid(format!("{together} bytes; a transaction takes {MAX_COMMIT_BYTES}")));
    }
    Ok(())
}
