//! What an operator sees of every tenant: `muster tenants` and `GET /api/tenants`.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Capability, Connection, Consent, Feed, SHARDS, State, TenantId, load_shard};
use crate::{
    alert::{
        backfill::Backfill,
        progress::{AlertFeed, Lateness, WalkReason},
    },
    cloud::Region,
    credential::status::{self, Status},
    machine::progress::MachineFeed,
    microsoft::tokens::ApplicationName,
    ports::store::{Store, StoreError},
    record::{Ledger, Progress},
    storage::Storage,
    telemetry::progress::TelemetryFeed,
};

/// Tenants whose progress is read at a time.
pub(super) const READ_AT_ONCE: usize = 32;

/// One tenant, as shown. Never a secret.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TenantView {
    pub tenant_id: TenantId,
    pub account: String,
    pub state: State,
    pub capabilities: BTreeMap<Feed, Capability>,
    pub feeds: BTreeMap<Feed, FeedView>,
    /// Where Microsoft keeps its data, if somebody has said so.
    pub region: Option<Region>,
    /// Whose application reads it.
    pub application: ApplicationName,
    /// Where the telemetry lies.
    pub storage: Option<Storage>,
    /// The alerts', or the first feed's where there are no alerts; so are the two below.
    pub watermark: Option<Timestamp>,
    pub freshness_seconds: Option<i64>,
    pub ledger: Ledger,
    /// Whether older alerts are still being walked through.
    pub backlog: bool,
    /// How far that is, of an operator's backfill or else of the first look.
    pub backfill: Option<Backfill>,
    /// Windows that Microsoft could not answer: put aside, tried again hourly. The watermark has passed them.
    pub parked: usize,
    pub lateness: Lateness,
    pub connected_at: Timestamp,
    /// Since when access is claimed and not proven yet.
    pub claimed_at: Option<Timestamp>,
    pub paused: bool,
    /// Who approved last: the evidence.
    pub consent: Option<Consent>,
    /// What we sign in there with, as far as it has been looked at.
    pub credential: Option<CredentialView>,
}

/// The credential that a tenant is read with. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CredentialView {
    pub application: ApplicationName,
    /// `client_secret`, `certificate` or `federated`; none of an entry that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    pub checked_at: Timestamp,
}

impl CredentialView {
    fn of(connection: &Connection, known: &BTreeMap<String, Status>) -> Option<Self> {
        let name = match connection.application {
            ApplicationName::App => "app".to_owned(),
            ApplicationName::Own => status::own(connection.tenant_id),
        };
        let Status { kind, expires_at, checked_at, .. } = known.get(&name)?.clone();
        let is_used = connection.state != State::Removed;
        is_used.then(|| Self { application: connection.application.clone(), kind, expires_at, checked_at })
    }
}

/// How far one feed of a tenant is, and what it has delivered.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct FeedView {
    /// Everything up to here has been looked at and delivered.
    pub watermark: Option<Timestamp>,
    /// Seconds from the watermark to now, so never less than the pace at which a feed writes it: without news that is
    /// every 15 minutes for alerts and telemetry; for machines it is every complete inventory.
    pub freshness_seconds: Option<i64>,
    pub ledger: Ledger,
    /// How many machines there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machines: Option<u64>,
    /// How many of them have vanished at once, so that an operator must say whether they are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// What has been appended to the blobs that we know of, and is not read yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_behind: Option<u64>,
    /// How many blobs are being followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobs: Option<u64>,
}

impl FeedView {
    fn with(self, watermark: Option<Timestamp>, now: Timestamp) -> Self {
        let freshness_seconds = watermark.map(|at| now.duration_since(at).as_secs().max(0));
        Self { watermark, freshness_seconds, ..self }
    }
}

/// All tenants, by account and id.
///
/// # Errors
/// As the store's.
pub async fn list(store: &dyn Store, now: Timestamp) -> Result<Vec<TenantView>, StoreError> {
    let credentials = status::all(store).await?;
    let shards = try_join_all((0..SHARDS).map(|shard| load_shard(store, shard))).await?;
    let connections = shards.into_iter().flatten().map(|loaded| loaded.connection);
    let each = stream::iter(connections).map(|connection| view(store, connection, &credentials, now));
    let mut views: Vec<TenantView> = each.buffered(READ_AT_ONCE).try_collect().await?;
    views.sort_by(|a, b| (&a.account, a.tenant_id).cmp(&(&b.account, b.tenant_id)));
    Ok(views)
}

/// Somebody who is connected by our application: the first one found who should be letting us in, or else one who has
/// something to mend. `None` where nobody is.
///
/// # Errors
/// As the store's.
pub async fn a_customer(store: &dyn Store) -> Result<Option<Connection>, StoreError> {
    let mut refusing = None;
    for shard in 0..SHARDS {
        let connections = load_shard(store, shard).await?.into_iter().map(|loaded| loaded.connection);
        for known in connections.filter(|known| known.application == ApplicationName::App) {
            match known.state {
                state if state.should_be_fresh() => return Ok(Some(known)),
                State::Removed => {}
                _ => refusing = refusing.or(Some(known)),
            }
        }
    }
    Ok(refusing)
}

/// Until where this feed of a tenant has been looked at and delivered.
///
/// # Errors
/// As the store's.
pub(super) async fn watermark(
    store: &dyn Store,
    tenant: TenantId,
    feed: Feed,
) -> Result<Option<Timestamp>, StoreError> {
    Ok(match feed {
        Feed::Alerts => AlertFeed::load(store, tenant).await?.and_then(|(feed, _)| feed.watermark()),
        Feed::Machines => MachineFeed::load(store, tenant).await?.and_then(|(feed, _)| feed.watermark()),
        Feed::Telemetry => TelemetryFeed::load(store, tenant).await?.and_then(|(feed, _)| feed.watermark()),
    })
}

pub(super) async fn view(
    store: &dyn Store,
    connection: Connection,
    credentials: &BTreeMap<String, Status>,
    now: Timestamp,
) -> Result<TenantView, StoreError> {
    let tenant = connection.tenant_id;
    let credential = CredentialView::of(&connection, credentials);
    let consent = connection.evidence().cloned();
    let alerts = AlertFeed::load(store, tenant).await?.map(|(alerts, _)| alerts);
    let mut feeds = BTreeMap::new();
    for feed in connection.feeds.keys() {
        let view = match feed {
            Feed::Alerts => alerts.as_ref().map(|alerts| alerts_view(alerts, now)).unwrap_or_default(),
            Feed::Machines => machines_view(store, tenant, now).await?,
            Feed::Telemetry => telemetry_view(store, tenant, now).await?,
        };
        feeds.insert(*feed, view);
    }
    let first = feeds.values().next().cloned().unwrap_or_default();
    Ok(TenantView {
        tenant_id: tenant,
        account: connection.account,
        state: connection.state,
        capabilities: connection.feeds.into_iter().map(|(feed, state)| (feed, state.capability)).collect(),
        feeds,
        region: connection.region,
        application: connection.application,
        storage: connection.storage,
        watermark: first.watermark,
        freshness_seconds: first.freshness_seconds,
        ledger: first.ledger,
        backlog: alerts.as_ref().is_some_and(|alerts| !alerts.walks.is_empty()),
        backfill: alerts.as_ref().and_then(Backfill::of),
        parked: alerts.as_ref().map_or(0, parked),
        lateness: alerts.map(|alerts| alerts.lateness).unwrap_or_default(),
        connected_at: connection.connected_at,
        claimed_at: connection.claimed_at,
        paused: connection.paused,
        consent,
        credential,
    })
}

fn alerts_view(alerts: &AlertFeed, now: Timestamp) -> FeedView {
    FeedView { ledger: alerts.ledger, ..FeedView::default() }.with(Some(alerts.looks.watermark()), now)
}

fn parked(alerts: &AlertFeed) -> usize {
    alerts.walks.iter().filter(|walk| walk.reason == WalkReason::Parked).count()
}

async fn machines_view(store: &dyn Store, tenant: TenantId, now: Timestamp) -> Result<FeedView, StoreError> {
    let Some((machines, _)) = MachineFeed::load(store, tenant).await? else { return Ok(FeedView::default()) };
    let view = FeedView {
        ledger: machines.ledger,
        machines: Some(machines.machines),
        held: machines.held.map(|held| held.machines),
        ..FeedView::default()
    };
    Ok(view.with(machines.last_complete, now))
}

async fn telemetry_view(store: &dyn Store, tenant: TenantId, now: Timestamp) -> Result<FeedView, StoreError> {
    let Some((feed, _)) = TelemetryFeed::load(store, tenant).await? else { return Ok(FeedView::default()) };
    let view = FeedView {
        ledger: feed.ledger,
        bytes_behind: Some(feed.behind),
        blobs: Some(feed.blobs),
        ..FeedView::default()
    };
    Ok(view.with(feed.watermark, now))
}
