//! Who is gone: the machines that the list does not show any more, asked for one by one.

use super::{Pass, Stop};
use crate::{
    machine::{Sighting, run, snapshot::Presence},
    microsoft::defender::machine_request,
    tenant::{Ability, call::CallFailed},
};

/// A chain of merged machines is followed so far in one run.
const MAX_CHAIN: usize = 5;
/// Failures of the service after which the others are left for the next run.
const MAX_FAILURES: u32 = 3;

/// What became of asking for one machine.
enum Asked {
    /// It is there; its record has been taken in.
    There,
    /// Defender itself says that it knows no such machine.
    Gone,
    Unclear,
    /// Nobody else is asked in this run.
    NoMore,
}

impl Pass<'_> {
    /// The whole list is in: writes down who is missing, and asks for whom it is time to ask.
    pub(super) async fn find_out_who_is_gone(&mut self) -> Result<(), Stop> {
        let number = self.desk.state.feed.complete_runs + 1;
        run::miss(&mut self.desk.snapshot, number, |line| self.batch.remember(line));
        if !self.ask_for_merge_targets().await? || self.held().is_some() {
            return Ok(());
        }
        let ids = run::to_ask(&self.desk.snapshot, number, self.desk.state.feed.asked.as_deref());
        let mut failures = 0;
        for id in ids {
            match self.ask(&id).await? {
                Asked::There => {}
                Asked::Gone => self.give_up(&id),
                Asked::Unclear => failures += 1,
                Asked::NoMore => return Ok(()),
            }
            self.desk.state.feed.asked = Some(id);
            if failures == MAX_FAILURES {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Machines that others were merged into, and that the list does not show. False when nobody else is to be asked.
    async fn ask_for_merge_targets(&mut self) -> Result<bool, Stop> {
        for _ in 0..MAX_CHAIN {
            let targets = std::mem::take(&mut self.desk.state.feed.merge_targets);
            let absent: Vec<String> =
                targets.into_iter().filter(|target| self.desk.snapshot.get(target).is_none()).collect();
            if absent.is_empty() {
                return Ok(true);
            }
            // What an answer says of further targets goes to the end of the list; a target that is known by then, as in
            // a circle, is not asked for again.
            let mut left = absent.into_iter();
            while let Some(target) = left.next() {
                let asked = self.ask(&target).await?;
                if matches!(asked, Asked::Unclear | Asked::NoMore) {
                    self.desk.state.feed.ask_for(&target);
                }
                if matches!(asked, Asked::NoMore) {
                    left.for_each(|target| self.desk.state.feed.ask_for(&target));
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Asks for one machine. What Microsoft says about us, rather than about the machine, ends the asking and not the run,
    /// whose list is in.
    async fn ask(&mut self, id: &str) -> Result<Asked, Stop> {
        let response = match self.call(machine_request(&self.base, id)).await {
            Ok(response) => response,
            Err(CallFailed::NotFound { by_defender: true }) => return Ok(Asked::Gone),
            Err(CallFailed::Platform(error)) => return Err(Stop::Failed(error.into())),
            Err(CallFailed::Spent) => return Ok(Asked::NoMore),
            Err(CallFailed::Condition(condition)) if condition.ability == Ability::Throttled => {
                self.afterwards = Some(condition);
                return Ok(Asked::NoMore);
            }
            Err(failed) => {
                tracing::warn!(tenant.id = %self.tenant, machine.id = id, ?failed, "a machine cannot be asked for");
                return Ok(Asked::Unclear);
            }
        };
        let Ok(body) = response.body.small(&self.app.clock).await else { return Ok(Asked::Unclear) };
        let sighting = Sighting::parse(&body);
        if sighting.as_ref().is_ok_and(|sighting| sighting.id == id) {
            self.take_in(sighting, body, Presence::Unlisted);
            return Ok(Asked::There);
        }
        tracing::warn!(tenant.id = %self.tenant, machine.id = id, "the answer is not the machine that was asked for");
        Ok(Asked::Unclear)
    }
}
