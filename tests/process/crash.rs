//! `kill -9` of `muster serve` at any moment loses nothing and doubles nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use harness::TENANT;
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use shared::record::read_object;

use crate::{
    microsoft::Microsoft,
    programs::{Running, at_once, until},
};

const KILLS: u32 = 12;
/// Milliseconds from start to kill; a start takes some of them.
const LIVES: Range<u64> = 300..1500;

#[test]
fn kill_9_at_any_moment_loses_nothing_and_doubles_nothing() {
    let microsoft = Microsoft::new();
    let mut dice = StdRng::seed_from_u64(2026);
    let mut feeder = Feeder { microsoft: &microsoft, count: 0 };
    // Older alerts too, so that the first look is walked through among the crashes.
    let now = Timestamp::now();
    for hours in 1..40 {
        feeder.put(now - SignedDuration::from_hours(4 * hours));
    }
    let data = microsoft.connected_folder();

    let mut delivered_between_kills = 0;
    for kill in 0..KILLS {
        let serving = serve(&microsoft, data.path());
        let life = Duration::from_millis(dice.random_range(LIVES));
        let begun = Instant::now();
        while begun.elapsed() < life {
            feeder.happen(&mut dice);
            thread::sleep(Duration::from_millis(dice.random_range(1..40)));
        }
        // Every other time at one of the two moments that an open intent is for: its object is being written, or is
        // in the lake and not committed.
        if kill % 2 == 1 {
            let lake = data.path().join("lake");
            // What earlier kills left half written stays there for an hour.
            let drafts = || fs::read_dir(lake.join(".incoming")).unwrap().count();
            let (drafts_before, objects_before) = (drafts(), objects(&lake).len());
            feeder.happen(&mut dice);
            at_once("the next pass delivers", || {
                // A draft is there for a moment only; on a busy machine it may be over before we look.
                let drafted = kill % 4 == 1 && drafts() > drafts_before;
                (drafted || objects(&lake).len() > objects_before).then_some(())
            });
        }
        let killed = serving.kill();
        assert_eq!(killed.status.code(), None, "it ended by a signal: {killed:?}");
        delivered_between_kills = events(data.path()).len();
    }
    assert!(delivered_between_kills > 0, "nothing was delivered between the kills, so they proved nothing");

    let serving = serve(&microsoft, data.path());
    let latest = feeder.latest();
    until("every latest version is in the lake", || {
        let delivered: BTreeSet<_> = events(data.path()).iter().map(version).collect();
        latest.iter().all(|version| delivered.contains(version)).then_some(())
    });
    // All that may be in the lake already when the server starts: what the last kill left open is settled by its first pass.
    until("the first look is done and the ledger knows what the lake holds", || {
        let tenant = microsoft.tenants(data.path())[0].clone();
        let all_counted = tenant["ledger"]["delivered"] == events(data.path()).len();
        (tenant["backlog"] == false && balances(&tenant["ledger"]) && all_counted).then_some(())
    });
    serving.terminate().exits(0);

    let events = events(data.path());
    let uids: BTreeSet<&str> = events.iter().map(|event| event["metadata"]["uid"].as_str().unwrap()).collect();
    assert_eq!(uids.len(), events.len(), "a version was delivered twice");
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    for event in &events {
        *times.entry(version(event)).or_default() += 1;
    }
    for version in &latest {
        assert_eq!(times.get(version), Some(&1), "{version:?}");
    }
    let tenant = microsoft.tenants(data.path())[0].clone();
    assert!(balances(&tenant["ledger"]), "{tenant:#}");
    assert_eq!(tenant["ledger"]["delivered"], events.len(), "{tenant:#}");
    assert_eq!(tenant["ledger"]["quarantined"], 0, "{tenant:#}");
    assert_eq!(tenant["state"], "active", "{tenant:#}");
}

fn serve(microsoft: &Microsoft, data: &Path) -> Running {
    microsoft.muster(&["serve", "--listen", "127.0.0.1:0", "--tick", "1"], data).run()
}

/// What goes on in the tenant meanwhile.
struct Feeder<'a> {
    microsoft: &'a Microsoft,
    count: u32,
}

impl Feeder<'_> {
    fn id(number: u32) -> String {
        format!("da6380000000000{number:05}_{number}")
    }

    fn put(&mut self, at: Timestamp) {
        self.count += 1;
        self.microsoft.alerts(|alerts| alerts.put(simulator::Alert::new(&Self::id(self.count), at)));
    }

    /// A new alert, or a change of an old one, now.
    fn happen(&mut self, dice: &mut StdRng) {
        let now = Timestamp::now();
        if dice.random_bool(0.6) {
            return self.put(now);
        }
        let id = Self::id(dice.random_range(1..=self.count));
        self.microsoft.alerts(|alerts| {
            alerts.update(&id, now, |fields| {
                fields.insert("status".to_owned(), "InProgress".into());
            });
        });
    }

    /// (alert id, `lastUpdateTime`) of every alert as it is now.
    fn latest(&self) -> BTreeSet<(String, String)> {
        self.microsoft.alerts(|alerts| {
            let version = |id: String| {
                let alert = alerts.find(&id).unwrap();
                (id, alert.fields["lastUpdateTime"].as_str().unwrap().to_owned())
            };
            alerts.ids().into_iter().map(version).collect()
        })
    }
}

fn version(event: &Value) -> (String, String) {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    (text("/finding_info/uid"), text("/metadata/original_time"))
}

fn balances(ledger: &Value) -> bool {
    let count = |name: &str| ledger[name].as_u64().unwrap();
    count("fetched") == count("delivered") + count("deduplicated") + count("quarantined")
}

/// The objects with alerts in the lake.
fn objects(lake: &Path) -> Vec<PathBuf> {
    let Ok(days) = fs::read_dir(lake.join("alerts").join(format!("tenant={TENANT}"))) else { return Vec::new() };
    let objects = days.flat_map(|day| fs::read_dir(day.unwrap().path()).unwrap());
    objects.map(|object| object.unwrap().path()).collect()
}

/// Every event in the lake. Whatever lies there is a whole object.
fn events(data: &Path) -> Vec<Value> {
    let mut events = Vec::new();
    for path in objects(&data.join("lake")) {
        read_object(&fs::read(&path).unwrap(), |line| {
            events.push(serde_json::from_str(line)?);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    events
}
