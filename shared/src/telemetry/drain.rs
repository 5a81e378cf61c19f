//! One pass over one tenant's storage queue and append blobs.

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;

use crate::{
    App,
    batch::{MessageFailed, Outcome},
    metrics::Recorded,
    tenant::dispatch::PullMessage,
};

/// Handles one message.
///
/// # Errors
/// [`MessageFailed`] only when the platform fails.
pub fn drain<'a>(
    _app: &'a App,
    _message: &'a PullMessage,
    _ends_at: Timestamp,
    _recorded: &'a Recorded,
) -> BoxFuture<'a, Result<Outcome, MessageFailed>> {
    async { Ok(Outcome::NothingToDo) }.boxed()
}
