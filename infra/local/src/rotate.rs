//! `muster rotate`, and the rotations that the daily check finds due: what Secrets Manager does on AWS.

use std::time::Duration;

use credential_rotation::{Answer, Error, handle};
use embedded::Machine;
use serde_json::json;
use shared::{
    config::Config,
    credential::{
        name::{EntryKind, EntryName},
        rotation::{Act, Disposition, Pace, Reason, RotationError, rotatable},
    },
    ports::vault::VaultError,
};

use crate::{Failure, vault::version_id};

/// Nobody cuts us off here, so a step takes what its own patience gives it.
pub const UNHURRIED: Duration = Duration::from_secs(3600);
const STEPS: [Act; 4] = [Act::CreateSecret, Act::SetSecret, Act::TestSecret, Act::FinishSecret];

/// Refuses a name that is no application's, before anything is opened.
///
/// # Errors
/// [`Failure::Usage`]
pub fn check(config: &Config, short: &str) -> Result<(), Failure> {
    let full = format!("{}/{short}", config.secrets_prefix);
    match EntryName::parse(&full, &config.secrets_prefix).filter(|name| name.kind != EntryKind::Signing) {
        Some(_) => Ok(()),
        None => Err(Failure::Usage(format!(
            "`{}` is no name of an application's credential; use app, apps/NAME, console, or tenants/TENANT_ID",
            short.escape_default()
        ))),
    }
}

/// Rotates one entry now, and tells the person at the keyboard how far it has got.
///
/// # Errors
/// [`Failure`] with the next step. The old secret works on, and another run resumes.
pub async fn run(machine: &Machine, short: &str) -> Result<(), Failure> {
    let config = &machine.app.config;
    check(config, short)?;
    let full = format!("{}/{short}", config.secrets_prefix);
    let pace = Pace::new(UNHURRIED, |earned, needed| {
        eprintln!("waiting for the new credential to be known everywhere: {earned} of {needed} tokens");
    });
    rotate(machine, &full, &pace).await.map_err(|error| Failure::failed(format!("{full} is not rotated: {error}")))?;
    eprintln!("{full} is rotated; the credential before it works on until the next rotation.");
    Ok(())
}

/// Once a day: checks every credential, and rotates what is due. What fails is logged and tried again the next day.
pub async fn daily(machine: &Machine) {
    let app = &machine.app;
    let pace = Pace::new(UNHURRIED, |_, _| {});
    let event = json!({"check": "credentials", "scheduled_time": app.clock.now()});
    let due = match handle(app, event, &pace).await {
        Ok(Answer::Checked(report)) => report.due,
        Ok(Answer::Step { .. }) => Vec::new(),
        Err(error) => {
            tracing::error!(%error, "the credentials were not checked today");
            Vec::new()
        }
    };
    for full in due {
        match rotate(machine, &full, &pace).await {
            Ok(()) => tracing::info!(vault.name = full, "rotated"),
            Err(error) => tracing::error!(vault.name = full, %error, "not rotated; the credential before it works on"),
        }
    }
}

/// The four steps, from an open rotation on if there is one.
///
/// # Errors
/// The error of the step that failed. Whatever happens, the current credential works.
pub async fn rotate(machine: &Machine, full: &str, pace: &Pace) -> Result<(), Error> {
    let version = begin(machine, full).await?;
    match steps(machine, full, &version, pace).await {
        Err(error) if error.disposition() == Disposition::StartAnew => {
            tracing::warn!(vault.name = full, %error, "this rotation can never succeed, another one begins");
            cancel(machine, full, &version).await?;
            let version = begin(machine, full).await?;
            steps(machine, full, &version, pace).await
        }
        other => other,
    }
}

/// The version to rotate to: that of a rotation which is open already, or a new one.
async fn begin(machine: &Machine, full: &str) -> Result<String, Error> {
    let app = &machine.app;
    let vault = &app.ports.vault;
    let explain = |cause: RotationError| {
        let short = full.strip_prefix(&app.config.secrets_prefix).unwrap_or(full).trim_start_matches('/');
        Error::Rotation { next_step: cause.next_step(short, full), cause }
    };
    if let Err(cause) = rotatable(app, full).await {
        // What was open when the entry became federated leads nowhere.
        if let RotationError::Stopped(Reason::NothingHeld) = cause
            && let Some(open) = vault.describe(full).await?.open_rotation()
        {
            cancel(machine, full, open).await?;
        }
        return Err(explain(cause));
    }
    if let Some(open) = vault.describe(full).await?.open_rotation() {
        return Ok(open.to_owned());
    }
    let version = version_id().map_err(|cause| VaultError::InvalidRequest(cause.to_string()))?;
    match machine.rotations.begin(full, &version).await {
        Ok(()) => Ok(version),
        // Somebody else was faster. The same rotation may be driven by two.
        Err(refused @ VaultError::InvalidRequest(_)) => {
            vault.describe(full).await?.open_rotation().map(str::to_owned).ok_or(Error::Vault(refused))
        }
        Err(error) => Err(error.into()),
    }
}

/// Closes the rotation to this version. That somebody else was faster is no failure.
async fn cancel(machine: &Machine, full: &str, version: &str) -> Result<(), VaultError> {
    match machine.rotations.cancel(full, version).await {
        Err(VaultError::InvalidRequest(_)) => Ok(()),
        other => other,
    }
}

async fn steps(machine: &Machine, full: &str, version: &str, pace: &Pace) -> Result<(), Error> {
    for step in STEPS {
        let event = json!({"Step": step, "SecretId": full, "ClientRequestToken": version});
        let result = handle(&machine.app, event, pace).await;
        if let Err(error) = result {
            // Where a person has to act first and nothing is stored, nothing is left open either.
            let nothing_stored = step == Act::CreateSecret && error.disposition() == Disposition::NeedsOperator;
            if nothing_stored && let Err(cause) = cancel(machine, full, version).await {
                tracing::warn!(vault.name = full, %cause, "the rotation stays open");
            }
            return Err(error);
        }
    }
    Ok(())
}
