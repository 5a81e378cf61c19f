//! Whether the demo kept the promise: every ledger balances, and the lake holds each tenant's alerts and network events
//! exactly once, and of its machines what adds up to the inventory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
use shared::{
    record::read_object,
    tenant::{Feed, list::TenantView},
};
use simulator::Simulator;

use super::export::{Export, Exports};
use crate::Failure;

/// # Errors
/// [`Failure`] naming the first tenant whose numbers do not agree.
pub fn check(views: &[TenantView], lake: &Path, simulator: &Simulator, exports: &Exports) -> Result<(), Failure> {
    for view in views {
        for (feed, of) in &view.feeds {
            if !of.ledger.balances() {
                let (account, feed, ledger) = (&view.account, feed.name(), of.ledger);
                return Err(Failure::failed(format!("{account}: the ledger of {feed} does not balance: {ledger:?}")));
            }
        }
        machines(view, lake, simulator)?;
        for export in exports.0.iter().filter(|export| export.tenant.id == view.tenant_id.to_string()) {
            telemetry(view, lake, export)?;
        }
        let tenant = view.tenant_id.to_string();
        let delivered = delivered(lake, &tenant)?;
        let ledger = view.ledger;
        if delivered.versions.len() as u64 != ledger.delivered || delivered.lines != ledger.delivered {
            return Err(Failure::failed(format!(
                "{}: the ledger says {} delivered, the lake holds {} lines with {} versions",
                view.account,
                ledger.delivered,
                delivered.lines,
                delivered.versions.len()
            )));
        }
        let missing = simulator.world(|world| missing(world, &tenant, &delivered));
        if let Some(id) = missing {
            return Err(Failure::failed(format!(
                "{}: the latest version of alert {id} is not in the lake",
                view.account
            )));
        }
        if view.backlog {
            return Err(Failure::failed(format!("{}: older alerts are still outstanding", view.account)));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Delivered {
    lines: u64,
    versions: BTreeSet<String>,
    /// Per alert id, the times of its versions as Microsoft wrote them.
    times: BTreeMap<String, BTreeSet<String>>,
}

/// Readable alerts of the tenant whose latest version was not delivered.
fn missing(world: &mut simulator::World, tenant: &str, delivered: &Delivered) -> Option<String> {
    let alerts = &world.tenant(tenant)?.alerts;
    alerts.ids().into_iter().find(|id| {
        let latest = alerts.get(id).and_then(|alert| alert.fields.get("lastUpdateTime")).and_then(Value::as_str);
        // One without a time lies in the quarantine.
        latest.is_some_and(|latest| !delivered.times.get(id).is_some_and(|times| times.contains(latest)))
    })
}

fn delivered(lake: &Path, tenant: &str) -> Result<Delivered, Failure> {
    let mut found = Delivered::default();
    for event in events(lake, Feed::Alerts, tenant)? {
        found.lines += 1;
        found.versions.insert(text(&event, "/metadata/uid"));
        found
            .times
            .entry(text(&event, "/finding_info/uid"))
            .or_default()
            .insert(text(&event, "/metadata/original_time"));
    }
    Ok(found)
}

/// Whoever replays the events has the inventory: nobody too many, nobody missing, everybody as Microsoft has them.
fn machines(view: &TenantView, lake: &Path, simulator: &Simulator) -> Result<(), Failure> {
    let tenant = view.tenant_id.to_string();
    let mut replayed = BTreeMap::new();
    let events = events(lake, Feed::Machines, &tenant)?;
    for event in &events {
        let id = text(event, "/device/uid");
        if text(event, "/activity_name") == "Removed" {
            replayed.remove(&id);
        } else {
            let record: Value = serde_json::from_str(&text(event, "/raw_data")).map_err(Failure::failed)?;
            replayed.insert(id, without_last_seen(record.as_object().cloned().unwrap_or_default()));
        }
    }
    let there: BTreeMap<String, Map<String, Value>> = simulator.world(|world| {
        let Some(tenant) = world.tenant(&tenant) else { return BTreeMap::new() };
        let all = tenant.machines.ids().into_iter().filter_map(|id| tenant.machines.find(&id));
        // A merged record is another machine's.
        let own = all.filter(|machine| machine.fields.get("mergedIntoMachineId").is_none_or(Value::is_null));
        own.map(|machine| (machine.id, without_last_seen(machine.fields))).collect()
    });
    let delivered = view.feeds.get(&Feed::Machines).map_or(0, |feed| feed.ledger.delivered);
    if replayed == there && delivered == events.len() as u64 {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{}: {} machines come of {} events in the lake, {} are there, and the ledger says {delivered} delivered",
        view.account,
        replayed.len(),
        events.len(),
        there.len()
    )))
}

fn without_last_seen(mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.retain(|name, _| name != "lastSeen");
    fields
}

/// The lake holds every record of every blob once, however often Microsoft repeats it there.
fn telemetry(view: &TenantView, lake: &Path, export: &Export) -> Result<(), Failure> {
    let events = events(lake, Feed::Telemetry, &view.tenant_id.to_string())?;
    let mut found = BTreeSet::new();
    for event in &events {
        let line: Value = serde_json::from_str(&text(event, "/raw_data")).map_err(Failure::failed)?;
        let of = |pointer: &str| text(&line, pointer);
        let report_id = line.pointer("/properties/ReportId").and_then(Value::as_u64).unwrap_or_default();
        found.insert((
            of("/properties/DeviceId"),
            report_id,
            of("/properties/Timestamp"),
            of("/properties/ActionType"),
        ));
    }
    let ledger = export.ledger();
    let records = ledger.records().into_iter();
    let written: BTreeSet<_> = records
        .map(|record| {
            (record.device_id.clone(), record.report_id, record.timestamp.clone(), record.action_type.clone())
        })
        .collect();
    let feed = view.feeds.get(&Feed::Telemetry).cloned().unwrap_or_default();
    let numbers = [events.len() as u64, feed.ledger.delivered, ledger.deliveries() as u64];
    if found == written && numbers[0] == numbers[1] && numbers[1] == numbers[2] && feed.bytes_behind == Some(0) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{}: the lake holds {} network events, the ledger says {}, and {} were exported; {} bytes behind",
        view.account,
        numbers[0],
        numbers[1],
        numbers[2],
        feed.bytes_behind.unwrap_or_default()
    )))
}

fn text(event: &Value, pointer: &str) -> String {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Every event of one feed of one tenant, in the order of the objects' keys.
fn events(lake: &Path, feed: Feed, tenant: &str) -> Result<Vec<Value>, Failure> {
    let mut events = Vec::new();
    for day in folder(&lake.join(format!("{}/tenant={tenant}", feed.name())))? {
        for object in folder(&day)? {
            let bytes = fs::read(object).map_err(Failure::failed)?;
            read_object(&bytes, |line| {
                events.push(serde_json::from_str(line)?);
                Ok(())
            })
            .map_err(Failure::failed)?;
        }
    }
    Ok(events)
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(path).map_err(|cause| Failure::failed(format!("{}: {cause}", path.display())))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}
