//! How far a tenant's inventory has come: the segments of the snapshot, the run under way, the open intent, the ledger.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    microsoft::defender::Position,
    record::{History, Ledger, Progress},
};

/// An interrupted run that is older than this, and than two ticks, begins anew: the list has moved on too far.
const RESUMABLE: SignedDuration = SignedDuration::from_hours(1);
/// Ticks are never quite on time.
const LATE: SignedDuration = SignedDuration::from_mins(5);
/// Without a complete run for so long a person is told.
const STALE: SignedDuration = SignedDuration::from_hours(24);
/// Of the machines that others were merged into, so many wait to be asked for.
const MAX_TARGETS: usize = 100;

/// The decision to write one segment and, where anything leaves us, one lake object; written before either is put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    pub segment: String,
    /// The segment stands in for all before it.
    pub replaces: bool,
    /// What the commit counts, should somebody else have to finish it.
    pub counts: Ledger,
    pub opened_at: Timestamp,
}

/// A run that was interrupted, and where it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenRun {
    /// The scheduled time of the tick that began it.
    pub began: Timestamp,
    pub place: Place,
    /// Some id was shown twice: the run brings what it brings, and tells nothing about who is missing.
    pub shifted: bool,
    /// The segment with the ids that have been shown.
    pub seen: String,
}

/// How far the list has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub position: Position,
    /// Elements of all pages so far.
    pub read: u64,
    /// Whether a next link has been followed: then its absence is the end.
    pub linked: bool,
}

impl Place {
    pub fn start() -> Self {
        Self { position: Position::Start, read: 0, linked: false }
    }
}

/// More machines have vanished at once than is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub since: Timestamp,
    pub machines: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineFeed {
    /// The snapshot's segments, oldest first.
    pub segments: Vec<String>,
    /// Objects that nothing points to any more; the next pass removes them, when nobody reads them any more.
    pub superseded: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<Intent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<OpenRun>,
    /// How many runs have read the whole list; the number of the last one.
    pub complete_runs: u64,
    /// The scheduled time of the first run.
    pub first_run: Option<Timestamp>,
    /// The scheduled time of the last run that came to its end, complete or not.
    pub last_run: Option<Timestamp>,
    /// Everything until here has been looked at and delivered.
    pub last_complete: Option<Timestamp>,
    /// How many machines there were then.
    pub machines: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// What has been missing since this complete run or an earlier one, an operator has accepted.
    pub accepted_through: u64,
    /// Machines that others were merged into, and that no list has shown yet.
    pub merge_targets: Vec<String>,
    /// The id that was asked for last; the next run goes on behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    pub ledger: Ledger,
    #[serde(skip_serializing_if = "History::is_empty")]
    pub history: History,
}

impl MachineFeed {
    /// The run that a message goes on with. However far apart the ticks are, the next one finds it.
    pub fn resumable(&self, scheduled: Timestamp, every: SignedDuration) -> Option<&OpenRun> {
        let age = RESUMABLE.max(every.saturating_mul(2)).saturating_add(LATE);
        self.run.as_ref().filter(|run| scheduled.duration_since(run.began) <= age)
    }

    /// Whether what this message asks for has been done.
    pub fn is_done(&self, scheduled: Timestamp) -> bool {
        self.last_run.is_some_and(|last| scheduled <= last)
    }

    /// Whether it is time to tell somebody that no run comes to a complete end.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.last_complete.or(self.first_run).is_some_and(|since| now.duration_since(since) >= STALE)
    }

    /// Nothing points to this object any more.
    pub fn let_go(&mut self, keys: impl IntoIterator<Item = String>) {
        self.superseded.extend(keys);
    }

    /// A segment is in: behind the others, or in their place.
    pub fn take_in(&mut self, segment: String, replaces: bool) {
        if replaces {
            let replaced = std::mem::take(&mut self.segments);
            self.let_go(replaced);
        }
        self.segments.push(segment);
    }

    /// The run is over, however.
    pub fn end_run(&mut self, began: Timestamp) {
        let run = self.run.take();
        self.let_go(run.map(|run| run.seen));
        self.last_run = Some(began);
    }

    /// What stays when the tenant has left: whom we know, and the counters that this knowledge is written with.
    #[must_use]
    pub fn left(mut self) -> Self {
        let run = self.run.take();
        self.let_go(run.map(|run| run.seen));
        let Self { segments, superseded, complete_runs, accepted_through, .. } = self;
        Self { segments, superseded, complete_runs, accepted_through, ..Self::default() }
    }

    /// Remembers whom to ask for. More than fit are let go: their own records bring them sooner or later.
    pub fn ask_for(&mut self, target: &str) {
        if self.merge_targets.len() < MAX_TARGETS && !self.merge_targets.iter().any(|known| known == target) {
            self.merge_targets.push(target.to_owned());
        }
    }
}

impl Progress for MachineFeed {
    const ITEM: &'static str = "machines#progress";

    fn watermark(&self) -> Option<Timestamp> {
        self.last_complete
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn history(&mut self) -> &mut History {
        &mut self.history
    }

    fn unwritten() -> Option<Self> {
        Some(Self::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour)
    }

    #[test]
    fn an_interrupted_run_is_gone_on_with_for_an_hour_and_for_two_ticks() {
        let run = OpenRun { began: at(1), place: Place::start(), shifted: false, seen: "s".to_owned() };
        let feed = MachineFeed { run: Some(run), ..MachineFeed::default() };
        for (every, hours) in [(1, 1), (30, 1), (60, 2), (12 * 60, 24)] {
            let (every, last) = (SignedDuration::from_mins(every), at(1 + hours) + LATE);
            assert!(feed.resumable(last, every).is_some(), "{every}");
            assert!(feed.resumable(last + SignedDuration::from_secs(1), every).is_none(), "{every}");
        }
    }

    #[test]
    fn a_repeated_message_finds_its_run_done() {
        let mut feed = MachineFeed::default();
        assert!(!feed.is_done(at(1)));
        feed.end_run(at(1));
        assert!(feed.is_done(at(1)) && !feed.is_done(at(2)));
    }

    #[test]
    fn a_day_without_a_complete_run_is_worth_a_word() {
        let mut feed = MachineFeed::default();
        assert!(!feed.is_stale(at(100)), "it has not begun");
        feed.first_run = Some(at(0));
        assert!(!feed.is_stale(at(23)) && feed.is_stale(at(24)));
        feed.last_complete = Some(at(10));
        assert!(!feed.is_stale(at(33)) && feed.is_stale(at(34)));
    }

    #[test]
    fn what_a_new_segment_replaces_is_let_go() {
        let mut feed = MachineFeed::default();
        for (segment, replaces) in [("a", false), ("b", false), ("c", true), ("d", false)] {
            feed.take_in(segment.to_owned(), replaces);
        }
        assert_eq!(
            (feed.segments, feed.superseded),
            (vec!["c".to_owned(), "d".to_owned()], vec!["a".to_owned(), "b".to_owned()])
        );
    }

    #[test]
    fn the_state_survives_its_item_and_grows_new_fields() {
        let run = OpenRun {
            began: at(1),
            place: Place { position: Position::Link("$skip=7".to_owned()), read: 7, linked: true },
            shifted: true,
            seen: "s".to_owned(),
        };
        let feed = MachineFeed { run: Some(run), complete_runs: 3, ..MachineFeed::default() };
        let value = serde_json::to_value(&feed).unwrap();
        assert_eq!(serde_json::from_value::<MachineFeed>(value).unwrap(), feed);
        assert_eq!(serde_json::from_value::<MachineFeed>(serde_json::json!({})).unwrap(), MachineFeed::default());
    }
}
