//! SQS batches: each message handled on its own, the failed ones named in the answer.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};

use jiff::{SignedDuration, Timestamp};

use crate::{
    App,
    metrics::{Metric, Recorded},
    record::CommitError,
    tenant::{Ability, TenantId, dispatch::PullMessage},
};

/// Messages of one batch that are handled at the same time. A pull mostly waits for Microsoft.
const CONCURRENCY: usize = 10;
/// Times a pass starts anew because another worker wrote first.
const ATTEMPTS: u32 = 3;

/// Why a message goes back to the queue, and in the end to the dead letters.
#[derive(Debug, thiserror::Error)]
pub enum MessageFailed {
    /// Nobody can ever read it; it becomes a dead letter after its deliveries.
    #[error("unreadable message: {0}")]
    Unreadable(String),
    /// The platform failed underneath; the next delivery tries again.
    #[error("{cause}")]
    Platform { tenant_id: TenantId, cause: String },
}

impl MessageFailed {
    /// A message that is not ours. What it says instead is nobody's business in a log, so this tells only where.
    pub fn unreadable(cause: &serde_json::Error) -> Self {
        let kind = cause.classify();
        Self::Unreadable(format!("{kind:?} error at line {} column {}", cause.line(), cause.column()))
    }

    fn tenant_id(&self) -> Option<TenantId> {
        match self {
            Self::Unreadable(_) => None,
            Self::Platform { tenant_id, .. } => Some(*tenant_id),
        }
    }
}

/// What became of one pull message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The tenant is not here or not due, or all this was done before.
    NothingToDo,
    /// Looked at everything asked for, or as far as the budget went.
    Pulled { delivered: u64, complete: bool },
    /// Microsoft's answer is a condition of the tenant or of ours; it is written down, the message is done.
    Stopped(Ability),
    /// Another worker is at this tenant; the next tick goes on.
    Yielded,
}

/// A feed's operation on one message: it reads no further answer after the given moment.
pub type Pull =
    for<'a> fn(&'a App, &'a PullMessage, Timestamp, &'a Recorded) -> BoxFuture<'a, Result<Outcome, MessageFailed>>;

/// One pass over what a message asks for. The budget is the message's: what a pass takes of it is gone for the next.
pub type Attempt<Budget> =
    for<'a> fn(&'a App, &'a PullMessage, &'a mut Budget, &'a Recorded) -> BoxFuture<'a, Result<Outcome, CommitError>>;

/// Runs a pass, and starts it anew where another worker wrote first.
///
/// # Errors
/// [`MessageFailed`] only when the platform fails.
pub async fn attempts<Budget>(
    app: &App,
    message: &PullMessage,
    mut budget: Budget,
    recorded: &Recorded,
    attempt: Attempt<Budget>,
) -> Result<Outcome, MessageFailed> {
    for _ in 0..ATTEMPTS {
        match attempt(app, message, &mut budget, recorded).await {
            Err(CommitError::Conflict) => {}
            Err(CommitError::Platform(cause)) => {
                return Err(MessageFailed::Platform { tenant_id: message.tenant_id, cause });
            }
            Ok(outcome) => return Ok(outcome),
        }
    }
    Ok(Outcome::Yielded)
}

/// Handles a batch of pull messages in the time that is left, and writes down what that measured.
pub async fn pull(app: &App, event: SqsEvent, left: SignedDuration, pull: Pull) -> SqsBatchResponse {
    let ends_at = app.clock.now().saturating_add(left).unwrap_or(Timestamp::MAX);
    let recorded = Recorded::default();
    let response = handle(event, &recorded, |body| pull_one(app, ends_at, &recorded, body, pull)).await;
    app.metrics.write(&recorded, app.clock.now());
    response
}

async fn pull_one(
    app: &App,
    ends_at: Timestamp,
    recorded: &Recorded,
    body: String,
    pull: Pull,
) -> Result<(), MessageFailed> {
    let began = app.clock.now();
    let message: PullMessage = serde_json::from_str(&body).map_err(|cause| MessageFailed::unreadable(&cause))?;
    let outcome = pull(app, &message, ends_at, recorded).await?;
    tell(&message, &outcome, app.clock.milliseconds_since(began));
    Ok(())
}

fn tell(message: &PullMessage, outcome: &Outcome, duration_ms: u64) {
    let PullMessage { tenant_id, part, .. } = message;
    match outcome {
        // Most passes find nothing new, a thousand times an hour.
        Outcome::NothingToDo | Outcome::Pulled { delivered: 0, complete: true } => {
            tracing::debug!(tenant.id = %tenant_id, ?part, duration_ms, "nothing new");
        }
        Outcome::Pulled { delivered, complete } => {
            tracing::info!(tenant.id = %tenant_id, ?part, delivered, complete, duration_ms, "pulled");
        }
        Outcome::Stopped(ability) => {
            tracing::info!(tenant.id = %tenant_id, ?part, ?ability, duration_ms, "a pull was stopped by Microsoft's answer");
        }
        Outcome::Yielded => {
            tracing::info!(tenant.id = %tenant_id, ?part, duration_ms, "a pull was left to another worker");
        }
    }
}

/// Runs `handle` on every message and answers which ones failed, which is recorded too.
///
/// The answer is always a list: `null` or an empty object would tell Lambda that all went well (AWS.md 3).
async fn handle<F, Fut>(event: SqsEvent, recorded: &Recorded, handle: F) -> SqsBatchResponse
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<(), MessageFailed>>,
{
    let under_way = event.records.into_iter().map(|message: SqsMessage| {
        let id = message.message_id.unwrap_or_default();
        handle(message.body.unwrap_or_default()).map(|outcome| (id, outcome))
    });
    let mut outcomes = stream::iter(under_way).buffer_unordered(CONCURRENCY);
    let mut response = SqsBatchResponse::default();
    while let Some((id, outcome)) = outcomes.next().await {
        if let Err(error) = outcome {
            let tenant_id = error.tenant_id().map(tracing::field::display);
            tracing::error!(message.id = id, tenant.id = tenant_id, %error, "a message failed and goes back to the queue");
            recorded.add(Metric::MessagesFailed, 1);
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            response.batch_item_failures.push(failure);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_messages_are_named_and_the_answer_is_never_null() {
        let event: SqsEvent = serde_json::from_str(
            r#"{"Records":[{"messageId":"a","body":"good"},{"messageId":"b","body":"bad"},{"messageId":"c"}]}"#,
        )
        .unwrap();
        let recorded = Recorded::default();
        let response = futures::executor::block_on(handle(event, &recorded, |body| async move {
            if body == "good" { Ok(()) } else { Err(MessageFailed::Unreadable(body)) }
        }));
        let mut failed: Vec<_> = response.batch_item_failures.iter().map(|f| f.item_identifier.as_str()).collect();
        failed.sort_unstable();
        assert_eq!(failed, ["b", "c"]);

        let none = futures::executor::block_on(handle(SqsEvent::default(), &recorded, |_| async { Ok(()) }));
        assert_eq!(serde_json::to_string(&none).unwrap(), r#"{"batchItemFailures":[]}"#);
    }
}
