//! The lake: objects that are created once and never overwritten.

use async_trait::async_trait;

use super::Unavailable;

/// What became of a create-only put. Both are answers, not errors: `Exists` tells a slow worker that another one
/// finished its intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Created,
    Exists,
}

/// Whether this is a key: segments that are neither empty nor begin with a dot.
///
/// # Errors
/// [`Unavailable`] naming the key; every implementation asks before it does anything.
pub fn validate(key: &str) -> Result<(), Unavailable> {
    let fits = |segment: &str| !segment.is_empty() && !segment.starts_with('.') && !segment.contains('\\');
    if key.split('/').all(fits) {
        Ok(())
    } else {
        Err(Unavailable::new("lake", format!("`{}` is no object key", key.escape_default())))
    }
}

/// Where the state keeps what is too large for an item: it points there, and what it no longer points to goes.
pub const SNAPSHOTS: &str = "snapshots/";

/// Whether this key may be removed. Records never are.
///
/// # Errors
/// [`Unavailable`] naming a key outside [`SNAPSHOTS`]; every implementation asks before it does anything.
pub fn validate_removal(key: &str) -> Result<(), Unavailable> {
    validate(key)?;
    if key.starts_with(SNAPSHOTS) {
        Ok(())
    } else {
        Err(Unavailable::new("lake", format!("`{}` is a record, and records are never removed", key.escape_default())))
    }
}

/// Contract: of any number of concurrent puts under one key exactly one answers `Created`; a reader sees the whole
/// object or none; once `Created` has been answered the object survives a crash. Keys are relative paths of segments
/// without `.` and `..`. Once removed, an object of [`SNAPSHOTS`] is not there; that it was not there before is no error.
#[async_trait]
pub trait Lake: Send + Sync + std::fmt::Debug {
    async fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<Put, Unavailable>;

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// Only for keys under [`SNAPSHOTS`].
    async fn remove(&self, key: &str) -> Result<(), Unavailable>;
}
