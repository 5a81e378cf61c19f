//! The queue: at-least-once messages with a visibility timeout and dead letters.

use async_trait::async_trait;
use jiff::SignedDuration;

use super::Unavailable;

/// SQS takes ten messages in one batch; larger slices are cut by the implementation.
pub const MAX_BATCH: usize = 10;

/// How often a message is handed out before it becomes a dead letter.
pub const MAX_RECEIVES: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub body: String,
    /// Invisible for so long; SQS takes at most 15 minutes.
    pub delay: SignedDuration,
}

/// A message as one receiver got it. The receipt is good until the visibility timeout has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub message_id: String,
    pub receipt: String,
    pub body: String,
    /// 1 at the first delivery.
    pub receive_count: u32,
}

/// Contract: a sent message is delivered at least once, in no promised order; a delivered one is hidden for the
/// visibility timeout and comes back unless deleted; after [`MAX_RECEIVES`] deliveries it moves to the dead letters
/// instead. Deleting with a receipt that has expired is no error and deletes nothing that another receiver holds.
#[async_trait]
pub trait Queue: Send + Sync + std::fmt::Debug {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Unavailable>;

    /// At most `max` messages, hidden from others for `visibility`.
    async fn receive(&self, max: usize, visibility: SignedDuration) -> Result<Vec<Delivery>, Unavailable>;

    async fn delete(&self, receipt: &str) -> Result<(), Unavailable>;

    /// Bodies of the dead letters, oldest first.
    async fn dead_letters(&self) -> Result<Vec<String>, Unavailable>;
}
