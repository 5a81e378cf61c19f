//! `alert-pull`: one tenant's alerts since its watermark, into the lake.
//!
//! - **Trigger**: SQS, messages of `pull-dispatch`; partial batch responses.
//! - **Reads**: the connection, the progress and the seen-set of one tenant; the vault; Entra; Defender's `/api/alerts`;
//!   the object of an intent that somebody left open.
//! - **Writes**: lake objects under `alerts/` and `quarantine/alerts/`; progress, seen-set and capability.
//! - **Idempotency**: a repeated message finds its window looked at, or looks again and finds everything seen.
//! - **On failure**: whatever Microsoft says is written down and the message is done; an unreadable message, or one that
//!   met a failing platform, goes back to the queue and after five deliveries to the dead letters.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::{SignedDuration, Timestamp};
use shared::{
    App,
    alert::pull::{Outcome, pull},
    batch::{self, MessageFailed},
    metrics::Recorded,
    tenant::dispatch::PullMessage,
};

/// Handles one batch in the time that is left. The answer lists the messages to deliver again, and is never null.
pub async fn handle(app: &App, event: SqsEvent, left: SignedDuration) -> SqsBatchResponse {
    let ends_at = app.clock.now().saturating_add(left).unwrap_or(Timestamp::MAX);
    let recorded = Recorded::default();
    let response = batch::handle(event, &recorded, |body| handle_message(app, ends_at, &recorded, body)).await;
    app.metrics.write(&recorded, app.clock.now());
    response
}

async fn handle_message(app: &App, ends_at: Timestamp, recorded: &Recorded, body: String) -> Result<(), MessageFailed> {
    let began = app.clock.now();
    let message: PullMessage = serde_json::from_str(&body).map_err(|cause| MessageFailed::unreadable(&cause))?;
    let outcome = pull(app, &message, ends_at, recorded).await?;
    let duration_ms = app.clock.milliseconds_since(began);
    let PullMessage { tenant_id, part, .. } = message;
    match outcome {
        // Most passes find nothing new, a thousand times an hour.
        Outcome::NothingToDo | Outcome::Pulled { delivered: 0, complete: true } => {
            tracing::debug!(tenant.id = %tenant_id, ?part, duration_ms, "nothing new");
        }
        Outcome::Pulled { delivered, complete } => {
            tracing::info!(tenant.id = %tenant_id, ?part, delivered, complete, duration_ms, "pulled alerts");
        }
        Outcome::Stopped(ability) => {
            tracing::info!(tenant.id = %tenant_id, ?part, ?ability, duration_ms, "a pull was stopped by Microsoft's answer");
        }
        Outcome::Yielded => {
            tracing::info!(tenant.id = %tenant_id, ?part, duration_ms, "a pull was left to another worker");
        }
    }
    Ok(())
}
