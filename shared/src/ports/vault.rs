//! The vault: versioned secrets with staging labels, under AWS Secrets Manager's rules at their strictest.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::Unavailable;
use crate::secret::Secret;

/// How long a removed secret can be restored: the longest that Secrets Manager offers.
pub const RECOVERY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A staging label. Reads always name one; nothing is read "by default".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Current,
    Pending,
    Previous,
}

impl Stage {
    pub fn label(self) -> &'static str {
        match self {
            Self::Current => "AWSCURRENT",
            Self::Pending => "AWSPENDING",
            Self::Previous => "AWSPREVIOUS",
        }
    }
}

/// One version of a secret, as read.
#[derive(Debug, Clone)]
pub struct Version {
    pub id: String,
    pub value: Secret<String>,
}

/// Each version's labels. Versions without labels are not listed.
pub type Stages = BTreeMap<String, Vec<Stage>>;

/// What is told of a secret without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// A name that no secret of any other vault has: on AWS the ARN.
    pub identity: String,
    pub stages: Stages,
    /// When each labelled version was made. One that awaited its value is as old as its rotation.
    pub created: BTreeMap<String, Timestamp>,
    pub schedule: Schedule,
}

/// Who begins a secret's rotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Nobody but a person, or the host whose vault it is.
    Nobody,
    /// The platform itself, and when it means to begin the next.
    Platform { next: Option<Timestamp> },
}

impl Description {
    /// The version that carries a label.
    pub fn version(&self, stage: Stage) -> Option<&str> {
        self.stages.iter().find(|(_, stages)| stages.contains(&stage)).map(|(version, _)| version.as_str())
    }

    /// The version whose rotation has begun and is not over. One that is or has been current was finished, wherever the
    /// platform has left its pending label.
    pub fn open_rotation(&self) -> Option<&str> {
        let was_current = |version: &str| {
            [Stage::Current, Stage::Previous].into_iter().any(|stage| self.version(stage) == Some(version))
        };
        self.version(Stage::Pending).filter(|pending| !was_current(pending))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No secret of that name, no version with that label, or (for a version that only awaits its value) no value yet.
    #[error("no such secret or version: {0}")]
    NotFound(String),
    /// The version id was used before with another value; versions are immutable.
    #[error("version {0} exists with another value")]
    VersionExists(String),
    /// The call contradicts the labels as they are: a label that is not where the caller says, or a rotation that is
    /// still open.
    #[error("invalid request: {0}")]
    InvalidRequest(String),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Contract (AWS Secrets Manager user guide and API reference). Rotations are begun and called off by the host: by the
/// service itself on AWS.
///
/// - `put` with a version id already used and the same value does nothing; with another value it is an error;
/// - labelling a version moves the label from whatever version had it; when `AWSCURRENT` moves, the version that had
///   it gets `AWSPREVIOUS`, and loses `AWSPENDING` if it still had that; a version left without labels is forgotten, and
///   nothing else is ever stored under its id;
/// - `promote` moves `AWSCURRENT` and is refused when `from` does not carry it, so repeating it fails;
/// - a removed secret is neither read, described nor listed, and nothing is put into it or labelled in it until it is
///   restored, with every version and label that it had. After [`RECOVERY`] it is gone for good.
#[async_trait]
pub trait Vault: Send + Sync + std::fmt::Debug {
    /// The version of `name` that carries `stage` and, where `version` is given, has that id.
    async fn read(&self, name: &str, stage: Stage, version: Option<&str>) -> Result<Version, VaultError>;

    /// Stores a version and gives it the labels. Creates the secret if it is new. A put that belongs to a rotation hands
    /// on the `RotationToken` of the platform's event: AWS takes nothing from an assumed role without it.
    async fn put(
        &self,
        name: &str,
        version: &str,
        value: &Secret<String>,
        stages: &[Stage],
        rotation_token: Option<&str>,
    ) -> Result<(), VaultError>;

    /// Moves `AWSCURRENT` to version `to`, off version `from`.
    async fn promote(&self, name: &str, to: &str, from: &str) -> Result<(), VaultError>;

    async fn describe(&self, name: &str) -> Result<Description, VaultError>;

    /// Names beginning with `prefix`, sorted.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, VaultError>;

    /// Schedules the secret for deletion; until when it can be restored. `None` where there is none. One that is removed
    /// already keeps its date.
    async fn remove(&self, name: &str) -> Result<Option<Timestamp>, VaultError>;

    /// Takes the removal back. False where nothing was removed that could be brought back.
    async fn restore(&self, name: &str) -> Result<bool, VaultError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_open_while_its_version_has_never_been_current() {
        use Stage::{Current, Pending, Previous};
        let open = |stages: &[(&str, &[Stage])]| {
            let stages = stages.iter().map(|(version, labels)| ((*version).to_owned(), labels.to_vec())).collect();
            let created = BTreeMap::new();
            let description = Description { identity: String::new(), stages, created, schedule: Schedule::Nobody };
            description.open_rotation().map(str::to_owned)
        };
        assert_eq!(open(&[("v1", &[Current])]), None);
        assert_eq!(open(&[("v1", &[Current]), ("v2", &[Pending])]).as_deref(), Some("v2"));
        assert_eq!(open(&[("v1", &[Previous]), ("v2", &[Current, Pending])]), None, "finished");
        assert_eq!(open(&[("v2", &[Previous, Pending]), ("v3", &[Current])]), None, "finished, and replaced since");
    }
}
