//! How old a feed's data was and how much it delivered, by the hour: what the console's charts are made of.
//!
//! It is written with writes that happen anyway, so an idle poll still writes nothing.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Hours that are kept: a day, and the hour under way.
const KEPT: i64 = 25;
const HOUR_SECONDS: i64 = 3600;

/// By hours since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(BTreeMap<i64, Sample>);

/// What is known of one hour: the worst age in seconds, if any, and what was delivered. Written as a pair, since every commit
/// writes all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sample(Option<u32>, u64);

/// One hour as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Hour {
    pub begins_at: Timestamp,
    /// How old the newest data was at worst; none where nobody looked.
    pub worst_seconds: Option<u32>,
    /// Events that left in this hour, of whatever age.
    pub delivered: u64,
}

impl History {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A write at `now` moves the watermark from `before` to `after`, and delivers. Until then the data had been as old as
    /// `before` has it, in all the hours since.
    pub fn note(&mut self, before: Option<Timestamp>, after: Option<Timestamp>, delivered: u64, now: Timestamp) {
        let this = hour(now);
        if let Some(before) = before
            && after > Some(before)
        {
            for past in hour(before).max(this - KEPT + 1)..=this {
                let seen_at = end(past).min(now);
                let age = u32::try_from(seen_at.duration_since(before).as_secs()).unwrap_or(0);
                let worst = &mut self.0.entry(past).or_default().0;
                *worst = (*worst).max(Some(age));
            }
        }
        if delivered > 0 {
            self.0.entry(this).or_default().1 += delivered;
        }
        self.0.retain(|hour, _| *hour > this - KEPT);
    }

    /// The last so many hours, the one under way at the end.
    pub fn hours(&self, count: u8, now: Timestamp) -> Vec<Hour> {
        let this = hour(now);
        let shown = (this - i64::from(count) + 1..=this).map(|hour| {
            let Sample(worst_seconds, delivered) = self.0.get(&hour).copied().unwrap_or_default();
            Hour { begins_at: begin(hour), worst_seconds, delivered }
        });
        shown.collect()
    }
}

fn hour(at: Timestamp) -> i64 {
    at.as_second().div_euclid(HOUR_SECONDS)
}

fn begin(hour: i64) -> Timestamp {
    Timestamp::from_second(hour * HOUR_SECONDS).unwrap_or(Timestamp::MAX)
}

fn end(hour: i64) -> Timestamp {
    begin(hour).saturating_add(SignedDuration::from_secs(HOUR_SECONDS)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(100 * 60 + minute)
    }

    fn shown(history: &History, count: u8, minute: i64) -> Vec<(Option<u32>, u64)> {
        let hours = history.hours(count, at(minute));
        assert_eq!(hours.last().map(|hour| hour.begins_at), Some(at(minute - minute.rem_euclid(60))));
        hours.iter().map(|hour| (hour.worst_seconds, hour.delivered)).collect()
    }

    #[test]
    fn each_hour_keeps_its_worst_age_and_counts_what_was_delivered() {
        let mut history = History::default();
        history.note(Some(at(0)), Some(at(15)), 3, at(15));
        history.note(Some(at(15)), Some(at(16)), 2, at(16));
        history.note(Some(at(16)), Some(at(16)), 1, at(20));
        assert_eq!(shown(&history, 2, 20), [(None, 0), (Some(900), 6)]);
        assert_eq!(shown(&history, 2, 60), [(Some(900), 6), (None, 0)]);
    }

    #[test]
    fn an_outage_is_as_old_as_it_was_in_every_hour_that_it_took() {
        let mut history = History::default();
        history.note(Some(at(30)), Some(at(200)), 0, at(200));
        let expected = [(Some(30 * 60), 0), (Some(90 * 60), 0), (Some(150 * 60), 0), (Some(170 * 60), 0)];
        assert_eq!(shown(&history, 4, 200), expected);
    }

    #[test]
    fn nothing_is_told_without_a_watermark_before_and_old_hours_go() {
        let mut history = History::default();
        history.note(None, Some(at(0)), 0, at(0));
        assert!(history.is_empty());
        history.note(Some(at(0)), Some(at(100 * 60)), 1, at(100 * 60));
        assert_eq!(history.0.len(), 25);
        history.note(Some(at(100 * 60)), Some(at(149 * 60)), 1, at(149 * 60));
        assert_eq!(history.0.len(), 25);
        assert_eq!(shown(&history, 1, 149 * 60), [(Some(49 * 3600), 1)]);
    }

    #[test]
    fn it_is_small_beside_the_state_it_lies_in() {
        let mut history = History::default();
        history.note(Some(at(0)), Some(at(100 * 60)), 0, at(100 * 60));
        let text = serde_json::to_string(&history).unwrap();
        assert!(text.len() < 600, "{} bytes: {text}", text.len());
        assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
        assert_eq!(serde_json::from_str::<History>("{}").unwrap(), History::default());
    }
}
