//! What happens to a caller around one of its calls.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The call is allowed, and never reaches AWS.
    Before,
    /// AWS has done it, and nobody has been told.
    After,
}

type Act = Box<dyn FnOnce() + Send>;

struct Mishap {
    door: String,
    operation: String,
    when: When,
    act: Act,
}

#[derive(Default)]
pub(super) struct Mishaps {
    planned: Mutex<Vec<Mishap>>,
}

impl fmt::Debug for Mishaps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mishaps").finish_non_exhaustive()
    }
}

impl Mishaps {
    pub(super) fn plan(&self, door: &str, operation: &str, when: When, act: Act) {
        let mishap = Mishap { door: door.to_owned(), operation: operation.to_owned(), when, act };
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).push(mishap);
    }

    /// Does what was planned for this moment, once. Whether anything was.
    pub(super) fn strike(&self, door: &str, operation: &str, when: When) -> bool {
        let struck = {
            let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
            let here = |mishap: &Mishap| mishap.door == door && mishap.operation == operation && mishap.when == when;
            planned.iter().position(here).map(|at| planned.remove(at))
        };
        let Some(mishap) = struck else { return false };
        (mishap.act)();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[test]
    fn a_mishap_strikes_once_and_only_where_it_was_planned() {
        let (mishaps, struck) = (Mishaps::default(), Arc::new(AtomicU32::new(0)));
        let counting = struck.clone();
        let act = move || {
            counting.fetch_add(1, Ordering::SeqCst);
        };
        mishaps.plan("rotator", "PutSecretValue", When::After, Box::new(act));
        assert!(!mishaps.strike("puller", "PutSecretValue", When::After));
        assert!(!mishaps.strike("rotator", "PutSecretValue", When::Before));
        assert!(!mishaps.strike("rotator", "GetSecretValue", When::After));
        assert_eq!(struck.load(Ordering::SeqCst), 0);
        assert!(mishaps.strike("rotator", "PutSecretValue", When::After));
        assert!(!mishaps.strike("rotator", "PutSecretValue", When::After));
        assert_eq!(struck.load(Ordering::SeqCst), 1);
    }
}
