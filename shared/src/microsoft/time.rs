//! Microsoft's times: .NET's hundred-nanosecond ticks, written with nought to seven fraction digits; and its clock beside
//! ours.

use std::fmt;

use jiff::{SignedDuration, Timestamp, civil::DateTime, fmt::rfc2822, tz::TimeZone};

/// The finest step that Microsoft's times take.
pub const TICK: SignedDuration = SignedDuration::from_nanos(100);

/// .NET's smallest date (year 1) to the year 9000: inside, no arithmetic of ours can overflow.
const PLAUSIBLE: std::ops::Range<i64> = -62_135_596_800..221_845_392_000;

/// Reads a time with any number of fraction digits up to nine, with `T` or a space; one without a zone is UTC
/// (MICROSOFT.md 3.2, "Time oddities"). `None` for anything else.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        // jiff refuses a civil time that carries a zone, so nothing with an unread offset passes here.
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    PLAUSIBLE.contains(&at.as_second()).then_some(at)
}

/// The time that an answer's `Date` header bears.
pub fn parse_date(header: &str) -> Option<Timestamp> {
    rfc2822::parse(header).ok().map(|date| date.timestamp())
}

/// By how many seconds this machine's clock is ahead of Microsoft's, or behind it where that is negative: a minute or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSkew(i32);

impl ClockSkew {
    /// Less is what an answer takes to travel, and a header that knows whole seconds.
    const WORTH_TELLING: SignedDuration = SignedDuration::from_mins(1);

    pub fn between(ours: Timestamp, theirs: Timestamp) -> Option<Self> {
        let ahead = ours.duration_since(theirs);
        let seconds = i32::try_from(ahead.as_secs()).unwrap_or(if ahead.is_negative() { -i32::MAX } else { i32::MAX });
        (ahead.abs() >= Self::WORTH_TELLING).then_some(Self(seconds))
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.0.is_negative() { "behind" } else { "ahead of" };
        let seconds = self.0.unsigned_abs();
        let (count, unit) = match seconds {
            ..5_400 => ((seconds + 30) / 60, "minute"),
            5_400..129_600 => ((seconds + 1_800) / 3_600, "hour"),
            _ => ((seconds + 43_200) / 86_400, "day"),
        };
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "this machine's clock is {count} {unit}{plural} {direction} Microsoft's")
    }
}

/// A datetime literal for `$filter`: unquoted, in UTC, with all seven digits.
pub fn literal(at: Timestamp) -> String {
    format!("{at:.7}")
}

/// For object keys, where a colon is unwelcome: `20261122T022500.1234567Z`. Sorts as the times do.
pub fn compact(at: Timestamp) -> String {
    literal(at).replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pain_05_times_have_nought_to_seven_digits_and_perhaps_no_zone() {
        let second = parse("2026-01-26T20:33:57Z").unwrap();
        for (text, nanos) in [
            ("2026-01-26T20:33:57", 0),
            ("2026-01-26 20:33:57", 0),
            ("2026-01-26T20:33:57.1Z", 100_000_000),
            ("2026-01-26T20:33:57.13Z", 130_000_000),
            ("2026-01-26T20:33:57.7220239Z", 722_023_900),
            ("2026-01-26T20:33:57.7220239", 722_023_900),
            ("2026-01-26T21:33:57.5+01:00", 500_000_000),
        ] {
            assert_eq!(parse(text), Some(second + SignedDuration::from_nanos(nanos)), "{text}");
        }
        for text in
            ["", "yesterday", "2026-13-01T00:00:00Z", "20:33:57", "null", "1706301237", "-009999-01-02T01:59:59Z"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_clock_that_differs_is_told_in_words() {
        let theirs = parse_date("Sun, 22 Nov 2026 12:00:00 GMT").unwrap();
        assert_eq!(theirs, "2026-11-22T12:00:00Z".parse().unwrap());
        for (seconds, expected) in [
            (0, None),
            (59, None),
            (-59, None),
            (60, Some("1 minute ahead of")),
            (-604, Some("10 minutes behind")),
            (7_000, Some("2 hours ahead of")),
            (-400_000, Some("5 days behind")),
        ] {
            let skew = ClockSkew::between(theirs + SignedDuration::from_secs(seconds), theirs);
            let expected = expected.map(|words| format!("this machine's clock is {words} Microsoft's"));
            assert_eq!(skew.map(|skew| skew.to_string()), expected, "{seconds}");
        }
        assert_eq!(parse_date("yesterday"), None);
    }

    #[test]
    fn a_literal_names_the_very_same_tick() {
        let at = parse("2026-01-26T20:33:57.7220239Z").unwrap();
        assert_eq!(literal(at), "2026-01-26T20:33:57.7220239Z");
        assert_eq!(parse(&literal(at)), Some(at));
        assert_eq!(compact(at), "20260126T203357.7220239Z");
        assert_eq!(literal(parse("2026-01-26T20:33:57Z").unwrap()), "2026-01-26T20:33:57.0000000Z");
    }
}
