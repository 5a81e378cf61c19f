//! A pull between two ticks, because somebody wants to see it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Connection, Feed, State, TenantId,
    change::{ChangeError, known},
    dispatch,
};
use crate::{
    App,
    audit::{Action, Actor, Entry},
};

/// What was set going, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Pulled {
    /// Those whose messages are sent; a worker has them within seconds.
    pub feeds: Vec<Feed>,
    pub passed_by: Vec<PassedBy>,
}

/// A feed that is not pulled now, and why, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PassedBy {
    pub feed: Feed,
    pub reason: String,
}

/// Sends the messages of every feed that is due. A feed that Microsoft wants quiet from is left in peace.
///
/// # Errors
/// [`ChangeError`]: no such tenant, or the platform fails.
pub async fn pull_now(app: &App, tenant: TenantId, by: &Actor) -> Result<Pulled, ChangeError> {
    let connection = known(app, tenant).await?.connection;
    let now = app.clock.now();
    let (feeds, asleep): (Vec<Feed>, Vec<Feed>) =
        connection.feeds.keys().partition(|feed| connection.is_due(**feed, now));
    let passed_by = asleep.into_iter().map(|feed| PassedBy { feed, reason: reason(&connection, feed, now) }).collect();
    if !feeds.is_empty() {
        let sent = dispatch::at_once(&app.ports.queues, &connection, now).await;
        sent.map_err(|error| ChangeError::Platform(error.to_string()))?;
        let names: Vec<&str> = feeds.iter().map(|feed| feed.name()).collect();
        let entry = Entry::new(now, by, Action::PulledNow).of_tenant(tenant).of_account(&connection.account);
        entry.saying(format!("Asked for {}.", names.join(" and "))).add(app.ports.store.as_ref()).await?;
    }
    Ok(Pulled { feeds, passed_by })
}

fn reason(connection: &Connection, feed: Feed, now: Timestamp) -> String {
    if connection.paused {
        return "The tenant is paused; resume it first.".to_owned();
    }
    if connection.state == State::Confirming {
        return "Nobody has vouched for the person who signed in; confirm the tenant first.".to_owned();
    }
    if connection.is_expired_claim(now) {
        return "Access was not proven within an hour of the approval; send a new invitation.".to_owned();
    }
    let state = connection.feeds.get(&feed);
    let next_step = state.map(|state| state.capability.next_step.as_str()).unwrap_or_default();
    match state.and_then(|state| state.asleep_until) {
        Some(until) => format!("Not asked before {}. {next_step}", until.strftime("%Y-%m-%d %H:%M:%S UTC")),
        None => next_step.to_owned(),
    }
}
