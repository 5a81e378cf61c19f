//! The identity by STS: a role assumed for this alone, and the token that AWS signs for it.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sts::{
    Client,
    config::{Builder, Credentials, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
};
use jiff::{SignedDuration, Timestamp};
use shared::{
    clock::Clock,
    ports::{
        Unavailable,
        identity::{Identity, IdentityError},
    },
    secret::Secret,
};
use tokio::sync::Mutex;

use crate::error::unavailable;

const PORT: &str = "identity";
/// As the session is called in CloudTrail.
const SESSION: &str = "muster";
/// Of the role's session: the longest that a role may give to another role.
const SESSION_SECONDS: i32 = 3600;
/// Of the token. Entra reads it at once; the template's role is given no longer one.
const TOKEN_SECONDS: i32 = 300;
/// A token that has less left than this is not handed out: it may travel, and wait, and meet a clock that is fast.
const TOKEN_EARLY: SignedDuration = SignedDuration::from_secs(150);
/// No token may outlive the session that asks for it, so the session is renewed well before that could happen.
const SESSION_EARLY: SignedDuration = SignedDuration::from_mins(10);

/// A token for Entra by the role of this stage. It asks the region's own STS, since the global one issues no such tokens.
#[derive(Debug)]
pub struct StsIdentity {
    sdk: SdkConfig,
    role: Option<String>,
    clock: Clock,
    /// Held while STS is asked, so that many who need a token at once ask for one.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    session: Option<Session>,
    tokens: HashMap<String, Token>,
}

#[derive(Debug)]
struct Session {
    client: Client,
    /// By our clock, as is that of a token: from when we asked, for as long as we asked for. What STS says is by its own.
    ends_at: Timestamp,
}

#[derive(Debug)]
struct Token {
    value: Secret<String>,
    ends_at: Timestamp,
}

impl StsIdentity {
    /// `role` is the ARN of the role that stands for us, where there is one.
    pub fn new(sdk: &SdkConfig, role: Option<String>, clock: Clock) -> Self {
        Self { sdk: sdk.clone(), role, clock, known: Mutex::default() }
    }

    async fn assume(&self, role: &str, now: Timestamp) -> Result<Session, IdentityError> {
        let assume = Client::new(&self.sdk).assume_role().role_arn(role).role_session_name(SESSION);
        let assumed = assume.duration_seconds(SESSION_SECONDS).send().await;
        let credentials = assumed.map_err(|error| not_assumed(role, &error))?.credentials;
        let credentials = credentials.ok_or_else(|| incomplete("AssumeRole"))?;
        let credentials = Credentials::new(
            credentials.access_key_id,
            credentials.secret_access_key,
            Some(credentials.session_token),
            None,
            "entra-identity",
        );
        let client = Client::from_conf(Builder::from(&self.sdk).credentials_provider(credentials).build());
        Ok(Session { client, ends_at: now + SignedDuration::from_secs(SESSION_SECONDS.into()) })
    }
}

#[async_trait]
impl Identity for StsIdentity {
    async fn token(&self, audience: &str) -> Result<Secret<String>, IdentityError> {
        let role = self.role.as_deref().ok_or(IdentityError::NotConfigured(
            "MUSTER_IDENTITY_ROLE_ARN names no role that stands for us at Entra; the stack's output EntraIdentity is it",
        ))?;
        let mut known = self.known.lock().await;
        let now = self.clock.now();
        if let Some(token) = known.tokens.get(audience).filter(|token| has_left(token.ends_at, now, TOKEN_EARLY)) {
            return Ok(token.value.clone());
        }
        let client = match known.session.as_ref().filter(|session| has_left(session.ends_at, now, SESSION_EARLY)) {
            Some(session) => session.client.clone(),
            None => known.session.insert(self.assume(role, now).await?).client.clone(),
        };
        let asked = client.get_web_identity_token().audience(audience).signing_algorithm("RS256");
        let given = match asked.duration_seconds(TOKEN_SECONDS).send().await {
            Ok(given) => given,
            Err(error) => {
                // What the session may not do, another may: the role's policy may have been mended since.
                known.session = None;
                return Err(not_given(role, audience, &error));
            }
        };
        let ends_at = now + SignedDuration::from_secs(TOKEN_SECONDS.into());
        let value = Secret::new(given.web_identity_token.ok_or_else(|| incomplete("GetWebIdentityToken"))?);
        known.tokens.insert(audience.to_owned(), Token { value: value.clone(), ends_at });
        Ok(value)
    }
}

fn has_left(ends_at: Timestamp, now: Timestamp, at_least: SignedDuration) -> bool {
    ends_at.duration_since(now) >= at_least
}

fn incomplete(call: &str) -> IdentityError {
    Unavailable::new(PORT, format!("{call}: the answer is incomplete")).into()
}

fn not_assumed<E>(role: &str, error: &SdkError<E, HttpResponse>) -> IdentityError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (code, cause) = told(error);
    match code {
        Some("AccessDenied" | "AccessDeniedException") => {
            IdentityError::RoleNotAssumable { role: role.to_owned(), cause }
        }
        // The role's own maximum is shorter than what we ask for.
        Some("ValidationError") if cause.contains("DurationSeconds") => {
            IdentityError::SessionTooShort { role: role.to_owned(), cause }
        }
        _ => unavailable(PORT, "AssumeRole", error).into(),
    }
}

fn not_given<E>(role: &str, audience: &str, error: &SdkError<E, HttpResponse>) -> IdentityError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (code, cause) = told(error);
    let role = role.to_owned();
    let of_code = |names: &[&str]| code.is_some_and(|code| names.iter().any(|name| code.starts_with(name)));
    if of_code(&["OutboundWebIdentityFederationDisabled"]) {
        IdentityError::FederationDisabled
    } else if of_code(&["SessionDurationEscalation"]) {
        IdentityError::SessionTooShort { role, cause }
    } else if of_code(&["AccessDenied", "ValidationError", "JWTPayloadSizeExceeded"]) {
        IdentityError::NotAllowed { role, audience: audience.to_owned(), cause }
    } else {
        unavailable(PORT, "GetWebIdentityToken", error).into()
    }
}

/// The service's own code and words; neither holds what we sent.
fn told<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> (Option<&str>, String) {
    let service = error.as_service_error();
    let message = service.and_then(ProvideErrorMetadata::message).unwrap_or("no message");
    (service.and_then(ProvideErrorMetadata::code), message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_handed_out_while_enough_of_it_is_left() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (seconds, expected) in [(300, true), (150, true), (149, false), (0, false), (-60, false)] {
            let ends_at = now + SignedDuration::from_secs(seconds);
            assert_eq!(has_left(ends_at, now, TOKEN_EARLY), expected, "{seconds} s");
        }
    }

    #[test]
    fn no_token_outlives_the_session_it_is_asked_with() {
        assert!(SESSION_EARLY.as_secs() > i64::from(TOKEN_SECONDS));
    }
}
