//! Where `now` comes from: the machine's clock, or a hand that moves it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::Poll,
};

use jiff::{SignedDuration, Timestamp};

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
}
