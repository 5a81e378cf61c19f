//! What Lambda's event source mapping does on AWS: receive, hand over as an SQS event, delete what succeeded.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use embedded::{Delivery, Machine};
use jiff::SignedDuration;
use shared::{
    ports::{Unavailable, queue::MAX_BATCH},
    tenant::{
        Feed, TenantId,
        dispatch::{Part, PullMessage},
    },
};

/// What a pass may take until its last answer has been read. Nobody cuts us off here, so a slow answer gets its time.
const LEFT: SignedDuration = SignedDuration::from_secs(290);
/// A little longer.
const VISIBILITY: SignedDuration = SignedDuration::from_mins(6);

/// The workers of one feed in one process. Clones work side by side.
///
/// A tenant that is slower than its tick gets a message before the last one is done. That message is let go, for the
/// pass under way or the next tick covers it; otherwise one slow tenant would in time hold every worker.
#[derive(Debug, Clone)]
pub struct Worker {
    machine: Machine,
    feed: Feed,
    under_way: Arc<Mutex<HashSet<(TenantId, Part)>>>,
}

impl Worker {
    pub fn new(machine: Machine, feed: Feed) -> Self {
        Self { machine, feed, under_way: Arc::default() }
    }

    /// Receives up to `max` messages of the feed's queue and handles them. Tells how many there were.
    ///
    /// # Errors
    /// When the queue fails; messages already handled may come again.
    pub async fn drain(&self, max: usize) -> Result<usize, Unavailable> {
        let queue = self.feed.of(&self.machine.deliveries);
        let deliveries = queue.receive(max.min(MAX_BATCH), VISIBILITY).await?;
        let mut claims = Vec::new();
        let mut event = SqsEvent::default();
        for delivery in &deliveries {
            match self.claim(delivery) {
                Claim::Taken => continue,
                Claim::Ours(claim) => claims.push(claim),
                // Nobody can read it; the handler says so, and the queue makes a dead letter of it in time.
                Claim::Unreadable => {}
            }
            let mut message = SqsMessage::default();
            message.message_id = Some(delivery.message_id.clone());
            message.receipt_handle = Some(delivery.receipt.clone());
            message.body = Some(delivery.body.clone());
            event.records.push(message);
        }
        let app = &self.machine.app;
        let response = match self.feed {
            Feed::Alerts => alert_pull::handle(app, event, LEFT).await,
            Feed::Machines => machine_pull::handle(app, event, LEFT).await,
            Feed::Telemetry => telemetry_drain::handle(app, event, LEFT).await,
        };
        drop(claims);
        for delivery in &deliveries {
            let failed =
                response.batch_item_failures.iter().any(|failure| failure.item_identifier == delivery.message_id);
            if !failed {
                queue.delete(&delivery.receipt).await?;
            }
        }
        Ok(deliveries.len())
    }

    fn claim(&self, delivery: &Delivery) -> Claim {
        let Ok(message) = serde_json::from_str::<PullMessage>(&delivery.body) else { return Claim::Unreadable };
        let work = (message.tenant_id, message.part);
        if lock(&self.under_way).insert(work) {
            Claim::Ours(UnderWay { work, all: self.under_way.clone() })
        } else {
            Claim::Taken
        }
    }
}

enum Claim {
    Ours(UnderWay),
    Taken,
    Unreadable,
}

/// Held while a pass is under way; let go however it ends.
struct UnderWay {
    work: (TenantId, Part),
    all: Arc<Mutex<HashSet<(TenantId, Part)>>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.work);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
