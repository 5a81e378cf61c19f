//! `pull-dispatch`: the tenants that are due, one queue message for each.
//!
//! - **Trigger**: EventBridge Scheduler, one schedule per feed.
//! - **Reads**: the connections, shard by shard.
//! - **Writes**: messages to the feed's queue; at an alerts tick also to the machines' for tenants that await a proof.
//! - **Idempotency**: a tick that comes twice makes second messages, which the pullers find done.
//! - **On failure**: what could be dispatched is; Lambda repeats the tick once, and the next one makes it good.

use serde::Serialize;
use shared::{
    App,
    metrics::{Metric, Recorded},
    tenant::{
        Feed,
        dispatch::{self, DispatchError, Tick},
    },
};

/// What a dispatch did.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Dispatched {
    pub messages: usize,
}

/// Handles one tick.
///
/// # Errors
/// [`DispatchError`] when the store or the queue fails.
pub async fn handle(app: &App, tick: Tick) -> Result<Dispatched, DispatchError> {
    let began = app.clock.now();
    let messages = dispatch::run(app.ports.store.as_ref(), &app.ports.queues, &tick).await?;
    let recorded = Recorded::default();
    recorded.add(dispatched(tick.feed), messages as u64);
    app.metrics.write(&recorded, app.clock.now());
    let (feed, duration_ms) = (tick.feed.name(), app.clock.milliseconds_since(began));
    if messages > 0 {
        tracing::info!(feed, scheduled_time = %tick.scheduled_time, messages, duration_ms, "a tick is dispatched");
    } else {
        tracing::debug!(feed, scheduled_time = %tick.scheduled_time, duration_ms, "no tenant is due");
    }
    Ok(Dispatched { messages })
}

/// The feeds' ticks are told apart: the silence of one would be lost in the noise of the others.
fn dispatched(feed: Feed) -> Metric {
    match feed {
        Feed::Alerts => Metric::AlertsDispatched,
        Feed::Machines => Metric::MachinesDispatched,
        Feed::Telemetry => Metric::TelemetryDispatched,
    }
}
