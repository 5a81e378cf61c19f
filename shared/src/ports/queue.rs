//! The queue: at-least-once messages. Handing them out is the host's part: Lambda's event source mapping on AWS.

use async_trait::async_trait;
use jiff::SignedDuration;

use super::Unavailable;

/// SQS gives and takes ten messages in one batch; larger slices are cut by the implementation.
pub const MAX_BATCH: usize = 10;

/// SQS's longest delay.
pub const MAX_DELAY: SignedDuration = SignedDuration::from_mins(15);

/// How often a message is handed out before it becomes a dead letter.
pub const MAX_RECEIVES: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub body: String,
    /// Invisible for so long, at most [`MAX_DELAY`].
    pub delay: SignedDuration,
}

/// The check that every implementation makes before it sends anything.
///
/// # Errors
/// [`Unavailable`] naming a delay that no queue takes.
pub fn validate(messages: &[Outgoing]) -> Result<(), Unavailable> {
    let all_fit = messages.iter().all(|message| (SignedDuration::ZERO..=MAX_DELAY).contains(&message.delay));
    if all_fit { Ok(()) } else { Err(Unavailable::new("queue", "a message is delayed by 15 minutes at most")) }
}

/// Contract: a sent message is delivered at least once, in no promised order and not before its delay is over. What an
/// error leaves open is whether some of the messages were sent.
#[async_trait]
pub trait Queue: Send + Sync + std::fmt::Debug {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Unavailable>;
}
