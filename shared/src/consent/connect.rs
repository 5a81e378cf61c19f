//! Taking in a tenant that has approved the application already: an operator vouches for it, Microsoft proves it.

use super::invitation;
use crate::{
    App,
    config::Region,
    microsoft::tokens::ApplicationName,
    ports::{
        store::StoreError,
        vault::{Stage, VaultError},
    },
    tenant::{
        Connection, Feed, State, Storage, TenantId,
        account::{self, AccountError},
        bind::{Binding, bind},
        load,
        proof::{Proof, prove},
    },
};

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct NewConnection {
    pub tenant_id: TenantId,
    pub account: String,
    pub feeds: Vec<Feed>,
    pub region: Option<Region>,
    /// Where the telemetry is; demanded with that feed.
    pub storage: Option<Storage>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Access could not be proven; nothing was bound. The sentence says what to do.
    #[error("{0}")]
    NotProven(String),
    /// A tenant belongs to one account; another one is a matter for people, never an overwrite.
    #[error("It belongs to the account `{0}` already, and a tenant belongs to one account.")]
    BoundElsewhere(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Platform(String),
}

impl From<AccountError> for ConnectError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Name => Self::Unsupported(error.to_string()),
            other => Self::Platform(other.to_string()),
        }
    }
}

impl From<StoreError> for ConnectError {
    fn from(error: StoreError) -> Self {
        Self::Platform(error.to_string())
    }
}

/// Proves access and binds the tenant. Connecting a tenant of the same account again proves it anew, wakes it up and
/// changes nothing of what has been pulled.
///
/// # Errors
/// [`ConnectError`]; nothing is bound then.
pub async fn connect(app: &App, new: &NewConnection) -> Result<Connection, ConnectError> {
    if let Some(feed) = new.feeds.iter().find(|feed| **feed != Feed::Alerts) {
        return Err(ConnectError::Unsupported(format!(
            "the feed `{}` is not pulled by this version yet; connect with --feeds alerts",
            feed.name()
        )));
    }
    let store = app.ports.store.as_ref();
    let account = account::known_as(store, &new.account).await?;
    let known = load(store, new.tenant_id).await?;
    if let Some(bound) = known.as_ref().filter(|known| known.connection.is_bound_elsewhere(&account)) {
        return Err(ConnectError::BoundElsewhere(bound.connection.account.clone()));
    }
    let application = choose_application(app, new.tenant_id).await?;
    let condition = match prove(app, new.tenant_id, &application, new.region).await {
        Proof::Proven { condition, .. } => condition,
        Proof::NotYet(condition) => return Err(ConnectError::NotProven(condition.next_step)),
    };
    let binding = Binding {
        tenant_id: new.tenant_id,
        account: account::ensure(store, &account, app.clock.now()).await?.name,
        application,
        region: new.region,
        storage: new.storage.clone(),
        feeds: new.feeds.clone(),
        state: State::Active,
        condition,
        proven: true,
        consent: None,
    };
    let mut writes = Vec::new();
    if let Some(consent) = known.as_ref().and_then(|known| known.connection.consent_for(&binding.account)) {
        // What this person came by is used up with it.
        writes.extend(invitation::spend_by_vouching(app, consent, new.tenant_id).await?);
    }
    bind(app, known.as_ref(), &binding, writes).await.map_err(|error| match error {
        StoreError::Conflict => {
            ConnectError::Platform("the tenant changed meanwhile; run the command again".to_owned())
        }
        other => other.into(),
    })
}

/// A tenant whose own application lies in the vault uses that; every other one the provider's.
async fn choose_application(app: &App, tenant: TenantId) -> Result<ApplicationName, ConnectError> {
    let own = ApplicationName::Own.vault_name(&app.config.secrets_prefix, tenant);
    match app.ports.vault.read(&own, Stage::Current, None).await {
        Ok(_) => Ok(ApplicationName::Own),
        Err(VaultError::NotFound(_)) => Ok(ApplicationName::App),
        Err(error) => Err(ConnectError::Platform(error.to_string())),
    }
}
