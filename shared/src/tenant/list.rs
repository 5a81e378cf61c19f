//! What an operator sees of every tenant: `muster tenants` and `GET /api/tenants`.

use jiff::Timestamp;
use serde::Serialize;

use super::{Capability, Connection, Consent, Feed, SHARDS, State, TenantId, load_shard};
use crate::{
    alert::progress::{self, Lateness, WalkReason},
    ports::store::{Store, StoreError},
    record::Ledger,
};

/// One tenant, as shown. Never a secret.
#[derive(Debug, Clone, Serialize)]
pub struct TenantView {
    pub tenant_id: TenantId,
    pub account: String,
    pub state: State,
    pub capabilities: std::collections::BTreeMap<Feed, Capability>,
    /// Everything up to here has been looked at and delivered.
    pub watermark: Option<Timestamp>,
    /// Seconds from the watermark to now. Without news the watermark is written every 15 minutes.
    pub freshness_seconds: Option<i64>,
    /// Whether older data is still being walked through.
    pub backlog: bool,
    /// Windows that Microsoft could not answer: put aside, tried again hourly. The watermark has passed them.
    pub parked: usize,
    pub ledger: Ledger,
    pub lateness: Lateness,
    pub connected_at: Timestamp,
    /// Since when access is claimed and not proven yet.
    pub claimed_at: Option<Timestamp>,
    pub paused: bool,
    /// Who approved last: the evidence.
    pub consent: Option<Consent>,
}

/// All tenants, by account and id.
///
/// # Errors
/// As the store's.
pub async fn list(store: &dyn Store, now: Timestamp) -> Result<Vec<TenantView>, StoreError> {
    let mut views = Vec::new();
    for shard in 0..SHARDS {
        for loaded in load_shard(store, shard).await? {
            let progress = progress::load(store, loaded.connection.tenant_id).await?;
            views.push(view(loaded.connection, progress.map(|loaded| loaded.feed).as_ref(), now));
        }
    }
    views.sort_by(|a, b| (&a.account, a.tenant_id).cmp(&(&b.account, b.tenant_id)));
    Ok(views)
}

fn view(connection: Connection, alerts: Option<&progress::AlertFeed>, now: Timestamp) -> TenantView {
    let consent = connection.consent_for(&connection.account).cloned();
    let watermark = alerts.map(|alerts| alerts.looks.watermark());
    TenantView {
        tenant_id: connection.tenant_id,
        account: connection.account,
        state: connection.state,
        capabilities: connection.feeds.into_iter().map(|(feed, state)| (feed, state.capability)).collect(),
        watermark,
        freshness_seconds: watermark.map(|at| now.duration_since(at).as_secs().max(0)),
        backlog: alerts.is_some_and(|alerts| !alerts.walks.is_empty()),
        parked: alerts.map_or(0, |alerts| alerts.walks.iter().filter(|walk| walk.reason == WalkReason::Parked).count()),
        ledger: alerts.map(|alerts| alerts.ledger).unwrap_or_default(),
        lateness: alerts.map(|alerts| alerts.lateness).unwrap_or_default(),
        connected_at: connection.connected_at,
        claimed_at: connection.claimed_at,
        paused: connection.paused,
        consent,
    }
}
