//! Times as the three services write them.

use jiff::Timestamp;

/// .NET counts time in ticks of 100 ns; nothing Defender stores is finer.
const TICK_NANOSECONDS: i128 = 100;

/// The instant cut down to a whole tick.
pub(crate) fn to_ticks(at: Timestamp) -> Timestamp {
    let nanoseconds = at.as_nanosecond();
    Timestamp::from_nanosecond(nanoseconds - nanoseconds.rem_euclid(TICK_NANOSECONDS)).unwrap_or(at)
}

/// As .NET writes a `DateTime` into JSON: up to 7 fraction digits, trailing zeros left out, `Z` (MICROSOFT 3.2).
pub fn dotnet(at: Timestamp) -> String {
    to_ticks(at).strftime("%Y-%m-%dT%H:%M:%S%.fZ").to_string()
}

/// The `Date` header's form (RFC 1123).
pub(crate) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The form inside Entra's errors: a space, not a `T` (MICROSOFT 2.7).
pub(crate) fn entra(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fraction_digits_are_as_many_as_needed_and_seven_at_most() {
        for (given, written) in [
            ("2026-01-26T20:33:59Z", "2026-01-26T20:33:59Z"),
            ("2026-01-26T20:33:59.2Z", "2026-01-26T20:33:59.2Z"),
            ("2026-01-26T20:33:50.190Z", "2026-01-26T20:33:50.19Z"),
            ("2026-01-26T20:33:57.7220239Z", "2026-01-26T20:33:57.7220239Z"),
            ("2026-01-26T20:33:57.722023999Z", "2026-01-26T20:33:57.7220239Z"),
            ("2026-01-26T20:33:57.000000001Z", "2026-01-26T20:33:57Z"),
        ] {
            assert_eq!(dotnet(given.parse().unwrap()), written);
        }
    }

    #[test]
    fn headers_and_errors_have_forms_of_their_own() {
        let at = "2026-01-02T03:04:05.6Z".parse().unwrap();
        assert_eq!(http_date(at), "Fri, 02 Jan 2026 03:04:05 GMT");
        assert_eq!(entra(at), "2026-01-02 03:04:05Z");
    }
}
