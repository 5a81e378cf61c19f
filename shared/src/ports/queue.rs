//! The queue: at-least-once messages. Handing them out is the host's part: Lambda's event source mapping on AWS.

use async_trait::async_trait;
use jiff::SignedDuration;

use super::Unavailable;

/// SQS gives and takes ten messages in one batch; larger slices are cut by the implementation.
pub const MAX_BATCH: usize = 10;

/// How often a message is handed out before it becomes a dead letter.
pub const MAX_RECEIVES: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub body: String,
    /// Invisible for so long; SQS takes at most 15 minutes.
    pub delay: SignedDuration,
}

/// Contract: a sent message is delivered at least once, in no promised order and not before its delay is over. What an
/// error leaves open is whether some of the messages were sent.
#[async_trait]
pub trait Queue: Send + Sync + std::fmt::Debug {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Unavailable>;
}
