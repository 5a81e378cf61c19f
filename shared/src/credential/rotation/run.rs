//! Carries out what [`next_step`] decides: one call, its answer, and the next.

use jiff::{SignedDuration, Timestamp};

use super::{
    PROOFS, Reason, RotationError, next_step, next_tidying,
    state::{Listed, State},
    step::{Act, Answer, Event, Outcome, Step, Which},
    trail,
};
use crate::{
    App,
    credential::{
        certificate,
        directory::{Directory, Signer, home_token},
        entry::Entry,
        name::{EntryKind, EntryName},
        ownership::Holding,
        read,
    },
    microsoft::{
        entra::Refusal,
        graph::{GraphError, Listing},
        token::TokenError,
    },
    ports::vault::{Stage, VaultError},
};

/// How long the tokens of a new credential may take beyond their own spacing.
const PATIENCE: SignedDuration = SignedDuration::from_mins(4);

/// What a run may take, and whom it tells how far a new credential has got: tokens earned, of how many.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub left: SignedDuration,
    pub tell: fn(u32, u32),
}

impl Pace {
    pub fn new(left: std::time::Duration, tell: fn(u32, u32)) -> Self {
        Self { left: SignedDuration::try_from(left).unwrap_or(SignedDuration::MAX), tell }
    }
}

/// Whether there is anything to rotate in this entry, before a person or a host begins a rotation. Where a platform's
/// schedule begins one all the same, it goes through.
///
/// # Errors
/// [`RotationError`] saying why not.
pub async fn rotatable(app: &App, id: &str) -> Result<(), RotationError> {
    an_applications(app, id)?;
    match read::current(app, id).await?.holds_a_credential() {
        true => Ok(()),
        false => Err(Reason::NothingHeld.into()),
    }
}

fn an_applications(app: &App, id: &str) -> Result<EntryName, RotationError> {
    let name = EntryName::parse(id, &app.config.secrets_prefix).ok_or_else(|| RotationError::NotOurs(id.to_owned()))?;
    if name.kind == EntryKind::Signing { Err(RotationError::Signing) } else { Ok(name) }
}

/// Carries out one of the four steps. Safe to repeat, to abandon anywhere, and to run twice at once.
///
/// # Errors
/// [`RotationError`], whose disposition says who goes on from here. Whatever happens, the current credential works.
pub async fn rotate(app: &App, event: &Event, pace: &Pace) -> Result<Outcome, RotationError> {
    let name = an_applications(app, &event.secret_id)?;
    let began = app.clock.now();
    let holding = read::holding(app, &event.secret_id, event.step != Act::CreateSecret).await?;
    let mut state = begin(holding, app, pace.left);
    let run = Run { app, name: &name, event: Some(event), tell: pace.tell };
    let outcome = run.to_its_end(&mut state, |state, now| next_step(state, event, now)).await?;
    if event.step == Act::FinishSecret {
        let entry = state.holding.pending.as_ref().unwrap_or(&state.holding.current);
        trail::tell(app, &name, &event.version, entry).await;
    }
    let duration_ms = app.clock.milliseconds_since(began);
    tracing::info!(vault.name = name.full, step = ?event.step, ?outcome, duration_ms, "a step of a rotation is done");
    Ok(outcome)
}

/// The key ids of what nobody needed any more.
#[derive(Debug, Default)]
pub(in crate::credential) struct Tidied {
    pub gone: Vec<String>,
    pub stay: Vec<String>,
}

/// Removes what is ours and of no use, of what was listed.
///
/// # Errors
/// When the vault does not say what its other entries live by.
pub(in crate::credential) async fn tidy(
    app: &App,
    name: &EntryName,
    holding: &Holding,
    listing: Listing,
    until: Timestamp,
) -> Result<Tidied, RotationError> {
    let mut state = begin(holding.clone(), app, until.duration_since(app.clock.now()));
    state.listed = Listed::Read(listing);
    let run = Run { app, name, event: None, tell: |_, _| {} };
    run.to_its_end(&mut state, next_tidying).await?;
    let Listed::Read(listing) = &state.listed else { return Ok(Tidied::default()) };
    let leftovers = holding.leftovers(&listing.credentials, state.elsewhere.known(), app.clock.now());
    let gone = |key_id: &String| state.settled.contains(key_id) && !state.stubborn.contains(key_id);
    let (gone, stay) = leftovers.into_iter().map(|leftover| leftover.key_id.clone()).partition(gone);
    Ok(Tidied { gone, stay })
}

/// A run that may take this long, and no longer than the tokens of a new credential can need.
fn begin(holding: Holding, app: &App, left: SignedDuration) -> State {
    let spacing = app.config.canary_spacing;
    let testing = PATIENCE + spacing * i32::try_from(PROOFS - 1).unwrap_or(i32::MAX);
    State::new(holding, app.clock.now(), left.min(testing), spacing)
}

impl State {
    /// Who may ask Graph, in order: any credential of the same application that Entra takes.
    fn credentials(&self) -> Vec<&Entry> {
        [Which::Current, Which::Previous, Which::Pending].into_iter().filter_map(|which| self.entry(which)).collect()
    }

    fn signer_of(&self, which: Which) -> Result<Signer<'_>, GraphError> {
        let unknown = || GraphError::Unauthorized("no certificate of ours is registered".to_owned());
        let (certificate, key) = self.entry(which).and_then(Entry::certificate).ok_or_else(unknown)?;
        let Listed::Read(Listing { object_id, .. }) = &self.listed else { return Err(unknown()) };
        Ok(Signer { certificate, key, object_id })
    }
}

/// One run: where it works, and for which step of a rotation, if for any.
struct Run<'a> {
    app: &'a App,
    name: &'a EntryName,
    event: Option<&'a Event>,
    tell: fn(u32, u32),
}

impl Run<'_> {
    async fn to_its_end(
        &self,
        state: &mut State,
        decide: impl Fn(&State, Timestamp) -> Step,
    ) -> Result<Outcome, RotationError> {
        loop {
            let step = decide(state, self.app.clock.now());
            let answer = match &step {
                Step::Done(outcome) => return Ok(*outcome),
                Step::Abandon(reason) => return Err(reason.clone().into()),
                step => self.take(state, step).await?,
            };
            state.absorb(&step, answer, self.app.clock.now());
            if matches!(step, Step::Try(_)) && self.event.is_some_and(|event| event.step == Act::TestSecret) {
                (self.tell)(state.proofs.in_a_row, PROOFS);
            }
        }
    }

    async fn take(&self, state: &State, step: &Step) -> Result<Answer, RotationError> {
        let (app, vault, full) = (self.app, &self.app.ports.vault, self.name.full.as_str());
        let id = self.event.map_or(full, |event| event.secret_id.as_str());
        match step {
            Step::Done(_) | Step::Abandon(_) => Ok(Answer::Waited),
            Step::Wait(until) => {
                app.clock.sleep(until.duration_since(app.clock.now())).await;
                Ok(Answer::Waited)
            }
            Step::Try(which) => self.try_token(state, *which).await,
            Step::List => self.list(state).await,
            Step::LookElsewhere => Ok(Answer::Elsewhere(read::elsewhere(app, self.name).await?)),
            Step::ReadPending => {
                let version = self.version();
                Ok(Answer::Pending(read::pending(app, id, version, true).await?))
            }
            Step::Describe => Ok(Answer::Described(vault.describe(id).await?)),
            Step::AddPassword { name, expires_at } => {
                let made = self.directory(state).await?.add_password(name, *expires_at).await?;
                Ok(Answer::Password(made))
            }
            Step::MakeCertificate { name, expires_at } => {
                let made = certificate::make(name, app.clock.now(), *expires_at);
                Ok(Answer::Certificate(made.map_err(RotationError::NoCertificate)?))
            }
            Step::Store => self.store(state, id).await,
            Step::AddKey { name, signer } => self.add_key(state, name, *signer).await,
            Step::ReplaceKeys { name } => self.replace_keys(state, name).await,
            Step::Remove { key_id, signer } => Ok(self.remove(state, key_id, *signer).await),
            Step::Promote { from } => match vault.promote(id, self.version(), from).await {
                Ok(()) => {
                    tracing::info!(vault.name = full, vault.version = self.version(), "a new credential is current");
                    Ok(Answer::Promoted)
                }
                Err(VaultError::InvalidRequest(why)) => Ok(Answer::NotPromoted(why)),
                Err(error) => Err(error.into()),
            },
        }
    }

    fn version(&self) -> &str {
        self.event.map_or("", |event| event.version.as_str())
    }

    async fn directory(&self, state: &State) -> Result<Directory<'_>, TokenError> {
        Directory::open(self.app, &state.credentials(), state.proofs.deadline).await
    }

    async fn try_token(&self, state: &State, which: Which) -> Result<Answer, RotationError> {
        let Some(entry) = state.entry(which) else { return Ok(Answer::Waited) };
        let is_test = self.event.is_some_and(|event| event.step == Act::TestSecret);
        let refused = match home_token(self.app, &entry.application).await {
            Ok(_) => return Ok(Answer::Token(Ok(()))),
            Err(TokenError::Refused(refused))
                if refused.refusal() == Refusal::OurCredential || is_test && may_pass(refused.refusal()) =>
            {
                (refused.explained(), refused.retry_after)
            }
            Err(error @ TokenError::Unreachable(_)) if is_test => (error.to_string(), None),
            Err(error) if error.is_of_the_credential() => (error.to_string(), None),
            Err(other) => return Err(other.into()),
        };
        let refusal = &refused.0;
        tracing::info!(vault.name = self.name.full, credential = ?which, refusal, "Entra does not take this credential now");
        Ok(Answer::Token(Err(refused)))
    }

    /// After a secret is stored, a list only serves to tidy up, and its failure is no failure of the rotation. Whether a
    /// certificate has to be registered only a list tells.
    async fn list(&self, state: &State) -> Result<Answer, RotationError> {
        let listed = async { Ok::<_, RotationError>(self.directory(state).await?.list().await?) };
        let sets = self.event.is_some_and(|event| event.step == Act::SetSecret);
        match listed.await {
            Ok(listing) => Ok(Answer::Listed(listing)),
            Err(error) if state.holding.pending.is_some() && !sets => {
                tracing::warn!(%error, "what this rotation may have left behind is looked for by the daily check");
                Ok(Answer::NotListed)
            }
            Err(error) => Err(error),
        }
    }

    /// Between Graph's answer and this put lies nothing: whoever dies there leaves an orphan, which bears our stamp.
    async fn store(&self, state: &State, id: &str) -> Result<Answer, RotationError> {
        let value = state.to_store().text();
        let token = self.event.and_then(|event| event.rotation_token.as_ref()).map(|token| token.expose().as_str());
        match self.app.ports.vault.put(id, self.version(), value, &[Stage::Pending], token).await {
            Ok(()) => Ok(Answer::Stored),
            Err(VaultError::VersionExists(version)) => {
                let name = &self.name.full;
                tracing::info!(vault.name = name, vault.version = version, "another run of this step was faster");
                Ok(Answer::StoredByAnother)
            }
            // The vault may have it all the same. Only a later look tells, so what was made is left to the sweep of the
            // next run, which knows what was stored.
            Err(error @ VaultError::Unavailable(_)) => Err(error.into()),
            Err(error) => Ok(Answer::NotStored(error.to_string())),
        }
    }

    async fn add_key(&self, state: &State, name: &str, signer: Which) -> Result<Answer, RotationError> {
        let Some((certificate, _)) = state.holding.pending.as_ref().and_then(Entry::certificate) else {
            return Ok(Answer::Waited);
        };
        let mut directory = self.directory(state).await?;
        match directory.add_key(name, certificate, &state.signer_of(signer)?).await {
            Ok(()) => Ok(Answer::Registered),
            Err(GraphError::Unauthorized(why)) => Ok(Answer::ProofRefused(why)),
            Err(error) => Err(error.into()),
        }
    }

    async fn replace_keys(&self, state: &State, name: &str) -> Result<Answer, RotationError> {
        let pending = state.holding.pending.as_ref().and_then(Entry::certificate);
        let (Some((certificate, _)), Listed::Read(listing)) = (pending, &state.listed) else {
            return Ok(Answer::Waited);
        };
        let keys: Vec<_> = listing.credentials.iter().filter(|listed| listed.is_certificate()).cloned().collect();
        let mut directory = self.directory(state).await?;
        // Getting a token takes its time. What is there a moment before the change is what was seen, or we look on.
        let there = directory.list().await?.credentials.into_iter().filter(|listed| listed.is_certificate());
        if !there.map(|key| key.key_id).eq(keys.iter().map(|key| key.key_id.clone())) {
            return Ok(Answer::Concurrent);
        }
        match directory.replace_keys(name, certificate, &keys).await {
            Ok(()) => Ok(Answer::Registered),
            Err(GraphError::Concurrent) => Ok(Answer::Concurrent),
            Err(error) => Err(error.into()),
        }
    }

    async fn remove(&self, state: &State, key_id: &str, signer: Option<Which>) -> Answer {
        let removed = async {
            let mut directory = self.directory(state).await?;
            match signer {
                None => directory.remove_password(key_id).await?,
                Some(signer) => directory.remove_key(key_id, &state.signer_of(signer)?).await?,
            }
            Ok::<_, RotationError>(())
        };
        let name = &self.name.full;
        match removed.await {
            Ok(()) => {
                tracing::info!(vault.name = name, credential.key_id = key_id, "removed a credential of no use");
                Answer::Removed
            }
            Err(error) => {
                tracing::warn!(vault.name = name, credential.key_id = key_id, %error, "a credential of no use stays another day");
                Answer::NotRemoved
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
