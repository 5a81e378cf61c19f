//! What Microsoft's answers mean for a tenant: its state, what the feed can do, and the one sentence for a person.

use jiff::{SignedDuration, Timestamp};

use super::{Ability, Feed, Reach, State};
use crate::{
    cloud,
    microsoft::token::{EntraError, Refusal, TokenError},
};

/// A tenant that only a person can help is asked once a day.
const SLOW_PROBE: SignedDuration = SignedDuration::from_hours(24);
/// A right on a storage account is given in minutes, and nobody approves anything with us for it.
const STORAGE_PROBE: SignedDuration = SignedDuration::from_hours(1);

/// What a pull found out about the tenant, beside its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub ability: Ability,
    /// The connection's new state; `None` leaves it.
    pub state: Option<State>,
    /// Whether that is the tenant's affair or this feed's.
    pub reach: Reach,
    pub next_step: String,
    pub asleep: Option<SignedDuration>,
    /// When the token was obtained with which Defender let us in; none where that is not known, or another service's.
    pub token_born: Option<Timestamp>,
}

impl Condition {
    pub fn ok() -> Self {
        Self {
            ability: Ability::Ok,
            state: Some(State::Active),
            reach: Reach::Feed,
            next_step: "Nothing to do.".to_owned(),
            asleep: None,
            token_born: None,
        }
    }

    /// Approved, and Entra has not spread the word yet.
    pub fn propagating() -> Self {
        Self {
            ability: Ability::RoleMissing,
            state: Some(State::Propagating),
            reach: Reach::Feed,
            next_step: "Nothing to do yet: Microsoft is still spreading the approval; asked again at every tick."
                .to_owned(),
            asleep: None,
            token_born: None,
        }
    }

    /// The hour is over in which a claim can be proven.
    pub fn not_proven_in_time() -> Self {
        Self {
            ability: Ability::RoleMissing,
            state: Some(State::NeedsConsent),
            reach: Reach::Tenant,
            next_step: "Send a new invitation: access was not proven within an hour of the approval.".to_owned(),
            asleep: Some(SLOW_PROBE),
            token_born: None,
        }
    }

    /// Somebody of the tenant signed in, and nothing says that they are an administrator.
    pub fn confirming() -> Self {
        Self {
            ability: Ability::NotConfigured,
            state: Some(State::Confirming),
            reach: Reach::Tenant,
            next_step:
                "Operator: make sure that the person who signed in may speak for this tenant, then confirm with \
                        `muster connect TENANT_ID --account NAME`."
                    .to_owned(),
            asleep: None,
            token_born: None,
        }
    }

    pub fn throttled(pause: SignedDuration) -> Self {
        Self {
            ability: Ability::Throttled,
            state: None,
            reach: Reach::Feed,
            next_step: "Nothing to do: Microsoft asked us to wait, and the pull resumes by itself.".to_owned(),
            asleep: Some(pause),
            token_born: None,
        }
    }

    pub fn failing(next_step: impl Into<String>) -> Self {
        Self {
            ability: Ability::Failing,
            state: None,
            reach: Reach::Feed,
            next_step: next_step.into(),
            asleep: None,
            token_born: None,
        }
    }

    /// Nothing is wrong, and nothing is there yet.
    pub fn not_configured(next_step: impl Into<String>) -> Self {
        Self { ability: Ability::NotConfigured, ..Self::failing(next_step) }
    }

    /// The storage account's owner has not given us a right, or has shut its firewall.
    pub fn storage_refused(next_step: impl Into<String>) -> Self {
        Self {
            ability: Ability::RoleMissing,
            state: Some(State::Blocked),
            reach: Reach::Feed,
            next_step: next_step.into(),
            asleep: Some(STORAGE_PROBE),
            token_born: None,
        }
    }

    pub fn role_missing(feed: Feed) -> Self {
        let why = match feed.roles().first() {
            Some(role) => format!("the permission {role} is not granted"),
            None => "Entra does not know it there".to_owned(),
        };
        Self {
            ability: Ability::RoleMissing,
            state: Some(State::NeedsConsent),
            reach: Reach::Feed,
            next_step: format!("Ask an administrator of the tenant to approve the application again: {why}."),
            asleep: Some(SLOW_PROBE),
            token_born: None,
        }
    }

    pub fn unlicensed(detail: &str) -> Self {
        let detail = if detail.is_empty() { String::new() } else { format!(" (Microsoft says: {detail})") };
        Self {
            ability: Ability::Unlicensed,
            state: Some(State::Unlicensed),
            reach: Reach::Feed,
            next_step: format!(
                "Ask the customer to license and onboard Microsoft Defender for Endpoint in this tenant{detail}."
            ),
            asleep: Some(SLOW_PROBE),
            token_born: None,
        }
    }

    /// A second 401, after a fresh token: the licence where the answer names it (MICROSOFT.md 3.5).
    pub fn unauthorized(detail: &str) -> Self {
        if names_a_licence(detail) || detail.contains("Account mode") {
            return Self::unlicensed(detail);
        }
        Self::failing(format!(
            "Nothing to do yet: Defender refuses our token ({detail}); if this stays, ask the customer whether Microsoft \
             Defender for Endpoint is licensed in this tenant."
        ))
    }

    /// 403 means four things; the token's roles have been checked before (MICROSOFT.md 3.5 and 6).
    pub fn from_forbidden(code: &str, message: &str, feed: Feed) -> Self {
        if message.contains("Missing application roles") {
            Self::role_missing(feed)
        } else if names_a_licence(code) || names_a_licence(message) {
            Self::unlicensed(message)
        } else {
            Self::forbidden(message, feed)
        }
    }

    pub fn no_such_api(feed: Feed) -> Self {
        Self::failing(format!(
            "Operator: Defender knows no /api/{} at this address. Check MUSTER_DEFENDER_URL and the region.",
            feed.name()
        ))
    }

    /// 400: asking again changes nothing.
    pub fn query_not_understood(message: &str) -> Self {
        Self::failing(format!("Operator: Defender does not understand our query ({message}); please report it."))
    }

    fn forbidden(detail: &str, feed: Feed) -> Self {
        Self {
            ability: Ability::Failing,
            state: Some(State::Blocked),
            reach: Reach::Feed,
            next_step: format!(
                "Ask an administrator of the tenant whether Defender's own roles (RBAC) or a policy keep our application \
                 from reading {} (Microsoft says: {detail}).",
                feed.name()
            ),
            asleep: Some(SLOW_PROBE),
            token_born: None,
        }
    }

    fn tenant_must_act(ability: Ability, state: State, next_step: &str) -> Self {
        Self {
            ability,
            state: Some(state),
            reach: Reach::Tenant,
            next_step: next_step.to_owned(),
            asleep: Some(SLOW_PROBE),
            token_born: None,
        }
    }

    fn operator_must_act(next_step: String) -> Self {
        Self {
            ability: Ability::Failing,
            state: Some(State::CredentialFault),
            reach: Reach::Tenant,
            next_step,
            asleep: None,
            token_born: None,
        }
    }

    /// What a missing token means for the tenant, or for us (MICROSOFT.md 6).
    pub fn from_token_error(error: &TokenError, feed: Feed) -> Self {
        match error {
            TokenError::Refused(error) => Self::from_refusal(error, feed),
            TokenError::NoApplication { name, cause } => Self::operator_must_act(format!(
                "Operator: the vault entry `{name}` cannot be used ({cause}). Store it again with `muster vault put`."
            )),
            TokenError::NoIdentity(cause) => Self::operator_must_act(format!(
                "Operator: our own platform issues no token to ask Entra with, the tenant did nothing wrong ({cause})."
            )),
            TokenError::WrongToken(why) => Self::operator_must_act(format!(
                "Operator: {why}. Check MUSTER_CLOUD, MUSTER_DEFENDER_AUDIENCE and MUSTER_LOGIN_URL."
            )),
            TokenError::Unreachable(cause) => Self::failing(format!(
                "Nothing to do yet: Entra could not be reached ({cause}); asked again at the next tick."
            )),
            TokenError::Platform(cause) => Self::failing(format!("Operator: {cause}.")),
        }
    }

    fn from_refusal(error: &EntraError, feed: Feed) -> Self {
        match error.refusal() {
            Refusal::Throttled => Self::throttled(error.retry_after.unwrap_or(SignedDuration::from_secs(60))),
            Refusal::Transient => Self::failing(format!(
                "Nothing to do yet: Entra is in trouble ({error}); asked again at the next tick."
            )),
            Refusal::OurCredential => Self::operator_must_act(format!(
                "Operator: our own credential was refused, the tenant did nothing wrong ({error}). {}",
                error.advice().unwrap_or_else(|| "Store a valid one with `muster vault put`.".to_owned())
            )),
            Refusal::OurRequest => Self::operator_must_act(format!(
                "Operator: Entra refuses our request ({error}). {}",
                error.advice().unwrap_or_else(|| "Check MUSTER_CLOUD and the application in the vault.".to_owned())
            )),
            Refusal::NotConsented => Self { reach: Reach::Tenant, ..Self::role_missing(feed) },
            Refusal::Disabled => Self::tenant_must_act(
                Ability::Failing,
                State::Blocked,
                "Ask an administrator of the tenant to enable our application again (Entra: Enterprise applications, \
                 Properties, Enabled for users to sign in).",
            ),
            Refusal::ConditionalAccess => Self::tenant_must_act(
                Ability::Failing,
                State::Blocked,
                "Ask an administrator of the tenant to exclude our application from the Conditional Access policy for \
                 workload identities that blocks it.",
            ),
            // The service that the token is for is not there: another feed may have another service.
            Refusal::NoDefender if feed == Feed::Telemetry => Self::storage_refused(format!(
                "Ask an administrator of the tenant whether the storage account belongs to this Entra tenant: Azure Storage \
                 is not known there ({error})."
            )),
            Refusal::NoDefender => Self::unlicensed("the tenant lacks the WindowsDefenderATP service principal"),
            Refusal::NoTenant => Self::tenant_must_act(
                Ability::Failing,
                State::Blocked,
                "Check with the customer whether this Entra tenant still exists; Microsoft does not find it.",
            ),
            Refusal::OtherCloud => Self::tenant_must_act(
                Ability::Failing,
                State::Blocked,
                &format!("Operator: {}", cloud::refused_by_entra(&error.to_string())),
            ),
            Refusal::Unknown => Self::failing(format!("Operator: Entra gave an answer we do not know ({error}).")),
        }
    }
}

fn names_a_licence(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["license", "licence", "onboard"].iter().any(|word| text.contains(word))
}
