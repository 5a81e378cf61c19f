//! The identity: what the platform attests of us to somebody else, in place of a secret.

use async_trait::async_trait;

use super::Unavailable;
use crate::secret::Secret;

/// Why the platform attests nothing. But for the last, asking again changes nothing until a person has acted; it is never
/// a customer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nobody has said here by what we are known.
    #[error("nothing here issues tokens: {0}")]
    NotConfigured(&'static str),
    /// The account has not switched on what issues the tokens (AWS.md 3, Secretless).
    #[error(
        "outbound identity federation is disabled in this AWS account; an administrator of the account enables it once, \
         by `aws iam enable-outbound-web-identity-federation`"
    )]
    FederationDisabled,
    /// We are not let into the role whose name the token would bear.
    #[error(
        "{role} cannot be assumed ({cause}); its trust policy must name whoever runs this, who must be allowed \
         sts:AssumeRole on it, as infra/aws/template.yaml has it"
    )]
    RoleNotAssumable { role: String, cause: String },
    /// The role is ours, and may not have this token.
    #[error(
        "{role} gets no token for {audience} ({cause}); its policy must allow sts:GetWebIdentityToken for that audience, \
         with RS256 and for 300 seconds, as infra/aws/template.yaml has it"
    )]
    NotAllowed { role: String, audience: String, cause: String },
    /// A token may not outlive the session that asks for it.
    #[error(
        "the session of {role} ends before its token would ({cause}); let its maximum session duration be an hour, and \
         look whether this machine's clock is right"
    )]
    SessionTooShort { role: String, cause: String },
    /// What was found is no token.
    #[error("{place} holds no token: {cause}")]
    NoToken { place: String, cause: String },
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Contract. The token is a JWT signed with RS256, the one algorithm that Entra takes from other issuers (MICROSOFT.md 2.6),
/// whose issuer publishes its keys. It is good for a few minutes still, for this audience, and names us as its subject; where
/// somebody else writes it (a file), that is theirs to see to, and Entra tells. Asking often costs little: an
/// implementation remembers what it has while it is good.
#[async_trait]
pub trait Identity: Send + Sync + std::fmt::Debug {
    /// A token for `audience`.
    async fn token(&self, audience: &str) -> Result<Secret<String>, IdentityError>;
}
