//! What the operations need from the platform: state, secrets, queues, the lake, and its word for who we are.
//!
//! A port exists only where two real implementations do: the embedded one of the single machine (`infra/local/embedded`)
//! and AWS's. Each contract is written on its trait and held by one suite in `tests/contract`.

pub mod identity;
pub mod lake;
pub mod queue;
pub mod store;
pub mod vault;

use std::sync::Arc;

/// The ports of one running host, handed to every operation.
#[derive(Debug, Clone)]
pub struct Ports {
    pub store: Arc<dyn store::Store>,
    pub vault: Arc<dyn vault::Vault>,
    pub lake: Arc<dyn lake::Lake>,
    pub queues: PerFeed<Arc<dyn queue::Queue>>,
    pub identity: Arc<dyn identity::Identity>,
}

/// One thing for each feed: its queue, that queue's address, whoever hands out its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerFeed<T> {
    pub alerts: T,
    pub machines: T,
    pub telemetry: T,
}

/// A port could not do its work: the platform is unreachable, full, or refuses us. The cause is for the log; the work
/// is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{port} unavailable: {cause}")]
pub struct Unavailable {
    pub port: &'static str,
    pub cause: String,
}

impl Unavailable {
    pub fn new(port: &'static str, cause: impl std::fmt::Display) -> Self {
        Self { port, cause: cause.to_string() }
    }
}
