//! The operation behind `pull-dispatch`: one queue message for every tenant that is due.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Connection, Feed, SHARDS, TenantId, load_shard};
use crate::ports::{
    Unavailable,
    queue::{Outgoing, Queue},
    store::{Store, StoreError},
};

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

/// The messages that one tick owes to these tenants.
pub fn messages_for<'a>(tick: &Tick, tenants: impl IntoIterator<Item = &'a Connection>) -> Vec<PullMessage> {
    let message = |tenant: &Connection, part| PullMessage {
        tenant_id: tenant.tenant_id,
        part,
        scheduled_time: tick.scheduled_time,
        every_seconds: tick.every_seconds.max(1),
    };
    let mut messages = Vec::new();
    for tenant in tenants.into_iter().filter(|tenant| tenant.is_due(tick.feed, tick.scheduled_time)) {
        messages.push(message(tenant, Part::Live));
        if tenant.feeds.get(&tick.feed).is_some_and(|feed| feed.backlog) {
            messages.push(message(tenant, Part::Backlog));
        }
    }
    messages
}

#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] Unavailable),
}

/// Sends the messages that a tick owes to these tenants, and tells how many.
///
/// # Errors
/// When the queue fails; messages already sent stay sent.
pub async fn send(queue: &dyn Queue, tick: &Tick, tenants: &[&Connection]) -> Result<usize, Unavailable> {
    let messages: Vec<Outgoing> = messages_for(tick, tenants.iter().copied())
        .iter()
        .filter_map(|message| serde_json::to_string(message).ok())
        .map(|body| Outgoing { body, delay: SignedDuration::ZERO })
        .collect();
    queue.send(&messages).await?;
    Ok(messages.len())
}

/// One tick, shard by shard. Tells how many messages it sent. A tick that is delivered twice makes second messages,
/// which pulls find already done. A shard that fails does not silence those after it.
///
/// # Errors
/// When the store or the queue has failed for a shard: the first failure, once all the others are sent.
pub async fn run(store: &dyn Store, queue: &dyn Queue, tick: &Tick) -> Result<usize, DispatchError> {
    let (mut sent, mut failed) = (0, None);
    for shard in 0..SHARDS {
        match dispatch_shard(store, queue, tick, shard).await {
            Ok(messages) => sent += messages,
            Err(error) => {
                tracing::error!(shard, %error, "the tenants of a shard are not dispatched");
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(sent), Err)
}

async fn dispatch_shard(store: &dyn Store, queue: &dyn Queue, tick: &Tick, shard: u8) -> Result<usize, DispatchError> {
    let tenants = load_shard(store, shard).await?;
    let connections: Vec<&Connection> = tenants.iter().map(|loaded| &loaded.connection).collect();
    Ok(send(queue, tick, &connections).await?)
}
