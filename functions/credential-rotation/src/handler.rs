//! `credential-rotation`: new secrets and certificates before the old ones end, and what a person should know about each.
//!
//! - **Trigger**: Secrets Manager, four steps for each rotation; EventBridge Scheduler, a check every day.
//! - **Reads**: the vault's entries; Entra's token endpoint; the applications' passwords and keys at Graph; for the check,
//!   the connections until one is found that approved our application, whose tenant tells which roles it has; what was told
//!   of each credential before; each tenant's renewal link, and the connection of one whose saving has broken off.
//! - **Writes**: versions and labels of the vault; passwords and keys at Graph, those of our own stamp and those once stored
//!   here; from the check, what is known of every credential, and in the trail what is news of it and of a renewal that it
//!   completes. On AWS an event for each finding, and rotations of what is due and has no schedule.
//! - **Idempotency**: a version takes one credential for good; whatever else bears its stamp is an orphan and is removed. A
//!   federated entry is carried over as it is. A renewal is told of together with the mark that it is done.
//! - **On failure**: the old credential stays current and works; Secrets Manager repeats the rotation from its first step. An
//!   entry that cannot be checked is a finding; a check that cannot begin is tried twice more. Events that are not taken,
//!   and rotations that do not begin, are measured, and tried again by tomorrow's check.

use serde::Serialize;
use serde_json::Value;
use shared::{
    App,
    credential::{
        check::{self, CheckEvent, Report},
        name::EntryName,
        rotation::{self, Act, Disposition, Event, Outcome, Pace, RotationError},
    },
    metrics::{Metric, Recorded},
    ports::vault::VaultError,
};

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Step { step: Act, outcome: Outcome },
    Checked(Report),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the event is neither a step of a rotation nor a check of credentials: {0}")]
    Unreadable(serde_json::Error),
    #[error("{}. {next_step}", cause.to_string().trim_end_matches('.'))]
    Rotation { cause: RotationError, next_step: String },
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Error {
    /// Whether this rotation can never succeed, and another one has to begin.
    pub fn is_hopeless(&self) -> bool {
        self.disposition() == Disposition::StartAnew
    }

    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unreadable(_) => Disposition::NeedsOperator,
            Self::Rotation { cause, .. } => cause.disposition(),
            Self::Vault(_) => Disposition::Retry,
        }
    }
}

/// What of a check's aftermath has failed: events that nobody got, and rotations that did not begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures {
    pub events: u64,
    pub rotations: u64,
}

impl From<(u64, u64)> for Failures {
    fn from((events, rotations): (u64, u64)) -> Self {
        Self { events, rotations }
    }
}

/// Handles one event: a step of a rotation, or the daily check.
///
/// # Errors
/// [`Error`]: the event is unreadable, or the step has failed; then the text ends with the next step.
pub async fn handle(app: &App, event: Value, pace: &Pace) -> Result<Answer, Error> {
    handle_and(app, event, pace, async |_| Failures::default()).await
}

/// As [`handle`]; what a platform does about a check's report is done before it is measured, and makes no check fail.
///
/// # Errors
/// As [`handle`].
pub async fn handle_and(
    app: &App,
    event: Value,
    pace: &Pace,
    aftermath: impl AsyncFnOnce(&Report) -> Failures,
) -> Result<Answer, Error> {
    let answer = answer(app, event, pace).await;
    let recorded = Recorded::default();
    match &answer {
        Ok(Answer::Checked(report)) => {
            let failures = aftermath(report).await;
            recorded.add(Metric::CredentialFindings, report.pressing());
            report
                .days_left(app.clock.now())
                .into_iter()
                .for_each(|days| recorded.add(Metric::CredentialDaysLeft, days));
            // A check that has nothing to begin says nothing of rotations, and on one machine there is no bus.
            for (metric, failed) in
                [(Metric::EventsFailed, failures.events), (Metric::RotationsFailed, failures.rotations)]
            {
                (failed > 0).then(|| recorded.add(metric, failed));
            }
        }
        Ok(Answer::Step { .. }) => recorded.add(Metric::RotationsFailed, 0),
        Err(Error::Rotation { .. }) => recorded.add(Metric::RotationsFailed, 1),
        Err(Error::Unreadable(_) | Error::Vault(_)) => {}
    }
    app.metrics.write(&recorded, app.clock.now());
    answer
}

async fn answer(app: &App, event: Value, pace: &Pace) -> Result<Answer, Error> {
    if event.get("check").is_some() {
        let event: CheckEvent = serde_json::from_value(event).map_err(Error::Unreadable)?;
        return Ok(Answer::Checked(check::check(app, &event, pace.left).await?));
    }
    let event: Event = serde_json::from_value(event).map_err(Error::Unreadable)?;
    let outcome = rotation::rotate(app, &event, pace).await.map_err(|cause| {
        let prefix = &app.config.secrets_prefix;
        let name = EntryName::parse(&event.secret_id, prefix);
        let (id, name) = (event.secret_id.as_str(), name.as_ref());
        let (short, full) = name.map_or((id, id), |name| (name.short(prefix), name.full.as_str()));
        let next_step = cause.next_step(short, full);
        Error::Rotation { cause, next_step }
    })?;
    Ok(Answer::Step { step: event.step, outcome })
}
