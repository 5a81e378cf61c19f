//! Numbers and moments, as people read them.

use jiff::{SignedDuration, Timestamp};

use super::standing::Level;

/// A moment, in full and as seen from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub at: Timestamp,
    pub now: Timestamp,
}

impl Moment {
    /// As machines read it: RFC 3339, whole seconds.
    pub fn iso(&self) -> String {
        self.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub fn date(&self) -> String {
        date(self.at)
    }

    pub fn ago(&self) -> String {
        let apart = self.now.duration_since(self.at);
        match apart.as_secs() {
            0..=29 => "just now".to_owned(),
            30.. => format!("{} ago", span(apart)),
            _ => format!("in {}", span(apart.abs())),
        }
    }
}

pub fn date(at: Timestamp) -> String {
    at.strftime("%-d %b %Y, %H:%M UTC").to_string()
}

/// The length of a time by its largest unit: a person wants to know whether it is minutes or days.
pub fn span(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    match seconds {
        0..=89 => plural(seconds, "second"),
        90..=5_399 => plural((seconds + 30) / 60, "minute"),
        5_400..=172_799 => plural((seconds + 1_800) / 3_600, "hour"),
        _ => plural((seconds + 43_200) / 86_400, "day"),
    }
}

/// So many characters of the text, with a sign where there are more.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `1 tenant`, `2 tenants`.
pub fn plural(number: impl TryInto<u64>, one: &str) -> String {
    let number = number.try_into().unwrap_or_default();
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// With its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes by its largest unit of 1,000.
pub fn bytes(number: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.into_iter().find(|(_, size)| number >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", count(number / size), number % size * 10 / size),
        None => plural(number, "byte"),
    }
}

/// Kinds of credentials, as people call them.
pub fn credential(kind: Option<&str>) -> &'static str {
    match kind {
        Some("client_secret") => "client secret",
        Some("certificate") => "certificate",
        Some("federated") => "federated: there is no secret",
        _ => "cannot be read",
    }
}

/// How pressing the end of a credential is.
pub fn ending(at: Timestamp, now: Timestamp) -> Level {
    match at.duration_since(now).as_hours() {
        ..=168 => Level::Bad,
        169..=720 => Level::Waiting,
        _ => Level::Good,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_from_now() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (seconds, expected) in [
            (0, "just now"),
            (29, "just now"),
            (31, "31 seconds ago"),
            (90, "2 minutes ago"),
            (5_400, "2 hours ago"),
            (86_400, "24 hours ago"),
            (172_800, "2 days ago"),
            (-60, "in 60 seconds"),
            (-864_000, "in 10 days"),
        ] {
            let moment = Moment { at: now - SignedDuration::from_secs(seconds), now };
            assert_eq!(moment.ago(), expected, "{seconds}");
        }
        assert_eq!(Moment { at: now, now }.date(), "22 Nov 2026, 12:00 UTC");
    }

    #[test]
    fn numbers_keep_their_thousands_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1, 2].map(|number: u64| plural(number, "tenant")), ["1 tenant", "2 tenants"]);
        assert_eq!([1, 999, 1_500, 2_000_000].map(bytes), ["1 byte", "999 bytes", "1.5 kB", "2.0 MB"]);
        assert_eq!(bytes(12_345_000_000_000), "12,345.0 GB");
    }
}
