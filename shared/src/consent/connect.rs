//! Taking in a tenant that has approved the application already: an operator vouches for it, Microsoft proves it.

use super::invitation;
use crate::{
    App,
    audit::{Action, Actor, Entry},
    config::Region,
    microsoft::tokens::ApplicationName,
    ports::{
        store::StoreError,
        vault::{Stage, VaultError},
    },
    storage::Storage,
    tenant::{
        Connection, Feed, State, TenantId,
        account::{self, AccountError, Prepared},
        bind::{Binding, bind},
        load,
        proof::{Subject, prove},
    },
};

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct NewConnection {
    pub tenant_id: TenantId,
    pub account: String,
    pub feeds: Vec<Feed>,
    pub region: Option<Region>,
    /// Where the telemetry is; demanded with that feed, unless it is known already.
    pub storage: Option<Storage>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Access could not be proven to all that was asked for; nothing was changed. One sentence for each thing missing, each
    /// with what to do.
    #[error("{}", missing.join("\n"))]
    NotProven { missing: Vec<String>, connected_already: bool },
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
            AccountError::Name | AccountError::Taken(_) => Self::Unsupported(error.to_string()),
            other => Self::Platform(other.to_string()),
        }
    }
}

impl From<StoreError> for ConnectError {
    fn from(error: StoreError) -> Self {
        Self::Platform(error.to_string())
    }
}

/// Proves access to each feed and binds the tenant. Connecting a tenant of the same account again proves these feeds anew,
/// adds those it did not have, wakes it up, and changes nothing of its other feeds and of what has been pulled. Another
/// application or region is everybody's, so what works now is proven by it too.
///
/// # Errors
/// [`ConnectError`]; nothing is bound then.
pub async fn connect(app: &App, new: &NewConnection, by: &Actor) -> Result<Connection, ConnectError> {
    let feeds: Vec<&str> = new.feeds.iter().map(|feed| feed.name()).collect();
    take_in(app, new, by, Action::Connected, &format!("Access is proven to {}.", feeds.join(", "))).await
}

/// As [`connect`]; the trail calls it this.
pub(crate) async fn take_in(
    app: &App,
    new: &NewConnection,
    by: &Actor,
    action: Action,
    detail: &str,
) -> Result<Connection, ConnectError> {
    check(new)?;
    let store = app.ports.store.as_ref();
    let Prepared { account, mut writes } = account::prepare(store, &new.account, app.clock.now(), by).await?;
    let account = account.name;
    let known = load(store, new.tenant_id).await?;
    if let Some(bound) = known.as_ref().filter(|known| known.connection.is_bound_elsewhere(&account)) {
        return Err(ConnectError::BoundElsewhere(bound.connection.account.clone()));
    }
    let ours = known.as_ref().map(|known| &known.connection).filter(|known| known.is_bound_to(&account));
    let storage = new.storage.clone().or(ours.and_then(|known| known.storage.clone()));
    if new.feeds.contains(&Feed::Telemetry) && storage.is_none() {
        return Err(ConnectError::Unsupported(
            "the feed `telemetry` lies in a storage account of the tenant's; say which and which queue announces its blobs, \
             with --storage ACCOUNT/QUEUE"
                .to_owned(),
        ));
    }
    let application = choose_application(app, new.tenant_id).await?;
    let region = new.region.or(ours.and_then(|known| known.region));
    let subject = Subject { tenant: new.tenant_id, application: &application, region, storage: storage.as_ref() };
    let feeds = feeds_to_prove(new, ours, &subject);
    let proof = prove(app, &subject, &feeds).await;
    let missing = proof.missing();
    if !missing.is_empty() {
        return Err(ConnectError::NotProven { missing, connected_already: ours.is_some() });
    }
    let binding = Binding {
        tenant_id: new.tenant_id,
        account,
        application,
        region: new.region,
        storage: new.storage.clone(),
        feeds: proof.conditions(),
        state: State::Active,
        proven: true,
        consent: None,
    };
    if let Some(consent) = known.as_ref().and_then(|known| known.connection.consent_for(&binding.account)) {
        // What this person came by is used up with it.
        writes.extend(invitation::spend_by_vouching(app, consent, new.tenant_id).await?);
    }
    let entry = Entry::new(app.clock.now(), by, action).of_tenant(new.tenant_id).of_account(&binding.account);
    writes.push(entry.saying(detail).write()?);
    bind(app, known.as_ref(), &binding, writes).await.map_err(|error| match error {
        StoreError::Conflict => {
            ConnectError::Platform("the tenant changed meanwhile; run the command again".to_owned())
        }
        other => other.into(),
    })
}

/// Those asked for; and where their application or region becomes another one, also those that go on with it and that
/// nothing refuses now: what works must not be moved untried. Storage knows no region.
fn feeds_to_prove(new: &NewConnection, ours: Option<&Connection>, subject: &Subject<'_>) -> Vec<Feed> {
    let moves = |known: &Connection, feed: Feed| {
        known.application != *subject.application || (known.region != subject.region && feed != Feed::Telemetry)
    };
    let others = ours.into_iter().flat_map(|known| {
        let works = known.feeds.iter().filter(|(_, state)| state.refused.is_none()).map(|(feed, _)| *feed);
        works.filter(|feed| !new.feeds.contains(feed) && moves(known, *feed))
    });
    new.feeds.iter().copied().chain(others).collect()
}

/// What can be said of a request before anything is opened.
///
/// # Errors
/// [`ConnectError::Unsupported`], with what to write instead.
pub fn check(new: &NewConnection) -> Result<(), ConnectError> {
    account::name(&new.account)?;
    if new.feeds.is_empty() {
        return Err(ConnectError::Unsupported("a connection needs at least one feed".to_owned()));
    }
    if new.storage.is_some() && !new.feeds.contains(&Feed::Telemetry) {
        return Err(ConnectError::Unsupported(
            "--storage belongs to the telemetry feed; name that too, as in --feeds telemetry (the tenant's other feeds stay \
             as they are)"
                .to_owned(),
        ));
    }
    Ok(())
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
