//! Binding a tenant to an account: what a connection becomes, and the transaction that makes it so.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Ability, Condition, Connection, Consent, Feed, FeedState, Loaded, State, TenantId, UNCERTAIN, put, verdict,
};
use crate::{
    App,
    alert::progress::{self, AlertFeed},
    cloud::Region,
    microsoft::tokens::ApplicationName,
    ports::store::{Expect, StoreError, Write},
    storage::Storage,
};

/// Consents of people for whom neither a role nor an operator speaks.
const MAX_UNSUPPORTED: usize = 10;

/// What is to be bound.
#[derive(Debug, Clone)]
pub struct Binding {
    pub tenant_id: TenantId,
    pub account: String,
    pub application: ApplicationName,
    pub region: Option<Region>,
    pub storage: Option<Storage>,
    /// What the proof found each feed able to do. The tenant's other feeds stay as they are.
    pub feeds: BTreeMap<Feed, Condition>,
    pub state: State,
    /// Whether access is proven. Otherwise a tenant that is not bound yet is only claimed.
    pub proven: bool,
    /// Who approved, where somebody signed in.
    pub consent: Option<Consent>,
}

/// The connection that comes of it. What has been pulled is elsewhere and stays as it is.
pub fn bound(known: Option<&Connection>, new: &Binding, now: Timestamp) -> Connection {
    let same = known.filter(|known| known.state != State::Removed && known.account == new.account);
    let is_bound = known.is_some_and(|known| known.is_bound_to(&new.account));
    // What works goes on as it is until something else is proven to work.
    let works = same.filter(|known| is_bound && !new.proven && known.state == State::Active);
    let mut feeds = same.map(|known| known.feeds.clone()).unwrap_or_default();
    for (feed, condition) in &new.feeds {
        if works.is_none_or(|known| !known.feeds.contains_key(feed)) {
            feeds.insert(*feed, feed_state(*feed, condition, now));
        }
    }
    if new.proven {
        if new.feeds.keys().any(|feed| *feed != Feed::Telemetry) {
            // The proof has asked for a token of its own.
            verdict::end_refusals(&mut feeds, now);
        }
        // What refused the tenant may be over for its other feeds too. Whoever asked for quiet gets it.
        for state in feeds.values_mut().filter(|state| state.capability.status != Ability::Throttled) {
            state.asleep_until = state.asleep_until.map(|until| until.min(now + UNCERTAIN));
        }
    }
    let proven = new.proven.then(|| verdict::together(&feeds)).flatten();
    Connection {
        tenant_id: new.tenant_id,
        account: new.account.clone(),
        state: works.map_or(proven.unwrap_or(new.state), |known| known.state),
        application: works.map_or(&new.application, |known| &known.application).clone(),
        region: new.region.or(known.and_then(|known| known.region)),
        storage: new.storage.clone().or(same.and_then(|known| known.storage.clone())),
        connected_at: same.map_or(now, |known| known.connected_at),
        paused: same.is_some_and(|known| known.paused),
        claimed_at: (!new.proven && !is_bound).then_some(now),
        consents: evidence(known, new, now),
        removal: None,
        feeds,
    }
}

/// As [`bound`], for a connection whose own application has proven itself by a new credential. Nobody has signed in or
/// vouched for anybody by that.
pub fn renewed(known: &Connection, feeds: BTreeMap<Feed, Condition>, now: Timestamp) -> Connection {
    let binding = Binding {
        tenant_id: known.tenant_id,
        account: known.account.clone(),
        application: known.application.clone(),
        region: None,
        storage: None,
        feeds,
        state: known.state,
        proven: true,
        consent: None,
    };
    Connection { consents: known.consents.clone(), ..bound(Some(known), &binding, now) }
}

/// Every consent, oldest first. Whoever signs in again by one invitation is one piece of evidence, and of those who can
/// sign in without anybody's word for them only the last few are kept: nobody must be able to fill the item.
fn evidence(known: Option<&Connection>, new: &Binding, now: Timestamp) -> Vec<Consent> {
    let mut consents = known.map(|known| known.consents.clone()).unwrap_or_default();
    match &new.consent {
        Some(consent) => {
            consents.retain(|known| (&known.oid, &known.invitation) != (&consent.oid, &consent.invitation));
            consents.push(consent.clone());
        }
        // An operator vouches for whoever came for this account.
        None => {
            if let Some(consent) = consents.iter_mut().rfind(|consent| consent.account == new.account) {
                consent.vouched_at = Some(now);
            }
        }
    }
    let unsupported = consents.iter().filter(|consent| !consent.is_authoritative()).count();
    let mut surplus = unsupported.saturating_sub(MAX_UNSUPPORTED);
    consents.retain(|consent| {
        let goes = surplus > 0 && !consent.is_authoritative();
        surplus -= usize::from(goes);
        !goes
    });
    consents
}

fn feed_state(feed: Feed, condition: &Condition, now: Timestamp) -> FeedState {
    FeedState {
        asleep_until: condition.asleep.map(|pause| now + pause.min(UNCERTAIN)),
        // Of the others everything that is there is there at any time.
        backlog: feed == Feed::Alerts,
        ..FeedState::new(condition, now)
    }
}

/// Binds in one transaction, together with the caller's own writes. A tenant that comes back begins anew, with what was
/// kept of it so that nothing leaves twice, also where its removal was cut short.
///
/// # Errors
/// [`StoreError::Conflict`] when the tenant, or what the caller's writes expect, changed meanwhile; nothing is bound then.
pub async fn bind(
    app: &App,
    known: Option<&Loaded>,
    new: &Binding,
    mut writes: Vec<Write>,
) -> Result<Connection, StoreError> {
    let now = app.clock.now();
    let connection = bound(known.map(|known| &known.connection), new, now);
    writes.push(put(&connection, known.map_or(Expect::Absent, |known| Expect::Version(known.version)))?);
    let returns = known.is_some_and(|known| known.connection.state == State::Removed);
    writes.extend(begin_alerts(app, &connection, now, returns).await?);
    app.ports.store.commit(writes).await?;
    Ok(connection)
}

/// The write that begins the alerts of a tenant that has them and has not begun, or begins `anew`. The other feeds begin
/// with what they find, so they make their own.
pub(super) async fn begin_alerts(
    app: &App,
    connection: &Connection,
    now: Timestamp,
    anew: bool,
) -> Result<Option<Write>, StoreError> {
    if !connection.feeds.contains_key(&Feed::Alerts) {
        return Ok(None);
    }
    let feed = AlertFeed::starting(now, app.config.first_look);
    progress::begin(app.ports.store.as_ref(), connection.tenant_id, feed, anew).await
}
