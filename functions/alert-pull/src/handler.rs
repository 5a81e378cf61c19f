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
use jiff::SignedDuration;
use shared::{App, alert::pull::pull, batch};

/// Handles one batch in the time that is left. The answer lists the messages to deliver again, and is never null.
pub async fn handle(app: &App, event: SqsEvent, left: SignedDuration) -> SqsBatchResponse {
    batch::pull(app, event, left, pull).await
}
