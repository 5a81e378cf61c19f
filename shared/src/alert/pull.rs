//! One pass over one tenant's alerts: look, fetch what is new, commit, as far as the budget goes.

mod call;
mod fetch;
mod look;
mod measure;

use call::CallFailed;
use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::{
    commit::Desk,
    ladder::{self, Rung, Trouble},
    progress::{AlertFeed, Depth, LivePlan, Walk, WalkReason},
    window::Window,
};
use crate::{
    App,
    batch::{self, MessageFailed, Outcome},
    metrics::{Metric, Recorded},
    microsoft::time::TICK,
    record::CommitError,
    tenant::{
        Ability, Condition, Connection, Feed, TenantId,
        call::Caller,
        dispatch::{Part, PullMessage},
    },
};

/// Calls to Defender in one live pass; beside the backlog's usual ones they stay below the quota of 100 a minute.
const LIVE_CALLS: u32 = 60;
/// Fewer, so that a long walk leaves most of the hourly quota of 1,500 to what is new.
const BACKLOG_CALLS: u32 = 15;
/// More for a walk that has not come forward yet: finding the first window that fits a page may take dozens of looks,
/// and a pass that ends before would begin them anew for ever. Rare enough for the quota to have its say.
const CALLS_TO_THE_FIRST_STEP: u32 = 45;
/// No new call after so long: the next tick goes on from here.
const PASS_TIME: SignedDuration = SignedDuration::from_secs(50);

/// Handles one message, and records what it measures, however it ends. No answer is read after `ends_at`; what is missing
/// then is the ladder's business, so that a slow tenant gets smaller questions instead of the same again.
///
/// # Errors
/// [`MessageFailed`] only when the platform fails; whatever Microsoft says is an [`Outcome`].
pub fn pull<'a>(
    app: &'a App,
    message: &'a PullMessage,
    ends_at: Timestamp,
    recorded: &'a Recorded,
) -> BoxFuture<'a, Result<Outcome, MessageFailed>> {
    let budget = Budget {
        calls_left: match message.part {
            Part::Live => LIVE_CALLS,
            Part::Backlog => BACKLOG_CALLS,
        },
        calls_to_the_first_step: match message.part {
            Part::Live => 0,
            Part::Backlog => CALLS_TO_THE_FIRST_STEP,
        },
        answered: false,
        until: ends_at.min(app.clock.now() + PASS_TIME),
        ends_at,
    };
    batch::attempts(app, message, budget, recorded, |app, message, budget, recorded| {
        attempt(app, message, budget, recorded).boxed()
    })
    .boxed()
}

/// What a message may cost, however often its pass starts anew.
#[derive(Debug)]
struct Budget {
    calls_left: u32,
    calls_to_the_first_step: u32,
    /// Whether Defender gave any answer at all.
    answered: bool,
    /// No new call after this.
    until: Timestamp,
    /// Nor a further chunk of an answer after this.
    ends_at: Timestamp,
}

impl Budget {
    /// A call that must be made however little is left.
    fn allow_one(&mut self, now: Timestamp) {
        self.calls_left = self.calls_left.max(1);
        self.until = self.until.max(now + SignedDuration::from_secs(10)).min(self.ends_at);
    }

    /// Takes one call; false when there is none left.
    fn take(&mut self, now: Timestamp, came_forward: bool) -> bool {
        let left =
            if self.calls_left > 0 || came_forward { &mut self.calls_left } else { &mut self.calls_to_the_first_step };
        let granted = *left > 0 && now <= self.until;
        *left = left.saturating_sub(1);
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
    let now = app.clock.now();
    if !desk.state.connection.is_due(Feed::Alerts, now.max(message.scheduled_time)) {
        return Ok(Outcome::NothingToDo);
    }
    desk.finish_open_intent().await?.record(recorded);
    let Some(work) = Work::plan(app, message, &desk.state.feed, now) else { return Ok(Outcome::NothingToDo) };
    desk.measures_lateness = matches!(work, Work::Live(_));
    let mut pass = Pass::new(app, desk, work, budget, recorded);
    let stop = match pass.run().await {
        Ok(()) => None,
        Err(Stop::Failed(error)) => return Err(error),
        Err(stop) => Some(stop),
    };
    pass.end(stop).await
}

/// What a pass is for.
#[derive(Debug)]
enum Work {
    Live(LivePlan),
    Walk(usize),
}

impl Work {
    fn plan(app: &App, message: &PullMessage, feed: &AlertFeed, now: Timestamp) -> Option<Self> {
        match message.part {
            Part::Live => {
                let every = SignedDuration::from_secs(i64::from(message.every_seconds));
                feed.looks.plan(message.scheduled_time, every, app.config.overlap).map(Self::Live)
            }
            Part::Backlog => feed.due_walk(now).map(Self::Walk),
        }
    }
}

/// Why a pass ends before its work is done.
#[derive(Debug)]
enum Stop {
    /// The budget is used up.
    Spent,
    Condition(Condition),
    /// The ladder has been climbed as far as this pass allows.
    Faulty(String),
    Failed(CommitError),
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        Self::Failed(error)
    }
}

struct Pass<'a> {
    app: &'a App,
    tenant: TenantId,
    recorded: &'a Recorded,
    desk: Desk<'a>,
    work: Work,
    window: Window,
    base: Url,
    budget: &'a mut Budget,
    started: Timestamp,
    caller: Caller<'a>,
    /// Nothing beyond is known for sure: the earlier of `until`, of Microsoft's own clock, and of what is missing.
    ceiling: Timestamp,
    /// The rung this pass began with; only a persisted `Bare` delivers without evidence.
    began_at: Rung,
    rung: Rung,
    failures: u32,
    /// Whether the work is further than when the pass began.
    came_forward: bool,
    /// The walk has come to its end and is no longer in the list.
    walk_done: bool,
    delivered: u64,
}

impl<'a> Pass<'a> {
    fn new(app: &'a App, desk: Desk<'a>, work: Work, budget: &'a mut Budget, recorded: &'a Recorded) -> Self {
        let (window, trouble) = match &work {
            Work::Live(plan) => (plan.window, desk.state.feed.trouble.as_ref()),
            Work::Walk(index) => {
                let walk = &desk.state.feed.walks[*index];
                (walk.window(), walk.trouble.as_ref())
            }
        };
        let rung = trouble.map_or(Rung::Normal, |trouble| trouble.rung);
        let connection = &desk.state.connection;
        let caller = Caller::new(app, connection.tenant_id, &connection.application, Feed::Alerts, recorded);
        Self {
            base: app.config.defender(desk.state.connection.region),
            app,
            tenant: desk.state.connection.tenant_id,
            recorded,
            desk,
            work,
            window,
            budget,
            started: app.clock.now(),
            caller,
            ceiling: window.until,
            began_at: rung,
            rung,
            failures: 0,
            came_forward: false,
            walk_done: false,
            delivered: 0,
        }
    }

    /// Oldest first, so that what has been reached is one instant.
    async fn run(&mut self) -> Result<(), Stop> {
        let mut stack = self.windows();
        while let Some(next) = stack.pop() {
            let window = self.slice(next, &mut stack);
            let page = match self.look_well(window).await {
                Ok(page) => page,
                Err(CallFailed::Service(failure)) => {
                    if self.may_park() && self.desk.state.feed.can_park(window) && self.service_answers().await? {
                        self.park(window, &failure, stack.is_empty());
                    } else {
                        self.climb(&failure)?;
                        stack.push(window);
                    }
                    continue;
                }
                Err(other) => return Err(other.into_stop()),
            };
            if !page.full {
                self.deliver(window, page, stack.is_empty()).await?;
                continue;
            }
            match self.hand_over(window).or_else(|| window.split(page.sightings.iter().map(|seen| seen.updated))) {
                Some((earlier, later)) => {
                    stack.push(later);
                    if !earlier.is_empty() {
                        stack.push(earlier);
                    }
                }
                // An instant is looked at well, or not at all.
                None => self.deliver(window, page, stack.is_empty()).await?,
            }
        }
        self.complete_evidence().await
    }

    /// Whether Defender answers a question that costs it nothing: then a window that fails is to blame, and not the
    /// service.
    async fn service_answers(&mut self) -> Result<bool, Stop> {
        self.budget.allow_one(self.app.clock.now());
        let epoch = Window::new(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + TICK * 10_000_000);
        match self.look(epoch, 0).await {
            Ok(_) => Ok(true),
            Err(CallFailed::Service(_)) => Ok(false),
            Err(other) => Err(other.into_stop()),
        }
    }

    /// Puts a window aside. Everything older is in or aside already, so the work has come as far as the window's end.
    fn park(&mut self, window: Window, failure: &str, last: bool) {
        tracing::warn!(tenant.id = %self.tenant, after = %window.after, until = %window.until, failure, "a window fails for good; it is parked, and tried again in an hour");
        self.recorded.add(Metric::Parked, 1);
        self.desk.state.feed.park(window, self.started);
        let advance = self.advance(window.until, last);
        self.walk_done |= advance.ends_a_walk();
        self.came_forward = true;
        advance.apply(&mut self.desk.state.feed);
    }

    /// The work as windows, the oldest on top of the stack. Parked windows are their walks' business: looked at here
    /// they would only fail again.
    fn windows(&self) -> Vec<Window> {
        let mut windows = vec![self.window];
        if matches!(self.work, Work::Live(_)) {
            for parked in self.desk.state.feed.walks.iter().filter(|walk| walk.reason == WalkReason::Parked) {
                windows = windows.into_iter().flat_map(|window| window.without(parked.window())).collect();
            }
        }
        windows.reverse();
        windows
    }

    /// On the upper rungs a look takes only a slice of the window.
    fn slice(&self, window: Window, stack: &mut Vec<Window>) -> Window {
        let Some(length) = self.rung.slice(self.window.length()) else { return window };
        let (first, rest) = window.first_piece(length);
        stack.extend(rest);
        first
    }

    /// The older part of a deep look that overflows becomes a walk, so that it never delays what is new. The first
    /// window returned is empty then.
    fn hand_over(&mut self, window: Window) -> Option<(Window, Window)> {
        let Work::Live(plan) = &mut self.work else { return None };
        let boundary = plan.shallow_after;
        if plan.depth == Depth::Overlap || !window.holds(boundary) || window.until == boundary {
            return None;
        }
        let depth = std::mem::replace(&mut plan.depth, Depth::Overlap);
        let older = Window::new(window.after, boundary);
        self.desk.state.feed.walks.push(Walk::new(WalkReason::DeepLook, older, None));
        self.desk.state.feed.looks.handed_over(depth, self.ceiling);
        Some((Window::new(boundary, boundary), Window::new(boundary, window.until)))
    }

    /// Whether a failing window may be put aside. A part of a parked window may, too: so it shrinks, hour by hour, to
    /// what really fails.
    fn may_park(&mut self) -> bool {
        let (rung, now) = (self.rung, self.started);
        ladder::may_park(self.trouble().as_ref(), rung, now)
    }

    /// One rung up; an error when this pass has failed often enough.
    fn climb(&mut self, failure: &str) -> Result<(), Stop> {
        self.failures += 1;
        let exhausted = self.rung >= Rung::Narrow || self.failures >= ladder::FAILURES_PER_PASS;
        let (rung, now) = (self.rung, self.started);
        let trouble = self.trouble();
        let after = ladder::after_failure(trouble.as_ref(), rung, failure, now);
        let rung = after.rung;
        *trouble = Some(after);
        self.rung = rung;
        if exhausted { Err(Stop::Faulty(failure.to_owned())) } else { Ok(()) }
    }

    /// Everything up to `at` is in; with `last`, the whole of the work.
    fn advance(&self, at: Timestamp, last: bool) -> Advance {
        let work = match &self.work {
            Work::Live(plan) => Ok(plan.depth),
            Work::Walk(index) => Err(*index),
        };
        Advance { at: at.min(self.ceiling), last, until: self.window.until, work }
    }

    /// Writes down how the pass ended.
    async fn end(mut self, stop: Option<Stop>) -> Result<Outcome, CommitError> {
        let now = self.app.clock.now();
        let complete = stop.is_none();
        let (ending, condition) = match stop {
            Some(Stop::Failed(error)) => return Err(error),
            Some(Stop::Condition(condition)) => self.stopped(condition, now),
            Some(Stop::Spent) if !self.budget.answered => self.faulty("no answer in time", now),
            Some(Stop::Faulty(failure)) => self.faulty(&failure, now),
            Some(Stop::Spent) | None => {
                if self.failures == 0 && (complete || self.came_forward) && !self.walk_done {
                    *self.trouble() = None;
                }
                // Every walk gets its turn; one that makes no headway waits longer for it.
                self.set_walk_aside(now, if self.came_forward { SignedDuration::ZERO } else { ladder::WALK_RETRY });
                // What a walk finds of the past says nothing about what is new.
                let live = matches!(self.work, Work::Live(_));
                (Outcome::Pulled { delivered: self.delivered, complete }, live.then(Condition::ok))
            }
        };
        self.settle(condition, now).await?;
        self.measure_freshness(now);
        Ok(ending)
    }

    /// Writes down what has changed, the feed's condition with it if this pass tells one.
    async fn settle(&mut self, condition: Option<Condition>, now: Timestamp) -> Result<(), CommitError> {
        let Some(condition) = condition else { return self.desk.settle().await };
        let condition = Condition { token_born: self.caller.token_born(), ..condition };
        if let Some(roles) = self.caller.accepted_roles() {
            self.desk.state.connection.complete_evidence(roles, now);
        }
        if self.desk.state.connection.absorb(Feed::Alerts, &condition, now) {
            tracing::info!(tenant.id = %self.tenant, ability = ?condition.ability, next_step = condition.next_step, "the alerts feed's capability changed");
        }
        match self.desk.settle().await {
            // Only the condition is still to be written: Microsoft need not be asked again for it.
            Err(CommitError::Conflict) => {
                write_condition(self.app, self.desk.state.connection_stored(), &condition).await
            }
            settled => settled,
        }
    }

    fn stopped(&mut self, condition: Condition, now: Timestamp) -> (Outcome, Option<Condition>) {
        let outcome = Outcome::Stopped(condition.ability);
        // A question about the past that Microsoft does not like is no condition of the tenant; a refusal that asks for
        // quiet is.
        let ours_alone = matches!(self.work, Work::Walk(_)) && condition.asleep.is_none();
        self.set_walk_aside(now, ladder::WALK_RETRY);
        (outcome, (!ours_alone).then_some(condition))
    }

    fn faulty(&mut self, failure: &str, now: Timestamp) -> (Outcome, Option<Condition>) {
        tracing::warn!(tenant.id = %self.tenant, failure, "Defender fails; the pull goes on trying");
        if let Work::Walk(index) = self.work {
            let parked = self.desk.state.feed.walks.get(index).is_some_and(|walk| walk.reason == WalkReason::Parked);
            self.set_walk_aside(now, if parked { ladder::PARKED_RETRY } else { ladder::WALK_RETRY });
            return (Outcome::Stopped(Ability::Failing), None);
        }
        // One bad minute is weather; two in a row are worth a word.
        let words = format!("Nothing to do yet: Defender fails ({failure}); the pull goes on trying.");
        let condition = (self.began_at != Rung::Normal).then(|| Condition::failing(words));
        (Outcome::Stopped(Ability::Failing), condition)
    }

    /// The walk of this pass, if it is not done, comes again after `pause`; the one that has waited longest is next.
    fn set_walk_aside(&mut self, now: Timestamp, pause: SignedDuration) {
        if let Work::Walk(index) = self.work
            && !self.walk_done
            && let Some(walk) = self.desk.state.feed.walks.get_mut(index)
        {
            walk.not_before = Some(now + pause);
        }
    }

    /// Where the trouble with this work is kept.
    fn trouble(&mut self) -> &mut Option<Trouble> {
        match &self.work {
            Work::Walk(index) if *index < self.desk.state.feed.walks.len() => {
                &mut self.desk.state.feed.walks[*index].trouble
            }
            _ => &mut self.desk.state.feed.trouble,
        }
    }
}

/// Writes a condition down over what the state is now, if it is still that of the same connection.
async fn write_condition(app: &App, read: &Connection, condition: &Condition) -> Result<(), CommitError> {
    let Some(mut desk) = Desk::open(app, read.tenant_id).await? else { return Ok(()) };
    let now = app.clock.now();
    let found = &desk.state.connection;
    let same = (&found.account, &found.application, &found.consents)
        == (&read.account, &read.application, &read.consents)
        && found.state == read.state;
    if !same || !found.is_due(Feed::Alerts, now) {
        // Approved anew, removed, paused or put to sleep meanwhile: that stands.
        return Ok(());
    }
    desk.state.connection.absorb(Feed::Alerts, condition, now);
    match desk.settle().await {
        // Somebody else is at it and will find out for themselves.
        Err(CommitError::Conflict) => Ok(()),
        settled => settled,
    }
}

/// How far a commit brings the feed.
struct Advance {
    at: Timestamp,
    last: bool,
    /// The end of the whole work.
    until: Timestamp,
    work: Result<Depth, usize>,
}

impl Advance {
    fn ends_a_walk(&self) -> bool {
        self.work.is_err() && self.last && self.at >= self.until
    }

    fn apply(self, feed: &mut AlertFeed) {
        match self.work {
            Ok(depth) if self.last => feed.looks.completed(depth, self.at),
            Ok(depth) => feed.looks.reached(depth, self.at, self.until),
            Err(index) if self.last && self.at >= self.until => {
                feed.walks.remove(index);
            }
            Err(index) => {
                if let Some(walk) = feed.walks.get_mut(index) {
                    walk.reached = walk.reached.max(self.at);
                }
            }
        }
    }
}
