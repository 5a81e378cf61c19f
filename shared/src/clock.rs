//! Where `now` comes from: the machine's clock, or a hand that moves it.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::Poll,
    time::{Duration, SystemTime},
};

use futures::future::{Either, select};
use jiff::{SignedDuration, Timestamp};

/// What is left of an invocation on Lambda until its deadline, but for a `farewell` in which to say how it ended. A deadline
/// in the past is an emulator's (AWS.md 5): then Lambda's longest run is assumed.
pub fn left_until(deadline: SystemTime, farewell: Duration) -> SignedDuration {
    const LONGEST: Duration = Duration::from_secs(15 * 60);
    let left = deadline.duration_since(SystemTime::now()).unwrap_or(LONGEST);
    SignedDuration::try_from(left.saturating_sub(farewell)).unwrap_or(SignedDuration::MAX)
}

/// Read only by the thin `run` of an operation; decisions take `now` as an argument.
#[derive(Debug, Clone)]
pub enum Clock {
    System,
    /// Microseconds since the epoch, moved by tests, the fault run and the demo.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub fn manual(at: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.as_microsecond())))
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Manual(at) => Timestamp::from_microsecond(at.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX),
        }
    }

    /// What has passed since then, as logs tell it. A clock that was set back meanwhile says 0.
    pub fn milliseconds_since(&self, began: Timestamp) -> u64 {
        u64::try_from(self.now().duration_since(began).as_millis()).unwrap_or(0)
    }

    /// Moves a manual clock; the machine's own clock is nobody's to move.
    pub fn advance(&self, by: SignedDuration) {
        if let Self::Manual(at) = self {
            at.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// What the work comes to, if it comes to something within this time. Otherwise it is dropped where it stands.
    pub async fn within<T>(&self, time: SignedDuration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), pin!(self.sleep(time))).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }

    /// Waits for this long. Under a manual clock it waits for the hand, and whoever moves it polls meanwhile.
    pub async fn sleep(&self, time: SignedDuration) {
        match self {
            Self::System => tokio::time::sleep(std::time::Duration::try_from(time).unwrap_or_default()).await,
            Self::Manual(_) => {
                let until = self.now() + time;
                std::future::poll_fn(|context| {
                    if self.now() >= until {
                        return Poll::Ready(());
                    }
                    context.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_sleeper_wakes_when_the_hand_has_moved_far_enough() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let mut sleeper = std::pin::pin!(clock.sleep(SignedDuration::from_secs(15)));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(sleeper.as_mut().poll(&mut context).is_pending());
            clock.advance(SignedDuration::from_secs(5));
        }
        assert!(sleeper.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn work_that_takes_too_long_is_dropped_and_what_is_done_in_time_is_had() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let seconds = SignedDuration::from_secs;
        let mut context = Context::from_waker(Waker::noop());
        for (takes, expected) in [(4, Some("done")), (6, None)] {
            let work = async {
                clock.sleep(seconds(takes)).await;
                "done"
            };
            let mut within = Box::pin(clock.within(seconds(5), work));
            for _ in 0..3 {
                assert_eq!(within.as_mut().poll(&mut context), Poll::Pending);
                clock.advance(seconds(1));
            }
            clock.advance(seconds(2));
            assert_eq!(within.as_mut().poll(&mut context), Poll::Ready(expected));
        }
    }

    #[test]
    fn what_is_left_of_an_invocation_ends_before_its_deadline_and_an_emulators_past_one_is_no_deadline() {
        let left = |ahead: u64| left_until(SystemTime::now() + Duration::from_secs(ahead), Duration::from_secs(60));
        assert!((SignedDuration::from_secs(118)..=SignedDuration::from_secs(120)).contains(&left(180)));
        assert_eq!(left(30), SignedDuration::ZERO);
        let past = left_until(SystemTime::UNIX_EPOCH + Duration::from_secs(600), Duration::from_secs(60));
        assert_eq!(past, SignedDuration::from_secs(14 * 60));
    }
}
