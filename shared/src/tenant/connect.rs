//! Taking in a tenant that has approved the application already: proven by a token, its roles and a real call per feed.

use jiff::{SignedDuration, Timestamp};

use super::{Ability, Capability, Condition, Connection, Feed, FeedState, State, TenantId, load, put};
use crate::{
    App,
    alert::progress::{self, AlertFeed},
    config::Region,
    microsoft::{
        defender::{ALERT_ROLES, AlertsQuery, Refusal, alerts_request, refusal},
        token::{AccessToken, TokenError},
        tokens::ApplicationName,
    },
    ports::{
        store::{Expect, StoreError},
        vault::{Stage, VaultError},
    },
};

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct NewConnection {
    pub tenant_id: TenantId,
    pub account: String,
    pub feeds: Vec<Feed>,
    pub region: Option<Region>,
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
    let known = load(app.ports.store.as_ref(), new.tenant_id).await?;
    if let Some(bound) = known.as_ref().filter(|known| known.connection.state != State::Removed)
        && bound.connection.account != new.account
    {
        return Err(ConnectError::BoundElsewhere(bound.connection.account.clone()));
    }
    let application = choose_application(app, new.tenant_id).await?;
    let ability = prove_alerts(app, new, &application).await?;
    let now = app.clock.now();
    let connection = Connection {
        tenant_id: new.tenant_id,
        account: new.account.clone(),
        state: State::Active,
        application,
        region: new.region.or(known.as_ref().and_then(|known| known.connection.region)),
        connected_at: known.as_ref().map_or(now, |known| known.connection.connected_at),
        paused: known.as_ref().is_some_and(|known| known.connection.paused),
        feeds: new.feeds.iter().map(|feed| (*feed, feed_state(&ability, now))).collect(),
    };
    bind(app, connection, known.map(|known| known.version), now).await
}

fn feed_state(ability: &Condition, now: Timestamp) -> FeedState {
    FeedState {
        capability: Capability { status: ability.ability, since: now, next_step: ability.next_step.clone() },
        asleep_until: ability.asleep.map(|pause| now + pause),
        backlog: true,
    }
}

async fn bind(
    app: &App,
    connection: Connection,
    version: Option<u64>,
    now: Timestamp,
) -> Result<Connection, ConnectError> {
    let store = app.ports.store.as_ref();
    let mut writes = vec![put(&connection, version.map_or(Expect::Absent, Expect::Version))?];
    if progress::load(store, connection.tenant_id).await?.is_none() {
        let feed = AlertFeed::starting(now, app.config.first_look);
        writes.push(progress::put(connection.tenant_id, &feed, Expect::Absent)?);
    }
    match store.commit(writes).await {
        Err(StoreError::Conflict) => {
            Err(ConnectError::Platform("the tenant changed meanwhile; run the command again".to_owned()))
        }
        other => Ok(other.map(|()| connection)?),
    }
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

/// A token with the role, then one small call. A throttled call was let in, so it proves access too.
async fn prove_alerts(
    app: &App,
    new: &NewConnection,
    application: &ApplicationName,
) -> Result<Condition, ConnectError> {
    let refused =
        |error: &TokenError| ConnectError::NotProven(Condition::from_token_error(error, &ALERT_ROLES).next_step);
    let token = app.tokens.defender(new.tenant_id, application, true).await.map_err(|error| refused(&error))?;
    if !token.has_any(&ALERT_ROLES) {
        return Err(ConnectError::NotProven(Condition::role_missing(&ALERT_ROLES).next_step));
    }
    call_once(app, new, &token).await
}

async fn call_once(app: &App, new: &NewConnection, token: &AccessToken) -> Result<Condition, ConnectError> {
    let now = app.clock.now();
    let after = now.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(now);
    let query = AlertsQuery { after, until: now, top: 1, skip: 0, evidence: false };
    let mut request = alerts_request(&app.config.defender(new.region), &query);
    request.bearer = Some(token.bearer.clone());
    let response = app.http.send(request).await.map_err(|error| {
        ConnectError::NotProven(format!(
            "Defender could not be reached ({error}); check MUSTER_DEFENDER_URL and try again."
        ))
    })?;
    if response.status == 200 {
        return Ok(Condition::ok());
    }
    let (status, retry_after) = (response.status, response.header("retry-after").map(str::to_owned));
    let body = response.body.small(&app.clock).await.unwrap_or_default();
    let not_proven = |condition: Condition| Err(ConnectError::NotProven(condition.next_step));
    match refusal(status, retry_after.as_deref(), &body) {
        Refusal::Throttled { pause } => Ok(Condition { ability: Ability::Throttled, ..Condition::throttled(pause) }),
        Refusal::Unauthorized { message } => not_proven(Condition::unauthorized(&message)),
        Refusal::Forbidden { code, message } => not_proven(Condition::from_forbidden(&code, &message, &ALERT_ROLES)),
        Refusal::NotFound => not_proven(Condition::no_such_api()),
        Refusal::BadRequest { message } | Refusal::Unavailable { message } => Err(ConnectError::NotProven(format!(
            "Defender did not answer properly ({message}); try again in a minute."
        ))),
    }
}
