//! `muster tenants`: every tenant at a glance.

use std::fmt::Write;

use serde_json::Value;
use shared::{
    App,
    tenant::{
        Ability, Feed,
        list::{FeedView, TenantView, list},
    },
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
    let feeds: Vec<Feed> =
        Feed::ALL.into_iter().filter(|feed| tenants.iter().any(|tenant| tenant.feeds.contains_key(feed))).collect();
    let mut rows = vec![head(&feeds)];
    rows.extend(tenants.iter().map(|tenant| row(tenant, &feeds)));
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column] - cell.chars().count());
            // Numbers stand to the right.
            let is_number = (columns - 5..columns - 1).contains(&column);
            line.push_str(&if is_number { padding + cell } else { cell.clone() + &padding });
            line.push_str("  ");
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
        if let Some(tenant) = n.checked_sub(1).and_then(|n| tenants.get(n)) {
            text.push_str(&advice(tenant));
        }
    }
    text
}

fn head(feeds: &[Feed]) -> Vec<String> {
    let feeds = feeds.iter().map(|feed| feed.name());
    let before = ["account", "tenant", "state"].into_iter();
    let after = ["fetched", "delivered", "dedup.", "quarant.", ""];
    before.chain(feeds).chain(after).map(str::to_owned).collect()
}

/// The ledgers of all feeds together; each has its own in the JSON.
fn row(tenant: &TenantView, feeds: &[Feed]) -> Vec<String> {
    let sum = |count: fn(&FeedView) -> u64| tenant.feeds.values().map(count).sum::<u64>().to_string();
    let balances = tenant.feeds.values().all(|feed| feed.ledger.balances());
    let mut row = vec![shorten(&tenant.account, 24), tenant.tenant_id.to_string(), word(&tenant.state)];
    row.extend(feeds.iter().map(|feed| cell(tenant, *feed)));
    row.extend([
        sum(|feed| feed.ledger.fetched),
        sum(|feed| feed.ledger.delivered),
        sum(|feed| feed.ledger.deduplicated),
        sum(|feed| feed.ledger.quarantined),
        if balances { "" } else { "DOES NOT BALANCE" }.to_owned(),
    ]);
    row
}

/// What a feed can do, how old the newest is that we have seen of it, and how much there is.
fn cell(tenant: &TenantView, feed: Feed) -> String {
    let (Some(view), Some(capability)) = (tenant.feeds.get(&feed), tenant.capabilities.get(&feed)) else {
        return "-".to_owned();
    };
    let mut text = word(&capability.status);
    if let Some(seconds) = view.freshness_seconds {
        text.push_str(&format!(" {}", age(seconds.unsigned_abs())));
    }
    if let Some(machines) = view.machines {
        text.push_str(&format!(", {machines} known"));
    }
    if let Some(bytes) = view.bytes_behind {
        text.push_str(&format!(", {} behind", size(bytes)));
    }
    text
}

/// What a person should know or do, each in a line of its own.
fn advice(tenant: &TenantView) -> String {
    let mut lines = Vec::new();
    if tenant.parked > 0 {
        lines.push(format!(
            "alerts: {} window(s) parked, which Microsoft cannot answer; tried again every hour.",
            tenant.parked
        ));
    }
    for (feed, capability) in &tenant.capabilities {
        if capability.status != Ability::Ok {
            lines.push(format!("{}: {}. {}", word(feed), word(&capability.status), capability.next_step));
        } else if tenant.feeds.get(feed).is_some_and(|feed| feed.held.is_some()) {
            lines.push(format!("{}: {}", word(feed), capability.next_step));
        }
    }
    lines.iter().map(|line| format!("    {line}\n")).collect()
}

/// In the largest unit that still tells two from three.
pub fn age(seconds: u64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        ..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
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
