//! Carries out what [`next_step`] decides: reads, does one thing, looks again.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{
    Act, Event, Listed, Outcome, PROOFS, Proofs, Reason, RotationError, State, Step, Which, may_pass, next_step,
};
use crate::{
    App,
    credential::{
        entry::{Entry, NewSecret},
        name::{EntryKind, EntryName},
        ownership::Holding,
        passwords::{Passwords, home_token},
        read,
    },
    microsoft::{entra::Refusal, graph::NewPassword, token::TokenError},
    ports::vault::{Stage, VaultError},
};

/// How long the tokens of a new secret may take beyond their own spacing.
const PATIENCE: SignedDuration = SignedDuration::from_mins(4);

/// What a run may take, and whom it tells how far a new secret has got: tokens earned, of how many.
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

/// Whether this entry is one that can be rotated at all, before a rotation is begun.
///
/// # Errors
/// [`RotationError`] saying why not.
pub async fn rotatable(app: &App, id: &str) -> Result<(), RotationError> {
    let name = EntryName::parse(id, &app.config.secrets_prefix).ok_or_else(|| RotationError::NotOurs(id.to_owned()))?;
    if name.kind == EntryKind::Signing {
        return Err(RotationError::Signing);
    }
    let current = read::current(app, id).await?;
    match current.secret() {
        Some(_) => Ok(()),
        None => Err(Reason::NotRotatable(current.application.credential.kind()).into()),
    }
}

/// Carries out one step. Safe to repeat, to abandon anywhere, and to run twice at once.
///
/// # Errors
/// [`RotationError`], whose disposition says who goes on from here. Whatever happens, the current credential works.
pub async fn rotate(app: &App, event: &Event, pace: &Pace) -> Result<Outcome, RotationError> {
    let prefix = &app.config.secrets_prefix;
    let name =
        EntryName::parse(&event.secret_id, prefix).ok_or_else(|| RotationError::NotOurs(event.secret_id.clone()))?;
    if name.kind == EntryKind::Signing {
        return Err(RotationError::Signing);
    }
    let began = app.clock.now();
    let mut state = State::new(read::holding(app, &event.secret_id, event.step != Act::CreateSecret).await?, app, pace);
    loop {
        let now = app.clock.now();
        match next_step(&state, event, now) {
            Step::Done(outcome) => {
                let duration_ms = app.clock.milliseconds_since(began);
                tracing::info!(vault.name = name.full, step = ?event.step, ?outcome, duration_ms, "a step of a rotation is done");
                return Ok(outcome);
            }
            Step::Abandon(reason) => return Err(reason.into()),
            Step::Wait(until) => app.clock.sleep(until.duration_since(now)).await,
            Step::Try(which) => {
                try_token(app, event, &mut state, which).await?;
                if event.step == Act::TestSecret {
                    (pace.tell)(state.proofs.in_a_row, PROOFS);
                }
            }
            Step::List => state.listed = list(app, &state).await?,
            Step::LookElsewhere => state.elsewhere = Some(read::elsewhere(app, &name).await?),
            Step::Remove(key_id) => remove(app, &mut state, key_id).await,
            Step::Add { name, expires_at } => add(app, event, &mut state, &name, expires_at).await?,
            Step::Promote { from } => {
                if promote(app, event, &mut state, &from).await? {
                    return Ok(Outcome::Finished);
                }
            }
        }
    }
}

impl State {
    fn new(holding: Holding, app: &App, pace: &Pace) -> Self {
        let (began, spacing) = (app.clock.now(), app.config.canary_spacing);
        let testing = PATIENCE + spacing * i32::try_from(PROOFS - 1).unwrap_or(i32::MAX);
        let proofs = Proofs {
            in_a_row: 0,
            next_at: began,
            last_refusal: String::new(),
            began,
            deadline: began + pace.left.min(testing),
            spacing,
        };
        Self {
            holding,
            listed: Listed::NotAsked,
            elsewhere: None,
            settled: BTreeSet::new(),
            taken: BTreeSet::new(),
            refused: Vec::new(),
            proofs,
        }
    }

    /// Who may ask Graph, in order: any credential of the same application that Entra takes.
    fn credentials(&self) -> Vec<&Entry> {
        [Which::Current, Which::Previous, Which::Pending].into_iter().filter_map(|which| self.entry(which)).collect()
    }
}

async fn try_token(app: &App, event: &Event, state: &mut State, which: Which) -> Result<(), RotationError> {
    let Some(entry) = state.entry(which) else { return Ok(()) };
    let is_test = event.step == Act::TestSecret;
    let answer = match home_token(app, &entry.application).await {
        Ok(_) => Ok(()),
        Err(TokenError::Refused(refused))
            if refused.refusal() == Refusal::OurCredential || is_test && may_pass(refused.refusal()) =>
        {
            Err((refused.to_string(), refused.retry_after))
        }
        Err(TokenError::Unreachable(error)) if is_test => Err((error.to_string(), None)),
        Err(other) => return Err(other.into()),
    };
    if let Err((refusal, _)) = &answer {
        tracing::info!(vault.name = event.secret_id, credential = ?which, refusal, "Entra does not take this credential now");
    }
    state.absorb(which, answer, app.clock.now());
    Ok(())
}

/// After the secret is stored, a list only serves to tidy up, and its failure is no failure of the rotation.
async fn list(app: &App, state: &State) -> Result<Listed, RotationError> {
    let listed = async {
        let mut passwords = Passwords::open(app, &state.credentials(), state.proofs.deadline).await?;
        Ok::<_, RotationError>(Listed::Read(passwords.list().await?))
    };
    match listed.await {
        Err(error) if state.holding.pending.is_some() => {
            tracing::warn!(%error, "what this rotation may have left behind is looked for by the daily check");
            Ok(Listed::NoAnswer)
        }
        other => other,
    }
}

async fn remove(app: &App, state: &mut State, key_id: String) {
    let removed = async {
        let mut passwords = Passwords::open(app, &state.credentials(), state.proofs.deadline).await?;
        Ok::<_, RotationError>(passwords.remove(&key_id).await?)
    };
    match removed.await {
        Ok(()) => tracing::info!(credential.key_id = key_id, "removed a credential that nobody lives by"),
        Err(error) => tracing::warn!(credential.key_id = key_id, %error, "a credential of no use stays another day"),
    }
    state.settled.insert(key_id);
}

/// Between Graph's answer and the put lies nothing: whoever dies there leaves an orphan, which bears our stamp.
async fn add(
    app: &App,
    event: &Event,
    state: &mut State,
    name: &str,
    expires_at: Timestamp,
) -> Result<(), RotationError> {
    let mut passwords = Passwords::open(app, &state.credentials(), state.proofs.deadline).await?;
    let made = passwords.add(name, expires_at).await?;
    // What is listed from here on is what `sweep` looks for, so it has to be asked for anew.
    let adopted = match std::mem::replace(&mut state.listed, Listed::NotAsked) {
        Listed::Read(listed) => state.holding.adopted(&listed),
        Listed::NotAsked | Listed::NoAnswer => state.holding.current.retired_key_ids.clone(),
    };
    let new = NewSecret { value: &made.value, key_id: &made.key_id, expires_at: made.end.unwrap_or(expires_at) };
    let value = state.holding.current.with_secret(&new, &adopted);
    let token = event.rotation_token.as_ref().map(|token| token.expose().as_str());
    match app.ports.vault.put(&event.secret_id, &event.version, &value, &[Stage::Pending], token).await {
        Ok(()) => {
            let unusable = |cause| RotationError::Unusable { label: Stage::Pending.label(), cause };
            state.holding.pending = Some(Entry::parse(&value).map_err(unusable)?);
            Ok(())
        }
        Err(VaultError::VersionExists(version)) => {
            tracing::info!(
                vault.name = event.secret_id,
                vault.version = version,
                "another run of this step was faster"
            );
            take_back(&mut passwords, &made).await;
            state.holding.pending = read::pending(app, &event.secret_id, &event.version, true).await?;
            match state.holding.pending {
                Some(_) => Ok(()),
                None => Err(VaultError::VersionExists(version).into()),
            }
        }
        // After any other failure the vault may have it all the same. Only a later look tells, so it is left to the
        // sweep of the next run, which knows what was stored.
        Err(error @ VaultError::Unavailable(_)) => Err(error.into()),
        Err(error) => {
            take_back(&mut passwords, &made).await;
            Err(error.into())
        }
    }
}

/// Removes what was made and will never be used. A failure is made good by the sweeps that follow.
async fn take_back(passwords: &mut Passwords<'_>, made: &NewPassword) {
    if let Err(error) = passwords.remove(&made.key_id).await {
        tracing::warn!(credential.key_id = made.key_id, %error, "a credential of no use stays for now");
    }
}

/// True when this run did it. Where somebody else has, the labels say so once they are read again.
async fn promote(app: &App, event: &Event, state: &mut State, from: &str) -> Result<bool, RotationError> {
    let vault = &app.ports.vault;
    match vault.promote(&event.secret_id, &event.version, from).await {
        Ok(()) => {
            tracing::info!(vault.name = event.secret_id, vault.version = event.version, "a new secret is current");
            return Ok(true);
        }
        Err(error @ VaultError::InvalidRequest(_)) => {
            state.holding.description = vault.describe(&event.secret_id).await?;
            if state.holding.description.version(Stage::Current) != Some(event.version.as_str()) {
                return Err(error.into());
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(false)
}
