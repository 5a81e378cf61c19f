//! Where `now` comes from: the machine's clock, or a hand that moves it.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
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

    /// Moves a manual clock; the machine's own clock is nobody's to move.
    pub fn advance(&self, by: SignedDuration) {
        if let Self::Manual(at) = self {
            at.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}
