//! One of Secrets Manager's four steps: what to do next, decided from what was read.
//!
//! Graph makes the secret, so creating one is a write that cannot be repeated (AWS.md 2, MICROSOFT.md 5.5). What makes
//! the step safe to repeat all the same: a version of the vault takes one value for good, and what Graph made bears the
//! version's name. Whoever stores first has decided, and everything else of that name is an orphan.

mod error;
mod run;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{entry::Entry, ownership::Holding};
use crate::{
    microsoft::{entra::Refusal, graph::Password},
    ports::vault::Stage,
    secret::Secret,
};

pub(super) use error::end_on_aws;
pub use error::{Disposition, Reason, RotationError};
pub use run::{Pace, rotatable, rotate};

/// How long a secret of ours lives. It is rotated when half of that is over, and the one before it works until then.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(180 * 24);
/// The tokens in a row that a new secret must earn. One alone says little: a new secret works at one of Entra's replicas
/// and not at the next (MICROSOFT.md 5.5).
pub const PROOFS: u32 = 5;
/// The longest that whoever makes a secret can be between Graph's answer and the vault: a function's longest life.
const IN_FLIGHT: SignedDuration = SignedDuration::from_mins(15);
/// After a refused token.
const RETRY: SignedDuration = SignedDuration::from_secs(3);
/// A rotation is not given up for lost before it is this old: replicas have been slower than anybody thought before.
const PATIENCE: SignedDuration = SignedDuration::from_hours(1);
/// Nor by a run that has not seen for itself that waiting does not help.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);

/// Secrets Manager's event. The user guide and the service spell the steps differently; both are taken.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    pub step: Act,
    /// The secret's name or ARN, given to the vault as it is.
    pub secret_id: String,
    /// The version that the rotation makes.
    #[serde(rename = "ClientRequestToken")]
    pub version: String,
    /// Proves to the vault that a write belongs to the rotation.
    #[serde(default)]
    pub rotation_token: Option<Secret<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    #[serde(alias = "create_secret")]
    CreateSecret,
    #[serde(alias = "set_secret")]
    SetSecret,
    #[serde(alias = "test_secret")]
    TestSecret,
    #[serde(alias = "finish_secret")]
    FinishSecret,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The version is current already: the rotation is over, and this event late.
    AlreadyCurrent,
    Created,
    Verified,
    Proven,
    Finished,
}

/// One thing to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Done(Outcome),
    Abandon(Reason),
    Wait(Timestamp),
    /// Ask Entra for a token by exactly this entry.
    Try(Which),
    /// Ask Graph which passwords the application has.
    List,
    /// Find out what the vault's other entries live by.
    LookElsewhere,
    /// Take this password away at Graph. When that fails, a later rotation or the daily check does it.
    Remove(String),
    /// Make a password of this name, and store it before anything else.
    Add {
        name: String,
        expires_at: Timestamp,
    },
    /// Move `AWSCURRENT` off this version.
    Promote {
        from: String,
    },
}

/// Whose credential is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    Current,
    Previous,
    Pending,
}

/// What was read and what was tried, as far as this run has got.
#[derive(Debug, Clone)]
pub struct State {
    pub holding: Holding,
    pub listed: Listed,
    /// What the vault's other entries live by, once they were read.
    pub elsewhere: Option<BTreeSet<String>>,
    /// Removed by this run, or given up on.
    pub settled: BTreeSet<String>,
    /// Which credentials Entra took, and which not.
    pub taken: BTreeSet<Which>,
    pub refused: Vec<(Which, String)>,
    pub proofs: Proofs,
}

/// The application's passwords, as one replica of Graph's knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    NotAsked,
    /// Asked in vain. Nothing follows from that.
    NoAnswer,
    Read(Vec<Password>),
}

/// The tokens that a credential under test has earned.
#[derive(Debug, Clone)]
pub struct Proofs {
    pub in_a_row: u32,
    pub next_at: Timestamp,
    pub last_refusal: String,
    pub began: Timestamp,
    pub deadline: Timestamp,
    pub spacing: SignedDuration,
}

/// Decides the next thing to do. Pure; one call after another leads every step to its end, whoever began it.
pub fn next_step(state: &State, event: &Event, now: Timestamp) -> Step {
    let holding = &state.holding;
    let labels = holding.description.stages.get(&event.version).map_or(&[][..], Vec::as_slice);
    if labels.contains(&Stage::Current) {
        return Step::Done(Outcome::AlreadyCurrent);
    }
    if !labels.contains(&Stage::Pending) || labels.contains(&Stage::Previous) {
        return Step::Abandon(Reason::NotPending(event.version.clone()));
    }
    // Somebody has stored another credential since this rotation began, and meant it.
    let created = &holding.description.created;
    let current = holding.description.version(Stage::Current).and_then(|version| created.get(version));
    if current.zip(created.get(&event.version)).is_some_and(|(current, began)| current > began) {
        return Step::Abandon(Reason::Overtaken);
    }
    if holding.current.secret().is_none() {
        return Step::Abandon(Reason::NotRotatable(holding.current.application.credential.kind()));
    }
    match (event.step, &holding.pending) {
        // With what another principal holds nothing is created, set, tested or promoted.
        (_, Some(pending)) if !pending.is_same_principal(&holding.current) => Step::Abandon(Reason::OtherPrincipal),
        (Act::CreateSecret, None) => create(state, event, now),
        (Act::CreateSecret, Some(_)) => sweep(state, event).unwrap_or(Step::Done(Outcome::Created)),
        (Act::SetSecret | Act::FinishSecret, None) => Step::Abandon(Reason::NothingCreated),
        (Act::SetSecret, Some(_)) => verify(state),
        (Act::TestSecret, pending) => test(state, event, pending.as_ref(), now),
        (Act::FinishSecret, Some(_)) => match holding.description.version(Stage::Current) {
            Some(current) => Step::Promote { from: current.to_owned() },
            None => Step::Abandon(Reason::NothingCreated),
        },
    }
}

/// Clears away what earlier rotations left, then makes the secret.
fn create(state: &State, event: &Event, now: Timestamp) -> Step {
    let holding = &state.holding;
    let Listed::Read(listed) = &state.listed else { return Step::List };
    if state.elsewhere.is_none() && holding.asks_elsewhere(listed, now) {
        return Step::LookElsewhere;
    }
    // A younger one may be on its way into the vault at this moment, in other hands. Once something is stored, `sweep`
    // removes what lost, whatever its age.
    let abandoned = |orphan: &&Password| orphan.start.is_some_and(|start| now.duration_since(start) >= IN_FLIGHT);
    let orphans = holding.orphans(&event.version, listed).into_iter().filter(abandoned);
    let mut litter = orphans.chain(holding.leftovers(listed, state.elsewhere.as_ref(), now));
    match litter.find(|password| !state.settled.contains(&password.key_id)) {
        Some(password) => Step::Remove(password.key_id.clone()),
        None => Step::Add { name: holding.stamp.name(&event.version), expires_at: now + LIFETIME },
    }
}

/// Removes what this rotation made beside the stored secret. `None` when all is clean.
fn sweep(state: &State, event: &Event) -> Option<Step> {
    let listed = match &state.listed {
        Listed::NotAsked => return Some(Step::List),
        Listed::NoAnswer => return None,
        Listed::Read(listed) => listed,
    };
    let mut orphans = state.holding.orphans(&event.version, listed).into_iter();
    orphans.find(|orphan| !state.settled.contains(&orphan.key_id)).map(|orphan| Step::Remove(orphan.key_id.clone()))
}

/// A rotation goes on only while we are who we say we are: the current credential works. Where it has expired, what
/// replaces it may vouch for itself, or no rotation could ever heal that.
fn verify(state: &State) -> Step {
    if !state.taken.is_empty() {
        return Step::Done(Outcome::Verified);
    }
    let untried = [Which::Current, Which::Previous, Which::Pending]
        .into_iter()
        .find(|which| state.entry(*which).is_some() && state.refused.iter().all(|(refused, _)| refused != which));
    match (untried, state.refused.first()) {
        (Some(which), _) => Step::Try(which),
        (None, refused) => Step::Abandon(Reason::Refused(refused.map(|(_, why)| why.clone()).unwrap_or_default())),
    }
}

/// Spaced tokens in a row. Also called alone, for a version that nobody has created: when rotation is switched on
/// without rotating at once, Secrets Manager tests with a temporary version. Then what there is is tested.
fn test(state: &State, event: &Event, pending: Option<&Entry>, now: Timestamp) -> Step {
    let proofs = &state.proofs;
    if let Some(expired) = pending.and_then(|pending| pending.expires_at).filter(|end| *end <= now) {
        return Step::Abandon(Reason::Dead(format!("it ended on {expired}")));
    }
    if proofs.in_a_row >= PROOFS {
        // A minute has passed since the secret was made: by now every replica shows what else was made with it.
        let is_ours = pending.is_some_and(|pending| pending.key_id != state.holding.current.key_id);
        let sweep = if is_ours { sweep(state, event) } else { None };
        return sweep.unwrap_or(Step::Done(Outcome::Proven));
    }
    let missing = i32::try_from(PROOFS - proofs.in_a_row - 1).unwrap_or(i32::MAX);
    let earliest_end = now.max(proofs.next_at) + proofs.spacing * missing;
    if earliest_end > proofs.deadline {
        return give_up(state, event, pending, now);
    }
    match pending {
        _ if now < proofs.next_at => Step::Wait(proofs.next_at),
        Some(_) => Step::Try(Which::Pending),
        None => Step::Try(Which::Current),
    }
}

fn give_up(state: &State, event: &Event, pending: Option<&Entry>, now: Timestamp) -> Step {
    let (proofs, holding) = (&state.proofs, &state.holding);
    if proofs.last_refusal.is_empty() {
        return Step::Abandon(Reason::TooLittleTime);
    }
    let not_proven = Reason::NotProven { earned: proofs.in_a_row, last: proofs.last_refusal.clone() };
    let begun = holding.description.created.get(&event.version);
    let old_enough = begun.is_some_and(|begun| now.duration_since(*begun) >= PATIENCE)
        && now.duration_since(proofs.began) >= SETTLED;
    match (pending.filter(|pending| old_enough && pending.key_id.is_some()), &state.listed) {
        (Some(_), Listed::NotAsked) => Step::List,
        (Some(pending), Listed::Read(listed)) if holding.at_entra(pending, listed).is_none() => {
            Step::Abandon(Reason::Dead(proofs.last_refusal.clone()))
        }
        _ => Step::Abandon(not_proven),
    }
}

impl State {
    fn entry(&self, which: Which) -> Option<&Entry> {
        let holding = &self.holding;
        let entry = match which {
            Which::Current => Some(&holding.current),
            Which::Previous => holding.previous.as_ref(),
            Which::Pending => holding.pending.as_ref(),
        };
        entry.filter(|entry| entry.is_same_principal(&holding.current))
    }

    /// Takes in what came of trying one credential: a token, or a refusal and how long Entra asks us to wait.
    fn absorb(&mut self, which: Which, answer: Result<(), (String, Option<SignedDuration>)>, now: Timestamp) {
        let proofs = &mut self.proofs;
        match answer {
            Ok(()) => {
                self.taken.insert(which);
                proofs.in_a_row += 1;
                proofs.next_at = now + proofs.spacing;
            }
            Err((why, retry_after)) => {
                proofs.in_a_row = 0;
                proofs.next_at = now + retry_after.unwrap_or(RETRY).max(RETRY);
                proofs.last_refusal.clone_from(&why);
                self.refused.push((which, why));
            }
        }
    }
}

/// Whether time alone may heal a refusal of a new credential. An application that is "not found" may be one too
/// (MICROSOFT.md 2.8, the codes that are transient after a change of ours).
fn may_pass(refusal: Refusal) -> bool {
    match refusal {
        Refusal::OurCredential | Refusal::Throttled | Refusal::Transient | Refusal::NotConsented | Refusal::Unknown => {
            true
        }
        Refusal::OurRequest
        | Refusal::Disabled
        | Refusal::ConditionalAccess
        | Refusal::NoDefender
        | Refusal::NoTenant
        | Refusal::OtherCloud => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::ownership::tests::{description, entry, holding, hours, noon, password},
        *,
    };

    fn minutes(minutes: i64) -> SignedDuration {
        SignedDuration::from_mins(minutes)
    }

    /// `v1` is current for two days by `k1`, `v2` awaits its value.
    fn state() -> State {
        let holding = holding(description(48, &[("v2", Stage::Pending)]), entry("current", "k1", &[]));
        let proofs = Proofs {
            in_a_row: 0,
            next_at: noon(),
            last_refusal: String::new(),
            began: noon(),
            deadline: noon() + minutes(5),
            spacing: SignedDuration::from_secs(15),
        };
        State {
            holding,
            listed: Listed::NotAsked,
            elsewhere: None,
            settled: BTreeSet::new(),
            taken: BTreeSet::new(),
            refused: Vec::new(),
            proofs,
        }
    }

    fn created() -> State {
        let mut state = state();
        state.holding.pending = Some(entry("pending", "k2", &[]));
        state
    }

    fn next(state: &State, step: Act) -> Step {
        let event = Event { step, secret_id: "muster/app".to_owned(), version: "v2".to_owned(), rotation_token: None };
        next_step(state, &event, noon())
    }

    const STEPS: [Act; 4] = [Act::CreateSecret, Act::SetSecret, Act::TestSecret, Act::FinishSecret];

    #[test]
    fn the_labels_are_asked_before_anything_else() {
        for step in STEPS {
            let mut done = created();
            done.holding.description.stages =
                [("v1".to_owned(), vec![Stage::Previous]), ("v2".to_owned(), vec![Stage::Current, Stage::Pending])]
                    .into();
            assert_eq!(next(&done, step), Step::Done(Outcome::AlreadyCurrent), "{step:?}");
            for labels in [None, Some(vec![]), Some(vec![Stage::Previous])] {
                let mut unknown = created();
                unknown.holding.description.stages.remove("v2");
                unknown.holding.description.stages.extend(labels.map(|labels| ("v2".to_owned(), labels)));
                let expected = Step::Abandon(Reason::NotPending("v2".to_owned()));
                assert_eq!(next(&unknown, step), expected, "{step:?}");
            }
        }
    }

    #[test]
    fn a_secret_is_made_after_a_look_and_after_what_is_in_its_way_is_gone() {
        let mut state = state();
        assert_eq!(next(&state, Act::CreateSecret), Step::List);
        let name = state.holding.stamp.name("v2");
        let add = Step::Add { name: name.clone(), expires_at: noon() + LIFETIME };
        state.listed = Listed::Read(vec![password("k1", "", "cur", 48)]);
        assert_eq!(next(&state, Act::CreateSecret), add);
        let young = Password { start: Some(noon() - minutes(14)), ..password("young", &name, "abc", 0) };
        let old = Password { start: Some(noon() - minutes(15)), ..password("old", &name, "abc", 0) };
        let before = password("before", &state.holding.stamp.name("v0"), "abc", 9000);
        state.listed = Listed::Read(vec![password("k1", "", "cur", 48), young, old, before]);
        assert_eq!(next(&state, Act::CreateSecret), Step::LookElsewhere);
        state.elsewhere = Some(BTreeSet::new());
        assert_eq!(next(&state, Act::CreateSecret), Step::Remove("old".to_owned()));
        state.settled.insert("old".to_owned());
        assert_eq!(next(&state, Act::CreateSecret), Step::Remove("before".to_owned()));
        state.settled.insert("before".to_owned());
        assert_eq!(next(&state, Act::CreateSecret), add, "another run may be about to store the young one");
    }

    #[test]
    fn a_credential_that_was_stored_since_the_rotation_began_is_not_overwritten() {
        let mut state = state();
        let overtaken = Step::Abandon(Reason::Overtaken);
        state.holding.description.created.insert("v1".to_owned(), noon());
        state.holding.description.created.insert("v2".to_owned(), noon() - minutes(1));
        for act in [Act::CreateSecret, Act::SetSecret, Act::TestSecret, Act::FinishSecret] {
            assert_eq!(next(&state, act), overtaken, "{act:?}");
        }
    }

    #[test]
    fn what_is_adopted_goes_only_after_a_look_at_the_other_entries() {
        let mut state = state();
        state.holding.current = entry("current", "k1", &["hand"]);
        state.listed = Listed::Read(vec![password("k1", "", "cur", 48), password("hand", "", "xyz", 9000)]);
        assert_eq!(next(&state, Act::CreateSecret), Step::LookElsewhere);
        state.elsewhere = Some(BTreeSet::from(["hand".to_owned()]));
        assert!(matches!(next(&state, Act::CreateSecret), Step::Add { .. }));
        state.elsewhere = Some(BTreeSet::new());
        assert_eq!(next(&state, Act::CreateSecret), Step::Remove("hand".to_owned()));
    }

    #[test]
    fn once_something_is_stored_everything_else_of_its_name_goes() {
        for (mut state, act, outcome) in [
            (created(), Act::CreateSecret, Outcome::Created),
            (
                State { proofs: Proofs { in_a_row: PROOFS, ..created().proofs }, ..created() },
                Act::TestSecret,
                Outcome::Proven,
            ),
        ] {
            assert_eq!(next(&state, act), Step::List);
            let name = state.holding.stamp.name("v2");
            state.listed = Listed::Read(vec![password("k2", &name, "pen", 0), password("lost", &name, "abc", 0)]);
            assert_eq!(next(&state, act), Step::Remove("lost".to_owned()));
            state.settled.insert("lost".to_owned());
            assert_eq!(next(&state, act), Step::Done(outcome));
            state.listed = Listed::NoAnswer;
            assert_eq!(next(&state, act), Step::Done(outcome), "tidying up is no reason to fail");
        }
    }

    #[test]
    fn whoever_works_vouches_for_the_rotation() {
        let mut state = created();
        state.holding.previous = Some(entry("previous", "k0", &[]));
        for which in [Which::Current, Which::Previous, Which::Pending] {
            assert_eq!(next(&state, Act::SetSecret), Step::Try(which));
            let mut taken = state.clone();
            taken.absorb(which, Ok(()), noon());
            assert_eq!(next(&taken, Act::SetSecret), Step::Done(Outcome::Verified));
            state.absorb(which, Err((format!("{which:?} is refused"), None)), noon());
        }
        let refused = Reason::Refused("Current is refused".to_owned());
        assert_eq!(next(&state, Act::SetSecret), Step::Abandon(refused));
    }

    #[test]
    fn five_spaced_tokens_in_a_row_prove_a_secret_and_one_refusal_begins_anew() {
        let mut state = created();
        let event =
            Event { step: Act::TestSecret, secret_id: String::new(), version: "v2".to_owned(), rotation_token: None };
        let (mut now, mut tries) = (noon(), Vec::new());
        let refusals = [0, 3];
        loop {
            match next_step(&state, &event, now) {
                Step::Try(Which::Pending) => {
                    let refused = refusals.contains(&tries.len());
                    tries.push(now.duration_since(noon()).as_secs());
                    state.absorb(Which::Pending, if refused { Err(("7000215".to_owned(), None)) } else { Ok(()) }, now);
                }
                Step::Wait(until) => now = until,
                Step::List => state.listed = Listed::Read(Vec::new()),
                other => {
                    assert_eq!(other, Step::Done(Outcome::Proven));
                    break;
                }
            }
        }
        assert_eq!(tries, [0, 3, 18, 33, 36, 51, 66, 81, 96]);
    }

    #[test]
    fn a_test_that_cannot_succeed_in_time_ends_at_once() {
        let mut state = created();
        state.proofs.deadline = noon() + minutes(1);
        assert_eq!(next(&state, Act::TestSecret), Step::Try(Which::Pending), "four times fifteen seconds fit exactly");
        state.proofs.deadline = noon() + SignedDuration::from_secs(59);
        assert_eq!(next(&state, Act::TestSecret), Step::Abandon(Reason::TooLittleTime));
        state.proofs.last_refusal = "7000215".to_owned();
        let not_proven = Reason::NotProven { earned: 0, last: "7000215".to_owned() };
        assert_eq!(next(&state, Act::TestSecret), Step::Abandon(not_proven.clone()));
        // Tried for a minute, two days after the rotation began: either Graph has it, or nobody ever will.
        state.proofs.began = noon() - minutes(1);
        assert_eq!(next(&state, Act::TestSecret), Step::List);
        state.listed = Listed::NoAnswer;
        assert_eq!(next(&state, Act::TestSecret), Step::Abandon(not_proven.clone()));
        state.listed = Listed::Read(vec![password("k2", "", "pen", 1)]);
        assert_eq!(next(&state, Act::TestSecret), Step::Abandon(not_proven));
        state.listed = Listed::Read(vec![password("k1", "", "cur", 1)]);
        assert_eq!(next(&state, Act::TestSecret), Step::Abandon(Reason::Dead("7000215".to_owned())));
    }

    #[test]
    fn the_test_step_alone_needs_no_created_secret_and_the_others_do() {
        let state = state();
        assert_eq!(next(&state, Act::TestSecret), Step::Try(Which::Current));
        assert_eq!(next(&state, Act::SetSecret), Step::Abandon(Reason::NothingCreated));
        assert_eq!(next(&state, Act::FinishSecret), Step::Abandon(Reason::NothingCreated));
        assert_eq!(next(&created(), Act::FinishSecret), Step::Promote { from: "v1".to_owned() });
    }

    #[test]
    fn other_kinds_and_other_principals_are_left_alone() {
        let id = "a0000000-0000-4000-8000-00000000c11e";
        let federated = serde_json::json!({"client_id": id, "home_tenant_id": id, "credential": {"kind": "federated"}});
        let federated = Entry::parse(&Secret::new(federated.to_string())).unwrap();
        for step in STEPS {
            let mut state = created();
            state.holding.current = federated.clone();
            assert_eq!(next(&state, step), Step::Abandon(Reason::NotRotatable("federated")));
            let mut state = created();
            state.holding.current.application.client_id = "b0000000-0000-4000-8000-00000000c11e".to_owned();
            assert_eq!(next(&state, step), Step::Abandon(Reason::OtherPrincipal));
        }
    }

    #[test]
    fn a_pending_secret_that_has_ended_is_dead() {
        let mut state = created();
        state.holding.pending.as_mut().unwrap().expires_at = Some(noon() - hours(1));
        assert!(matches!(next(&state, Act::TestSecret), Step::Abandon(Reason::Dead(_))));
    }

    #[test]
    fn both_spellings_are_read() {
        for (step, act) in [("createSecret", Act::CreateSecret), ("finish_secret", Act::FinishSecret)] {
            let event = serde_json::json!({
                "Step": step, "SecretId": "s", "ClientRequestToken": "v", "RotationToken": "r",
            });
            let event: Event = serde_json::from_value(event).unwrap();
            let token = event.rotation_token.map(|token| token.expose().clone());
            assert_eq!((event.step, token.as_deref()), (act, Some("r")));
        }
    }
}
