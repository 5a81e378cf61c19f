//! The ladder: what to try when Defender answers 5xx, times out or breaks off, rather than the same request again.
//!
//! Smaller page → narrower window → without evidence. Each failure climbs one rung; three in one pass end it, and the
//! rung is kept for the next. A pass that ends well climbs all the way down.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A window is parked only after the ladder has failed for so long.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// How often a parked window is tried again.
pub const PARKED_RETRY: SignedDuration = SignedDuration::from_hours(1);
/// How soon a walk that failed goes on.
pub const WALK_RETRY: SignedDuration = SignedDuration::from_mins(5);
/// Failures of the service in one pass before it is left in peace until the next tick.
pub const FAILURES_PER_PASS: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    Normal,
    SmallPage,
    Narrow,
    /// What fails alone is delivered without evidence, marked, and completed later.
    Bare,
}

/// Trouble with one tenant's alerts, kept from pass to pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub since: Timestamp,
    pub rung: Rung,
    /// The last failure in words.
    pub last: String,
}

impl Rung {
    pub fn next(self) -> Self {
        match self {
            Self::Normal => Self::SmallPage,
            Self::SmallPage => Self::Narrow,
            Self::Narrow | Self::Bare => Self::Bare,
        }
    }

    /// `$top` for a look.
    pub fn page(self, page_size: usize) -> usize {
        match self {
            Self::Normal => page_size,
            _ => (page_size / 10).max(1),
        }
    }

    /// Alerts asked for with evidence at once. Half a page, so that the page is not full of them.
    pub fn group(self, page_size: usize) -> usize {
        match self {
            Self::Normal => (page_size / 2).max(1),
            Self::SmallPage => (page_size / 20).max(1),
            Self::Narrow | Self::Bare => 1,
        }
    }

    /// How much of a window one look takes; `None` for all of it.
    pub fn slice(self, window: SignedDuration) -> Option<SignedDuration> {
        (self >= Self::Narrow).then(|| (window / 16).max(SignedDuration::from_secs(1)))
    }
}

/// The trouble after one more failure.
pub fn after_failure(trouble: Option<&Trouble>, rung: Rung, failure: &str, now: Timestamp) -> Trouble {
    Trouble { since: trouble.map_or(now, |trouble| trouble.since), rung: rung.next(), last: failure.to_owned() }
}

/// Whether a window that fails at this rung may be parked, provided that the service answers other questions.
pub fn may_park(trouble: Option<&Trouble>, rung: Rung, now: Timestamp) -> bool {
    rung >= Rung::Narrow && trouble.is_some_and(|trouble| now.duration_since(trouble.since) >= PATIENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_climbs_one_rung_and_keeps_when_it_began() {
        let at = |minute: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        let first = after_failure(None, Rung::Normal, "HTTP 500", at(0));
        let second = after_failure(Some(&first), first.rung, "HTTP 500", at(1));
        let third = after_failure(Some(&second), second.rung, "timed out", at(2));
        assert_eq!((first.rung, second.rung, third.rung), (Rung::SmallPage, Rung::Narrow, Rung::Bare));
        assert_eq!((third.since, third.rung.next()), (at(0), Rung::Bare));
        assert!(!may_park(Some(&third), third.rung, at(9)));
        assert!(may_park(Some(&third), third.rung, at(10)));
        assert!(!may_park(None, Rung::Bare, at(10)));
        assert!(!may_park(Some(&third), Rung::SmallPage, at(10)));
    }

    #[test]
    fn no_rung_asks_for_nothing() {
        for rung in [Rung::Normal, Rung::SmallPage, Rung::Narrow, Rung::Bare] {
            assert!(rung.page(1) >= 1 && rung.group(1) >= 1);
        }
        assert_eq!(Rung::Narrow.slice(SignedDuration::from_mins(16)), Some(SignedDuration::from_mins(1)));
    }
}
