//! The stage of a tenant that leaves and comes back: all three feeds at once, and what must be true of the lake whatever
//! happens to them.

use std::collections::BTreeSet;

use futures::executor::block_on;
use shared::{
    audit::{Action, Actor},
    tenant::{
        Feed, TenantId,
        remove::{RemoveError, Removed, remove},
    },
};
use simulator::Machine;

use crate::{ALERT_ROLE, MACHINE_ROLE, Stage, TENANT, line, minutes, seconds};

/// Where the telemetry of the first tenant lies.
pub const STORAGE: &str = "contosologs/hints";
const BLOB: &str = "tenantId=a0000000-0000-4000-8000-0000000000aa/y=2026/PT1H.json";

impl Stage {
    /// A tenant whose three feeds have been pulled once, with more to come of each.
    pub fn with_everything() -> Self {
        let stage = Self::with_storage(&[("MUSTER_FIRST_LOOK_DAYS", "1")]);
        stage.approves(&[ALERT_ROLE, MACHINE_ROLE]);
        stage.more_of_everything(0);
        stage.connect_everything().expect("the tenant has approved");
        stage.hours(2);
        stage.more_of_everything(1);
        stage
    }

    /// Connects the first tenant with all feeds.
    pub fn connect_everything(&self) -> Result<(), String> {
        self.connect_feeds(&Feed::ALL, Some(STORAGE))
    }

    /// Microsoft has some more of each feed; `round` keeps it apart from what there was.
    pub fn more_of_everything(&self, round: u64) {
        for n in 0..3 {
            self.put(simulator::Alert::new(&format!("da{round}-{n}"), self.now() - seconds(20 * n)));
        }
        let now = self.now();
        self.machines(|machines| {
            machines.put(Machine::new(&format!("m{round}-0"), now));
            machines.put(Machine::new(&format!("m{round}-1"), now));
            if let Some(before) = round.checked_sub(1) {
                machines.update(&format!("m{before}-0"), |fields| {
                    fields.insert("riskScore".to_owned(), round.into());
                });
            }
        });
        let lines: String = (0..5).map(|n| line(100 * round + n, &serde_json::json!({})) + "\n").collect();
        self.append(BLOB, lines.clone());
        self.append(&BLOB.replace("y=2026", &format!("y={round}")), lines);
    }

    /// So many hours pass, with a few ticks of every feed in each.
    pub fn hours(&self, hours: usize) {
        for _ in 0..hours {
            self.pass(minutes(55));
            for _ in 0..3 {
                self.pass(minutes(2));
                Feed::ALL.into_iter().for_each(|feed| self.pull(feed));
            }
        }
    }

    /// The operator removes the first tenant.
    pub fn remove(&self) -> Result<Removed, RemoveError> {
        block_on(remove(&self.app, TENANT.parse().expect("a constant"), &Actor::CommandLine))
    }

    /// What is left in the first tenant's partition, by sort key.
    pub fn partition(&self) -> Vec<String> {
        let tenant: TenantId = TENANT.parse().expect("a constant");
        let items = block_on(self.app.ports.store.query(&tenant.partition(), "")).expect("the store answers");
        items.into_iter().map(|(key, _)| key.sort).collect()
    }

    /// What the trail says was done, oldest first; that accounts were made is nobody's story here.
    pub fn actions(&self) -> Vec<Action> {
        let actions = self.trail().into_iter().map(|entry| entry.action);
        actions.filter(|action| *action != Action::AccountCreated).collect()
    }

    /// Each version of each alert, each state of each machine and each record of each blob is in the lake, and once; the
    /// export has this many lines.
    #[track_caller]
    pub fn assert_everything_once(&self, lines: usize) {
        let uids: Vec<String> = self.events().iter().map(|event| event["metadata"]["uid"].to_string()).collect();
        assert_eq!(uids.iter().collect::<BTreeSet<_>>().len(), uids.len(), "a version was delivered twice");
        let there = self.tenant(|tenant| tenant.alerts.ids());
        assert_eq!(self.ids(), there.into_iter().collect::<Vec<_>>());
        self.assert_replay(TENANT);
        let records = self.network_events().len();
        assert_eq!(records, lines, "records of {lines} lines");
        // A line is in both blobs of its round, or in one of all.
        assert!(self.records().values().all(|count| *count <= 2), "{:?}", self.records());
    }
}
