//! The stage with an inventory: a tenant that gives its machines, and what their events add up to.

use std::collections::BTreeMap;

use futures::executor::block_on;
use serde_json::{Map, Value};
use shared::{
    machine::progress::MachineFeed,
    record::{Progress, read_object},
    tenant::{Capability, Feed},
};
use simulator::{Machine, Machines, Route, Tenant};

use crate::{ALERT_ROLE, CLIENT, MACHINE_ROLE, Stage, TENANT, at, minutes};

impl Stage {
    /// As [`Stage::connected`], with the machines' feed.
    pub fn with_machines() -> Self {
        let stage = Self::with(&[]);
        stage.give_machines(TENANT);
        stage
    }

    /// Connects a tenant that has approved both feeds.
    pub fn give_machines(&self, tenant: &str) {
        self.world(|world| {
            let roles = [ALERT_ROLE, MACHINE_ROLE];
            world.add_tenant(Tenant::new(tenant, "Contoso").consented(CLIENT, &roles, at(-10_000)));
        });
        self.connect_with(tenant, "Contoso", &[Feed::Alerts, Feed::Machines], None).expect("the tenant has approved");
        // What the proof asked is nobody's story here.
        self.simulator.clear_log();
    }

    /// The first tenant's inventory at Microsoft.
    pub fn machines<R>(&self, change: impl FnOnce(&mut Machines) -> R) -> R {
        self.tenant(|tenant| change(&mut tenant.machines))
    }

    /// Machines of these ids, last seen now.
    pub fn put_machines<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let now = self.now();
        self.machines(|machines| ids.into_iter().for_each(|id| machines.put(Machine::new(id, now))));
    }

    /// Scripts Defender's next answers to `/api/machines`.
    pub fn script_machines(&self, faults: impl IntoIterator<Item = simulator::Fault>) {
        self.world(|world| world.script(Route::Machines, faults));
    }

    /// An hour later, one run.
    pub fn run_machines(&self) {
        self.pass(minutes(60));
        self.pull(Feed::Machines);
    }

    pub fn machine_feed(&self) -> MachineFeed {
        self.machine_feed_of(TENANT)
    }

    pub fn machine_feed_of(&self, tenant: &str) -> MachineFeed {
        let tenant = tenant.parse().expect("a tenant id");
        block_on(MachineFeed::load(self.app.ports.store.as_ref(), tenant))
            .expect("the store answers")
            .expect("every tenant has one")
            .0
    }

    pub fn machine_capability(&self) -> Capability {
        self.capability_of(Feed::Machines)
    }

    /// Every event of machines in the lake, in the order of the objects' keys.
    pub fn machine_events(&self) -> Vec<Value> {
        let mut events = Vec::new();
        for (key, object) in self.lake.objects().iter().filter(|(key, _)| key.starts_with("machines/")) {
            read_object(object, |line| {
                events.push(serde_json::from_str(line)?);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        events
    }

    /// (machine id, activity) of every event, in order.
    pub fn machine_news(&self) -> Vec<(String, String)> {
        let text = |event: &Value, pointer: &str| {
            event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        self.machine_events().iter().map(|event| (text(event, "/device/uid"), text(event, "/activity_name"))).collect()
    }

    /// What the requests to `/api/machines` asked for, since the log was last cleared.
    pub fn machine_calls(&self) -> Vec<String> {
        let calls = self.simulator.log().into_iter().filter(|entry| entry.target.starts_with("/api/machines"));
        calls.map(|entry| entry.target).collect()
    }

    /// Whoever replays a tenant's events has its inventory: nobody twice, nobody too many, everybody as Microsoft has them.
    pub fn assert_inventory(&self, tenant: &str) {
        let events = self.assert_replay(tenant);
        let feed = self.machine_feed_of(tenant);
        assert!(feed.ledger.balances(), "{:?}", feed.ledger);
        assert_eq!(feed.ledger.delivered, events as u64, "{:?}", feed.ledger);
    }

    /// As [`Stage::assert_inventory`], whatever the ledger says: that of a tenant that has come back began anew. How many
    /// events there are.
    pub fn assert_replay(&self, tenant: &str) -> usize {
        let mut replayed: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        let mut uids = std::collections::BTreeSet::new();
        let events = self.machine_events();
        let events: Vec<&Value> = events.iter().filter(|event| event["metadata"]["tenant_uid"] == tenant).collect();
        for event in &events {
            assert!(uids.insert(event["metadata"]["uid"].to_string()), "an event twice: {event}");
            let id = event["device"]["uid"].as_str().expect("an id").to_owned();
            if event["activity_name"] == "Removed" {
                let before = replayed.remove(&id);
                assert!(
                    before.is_some() || event["message"] != "Defender no longer knows the machine.",
                    "{id} removed twice"
                );
                continue;
            }
            let record = without_last_seen(event["raw_data"].as_str().expect("the record's text"));
            let before = replayed.insert(id.clone(), record.clone());
            assert_ne!(before.as_ref(), Some(&record), "{id} is delivered twice");
        }
        let there = self.world(|world| {
            let machines = &world.tenant(tenant).expect("a tenant").machines;
            let all = machines.ids().into_iter().filter_map(|id| machines.find(&id));
            let all = all.filter(|machine| machine.raw.is_none() && machine.fields["mergedIntoMachineId"].is_null());
            all.map(|machine| (machine.id.clone(), without_last_seen(&Value::Object(machine.fields).to_string())))
                .collect::<BTreeMap<_, _>>()
        });
        assert_eq!(replayed.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
        assert_eq!(replayed, there);
        events.len()
    }

    /// The lake's objects that are state and no records.
    pub fn snapshots(&self) -> Vec<String> {
        self.lake.objects().into_keys().filter(|key| key.starts_with("snapshots/")).collect()
    }
}

fn without_last_seen(text: &str) -> Map<String, Value> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).expect("a record");
    fields.retain(|name, _| name != "lastSeen" && !name.starts_with("@odata."));
    fields
}
