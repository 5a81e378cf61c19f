//! Entra's token endpoint: the request, its answer, and why there may be none.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

pub use super::entra::{EntraError, Refusal};
use crate::{
    credential::{Application, Credential, certificate::Certificate},
    http::{HttpError, Request},
    ports::{Unavailable, identity::IdentityError},
    random,
    secret::Secret,
    tenant::TenantId,
};

/// What a sign-in asks for: who somebody is, and nothing else.
pub const SIGN_IN_SCOPE: &str = "openid profile";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Entra asks for short assertions, 5 to 10 minutes (MICROSOFT.md 2.5).
const ASSERTION_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// A token is renewed this long before it ends, or at half its life where it lives shorter.
const REFRESH_EARLY: SignedDuration = SignedDuration::from_mins(5);
/// The resource that tokens for Azure Storage are for, in every cloud.
pub const STORAGE: &str = "https://storage.azure.com";
/// Graph's other name, which its tokens may carry as their audience.
const GRAPH_ID: &str = "00000003-0000-0000-c000-000000000000";
/// Azure Storage's other name, likewise.
const STORAGE_ID: &str = "e406a681-f3d4-42a8-90b6-c2b029497af1";

/// A bearer token for one tenant and one resource. Lives in memory only.
#[derive(Debug)]
pub struct AccessToken {
    pub bearer: Arc<Secret<String>>,
    /// When Entra gave it to us.
    pub obtained_at: Timestamp,
    pub renew_at: Timestamp,
    /// The app roles it carries; `None` when the token cannot be read, which Entra reserves the right to.
    pub roles: Option<Vec<String>>,
}

impl AccessToken {
    /// Whether it carries any of `roles`; a token that cannot be read gets the benefit of the doubt.
    pub fn has_any(&self, roles: &[&str]) -> bool {
        self.roles.as_ref().is_none_or(|held| held.iter().any(|role| roles.contains(&role.as_str())))
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("Entra refused: {}", .0.explained())]
    Refused(EntraError),
    /// The vault has no usable entry for the application.
    #[error("vault entry {name}: {cause}")]
    NoApplication { name: String, cause: String },
    /// The credential is federated, and the platform does not say who we are.
    #[error("our own platform issues no token: {0}")]
    NoIdentity(IdentityError),
    /// Entra gave a token for somebody or something else.
    #[error("Entra's token is not the one asked for: {0}")]
    WrongToken(String),
    #[error("Entra could not be reached: {0}")]
    Unreachable(#[from] HttpError),
    #[error(transparent)]
    Platform(#[from] Unavailable),
}

impl From<IdentityError> for TokenError {
    /// The platform's trouble passes. Everything else is for an operator to mend.
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Unavailable(trouble) => Self::Platform(trouble),
            other => Self::NoIdentity(other),
        }
    }
}

impl TokenError {
    /// Whether it is the credential that got us nothing, so that another one may.
    pub fn is_of_the_credential(&self) -> bool {
        match self {
            Self::Refused(error) => error.refusal() == Refusal::OurCredential,
            Self::NoApplication { .. } | Self::NoIdentity(_) => true,
            Self::WrongToken(_) | Self::Unreachable(_) | Self::Platform(_) => false,
        }
    }
}

/// What is asked for at the token endpoint.
#[derive(Debug, Clone, Copy)]
pub enum Grant<'a> {
    /// An app-only token for a resource, named without `/.default` (MICROSOFT.md 2.1).
    ClientCredentials { resource: &'a str },
    /// An id_token for the code that a sign-in brought (MICROSOFT.md 1.4).
    Code { code: &'a Secret<String>, verifier: &'a Secret<String>, redirect_uri: &'a Url },
}

/// Where a tenant's tokens are asked for.
pub fn token_endpoint(login: &Url, tenant: TenantId) -> Url {
    let mut url = login.clone();
    url.set_path(&format!("{tenant}/oauth2/v2.0/token"));
    url
}

/// Builds a request to the token endpoint, with the application's credential. A federated one is the platform's
/// `assertion`; the others need none.
///
/// # Errors
/// A sentence for the operator when the credential cannot make one.
pub fn token_request(
    endpoint: &Url,
    application: &Application,
    grant: &Grant<'_>,
    assertion: Option<&Secret<String>>,
    now: Timestamp,
) -> Result<Request, String> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", &application.client_id);
    match grant {
        Grant::ClientCredentials { resource } => {
            form.append_pair("grant_type", "client_credentials");
            form.append_pair("scope", &format!("{resource}/.default"));
        }
        Grant::Code { code, verifier, redirect_uri } => {
            form.append_pair("grant_type", "authorization_code");
            form.append_pair("scope", SIGN_IN_SCOPE);
            form.append_pair("code", code.expose());
            form.append_pair("code_verifier", verifier.expose());
            form.append_pair("redirect_uri", redirect_uri.as_str());
        }
    }
    match &application.credential {
        Credential::ClientSecret { value } => {
            form.append_pair("client_secret", value.expose());
        }
        Credential::Certificate { certificate, private_key_pem } => {
            let assertion = certificate_assertion(endpoint, &application.client_id, certificate, private_key_pem, now)?;
            form.append_pair("client_assertion_type", JWT_BEARER);
            form.append_pair("client_assertion", assertion.expose());
        }
        Credential::Federated { .. } => {
            let assertion = assertion.ok_or_else(|| "a federated credential needs the platform's token".to_owned())?;
            form.append_pair("client_assertion_type", JWT_BEARER);
            form.append_pair("client_assertion", assertion.expose());
        }
    }
    let form = Secret::new(form.finish());
    Ok(Request::post_form(endpoint.clone(), form))
}

#[derive(Serialize)]
struct AssertionClaims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// What an application says of itself, signed with its certificate's key (MICROSOFT.md 2.5).
fn certificate_assertion(
    endpoint: &Url,
    client_id: &str,
    certificate: &Certificate,
    private_key_pem: &Secret<String>,
    now: Timestamp,
) -> Result<Secret<String>, String> {
    let now = now.as_second();
    let claims = AssertionClaims {
        aud: endpoint.as_str(),
        iss: client_id,
        sub: client_id,
        jti: random::id().map_err(|error| error.to_string())?.to_string(),
        iat: now,
        nbf: now,
        exp: now + ASSERTION_LIFETIME.as_secs(),
    };
    certificate.sign(private_key_pem, &claims)
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Secret<String>,
    /// A number from v2, a string from v1 (MICROSOFT.md 2.2).
    expires_in: Value,
}

#[derive(Deserialize)]
struct Claims {
    aud: Option<String>,
    tid: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
}

/// Reads a token from the endpoint's answer.
///
/// # Errors
/// [`TokenError::WrongToken`] when it names another tenant or another resource (MICROSOFT.md 2.4).
pub fn parse_token(body: &[u8], resource: &str, tenant: TenantId, now: Timestamp) -> Result<AccessToken, TokenError> {
    let answer: TokenAnswer = serde_json::from_slice(body)
        .map_err(|_| TokenError::WrongToken("the answer is not a token response".to_owned()))?;
    let seconds = match &answer.expires_in {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let lifetime = SignedDuration::from_secs(seconds.unwrap_or(0).clamp(0, 86_400));
    let early = REFRESH_EARLY.min(lifetime / 2);
    let claims = read_claims(answer.access_token.expose());
    if let Some(claims) = &claims {
        let theirs = claims.aud.as_deref().map(|aud| aud.trim_end_matches('/'));
        let also = match resource {
            STORAGE => Some(STORAGE_ID),
            resource if is_graph(resource) => Some(GRAPH_ID),
            _ => None,
        };
        if theirs.is_none_or(|aud| aud != resource && Some(aud) != also) {
            return Err(TokenError::WrongToken(format!(
                "its audience is {}, not {resource}",
                theirs.unwrap_or_default().escape_default()
            )));
        }
        if claims.tid.as_deref().is_none_or(|tid| tid.parse() != Ok(tenant)) {
            return Err(TokenError::WrongToken("its tenant is another one".to_owned()));
        }
    }
    Ok(AccessToken {
        bearer: Arc::new(answer.access_token),
        obtained_at: now,
        renew_at: now + (lifetime - early),
        roles: claims.map(|claims| claims.roles),
    })
}

fn is_graph(resource: &str) -> bool {
    Url::parse(resource).is_ok_and(|url| url.host_str().is_some_and(|host| host.contains("graph.microsoft.")))
}

/// The claims, unverified: diagnosis only, for a token that came straight from Entra over TLS.
fn read_claims(token: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIENCE: &str = "https://api.securitycenter.microsoft.com";

    fn tenant() -> TenantId {
        "00000000-0000-4000-8000-0000000000aa".parse().unwrap()
    }

    fn answer(claims: &Value, expires_in: &Value) -> Vec<u8> {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        serde_json::json!({"token_type": "Bearer", "expires_in": expires_in, "access_token": token}).to_string().into()
    }

    fn parse(body: &[u8]) -> Result<AccessToken, TokenError> {
        parse_token(body, AUDIENCE, tenant(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn expiry_is_read_as_number_or_string_and_renewed_early() {
        let good = serde_json::json!({"aud": AUDIENCE, "tid": tenant().to_string(), "roles": ["Alert.Read.All"]});
        for (expires_in, renew_at) in [(Value::from(3599), 3299), (Value::from("3599"), 3299), (Value::from(60), 30)] {
            let token = parse(&answer(&good, &expires_in)).unwrap();
            assert_eq!(token.renew_at.as_second(), renew_at);
            assert!(token.has_any(&["Alert.Read.All"]) && !token.has_any(&["Machine.Read.All"]));
        }
    }

    #[test]
    fn pain_22_a_token_for_another_audience_or_tenant_is_refused() {
        for claims in [
            serde_json::json!({"aud": "https://graph.microsoft.com", "tid": tenant().to_string()}),
            serde_json::json!({"aud": AUDIENCE, "tid": "00000000-0000-4000-8000-0000000000bb"}),
            serde_json::json!({"tid": tenant().to_string()}),
            serde_json::json!({"aud": AUDIENCE}),
        ] {
            assert!(matches!(parse(&answer(&claims, &Value::from(3599))), Err(TokenError::WrongToken(_))), "{claims}");
        }
        let opaque = serde_json::json!({"expires_in": 3599, "access_token": "opaque"}).to_string();
        assert!(parse(opaque.as_bytes()).unwrap().has_any(&["Alert.Read.All"]));
    }
}
