//! `muster tenants`: every tenant at a glance.

use std::fmt::Write;

use serde_json::Value;
use shared::{
    App,
    tenant::list::{TenantView, list},
};

use crate::Failure;

/// Prints all tenants; none where there is no data folder yet.
///
/// # Errors
/// When the store fails.
pub async fn run(app: Option<&App>, json: bool) -> Result<(), Failure> {
    let tenants = match app {
        Some(app) => list(app.ports.store.as_ref(), app.clock.now()).await.map_err(Failure::failed)?,
        None => Vec::new(),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&tenants).map_err(Failure::failed)?);
    } else if tenants.is_empty() {
        eprintln!(
            "No tenant yet. Take one in with `muster invite ACCOUNT` or `muster connect TENANT_ID --account NAME`."
        );
    } else {
        print!("{}", table(&tenants));
    }
    Ok(())
}

/// A table for people: one line a tenant, and beneath it what to do where something is wrong.
pub fn table(tenants: &[TenantView]) -> String {
    let mut rows = vec![
        ["account", "tenant", "state", "fetched", "delivered", "dedup.", "quarant.", "fresh", ""].map(str::to_owned),
    ];
    for tenant in tenants {
        let ledger = tenant.ledger;
        rows.push([
            shorten(&tenant.account, 24),
            tenant.tenant_id.to_string(),
            word(&tenant.state),
            ledger.fetched.to_string(),
            ledger.delivered.to_string(),
            ledger.deduplicated.to_string(),
            ledger.quarantined.to_string(),
            tenant.freshness_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s")),
            if ledger.balances() { "" } else { "DOES NOT BALANCE" }.to_owned(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..9).map(width).collect();
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column] - cell.chars().count());
            // Numbers stand to the right.
            let cell = if (3..8).contains(&column) { padding + cell } else { cell.clone() + &padding };
            line.push_str(&cell);
            line.push_str("  ");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
        if let Some(tenant) = n.checked_sub(1).and_then(|n| tenants.get(n)) {
            if tenant.parked > 0 {
                let _ = writeln!(
                    text,
                    "    alerts: {} window(s) parked, which Microsoft cannot answer; tried again every hour.",
                    tenant.parked
                );
            }
            for (feed, capability) in &tenant.capabilities {
                if capability.status != shared::tenant::Ability::Ok {
                    let _ =
                        writeln!(text, "    {}: {}. {}", word(feed), word(&capability.status), capability.next_step);
                }
            }
        }
    }
    text
}

/// An enum's JSON name in words.
pub fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => text.replace('_', " "),
        _ => String::new(),
    }
}

fn shorten(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        text.to_owned()
    } else {
        text.chars().take(length - 1).chain(['…']).collect()
    }
}
