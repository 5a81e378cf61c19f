//! A tenant's feeds on its page: how each stands, its last day as a chart, and the older alerts on their way.

use jiff::Timestamp;

use crate::{
    alert::{backfill::Backfill, progress::WalkReason},
    console::page::{
        chart,
        chart::Chart,
        standing::Standing,
        words::{self, Moment},
    },
    record::Hour,
    tenant::{
        Capability, Feed,
        list::{FeedView, TenantView},
    },
};

/// Watermarks are written every quarter of an hour where there is no news; the machines' with every inventory, hourly.
const DUE: u32 = 20 * 60;
const DUE_MACHINES: u32 = 2 * 60 * 60;

pub struct FeedRow<'a> {
    pub feed: Feed,
    pub standing: Standing<'a>,
    pub since: Moment,
    pub view: &'a FeedView,
    pub watermark: Option<Moment>,
    /// What else there is to know, a phrase each.
    pub facts: Vec<String>,
}

/// A feed's last day.
pub struct Day {
    pub feed: Feed,
    /// Names the feed's charts in ids.
    pub name: &'static str,
    pub freshness: Chart,
    pub delivered: Chart,
}

/// Older alerts on their way.
pub struct Walk {
    pub what: &'static str,
    pub since: String,
    pub until: String,
    pub percent: u8,
}

impl<'a> FeedRow<'a> {
    pub fn of(feed: Feed, capability: &'a Capability, tenant: &'a TenantView, now: Timestamp) -> Option<Self> {
        let view = tenant.feeds.get(&feed)?;
        Some(Self {
            feed,
            standing: Standing::of_feed(capability),
            since: Moment { at: capability.since, now },
            view,
            watermark: view.watermark.map(|at| Moment { at, now }),
            facts: facts(feed, view, tenant),
        })
    }

    pub fn balance(&self) -> String {
        match self.view.ledger.imbalance() {
            0 => "balances".to_owned(),
            off => format!("{} not accounted for", words::count(off)),
        }
    }

    pub fn counts(&self) -> [String; 4] {
        let ledger = &self.view.ledger;
        [ledger.fetched, ledger.delivered, ledger.deduplicated, ledger.quarantined].map(words::count)
    }
}

fn facts(feed: Feed, view: &FeedView, tenant: &TenantView) -> Vec<String> {
    let mut facts = Vec::new();
    facts.extend(view.machines.map(|machines| words::plural(machines, "machine")));
    facts.extend(view.held.map(|held| format!("{} vanished at once", words::count(held))));
    facts.extend(view.blobs.map(|blobs| words::plural(blobs, "blob")));
    facts.extend(view.bytes_behind.map(|bytes| match bytes {
        0 => "nothing unread".to_owned(),
        bytes => format!("{} unread", words::bytes(bytes)),
    }));
    if feed == Feed::Alerts && tenant.parked > 0 {
        facts.push(format!(
            "{} that Microsoft could not answer, tried again hourly",
            words::plural(tenant.parked, "window")
        ));
    }
    facts
}

impl Day {
    pub fn of(feed: Feed, hours: &[Hour]) -> Self {
        let (due, one) = match feed {
            Feed::Alerts => (DUE, "alert"),
            Feed::Machines => (DUE_MACHINES, "machine"),
            Feed::Telemetry => (DUE, "event"),
        };
        Self {
            feed,
            name: feed.name(),
            freshness: chart::freshness(hours, due),
            delivered: chart::delivered(hours, one),
        }
    }

    pub fn title(&self) -> &'static str {
        match self.feed {
            Feed::Alerts => "Alerts",
            Feed::Machines => "Machines",
            Feed::Telemetry => "Telemetry",
        }
    }

    pub fn of_alerts(&self) -> bool {
        self.feed == Feed::Alerts
    }
}

impl Walk {
    pub fn of(walk: &Backfill) -> Self {
        Self {
            what: match walk.reason {
                WalkReason::Backfill => "A backfill is under way",
                _ => "The first look is under way",
            },
            since: words::date(walk.since),
            until: words::date(walk.until),
            percent: walk.percent,
        }
    }
}
