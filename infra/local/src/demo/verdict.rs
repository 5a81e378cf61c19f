//! Whether the demo kept the promise: every ledger balances, and the lake holds each tenant's alerts exactly once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;
use shared::{record::read_object, tenant::list::TenantView};
use simulator::Simulator;

use crate::Failure;

/// # Errors
/// [`Failure`] naming the first tenant whose numbers do not agree.
pub fn check(views: &[TenantView], lake: &Path, simulator: &Simulator) -> Result<(), Failure> {
    for view in views {
        let tenant = view.tenant_id.to_string();
        let delivered = delivered(lake, &tenant)?;
        let ledger = view.ledger;
        if !ledger.balances() {
            return Err(Failure::failed(format!("{}: the ledger does not balance: {ledger:?}", view.account)));
        }
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
    let root = lake.join(format!("alerts/tenant={tenant}"));
    for day in fs::read_dir(&root).map_err(Failure::failed)?.flatten() {
        for object in fs::read_dir(day.path()).map_err(Failure::failed)?.flatten() {
            let bytes = fs::read(object.path()).map_err(Failure::failed)?;
            read_object(&bytes, |line| {
                let event: Value = serde_json::from_str(line)?;
                let text =
                    |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
                found.lines += 1;
                found.versions.insert(text("/metadata/uid"));
                found.times.entry(text("/finding_info/uid")).or_default().insert(text("/metadata/original_time"));
                Ok(())
            })
            .map_err(Failure::failed)?;
        }
    }
    Ok(found)
}
