//! What happens to a caller around one of its calls.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use super::trouble::Trouble;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The call is allowed, and never reaches AWS.
    Before,
    /// AWS has done it, and nobody has been told.
    After,
}

type Act = Box<dyn FnOnce() + Send>;

enum Deed {
    Act(When, Act),
    Trouble(Trouble),
}

struct Mishap {
    door: String,
    operation: String,
    /// Around which such call, the next one being the first.
    nth: usize,
    deed: Deed,
}

#[derive(Default)]
pub(super) struct Mishaps {
    planned: Mutex<Vec<Mishap>>,
    /// The doors that nobody comes through.
    shut: Mutex<BTreeSet<String>>,
}

impl fmt::Debug for Mishaps {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mishaps").finish_non_exhaustive()
    }
}

impl Mishaps {
    pub(super) fn plan(&self, door: &str, operation: &str, nth: usize, when: When, act: Act) {
        self.add(door, operation, nth, Deed::Act(when, act));
    }

    pub(super) fn plan_trouble(&self, door: &str, operation: &str, trouble: Trouble) {
        self.add(door, operation, 1, Deed::Trouble(trouble));
    }

    fn add(&self, door: &str, operation: &str, nth: usize, deed: Deed) {
        let mishap = Mishap { door: door.to_owned(), operation: operation.to_owned(), nth, deed };
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).push(mishap);
    }

    pub(super) fn shut(&self, door: &str, shut: bool) {
        let mut doors = self.shut.lock().unwrap_or_else(PoisonError::into_inner);
        if shut {
            doors.insert(door.to_owned());
        } else {
            doors.remove(door);
        }
    }

    pub(super) fn are_shut_out(&self, door: &str) -> bool {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner).contains(door)
    }

    /// Takes the first of the deeds planned for such a call, if it is this one's turn, so that each is done once.
    fn take(&self, door: &str, operation: &str, fits: impl Fn(&Deed) -> bool) -> Option<Deed> {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let here = |mishap: &Mishap| mishap.door == door && mishap.operation == operation && fits(&mishap.deed);
        let at = planned.iter().position(here)?;
        planned[at].nth -= 1;
        (planned[at].nth == 0).then(|| planned.remove(at).deed)
    }

    /// Does what was planned for this moment, once. Whether anything was.
    pub(super) fn strike(&self, door: &str, operation: &str, when: When) -> bool {
        let deed = self.take(door, operation, |deed| matches!(deed, Deed::Act(at, _) if *at == when));
        let Some(Deed::Act(_, act)) = deed else { return false };
        act();
        true
    }

    /// What AWS is to do to this call.
    pub(super) fn trouble(&self, door: &str, operation: &str) -> Option<Trouble> {
        match self.take(door, operation, |deed| matches!(deed, Deed::Trouble(_)))? {
            Deed::Trouble(trouble) => Some(trouble),
            Deed::Act(..) => None,
        }
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
    fn a_shut_door_concerns_its_own_callers_until_it_is_opened_again() {
        let mishaps = Mishaps::default();
        mishaps.shut("puller", true);
        assert!(mishaps.are_shut_out("puller") && !mishaps.are_shut_out("rotator"));
        mishaps.shut("puller", false);
        assert!(!mishaps.are_shut_out("puller"));
    }

    #[test]
    fn a_mishap_strikes_once_and_only_where_it_was_planned() {
        let (mishaps, struck) = (Mishaps::default(), Arc::new(AtomicU32::new(0)));
        let counting = struck.clone();
        let act = move || {
            counting.fetch_add(1, Ordering::SeqCst);
        };
        mishaps.plan("rotator", "PutSecretValue", 2, When::After, Box::new(act));
        assert!(!mishaps.strike("puller", "PutSecretValue", When::After));
        assert!(!mishaps.strike("rotator", "PutSecretValue", When::Before));
        assert!(!mishaps.strike("rotator", "GetSecretValue", When::After));
        assert_eq!(struck.load(Ordering::SeqCst), 0);
        assert!(!mishaps.strike("rotator", "PutSecretValue", When::After), "the second one is meant");
        assert!(mishaps.strike("rotator", "PutSecretValue", When::After));
        assert!(!mishaps.strike("rotator", "PutSecretValue", When::After));
        assert_eq!(struck.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn troubles_come_one_by_one_and_in_their_order() {
        let mishaps = Mishaps::default();
        mishaps.plan_trouble("puller", "PutObject", Trouble::PutConflicts);
        mishaps.plan_trouble("puller", "PutObject", Trouble::AnswerLost);
        assert_eq!(mishaps.trouble("rotator", "PutObject"), None);
        assert_eq!(mishaps.trouble("puller", "GetObject"), None);
        assert!(!mishaps.strike("puller", "PutObject", When::Before), "that is no deed of a moment");
        assert_eq!(mishaps.trouble("puller", "PutObject"), Some(Trouble::PutConflicts));
        assert_eq!(mishaps.trouble("puller", "PutObject"), Some(Trouble::AnswerLost));
        assert_eq!(mishaps.trouble("puller", "PutObject"), None);
    }
}
