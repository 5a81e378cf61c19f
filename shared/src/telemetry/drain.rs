//! One pass over one tenant's storage: hints, now and then the whole listing, then whatever has grown, as far as the budget
//! goes.

mod hints;
mod listing;
mod reading;

use std::collections::BTreeSet;

use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};

use super::open_account;
use super::{
    batch::Batch,
    check::{Finding, Right, blob_trouble, queue_trouble},
    commit::Desk,
};
use crate::{
    App,
    batch::{self, MessageFailed, Outcome},
    metrics::{Metric, Recorded},
    microsoft::{
        storage::{Account, StorageError},
        token::TokenError,
    },
    record::CommitError,
    storage::Storage,
    tenant::{Ability, Condition, Feed, TenantId, dispatch::PullMessage},
};

/// Bytes of blobs in one pass: a tenant with more to give gets its next turn at the next tick.
const BYTES: u64 = 1 << 30;
/// No further piece after so long, however much time is left.
const PASS_TIME: SignedDuration = SignedDuration::from_mins(4);
/// An intent that young is another worker's, who is about to keep it: to settle it would throw that work away.
const LEASE: SignedDuration = SignedDuration::from_secs(5);
/// What only the customer can mend is tried again after so long: a new role takes minutes.
const PROBE: SignedDuration = SignedDuration::from_mins(15);

/// Handles one message, and records what it measures, however it ends. Nothing is read after `ends_at`.
///
/// # Errors
/// [`MessageFailed`] only when the platform fails; whatever Microsoft says is an [`Outcome`].
pub fn drain<'a>(
    app: &'a App,
    message: &'a PullMessage,
    ends_at: Timestamp,
    recorded: &'a Recorded,
) -> BoxFuture<'a, Result<Outcome, MessageFailed>> {
    let budget = Budget { bytes_left: BYTES, until: ends_at.min(app.clock.now() + PASS_TIME) };
    batch::attempts(app, message, budget, recorded, |app, message, budget, recorded| {
        attempt(app, message, budget, recorded).boxed()
    })
    .boxed()
}

/// What a message may cost, however often its pass starts anew.
#[derive(Debug)]
struct Budget {
    bytes_left: u64,
    until: Timestamp,
}

async fn attempt(
    app: &App,
    message: &PullMessage,
    budget: &mut Budget,
    recorded: &Recorded,
) -> Result<Outcome, CommitError> {
    let Some(mut desk) = Desk::open(app, message.tenant_id).await? else { return Ok(Outcome::NothingToDo) };
    if !desk.state.connection.is_due(Feed::Telemetry, app.clock.now().max(message.scheduled_time)) {
        return Ok(Outcome::NothingToDo);
    }
    let young = |opened_at: Timestamp| app.clock.now().duration_since(opened_at) < LEASE;
    if desk.state.feed.intent.as_ref().is_some_and(|intent| young(intent.opened_at)) {
        return Ok(Outcome::Yielded);
    }
    desk.clear_away().await?;
    desk.finish_open_intent().await?.record(recorded);
    let connection = &desk.state.connection;
    let Some(storage) = connection.storage.clone() else { return conclude(desk, Err(no_storage()), recorded).await };
    let account = match open_account(app, connection.tenant_id, &connection.application, &storage).await {
        Ok(account) => account,
        Err(TokenError::Platform(error)) => return Err(error.into()),
        Err(error) => return conclude(desk, Err(Condition::from_token_error(&error, Feed::Telemetry)), recorded).await,
    };
    desk.state.feed.since.get_or_insert(app.clock.now());
    let every = SignedDuration::from_secs(message.every_seconds.into());
    let mut pass = Pass {
        app,
        tenant: message.tenant_id,
        recorded,
        desk,
        account,
        storage,
        budget,
        every,
        started: app.clock.now(),
        named: BTreeSet::new(),
        complaint: None,
        replaced: BTreeSet::new(),
        batch: Batch::default(),
        delivered: 0,
    };
    match pass.run().await {
        Err(Stop::Failed(error)) => Err(error),
        ended => pass.end(ended.err()).await,
    }
}

fn no_storage() -> Condition {
    Condition {
        asleep: Some(PROBE),
        ..Condition::not_configured(
            "Operator: name the storage account and queue with `muster connect TENANT_ID --account NAME --feeds telemetry \
             --storage ACCOUNT/QUEUE`.",
        )
    }
}

/// Why a pass ends before its work is done.
#[derive(Debug)]
enum Stop {
    /// The budget is used up.
    Spent,
    Condition(Condition),
    Failed(CommitError),
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        Self::Failed(error)
    }
}

impl From<crate::ports::Unavailable> for Stop {
    fn from(error: crate::ports::Unavailable) -> Self {
        Self::Failed(error.into())
    }
}

impl From<crate::ports::store::StoreError> for Stop {
    fn from(error: crate::ports::store::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

struct Pass<'a> {
    app: &'a App,
    tenant: TenantId,
    recorded: &'a Recorded,
    desk: Desk<'a>,
    account: Account,
    storage: Storage,
    budget: &'a mut Budget,
    every: SignedDuration,
    started: Timestamp,
    /// Blobs that a hint or the listing has named: looked at whether it is their turn or not.
    named: BTreeSet<String>,
    /// What is wrong with the queue, or with one blob. The rest goes on without.
    complaint: Option<Condition>,
    /// Blobs that turned out to be others than they were.
    replaced: BTreeSet<String>,
    batch: Batch,
    delivered: u64,
}

impl Pass<'_> {
    async fn run(&mut self) -> Result<(), Stop> {
        self.take_hints().await?;
        self.list_if_due().await?;
        self.read_what_grew().await
    }

    /// A trouble that ends the pass, as far as it is the account's and not one blob's.
    fn refused(
        &self,
        finding: fn(Right, &Storage, &StorageError) -> Finding,
        right: Right,
        error: &StorageError,
    ) -> Condition {
        let Finding { ability, next_step, .. } = finding(right, &self.storage, error);
        match (error, ability) {
            (StorageError::Busy { pause }, _) => {
                self.recorded.add(Metric::Throttled, 1);
                Condition { ability, asleep: Some(*pause), ..Condition::failing(next_step) }
            }
            (StorageError::Unavailable { .. } | StorageError::BeyondEnd, _) => Condition::failing(next_step),
            (_, Ability::NotConfigured) => Condition { asleep: Some(PROBE), ..Condition::not_configured(next_step) },
            _ => Condition { ability, asleep: Some(PROBE), ..Condition::storage_refused(next_step) },
        }
    }

    fn refused_blobs(&self, right: Right, error: &StorageError) -> Condition {
        let condition = self.refused(blob_trouble, right, error);
        if condition.ability == Ability::NotConfigured && self.desk.state.feed.bytes > 0 {
            // It was there, and is no longer: that is not a setup that is still to come.
            return Condition { asleep: condition.asleep, ..Condition::failing(condition.next_step) };
        }
        condition
    }

    fn refused_queue(&self, right: Right, error: &StorageError) -> Condition {
        // Blobs are found without it, only later: no reason to sleep.
        Condition { asleep: None, ..self.refused(queue_trouble, right, error) }
    }

    /// The first complaint is the one that is told.
    fn complain(&mut self, condition: Condition) {
        self.complaint.get_or_insert(condition);
    }

    /// Whether half of the pass's time is over.
    fn half_over(&self) -> bool {
        let time = self.budget.until.duration_since(self.started);
        self.app.clock.now() > self.started + time / 2
    }

    fn out_of_time(&self) -> bool {
        self.app.clock.now() > self.budget.until
    }

    /// Delivers what has been read so far.
    async fn commit(&mut self) -> Result<(), Stop> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let counts = self.desk.commit(std::mem::take(&mut self.batch)).await?;
        self.delivered += counts.delivered;
        counts.record(self.recorded);
        Ok(())
    }

    /// Writes down how the pass ended.
    async fn end(mut self, stop: Option<Stop>) -> Result<Outcome, CommitError> {
        let complete = stop.is_none();
        let unannounced = |complaint: &Condition| complaint.ability == Ability::NotConfigured;
        if complete && self.complaint.as_ref().is_none_or(unannounced) {
            self.desk.state.feed.watermark = self.desk.state.feed.watermark.max(Some(self.started));
        }
        let delivered = self.delivered;
        let told = match stop {
            Some(Stop::Failed(error)) => return Err(error),
            Some(Stop::Condition(condition)) => Err(condition),
            Some(Stop::Spent) | None => match self.complaint.take() {
                Some(complaint) => Err(complaint),
                None => Ok(Outcome::Pulled { delivered, complete }),
            },
        };
        conclude(self.desk, told, self.recorded).await
    }
}

/// Writes down what the feed can do, and how far it has come.
async fn conclude(
    mut desk: Desk<'_>,
    told: Result<Outcome, Condition>,
    recorded: &Recorded,
) -> Result<Outcome, CommitError> {
    let (outcome, condition) = match told {
        Ok(outcome) => (outcome, Condition::ok()),
        Err(condition) => (Outcome::Stopped(condition.ability), condition),
    };
    let now = desk.now();
    desk.state.feed.behind = desk.live.values().map(|(blob, _)| blob.behind()).sum();
    desk.state.feed.blobs = desk.live.len() as u64;
    let tenant = desk.state.connection.tenant_id;
    if desk.state.connection.absorb(Feed::Telemetry, &condition, now) {
        tracing::info!(tenant.id = %tenant, ability = ?condition.ability, next_step = condition.next_step, "the telemetry feed's capability changed");
    }
    desk.settle().await?;
    recorded.add(Metric::BytesBehind, desk.state.feed.behind);
    // Not `Connection::should_be_fresh`: that storage has begun to keep us out (a firewall) is worth an alarm. A right that is
    // not given, or storage that is not set up, is not; it stands with the tenant.
    let expected = matches!(condition.ability, Ability::Ok | Ability::Throttled | Ability::Failing);
    if desk.state.connection.state.should_be_fresh() && expected {
        let since = desk.state.feed.watermark.or(desk.state.feed.since).unwrap_or(now);
        recorded.add_seconds(Metric::FreshnessSeconds, now.duration_since(since));
    }
    Ok(outcome)
}
