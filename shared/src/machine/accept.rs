//! The operator's word that machines which vanished in a crowd are gone indeed.

use super::commit::Desk;
use crate::{
    App,
    audit::{Action, Actor, Entry},
    record::CommitError,
    tenant::{Ability, Condition, Feed, TenantId},
};

/// Times the word is written down anew because somebody else wrote first.
const ATTEMPTS: u32 = 3;

/// What the word came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// So many machines are let go, as fast as Defender confirms it for each.
    Machines(u64),
    /// Nothing is held back.
    Nothing,
    /// The tenant is not here, or does not give its machines.
    NotHere,
}

/// Accepts that the machines which the breaker holds back are gone. What vanishes later is held back anew.
///
/// # Errors
/// When the platform fails, or others write all the time.
pub async fn accept(app: &App, tenant: TenantId, by: &Actor) -> Result<Accepted, CommitError> {
    for _ in 0..ATTEMPTS {
        match attempt(app, tenant, by).await {
            Err(CommitError::Conflict) => {}
            done => return done,
        }
    }
    Err(CommitError::Conflict)
}

async fn attempt(app: &App, tenant: TenantId, by: &Actor) -> Result<Accepted, CommitError> {
    let Some(mut desk) = Desk::open(app, tenant).await? else { return Ok(Accepted::NotHere) };
    let Some(feed) = desk.state.connection.feeds.get_mut(&Feed::Machines) else { return Ok(Accepted::NotHere) };
    let Some(held) = desk.state.feed.held.take() else { return Ok(Accepted::Nothing) };
    desk.state.feed.accepted_through = desk.state.feed.complete_runs;
    // Whatever else keeps the feed from working stands.
    if feed.capability.status == Ability::Ok {
        feed.capability.next_step = Condition::ok().next_step;
    }
    let account = desk.state.connection.account.clone();
    let entry = Entry::new(app.clock.now(), by, Action::Accepted).of_tenant(tenant).of_account(account);
    let entry = entry.saying(format!("{} machines are let go.", held.machines));
    desk.state.store(app.ports.store.as_ref(), vec![entry.write()?], app.clock.now()).await?;
    tracing::info!(tenant.id = %tenant, machines = held.machines, "an operator accepts that machines are gone");
    Ok(Accepted::Machines(held.machines))
}
