//! One pass over one tenant's alerts: look, fetch what is new, commit, as far as the budget goes.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    string::FromUtf8Error,
};

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use url::Url;

use super::{
    Sighting,
    commit::{Batch, CommitError, Desk, Received, quarantine},
    finding::Evidence,
    id_of,
    ladder::{self, Rung, Trouble},
    progress::{AlertFeed, COMPLETION_RETRY, Depth, LivePlan, MAX_COMPLETION_TRIES, Walk, WalkReason},
    seen::{Bucket, text_mark},
    window::{Group, Window, groups},
};
use crate::{
    App,
    batch::MessageFailed,
    http::{HttpError, Request, Response},
    microsoft::{
        defender::{
            ALERT_ROLES, AlertsQuery, Elements, Limits, MAX_TOP, Refusal, alert_request, alerts_request, refusal,
        },
        time::TICK,
        token::TokenError,
    },
    record::Quarantined,
    tenant::{
        Ability, Condition, Feed, TenantId,
        dispatch::{Part, PullMessage},
    },
};

/// Calls to Defender in one live pass; beside the backlog's they stay below the quota of 100 a minute.
const LIVE_CALLS: u32 = 60;
/// Fewer, so that a long walk leaves most of the hourly quota of 1,500 to what is new.
const BACKLOG_CALLS: u32 = 15;
/// No new call after so long: the next tick goes on from here.
const PASS_TIME: SignedDuration = SignedDuration::from_secs(50);
/// How long one answer may take beyond that.
const ANSWER_TIME: SignedDuration = SignedDuration::from_mins(4);
const LOOK_BYTES: u64 = 256 << 20;
const FETCH_BYTES: u64 = 2 << 30;
/// Alerts that a fetch did not bring are asked for one by one up to here; beyond, the next look finds them.
const MAX_BY_ID: usize = 10;
const COMPLETIONS_PER_PASS: usize = 3;
/// Times a pass starts anew because another worker wrote first.
const ATTEMPTS: u32 = 3;

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The tenant is not here or not due, or all this was done before.
    NothingToDo,
    /// Looked at everything asked for, or as far as the budget went.
    Pulled { delivered: u64, complete: bool },
    /// Microsoft's answer is a condition of the tenant or of ours; it is written down, the message is done.
    Stopped(Ability),
    /// Another worker is at this tenant; the next tick goes on.
    Yielded,
}

/// Handles one message.
///
/// # Errors
/// [`MessageFailed`] only when the platform fails; whatever Microsoft says is an [`Outcome`].
pub async fn pull(app: &App, message: &PullMessage) -> Result<Outcome, MessageFailed> {
    let mut budget = Budget {
        calls_left: match message.part {
            Part::Live => LIVE_CALLS,
            Part::Backlog => BACKLOG_CALLS,
        },
        until: app.clock.now() + PASS_TIME,
    };
    for _ in 0..ATTEMPTS {
        match attempt(app, message, &mut budget).await {
            Err(CommitError::Conflict) => {}
            Err(CommitError::Platform(cause)) => return Err(MessageFailed::Platform(cause)),
            Ok(outcome) => return Ok(outcome),
        }
    }
    Ok(Outcome::Yielded)
}

/// What a message may cost, however often its pass starts anew.
#[derive(Debug)]
struct Budget {
    calls_left: u32,
    until: Timestamp,
}

async fn attempt(app: &App, message: &PullMessage, budget: &mut Budget) -> Result<Outcome, CommitError> {
    let Some(mut desk) = Desk::open(app, message.tenant_id).await? else { return Ok(Outcome::NothingToDo) };
    let now = app.clock.now();
    if !desk.connection.connection.is_due(Feed::Alerts, now.max(message.scheduled_time)) {
        return Ok(Outcome::NothingToDo);
    }
    desk.finish_open_intent().await?;
    let Some(work) = Work::plan(app, message, &desk.feed, now) else { return Ok(Outcome::NothingToDo) };
    desk.measures_lateness = matches!(work, Work::Live(_));
    let mut pass = Pass::new(app, message.tenant_id, desk, work, budget);
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

/// Why a call brought nothing.
enum CallFailed {
    /// 5xx, a time-out, a broken or unreadable body: the ladder's business.
    Service(String),
    NotFound,
    BadRequest(String),
    Stop(Stop),
}

impl CallFailed {
    /// For a caller that has no other use for it.
    fn into_stop(self) -> Stop {
        match self {
            Self::Stop(stop) => stop,
            Self::Service(failure) => Stop::Faulty(failure),
            Self::NotFound => Stop::Condition(Condition::no_such_api()),
            Self::BadRequest(message) => Stop::Condition(Condition::failing(format!(
                "Operator: Defender does not understand our query ({message}); please report it."
            ))),
        }
    }
}

impl From<Stop> for CallFailed {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// One page of a look.
#[derive(Default)]
struct Page {
    sightings: Vec<Sighting>,
    /// The text of each, kept only where it may have to leave without evidence.
    texts: HashMap<Sighting, String>,
    unreadable: Vec<Quarantined>,
    full: bool,
}

/// What became of asking for one version by the alert's id.
enum ById {
    /// Brought, quarantined, or updated since and so to come back by itself.
    Settled,
    Gone,
    Unclear(String),
    /// Not asked: a crowd was updated at once, and the next look will show it.
    TooMany,
}

/// What a fetch left open.
struct Fetched {
    batch: Batch,
    missing: Vec<Sighting>,
    full: bool,
}

struct Pass<'a> {
    app: &'a App,
    tenant: TenantId,
    desk: Desk<'a>,
    work: Work,
    window: Window,
    base: Url,
    budget: &'a mut Budget,
    started: Timestamp,
    token_refreshed: bool,
    /// Nothing beyond is known for sure: the earlier of `until`, of Microsoft's own clock, and of what is missing.
    ceiling: Timestamp,
    /// The rung this pass began with; only a persisted `Bare` delivers without evidence.
    began_at: Rung,
    rung: Rung,
    failures: u32,
    /// Whether Defender gave any answer at all.
    answered: bool,
    delivered: u64,
}

impl<'a> Pass<'a> {
    fn new(app: &'a App, tenant: TenantId, desk: Desk<'a>, work: Work, budget: &'a mut Budget) -> Self {
        let (window, trouble) = match &work {
            Work::Live(plan) => (plan.window, desk.feed.trouble.as_ref()),
            Work::Walk(index) => {
                let walk = &desk.feed.walks[*index];
                (walk.window(), walk.trouble.as_ref())
            }
        };
        let rung = trouble.map_or(Rung::Normal, |trouble| trouble.rung);
        Self {
            base: app.config.defender(desk.connection.connection.region),
            app,
            tenant,
            desk,
            work,
            window,
            budget,
            started: app.clock.now(),
            token_refreshed: false,
            ceiling: window.until,
            began_at: rung,
            rung,
            failures: 0,
            answered: false,
            delivered: 0,
        }
    }

    /// Oldest first, so that what has been reached is one instant.
    async fn run(&mut self) -> Result<(), Stop> {
        let mut stack = self.windows();
        while let Some(next) = stack.pop() {
            let window = self.slice(next, &mut stack);
            let page = match self.look(window, 0).await {
                Ok(page) => page,
                Err(CallFailed::Service(failure)) => {
                    if self.may_park() && self.service_answers().await? {
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
                None => {
                    let crowd = self.look_at_crowd(window).await?;
                    self.deliver(window, crowd, stack.is_empty()).await?;
                }
            }
        }
        self.complete_evidence().await
    }

    /// Whether Defender answers a question that costs it nothing: then a window that fails is to blame, and not the
    /// service.
    async fn service_answers(&mut self) -> Result<bool, Stop> {
        let epoch = Window::new(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + TICK * 10_000_000);
        match self.look(epoch, 0).await {
            Ok(_) => Ok(true),
            Err(CallFailed::Service(_)) => Ok(false),
            Err(other) => Err(other.into_stop()),
        }
    }

    /// Puts a window aside. Everything older is in or aside already, so the work has come to its end.
    fn park(&mut self, window: Window, failure: &str, last: bool) {
        tracing::warn!(tenant.id = %self.tenant, after = %window.after, until = %window.until, failure, "a window fails for good; parked, and tried again in an hour");
        self.desk.feed.park(window, self.started);
        self.advance(window.until, last).apply(&mut self.desk.feed);
    }

    /// The work as windows, the oldest on top of the stack. Parked windows are their walks' business: looked at here
    /// they would only fail again.
    fn windows(&self) -> Vec<Window> {
        let mut windows = vec![self.window];
        if matches!(self.work, Work::Live(_)) {
            for parked in self.desk.feed.walks.iter().filter(|walk| walk.reason == WalkReason::Parked) {
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
        self.desk.feed.walks.push(Walk::new(WalkReason::DeepLook, older, None));
        self.desk.feed.looks.handed_over(depth, self.ceiling);
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

    async fn deliver(&mut self, window: Window, page: Page, last: bool) -> Result<(), Stop> {
        let Page { mut sightings, texts, unreadable, .. } = page;
        sightings.sort_unstable();
        sightings.dedup();
        let store = self.app.ports.store.as_ref();
        let buckets = sightings.iter().map(|sighting| Bucket::of(sighting.updated)).collect();
        self.desk.seen.load(store, &buckets).await.map_err(CommitError::from)?;
        let limit = self.rung.group(self.app.config.page_size);
        let mut groups: VecDeque<Group> =
            groups(&sightings, |sighting| !self.desk.seen.has_version(sighting), limit).into();

        let mut batch = Batch::default();
        if !unreadable.is_empty() {
            self.desk.seen.load(store, &[Bucket::Quarantine].into()).await.map_err(CommitError::from)?;
        }
        for record in unreadable {
            if self.desk.seen.contains(Bucket::Quarantine, &text_mark(&record.sha256)) {
                continue;
            }
            batch.quarantine(record, None);
            if batch.is_full() {
                self.commit(std::mem::take(&mut batch), window, None).await?;
            }
        }
        let done = groups.is_empty().then(|| self.advance(window.until, last));
        self.commit(batch, window, done).await?;

        while let Some(group) = groups.pop_front() {
            let Fetched { mut batch, mut missing, full } = match self.fetch(&group).await {
                Ok(fetched) => fetched,
                Err(CallFailed::Service(failure)) if self.began_at == Rung::Bare => {
                    tracing::warn!(tenant.id = %self.tenant, failure, alerts = group.wanted.len(), "asked for one by one");
                    Fetched { batch: Batch::default(), missing: group.wanted.clone(), full: false }
                }
                Err(CallFailed::Service(failure)) => {
                    self.climb(&failure)?;
                    requeue(&mut groups, group, self.rung.group(self.app.config.page_size));
                    continue;
                }
                Err(other) => return Err(other.into_stop()),
            };
            if full && !missing.is_empty() && !group.window.is_instant() {
                // Others crowd the window; what is still missing gets narrower ones.
                if let Some(rest) = Group::new(std::mem::take(&mut missing)) {
                    requeue(&mut groups, rest, (group.wanted.len() / 2).max(1));
                }
                self.commit(batch, group.window, None).await?;
                continue;
            }
            if let Err(stop) = self.ask_by_id(missing, &texts, group.window, &mut batch).await {
                // What has been brought so far is kept.
                self.commit(batch, group.window, None).await?;
                return Err(stop);
            }
            let reached = if groups.is_empty() { window.until } else { group.window.until };
            let advance = self.advance(reached, last && groups.is_empty());
            self.commit(batch, group.window, Some(advance)).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, batch: Batch, window: Window, advance: Option<Advance>) -> Result<(), Stop> {
        let counts = self
            .desk
            .commit(batch, window, |feed| {
                if let Some(advance) = advance {
                    advance.apply(feed);
                }
            })
            .await?;
        self.delivered += counts.delivered;
        Ok(())
    }

    /// Alerts that a look showed and a fetch did not bring: updated meanwhile (they come back by themselves), gone, or
    /// in need of a question of their own. On the last rung what stays unclear leaves without evidence; before, it
    /// holds the watermark.
    async fn ask_by_id(
        &mut self,
        missing: Vec<Sighting>,
        texts: &HashMap<Sighting, String>,
        window: Window,
        batch: &mut Batch,
    ) -> Result<(), Stop> {
        let last_rung = self.began_at == Rung::Bare;
        for (n, sighting) in missing.into_iter().enumerate() {
            let found = if last_rung || n < MAX_BY_ID {
                self.ask_for(&sighting, batch, Evidence::Included).await?
            } else {
                ById::TooMany
            };
            match (found, texts.get(&sighting)) {
                (ById::Settled, _) => {}
                // Without a look's text there is nothing to fall back on: what is gone is gone.
                (ById::Gone, None) => {}
                (ById::Gone | ById::Unclear(_), Some(text)) => {
                    tracing::warn!(tenant.id = %self.tenant, alert.id = sighting.id, "delivered without evidence; completed later");
                    self.desk.feed.remember_incomplete(&sighting, self.started);
                    batch.push(Received { sighting, text: text.clone(), evidence: Evidence::Pending });
                }
                (ById::Unclear(failure), None) => {
                    self.hold(&sighting);
                    return self.climb(&failure);
                }
                (ById::TooMany, _) => {
                    self.hold(&sighting);
                    return Ok(());
                }
            }
            if batch.is_full() {
                self.commit(std::mem::take(batch), window, None).await?;
            }
        }
        Ok(())
    }

    /// The watermark stays before this alert.
    fn hold(&mut self, sighting: &Sighting) {
        self.ceiling = self.ceiling.min(sighting.updated - TICK);
    }

    /// Asks for one version by the alert's id.
    async fn ask_for(&mut self, sighting: &Sighting, batch: &mut Batch, evidence: Evidence) -> Result<ById, Stop> {
        let response = match self.call(alert_request(&self.base, &sighting.id)).await {
            Ok(response) => response,
            Err(CallFailed::NotFound) => return Ok(ById::Gone),
            Err(CallFailed::Service(failure) | CallFailed::BadRequest(failure)) => return Ok(ById::Unclear(failure)),
            Err(CallFailed::Stop(stop)) => return Err(stop),
        };
        let body = match response.body.small(&self.app.clock).await {
            Ok(body) => body,
            Err(error) => return Ok(ById::Unclear(error.to_string())),
        };
        if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
            return Ok(ById::Unclear("the answer is not JSON".to_owned()));
        }
        let found = match Sighting::parse(&body) {
            Ok(found) if found.id == sighting.id && found.updated > sighting.updated => return Ok(ById::Settled),
            Ok(found) if found.id != sighting.id || found.updated != sighting.updated => {
                return Ok(ById::Unclear("the answer is another alert".to_owned()));
            }
            found => found,
        };
        match (found, String::from_utf8(body)) {
            (Ok(_), Ok(text)) => batch.push(Received { sighting: sighting.clone(), text, evidence }),
            (found, text) => {
                let reason = found.err().map_or("not UTF-8".to_owned(), |reason| reason.to_string());
                let text = text.map_or_else(FromUtf8Error::into_bytes, String::into_bytes);
                batch.quarantine(self.quarantine(&text, &reason), Some(sighting.clone()));
            }
        }
        Ok(ById::Settled)
    }

    /// Asks again for the evidence of alerts that left without. Their own trouble is nobody else's.
    async fn complete_evidence(&mut self) -> Result<(), Stop> {
        if !matches!(self.work, Work::Live(_)) {
            return Ok(());
        }
        let due: Vec<Sighting> = self
            .desk
            .feed
            .incomplete
            .iter()
            .filter(|entry| entry.not_before <= self.started)
            .take(COMPLETIONS_PER_PASS)
            .map(super::progress::Incomplete::sighting)
            .collect();
        for sighting in due {
            let mut batch = Batch::default();
            // Settled: brought, or updated since, and then the newer version carries the evidence.
            let found = self.ask_for(&sighting, &mut batch, Evidence::Completed).await?;
            let resolved = matches!(found, ById::Settled | ById::Gone);
            for entry in self.desk.feed.incomplete.iter_mut().filter(|entry| entry.sighting() == sighting) {
                entry.tries = if resolved { MAX_COMPLETION_TRIES } else { entry.tries + 1 };
                entry.not_before = self.started + COMPLETION_RETRY;
            }
            self.desk.feed.incomplete.retain(|entry| entry.tries < MAX_COMPLETION_TRIES);
            self.commit(batch, Window::new(sighting.updated, sighting.updated), None).await?;
        }
        Ok(())
    }

    fn query(&self, window: Window, top: usize, skip: usize, evidence: bool) -> AlertsQuery {
        AlertsQuery { after: window.after, until: window.until, top, skip, evidence }
    }

    async fn elements(&mut self, query: AlertsQuery, bytes: u64) -> Result<Elements, CallFailed> {
        let response = self.call(alerts_request(&self.base, &query)).await?;
        let limits = Limits {
            bytes,
            elements: MAX_TOP,
            clock: self.app.clock.clone(),
            deadline: self.budget.until + ANSWER_TIME,
        };
        Ok(Elements::new(response.body, limits))
    }

    /// Asks what there is in a window, without evidence.
    async fn look(&mut self, window: Window, skip: usize) -> Result<Page, CallFailed> {
        let top = if skip > 0 || window.is_instant() { MAX_TOP } else { self.rung.page(self.app.config.page_size) };
        let mut elements = self.elements(self.query(window, top, skip, false), LOOK_BYTES).await?;
        let mut page = Page::default();
        while let Some(text) = elements.next().await.map_err(CallFailed::Service)? {
            match Sighting::parse(&text) {
                Ok(sighting) => {
                    if self.began_at == Rung::Bare {
                        page.texts.insert(sighting.clone(), String::from_utf8_lossy(&text).into_owned());
                    }
                    page.sightings.push(sighting);
                }
                Err(reason) => page.unreadable.push(self.quarantine(&text, &reason.to_string())),
            }
        }
        // An empty page with a next link is complete all the same, or splitting would never end.
        page.full = elements.count() >= top || (elements.has_more() && elements.count() > 0);
        Ok(page)
    }

    /// More alerts at one instant than a page holds: overlapping `$skip` passes until one brings nothing new.
    async fn look_at_crowd(&mut self, window: Window) -> Result<Page, Stop> {
        let mut all = Page::default();
        let mut known: HashSet<Sighting> = HashSet::new();
        loop {
            let (mut skip, mut news) = (0, false);
            loop {
                let page = match self.look(window, skip).await {
                    Ok(page) => page,
                    Err(CallFailed::Service(failure)) => {
                        self.climb(&failure)?;
                        return Err(Stop::Faulty(failure));
                    }
                    Err(other) => return Err(other.into_stop()),
                };
                let count = page.sightings.len() + page.unreadable.len();
                for sighting in page.sightings {
                    news |= known.insert(sighting);
                }
                all.texts.extend(page.texts);
                all.unreadable.extend(page.unreadable);
                if !page.full || count == 0 {
                    break;
                }
                skip += (count * 9 / 10).max(1);
            }
            if !news {
                all.sightings = known.into_iter().collect();
                return Ok(all);
            }
        }
    }

    /// Fetches a group with evidence, committing on the way whatever grows too large to hold.
    async fn fetch(&mut self, group: &Group) -> Result<Fetched, CallFailed> {
        let mut missing: HashSet<&Sighting> = group.wanted.iter().collect();
        let mut batch = Batch::default();
        let page = self.rung.page(self.app.config.page_size).max(2 * group.wanted.len()).min(MAX_TOP);
        let top = if group.window.is_instant() { MAX_TOP } else { page };
        let mut skip = 0;
        loop {
            let mut elements = self.elements(self.query(group.window, top, skip, true), FETCH_BYTES).await?;
            let before = missing.len();
            while let Some(text) = elements.next().await.map_err(CallFailed::Service)? {
                let sighting = Sighting::parse(&text);
                // Wanted, and broken here: then this is what there is to be had of it.
                let wanted = match &sighting {
                    Ok(sighting) => missing.take(sighting),
                    Err(_) => {
                        let id = id_of(&text);
                        let found = missing.iter().find(|wanted| Some(&wanted.id) == id.as_ref()).copied();
                        found.and_then(|wanted| missing.take(wanted))
                    }
                };
                match (sighting, String::from_utf8(text)) {
                    (Ok(sighting), Ok(text)) => {
                        batch.push(Received { sighting, text, evidence: Evidence::Included });
                    }
                    (sighting, text) => {
                        let text = text.map_or_else(FromUtf8Error::into_bytes, String::into_bytes);
                        let (version, reason) = match sighting {
                            Ok(sighting) => (Some(sighting), "not UTF-8".to_owned()),
                            Err(reason) => (wanted.cloned(), reason.to_string()),
                        };
                        batch.quarantine(self.quarantine(&text, &reason), version);
                    }
                }
                if batch.is_full() {
                    let full = std::mem::take(&mut batch);
                    self.commit(full, group.window, None).await?;
                }
            }
            let full = elements.count() >= top || elements.has_more();
            let again = full && group.window.is_instant() && !missing.is_empty() && missing.len() < before;
            if !again {
                let mut missing: Vec<Sighting> = missing.into_iter().cloned().collect();
                missing.sort_unstable();
                return Ok(Fetched { batch, missing, full });
            }
            skip += (elements.count() * 9 / 10).max(1);
        }
    }

    fn quarantine(&self, text: &[u8], reason: &str) -> Quarantined {
        quarantine(self.tenant, text, reason, self.app.clock.now())
    }

    /// One call to Defender with our token: its 200, or what its refusal means.
    async fn call(&mut self, request: Request) -> Result<Response, CallFailed> {
        loop {
            if self.budget.calls_left == 0 || self.app.clock.now() > self.budget.until {
                return Err(Stop::Spent.into());
            }
            let application = self.desk.connection.connection.application.clone();
            let token = self.app.tokens.defender(self.tenant, &application, false).await.map_err(no_token)?;
            if !token.has_any(&ALERT_ROLES) {
                self.refresh_token(|| Condition::role_missing(&ALERT_ROLES)).await?;
                continue;
            }
            self.budget.calls_left -= 1;
            let mut attempt = request.clone();
            attempt.bearer = Some(token.bearer.clone());
            let response = match self.app.http.send(attempt).await {
                Ok(response) => response,
                Err(HttpError::ForeignOrigin(origin)) => {
                    let words = format!(
                        "Operator: a request was about to leave for {origin}; this is a defect, please report it."
                    );
                    return Err(Stop::Condition(Condition::failing(words)).into());
                }
                Err(error) => return Err(CallFailed::Service(error.to_string())),
            };
            if let Some(date) = response.header("date").and_then(|text| rfc2822::parse(text).ok()) {
                self.ceiling = self.ceiling.min(date.timestamp());
            }
            if response.status == 200 {
                self.token_refreshed = false;
                self.answered = true;
                return Ok(response);
            }
            let (status, retry_after) = (response.status, response.header("retry-after").map(str::to_owned));
            let body = response.body.small(&self.app.clock).await.unwrap_or_default();
            match refusal(status, retry_after.as_deref(), &body) {
                Refusal::Throttled { pause } => return Err(Stop::Condition(Condition::throttled(pause)).into()),
                Refusal::Unauthorized { message } => {
                    self.refresh_token(|| Condition::unauthorized(&message)).await?;
                }
                Refusal::Forbidden { code, message } => {
                    self.refresh_token(|| Condition::from_forbidden(&code, &message, &ALERT_ROLES)).await?;
                }
                Refusal::NotFound => return Err(CallFailed::NotFound),
                Refusal::BadRequest { message } => return Err(CallFailed::BadRequest(message)),
                Refusal::Unavailable { message } => return Err(CallFailed::Service(message)),
            }
        }
    }

    /// A fresh token once per pass, since roles and licences are cached in tokens; then the condition holds.
    async fn refresh_token(&mut self, otherwise: impl FnOnce() -> Condition) -> Result<(), Stop> {
        if self.token_refreshed {
            return Err(Stop::Condition(otherwise()));
        }
        self.token_refreshed = true;
        let application = self.desk.connection.connection.application.clone();
        self.app.tokens.defender(self.tenant, &application, true).await.map_err(no_token)?;
        Ok(())
    }

    /// Writes down how the pass ended.
    async fn end(mut self, stop: Option<Stop>) -> Result<Outcome, CommitError> {
        let now = self.app.clock.now();
        let complete = stop.is_none();
        let (ending, condition) = match stop {
            Some(Stop::Failed(error)) => return Err(error),
            Some(Stop::Condition(condition)) => (Outcome::Stopped(condition.ability), Some(condition)),
            Some(Stop::Spent) if !self.answered => self.faulty("no answer in time", now),
            Some(Stop::Faulty(failure)) => self.faulty(&failure, now),
            Some(Stop::Spent) | None => {
                if self.failures == 0 {
                    *self.trouble() = None;
                }
                // What a walk finds of the past says nothing about what is new.
                let live = matches!(self.work, Work::Live(_));
                (Outcome::Pulled { delivered: self.delivered, complete }, live.then(Condition::ok))
            }
        };
        let Some(condition) = condition else {
            self.desk.settle().await?;
            return Ok(ending);
        };
        if self.desk.connection.connection.absorb(Feed::Alerts, &condition, now) {
            tracing::info!(tenant.id = %self.tenant, ability = ?condition.ability, next_step = condition.next_step, "the alerts feed's capability changed");
        }
        match self.desk.settle().await {
            // Only the condition is still to be written: Microsoft need not be asked again for it.
            Err(CommitError::Conflict) => write_condition(self.app, self.tenant, &condition).await?,
            settled => settled?,
        }
        Ok(ending)
    }

    fn faulty(&mut self, failure: &str, now: Timestamp) -> (Outcome, Option<Condition>) {
        tracing::warn!(tenant.id = %self.tenant, failure, "Defender fails");
        if let Work::Walk(index) = self.work {
            if let Some(walk) = self.desk.feed.walks.get_mut(index) {
                let parked = walk.reason == WalkReason::Parked;
                walk.not_before = Some(now + if parked { ladder::PARKED_RETRY } else { ladder::WALK_RETRY });
            }
            return (Outcome::Stopped(Ability::Failing), None);
        }
        // One bad minute is weather; two in a row are worth a word.
        let words = format!("Nothing to do yet: Defender fails ({failure}); the pull goes on trying.");
        let condition = (self.began_at != Rung::Normal).then(|| Condition::failing(words));
        (Outcome::Stopped(Ability::Failing), condition)
    }

    /// Where the trouble with this work is kept.
    fn trouble(&mut self) -> &mut Option<Trouble> {
        match &self.work {
            Work::Walk(index) if *index < self.desk.feed.walks.len() => &mut self.desk.feed.walks[*index].trouble,
            _ => &mut self.desk.feed.trouble,
        }
    }
}

/// Writes a condition down over whatever the state is now.
async fn write_condition(app: &App, tenant: TenantId, condition: &Condition) -> Result<(), CommitError> {
    let Some(mut desk) = Desk::open(app, tenant).await? else { return Ok(()) };
    desk.connection.connection.absorb(Feed::Alerts, condition, app.clock.now());
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

fn no_token(error: TokenError) -> Stop {
    match error {
        TokenError::Platform(error) => Stop::Failed(error.into()),
        other => Stop::Condition(Condition::from_token_error(&other, &ALERT_ROLES)),
    }
}

/// Puts a group back in pieces of at most `limit`, oldest first.
fn requeue(groups: &mut VecDeque<Group>, group: Group, limit: usize) {
    if group.wanted.len() <= limit {
        groups.push_front(group);
        return;
    }
    match group.split() {
        Ok((left, right)) => {
            requeue(groups, right, limit);
            requeue(groups, left, limit);
        }
        Err(whole) => groups.push_front(whole),
    }
}
