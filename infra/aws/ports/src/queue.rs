//! A queue in SQS.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sqs::{Client, error::BuildError, types::SendMessageBatchRequestEntry};
use shared::ports::{
    Unavailable,
    queue::{MAX_BATCH, Outgoing, Queue, validate},
};

use crate::error::unavailable;

const PORT: &str = "queue";
/// How often the messages of a batch that SQS could not take are sent again.
const TRIES: u32 = 3;

#[derive(Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    pub fn new(sdk: &SdkConfig, url: &str) -> Self {
        Self { client: Client::new(sdk), url: url.to_owned() }
    }

    /// Sends at most ten. A batch may be taken in part: the rest is sent again, and what was taken is not.
    async fn send_batch(&self, messages: &[Outgoing]) -> Result<(), Unavailable> {
        let numbered = messages.iter().enumerate();
        let mut entries = numbered
            .map(|(number, message)| entry(number, message))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|cause| Unavailable::new(PORT, cause))?;
        let mut refused = String::new();
        for _ in 0..TRIES {
            let sent = self
                .client
                .send_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries.clone()))
                .send()
                .await
                .map_err(|error| unavailable(PORT, "SendMessageBatch", &error))?;
            entries.retain(|entry| sent.failed().iter().any(|failed| failed.id() == entry.id()));
            let Some(failed) = sent.failed().first() else { return Ok(()) };
            refused = format!("{}: {}", failed.code(), failed.message().unwrap_or_default());
            if failed.sender_fault() {
                break;
            }
        }
        Err(Unavailable::new(PORT, format!("{} of {} messages were refused, {refused}", entries.len(), messages.len())))
    }
}

fn entry(number: usize, message: &Outgoing) -> Result<SendMessageBatchRequestEntry, BuildError> {
    let delay = i32::try_from(message.delay.as_secs()).unwrap_or(i32::MAX);
    SendMessageBatchRequestEntry::builder()
        .id(number.to_string())
        .message_body(&message.body)
        .delay_seconds(delay)
        .build()
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Unavailable> {
        validate(messages)?;
        for batch in messages.chunks(MAX_BATCH) {
            self.send_batch(batch).await?;
        }
        Ok(())
    }
}
