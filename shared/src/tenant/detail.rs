//! One tenant with its last day, hour by hour: what the console's page of a tenant and `GET /api/tenants/{id}` show.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Feed, TenantId,
    list::{TenantView, view},
    load,
};
use crate::{
    alert::progress::AlertFeed,
    credential::status,
    machine::progress::MachineFeed,
    ports::store::{Store, StoreError},
    record::{Hour, Progress},
    telemetry::progress::TelemetryFeed,
};

/// Hours that are shown, the one under way included.
const HOURS: u8 = 24;

#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Detail {
    #[serde(flatten)]
    pub view: TenantView,
    /// How old each feed's data was at worst and how many events left, by the hour, oldest first.
    pub history: BTreeMap<Feed, Vec<Hour>>,
}

/// One tenant, a removed one too; none that was never here.
///
/// # Errors
/// As the store's.
pub async fn detail(store: &dyn Store, tenant: TenantId, now: Timestamp) -> Result<Option<Detail>, StoreError> {
    let Some(known) = load(store, tenant).await? else { return Ok(None) };
    let mut history = BTreeMap::new();
    for feed in known.connection.feeds.keys() {
        let hours = match feed {
            Feed::Alerts => hours::<AlertFeed>(store, tenant, now).await?,
            Feed::Machines => hours::<MachineFeed>(store, tenant, now).await?,
            Feed::Telemetry => hours::<TelemetryFeed>(store, tenant, now).await?,
        };
        history.insert(*feed, hours);
    }
    let credentials = status::all(store).await?;
    let view = view(store, known.connection, &credentials, now).await?;
    Ok(Some(Detail { view, history }))
}

async fn hours<F: Progress>(store: &dyn Store, tenant: TenantId, now: Timestamp) -> Result<Vec<Hour>, StoreError> {
    let loaded = F::load(store, tenant).await?;
    Ok(loaded.map(|(mut feed, _)| feed.history().hours(HOURS, now)).unwrap_or_default())
}
