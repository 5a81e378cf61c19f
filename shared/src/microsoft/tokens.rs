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
    entra::{Refusal, parse_error},
    token::{AccessToken, Grant, STORAGE, TokenError, parse_token, token_endpoint, token_request},
};
use crate::{
    clock::Clock,
    config::Config,
    credential::{Application, Malformed},
    http::Client,
    ports::vault::{Stage, Vault, VaultError},
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
    config: Arc<Config>,
    clock: Clock,
    /// By tenant, vault entry and resource.
    tokens: Mutex<HashMap<(TenantId, String, String), Arc<AccessToken>>>,
    applications: Mutex<HashMap<String, Loaded>>,
}

impl Tokens {
    pub fn new(http: Client, vault: Arc<dyn Vault>, config: Arc<Config>, clock: Clock) -> Self {
        Self { http, vault, config, clock, tokens: Mutex::default(), applications: Mutex::default() }
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

    /// The application that the vault's `name` holds now.
    ///
    /// # Errors
    /// [`TokenError::NoApplication`] or [`TokenError::Platform`].
    pub async fn application(&self, name: &str) -> Result<Arc<Application>, TokenError> {
        Ok(self.load(name, Stage::Current).await?.application)
    }

    /// What the token endpoint gives this application, with whichever of its credentials Entra takes: a refused one is
    /// read afresh from the vault once, then the previous one is tried once. A rotation is never a reason to fail.
    ///
    /// # Errors
    /// [`TokenError`], whose refusal says who must act.
    pub async fn exchange(&self, name: &str, endpoint: &Url, grant: &Grant<'_>) -> Result<Vec<u8>, TokenError> {
        let cached = lock(&self.applications).get(name).filter(|loaded| self.is_fresh(loaded)).cloned();
        let was_cached = cached.is_some();
        let current = match cached {
            Some(loaded) => loaded,
            None => self.load(name, Stage::Current).await?,
        };
        let refused = match self.ask(endpoint, &current.application, grant).await {
            Err(TokenError::Refused(refused)) if refused.refusal() == Refusal::OurCredential => refused,
            other => return other,
        };
        let mut tried = vec![current.version];
        if was_cached {
            let afresh = self.load(name, Stage::Current).await?;
            if !tried.contains(&afresh.version) {
                match self.ask(endpoint, &afresh.application, grant).await {
                    Err(TokenError::Refused(error)) if error.refusal() == Refusal::OurCredential => {}
                    other => return other,
                }
                tried.push(afresh.version);
            }
        }
        if let Ok(previous) = self.load(name, Stage::Previous).await
            && !tried.contains(&previous.version)
            && let Ok(body) = self.ask(endpoint, &previous.application, grant).await
        {
            tracing::warn!(vault.name = name, "the current credential was refused; the previous one still works");
            return Ok(body);
        }
        Err(TokenError::Refused(refused))
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

    async fn ask(&self, endpoint: &Url, application: &Application, grant: &Grant<'_>) -> Result<Vec<u8>, TokenError> {
        let request = token_request(endpoint, application, grant, self.clock.now())
            .map_err(|cause| TokenError::NoApplication { name: application.client_id.clone(), cause })?;
        let answer = self.http.send(request).await?;
        let (status, retry_after) = (answer.status, answer.header("retry-after").map(str::to_owned));
        let body = answer.body.small(&self.clock).await?;
        if status == 200 {
            Ok(body)
        } else {
            Err(TokenError::Refused(parse_error(status, retry_after.as_deref(), &body)))
        }
    }
}

/// A poisoned cache is still a cache: every entry was written whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
