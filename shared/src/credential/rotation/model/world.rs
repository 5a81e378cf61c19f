//! The two models, the runs that are at work on them, and what must hold whatever happens.

use std::{collections::BTreeSet, sync::OnceLock};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    entra::{Concurrent, Entra, Owner, REPLICAS, SETTLES},
    secrets_manager::SecretsManager,
};
use crate::{
    credential::{
        certificate::{Certificate, Made},
        entry::Entry,
        ownership::GRACE,
        rotation::{
            Disposition, LIFETIME, Reason, RotationError, next_step, next_tidying,
            state::{Listed, State},
            step::{Act, Answer, Event, Outcome, Step, Which},
        },
    },
    microsoft::graph::NewPassword,
    secret::Secret,
};

const ID: &str = "a0000000-0000-4000-8000-00000000c11e";
const SPACING: SignedDuration = SignedDuration::from_secs(15);
const PATIENCE: SignedDuration = SignedDuration::from_mins(5);
const YEARS: SignedDuration = SignedDuration::from_hours(3 * 365 * 24);

/// How a history begins.
#[derive(Debug, Clone, Copy)]
pub enum Beginning {
    HandMadeSecret,
    /// Another entry of the vault lives by it too.
    SharedSecret,
    /// Its entry does not say which of Entra's it is.
    UnnamedSecret,
    HandMadeCertificate,
    /// The current certificate has ended; the secret before it still works.
    EndedCertificate,
    Federated,
}

impl Beginning {
    pub const ALL: [Self; 6] = [
        Self::HandMadeSecret,
        Self::SharedSecret,
        Self::UnnamedSecret,
        Self::HandMadeCertificate,
        Self::EndedCertificate,
        Self::Federated,
    ];
}

/// What becomes of one call and of the run that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Well,
    /// Nothing was done; the run is over.
    DiesBefore,
    /// All was done, and nobody heard of it; the run is over.
    DiesAfter,
}

#[derive(Debug)]
struct Run {
    /// None for a daily check.
    event: Option<Event>,
    state: State,
}

impl Run {
    fn next(&self, now: Timestamp) -> Step {
        match &self.event {
            Some(event) => next_step(&self.state, event, now),
            None => next_tidying(&self.state, now),
        }
    }
}

#[derive(Debug)]
pub struct World {
    pub now: Timestamp,
    vault: SecretsManager,
    entra: Entra,
    /// The vault's other entries.
    elsewhere: Vec<Entry>,
    runs: [Option<Run>; 2],
    /// When a person last stored a credential.
    stored_by_hand: Timestamp,
    /// Why the last step said that another rotation has to begin.
    hopeless: Option<Reason>,
    /// The step that is invoked next, of the rotation to this version. Any other begins with its first.
    due: (String, Act),
    serial: usize,
    /// Rotations that came to their end while things happened.
    pub promotions: u32,
    certificates: usize,
}

/// Certificates of one key, which is expensive to make: their thumbprints differ, and nobody signs with them here.
fn certificate(index: usize) -> &'static Made {
    static POOL: OnceLock<(Vec<Made>, Made)> = OnceLock::new();
    let (valid, ended) = POOL.get_or_init(|| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = |from: i32, until: i32, serial: u64| {
            let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
            parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
            parameters.serial_number = Some(serial.into());
            let certificate_pem = parameters.self_signed(&key).unwrap().pem();
            let certificate = Certificate::read(&certificate_pem).unwrap();
            Made { certificate, certificate_pem, private_key_pem: Secret::new(key.serialize_pem()) }
        };
        ((0..64).map(|serial| certificate(2026, 2031, serial)).collect(), certificate(2020, 2026, 99))
    });
    if index == ENDED { ended } else { &valid[index % valid.len()] }
}

/// How a person names what they store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    Right,
    Missing,
    /// By the id of somebody else's.
    Wrong,
}

impl Naming {
    fn of(self, id: &str) -> Option<&str> {
        match self {
            Self::Right => Some(id),
            Self::Missing => None,
            Self::Wrong => Some(STRANGERS),
        }
    }
}

/// The first credential that was there.
const STRANGERS: &str = "k001";
const ENDED: usize = usize::MAX;

fn entry_of(credential: serde_json::Value) -> Entry {
    let whole = json!({"client_id": ID, "home_tenant_id": ID, "credential": credential});
    Entry::parse(&Secret::new(whole.to_string())).unwrap()
}

fn secret_entry(text: &str, key_id: Option<&str>) -> Entry {
    entry_of(json!({"kind": "client_secret", "value": text, "key_id": key_id}))
}

fn certificate_entry(made: &Made, key_id: Option<&str>) -> Entry {
    entry_of(json!({"kind": "certificate", "certificate_pem": made.certificate_pem,
        "private_key_pem": made.private_key_pem.expose(), "key_id": key_id}))
}

impl World {
    pub fn new(beginning: Beginning) -> Self {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let long_ago = now - SignedDuration::from_hours(1000);
        let mut entra = Entra::default();
        entra.add_secret("by hand", long_ago, now + YEARS, Owner::Stranger);
        let owner = match beginning {
            Beginning::SharedSecret | Beginning::UnnamedSecret => Owner::Stranger,
            _ => Owner::Person,
        };
        let (key_id, text) = entra.add_secret("by hand", long_ago, now + YEARS, owner);
        let elsewhere =
            matches!(beginning, Beginning::SharedSecret).then(|| secret_entry(&text, None)).into_iter().collect();
        let made = certificate(match beginning {
            Beginning::EndedCertificate => ENDED,
            _ => 0,
        });
        let (current, previous) = match beginning {
            Beginning::HandMadeSecret | Beginning::SharedSecret => (secret_entry(&text, Some(&key_id)), None),
            Beginning::UnnamedSecret => (secret_entry(&text, None), None),
            Beginning::Federated => (entry_of(json!({"kind": "federated"})), None),
            Beginning::HandMadeCertificate | Beginning::EndedCertificate => {
                let thumbprint = made.certificate.thumbprint();
                let id = entra.add_key("by hand", thumbprint, long_ago, made.certificate.ends, Owner::Person);
                (certificate_entry(made, Some(&id)), Some(secret_entry(&text, Some(&key_id))))
            }
        };
        let vault = SecretsManager::new(current, previous, long_ago);
        let runs = [None, None];
        Self {
            now,
            vault,
            entra,
            elsewhere,
            runs,
            stored_by_hand: long_ago,
            hopeless: None,
            due: (String::new(), Act::CreateSecret),
            serial: 1,
            promotions: 0,
            certificates: 1,
        }
    }

    fn version(&mut self) -> String {
        self.serial += 1;
        format!("v{}", self.serial)
    }

    pub fn begin(&mut self) {
        let version = self.version();
        self.vault.begin(&version, self.now);
    }

    pub fn call_off(&mut self) {
        self.vault.cancel();
    }

    pub fn invoke(&mut self, slot: usize) {
        let holding = self.vault.holding(self.now);
        let Some(version) = holding.description.open_rotation().map(str::to_owned) else { return };
        if self.due.0 != version {
            self.due = (version.clone(), Act::CreateSecret);
        }
        let event = Event { step: self.due.1, secret_id: "muster/app".to_owned(), version, rotation_token: None };
        let state = State::new(holding, self.now, PATIENCE, SPACING);
        self.runs[slot] = Some(Run { event: Some(event), state });
    }

    /// Lists before it reads the vault, as the check does.
    pub fn check(&mut self, slot: usize) {
        let listing = self.entra.list(self.serial % REPLICAS, self.now);
        let mut state = State::new(self.vault.holding(self.now), self.now, PATIENCE, SPACING);
        state.listed = Listed::Read(listing);
        self.runs[slot] = Some(Run { event: None, state });
    }

    /// So many calls, the last with this fate. The platform invokes step after step.
    pub fn goes_on(&mut self, slot: usize, calls: usize, replica: usize, fate: Fate) {
        for call in 0..=calls {
            if self.runs[slot].is_none() {
                self.invoke(slot);
            }
            let fate = if call == calls { fate } else { Fate::Well };
            self.call(slot, (replica + call) % REPLICAS, fate);
        }
    }

    /// One call of a run.
    fn call(&mut self, slot: usize, replica: usize, fate: Fate) {
        let Some(mut run) = self.runs[slot].take() else { return };
        let step = run.next(self.now);
        match &step {
            Step::Done(outcome) => return self.ends(run.event.as_ref(), Ok(*outcome)),
            Step::Abandon(reason) => return self.ends(run.event.as_ref(), Err(reason)),
            _ if fate == Fate::DiesBefore && !matches!(step, Step::Remove { .. }) => {
                return self.fails(run.event.as_ref());
            }
            _ => {}
        }
        let answer = self.take(&run, &step, replica, fate);
        let answer = match (answer, fate) {
            (Some(answer), Fate::Well) => answer,
            // A removal that fails is no reason to stop, whether it was done or not.
            (Some(_), _) if matches!(step, Step::Remove { .. }) => Answer::NotRemoved,
            _ => return self.fails(run.event.as_ref()),
        };
        run.state.absorb(&step, answer, self.now);
        self.runs[slot] = Some(run);
    }

    /// What the platform makes of a step that is over.
    fn ends(&mut self, event: Option<&Event>, ended: Result<Outcome, &Reason>) {
        let Some(event) = event else { return };
        if let Err(reason) = ended
            && RotationError::from(reason.clone()).disposition() == Disposition::StartAnew
        {
            self.hopeless = Some(reason.clone());
        }
        let next = match (event.step, ended) {
            (_, Err(_)) => Act::CreateSecret,
            (Act::CreateSecret, Ok(_)) => Act::SetSecret,
            (Act::SetSecret, Ok(_)) => Act::TestSecret,
            (Act::TestSecret | Act::FinishSecret, Ok(_)) => Act::FinishSecret,
        };
        // Only what was invoked last is listened to.
        if (event.version.as_str(), event.step) == (self.due.0.as_str(), self.due.1) {
            self.due.1 = next;
        }
    }

    fn fails(&mut self, event: Option<&Event>) {
        self.ends(event, Err(&Reason::NothingCreated));
    }

    /// Does what a step asks for, as [`super::super::run`] does. `None` where the run ends with an error.
    fn take(&mut self, run: &Run, step: &Step, replica: usize, fate: Fate) -> Option<Answer> {
        let (state, now) = (&run.state, self.now);
        let version = run.event.as_ref().map_or("", |event| event.version.as_str());
        let pending = state.holding.pending.as_ref().and_then(Entry::certificate);
        Some(match step {
            Step::Done(_) | Step::Abandon(_) => return None,
            Step::Wait(until) => {
                self.now = self.now.max(*until);
                Answer::Waited
            }
            Step::Try(which) => {
                let taken = state.entry(*which).is_some_and(|entry| self.entra.takes(entry, replica, now));
                Answer::Token(if taken { Ok(()) } else { Err(("refused".to_owned(), None)) })
            }
            Step::List => match self.is_admitted(state, replica) {
                true => Answer::Listed(self.entra.list(replica, now)),
                false if state.holding.pending.is_some() && !self.sets(run) => Answer::NotListed,
                false => return None,
            },
            Step::LookElsewhere => Answer::Elsewhere(Some(self.elsewhere.clone())),
            Step::ReadPending => Answer::Pending(self.vault.value(version)),
            Step::Describe => Answer::Described(self.vault.describe()),
            Step::AddPassword { name, expires_at } => {
                self.is_admitted(state, replica).then_some(())?;
                self.write_patiently();
                let (key_id, text) = self.entra.add_secret(name, self.now, *expires_at, Owner::Us);
                Answer::Password(NewPassword { key_id, value: Secret::new(text), end: Some(*expires_at) })
            }
            Step::MakeCertificate { .. } => {
                self.certificates += 1;
                Answer::Certificate(certificate(self.certificates).clone())
            }
            Step::Store => match self.vault.put_pending(version, state.to_store(), now) {
                true => Answer::Stored,
                false => Answer::StoredByAnother,
            },
            Step::AddKey { name, signer } => {
                self.is_admitted(state, replica).then_some(())?;
                self.write_patiently();
                let (certificate, _) = pending?;
                match state.entry(*signer).is_some_and(|entry| self.entra.takes(entry, replica, self.now)) {
                    true => {
                        let thumbprint = certificate.thumbprint();
                        self.entra.add_key(name, thumbprint, self.now, certificate.ends, Owner::Us);
                        Answer::Registered
                    }
                    false => Answer::ProofRefused("401".to_owned()),
                }
            }
            Step::ReplaceKeys { name } => {
                self.is_admitted(state, replica).then_some(())?;
                let (Listed::Read(listing), (certificate, _)) = (&state.listed, pending?) else { return None };
                match self.entra.write(now) {
                    Err(Concurrent) => Answer::Concurrent,
                    Ok(()) => {
                        let named = listing.credentials.iter().map(|registered| registered.key_id.clone()).collect();
                        self.entra.keep_keys(&named, now);
                        let thumbprint = certificate.thumbprint();
                        self.entra.add_key(name, thumbprint, now, certificate.ends, Owner::Us);
                        Answer::Registered
                    }
                }
            }
            Step::Remove { key_id, signer } => {
                let proven = signer.is_none_or(|signer| {
                    state.entry(signer).is_some_and(|entry| self.entra.takes(entry, replica, now))
                });
                if fate == Fate::DiesBefore || !proven || !self.is_admitted(state, replica) {
                    return Some(Answer::NotRemoved);
                }
                self.write_patiently();
                self.entra.remove(key_id, self.now);
                Answer::Removed
            }
            Step::Promote { from } => match self.vault.promote(version, from) {
                Ok(()) => {
                    self.promotions += 1;
                    let begun = self.vault.describe().created[version];
                    assert!(begun >= self.stored_by_hand, "{version} takes the place of what a person stored since");
                    self.what_is_current_works_everywhere();
                    Answer::Promoted
                }
                Err(why) => Answer::NotPromoted(why),
            },
        })
    }

    fn sets(&self, run: &Run) -> bool {
        run.event.as_ref().is_some_and(|event| event.step == Act::SetSecret)
    }

    /// Whether any credential that a run knows of gets a token for Graph.
    fn is_admitted(&self, state: &State, replica: usize) -> bool {
        let known =
            [Which::Current, Which::Previous, Which::Pending].into_iter().filter_map(|which| state.entry(which));
        known.into_iter().any(|entry| self.entra.takes(entry, replica, self.now))
    }

    /// A write that says that nothing was done is made again, a second later.
    fn write_patiently(&mut self) {
        while self.entra.write(self.now).is_err() {
            self.now += SignedDuration::from_secs(1);
        }
    }

    /// A person waits until everybody knows what was made, then stores it.
    pub fn person_stores(&mut self, certificate_kind: bool, naming: Naming) {
        self.write_patiently();
        // What nobody has named is not ours to remove.
        let owner = if naming == Naming::Right { Owner::Person } else { Owner::Stranger };
        let entry = if certificate_kind {
            self.certificates += 1;
            let made = certificate(self.certificates);
            let thumbprint = made.certificate.thumbprint();
            let id = self.entra.add_key("by hand", thumbprint, self.now, made.certificate.ends, owner);
            certificate_entry(made, naming.of(&id))
        } else {
            let (id, text) = self.entra.add_secret("by hand", self.now, self.now + YEARS, owner);
            secret_entry(&text, naming.of(&id))
        };
        self.now += SETTLES;
        let version = self.version();
        self.vault.put_current(&version, entry, self.now);
        self.stored_by_hand = self.now;
    }

    pub fn person_mistypes(&mut self) {
        let Some(text) = self.vault.current().1.secret().map(|secret| secret.expose().clone()) else { return };
        let version = self.version();
        self.vault.put_current(&version, secret_entry(&text, Some(STRANGERS)), self.now);
        self.stored_by_hand = self.now;
    }

    /// Graph has no condition for a collection that is replaced. Whoever registers a certificate in the minute in which we
    /// make sure that nobody does loses it, and no code of ours can help that; so nobody does here.
    pub fn stranger_adds(&mut self, certificate_kind: bool) {
        let replaces = |run: &Run| self.sets(run) && !run.state.looks.is_empty();
        if certificate_kind && self.runs.iter().flatten().any(replaces) || self.entra.write(self.now).is_err() {
            return;
        }
        match certificate_kind {
            true => {
                let thumbprint = &format!("{:040x}", self.entra.known.len());
                self.entra.add_key("muster/0123456789ab/v1", thumbprint, self.now, self.now + YEARS, Owner::Stranger);
            }
            false => drop(self.entra.add_secret("muster", self.now, self.now + YEARS, Owner::Stranger)),
        }
    }

    pub fn stranger_removes(&mut self) {
        let now = self.now;
        let key_id = |known: &super::entra::Known| known.registered.key_id.clone();
        let is_late = |known: &&super::entra::Known| {
            known.owner == Owner::Stranger && known.registered.display_name.as_deref() != Some("by hand")
        };
        let Some(key_id) = self.entra.known.iter().rfind(is_late).map(key_id) else { return };
        if self.entra.write(now).is_ok() {
            self.entra.remove(&key_id, now);
            self.entra.known.retain(|known| known.registered.key_id != key_id);
        }
    }

    /// Whatever happens from now on happens undisturbed: what is open comes to its end, one more rotation and a day pass,
    /// and the check looks at everything.
    pub fn is_left_in_peace(&mut self) {
        self.runs = [None, None];
        self.now += SETTLES;
        for _ in 0..2 {
            self.rotates_in_peace();
        }
        self.now += GRACE + SignedDuration::from_hours(1);
        self.check(0);
        self.goes_on(0, 40, 0, Fate::Well);
    }

    fn rotates_in_peace(&mut self) {
        self.begin();
        let mut attempts = 0;
        while self.vault.describe().open_rotation().is_some() {
            attempts += 1;
            assert!(attempts < 40, "an undisturbed rotation does not succeed: {:?}", self.hopeless);
            self.hopeless = None;
            self.invoke(0);
            let mut calls = 0;
            while self.runs[0].is_some() {
                self.call(0, calls % REPLICAS, Fate::Well);
                calls += 1;
                assert!(calls < 1000, "a step never ends");
            }
            if self.hopeless.is_some() {
                self.call_off();
                self.begin();
            }
        }
    }

    /// What may be in use was never taken away: the current credential, and the one before it.
    pub fn what_is_in_use_is_registered(&self) {
        let holding = self.vault.holding(self.now);
        for entry in [Some(&holding.current), holding.previous.as_ref()].into_iter().flatten() {
            assert!(self.entra.has(entry), "{:?} was removed", entry.identities().collect::<Vec<_>>());
        }
    }

    pub fn what_is_current_works_everywhere(&self) {
        let (version, current) = self.vault.current();
        for replica in 0..REPLICAS {
            assert!(self.entra.takes(current, replica, self.now), "{version} does not work at replica {replica}");
        }
    }

    /// What a stranger has, what two entries live by, and what a person stored without naming it.
    pub fn nothing_of_others_is_gone(&self) {
        for known in self.entra.known.iter().filter(|known| known.owner == Owner::Stranger) {
            assert!(!known.is_gone(), "{:?} is not ours", known.registered);
        }
    }

    /// Once all is quiet, what we made is what a label names, once; a certificate stays where nobody is left to sign.
    pub fn nothing_of_ours_is_left_over(&self) {
        let holding = self.vault.holding(self.now);
        let someone_signs = self.vault.labelled().filter_map(Entry::certificate).any(|(own, _)| own.is_valid(self.now));
        let ours = self.entra.known.iter().filter(|known| known.owner == Owner::Us && !known.is_gone());
        let mut seen = BTreeSet::new();
        for known in ours.filter(|known| someone_signs || !known.registered.is_certificate()) {
            let holds = |entry: &Entry| {
                let thumbprint = entry.certificate().map(|(certificate, _)| certificate.thumbprint());
                thumbprint.or(entry.secret().map(|secret| secret.expose().as_str())) == Some(known.text.as_str())
            };
            assert!(
                self.vault.labelled().any(holds),
                "{:?} is an orphan of {:?}",
                known.registered,
                holding.description
            );
            assert!(seen.insert(known.text.clone()), "{:?} is registered twice", known.registered);
        }
        assert!(self.now < "2027-11-22T12:00:00Z".parse().unwrap(), "credentials of {LIFETIME} would have ended");
    }
}
