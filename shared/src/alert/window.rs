//! Windows in `lastUpdateTime`: how they are split when a page is full, and which ones to fetch with evidence.

use jiff::{SignedDuration, Timestamp};

use super::Sighting;
use crate::microsoft::time::TICK;

/// Seen alerts between two new ones that are cheaper to receive again than to ask around.
const MAX_GAP: usize = 20;

/// `(after, until]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub after: Timestamp,
    pub until: Timestamp,
}

impl Window {
    pub fn new(after: Timestamp, until: Timestamp) -> Self {
        Self { after, until }
    }

    pub fn is_empty(self) -> bool {
        self.after >= self.until
    }

    pub fn length(self) -> SignedDuration {
        self.until.duration_since(self.after)
    }

    /// One tick wide: nothing can be split any more.
    pub fn is_instant(self) -> bool {
        self.length() <= TICK
    }

    pub fn holds(self, at: Timestamp) -> bool {
        self.after < at && at <= self.until
    }

    /// Both sides of a boundary inside the window.
    fn at(self, boundary: Timestamp) -> (Self, Self) {
        (Self::new(self.after, boundary), Self::new(boundary, self.until))
    }

    /// Splits a window whose page was full at the median of the distinct times seen in it. `None` for an instant.
    ///
    /// The page proves nothing about what it left out, so each half is asked again, complete in itself. The boundary is
    /// the roundest time that separates as well, for a service that might compare coarser than it prints.
    pub fn split(self, seen: impl IntoIterator<Item = Timestamp>) -> Option<(Self, Self)> {
        if self.is_instant() {
            return None;
        }
        let mut times: Vec<Timestamp> = seen.into_iter().filter(|at| self.holds(*at)).collect();
        times.sort_unstable();
        times.dedup();
        let boundary = match times.as_slice() {
            [] => return self.halve(),
            // All at one time: cut it off from what follows, then from what came before.
            [only] if *only < self.until => *only,
            [_] => self.until - TICK,
            times => {
                let middle = (times.len() - 1) / 2;
                let median = roundest(times[middle], times[middle + 1]);
                // A page may show one end of the window only; then its median would peel off half a page at a time.
                self.halve().map_or(median, |(earlier, _)| median.min(earlier.until))
            }
        };
        Some(self.at(boundary))
    }

    /// Splits in the middle, for a window that fails rather than overflows. `None` for an instant.
    pub fn halve(self) -> Option<(Self, Self)> {
        if self.is_instant() {
            return None;
        }
        let ticks = self.length().as_nanos() / TICK.as_nanos();
        let half = i64::try_from(ticks / 2 * TICK.as_nanos()).ok()?;
        Some(self.at(self.after + SignedDuration::from_nanos(half)))
    }

    /// What is left of the window without `other`, oldest first.
    pub fn without(self, other: Self) -> impl Iterator<Item = Self> {
        let before = Self::new(self.after, self.until.min(other.after));
        let behind = Self::new(self.after.max(other.until), self.until);
        [before, behind].into_iter().filter(|window| !window.is_empty())
    }

    /// Cuts the first piece of at most `length` off.
    pub fn first_piece(self, length: SignedDuration) -> (Self, Option<Self>) {
        let boundary = self.after.saturating_add(length.max(TICK)).unwrap_or(self.until);
        if boundary >= self.until {
            return (self, None);
        }
        let (first, rest) = self.at(boundary);
        (first, Some(rest))
    }
}

/// The roundest boundary `b` with `earlier ≤ b < later`: a whole second, a whole millisecond, or `earlier` itself.
fn roundest(earlier: Timestamp, later: Timestamp) -> Timestamp {
    let last = (later - TICK).as_nanosecond();
    [1_000_000_000, 1_000_000]
        .into_iter()
        .filter_map(|unit: i128| Timestamp::from_nanosecond(last.div_euclid(unit) * unit).ok())
        .find(|boundary| *boundary >= earlier)
        .unwrap_or(earlier)
}

/// New alerts to fetch with evidence, by the narrow window that holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub window: Window,
    pub wanted: Vec<Sighting>,
}

impl Group {
    /// None for no alerts. `wanted` must be sorted.
    pub fn new(wanted: Vec<Sighting>) -> Option<Self> {
        debug_assert!(wanted.is_sorted(), "a group's window is read off its ends");
        let window = Window::new(wanted.first()?.updated - TICK, wanted.last()?.updated);
        Some(Self { window, wanted })
    }

    /// Two smaller groups; `None` where one instant holds them all.
    pub fn split(self) -> Result<(Self, Self), Self> {
        let middle = self.wanted[self.wanted.len() / 2].updated;
        let boundary = match self.wanted.partition_point(|sighting| sighting.updated < middle) {
            0 => self.wanted.partition_point(|sighting| sighting.updated <= middle),
            boundary => boundary,
        };
        let mut left = self.wanted;
        let right = left.split_off(boundary);
        match (Self::new(left), Self::new(right)) {
            (Some(left), Some(right)) => Ok((left, right)),
            (Some(all), None) | (None, Some(all)) => Err(all),
            // A group is never empty.
            (None, None) => Err(Self { window: self.window, wanted: Vec::new() }),
        }
    }
}

/// The narrowest windows that hold the new ones among `sightings` (sorted), at most `limit` of them each, unless one
/// instant has more.
pub fn groups(sightings: &[Sighting], is_new: impl Fn(&Sighting) -> bool, limit: usize) -> Vec<Group> {
    let mut groups: Vec<Vec<Sighting>> = Vec::new();
    let mut gap = 0;
    for sighting in sightings {
        if !is_new(sighting) {
            gap += 1;
            continue;
        }
        match groups.last_mut() {
            Some(group) if belongs(group, sighting, gap, limit) => group.push(sighting.clone()),
            _ => groups.push(vec![sighting.clone()]),
        }
        gap = 0;
    }
    groups.into_iter().filter_map(Group::new).collect()
}

fn belongs(group: &[Sighting], sighting: &Sighting, gap: usize, limit: usize) -> bool {
    let same_instant = group.last().is_some_and(|last| last.updated == sighting.updated);
    same_instant || (group.len() < limit && gap <= MAX_GAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ticks: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_nanos(ticks * 100)
    }

    fn window(after: i64, until: i64) -> Window {
        Window::new(at(after), at(until))
    }

    fn sighting(ticks: i64, id: &str) -> Sighting {
        Sighting { updated: at(ticks), id: id.to_owned(), created: at(ticks) }
    }

    #[test]
    fn a_full_window_splits_at_the_median_distinct_time() {
        let check = |outer: Window, times: &[i64], boundary: Option<i64>| {
            let split = outer.split(times.iter().map(|t| at(*t)));
            assert_eq!(split, boundary.map(|b| outer.at(at(b))), "{times:?}");
        };
        check(window(0, 100), &[10, 20, 30], Some(20));
        check(window(0, 100), &[97, 98, 99], Some(50));
        check(window(0, 100), &[10, 10, 10, 90], Some(10));
        check(window(0, 100), &[50], Some(50));
        check(window(0, 100), &[100, 100], Some(99));
        check(window(0, 100), &[], Some(50));
        check(window(99, 100), &[100], None);
        // Rounded where a rounder boundary separates as well.
        check(window(0, 50_000_000), &[5, 10_000_007, 29_999_999, 40_000_000], Some(20_000_000));
        check(window(0, 50_000_000), &[5, 10_000_007, 10_025_000, 40_000_000], Some(10_020_000));
    }

    #[test]
    fn a_parked_window_is_left_out() {
        let check = |parked: Window, left: &[Window]| {
            assert_eq!(window(10, 20).without(parked).collect::<Vec<_>>(), left, "{parked:?}");
        };
        check(window(12, 14), &[window(10, 12), window(14, 20)]);
        check(window(0, 14), &[window(14, 20)]);
        check(window(12, 30), &[window(10, 12)]);
        check(window(10, 20), &[]);
        check(window(20, 30), &[window(10, 20)]);
        check(window(0, 10), &[window(10, 20)]);
    }

    #[test]
    fn splitting_always_ends_in_instants() {
        for (outer, times) in
            [(window(0, 7), vec![7]), (window(0, 1_000_000), vec![3, 4]), (window(5, 9), vec![6, 7, 8, 9])]
        {
            let mut stack = vec![outer];
            let mut steps = 0;
            while let Some(next) = stack.pop() {
                steps += 1;
                assert!(steps < 1000, "no end for {outer:?}");
                let inside: Vec<Timestamp> = times.iter().map(|t| at(*t)).filter(|t| next.holds(*t)).collect();
                if let (false, Some((left, right))) = (inside.is_empty(), next.split(inside)) {
                    assert!(!left.is_empty() && !right.is_empty(), "{next:?}");
                    stack.extend([right, left]);
                }
            }
        }
    }

    #[test]
    fn new_alerts_are_fetched_by_the_narrowest_windows() {
        let sightings: Vec<Sighting> = (1..=60).map(|t| sighting(t, "x")).collect();
        let ticks = |groups: Vec<Group>| -> Vec<(Window, usize)> {
            groups.iter().map(|g| (g.window, g.wanted.len())).collect()
        };
        let new = |set: &'static [i64]| move |s: &Sighting| set.iter().any(|t| at(*t) == s.updated);
        assert_eq!(ticks(groups(&sightings, new(&[]), 10)), []);
        assert_eq!(ticks(groups(&sightings, new(&[7]), 10)), [(window(6, 7), 1)]);
        assert_eq!(ticks(groups(&sightings, new(&[3, 10, 50]), 10)), [(window(2, 10), 2), (window(49, 50), 1)]);
        assert_eq!(ticks(groups(&sightings, new(&[3, 4, 5]), 2)), [(window(2, 4), 2), (window(4, 5), 1)]);
    }

    #[test]
    fn an_instant_is_never_torn_apart() {
        let crowd: Vec<Sighting> = ["a", "b", "c"].into_iter().map(|id| sighting(5, id)).collect();
        let all = groups(&crowd, |_| true, 2);
        assert_eq!((all.len(), all[0].wanted.len()), (1, 3));
        assert_eq!(all[0].clone().split(), Err(all[0].clone()));
        let pair = Group::new(vec![sighting(1, "a"), sighting(2, "b"), sighting(2, "c")]).unwrap();
        let (left, right) = pair.split().unwrap();
        assert_eq!((left.window, right.window), (window(0, 1), window(1, 2)));
    }
}
