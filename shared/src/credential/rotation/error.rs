//! Why a step of a rotation failed, who goes on from there, and what a person does next.

use super::PROOFS;
use crate::{
    credential::Malformed,
    microsoft::{
        entra::Refusal,
        graph::{GraphError, OWN_CREDENTIALS_ROLE},
        token::TokenError,
    },
    ports::vault::{Stage, VaultError},
};

/// Why there is nothing to do but to stop. What a person reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("version {0} is no version of this secret under rotation; nothing was changed")]
    NotPending(String),
    #[error("a federated credential is no secret that could grow old, so there is nothing to rotate")]
    NothingHeld,
    #[error("another credential was stored since this rotation began; it stays current")]
    Overtaken,
    #[error("the version under rotation holds nothing yet; createSecret comes first")]
    NothingCreated,
    #[error(
        "this run was held up for so long that what it read of the vault may not be so any more; nothing was changed"
    )]
    Stalled,
    #[error("the vault did not take the new credential ({0}); nothing was changed")]
    NotStored(String),
    #[error("another run has stored a credential under this version, and the vault does not show it yet")]
    Unseen,
    #[error("Graph takes the proof of none of our certificates ({0}), so the new one is not registered yet")]
    ProofRefused(String),
    #[error("the vault did not make the new credential current ({0}); the old one stays current")]
    NotPromoted(String),
    #[error(
        "the version under rotation holds a credential of another application or another home tenant than the current one; \
         it is not used"
    )]
    OtherPrincipal,
    #[error("Entra takes none of the stored credentials ({0}), so nothing can be rotated with them")]
    Refused(String),
    #[error(
        "the new credential earned {earned} of {PROOFS} tokens in the time there was ({last}); the old one stays current"
    )]
    NotProven { earned: u32, last: String },
    #[error(
        "{PROOFS} tokens at MUSTER_CANARY_SPACING_SECONDS take longer than this run may; lower it or give the function \
         more time"
    )]
    TooLittleTime,
    #[error(
        "Graph's replicas did not agree on the application's certificates in the time there was; nothing was changed"
    )]
    Unsettled,
    #[error("Entra has not got the new credential any more ({0}); the old one stays current")]
    Dead(String),
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    #[error("`{0}` is none of this vault's applications")]
    NotOurs(String),
    #[error("the signing key is no application's credential; there is nothing to rotate at Entra")]
    Signing,
    #[error("{label}: {cause}")]
    Unusable { label: &'static str, cause: Malformed },
    /// No key and no certificate could be made here.
    #[error("{0}")]
    NoCertificate(String),
    #[error(transparent)]
    Stopped(#[from] Reason),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// What the caller does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The same rotation, again and from its first step.
    Retry,
    /// A person, first.
    NeedsOperator,
    /// Not with this version, ever: cancel the rotation and begin another.
    StartAnew,
}

impl RotationError {
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Stopped(Reason::OtherPrincipal | Reason::Overtaken | Reason::Dead(_)) => Disposition::StartAnew,
            Self::Stopped(
                Reason::NotProven { .. }
                | Reason::NothingCreated
                | Reason::Stalled
                | Reason::Unseen
                | Reason::Unsettled
                | Reason::ProofRefused(_),
            )
            | Self::NoCertificate(_) => Disposition::Retry,
            Self::Graph(GraphError::Denied(_) | GraphError::Policy(_)) => Disposition::NeedsOperator,
            Self::Graph(_) => Disposition::Retry,
            Self::Token(TokenError::Refused(refused)) => match refused.refusal() {
                Refusal::Throttled | Refusal::Transient | Refusal::Unknown => Disposition::Retry,
                _ => Disposition::NeedsOperator,
            },
            Self::Token(TokenError::Unreachable(_) | TokenError::Platform(_)) => Disposition::Retry,
            Self::Vault(VaultError::Unavailable(_) | VaultError::VersionExists(_)) => Disposition::Retry,
            Self::Unusable { label, .. } if *label == Stage::Pending.label() => Disposition::StartAnew,
            _ => Disposition::NeedsOperator,
        }
    }

    /// What a person does next. `name` is the entry's as it is typed, and `full` as the vault has it.
    pub fn next_step(&self, name: &str, full: &str) -> String {
        match self {
            Self::Graph(GraphError::Denied(_)) => format!(
                "Let the application of {name} change its own credentials: in its home tenant assign its service principal \
                 the role {OWN_CREDENTIALS_ROLE} of Microsoft Graph, and make that service principal an owner of the \
                 application. Until then make a new credential by hand and store it with `muster vault put {name}`."
            ),
            Self::Graph(GraphError::Policy(_)) => {
                "Exempt the application from that policy, or use a certificate.".to_owned()
            }
            Self::Stopped(Reason::NotPending(_)) => {
                "It is over, or was ended: there is nothing to do for it, and another one may begin.".to_owned()
            }
            Self::Stopped(Reason::NothingHeld) => "Whether it works is what `muster doctor` tells.".to_owned(),
            Self::Signing => "Nothing is broken; only credentials of applications are rotated.".to_owned(),
            Self::Stopped(Reason::Refused(_))
            | Self::Unusable { .. }
            | Self::Token(TokenError::NoApplication { .. }) => {
                format!("Make a new credential in Entra by hand and store it with `muster vault put {name}`.")
            }
            Self::Token(TokenError::Refused(refused)) if refused.refusal() == Refusal::OurCredential => {
                format!("Make a new credential in Entra by hand and store it with `muster vault put {name}`.")
            }
            Self::Vault(VaultError::NotFound(_)) => format!("Store the application with `muster vault put {name}`."),
            _ => match self.disposition() {
                Disposition::Retry => "Try again in a few minutes: the rotation goes on where it stands.".to_owned(),
                Disposition::StartAnew => {
                    format!(
                        "`muster rotate {name}` begins another; on AWS this one is ended by itself, and \
                         `aws secretsmanager rotate-secret --secret-id {full}` begins another."
                    )
                }
                Disposition::NeedsOperator => format!("Look at the application of {name} in Entra, then try again."),
            },
        }
    }
}

/// The command that ends a rotation on AWS. Cancelling it there would switch its schedule off as well.
pub(in crate::credential) fn end_on_aws(full: &str) -> String {
    format!(
        "`aws secretsmanager update-secret-version-stage --secret-id {full} --version-stage AWSPENDING \
         --remove-from-version-id VERSION`, whose VERSION `aws secretsmanager describe-secret` shows"
    )
}
