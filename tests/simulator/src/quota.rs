//! Defender's quota per tenant and application (MICROSOFT 3.2, 3.5).

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// Calls allowed for each pair of tenant and application. Refused calls count too: who ignores a 429 stays throttled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub per_minute: u32,
    pub per_hour: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self { per_minute: 100, per_hour: 1500 }
    }
}

/// A call that came too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) limit: u32,
    /// As the message prints it.
    pub(crate) window: &'static str,
    /// Whole seconds until a call would be let through, if nobody calls in between; at least 1.
    pub(crate) seconds: i64,
}

impl Quota {
    /// Counts this call among the earlier ones and judges it.
    pub(crate) fn admit(self, calls: &mut VecDeque<Timestamp>, now: Timestamp) -> Result<(), Exceeded> {
        calls.push_back(now);
        let hour_ago = now - SignedDuration::from_hours(1);
        while calls.front().is_some_and(|call| *call <= hour_ago) {
            calls.pop_front();
        }
        let minute = (SignedDuration::from_mins(1), self.per_minute, "00:01:00");
        let hour = (SignedDuration::from_hours(1), self.per_hour, "01:00:00");
        let waits = [minute, hour].map(|(span, limit, window)| {
            let within = calls.iter().filter(|call| **call > now - span).count();
            if within <= limit as usize {
                return None;
            }
            // The next call is let through when it and those still in the window are `limit` together.
            let last_in_the_way = calls.len().checked_sub(limit as usize).and_then(|place| calls.get(place));
            let until = last_in_the_way.copied().unwrap_or(now) + span;
            let milliseconds = until.duration_since(now).as_millis();
            let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX) + i64::from(milliseconds % 1000 != 0);
            Some(Exceeded { limit, window, seconds: seconds.max(1) })
        });
        waits.into_iter().flatten().max_by_key(|exceeded| exceeded.seconds).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    #[test]
    fn the_call_after_the_last_allowed_one_is_refused_and_let_through_when_told() {
        let quota = Quota { per_minute: 3, per_hour: 100 };
        let mut calls = VecDeque::new();
        for at in [0, 1, 2] {
            assert_eq!(quota.admit(&mut calls, second(at)), Ok(()));
        }
        // The refused call at 10 counts: what must leave the window are the calls at 0 and 1.
        let refused = quota.admit(&mut calls, second(10)).unwrap_err();
        assert_eq!(refused, Exceeded { limit: 3, window: "00:01:00", seconds: 51 });
        assert_eq!(quota.admit(&mut calls.clone(), second(10 + 51)), Ok(()));
        assert!(quota.admit(&mut calls, second(10 + 50)).is_err());
    }

    #[test]
    fn the_hour_has_a_limit_of_its_own() {
        let quota = Quota { per_minute: 10, per_hour: 2 };
        let mut calls = VecDeque::new();
        assert_eq!(quota.admit(&mut calls, second(0)), Ok(()));
        assert_eq!(quota.admit(&mut calls, second(600)), Ok(()));
        let refused = quota.admit(&mut calls, second(1200)).unwrap_err();
        assert_eq!(refused, Exceeded { limit: 2, window: "01:00:00", seconds: 3000 });
    }
}
