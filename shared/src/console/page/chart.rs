//! Small charts as SVG, which say nothing that does not also stand beside them in words.

use super::{standing::Level, words};
use crate::record::Hour;

/// The drawing's height, in its own units.
const HEIGHT: f64 = 100.0;
/// Of each hour's width, what its bar takes.
const BAR: f64 = 0.78;
/// No value is drawn so small that it cannot be seen.
const LEAST: f64 = 3.0;

/// Bars over the hours of a day.
pub struct Chart {
    pub bars: Vec<Bar>,
    /// What the chart says, in a sentence.
    pub summary: String,
    /// Hour and value, as a table has them.
    pub table: Vec<(String, String)>,
}

pub struct Bar {
    pub x: String,
    pub y: String,
    pub height: String,
    pub class: &'static str,
}

/// How old the data was at worst, hour by hour; `due` is the age that is nothing to worry about.
pub fn freshness(hours: &[Hour], due: u32) -> Chart {
    let ages: Vec<Option<u32>> = hours.iter().map(|hour| hour.worst_seconds).collect();
    let worst = ages.iter().flatten().copied().max();
    // So that a good day looks like one, and not like whatever was its worst.
    let scale = f64::from(worst.unwrap_or(0).max(due.saturating_mul(2)).max(1));
    let late = ages.iter().flatten().filter(|age| **age > due).count();
    let span = |seconds: u32| words::span(jiff::SignedDuration::from_secs(seconds.into()));
    let summary = match (worst, late) {
        (None, _) => "Nothing has been noted yet.".to_owned(),
        (Some(worst), 0) => format!("At worst {} old.", span(worst)),
        (Some(worst), late) => format!("At worst {} old; later than {} in {}.", span(worst), span(due), hours_of(late)),
    };
    let class = |age: &Option<u32>| match age {
        None => "none",
        Some(age) if *age > due => "late",
        Some(_) => "",
    };
    Chart {
        bars: bars(ages.iter().map(|age| (age.map_or(0.0, f64::from) / scale, class(age)))),
        summary,
        table: table(hours, |hour| hour.worst_seconds.map_or_else(|| "not noted".to_owned(), span)),
    }
}

/// How many events left, hour by hour.
pub fn delivered(hours: &[Hour], one: &str) -> Chart {
    let most = hours.iter().map(|hour| hour.delivered).max().unwrap_or(0);
    let sum: u64 = hours.iter().map(|hour| hour.delivered).sum();
    let part = |hour: &Hour| hour.delivered as f64 / most.max(1) as f64;
    Chart {
        bars: bars(hours.iter().map(|hour| (part(hour), if hour.delivered == 0 { "none" } else { "" }))),
        summary: match sum {
            0 => "None in the last day.".to_owned(),
            _ => format!("{} in the last day, at most {} in one hour.", words::plural(sum, one), words::count(most)),
        },
        table: table(hours, |hour| words::count(hour.delivered)),
    }
}

fn hours_of(hours: usize) -> String {
    words::plural(hours, "hour")
}

fn table(hours: &[Hour], value: impl Fn(&Hour) -> String) -> Vec<(String, String)> {
    hours.iter().map(|hour| (hour.begins_at.strftime("%-d %b, %H:00").to_string(), value(hour))).collect()
}

fn bars(parts: impl Iterator<Item = (f64, &'static str)>) -> Vec<Bar> {
    let bar = |(place, (part, class)): (usize, (f64, &'static str))| {
        let height = if class == "none" { 1.0 } else { (part * HEIGHT).clamp(LEAST, HEIGHT) };
        let (x, y) = (place as f64 + (1.0 - BAR) / 2.0, HEIGHT - height);
        Bar { x: format!("{x:.2}"), y: format!("{y:.1}"), height: format!("{height:.1}"), class }
    };
    parts.enumerate().map(bar).collect()
}

/// Parts of a whole, beside one another.
pub fn shares(parts: &[(Level, usize)]) -> Vec<Share> {
    let all: usize = parts.iter().map(|(_, count)| count).sum();
    let mut from = 0.0;
    let share = |(level, count): &(Level, usize)| {
        let width = 100.0 * *count as f64 / all.max(1) as f64;
        let share = Share { x: format!("{from:.2}"), width: format!("{width:.2}"), class: level.class() };
        from += width;
        share
    };
    parts.iter().filter(|(_, count)| *count > 0).map(share).collect()
}

pub struct Share {
    pub x: String,
    pub width: String,
    pub class: &'static str,
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn hours(values: &[(Option<u32>, u64)]) -> Vec<Hour> {
        let begins = |n: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(n);
        let hour = |(n, (worst_seconds, delivered)): (i64, &(Option<u32>, u64))| Hour {
            begins_at: begins(n),
            worst_seconds: *worst_seconds,
            delivered: *delivered,
        };
        (0..).zip(values).map(hour).collect()
    }

    #[test]
    fn a_late_hour_stands_out_and_an_unknown_one_is_no_good_one() {
        let chart = freshness(&hours(&[(Some(900), 0), (None, 0), (Some(7_200), 0)]), 1_200);
        let classes: Vec<&str> = chart.bars.iter().map(|bar| bar.class).collect();
        assert_eq!(classes, ["", "none", "late"]);
        assert_eq!(chart.bars[2].height, "100.0");
        assert_eq!(chart.summary, "At worst 2 hours old; later than 20 minutes in 1 hour.");
        assert_eq!(chart.table[1], ("1 Jan, 01:00".to_owned(), "not noted".to_owned()));
        assert_eq!(freshness(&[], 60).summary, "Nothing has been noted yet.");
    }

    #[test]
    fn deliveries_are_drawn_by_the_busiest_hour() {
        let chart = delivered(&hours(&[(None, 0), (None, 5), (None, 10)]), "alert");
        let heights: Vec<&str> = chart.bars.iter().map(|bar| bar.height.as_str()).collect();
        assert_eq!(heights, ["1.0", "50.0", "100.0"]);
        assert_eq!(chart.summary, "15 alerts in the last day, at most 10 in one hour.");
        assert_eq!(delivered(&[], "alert").summary, "None in the last day.");
    }

    #[test]
    fn shares_fill_the_whole() {
        let shares = shares(&[(Level::Bad, 1), (Level::Waiting, 0), (Level::Good, 3)]);
        let told: Vec<(&str, &str, &str)> =
            shares.iter().map(|share| (share.x.as_str(), share.width.as_str(), share.class)).collect();
        assert_eq!(told, [("0.00", "25.00", "bad"), ("25.00", "75.00", "good")]);
    }
}
