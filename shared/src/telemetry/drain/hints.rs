//! Hints: messages of the customer's queue, each of which names a blob. A blob is in the registry before its message goes.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{Pass, Stop};
use crate::{
    microsoft::storage::{MAX_MESSAGES, Message},
    ports::lake::Put,
    record::{self, Ledger},
    telemetry::{
        blob::{self, Blob},
        check::Right,
        commit::New,
        hint::{self, Hint},
        progress::Part,
    },
    tenant::Feed,
};

/// Rounds of messages in one pass; what is left comes at the next.
const ROUNDS: usize = 16;
/// How long messages that we hold are hidden from others.
const HIDDEN: SignedDuration = SignedDuration::from_mins(2);
/// How often a message that cannot be read is handed out before it goes to the quarantine.
const MAX_DEQUEUES: i64 = 5;

impl Pass<'_> {
    /// Registers what the queue names. A queue that fails is a complaint; the blobs are read all the same.
    pub(super) async fn take_hints(&mut self) -> Result<(), Stop> {
        for _ in 0..ROUNDS {
            let messages = match self.account.receive(HIDDEN).await {
                Ok(messages) => messages,
                Err(error) => {
                    self.complain(self.refused_queue(Right::Peek, &error));
                    return Ok(());
                }
            };
            let full = messages.len() >= usize::try_from(MAX_MESSAGES).unwrap_or(usize::MAX);
            self.take_round(messages).await?;
            // What may not be deleted would only be handed out again and again.
            if !full || self.complaint.is_some() || self.out_of_time() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn take_round(&mut self, messages: Vec<Message>) -> Result<(), Stop> {
        let (mut new, mut done) = (BTreeMap::new(), Vec::new());
        for message in messages {
            match hint::parse(self.tenant, &message.text) {
                Ok(Hint::NotOurs) => done.push(message),
                Ok(Hint::Created(name)) => {
                    new.insert(blob::id(self.storage.account_name.as_str(), &name), name);
                    done.push(message);
                }
                Err(reason) if message.dequeue_count >= MAX_DEQUEUES => {
                    self.quarantine(&message, &reason).await?;
                    done.push(message);
                }
                Err(reason) => {
                    tracing::warn!(tenant.id = %self.tenant, message.id = message.id, %reason, "a message of the storage queue cannot be read; it comes again");
                }
            }
        }
        self.register_named(new).await?;
        // Counted before they go, whatever happens to us in between.
        self.desk.settle().await?;
        for message in done {
            if self.out_of_time() {
                // The others come again, and find their blobs registered.
                return Ok(());
            }
            if let Err(error) = self.account.delete(&message).await {
                self.complain(self.refused_queue(Right::Delete, &error));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Registers what is not known yet, and wakes what was thought done.
    async fn register_named(&mut self, names: BTreeMap<String, String>) -> Result<(), Stop> {
        let mut new = Vec::new();
        for (id, name) in names {
            self.named.insert(id.clone());
            if self.desk.live.contains_key(&id) {
                continue;
            }
            let retired = Part::Retired.get(self.app.ports.store.as_ref(), self.tenant, &id).await?;
            new.push(match retired {
                Some((blob, version)) => {
                    New { id, blob: Blob { grown_at: self.started, ..blob }, retired: Some(version) }
                }
                None => {
                    let blob = Blob::new(self.storage.account_name.as_str(), &name, self.started);
                    New { id, blob, retired: None }
                }
            });
        }
        if new.is_empty() { Ok(()) } else { Ok(self.desk.register(new).await?) }
    }

    /// Nobody can ever read it: it is kept, with the reason, and counted.
    async fn quarantine(&mut self, message: &Message, reason: &hint::Unreadable) -> Result<(), Stop> {
        let (text, now) = (message.text.as_bytes(), self.app.clock.now());
        let record =
            record::quarantine(Feed::Telemetry, self.tenant, text, text, &format!("queue message: {reason}"), now);
        tracing::warn!(tenant.id = %self.tenant, message.id = message.id, %reason, key = record.key, "a message of the storage queue goes to the quarantine");
        if self.app.ports.lake.put_new(&record.key, record.object).await? == Put::Exists {
            return Ok(());
        }
        let counts = Ledger { fetched: 1, quarantined: 1, ..Ledger::default() };
        self.desk.state.feed.ledger.add(counts);
        counts.record(self.recorded);
        Ok(())
    }
}
