//! The tokens and applications that a process keeps in memory, and which credential is tried when one is refused.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    entra::{EntraError, parse_error},
    time::{self, ClockSkew},
    token::{AccessToken, Grant, STORAGE, TokenError, parse_token, token_endpoint, token_request},
};
use crate::{
    clock::Clock,
    config::Config,
    credential::{Application, Credential, Malformed},
    http::Client,
    ports::{
        identity::Identity,
        vault::{Stage, Vault, VaultError},
    },
    secret::Secret,
    tenant::TenantId,
};

/// How long an application read from the vault is believed. A refused credential is read afresh at once.
const APPLICATION_TTL: SignedDuration = SignedDuration::from_secs(30);

/// Which application of the vault a connection uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    identity: Arc<dyn Identity>,
    config: Arc<Config>,
    clock: Clock,
    /// By tenant, vault entry and resource.
    tokens: Mutex<HashMap<(TenantId, String, String), Arc<AccessToken>>>,
    applications: Mutex<HashMap<String, Loaded>>,
}

impl Tokens {
    pub fn new(
        http: Client,
        vault: Arc<dyn Vault>,
        identity: Arc<dyn Identity>,
        config: Arc<Config>,
        clock: Clock,
    ) -> Self {
        Self { http, vault, identity, config, clock, tokens: Mutex::default(), applications: Mutex::default() }
    }

    /// A token for Defender in `tenant`, from memory while it is good. `fresh` asks Entra in any case.
    ///
    /// # Errors
    /// [`TokenError`], whose refusal says who must act.
    pub async fn defender(
        &self,
        tenant: TenantId,
        application: &ApplicationName,
        fresh: bool,
    ) -> Result<Arc<AccessToken>, TokenError> {
        self.resource(self.config.audience(), tenant, application, fresh).await
    }

    /// As [`Tokens::defender`], for the storage accounts of `tenant`. The same resource in every cloud (MICROSOFT.md 4.6).
    ///
    /// # Errors
    /// [`TokenError`], whose refusal says who must act.
    pub async fn storage(
        &self,
        tenant: TenantId,
        application: &ApplicationName,
        fresh: bool,
    ) -> Result<Arc<AccessToken>, TokenError> {
        self.resource(STORAGE, tenant, application, fresh).await
    }

    async fn resource(
        &self,
        resource: &str,
        tenant: TenantId,
        application: &ApplicationName,
        fresh: bool,
    ) -> Result<Arc<AccessToken>, TokenError> {
        let name = application.vault_name(&self.config.secrets_prefix, tenant);
        let key = (tenant, name.clone(), resource.to_owned());
        if !fresh
            && let Some(token) = lock(&self.tokens).get(&key)
            && self.clock.now() < token.renew_at
        {
            return Ok(token.clone());
        }
        let endpoint = token_endpoint(&self.config.login(), tenant);
        let body = self.exchange(&name, &endpoint, &Grant::ClientCredentials { resource }).await?;
        let token = Arc::new(parse_token(&body, resource, tenant, self.clock.now())?);
        lock(&self.tokens).insert(key, token.clone());
        Ok(token)
    }

    /// A token by exactly this credential: nothing remembered, nothing else tried.
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn by_credential(
        &self,
        tenant: TenantId,
        application: &Application,
        resource: &str,
    ) -> Result<AccessToken, TokenError> {
        let endpoint = token_endpoint(&self.config.login(), tenant);
        let body = self.ask(&endpoint, application, &Grant::ClientCredentials { resource }).await?;
        parse_token(&body, resource, tenant, self.clock.now())
    }

    /// The application that the vault's `name` holds now; the one before it, where somebody has stored what cannot be used.
    ///
    /// # Errors
    /// [`TokenError::NoApplication`] or [`TokenError::Platform`].
    pub async fn application(&self, name: &str) -> Result<Arc<Application>, TokenError> {
        match self.load(name, Stage::Current).await {
            Err(unusable @ TokenError::NoApplication { .. }) => match self.load(name, Stage::Previous).await {
                Ok(previous) => {
                    stood_in(name, &unusable);
                    Ok(previous.application)
                }
                Err(_) => Err(unusable),
            },
            other => other.map(|loaded| loaded.application),
        }
    }

    /// What the token endpoint gives this application, with whichever of its credentials Entra takes: a refused one is
    /// read afresh from the vault once, then the previous one is tried once. So is one that cannot even be used, since it
    /// was stored by hand. A rotation is never a reason to fail, and a slip of the pen only where nothing else is left.
    ///
    /// # Errors
    /// [`TokenError`], whose refusal says who must act: of the current credential, whatever became of the previous one.
    pub async fn exchange(&self, name: &str, endpoint: &Url, grant: &Grant<'_>) -> Result<Vec<u8>, TokenError> {
        let mut tried = Vec::new();
        let why = match self.by_current(name, endpoint, grant, &mut tried).await {
            Err(error) if error.is_of_the_credential() => error,
            other => return other,
        };
        if let Ok(previous) = self.load(name, Stage::Previous).await
            && tried.iter().all(|tried| may_stand_in(&previous, tried))
            && let Ok(body) = self.ask_as(name, endpoint, &previous, grant).await
        {
            stood_in(name, &why);
            return Ok(body);
        }
        Err(why)
    }

    /// By the current credential, as it is remembered and, when that is refused, as it is now.
    async fn by_current(
        &self,
        name: &str,
        endpoint: &Url,
        grant: &Grant<'_>,
        tried: &mut Vec<Loaded>,
    ) -> Result<Vec<u8>, TokenError> {
        let remembered = lock(&self.applications).get(name).filter(|loaded| self.is_fresh(loaded)).cloned();
        let refused = match remembered {
            None => None,
            Some(remembered) => match self.ask_as(name, endpoint, &remembered, grant).await {
                Err(error) if error.is_of_the_credential() => {
                    tried.push(remembered);
                    Some(error)
                }
                other => return other,
            },
        };
        let current = self.load(name, Stage::Current).await?;
        match refused {
            // Nobody has stored another one meanwhile.
            Some(refused) if tried.iter().any(|tried| tried.version == current.version) => Err(refused),
            _ => {
                tried.push(current.clone());
                self.ask_as(name, endpoint, &current, grant).await
            }
        }
    }

    /// As [`Tokens::application`], where there need not be one.
    ///
    /// # Errors
    /// [`TokenError::NoApplication`] of an entry that is there and cannot be used, or [`TokenError::Platform`].
    pub async fn application_if_any(&self, name: &str) -> Result<Option<Arc<Application>>, TokenError> {
        let cached = lock(&self.applications).get(name).filter(|loaded| self.is_fresh(loaded)).cloned();
        let loaded = match cached {
            Some(loaded) => Some(loaded),
            None => self.read(name, Stage::Current).await?,
        };
        Ok(loaded.map(|loaded| loaded.application))
    }

    fn is_fresh(&self, loaded: &Loaded) -> bool {
        self.clock.now().duration_since(loaded.read_at) < APPLICATION_TTL
    }

    async fn load(&self, name: &str, stage: Stage) -> Result<Loaded, TokenError> {
        let missing = || TokenError::NoApplication { name: name.to_owned(), cause: "it does not exist".to_owned() };
        self.read(name, stage).await?.ok_or_else(missing)
    }

    async fn read(&self, name: &str, stage: Stage) -> Result<Option<Loaded>, TokenError> {
        let no_application = |cause: String| TokenError::NoApplication { name: name.to_owned(), cause };
        let version = match self.vault.read(name, stage, None).await {
            Ok(version) => version,
            Err(VaultError::Unavailable(error)) => return Err(TokenError::Platform(error)),
            Err(VaultError::NotFound(_)) => return Ok(None),
            Err(other) => return Err(no_application(other.to_string())),
        };
        let application =
            Application::parse(&version.value).map_err(|error: Malformed| no_application(error.to_string()))?;
        let loaded = Loaded { version: version.id, application: Arc::new(application), read_at: self.clock.now() };
        if stage == Stage::Current {
            lock(&self.applications).insert(name.to_owned(), loaded.clone());
        }
        Ok(Some(loaded))
    }

    /// As [`Tokens::ask`], by what an entry of the vault holds.
    async fn ask_as(
        &self,
        name: &str,
        endpoint: &Url,
        loaded: &Loaded,
        grant: &Grant<'_>,
    ) -> Result<Vec<u8>, TokenError> {
        self.ask(endpoint, &loaded.application, grant).await.map_err(|error| match error {
            TokenError::NoApplication { cause, .. } => TokenError::NoApplication { name: name.to_owned(), cause },
            other => other,
        })
    }

    async fn ask(&self, endpoint: &Url, application: &Application, grant: &Grant<'_>) -> Result<Vec<u8>, TokenError> {
        let assertion = match &application.credential {
            Credential::Federated { audience } => {
                let audience = audience.as_deref().unwrap_or_else(|| self.config.cloud.token_exchange());
                Some(self.identity.token(audience).await?)
            }
            Credential::Certificate { .. } | Credential::ClientSecret { .. } => None,
        };
        let now = self.clock.now();
        let (refused, date) = match self.send(endpoint, application, grant, assertion.as_ref(), now).await? {
            Answer::Given(body) => return Ok(body),
            Answer::Refused(error, date) => (error, date),
        };
        let skew = date.and_then(|date| ClockSkew::between(now, date)).filter(|_| refused.is_of_the_time());
        let (Some(skew), Some(date)) = (skew, date) else { return Err(TokenError::Refused(refused)) };
        // What we sign ourselves can be signed by Microsoft's time as well.
        let refused = match &application.credential {
            Credential::Certificate { .. } => match self.send(endpoint, application, grant, None, date).await? {
                Answer::Given(body) => {
                    tracing::warn!("{skew}; set it right. Until then every token takes two requests");
                    return Ok(body);
                }
                Answer::Refused(error, _) => error,
            },
            Credential::Federated { .. } | Credential::ClientSecret { .. } => refused,
        };
        Err(TokenError::Refused(EntraError { clock_skew: Some(skew), ..refused }))
    }

    async fn send(
        &self,
        endpoint: &Url,
        application: &Application,
        grant: &Grant<'_>,
        assertion: Option<&Secret<String>>,
        now: Timestamp,
    ) -> Result<Answer, TokenError> {
        let request = token_request(endpoint, application, grant, assertion, now)
            .map_err(|cause| TokenError::NoApplication { name: application.client_id.clone(), cause })?;
        let answer = self.http.send(request).await?;
        let (status, retry_after) = (answer.status, answer.header("retry-after").map(str::to_owned));
        let date = answer.header("date").and_then(time::parse_date);
        let body = answer.body.small(&self.clock).await?;
        Ok(match status {
            200 => Answer::Given(body),
            _ => Answer::Refused(parse_error(status, retry_after.as_deref(), &body), date),
        })
    }
}

/// What the token endpoint said.
enum Answer {
    Given(Vec<u8>),
    /// And when, by Entra's clock.
    Refused(EntraError, Option<Timestamp>),
}

/// Another application than the one that was tried is no substitute: somebody has replaced it, and meant it.
fn may_stand_in(previous: &Loaded, tried: &Loaded) -> bool {
    let principal = |loaded: &Loaded| (loaded.application.client_id.clone(), loaded.application.home_tenant_id.clone());
    previous.version != tried.version && principal(previous) == principal(tried)
}

fn stood_in(name: &str, why: &TokenError) {
    tracing::warn!(
        vault.name = name,
        cause = %why,
        "the current credential cannot be used, and the previous one still works: mend the current one before that ends"
    );
}

/// A poisoned cache is still a cache: every entry was written whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
