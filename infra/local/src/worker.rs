//! What Lambda's event source mapping does on AWS: receive, hand over as an SQS event, delete what succeeded.

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use jiff::SignedDuration;
use shared::{
    App,
    ports::{Unavailable, queue::MAX_BATCH},
};

/// Six times what a pass takes, as AWS advises for the visibility of messages.
const VISIBILITY: SignedDuration = SignedDuration::from_mins(6);

/// Receives up to `max` messages of the alerts queue and handles them. Tells how many there were.
///
/// # Errors
/// When the queue fails; messages already handled may come again.
pub async fn drain(app: &App, max: usize) -> Result<usize, Unavailable> {
    let queue = &app.ports.alerts;
    let deliveries = queue.receive(max.min(MAX_BATCH), VISIBILITY).await?;
    let mut event = SqsEvent::default();
    for delivery in &deliveries {
        let mut message = SqsMessage::default();
        message.message_id = Some(delivery.message_id.clone());
        message.receipt_handle = Some(delivery.receipt.clone());
        message.body = Some(delivery.body.clone());
        event.records.push(message);
    }
    let response = alert_pull::handle(app, event).await;
    for delivery in &deliveries {
        let failed = response.batch_item_failures.iter().any(|failure| failure.item_identifier == delivery.message_id);
        if !failed {
            queue.delete(&delivery.receipt).await?;
        }
    }
    Ok(deliveries.len())
}
