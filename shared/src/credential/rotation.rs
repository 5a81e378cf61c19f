//! One of Secrets Manager's four steps, for each kind of credential: what to do next, decided from what was read.
//!
//! | kind | createSecret | setSecret | testSecret | finishSecret |
//! |---|---|---|---|---|
//! | secret | made at Graph, then stored | the current one works | five spaced tokens | promoted |
//! | certificate | made here, then stored | registered at Graph | likewise | likewise |
//! | federated | the entry, as it is | the current one works | likewise | likewise |
//!
//! Graph makes the secret, so creating one is a write that cannot be repeated (AWS.md 2, MICROSOFT.md 5.5). What makes
//! the step safe to repeat all the same: a version of the vault takes one value for good, and what Graph made bears the
//! version's name. Whoever stores first has decided, and everything else of that name is an orphan. A certificate is
//! stored before anybody else knows it, and registered twice it is still the same one.
//!
//! Each [`Step`] is one call. What comes of it is taken in by [`State::absorb`], and the next step is asked for.

mod error;
#[cfg(test)]
mod model;
mod run;
mod state;
mod step;
mod trail;

use jiff::{SignedDuration, Timestamp};

use super::{entry::Entry, ownership::IN_FLIGHT};
use crate::{microsoft::graph::Registered, ports::vault::Stage};

pub(super) use error::end_on_aws;
pub use error::{Disposition, Reason, RotationError};
pub use run::{Pace, rotatable, rotate};
pub(super) use run::{Tidied, tidy};
use state::{Elsewhere, Fate, Listed, MadeEntry, Promotion, State};
pub use step::{Act, Event, Outcome};
use step::{Step, Which};

/// How long a credential of ours lives. It is rotated when half of that is over, and the one before it works until then.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(180 * 24);
/// The tokens in a row that a new credential must earn. One alone says little: a new one works at one of Entra's
/// replicas and not at the next (MICROSOFT.md 5.5).
pub const PROOFS: u32 = 5;
/// A rotation is not given up for lost before it is this old: replicas have been slower than anybody thought before.
const PATIENCE: SignedDuration = SignedDuration::from_hours(1);
/// Nor by a run that has not seen for itself that waiting does not help.
const SETTLED: SignedDuration = SignedDuration::from_secs(60);
/// Between the looks that have to agree before a whole collection of keys is replaced.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(20);
/// So long after a change of an application Graph refuses the next one (MICROSOFT.md 5.1).
const AT_ONCE: SignedDuration = SignedDuration::from_secs(1);

/// Decides the next thing to do. Pure; one call after another leads every step to its end, whoever began it.
fn next_step(state: &State, event: &Event, now: Timestamp) -> Step {
    let holding = &state.holding;
    if state.promotion == Promotion::Done {
        return Step::Done(Outcome::Finished);
    }
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
    match (event.step, &holding.pending) {
        // With what another principal holds nothing is created, set, tested or promoted.
        (_, Some(pending)) if !pending.is_same_principal(&holding.current) => Step::Abandon(Reason::OtherPrincipal),
        (Act::CreateSecret, None) => create(state, event, now),
        (Act::CreateSecret, Some(_)) => sweep(state, event, now).unwrap_or(Step::Done(Outcome::Created)),
        (Act::SetSecret | Act::FinishSecret, None) => Step::Abandon(Reason::NothingCreated),
        (Act::SetSecret, Some(pending)) => set(state, event, pending, now),
        (Act::TestSecret, pending) => test(state, event, pending.as_ref(), now),
        (Act::FinishSecret, Some(_)) => promote(state),
    }
}

/// Removes what is ours and of no use, outside of any rotation: what the daily check does.
fn next_tidying(state: &State, now: Timestamp) -> Step {
    let Listed::Read(listing) = &state.listed else { return Step::List };
    let listed = &listing.credentials;
    if matches!(state.elsewhere, Elsewhere::NotAsked) && state.holding.asks_elsewhere(listed, now) {
        return Step::LookElsewhere;
    }
    let leftovers = state.holding.leftovers(listed, state.elsewhere.known(), now);
    first_removal(state, leftovers, now).unwrap_or(Step::Done(Outcome::Tidy))
}

/// Clears away what earlier rotations left, then makes the credential and stores it.
fn create(state: &State, event: &Event, now: Timestamp) -> Step {
    let holding = &state.holding;
    // Whoever comes after us takes what we have made for abandoned by now.
    if now.duration_since(holding.read_at) >= IN_FLIGHT {
        return Step::Abandon(Reason::Stalled);
    }
    if let Some(MadeEntry { entry, fate }) = &state.made {
        // What was made and will never be used is taken back first. A certificate is known to nobody yet.
        let lost = entry.key_id.as_ref().filter(|_| entry.secret().is_some() && *fate != Fate::ToStore);
        return match (lost.filter(|key_id| !state.settled.contains(*key_id)), fate) {
            (Some(key_id), _) => Step::Remove { key_id: key_id.clone(), signer: None },
            (None, Fate::ToStore) => Step::Store,
            (None, Fate::Beaten) => Step::ReadPending,
            (None, Fate::Refused(why)) => Step::Abandon(Reason::NotStored(why.clone())),
            (None, Fate::Unseen) => Step::Abandon(Reason::Unseen),
        };
    }
    if !holding.current.holds_a_credential() {
        return Step::Store;
    }
    let Listed::Read(listing) = &state.listed else { return Step::List };
    let listed = &listing.credentials;
    if matches!(state.elsewhere, Elsewhere::NotAsked) && holding.asks_elsewhere(listed, now) {
        return Step::LookElsewhere;
    }
    // A younger one may be on its way into the vault at this moment, in other hands. Once something is stored, `sweep`
    // removes what lost, whatever its age.
    let abandoned = |orphan: &&Registered| holding.is_settled(orphan);
    let orphans = holding.orphans(&event.version, listed).into_iter().filter(abandoned);
    let litter = orphans.chain(holding.leftovers(listed, state.elsewhere.known(), now));
    if let Some(removal) = first_removal(state, litter, now) {
        return removal;
    }
    let (name, expires_at) = (holding.stamp.name(&event.version), now + LIFETIME);
    match holding.current.certificate() {
        Some(_) => Step::MakeCertificate { name, expires_at },
        None => Step::AddPassword { name, expires_at },
    }
}

/// Removes what this rotation made beside the stored credential. `None` when all is clean.
fn sweep(state: &State, event: &Event, now: Timestamp) -> Option<Step> {
    if !state.holding.current.holds_a_credential() {
        return None;
    }
    let listing = match &state.listed {
        Listed::NotAsked => return Some(Step::List),
        Listed::NoAnswer => return None,
        Listed::Read(listing) => listing,
    };
    first_removal(state, state.holding.orphans(&event.version, &listing.credentials), now)
}

/// A rotation goes on only while we are who we say we are: the current credential works. Where it has expired, what
/// replaces it may vouch for itself, or no rotation could ever heal that. A certificate that is not known yet cannot.
fn set(state: &State, event: &Event, pending: &Entry, now: Timestamp) -> Step {
    if state.taken.is_empty() {
        let untried = [Which::Current, Which::Previous, Which::Pending]
            .into_iter()
            .find(|which| state.entry(*which).is_some() && state.refused.iter().all(|(refused, _)| refused != which));
        return match (untried, state.refused.first()) {
            (Some(which), _) => Step::Try(which),
            (None, refused) => Step::Abandon(Reason::Refused(refused.map(|(_, why)| why.clone()).unwrap_or_default())),
        };
    }
    let is_known = state.registered || state.taken.contains(&Which::Pending);
    match pending.certificate() {
        Some((certificate, _)) if !is_known => register(state, event, certificate.thumbprint(), now),
        _ => Step::Done(Outcome::Verified),
    }
}

/// Registers the pending certificate, unless Graph shows it.
fn register(state: &State, event: &Event, thumbprint: &str, now: Timestamp) -> Step {
    let Listed::Read(listing) = &state.listed else { return Step::List };
    if listing.credentials.iter().any(|registered| registered.has_thumbprint(thumbprint)) {
        return Step::Done(Outcome::Verified);
    }
    let name = state.holding.stamp.name(&event.version);
    match (state.signer(now, None), state.doubted.first()) {
        (Some(signer), _) => Step::AddKey { name, signer },
        (None, Some((_, why))) => Step::Abandon(Reason::ProofRefused(why.clone())),
        (None, None) => replace(state, name, now),
    }
}

/// A replica that lags behind would make us drop a certificate which somebody has just added: only what every look of a
/// whole minute has shown is what there is. Whoever writes between the last look and ours is refused as we would be:
/// Graph takes no two changes of one application within a second.
fn replace(state: &State, name: String, now: Timestamp) -> Step {
    let agreeing =
        state.looks.iter().rev().take_while(|(_, keys)| Some(keys) == state.looks.last().map(|(_, keys)| keys));
    let (first, last) = (agreeing.last().map(|(at, _)| *at), state.looks.last().map(|(at, _)| *at));
    match first.zip(last) {
        None => Step::List,
        Some((first, last)) if now.duration_since(first) >= SETTLED && now.duration_since(last) < AT_ONCE => {
            Step::ReplaceKeys { name }
        }
        Some((first, last)) => {
            let next_at = last + LOOK_AGAIN;
            match (first + SETTLED).max(next_at) > state.proofs.deadline {
                true => Step::Abandon(Reason::Unsettled),
                false if now < next_at => Step::Wait(next_at),
                false => Step::List,
            }
        }
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
        // A minute has passed since the credential was made: by now every replica shows what else was made with it.
        let is_new = pending.is_some_and(|pending| !pending.identities().eq(state.holding.current.identities()));
        let sweep = if is_new { sweep(state, event, now) } else { None };
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
    // A lost secret is lost. A certificate that Entra has lost is registered again by the next try.
    let lost = pending.filter(|pending| old_enough && pending.secret().is_some() && pending.key_id.is_some());
    match (lost, &state.listed) {
        (Some(_), Listed::NotAsked) => Step::List,
        (Some(pending), Listed::Read(listing)) if holding.at_entra(pending, &listing.credentials).is_none() => {
            Step::Abandon(Reason::Dead(proofs.last_refusal.clone()))
        }
        _ => Step::Abandon(not_proven),
    }
}

fn promote(state: &State) -> Step {
    match (&state.promotion, state.holding.description.version(Stage::Current)) {
        (Promotion::NotTried | Promotion::Done, Some(current)) => Step::Promote { from: current.to_owned() },
        (Promotion::NotTried | Promotion::Done, None) => Step::Abandon(Reason::NothingCreated),
        // Somebody else was faster, or has stored something else: the labels tell.
        (Promotion::Refused(_), _) => Step::Describe,
        (Promotion::RefusedFor(why), _) => Step::Abandon(Reason::NotPromoted(why.clone())),
    }
}

/// The first of these that this run has not dealt with and that somebody can take away.
fn first_removal<'a>(state: &State, litter: impl IntoIterator<Item = &'a Registered>, now: Timestamp) -> Option<Step> {
    let mut open = litter.into_iter().filter(|registered| !state.settled.contains(&registered.key_id));
    open.find_map(|registered| {
        let key_id = registered.key_id.clone();
        match registered.is_certificate() {
            false => Some(Step::Remove { key_id, signer: None }),
            true => state.signer(now, Some(registered)).map(|signer| Step::Remove { key_id, signer: Some(signer) }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            certificate::{self, Made},
            ownership::tests::{description, entry, holding, hours, key, noon, password},
        },
        state::Proofs,
        step::Answer,
        *,
    };
    use crate::{microsoft::graph::Listing, secret::Secret};

    fn minutes(minutes: i64) -> SignedDuration {
        SignedDuration::from_mins(minutes)
    }

    /// `v1` is current for two days by `k1`, `v2` awaits its value.
    fn state() -> State {
        let holding = holding(description(48, &[("v2", Stage::Pending)]), entry("current", "k1", &[]));
        State::new(holding, noon(), minutes(5), SignedDuration::from_secs(15))
    }

    fn created() -> State {
        let mut state = state();
        state.holding.pending = Some(entry("pending", "k2", &[]));
        state
    }

    fn listed(credentials: Vec<Registered>) -> Listed {
        Listed::Read(Listing { object_id: "object".to_owned(), credentials })
    }

    fn remove(key_id: &str) -> Step {
        Step::Remove { key_id: key_id.to_owned(), signer: None }
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
        let add = Step::AddPassword { name: name.clone(), expires_at: noon() + LIFETIME };
        state.listed = listed(vec![password("k1", "", "cur", 48)]);
        assert_eq!(next(&state, Act::CreateSecret), add);
        let young = Registered { start: Some(noon() - minutes(14)), ..password("young", &name, "abc", 0) };
        let old = Registered { start: Some(noon() - minutes(15)), ..password("old", &name, "abc", 0) };
        let before = password("before", &state.holding.stamp.name("v0"), "abc", 9000);
        state.listed = listed(vec![password("k1", "", "cur", 48), young, old, before]);
        assert_eq!(next(&state, Act::CreateSecret), Step::LookElsewhere);
        state.elsewhere = Elsewhere::Read(Vec::new());
        assert_eq!(next(&state, Act::CreateSecret), remove("old"));
        state.settled.insert("old".to_owned());
        assert_eq!(next(&state, Act::CreateSecret), remove("before"));
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
        state.listed = listed(vec![password("k1", "", "cur", 48), password("hand", "", "xyz", 9000)]);
        assert_eq!(next(&state, Act::CreateSecret), Step::LookElsewhere);
        state.elsewhere = Elsewhere::Read(vec![entry("x", "hand", &[])]);
        assert!(matches!(next(&state, Act::CreateSecret), Step::AddPassword { .. }));
        state.elsewhere = Elsewhere::Read(Vec::new());
        assert_eq!(next(&state, Act::CreateSecret), remove("hand"));
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
            state.listed = listed(vec![password("k2", &name, "pen", 0), password("lost", &name, "abc", 0)]);
            assert_eq!(next(&state, act), remove("lost"));
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
            taken.absorb(&Step::Try(which), Answer::Token(Ok(())), noon());
            assert_eq!(next(&taken, Act::SetSecret), Step::Done(Outcome::Verified));
            let refused = Answer::Token(Err((format!("{which:?} is refused"), None)));
            state.absorb(&Step::Try(which), refused, noon());
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
                    let answer = if refused { Err(("7000215".to_owned(), None)) } else { Ok(()) };
                    state.absorb(&Step::Try(Which::Pending), Answer::Token(answer), now);
                }
                Step::Wait(until) => now = until,
                Step::List => state.listed = listed(vec![]),
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
        state.listed = listed(vec![password("k2", "", "pen", 1)]);
        assert_eq!(next(&state, Act::TestSecret), Step::Abandon(not_proven));
        state.listed = listed(vec![password("k1", "", "cur", 1)]);
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
    fn another_principals_credential_is_left_alone() {
        for step in STEPS {
            let mut state = created();
            state.holding.current.application.client_id = "b0000000-0000-4000-8000-00000000c11e".to_owned();
            assert_eq!(next(&state, step), Step::Abandon(Reason::OtherPrincipal));
        }
    }

    #[test]
    fn a_federated_credential_is_carried_over_and_earns_its_tokens_again() {
        let id = "a0000000-0000-4000-8000-00000000c11e";
        let federated = serde_json::json!({"client_id": id, "home_tenant_id": id, "credential": {"kind": "federated"}});
        let federated = Entry::parse(&Secret::new(federated.to_string())).unwrap();
        let mut state = state();
        state.holding.current = federated;
        assert_eq!(next(&state, Act::CreateSecret), Step::Store, "nothing is asked for, and nothing is made");
        assert_eq!(state.to_store().text().expose(), state.holding.current.text().expose());
        let mut beaten = state.clone();
        beaten.absorb(&Step::Store, Answer::StoredByAnother, noon());
        assert_eq!(next(&beaten, Act::CreateSecret), Step::ReadPending, "nothing was made that could be taken back");
        state.absorb(&Step::Store, Answer::Stored, noon());
        assert_eq!(next(&state, Act::CreateSecret), Step::Done(Outcome::Created));
        assert_eq!(next(&state, Act::SetSecret), Step::Try(Which::Current));
        assert_eq!(next(&state, Act::TestSecret), Step::Try(Which::Pending));
        state.proofs.in_a_row = PROOFS;
        assert_eq!(next(&state, Act::TestSecret), Step::Done(Outcome::Proven));
        assert_eq!(next(&state, Act::FinishSecret), Step::Promote { from: "v1".to_owned() });
    }

    #[test]
    fn what_was_made_and_not_stored_is_taken_back() {
        let made = || {
            let mut state = state();
            state.listed = listed(vec![]);
            let step = next(&state, Act::CreateSecret);
            let made = serde_json::json!({"keyId": "K2", "secretText": "new", "endDateTime": null});
            state.absorb(&step, Answer::Password(serde_json::from_value(made).unwrap()), noon());
            assert_eq!(next(&state, Act::CreateSecret), Step::Store);
            assert_eq!(state.to_store().secret().unwrap().expose(), "new");
            state
        };
        let mut stored = made();
        stored.absorb(&Step::Store, Answer::Stored, noon());
        assert_eq!(next(&stored, Act::CreateSecret), Step::List, "what else bears the name is looked for");
        let mut beaten = made();
        beaten.absorb(&Step::Store, Answer::StoredByAnother, noon());
        assert_eq!(next(&beaten, Act::CreateSecret), remove("k2"));
        beaten.absorb(&remove("k2"), Answer::Removed, noon());
        assert_eq!(next(&beaten, Act::CreateSecret), Step::ReadPending);
        let mut unseen = beaten.clone();
        unseen.absorb(&Step::ReadPending, Answer::Pending(None), noon());
        assert_eq!(next(&unseen, Act::CreateSecret), Step::Abandon(Reason::Unseen));
        beaten.absorb(&Step::ReadPending, Answer::Pending(Some(entry("theirs", "k3", &[]))), noon());
        assert_eq!(next(&beaten, Act::CreateSecret), Step::List);
        let mut refused = made();
        refused.absorb(&Step::Store, Answer::NotStored("no".to_owned()), noon());
        refused.absorb(&next(&refused, Act::CreateSecret), Answer::NotRemoved, noon());
        assert_eq!(next(&refused, Act::CreateSecret), Step::Abandon(Reason::NotStored("no".to_owned())));
        assert_eq!(refused.stubborn, ["k2"]);
    }

    #[test]
    fn a_promotion_that_is_refused_is_judged_by_the_labels_of_now() {
        let mut state = created();
        let promote = Step::Promote { from: "v1".to_owned() };
        let mut done = state.clone();
        done.absorb(&promote, Answer::Promoted, noon());
        assert_eq!(next(&done, Act::FinishSecret), Step::Done(Outcome::Finished));
        state.absorb(&promote, Answer::NotPromoted("no".to_owned()), noon());
        assert_eq!(next(&state, Act::FinishSecret), Step::Describe);
        let mut same = state.clone();
        same.absorb(&Step::Describe, Answer::Described(same.holding.description.clone()), noon());
        assert_eq!(next(&same, Act::FinishSecret), Step::Abandon(Reason::NotPromoted("no".to_owned())));
        let mut description = state.holding.description.clone();
        description.stages = [("v1".to_owned(), vec![Stage::Previous]), ("v2".to_owned(), vec![Stage::Current])].into();
        state.absorb(&Step::Describe, Answer::Described(description), noon());
        assert_eq!(next(&state, Act::FinishSecret), Step::Done(Outcome::AlreadyCurrent));
    }

    /// An entry with a certificate that lives from a quarter of an hour before noon until so many hours after it.
    fn certified(name: &str, hours_left: i64) -> Entry {
        let made = certificate::make(name, noon() - hours(1), noon() + hours(hours_left)).unwrap();
        let id = "a0000000-0000-4000-8000-00000000c11e";
        let credential = serde_json::json!({"kind": "certificate", "certificate_pem": made.certificate_pem,
            "private_key_pem": made.private_key_pem.expose()});
        let entry = serde_json::json!({"client_id": id, "home_tenant_id": id, "credential": credential});
        Entry::parse(&Secret::new(entry.to_string())).unwrap()
    }

    fn thumbprint(entry: &Entry) -> String {
        entry.certificate().unwrap().0.thumbprint().to_owned()
    }

    /// `v1` is current by a certificate, `v2` holds another one; the current one is registered.
    fn certificates() -> State {
        let mut state = state();
        state.holding.current = certified("current", 2000);
        state.holding.pending = Some(certified("pending", 4000));
        state.listed = listed(vec![key("k1", "", &thumbprint(&state.holding.current), 48)]);
        state.taken.insert(Which::Current);
        state
    }

    #[test]
    fn a_certificate_is_stored_first_and_registered_with_a_proof_of_the_one_before() {
        let mut state = certificates();
        let pending = state.holding.pending.take().unwrap();
        let (name, expires_at) = (state.holding.stamp.name("v2"), noon() + LIFETIME);
        let making = Step::MakeCertificate { name: name.clone(), expires_at };
        assert_eq!(next(&state, Act::CreateSecret), making);
        let (certificate, key_of_it) = pending.certificate().unwrap();
        let made = Made {
            certificate: certificate.clone(),
            certificate_pem: "as it is made".to_owned(),
            private_key_pem: key_of_it.clone(),
        };
        let before = state.listed.clone();
        state.absorb(&making, Answer::Certificate(made), noon());
        assert_eq!(next(&state, Act::CreateSecret), Step::Store);
        state.absorb(&Step::Store, Answer::Stored, noon());
        assert_eq!(next(&state, Act::SetSecret), Step::List);
        state.listed = before;
        let add = Step::AddKey { name: name.clone(), signer: Which::Current };
        assert_eq!(next(&state, Act::SetSecret), add);
        let mut there = state.clone();
        there.listed = listed(vec![key("k2", &name, &thumbprint(&pending), 0)]);
        assert_eq!(next(&there, Act::SetSecret), Step::Done(Outcome::Verified), "an earlier run has registered it");
        state.absorb(&add, Answer::Registered, noon());
        assert_eq!(next(&state, Act::SetSecret), Step::Done(Outcome::Verified));
    }

    #[test]
    fn a_proof_that_is_not_taken_is_no_reason_to_replace_what_is_there() {
        let mut state = certificates();
        let add = next(&state, Act::SetSecret);
        state.absorb(&add, Answer::ProofRefused("401".to_owned()), noon());
        assert_eq!(next(&state, Act::SetSecret), Step::Abandon(Reason::ProofRefused("401".to_owned())));
    }

    #[test]
    fn with_no_valid_certificate_left_all_keys_are_named_again_once_every_look_agrees() {
        let mut state = certificates();
        state.holding.current = certified("ended", -1);
        let (event, mut now) = (
            Event { step: Act::SetSecret, secret_id: String::new(), version: "v2".to_owned(), rotation_token: None },
            noon(),
        );
        let others = |count: usize| -> Vec<Registered> {
            ["k1", "k7", "k8"][..count].iter().map(|id| key(id, "", &"00".repeat(20), 48)).collect()
        };
        state.listed = Listed::NotAsked;
        // One replica knows of a key that the others have not heard of yet.
        let (mut looks, answers) = (Vec::new(), [2, 3, 2, 3, 3, 3, 3, 3]);
        let replaced = loop {
            match next_step(&state, &event, now) {
                Step::List => {
                    looks.push(now.duration_since(noon()).as_secs());
                    let listing = Listing { object_id: "o".to_owned(), credentials: others(answers[looks.len() - 1]) };
                    state.absorb(&Step::List, Answer::Listed(listing), now);
                }
                Step::Wait(until) => now = until,
                other => break other,
            }
        };
        let name = state.holding.stamp.name("v2");
        assert_eq!((replaced.clone(), looks), (Step::ReplaceKeys { name }, vec![0, 20, 40, 60, 80, 100, 120]));
        state.absorb(&replaced, Answer::Concurrent, now);
        assert_eq!(next_step(&state, &event, now), Step::List, "somebody has just written: everything from the start");
        state.absorb(&replaced, Answer::Registered, now);
        assert_eq!(next_step(&state, &event, now), Step::Done(Outcome::Verified));
    }

    #[test]
    fn nobody_waits_for_keys_that_cannot_settle_in_time() {
        let mut state = certificates();
        state.holding.current = certified("ended", -1);
        let listing = Listing { object_id: "o".to_owned(), credentials: Vec::new() };
        state.absorb(&Step::List, Answer::Listed(listing), noon());
        let seconds = |seconds: i64| noon() + SignedDuration::from_secs(seconds);
        for (deadline, expected) in [(59, Step::Abandon(Reason::Unsettled)), (60, Step::Wait(seconds(20)))] {
            state.proofs.deadline = seconds(deadline);
            assert_eq!(next(&state, Act::SetSecret), expected, "{deadline}");
        }
    }

    #[test]
    fn a_certificate_goes_with_a_proof_of_one_that_stays() {
        let mut state = certificates();
        let (current, pending) =
            (thumbprint(&state.holding.current), thumbprint(state.holding.pending.as_ref().unwrap()));
        let name = state.holding.stamp.name("v2");
        let twice = [key("k2", &name, &pending, 0), key("k3", &name, &pending, 0)];
        state.proofs.in_a_row = PROOFS;
        state.listed = listed([&twice[..], &[key("k1", "", &current, 48)]].concat());
        let removal = Step::Remove { key_id: "k3".to_owned(), signer: Some(Which::Current) };
        assert_eq!(next(&state, Act::TestSecret), removal);
        // Its own registration alone is left, and nobody could sign but itself.
        state.holding.current = certified("ended", -1);
        state.listed = listed(vec![key("k4", &name, &"00".repeat(20), 0)]);
        assert_eq!(next(&state, Act::TestSecret), Step::Done(Outcome::Proven), "it stays for the daily check");
    }

    #[test]
    fn tidying_looks_elsewhere_first_and_leaves_what_it_cannot_remove() {
        let mut state = certificates();
        state.holding.description = description(48, &[]);
        state.holding.pending = None;
        let current = thumbprint(&state.holding.current);
        let old = key("k0", &state.holding.stamp.name("v0"), &"00".repeat(20), 9000);
        state.listed = listed(vec![key("k1", "", &current, 48), old]);
        assert_eq!(next_tidying(&state, noon()), Step::LookElsewhere);
        let other = entry("x", "k0", &[]);
        for found in [Some(vec![other]), None] {
            let mut state = state.clone();
            state.absorb(&Step::LookElsewhere, Answer::Elsewhere(found), noon());
            let why = "another entry lives by it, or may";
            assert_eq!(next_tidying(&state, noon()), Step::Done(Outcome::Tidy), "{why}");
        }
        state.elsewhere = Elsewhere::Read(Vec::new());
        let removal = Step::Remove { key_id: "k0".to_owned(), signer: Some(Which::Current) };
        assert_eq!(next_tidying(&state, noon()), removal);
        state.absorb(&removal, Answer::NotRemoved, noon());
        assert_eq!((next_tidying(&state, noon()), state.stubborn), (Step::Done(Outcome::Tidy), vec!["k0".to_owned()]));
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
