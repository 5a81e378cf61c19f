//! The operation behind `pull-dispatch`: one queue message for every tenant that is due, and at the
//! quickest feed's tick one for machines that await their proof.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Connection, Feed, SHARDS, TenantId, load_shard};
use crate::ports::{
    PerFeed, Unavailable,
    queue::{Outgoing, Queue},
    store::{Store, StoreError},
};

/// Each feed's queue.
type Queues = PerFeed<Arc<dyn Queue>>;

/// The rhythm that a pull between two ticks is told of: the usual one.
const FIRST_EVERY_SECONDS: u32 = 60;

/// What a scheduled moment tells (the event table in the README).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    pub feed: Feed,
    pub scheduled_time: Timestamp,
    pub every_seconds: u32,
}

/// Which part of a tenant's alerts a message is for. Live and backlog travel apart, so that a long walk never delays
/// what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Live,
    Backlog,
}

/// The body of a pull message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullMessage {
    pub tenant_id: TenantId,
    pub part: Part,
    pub scheduled_time: Timestamp,
    pub every_seconds: u32,
}

/// The messages that one tick owes to these tenants, each with its feed.
pub fn messages_for<'a>(tick: &Tick, tenants: impl IntoIterator<Item = &'a Connection>) -> Vec<(Feed, PullMessage)> {
    let mut messages = Vec::new();
    for tenant in tenants {
        // An hour that is waited for a proof must not pass between two ticks of machines.
        let also = (tick.feed == Feed::Alerts && tenant.is_unsettled(Feed::Machines)).then_some(Feed::Machines);
        for feed in [Some(tick.feed), also].into_iter().flatten() {
            messages.extend(messages_of(feed, tick.scheduled_time, tick.every_seconds, tenant));
        }
    }
    messages
}

fn messages_of(feed: Feed, at: Timestamp, every_seconds: u32, tenant: &Connection) -> Vec<(Feed, PullMessage)> {
    if !tenant.is_due(feed, at) {
        return Vec::new();
    }
    let backlog = tenant.feeds.get(&feed).is_some_and(|feed| feed.backlog);
    let parts = [Some(Part::Live), backlog.then_some(Part::Backlog)].into_iter().flatten();
    parts
        .map(|part| PullMessage {
            tenant_id: tenant.tenant_id,
            part,
            scheduled_time: at,
            every_seconds: every_seconds.max(1),
        })
        .map(|message| (feed, message))
        .collect()
}

#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] Unavailable),
}

/// The first pull of a tenant that has just been bound: all its feeds that are due, without waiting for a tick.
///
/// # Errors
/// When a queue fails: the first failure. The other feeds' messages are sent.
pub async fn at_once(queues: &Queues, tenant: &Connection, now: Timestamp) -> Result<(), Unavailable> {
    let messages: Vec<_> =
        tenant.feeds.keys().flat_map(|feed| messages_of(*feed, now, FIRST_EVERY_SECONDS, tenant)).collect();
    send(queues, &messages).await
}

/// As [`at_once`], of the alerts this part alone.
///
/// # Errors
/// When the queue fails.
pub async fn part_at_once(queues: &Queues, tenant: &Connection, part: Part, now: Timestamp) -> Result<(), Unavailable> {
    let mut messages = messages_of(Feed::Alerts, now, FIRST_EVERY_SECONDS, tenant);
    messages.retain(|(_, message)| message.part == part);
    send(queues, &messages).await
}

async fn send(queues: &Queues, messages: &[(Feed, PullMessage)]) -> Result<(), Unavailable> {
    let mut failed = None;
    for feed in Feed::ALL {
        let outgoing: Vec<Outgoing> = messages
            .iter()
            .filter(|(theirs, _)| *theirs == feed)
            .filter_map(|(_, message)| serde_json::to_string(message).ok())
            .map(|body| Outgoing { body, delay: SignedDuration::ZERO })
            .collect();
        if !outgoing.is_empty()
            && let Err(error) = feed.of(queues).send(&outgoing).await
        {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// One tick, shard by shard. Tells how many messages it sent. A tick that is delivered twice makes second messages,
/// which pulls find already done. A shard that fails does not silence those after it.
///
/// # Errors
/// When the store or the queue has failed for a shard: the first failure, once all the others are sent.
pub async fn run(store: &dyn Store, queues: &Queues, tick: &Tick) -> Result<usize, DispatchError> {
    let (mut sent, mut failed) = (0, None);
    for shard in 0..SHARDS {
        match dispatch_shard(store, queues, tick, shard).await {
            Ok(messages) => sent += messages,
            Err(error) => {
                tracing::error!(shard, %error, "the tenants of a shard are not dispatched");
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(sent), Err)
}

async fn dispatch_shard(store: &dyn Store, queues: &Queues, tick: &Tick, shard: u8) -> Result<usize, DispatchError> {
    let tenants = load_shard(store, shard).await?;
    let connections = tenants.iter().map(|loaded| &loaded.connection);
    let messages = messages_for(tick, connections);
    send(queues, &messages).await?;
    Ok(messages.len())
}
