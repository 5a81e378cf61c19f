//! Microsoft's times: .NET's hundred-nanosecond ticks, written with nought to seven fraction digits.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

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
    fn a_literal_names_the_very_same_tick() {
        let at = parse("2026-01-26T20:33:57.7220239Z").unwrap();
        assert_eq!(literal(at), "2026-01-26T20:33:57.7220239Z");
        assert_eq!(parse(&literal(at)), Some(at));
        assert_eq!(compact(at), "20260126T203357.7220239Z");
        assert_eq!(literal(parse("2026-01-26T20:33:57Z").unwrap()), "2026-01-26T20:33:57.0000000Z");
    }
}
