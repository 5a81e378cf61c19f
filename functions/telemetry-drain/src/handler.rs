//! `telemetry-drain`: one tenant's network telemetry out of its own storage account, into the lake.
//!
//! - **Trigger**: SQS, messages of `pull-dispatch`; partial batch responses.
//! - **Reads**: the connection, the progress and the blob registry of one tenant; the vault; Entra; the tenant's storage
//!   queue and append blobs; the marks of what was delivered before.
//! - **Writes**: lake objects under `telemetry/`, `quarantine/telemetry/` and `snapshots/telemetry/`; progress, registry and
//!   capability; deletes messages of the tenant's queue whose blob is registered, and never a blob.
//! - **Idempotency**: a repeated message goes on at the offsets where the last one stopped.
//! - **On failure**: whatever Microsoft says is written down and the message is done; an unreadable message, or one that
//!   met a failing platform, goes back to the queue and after five deliveries to the dead letters.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::SignedDuration;
use shared::{App, batch, telemetry::drain::drain};

/// Handles one batch in the time that is left. The answer lists the messages to deliver again, and is never null.
pub async fn handle(app: &App, event: SqsEvent, left: SignedDuration) -> SqsBatchResponse {
    batch::pull(app, event, left, drain).await
}
