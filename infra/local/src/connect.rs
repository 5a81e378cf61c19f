//! `muster connect`: the operator vouches for a tenant, Microsoft proves it.

use shared::{
    App,
    audit::Actor,
    consent::connect::{self, ConnectError, NewConnection, connect},
    tenant::{Ability, Connection, Feed, account},
};

use crate::Failure;

/// Refuses what can be seen to be wrong before a data folder is opened or made.
///
/// # Errors
/// [`Failure::Usage`]
pub fn check(new: &NewConnection) -> Result<(), Failure> {
    account::name(&new.account).map_err(|error| Failure::Usage(format!("--account: {error}")))?;
    connect::check(new).map_err(|error| Failure::Usage(error.to_string()))
}

/// # Errors
/// [`Failure`] with each thing missing and its next step, one a line; nothing is changed then.
pub async fn run(app: &App, new: &NewConnection) -> Result<(), Failure> {
    let connection = connect(app, new, &Actor::CommandLine).await.map_err(|error| match error {
        ConnectError::Unsupported(_) => Failure::Usage(error.to_string()),
        ConnectError::NotProven { connected_already: true, .. } => {
            Failure::failed(format!("{} stays as it was, for something is missing.\n{error}", new.tenant_id))
        }
        ConnectError::NotProven { .. } => {
            Failure::failed(format!("{} is not connected, for something is missing.\n{error}", new.tenant_id))
        }
        other => Failure::failed(format!("{} is not connected. {other}", new.tenant_id)),
    })?;
    eprintln!("{}", words(&connection, &new.feeds));
    Ok(())
}

/// What the operator may expect now of these feeds.
fn words(connection: &Connection, feeds: &[Feed]) -> String {
    let mut text = format!("{} is connected to the account {}", connection.tenant_id, connection.account);
    let state = |feed: &Feed| connection.feeds.get(feed);
    let (waiting, flowing): (Vec<&Feed>, Vec<&Feed>) = connection
        .feeds
        .keys()
        .filter(|feed| feeds.contains(feed))
        .partition(|feed| state(feed).is_some_and(|feed| feed.capability.status == Ability::NotConfigured));
    let names: Vec<&str> = flowing.iter().map(|feed| feed.name()).collect();
    match names.split_last() {
        None => text.push('.'),
        Some((last, [])) => text.push_str(&format!("; its {last} flow from the next tick on.")),
        Some((last, others)) => {
            text.push_str(&format!("; its {} and {last} flow from the next tick on.", others.join(", ")));
        }
    }
    if flowing.contains(&&Feed::Machines) {
        text.push_str(" Machines have a slower tick of their own.");
    }
    for feed in waiting {
        let next_step = state(feed).map(|feed| feed.capability.next_step.as_str()).unwrap_or_default();
        text.push_str(&format!("\n{}: {next_step}", feed.name()));
    }
    text
}
