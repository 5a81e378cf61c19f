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

/// Contract: of any number of concurrent puts under one key exactly one answers `Created`; a reader sees the whole
/// object or none; once `Created` has been answered the object survives a crash. Keys are relative paths of segments
/// without `.` and `..`.
#[async_trait]
pub trait Lake: Send + Sync + std::fmt::Debug {
    async fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<Put, Unavailable>;

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;
}
