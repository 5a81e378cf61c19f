//! App-only access tokens from Entra: the request, its answer, and what each refusal means.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::entra::parse_error;
pub use super::entra::{EntraError, Refusal};
use crate::{
    clock::Clock,
    config::Config,
    credential::{Application, Credential, Malformed},
    http::{Client, HttpError, Request},
    ports::{
        Unavailable,
        vault::{Stage, Vault, VaultError},
    },
    secret::Secret,
    tenant::TenantId,
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Entra asks for short assertions, 5 to 10 minutes (MICROSOFT.md 2.5).
const ASSERTION_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// A token is renewed this long before it ends, or at half its life where it lives shorter.
const REFRESH_EARLY: SignedDuration = SignedDuration::from_mins(5);
/// How long an application read from the vault is believed. A refused credential is read afresh at once.
const APPLICATION_TTL: SignedDuration = SignedDuration::from_secs(30);

/// A bearer token for one tenant and one resource. Lives in memory only.
#[derive(Debug)]
pub struct AccessToken {
    pub bearer: Arc<Secret<String>>,
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
    #[error("Entra refused: {0}")]
    Refused(EntraError),
    /// The vault has no usable entry for the application.
    #[error("vault entry {name}: {cause}")]
    NoApplication { name: String, cause: String },
    /// Entra gave a token for somebody or something else.
    #[error("Entra's token is not the one asked for: {0}")]
    WrongToken(String),
    #[error("Entra could not be reached: {0}")]
    Unreachable(#[from] HttpError),
    #[error(transparent)]
    Platform(#[from] Unavailable),
}

/// Builds the client-credentials request of MICROSOFT.md 2.1.
///
/// # Errors
/// A sentence for the operator when the credential cannot make one.
pub fn token_request(
    login: &Url,
    audience: &str,
    tenant: TenantId,
    application: &Application,
    now: Timestamp,
) -> Result<Request, String> {
    let mut url = login.clone();
    url.set_path(&format!("{tenant}/oauth2/v2.0/token"));
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", &application.client_id);
    form.append_pair("scope", &format!("{audience}/.default"));
    form.append_pair("grant_type", "client_credentials");
    match &application.credential {
        Credential::ClientSecret { value } => {
            form.append_pair("client_secret", value.expose());
        }
        Credential::Certificate { certificate_pem, private_key_pem } => {
            let assertion = certificate_assertion(&url, &application.client_id, certificate_pem, private_key_pem, now)?;
            form.append_pair("client_assertion_type", JWT_BEARER);
            form.append_pair("client_assertion", assertion.expose());
        }
        Credential::Federated { .. } => {
            return Err("a federated credential needs AWS to issue the token; on one machine store a client secret \
                        or a certificate"
                .to_owned());
        }
    }
    let form = Secret::new(form.finish());
    Ok(Request::post_form(url, form))
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

/// PS256 with `x5t#S256`, as the current documentation asks (MICROSOFT.md 2.5).
fn certificate_assertion(
    endpoint: &Url,
    client_id: &str,
    certificate_pem: &str,
    private_key_pem: &Secret<String>,
    now: Timestamp,
) -> Result<Secret<String>, String> {
    use x509_cert::der::{DecodePem, Encode};
    let certificate = x509_cert::Certificate::from_pem(certificate_pem.as_bytes())
        .map_err(|cause| format!("`credential.certificate_pem` is no PEM certificate ({cause})"))?;
    let der = certificate.to_der().map_err(|cause| format!("the certificate cannot be encoded ({cause})"))?;
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(private_key_pem.expose().as_bytes())
        .map_err(|_| "`credential.private_key_pem` is no PEM RSA private key".to_owned())?;
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::PS256);
    header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &der)));
    let mut jti = [0; 16];
    aws_lc_rs::rand::fill(&mut jti).map_err(|_| "the machine has no randomness".to_owned())?;
    let now = now.as_second();
    let claims = AssertionClaims {
        aud: endpoint.as_str(),
        iss: client_id,
        sub: client_id,
        jti: uuid::Builder::from_random_bytes(jti).into_uuid().to_string(),
        iat: now,
        nbf: now,
        exp: now + ASSERTION_LIFETIME.as_secs(),
    };
    jsonwebtoken::encode(&header, &claims, &key)
        .map(Secret::new)
        .map_err(|cause| format!("the assertion cannot be signed ({cause})"))
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

/// Reads the token endpoint's answer.
///
/// # Errors
/// [`TokenError::Refused`] for every error body, [`TokenError::WrongToken`] when the token names another tenant or
/// another resource (MICROSOFT.md 2.4).
pub fn parse_token(
    status: u16,
    retry_after: Option<&str>,
    body: &[u8],
    audience: &str,
    tenant: TenantId,
    now: Timestamp,
) -> Result<AccessToken, TokenError> {
    if status != 200 {
        return Err(TokenError::Refused(parse_error(status, retry_after, body)));
    }
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
        if theirs.is_some_and(|aud| aud != audience) {
            return Err(TokenError::WrongToken(format!(
                "its audience is {}, not {audience}",
                theirs.unwrap_or_default().escape_default()
            )));
        }
        if claims.tid.as_deref().is_some_and(|tid| tid.parse() != Ok(tenant)) {
            return Err(TokenError::WrongToken("its tenant is another one".to_owned()));
        }
    }
    Ok(AccessToken {
        bearer: Arc::new(answer.access_token),
        renew_at: now + (lifetime - early),
        roles: claims.map(|claims| claims.roles),
    })
}

/// The claims, unverified: diagnosis only, for a token that came straight from Entra over TLS.
fn read_claims(token: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// Which application of the vault a connection uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationName {
    /// The provider's multi-tenant application.
    App,
    /// The tenant's own, single-tenant application.
    Own,
}

impl ApplicationName {
    pub fn vault_name(&self, prefix: &str, tenant: TenantId) -> String {
        match self {
            Self::App => format!("{prefix}/app"),
            Self::Own => format!("{prefix}/tenants/{tenant}"),
        }
    }
}

#[derive(Debug, Clone)]
struct Loaded {
    version: String,
    application: Arc<Application>,
    read_at: Timestamp,
}

/// Gets and keeps tokens. One per process; safe to share.
#[derive(Debug)]
pub struct Tokens {
    http: Client,
    vault: Arc<dyn Vault>,
    config: Arc<Config>,
    clock: Clock,
    tokens: Mutex<HashMap<(TenantId, String), Arc<AccessToken>>>,
    applications: Mutex<HashMap<String, Loaded>>,
}

impl Tokens {
    pub fn new(http: Client, vault: Arc<dyn Vault>, config: Arc<Config>, clock: Clock) -> Self {
        Self { http, vault, config, clock, tokens: Mutex::default(), applications: Mutex::default() }
    }

    /// A token for Defender in `tenant`, from memory while it is good. `fresh` asks Entra in any case.
    ///
    /// A refused credential is read afresh from the vault once, then the previous one is tried once: a rotation is
    /// never a reason to miss a poll.
    ///
    /// # Errors
    /// [`TokenError`], whose refusal says who must act.
    pub async fn defender(
        &self,
        tenant: TenantId,
        application: &ApplicationName,
        fresh: bool,
    ) -> Result<Arc<AccessToken>, TokenError> {
        let name = application.vault_name(&self.config.secrets_prefix, tenant);
        let key = (tenant, name.clone());
        if !fresh
            && let Some(token) = lock(&self.tokens).get(&key)
            && self.clock.now() < token.renew_at
        {
            return Ok(token.clone());
        }
        let token = Arc::new(self.acquire(tenant, &name).await?);
        lock(&self.tokens).insert(key, token.clone());
        Ok(token)
    }

    async fn acquire(&self, tenant: TenantId, name: &str) -> Result<AccessToken, TokenError> {
        let cached = lock(&self.applications)
            .get(name)
            .filter(|loaded| self.clock.now().duration_since(loaded.read_at) < APPLICATION_TTL)
            .cloned();
        let was_cached = cached.is_some();
        let current = match cached {
            Some(loaded) => loaded,
            None => self.load(name, Stage::Current).await?,
        };
        let refused = match self.ask(tenant, &current.application).await {
            Err(TokenError::Refused(refused)) if refused.refusal() == Refusal::OurCredential => refused,
            other => return other,
        };
        let mut tried = vec![current.version];
        if was_cached {
            let afresh = self.load(name, Stage::Current).await?;
            if !tried.contains(&afresh.version) {
                match self.ask(tenant, &afresh.application).await {
                    Err(TokenError::Refused(error)) if error.refusal() == Refusal::OurCredential => {}
                    other => return other,
                }
                tried.push(afresh.version);
            }
        }
        if let Ok(previous) = self.load(name, Stage::Previous).await
            && !tried.contains(&previous.version)
            && let Ok(token) = self.ask(tenant, &previous.application).await
        {
            tracing::warn!(vault.name = name, "the current credential was refused, the previous one still works");
            return Ok(token);
        }
        Err(TokenError::Refused(refused))
    }

    async fn load(&self, name: &str, stage: Stage) -> Result<Loaded, TokenError> {
        let no_application = |cause: String| TokenError::NoApplication { name: name.to_owned(), cause };
        let version = self.vault.read(name, stage, None).await.map_err(|error| match error {
            VaultError::Unavailable(error) => TokenError::Platform(error),
            VaultError::NotFound(_) => no_application("it does not exist".to_owned()),
            other => no_application(other.to_string()),
        })?;
        let application =
            Application::parse(&version.value).map_err(|error: Malformed| no_application(error.to_string()))?;
        let loaded = Loaded { version: version.id, application: Arc::new(application), read_at: self.clock.now() };
        if stage == Stage::Current {
            lock(&self.applications).insert(name.to_owned(), loaded.clone());
        }
        Ok(loaded)
    }

    async fn ask(&self, tenant: TenantId, application: &Application) -> Result<AccessToken, TokenError> {
        let request =
            token_request(&self.config.login(), self.config.audience(), tenant, application, self.clock.now())
                .map_err(|cause| TokenError::NoApplication { name: application.client_id.clone(), cause })?;
        let answer = self.http.send(request).await?;
        let (status, retry_after) = (answer.status, answer.header("retry-after").map(str::to_owned));
        let body = answer.body.small(&self.clock).await?;
        parse_token(status, retry_after.as_deref(), &body, self.config.audience(), tenant, self.clock.now())
    }
}

/// A poisoned cache is still a cache: every entry was written whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        parse_token(200, None, body, AUDIENCE, tenant(), Timestamp::UNIX_EPOCH)
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
        ] {
            assert!(matches!(parse(&answer(&claims, &Value::from(3599))), Err(TokenError::WrongToken(_))), "{claims}");
        }
        let opaque = serde_json::json!({"expires_in": 3599, "access_token": "opaque"}).to_string();
        assert!(parse(opaque.as_bytes()).unwrap().has_any(&["Alert.Read.All"]));
    }
}
