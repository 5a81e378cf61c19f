//! What an operator may change of a tenant that is in: its feeds, where they are read, a pause, whose it is.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Connection, Feed, Loaded, State, TenantId,
    account::{self, AccountError, Prepared},
    bind::{Binding, begin_alerts, bound},
    dispatch, load,
    proof::{Proof, Subject, prove},
    verdict,
};
use crate::{
    App,
    audit::{Action, Actor, Entry},
    cloud::Region,
    consent::connect::ConnectError,
    microsoft::tokens::ApplicationName,
    ports::store::StoreError,
    storage::Storage,
};

/// A pull writes the connection now and then. Whoever loses to it reads again; more often than this nobody loses.
const TRIES: usize = 5;

/// What is to become another; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// All feeds that the tenant is to have.
    pub feeds: Option<Vec<Feed>>,
    /// `Some(None)` is wherever Microsoft sends us.
    pub region: Option<Option<Region>>,
    pub storage: Option<Storage>,
    pub paused: Option<bool>,
    /// The account that it is to belong to; made if new.
    pub account: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("no tenant {0} is connected here")]
    Unknown(TenantId),
    /// What the tenant cannot do, or not now.
    #[error("{0}")]
    Refused(String),
    /// What the change needs could not be proven; nothing was changed.
    #[error(transparent)]
    NotProven(ConnectError),
    #[error("the tenant is being worked on and changed at every try; nothing was changed, so try again in a minute")]
    Busy,
    #[error("{0}")]
    Platform(String),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Busy,
            other => Self::Platform(other.to_string()),
        }
    }
}

impl From<AccountError> for ChangeError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Name | AccountError::Taken(_) => Self::Refused(error.to_string()),
            AccountError::Store(error) => error.into(),
            AccountError::Random(error) => Self::Platform(error.to_string()),
        }
    }
}

impl From<ConnectError> for ChangeError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NotProven { .. } => Self::NotProven(error),
            ConnectError::Platform(cause) => Self::Platform(cause),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Changes all of it or nothing. What is added, and what is to be read elsewhere, is proven first. A feed that is taken away
/// keeps its progress and goes on there when it comes back.
///
/// # Errors
/// [`ChangeError`]; nothing is changed then.
pub async fn change(app: &App, tenant: TenantId, change: &Change, by: &Actor) -> Result<Connection, ChangeError> {
    let mut proven = None;
    for _ in 0..TRIES {
        let known = known(app, tenant).await?;
        let wanted = Wanted::of(&known.connection, change).map_err(ChangeError::Refused)?;
        let to_prove = wanted.to_prove(&known.connection);
        let proof = match proven.take() {
            // What was proven before somebody else wrote is proven.
            Some((feeds, place, proof)) if feeds == to_prove && place == wanted.place(&known.connection) => proof,
            _ => prove_all(app, &known.connection, &wanted, &to_prove).await?,
        };
        match attempt(app, &known, &wanted, proof.as_ref(), by).await {
            Err(ChangeError::Busy) => proven = Some((to_prove, wanted.place(&known.connection), proof)),
            done => {
                let connection = done?;
                first_pull(app, &connection, &to_prove).await;
                return Ok(connection);
            }
        }
    }
    Err(ChangeError::Busy)
}

/// What was proven just now does not wait for its tick; where the queue fails, the tick makes it good.
async fn first_pull(app: &App, connection: &Connection, proven: &[Feed]) {
    let feeds = connection.feeds.iter().filter(|(feed, _)| proven.contains(feed));
    let of_these =
        Connection { feeds: feeds.map(|(feed, state)| (*feed, state.clone())).collect(), ..connection.clone() };
    if let Err(error) = dispatch::at_once(&app.ports.queues, &of_these, app.clock.now()).await {
        tracing::warn!(tenant.id = %connection.tenant_id, %error, "the first pull of new feeds waits for their ticks");
    }
}

/// A removed tenant is nobody's to change.
pub(crate) async fn known(app: &App, tenant: TenantId) -> Result<Loaded, ChangeError> {
    let known = load(app.ports.store.as_ref(), tenant).await?;
    known.filter(|known| known.connection.state != State::Removed).ok_or(ChangeError::Unknown(tenant))
}

/// Everything as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    feeds: BTreeSet<Feed>,
    region: Option<Region>,
    storage: Option<Storage>,
    paused: bool,
    account: Option<String>,
}

impl Wanted {
    /// What of the change can be refused before anybody is asked, is refused.
    fn of(known: &Connection, change: &Change) -> Result<Self, String> {
        let wanted = Self {
            feeds: match &change.feeds {
                Some(feeds) => feeds.iter().copied().collect(),
                None => known.feeds.keys().copied().collect(),
            },
            region: change.region.unwrap_or(known.region),
            storage: change.storage.clone().or_else(|| known.storage.clone()),
            paused: change.paused.unwrap_or(known.paused),
            account: change.account.clone(),
        };
        let telemetry = wanted.feeds.contains(&Feed::Telemetry);
        let only_pauses = Change { paused: None, ..change.clone() } == Change::default();
        let no = |why: &str| Err(why.to_owned());
        if wanted.feeds.is_empty() {
            return no("at least one feed must remain; to end the connection, remove the tenant");
        }
        if telemetry && wanted.storage.is_none() {
            return no(
                "the feed `telemetry` lies in a storage account of the tenant's; say which, and which queue announces \
                       its blobs",
            );
        }
        if change.storage.is_some() && !telemetry {
            return no("a storage account belongs to the feed `telemetry`, which this tenant is not to have");
        }
        if !only_pauses && known.state == State::Confirming {
            return no("nobody has vouched for the person who signed in; confirm the tenant first");
        }
        if !only_pauses && known.claimed_at.is_some() {
            return no(
                "access to the tenant is not proven yet, so there is nothing to change; wait for that, or invite again",
            );
        }
        Ok(wanted)
    }

    /// Where a proof holds, and as whom.
    fn place(&self, known: &Connection) -> (ApplicationName, Option<Region>, Option<Storage>) {
        (known.application.clone(), self.region, self.storage.clone())
    }

    /// Feeds that are new, and of the others those that work now and would be read elsewhere: what works must not be moved
    /// untried.
    fn to_prove(&self, known: &Connection) -> Vec<Feed> {
        let moves = |feed: Feed| match feed {
            Feed::Telemetry => self.storage != known.storage,
            Feed::Alerts | Feed::Machines => self.region != known.region,
        };
        let unproven = |feed: &Feed| match known.feeds.get(feed) {
            None => true,
            // Another storage account has been given by somebody just now, whatever the one before said.
            Some(state) => moves(*feed) && (state.refused.is_none() || *feed == Feed::Telemetry),
        };
        self.feeds.iter().copied().filter(unproven).collect()
    }

    /// The connection that comes of it.
    fn apply(&self, known: &Connection, proof: Option<&Proof>, account: &str, now: Timestamp) -> Connection {
        let mut connection = match proof {
            None => known.clone(),
            Some(proof) => {
                let binding = Binding {
                    tenant_id: known.tenant_id,
                    account: known.account.clone(),
                    application: known.application.clone(),
                    region: self.region,
                    storage: self.storage.clone(),
                    feeds: proof.conditions(),
                    state: known.state,
                    proven: true,
                    consent: None,
                };
                bound(Some(known), &binding, now)
            }
        };
        // A binding vouches for whoever signed in; this does not.
        connection.consents = known.consents.clone();
        connection.feeds.retain(|feed, _| self.feeds.contains(feed));
        if connection.feeds.len() < known.feeds.len() {
            connection.state = verdict::together(&connection.feeds).unwrap_or(connection.state);
        }
        if self.region != known.region {
            // What was refused there may be let in here.
            connection.feeds.values_mut().for_each(|feed| feed.asleep_until = None);
        }
        let (region, storage, paused, account) = (self.region, self.storage.clone(), self.paused, account.to_owned());
        Connection { region, storage, paused, account, ..connection }
    }
}

async fn prove_all(
    app: &App,
    known: &Connection,
    wanted: &Wanted,
    feeds: &[Feed],
) -> Result<Option<Proof>, ChangeError> {
    if feeds.is_empty() {
        return Ok(None);
    }
    let application: &ApplicationName = &known.application;
    let storage = wanted.storage.as_ref();
    let subject = Subject { tenant: known.tenant_id, application, region: wanted.region, storage };
    let proof = prove(app, &subject, feeds).await;
    let missing = proof.missing();
    if !missing.is_empty() {
        return Err(ChangeError::NotProven(ConnectError::NotProven { missing, connected_already: true }));
    }
    Ok(Some(proof))
}

/// One transaction over the connection as it was read.
async fn attempt(
    app: &App,
    known: &Loaded,
    wanted: &Wanted,
    proof: Option<&Proof>,
    by: &Actor,
) -> Result<Connection, ChangeError> {
    let (store, now) = (app.ports.store.as_ref(), app.clock.now());
    let before = &known.connection;
    let (account, mut writes) = match &wanted.account {
        None => (before.account.clone(), Vec::new()),
        Some(text) => {
            let Prepared { account, writes } = account::prepare(store, text, now, by).await?;
            (account.name, writes)
        }
    };
    let connection = wanted.apply(before, proof, &account, now);
    let entries = entries(before, &connection, now, by);
    if connection == *before {
        return Ok(connection);
    }
    for entry in entries {
        writes.push(entry.write()?);
    }
    writes.extend(begin_alerts(app, &connection, now, false).await?);
    let after = Loaded { connection, version: known.version };
    writes.push(after.put()?);
    store.commit(writes).await?;
    Ok(after.connection)
}

/// One entry for each kind of change.
fn entries(before: &Connection, after: &Connection, now: Timestamp, by: &Actor) -> Vec<Entry> {
    let entry = |action: Action| Entry::new(now, by, action).of_tenant(after.tenant_id).of_account(&after.account);
    let mut entries: Vec<Entry> = Vec::new();
    let words = changes(before, after).join(" ");
    if !words.is_empty() {
        entries.push(entry(Action::Changed).saying(words));
    }
    match (before.paused, after.paused) {
        (false, true) => entries.push(entry(Action::Paused)),
        (true, false) => entries.push(entry(Action::Resumed)),
        _ => {}
    }
    if before.account != after.account {
        entries.push(entry(Action::Moved).saying(format!("From {}.", before.account)));
    }
    entries
}

/// What became another, a sentence each.
fn changes(before: &Connection, after: &Connection) -> Vec<String> {
    let names = |these: &Connection, others: &Connection| {
        let names: Vec<&str> =
            these.feeds.keys().filter(|feed| !others.feeds.contains_key(feed)).map(|feed| feed.name()).collect();
        names.join(" and ")
    };
    let mut words = Vec::new();
    let (added, taken) = (names(after, before), names(before, after));
    if !added.is_empty() {
        words.push(format!("Added {added}."));
    }
    if !taken.is_empty() {
        words.push(format!("Took {taken} away."));
    }
    if before.region != after.region {
        let region = after.region.map_or_else(|| "none in particular".to_owned(), |region| region.to_string());
        words.push(format!("The region is {region} now."));
    }
    if before.storage != after.storage
        && let Some(storage) = &after.storage
    {
        words.push(format!("Telemetry lies in {}/{} now.", storage.account_name, storage.queue_name));
    }
    words
}
