//! How far a tenant's alerts have come: watermarks, walks through older data, the open intent, the ledger.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Sighting,
    ladder::{self, Trouble},
    window::Window,
};
use crate::{
    ports::store::{Expect, Store, StoreError, Write},
    record::{History, Ledger, Progress},
    tenant::TenantId,
};

/// Without news the state is written this often, which also moves the watermarks.
pub const HEARTBEAT: SignedDuration = SignedDuration::from_mins(15);
/// How often the evidence of an alert that left without is asked for again.
pub const COMPLETION_RETRY: SignedDuration = SignedDuration::from_hours(1);
/// After so many tries an alert stays as it left.
pub const MAX_COMPLETION_TRIES: u32 = 24;
const MAX_INCOMPLETE: usize = 200;
/// More windows than these are not parked; then the pull waits for Microsoft to recover.
const MAX_WALKS: usize = 100;

/// Alerts become visible late, so there are three looks of different depth, each with its own watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// A few minutes, at every tick.
    Overlap,
    HalfHour,
    TwoDays,
}

impl Depth {
    fn length(self, overlap: SignedDuration) -> SignedDuration {
        match self {
            Self::Overlap => overlap,
            Self::HalfHour => SignedDuration::from_mins(30).max(overlap),
            Self::TwoDays => SignedDuration::from_hours(48).max(overlap),
        }
    }
}

/// The `until` of the last completed look of each depth, and the look that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    pub overlap: Timestamp,
    pub half_hour: Timestamp,
    pub two_days: Timestamp,
    /// A look that a pass could not complete. The next pass goes on where it stopped, not an overlap before, or a crowd
    /// within the overlap would be looked at for ever. Its `until` stays: what becomes visible late behind it is
    /// later than that, and the next look begins an overlap before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenLook>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLook {
    pub depth: Depth,
    pub reached: Timestamp,
    pub until: Timestamp,
}

/// What a live pass asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivePlan {
    pub depth: Depth,
    pub window: Window,
    /// Where the shallowest look would have begun. What lies before it may become a walk, so that it never delays
    /// what is new.
    pub shallow_after: Timestamp,
}

impl Looks {
    pub fn starting(at: Timestamp) -> Self {
        Self { overlap: at, half_hour: at, two_days: at, open: None }
    }

    /// The one look that this tick owes: the deepest that is due, which stands in for the shallower ones. `None` when
    /// everything until then has been looked at already, as a repeated message finds.
    pub fn plan(&self, until: Timestamp, every: SignedDuration, overlap: SignedDuration) -> Option<LivePlan> {
        if let Some(open) = &self.open {
            let window = Window::new(open.reached, open.until);
            return Some(LivePlan { depth: open.depth, window, shallow_after: open.reached });
        }
        if until <= self.overlap {
            return None;
        }
        let (depth, last) = if until.duration_since(self.two_days) >= SignedDuration::from_hours(24) {
            (Depth::TwoDays, self.two_days)
        } else if until.duration_since(self.half_hour) >= every * 10 {
            (Depth::HalfHour, self.half_hour)
        } else {
            (Depth::Overlap, self.overlap)
        };
        let before = |at: Timestamp, by: SignedDuration| at.saturating_sub(by).unwrap_or(Timestamp::MIN);
        Some(LivePlan {
            depth,
            window: Window::new(before(last, depth.length(overlap)), until),
            shallow_after: before(self.overlap, overlap),
        })
    }

    /// A look of this depth until `until` has come as far as `at`.
    pub fn reached(&mut self, depth: Depth, at: Timestamp, until: Timestamp) {
        self.open = Some(OpenLook { depth, reached: at, until });
    }

    /// Everything until here has been looked at and delivered.
    pub fn watermark(&self) -> Timestamp {
        self.open.as_ref().map_or(self.overlap, |open| self.overlap.max(open.reached))
    }

    /// The older part of a look of this depth has become a walk.
    pub fn handed_over(&mut self, depth: Depth, at: Timestamp) {
        let (overlap, open) = (self.overlap, self.open.take());
        self.completed(depth, at);
        (self.overlap, self.open) = (overlap, open);
    }

    /// A look of this depth is complete until `at`.
    pub fn completed(&mut self, depth: Depth, at: Timestamp) {
        self.open = None;
        self.overlap = self.overlap.max(at);
        if depth >= Depth::HalfHour {
            self.half_hour = self.half_hour.max(at);
        }
        if depth >= Depth::TwoDays {
            self.two_days = self.two_days.max(at);
        }
    }
}

/// Why older data is walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WalkReason {
    FirstLook,
    Backfill,
    /// The older part of a deep look that did not fit into one page.
    DeepLook,
    /// A window that Microsoft could not answer.
    Parked,
}

/// A window to be walked through in messages of its own, from `reached` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    pub reason: WalkReason,
    /// Where it began; an item of the version before does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    pub reached: Timestamp,
    pub until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

impl Walk {
    pub fn new(reason: WalkReason, window: Window, not_before: Option<Timestamp>) -> Self {
        Self {
            reason,
            since: Some(window.after),
            reached: window.after,
            until: window.until,
            not_before,
            trouble: None,
        }
    }

    pub fn window(&self) -> Window {
        Window::new(self.reached, self.until)
    }
}

/// The decision to create one lake object, written before the object is put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub key: String,
    pub opened_at: Timestamp,
}

/// How many alerts became visible how late: from `lastUpdateTime` to the moment we first saw them. This is what the
/// three depths should be set from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lateness {
    pub within_2_minutes: u64,
    pub within_5_minutes: u64,
    pub within_30_minutes: u64,
    pub within_48_hours: u64,
    pub later: u64,
}

impl Lateness {
    pub fn count(&mut self, late: SignedDuration) {
        let bin = match late.as_secs() {
            ..=120 => &mut self.within_2_minutes,
            121..=300 => &mut self.within_5_minutes,
            301..=1_800 => &mut self.within_30_minutes,
            1_801..=172_800 => &mut self.within_48_hours,
            172_801.. => &mut self.later,
        };
        *bin += 1;
    }
}

/// A version that left without its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incomplete {
    pub id: String,
    pub updated: Timestamp,
    pub created: Timestamp,
    pub tries: u32,
    pub not_before: Timestamp,
}

impl Incomplete {
    pub fn sighting(&self) -> Sighting {
        Sighting { updated: self.updated, id: self.id.clone(), created: self.created }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertFeed {
    pub looks: Looks,
    /// Everything since then has been walked through, or is being; an item of the version before does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_from: Option<Timestamp>,
    #[serde(default)]
    pub walks: Vec<Walk>,
    #[serde(default)]
    pub intent: Option<Intent>,
    #[serde(default)]
    pub trouble: Option<Trouble>,
    #[serde(default)]
    pub incomplete: Vec<Incomplete>,
    #[serde(default)]
    pub ledger: Ledger,
    #[serde(default)]
    pub lateness: Lateness,
    #[serde(default, skip_serializing_if = "History::is_empty")]
    pub history: History,
}

impl AlertFeed {
    /// Live begins at the moment of connection; the days before it are a walk.
    pub fn starting(at: Timestamp, first_look: SignedDuration) -> Self {
        let since = at.saturating_sub(first_look).unwrap_or(Timestamp::MIN);
        let walk = Walk::new(WalkReason::FirstLook, Window::new(since, at), None);
        Self {
            looks: Looks::starting(at),
            known_from: Some(since),
            walks: if walk.window().is_empty() { Vec::new() } else { vec![walk] },
            intent: None,
            trouble: None,
            incomplete: Vec::new(),
            ledger: Ledger::default(),
            lateness: Lateness::default(),
            history: History::default(),
        }
    }

    /// The walk whose turn it is: the one that has been due for longest. What an operator wants again from long ago waits
    /// for everything else, for it may take hours.
    pub fn due_walk(&self, now: Timestamp) -> Option<usize> {
        let due = self.walks.iter().enumerate().filter(|(_, walk)| walk.not_before.is_none_or(|at| at <= now));
        due.min_by_key(|(_, walk)| (walk.reason == WalkReason::Backfill, walk.not_before)).map(|(index, _)| index)
    }

    /// Whether a failing window may be put aside: the state is one item, and bounded.
    pub fn can_park(&self, window: Window) -> bool {
        self.walks.len() < MAX_WALKS || self.parked_before(window).is_some()
    }

    fn parked_before(&self, window: Window) -> Option<usize> {
        self.walks.iter().position(|walk| walk.reason == WalkReason::Parked && walk.until == window.after)
    }

    /// Puts a failing window aside so that the rest can go on. Neighbours become one.
    pub fn park(&mut self, window: Window, now: Timestamp) {
        if let Some(index) = self.parked_before(window) {
            let walk = &mut self.walks[index];
            walk.until = window.until;
            walk.not_before = Some(now + ladder::PARKED_RETRY);
            return;
        }
        self.walks.push(Walk::new(WalkReason::Parked, window, Some(now + ladder::PARKED_RETRY)));
    }

    /// Remembers a version that left without evidence. The oldest are let go when there are too many: they have been
    /// delivered, only their evidence is at stake.
    pub fn remember_incomplete(&mut self, sighting: &Sighting, now: Timestamp) {
        self.incomplete.push(Incomplete {
            id: sighting.id.clone(),
            updated: sighting.updated,
            created: sighting.created,
            tries: 0,
            not_before: now + COMPLETION_RETRY,
        });
        let surplus = self.incomplete.len().saturating_sub(MAX_INCOMPLETE);
        self.incomplete.drain(..surplus);
    }
}

impl Progress for AlertFeed {
    const ITEM: &'static str = "alerts#progress";

    fn watermark(&self) -> Option<Timestamp> {
        Some(self.looks.watermark())
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn history(&mut self) -> &mut History {
        &mut self.history
    }

    /// Live begins at the moment of connection, so the binding writes it.
    fn unwritten() -> Option<Self> {
        None
    }
}

/// The write with which the feed begins, unless it has begun already. With `anew` it begins in any case, and only an open
/// intent stays, for the next pass to settle.
///
/// # Errors
/// As the store's.
pub async fn begin(
    store: &dyn Store,
    tenant: TenantId,
    feed: AlertFeed,
    anew: bool,
) -> Result<Option<Write>, StoreError> {
    match AlertFeed::load(store, tenant).await? {
        Some((known, expect)) if anew => AlertFeed { intent: known.intent, ..feed }.put(tenant, expect).map(Some),
        Some(_) => Ok(None),
        None => feed.put(tenant, Expect::as_read(store.get(&AlertFeed::key(tenant)).await?.as_ref())).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERLAP: SignedDuration = SignedDuration::from_mins(5);
    const TICK: SignedDuration = SignedDuration::from_mins(1);

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn plan(looks: &Looks, minute: i64) -> Option<(Depth, i64)> {
        let plan = looks.plan(at(minute), TICK, OVERLAP)?;
        assert_eq!(plan.window.until, at(minute));
        assert_eq!(plan.shallow_after, looks.overlap - OVERLAP);
        Some((plan.depth, plan.window.after.as_second() / 60))
    }

    #[test]
    fn every_tick_looks_again_at_the_overlap_and_now_and_then_deeper() {
        let mut looks = Looks::starting(at(10_000));
        assert_eq!(plan(&looks, 10_001), Some((Depth::Overlap, 9_995)));
        looks.completed(Depth::Overlap, at(10_009));
        assert_eq!(plan(&looks, 10_010), Some((Depth::HalfHour, 9_970)));
        looks.completed(Depth::HalfHour, at(10_010));
        assert_eq!(plan(&looks, 10_011), Some((Depth::Overlap, 10_005)));
        assert_eq!(plan(&looks, 10_000 + 1440), Some((Depth::TwoDays, 10_000 - 2880)));
        looks.completed(Depth::TwoDays, at(11_440));
        assert_eq!(looks, Looks::starting(at(11_440)));
    }

    #[test]
    fn an_outage_of_days_leaves_no_hole() {
        let looks = Looks::starting(at(10_000));
        assert_eq!(plan(&looks, 10_000 + 4 * 1440), Some((Depth::TwoDays, 10_000 - 2880)));
    }

    #[test]
    fn a_repeated_tick_finds_nothing_left_to_do() {
        let looks = Looks::starting(at(100));
        assert_eq!(plan(&looks, 100), None);
        assert_eq!(plan(&looks, 99), None);
    }

    #[test]
    fn a_look_under_way_goes_on_where_it_stopped_and_keeps_its_end() {
        let mut looks = Looks::starting(at(100));
        looks.reached(Depth::HalfHour, at(98), at(110));
        assert_eq!(looks.watermark(), at(100));
        looks.reached(Depth::HalfHour, at(105), at(110));
        assert_eq!(looks.watermark(), at(105));
        let plan = looks.plan(at(111), TICK, OVERLAP).unwrap();
        assert_eq!((plan.depth, plan.window), (Depth::HalfHour, Window::new(at(105), at(110))));
        looks.completed(plan.depth, plan.window.until);
        let plan = looks.plan(at(112), TICK, OVERLAP).unwrap();
        assert_eq!((plan.depth, plan.window), (Depth::Overlap, Window::new(at(105), at(112))));
    }

    #[test]
    fn progress_never_goes_back() {
        let mut looks = Looks::starting(at(100));
        looks.completed(Depth::TwoDays, at(90));
        assert_eq!(looks, Looks::starting(at(100)));
    }

    #[test]
    fn the_imbalance_is_what_is_unaccounted_for_either_way() {
        let ledger = |fetched, delivered| Ledger { fetched, delivered, deduplicated: 3, quarantined: 2 };
        assert_eq!([ledger(9, 4), ledger(9, 3), ledger(9, 5)].map(|ledger| ledger.imbalance()), [0, 1, 1]);
        assert!(ledger(9, 4).balances() && !ledger(9, 5).balances());
    }

    #[test]
    fn what_left_without_evidence_is_remembered_up_to_a_bound() {
        let mut feed = AlertFeed::starting(at(0), SignedDuration::ZERO);
        assert!(feed.walks.is_empty());
        for n in 0..MAX_INCOMPLETE + 5 {
            let sighting = Sighting { updated: at(0), id: n.to_string(), created: at(0) };
            feed.remember_incomplete(&sighting, at(0));
        }
        assert_eq!((feed.incomplete.len(), feed.incomplete[0].id.as_str()), (MAX_INCOMPLETE, "5"));
    }
}
