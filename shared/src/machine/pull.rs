//! One run over one tenant's inventory: read the whole list, deliver what changed, find out who is gone.

mod ask;
mod list;

use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::{
    Sighting, Unreadable,
    commit::{Batch, Desk, Leaving},
    inventory::News,
    progress::{Held, OpenRun, Place},
    run::{self, Told},
    snapshot::Presence,
};
use crate::{
    App,
    batch::{self, MessageFailed, Outcome},
    http::{Request, Response},
    metrics::{Metric, Recorded},
    record::{self, CommitError, mark},
    tenant::{
        Ability, Condition, Feed, TenantId,
        call::{CallFailed, Caller},
        dispatch::{Part, PullMessage},
    },
};

/// Calls to Defender in one pass; beside the alerts' usual ones they stay below the quota of 100 a minute.
const CALLS: u32 = 60;

/// What a person reads when no run comes to a complete end.
const STALE: &str = "Nothing to do yet: for a day no run has come to the end of the machines' list, so none of them can be \
                     told missing; what changes is delivered. If this stays, please report it.";

/// Handles one message, and records what it measures, however it ends. No answer is read after `ends_at`; a run that is
/// not done then goes on at the next tick.
///
/// # Errors
/// [`MessageFailed`] only when the platform fails; whatever Microsoft says is an [`Outcome`].
pub fn pull<'a>(
    app: &'a App,
    message: &'a PullMessage,
    ends_at: Timestamp,
    recorded: &'a Recorded,
) -> BoxFuture<'a, Result<Outcome, MessageFailed>> {
    let budget = Budget { calls_left: CALLS, answered: false, ends_at };
    batch::attempts(app, message, budget, recorded, |app, message, budget, recorded| {
        attempt(app, message, budget, recorded).boxed()
    })
    .boxed()
}

/// What a message may cost, however often its pass starts anew.
#[derive(Debug)]
struct Budget {
    calls_left: u32,
    /// Whether Defender gave any answer at all.
    answered: bool,
    ends_at: Timestamp,
}

impl Budget {
    fn take(&mut self, now: Timestamp) -> bool {
        let granted = self.calls_left > 0 && now <= self.ends_at;
        self.calls_left = self.calls_left.saturating_sub(1);
        granted
    }
}

async fn attempt(
    app: &App,
    message: &PullMessage,
    budget: &mut Budget,
    recorded: &Recorded,
) -> Result<Outcome, CommitError> {
    let Some(mut desk) = Desk::open(app, message.tenant_id).await? else { return Ok(Outcome::NothingToDo) };
    let scheduled = message.scheduled_time;
    if !desk.state.connection.is_due(Feed::Machines, app.clock.now().max(scheduled)) {
        return Ok(Outcome::NothingToDo);
    }
    desk.clear_away().await?;
    desk.finish_open_intent().await?.record(recorded);
    // There is no older data of machines.
    if message.part != Part::Live || desk.state.feed.is_done(scheduled) {
        return Ok(Outcome::NothingToDo);
    }
    let mut pass = Pass::new(app, desk, message, budget, recorded);
    pass.desk.load().await?;
    let stop = match pass.run().await {
        Ok(()) => None,
        Err(Stop::Failed(error)) => return Err(error),
        Err(stop) => Some(stop),
    };
    pass.end(stop).await
}

/// Why a pass ends before the list does.
#[derive(Debug)]
enum Stop {
    /// The budget is used up.
    Spent,
    Condition(Condition),
    /// The same page has failed as often as this pass tries.
    Faulty(String),
    /// The link that an earlier pass left behind leads nowhere any more.
    PlaceLost,
    Failed(CommitError),
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        Self::Failed(error)
    }
}

impl From<CallFailed> for Stop {
    fn from(failed: CallFailed) -> Self {
        match failed {
            CallFailed::Spent => Self::Spent,
            CallFailed::Service(failure) => Self::Faulty(failure),
            CallFailed::NotFound { .. } => Self::Condition(Condition::no_such_api(Feed::Machines)),
            CallFailed::BadRequest(message) => Self::Condition(Condition::query_not_understood(&message)),
            CallFailed::Condition(condition) => Self::Condition(condition),
            CallFailed::Platform(error) => Self::Failed(error.into()),
        }
    }
}

struct Pass<'a> {
    app: &'a App,
    tenant: TenantId,
    recorded: &'a Recorded,
    desk: Desk<'a>,
    caller: Caller<'a>,
    base: Url,
    budget: &'a mut Budget,
    /// The scheduled time that this run stands for: of the tick that began it.
    began: Timestamp,
    place: Place,
    /// Whether an id was shown twice, or the list went round in circles: then nobody counts as missing.
    shifted: bool,
    /// The whole list has been read, and whoever could be asked has been.
    ended: bool,
    /// What Microsoft said when the list was in and somebody was asked for.
    afterwards: Option<Condition>,
    batch: Batch,
    delivered: u64,
}

impl<'a> Pass<'a> {
    fn new(
        app: &'a App,
        mut desk: Desk<'a>,
        message: &PullMessage,
        budget: &'a mut Budget,
        recorded: &'a Recorded,
    ) -> Self {
        let (scheduled, every) = (message.scheduled_time, SignedDuration::from_secs(message.every_seconds.into()));
        let connection = &desk.state.connection;
        let caller = Caller::new(app, connection.tenant_id, &connection.application, Feed::Machines, recorded);
        let (tenant, base) = (connection.tenant_id, app.config.defender(connection.region));
        let (began, place, shifted) = match desk.state.feed.resumable(scheduled, every) {
            Some(run) => (run.began, run.place.clone(), run.shifted),
            None => {
                let outdated = desk.state.feed.run.take();
                desk.state.feed.let_go(outdated.map(|run| run.seen));
                (scheduled, Place::start(), false)
            }
        };
        desk.state.feed.first_run.get_or_insert(began);
        Self {
            app,
            tenant,
            recorded,
            desk,
            caller,
            base,
            budget,
            began,
            place,
            shifted,
            ended: false,
            afterwards: None,
            batch: Batch::default(),
            delivered: 0,
        }
    }

    async fn run(&mut self) -> Result<(), Stop> {
        self.read_list().await?;
        if !self.shifted {
            self.find_out_who_is_gone().await?;
        }
        self.conclude().await
    }

    async fn call(&mut self, request: Request) -> Result<Response, CallFailed> {
        let Self { app, caller, budget, .. } = self;
        let answered = caller.call(request, || budget.take(app.clock.now())).await;
        self.budget.answered |= answered.is_ok();
        answered
    }

    /// One record, wherever it was found.
    fn take_in(&mut self, sighting: Result<Sighting, Unreadable>, text: Vec<u8>, found: Presence) {
        self.batch.arrived();
        let sighting = match sighting {
            Ok(sighting) => sighting,
            Err(reason) => return self.quarantine(&text, &reason),
        };
        let (told, presence) = run::tell(self.desk.snapshot.get(&sighting.id), &sighting, found);
        let Sighting { id, content, merged_into } = sighting;
        let news = match told {
            Told::Unchanged => return self.batch.known(),
            Told::Moved => {
                let line = self.desk.snapshot.set(&id, content, presence);
                self.batch.remember(line);
                return self.batch.known();
            }
            Told::News(news) => news,
        };
        if let Some(target) = &merged_into {
            self.desk.state.feed.ask_for(target);
        }
        let line = self.desk.snapshot.set(&id, content, presence);
        self.batch.push(Leaving { id, news, text: String::from_utf8_lossy(&text).into_owned() }, line);
    }

    /// A machine that is no more. Nothing came from Microsoft but its word, which counts as a record.
    fn give_up(&mut self, id: &str) {
        self.batch.arrived();
        let line = self.desk.snapshot.remove(id);
        self.batch.push(Leaving { id: id.to_owned(), news: News::Gone, text: String::new() }, line);
    }

    fn quarantine(&mut self, text: &[u8], reason: &Unreadable) {
        let identity = match reason {
            Unreadable::NoId(identity) => identity.as_bytes(),
            Unreadable::NotAnObject => text,
        };
        let now = self.app.clock.now();
        let record = record::quarantine(Feed::Machines, self.tenant, identity, text, &reason.to_string(), now);
        let known = mark(&[b"text", &record.sha256]);
        if self.desk.snapshot.has_quarantined(&known) {
            return self.batch.known();
        }
        let line = self.desk.snapshot.quarantine(known);
        self.batch.quarantine(record, line);
    }

    async fn commit(&mut self) -> Result<(), Stop> {
        let counts = self.desk.commit(std::mem::take(&mut self.batch), |_| {}).await?;
        self.delivered += counts.delivered;
        counts.record(self.recorded);
        Ok(())
    }

    /// The list is at its end: one commit of what is left, and of how far the feed has come.
    async fn conclude(&mut self) -> Result<(), Stop> {
        let (began, complete) = (self.began, !self.shifted);
        let until = self.caller.date().map_or(began, |date| date.min(began));
        let machines = self.desk.snapshot.count() as u64;
        let held = self.held();
        let counts = self
            .desk
            .commit(std::mem::take(&mut self.batch), |feed| {
                feed.end_run(began);
                if complete {
                    feed.complete_runs += 1;
                    feed.last_complete = feed.last_complete.max(Some(until));
                    feed.machines = machines;
                    feed.held = held;
                }
            })
            .await?;
        self.delivered += counts.delivered;
        counts.record(self.recorded);
        self.ended = true;
        Ok(())
    }

    fn held(&self) -> Option<Held> {
        let machines = run::breaker(&self.desk.snapshot, self.desk.state.feed.accepted_through)?;
        let since = self.desk.state.feed.held.map_or(self.began, |held| held.since);
        Some(Held { since, machines })
    }

    /// Writes down how the pass ended.
    async fn end(mut self, stop: Option<Stop>) -> Result<Outcome, CommitError> {
        let now = self.app.clock.now();
        if matches!(stop, Some(Stop::PlaceLost)) {
            self.give_up_the_place();
        }
        if !self.ended {
            self.interrupt().await?;
        }
        let pulled = Outcome::Pulled { delivered: self.delivered, complete: self.ended && !self.shifted };
        let (outcome, condition) = match stop {
            Some(Stop::Failed(error)) => return Err(error),
            Some(Stop::Condition(mut condition)) => {
                if condition.ability == Ability::Throttled && self.desk.state.feed.is_stale(now) {
                    condition.next_step = STALE.to_owned();
                }
                (Outcome::Stopped(condition.ability), condition)
            }
            Some(Stop::Spent) if !self.budget.answered => faulty(self.tenant, "no answer in time"),
            Some(Stop::Faulty(failure)) => faulty(self.tenant, &failure),
            Some(Stop::PlaceLost) => faulty(self.tenant, "the machines' list cannot be gone on with, and begins anew"),
            Some(Stop::Spent) | None => (pulled, self.afterwards.take().unwrap_or_else(|| self.condition(now))),
        };
        let condition = Condition { token_born: self.caller.token_born(), ..condition };
        if let Some(roles) = self.caller.accepted_roles() {
            self.desk.state.connection.complete_evidence(roles, now);
        }
        if self.desk.state.connection.absorb(Feed::Machines, &condition, now) {
            tracing::info!(tenant.id = %self.tenant, ability = ?condition.ability, next_step = condition.next_step, "the machines feed's capability changed");
        }
        self.desk.settle().await?;
        self.measure(now);
        Ok(outcome)
    }

    /// The next pass reads the list from its beginning.
    fn give_up_the_place(&mut self) {
        let run = self.desk.state.feed.run.take();
        self.desk.state.feed.let_go(run.map(|run| run.seen));
        self.place = Place::start();
    }

    /// Delivers what was found, and keeps the place for the next pass.
    async fn interrupt(&mut self) -> Result<(), CommitError> {
        let counts = self.desk.commit(std::mem::take(&mut self.batch), |_| {}).await?;
        self.delivered += counts.delivered;
        counts.record(self.recorded);
        let Self { desk, place, began, shifted, .. } = self;
        let stands = desk.state.feed.run.as_ref().is_some_and(|run| run.place == *place);
        // Where nothing was read, the next pass begins as well without.
        if *place == Place::start() || stands {
            return Ok(());
        }
        let (began, place, shifted) = (*began, place.clone(), *shifted);
        desk.interrupt(|seen| OpenRun { began, place, shifted, seen }).await
    }

    /// What the feed can do, once Defender has answered.
    fn condition(&self, now: Timestamp) -> Condition {
        let feed = &self.desk.state.feed;
        let mut condition = Condition::ok();
        if feed.is_stale(now) {
            condition = Condition::failing(STALE);
        } else if let Some(held) = feed.held {
            condition.next_step = format!(
                "Operator: {} of {} machines have vanished at once, so none is reported as removed. If that is right, accept it \
                 with `muster accept {}`.",
                held.machines, feed.machines, self.tenant
            );
        }
        condition
    }

    /// Once a pass has written down how it ended.
    fn measure(&self, now: Timestamp) {
        if let Some(held) = self.desk.state.feed.held {
            tracing::warn!(tenant.id = %self.tenant, machines = held.machines, "more machines have vanished at once than is believed");
            self.recorded.add(Metric::MachinesHeld, held.machines);
        }
        let since = self.desk.state.feed.last_complete.or(self.desk.state.feed.first_run);
        if let Some(since) = since.filter(|_| self.desk.state.connection.should_be_fresh(Feed::Machines)) {
            self.recorded.add_seconds(Metric::FreshnessSeconds, now.duration_since(since));
        }
    }
}

fn faulty(tenant: TenantId, failure: &str) -> (Outcome, Condition) {
    tracing::warn!(tenant.id = %tenant, failure, "Defender fails; the run goes on at the next tick");
    let condition =
        Condition::failing(format!("Nothing to do yet: Defender fails ({failure}); asked again at the next tick."));
    (Outcome::Stopped(condition.ability), condition)
}
