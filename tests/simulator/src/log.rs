//! What was asked, for tests to count. Never a secret and never a token.

use jiff::Timestamp;
use serde::Serialize;

/// One request and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub at: Timestamp,
    pub method: String,
    /// Path and query. Token requests have their credential in the body, which is not kept.
    pub target: String,
    pub status: u16,
    pub tenant: Option<String>,
    pub application: Option<String>,
    /// The kind of credential in a token request: `client_secret`, `certificate`, `federated`.
    pub credential: Option<String>,
}

/// What a handler finds out on its way, for the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    pub(crate) tenant: Option<String>,
    pub(crate) application: Option<String>,
    pub(crate) credential: Option<&'static str>,
}
