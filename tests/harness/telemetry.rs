//! The stage with telemetry: a storage account that Defender exports to, and what has come of it.

use std::collections::BTreeMap;

use futures::executor::block_on;
use serde_json::Value;
use shared::{
    record::{Progress, read_object},
    telemetry::progress::{Part, TelemetryFeed},
    tenant::{Feed, list::FeedView},
};
use simulator::{Exporter, Fault, Ledger, Route, StorageAccount, StorageRole};

use crate::{CLIENT, Stage, TENANT, at, minutes};

pub const ACCOUNT: &str = "contosologs";
pub const HINTS: &str = "hints";
/// The settings under which the simulator's storage is found.
const STORAGE: [(&str, &str); 2] = [
    ("MUSTER_BLOB_URL", "https://storage.example/storage/{account}/blob"),
    ("MUSTER_AZURE_QUEUE_URL", "https://storage.example/storage/{account}/queue"),
];

/// What a record is to Microsoft: device, report, time, action and the text of its properties.
pub type Identity = (String, String, String, String, String);

impl Stage {
    /// A tenant whose Defender may export, connected with nothing but telemetry at noon.
    pub fn with_telemetry() -> Self {
        let stage = Self::with_storage(&[]);
        stage.connect_feeds(&[Feed::Telemetry], Some("contosologs/hints")).expect("storage is set up");
        stage
    }

    /// As [`Stage::with`], with a storage account that is set up as we ask for it.
    pub fn with_storage(settings: &[(&str, &str)]) -> Self {
        let settings: Vec<(&str, &str)> = STORAGE.iter().chain(settings).copied().collect();
        let stage = Self::with(&settings);
        stage.world(|world| {
            let account = StorageAccount::new(ACCOUNT, TENANT)
                .with_container(Exporter::CONTAINER)
                .with_queue(HINTS)
                .with_subscription(Exporter::CONTAINER, HINTS)
                .with_role(CLIENT, StorageRole::BlobDataReader)
                .with_role(CLIENT, StorageRole::QueueDataMessageProcessor);
            world.add_storage(account);
        });
        stage
    }

    /// Changes the tenant's storage account.
    pub fn storage<R>(&self, change: impl FnOnce(&mut StorageAccount) -> R) -> R {
        self.world(|world| change(world.storage(ACCOUNT).expect("the account")))
    }

    /// Scripts storage's next answers on a route.
    pub fn script_storage(&self, route: Route, faults: impl IntoIterator<Item = Fault>) {
        self.world(|world| world.script(route, faults));
    }

    /// An exporter that begins now.
    pub fn exporter(&self, seed: u64) -> Exporter {
        Exporter::new(seed, TENANT, ACCOUNT, self.now())
    }

    /// Writes everything that the exporter has until now.
    pub fn export(&self, exporter: &mut Exporter) {
        let steps = exporter.advance(self.now());
        self.storage(|storage| steps.into_iter().for_each(|step| storage.export(HINTS, step)));
    }

    /// Completes what the exporter has cut short.
    pub fn finish_export(&self, exporter: &mut Exporter) {
        let steps = exporter.finish();
        self.storage(|storage| steps.into_iter().for_each(|step| storage.export(HINTS, step)));
    }

    /// Appends to one blob of the container; makes it, with its event, where it is not there.
    pub fn append(&self, blob: &str, text: impl Into<Vec<u8>>) {
        let text = text.into();
        self.storage(|storage| {
            if storage.length(Exporter::CONTAINER, blob).is_none() {
                storage.create_append_blob(Exporter::CONTAINER, blob);
            }
            storage.append(Exporter::CONTAINER, blob, text);
        });
    }

    /// A minute later, one pass over the telemetry.
    pub fn drain_telemetry(&self) {
        self.pass(minutes(1));
        self.pull(Feed::Telemetry);
    }

    /// Every telemetry event in the lake, object by object.
    pub fn network_events(&self) -> Vec<Value> {
        self.events_of("telemetry/")
    }

    /// Every event under a prefix of the lake, object by object.
    pub fn events_of(&self, prefix: &str) -> Vec<Value> {
        let mut events = Vec::new();
        for (key, object) in self.lake.objects().iter().filter(|(key, _)| key.starts_with(prefix)) {
            read_object(object, |line| {
                events.push(serde_json::from_str(line)?);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        events
    }

    /// How often each record is in the lake.
    pub fn records(&self) -> BTreeMap<Identity, usize> {
        let mut records = BTreeMap::new();
        for event in self.network_events() {
            *records.entry(identity(event["raw_data"].as_str().expect("raw data"))).or_default() += 1;
        }
        records
    }

    /// Compares the lake with what the exporter has written: each record once for every blob that it is in.
    #[track_caller]
    pub fn lake_equals(&self, ledger: &Ledger) {
        let expected = written(ledger);
        let found = self.records();
        for (record, count) in &expected {
            assert_eq!(found.get(record), Some(count), "{record:?}");
        }
        assert_eq!(found.len(), expected.len(), "the lake has records that nobody wrote");
        let view = self.feed_view(Feed::Telemetry);
        assert!(view.ledger.balances(), "{:?}", view.ledger);
        assert_eq!(view.ledger.delivered, ledger.deliveries() as u64);
        // Messages of the queue that nobody can read are counted beside the lines.
        assert!(view.ledger.fetched >= ledger.lines(), "{:?} of {} lines", view.ledger, ledger.lines());
    }

    /// The state names what there is, and the lake keeps little that it does not name: at most what so many workers have put
    /// there who were taken for dead.
    #[track_caller]
    pub fn assert_telemetry_tidy(&self, stalls: usize) {
        let (store, tenant) = (self.app.ports.store.as_ref(), TENANT.parse().expect("a constant"));
        let feed =
            block_on(TelemetryFeed::load(store, tenant)).expect("the store answers").expect("every tenant has one").0;
        assert_eq!(feed.intent, None);
        let mut named: Vec<String> = feed.superseded;
        for part in [Part::Live, Part::Retired] {
            let blobs = block_on(part.load(store, tenant)).expect("the store answers");
            named.extend(blobs.into_values().flat_map(|(blob, _)| blob.segments).map(|segment| segment.name));
        }
        let objects = self.lake.objects();
        let there: Vec<&str> = objects.keys().filter_map(|key| key.strip_prefix("snapshots/telemetry/")).collect();
        for name in &named {
            assert!(there.iter().any(|key| key.contains(name.as_str())), "{name} is not there: {there:?}");
        }
        let orphans = there.len() - named.len();
        assert!(orphans <= 2 * stalls, "{orphans} orphans after {stalls} stalls: {there:?} {named:?}");
    }

    pub fn feed_view(&self, feed: Feed) -> FeedView {
        self.view().feeds[&feed].clone()
    }

    /// Objects of the quarantine for telemetry.
    pub fn quarantined_telemetry(&self) -> Vec<Value> {
        let objects = self.lake.objects();
        let telemetry = objects.iter().filter(|(key, _)| key.starts_with("quarantine/telemetry/"));
        telemetry
            .map(|(key, object)| serde_json::from_slice(object).unwrap_or_else(|error| panic!("{key}: {error}")))
            .collect()
    }
}

/// What an exporter has written: each record once for every blob that it is in.
pub fn written(ledger: &Ledger) -> BTreeMap<Identity, usize> {
    let mut written = BTreeMap::new();
    for record in ledger.blobs.values().flat_map(|blob| &blob.records) {
        let identity = (
            record.device_id.clone(),
            record.report_id.to_string(),
            record.timestamp.clone(),
            record.action_type.clone(),
            record.properties.clone(),
        );
        *written.entry(identity).or_default() += 1;
    }
    written
}

/// Reads a line as the test does, which shares nothing with the product but JSON.
///
/// # Panics
/// When it is no line of the export.
pub fn identity(line: &str) -> Identity {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        properties: &'a serde_json::value::RawValue,
    }
    let text = serde_json::from_str::<Line<'_>>(line).expect("a line").properties.get();
    let properties: Value = serde_json::from_str(text).expect("properties");
    let word = |name: &str| properties[name].as_str().map_or_else(|| properties[name].to_string(), str::to_owned);
    (word("DeviceId"), word("ReportId"), word("Timestamp"), word("ActionType"), text.to_owned())
}

/// A line of the export with these properties beside the usual ones.
pub fn line(report: u64, properties: &Value) -> String {
    let mut all = serde_json::json!({
        "DeviceId": "d1", "DeviceName": "host1", "ReportId": report, "ActionType": "ConnectionSuccess", "RemoteIP": "203.0.113.9",
        "RemotePort": 443, "LocalIP": "10.0.0.1", "Timestamp": crate::stamp(at(0)),
    });
    for (name, value) in properties.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    serde_json::json!({
        "time": crate::stamp(at(1)), "tenantId": TENANT, "operationName": "Publish",
        "category": "AdvancedHunting-DeviceNetworkEvents", "properties": all, "Tenant": "DefaultTenant",
    })
    .to_string()
}
