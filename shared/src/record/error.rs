//! Why what was planned could not be made true.

use crate::ports::{Unavailable, store::StoreError};

/// Why a commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else wrote first. Nothing is lost: read the state again and plan anew.
    #[error("another worker came first")]
    Conflict,
    #[error("{0}")]
    Platform(String),
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Conflict,
            other => Self::Platform(other.to_string()),
        }
    }
}

impl From<Unavailable> for CommitError {
    fn from(error: Unavailable) -> Self {
        Self::Platform(error.to_string())
    }
}

impl From<std::io::Error> for CommitError {
    fn from(error: std::io::Error) -> Self {
        Self::Platform(format!("an object could not be encoded or read: {error}"))
    }
}
