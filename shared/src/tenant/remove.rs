//! Removing a tenant: it stops at once, its secret can be restored for a month, and of its state stays what a return needs.
//!
//! Three steps, each safe to repeat, in this order: the connection becomes a tombstone; the secret of the tenant's own
//! application is removed; the state is purged. Whoever dies between them leaves a tenant that is not pulled; removing it
//! again completes the rest, and its return does not mind what is left.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use url::Url;

use super::{Connection, Feed, Loaded, Removal, State, TenantId, load};
use crate::{
    App, alert,
    audit::{Action, Actor, Entry},
    consent::invitation,
    credential::{renewal, status},
    machine,
    microsoft::tokens::ApplicationName,
    ports::{
        Unavailable,
        store::{Expect, StoreError, Write},
        vault::VaultError,
    },
    record::CommitError,
    telemetry,
};

/// Times a step is tried anew because a puller wrote first. A stopped tenant has none.
const TRIES: usize = 10;
/// Items deleted in one transaction, with room for the rest of it; of invitations, each with its entry in the trail, half.
const AT_ONCE: usize = 90;
/// Two dates of one removal, as the platform rounds them.
const SAME: SignedDuration = SignedDuration::from_mins(1);

/// What a removal came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Removed {
    pub tenant_id: TenantId,
    pub account: String,
    pub outcome: Outcome,
    pub removed: Parts,
    /// What stays, in words.
    pub kept: Vec<String>,
    /// Where an administrator of the tenant takes our application away, which nobody else can.
    pub microsoft_link: Url,
    /// What they do there.
    pub microsoft_step: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Removed,
    /// It was removed before, and not to the end.
    Completed,
    /// It was removed before, and nothing was left to do.
    NothingLeft,
}

/// What this removal took away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Parts {
    pub feeds: Vec<Feed>,
    pub secret: Option<RemovedSecret>,
    pub state_items: usize,
    /// Invitations that only this tenant could have answered.
    pub invitations: usize,
}

/// The secret of the tenant's own application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RemovedSecret {
    /// In the vault, with its prefix.
    pub name: String,
    /// Until then a return restores it.
    pub recoverable_until: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("{0} is not connected, and never was.")]
    Unknown(TenantId),
    /// Somebody connected it while it was being removed.
    #[error("{0} has come back while it was being removed; what it has now stays.")]
    CameBack(TenantId),
    #[error("{0} is changed by others all the time; remove it again.")]
    Busy(TenantId),
    #[error("{0}")]
    Platform(String),
}

impl From<StoreError> for RemoveError {
    fn from(error: StoreError) -> Self {
        Self::Platform(error.to_string())
    }
}

impl From<VaultError> for RemoveError {
    fn from(error: VaultError) -> Self {
        Self::Platform(error.to_string())
    }
}

/// Stops a tenant, removes its secret and purges its state. Repeating it completes what was cut short, and does no harm.
///
/// Tokens that a process holds in memory stay there for the hour that they live; nobody asks anything with them any more.
///
/// # Errors
/// [`RemoveError`]; what has been done until then stays done.
pub async fn remove(app: &App, tenant: TenantId, by: &Actor) -> Result<Removed, RemoveError> {
    let Some(known) = load(app.ports.store.as_ref(), tenant).await? else { return Err(RemoveError::Unknown(tenant)) };
    let client_id = client_id(app, &known.connection).await;
    let stopped = stop(app, tenant, by).await?;
    let secret = remove_secret(app, tenant, by).await?;
    let state_items = match purge(app, tenant).await {
        Err(StoreError::Conflict) => return Err(after_conflict(app, tenant).await?),
        purged => purged?,
    };
    let did_something = state_items > 0 || secret.as_ref().is_some_and(|(_, now)| *now);
    let outcome = match (stopped.is_first, did_something) {
        (true, _) => Outcome::Removed,
        (false, true) => Outcome::Completed,
        (false, false) => Outcome::NothingLeft,
    };
    let Stopped { account, feeds, invitations, .. } = stopped;
    tracing::info!(tenant.id = %tenant, ?outcome, state_items, "a tenant is removed");
    Ok(Removed {
        tenant_id: tenant,
        account,
        outcome,
        removed: Parts { feeds, secret: secret.map(|(secret, _)| secret), state_items, invitations },
        kept: kept(),
        microsoft_link: app.config.enterprise_applications(),
        microsoft_step: microsoft_step(client_id.as_deref()),
    })
}

/// What stays of a tenant that is removed, in words.
pub fn kept() -> Vec<String> {
    [
        "everything in the lake",
        "who consented to what, and when",
        "the trail of who did what",
        "marks of what has been delivered, so that nothing is delivered twice should the tenant come back",
    ]
    .map(str::to_owned)
    .into()
}

/// What an administrator of the tenant does at Microsoft's page, whenever somebody asks.
pub async fn step_at_microsoft(app: &App, connection: &Connection) -> String {
    microsoft_step(client_id(app, connection).await.as_deref())
}

fn microsoft_step(client_id: Option<&str>) -> String {
    let which = client_id.map(|id| format!(" with the application ID {id}")).unwrap_or_default();
    format!(
        "An administrator of the tenant opens the enterprise application{which}, and deletes it there (Manage, Properties, \
         Delete): only then is their approval gone."
    )
}

/// The application as the customer's administrator sees it. Where it cannot be told, the page is found without.
async fn client_id(app: &App, connection: &Connection) -> Option<String> {
    let name = connection.application.vault_name(&app.config.secrets_prefix, connection.tenant_id);
    app.tokens.application(&name).await.ok().map(|application| application.client_id.clone())
}

struct Stopped {
    account: String,
    feeds: Vec<Feed>,
    invitations: usize,
    /// Nobody had stopped it before.
    is_first: bool,
}

/// The tombstone, with which everything stops: dispatch passes it by, and every commit of a pull checks the connection.
async fn stop(app: &App, tenant: TenantId, by: &Actor) -> Result<Stopped, RemoveError> {
    let store = app.ports.store.as_ref();
    for _ in 0..TRIES {
        let Some(known) = load(store, tenant).await? else { return Err(RemoveError::Unknown(tenant)) };
        let Loaded { connection, version } = known;
        let (account, now) = (connection.account.clone(), app.clock.now());
        if connection.state == State::Removed {
            return Ok(Stopped { account, feeds: Vec::new(), invitations: 0, is_first: false });
        }
        let feeds: Vec<Feed> = connection.feeds.keys().copied().collect();
        let open = invitation::expecting(store, tenant, &account, now).await?;
        let mut writes = Vec::new();
        for open in open.iter().take(AT_ONCE / 2) {
            let entry = Entry::new(now, by, Action::InvitationWithdrawn).of_tenant(tenant).of_account(&account);
            writes.push(open.withdraw(now)?);
            writes.push(entry.saying("Nobody but this tenant could have answered it.").write()?);
        }
        let invitations = writes.len() / 2;
        let names: Vec<&str> = feeds.iter().map(|feed| feed.name()).collect();
        let entry = Entry::new(now, by, Action::Removed).of_tenant(tenant).of_account(&account);
        let entry = entry.saying(match names.as_slice() {
            [] => "It had no feeds.".to_owned(),
            names => format!("Nothing is gathered any more of its {}.", names.join(", ")),
        });
        writes.push(super::put(&tombstone(connection, now), Expect::Version(version))?);
        writes.push(entry.write()?);
        match store.commit(writes).await {
            Ok(()) => return Ok(Stopped { account, feeds, invitations, is_first: true }),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RemoveError::Busy(tenant))
}

/// What is left of a connection: whose it was, and who consented.
fn tombstone(connection: Connection, now: Timestamp) -> Connection {
    Connection {
        state: State::Removed,
        region: None,
        storage: None,
        paused: false,
        claimed_at: None,
        removal: Some(Removal { at: now, secret_until: None }),
        feeds: Default::default(),
        ..connection
    }
}

/// Removes the secret of the tenant's own application, if there is one, and writes down until when it can be restored.
/// Tells whether that was not written down before.
async fn remove_secret(app: &App, tenant: TenantId, by: &Actor) -> Result<Option<(RemovedSecret, bool)>, RemoveError> {
    let (store, vault) = (app.ports.store.as_ref(), app.ports.vault.as_ref());
    let name = ApplicationName::Own.vault_name(&app.config.secrets_prefix, tenant);
    let Some(until) = vault.remove(&name).await? else { return Ok(None) };
    for _ in 0..TRIES {
        let known = load(store, tenant).await?.filter(|known| known.connection.state == State::Removed);
        let Some(mut known) = known else {
            // Whoever brought it back may already live by this secret.
            vault.restore(&name).await?;
            return Err(RemoveError::CameBack(tenant));
        };
        let secret = RemovedSecret { name: name.clone(), recoverable_until: until };
        let now = app.clock.now();
        let removal = known.connection.removal.get_or_insert(Removal { at: now, secret_until: None });
        if removal.secret_until.is_some_and(|known| known.duration_since(until).abs() < SAME) {
            return Ok(Some((secret, false)));
        }
        removal.secret_until = Some(until);
        let entry = Entry::new(now, by, Action::SecretRemoved).of_tenant(tenant).of_account(&known.connection.account);
        let entry = entry.saying(format!("{name} can be restored until {until}."));
        match store.commit(vec![known.put()?, entry.write()?]).await {
            Ok(()) => return Ok(Some((secret, true))),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RemoveError::Busy(tenant))
}

/// Purges the state of a removed tenant. What stays is what each feed is kept from doubling by. How many items it was.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant is not removed, or is changed by others all the time.
async fn purge(app: &App, tenant: TenantId) -> Result<usize, StoreError> {
    let mut items = 0;
    for _ in 0..TRIES {
        match purge_once(app, tenant, &mut items).await {
            Ok(()) => return Ok(items),
            Err(CommitError::Conflict) => {}
            Err(CommitError::Platform(cause)) => return Err(Unavailable::new("platform", cause).into()),
        }
    }
    Err(StoreError::Conflict)
}

async fn purge_once(app: &App, tenant: TenantId, items: &mut usize) -> Result<(), CommitError> {
    *items += alert::leave(app, tenant).await?;
    *items += machine::leave(app, tenant).await?;
    *items += telemetry::leave(app, tenant).await?;
    let store = app.ports.store.as_ref();
    let Some(known) = load(store, tenant).await?.filter(|known| known.connection.state == State::Removed) else {
        return Err(CommitError::Conflict);
    };
    let outlives = |sort: &str| {
        alert::outlives_removal(sort) || machine::outlives_removal(sort) || telemetry::outlives_removal(sort)
    };
    // What stays is a list, and whatever is not on it goes.
    let all = store.query(&tenant.partition(), "").await?.into_iter();
    let gone = all.filter(|(key, _)| !outlives(&key.sort));
    let mut gone: Vec<Write> =
        gone.map(|(key, item)| Write::Delete { key, expect: Expect::Version(item.version) }).collect();
    gone.extend(status::forget(store, &status::own(tenant), app.clock.now()).await?);
    gone.extend(renewal::forget(store, tenant, app.clock.now()).await?);
    for some in gone.chunks(AT_ONCE) {
        store.commit(some.iter().cloned().chain([known.check()]).collect()).await?;
        *items += some.len();
    }
    Ok(())
}

/// What a purge that came to nothing means.
async fn after_conflict(app: &App, tenant: TenantId) -> Result<RemoveError, RemoveError> {
    let known = load(app.ports.store.as_ref(), tenant).await?;
    let is_removed = known.is_some_and(|known| known.connection.state == State::Removed);
    Ok(if is_removed { RemoveError::Busy(tenant) } else { RemoveError::CameBack(tenant) })
}
