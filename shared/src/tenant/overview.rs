//! How all tenants are, in numbers: what the provider's whole service looks like today.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Ability, Connection, Feed, State,
    glance::{Count, connections, needs},
    list::{READ_AT_ONCE, watermark},
};
use crate::ports::store::{Store, StoreError};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Those that are in, or on their way in.
    pub tenants: usize,
    /// By state; none of a state is not named.
    pub states: BTreeMap<State, usize>,
    pub paused: usize,
    /// What waits for a person, the worst first.
    pub needs: Vec<Count>,
    /// Feeds that Microsoft has asked to wait, and that wait now.
    pub throttled: usize,
    /// Feeds that fail, whoever is to do something about it.
    pub failing: usize,
    pub freshness: Freshness,
}

/// The age of the data, in seconds, of those tenants where it should flow. An age is never less than the pace at which a
/// feed writes its watermark; without news that is every 15 minutes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// How many tenants that is.
    pub tenants: usize,
    pub p50_seconds: Option<i64>,
    pub p99_seconds: Option<i64>,
}

/// # Errors
/// As the store's.
pub async fn overview(store: &dyn Store, now: Timestamp) -> Result<Overview, StoreError> {
    let connections = connections(store).await?;
    let flowing: Vec<_> = connections.iter().filter_map(flowing_feed).collect();
    let read = stream::iter(flowing).map(|(tenant, feed)| watermark(store, tenant, feed)).buffered(READ_AT_ONCE);
    let watermarks: Vec<Option<Timestamp>> = read.try_collect().await?;
    let ages = watermarks.into_iter().flatten().map(|at| now.duration_since(at).as_secs().max(0));
    Ok(Overview { freshness: freshness(ages.collect()), ..counted(&connections, now) })
}

/// The feed that a tenant's age is told by: its first, if its data should flow.
fn flowing_feed(connection: &Connection) -> Option<(super::TenantId, Feed)> {
    let feed = *connection.feeds.keys().next()?;
    let flows = connection.should_be_fresh(feed) && !connection.paused;
    flows.then_some((connection.tenant_id, feed))
}

fn counted(connections: &[Connection], now: Timestamp) -> Overview {
    let mut states = BTreeMap::new();
    for connection in connections {
        *states.entry(connection.state).or_insert(0) += 1;
    }
    let here: Vec<&Connection> = connections.iter().filter(|known| known.state != State::Removed).collect();
    // Whoever is paused is asked nothing.
    let asked = || here.iter().filter(|connection| !connection.paused);
    let feeds = || asked().flat_map(|connection| connection.feeds.values());
    let waits = |until: Option<Timestamp>| until.is_some_and(|until| until > now);
    Overview {
        tenants: here.len(),
        states,
        paused: here.iter().filter(|connection| connection.paused).count(),
        needs: needs(connections),
        throttled: feeds()
            .filter(|feed| feed.capability.status == Ability::Throttled && waits(feed.asleep_until))
            .count(),
        failing: feeds().filter(|feed| feed.capability.status == Ability::Failing).count(),
        freshness: Freshness::default(),
    }
}

fn freshness(mut ages: Vec<i64>) -> Freshness {
    ages.sort_unstable();
    // The nearest rank: an age that some tenant has.
    let percentile = |percent: usize| {
        let rank = (ages.len() * percent).div_ceil(100);
        ages.get(rank.saturating_sub(1)).copied()
    };
    Freshness { tenants: ages.len(), p50_seconds: percentile(50), p99_seconds: percentile(99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_age_of_some_tenant() {
        let told = |ages: Vec<i64>| {
            let told = freshness(ages);
            (told.tenants, told.p50_seconds, told.p99_seconds)
        };
        assert_eq!(told(vec![]), (0, None, None));
        assert_eq!(told(vec![7]), (1, Some(7), Some(7)));
        assert_eq!(told(vec![900, 10]), (2, Some(10), Some(900)));
        assert_eq!(told((1..=100).rev().collect()), (100, Some(50), Some(99)));
        assert_eq!(told((1..=200).collect()), (200, Some(100), Some(198)));
    }
}
