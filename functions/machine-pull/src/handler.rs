//! `machine-pull`: one tenant's device inventory, into the lake as far as it changed.
//!
//! - **Trigger**: SQS, messages of `pull-dispatch`; partial batch responses.
//! - **Reads**: the connection, the progress and the last inventory of one tenant; the vault; Entra; Defender's
//!   `/api/machines`.
//! - **Writes**: lake objects under `machines/`, `quarantine/machines/` and `snapshots/machines/`; progress and capability.
//! - **Idempotency**: a repeated message finds its run done, or reads the inventory again and finds nothing changed.
//! - **On failure**: whatever Microsoft says is written down and the message is done; an unreadable message, or one that
//!   met a failing platform, goes back to the queue and after five deliveries to the dead letters.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use jiff::SignedDuration;
use shared::{App, batch, machine::pull::pull};

/// Handles one batch in the time that is left. The answer lists the messages to deliver again, and is never null.
pub async fn handle(app: &App, event: SqsEvent, left: SignedDuration) -> SqsBatchResponse {
    batch::pull(app, event, left, pull).await
}
