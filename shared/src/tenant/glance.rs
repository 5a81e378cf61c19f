//! Every tenant at a glance, out of the connections alone: what an operator sees first, the worst on top.

use std::{cmp::Reverse, collections::BTreeMap};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Ability, Capability, Connection, Feed, SHARDS, State, TenantId, account::Account, load_shard};
use crate::ports::store::{Store, StoreError};

/// Shards that are read at a time.
const SHARDS_AT_ONCE: usize = 8;

/// One tenant in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Glance {
    pub tenant_id: TenantId,
    pub account: String,
    pub state: State,
    pub feeds: Vec<Feed>,
    /// The feed that is worst off, with its next step; none without feeds.
    pub worst: Option<Worst>,
    /// Until when no feed at all is asked.
    pub asleep_until: Option<Timestamp>,
    pub paused: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Worst {
    pub feed: Feed,
    #[serde(flatten)]
    pub capability: Capability,
}

/// An account with all its tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountGlance {
    /// None where a tenant names an account that has no record.
    pub id: Option<Uuid>,
    pub account: String,
    /// The worst first.
    pub tenants: Vec<Glance>,
}

/// How soon somebody should look, the soonest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// Our own credential: it may concern many tenants.
    Ours,
    /// Nothing flows until the customer does something.
    Stopped,
    /// An operator's word is awaited.
    Waiting,
    /// Something flows, and something does not until somebody acts.
    Partly,
    /// It gets better by itself.
    Passing,
    Paused,
    Fine,
    /// Nothing is asked of it any more.
    Gone,
}

impl Glance {
    pub fn of(connection: Connection, now: Timestamp) -> Self {
        let naps = connection.feeds.values().map(|feed| feed.asleep_until.filter(|until| *until > now));
        let asleep_until = naps.collect::<Option<Vec<Timestamp>>>().and_then(|naps| naps.into_iter().min());
        let feeds = connection.feeds.keys().copied().collect();
        let worst = connection.feeds.into_iter().map(|(feed, state)| Worst { feed, capability: state.capability });
        Self {
            tenant_id: connection.tenant_id,
            account: connection.account,
            state: connection.state,
            feeds,
            worst: worst.min_by_key(|worst| badness(&worst.capability)),
            asleep_until,
            paused: connection.paused,
        }
    }

    pub fn urgency(&self) -> Urgency {
        let worst = self.worst.as_ref().map(|worst| &worst.capability);
        match self.state {
            State::Removed => Urgency::Gone,
            _ if self.paused => Urgency::Paused,
            State::CredentialFault => Urgency::Ours,
            State::Blocked | State::NeedsConsent | State::Unlicensed => Urgency::Stopped,
            State::Confirming => Urgency::Waiting,
            State::Active if worst.is_some_and(Capability::needs_somebody) => Urgency::Partly,
            State::Active if worst.is_none_or(|worst| worst.status == Ability::Ok) => Urgency::Fine,
            State::Active | State::Invited | State::Consenting | State::Propagating => Urgency::Passing,
        }
    }
}

/// What needs somebody comes first, and then by what it is; the worst is the least.
fn badness(capability: &Capability) -> (bool, u8) {
    (!capability.needs_somebody(), rank(capability.status))
}

fn rank(status: Ability) -> u8 {
    match status {
        Ability::Failing => 0,
        Ability::RoleMissing => 1,
        Ability::Unlicensed => 2,
        Ability::NotConfigured => 3,
        Ability::Throttled => 4,
        Ability::Ok => 5,
    }
}

/// All tenants, the worst first. Reads the connections and nothing else.
///
/// # Errors
/// As the store's.
pub async fn glance(store: &dyn Store, now: Timestamp) -> Result<Vec<Glance>, StoreError> {
    let connections = connections(store).await?;
    let mut glances: Vec<Glance> = connections.into_iter().map(|connection| Glance::of(connection, now)).collect();
    sort(&mut glances);
    Ok(glances)
}

/// Every connection, removed ones too.
pub(super) async fn connections(store: &dyn Store) -> Result<Vec<Connection>, StoreError> {
    let shards = stream::iter(0..SHARDS).map(|shard| load_shard(store, shard)).buffered(SHARDS_AT_ONCE);
    let loaded: Vec<_> = shards.try_collect().await?;
    Ok(loaded.into_iter().flatten().map(|loaded| loaded.connection).collect())
}

/// The worst first; of equals those that have been so for longest.
pub fn sort(glances: &mut [Glance]) {
    glances.sort_by(|a, b| place(a).cmp(&place(b)));
}

fn place(glance: &Glance) -> (Urgency, Option<Timestamp>, &str, TenantId) {
    let since = glance.worst.as_ref().map(|worst| worst.capability.since);
    (glance.urgency(), since, &glance.account, glance.tenant_id)
}

/// The accounts with their tenants: those first whose worst tenant is worst, then by name. Removed tenants stand with their
/// account, and weigh nothing.
pub fn by_account(accounts: Vec<Account>, mut glances: Vec<Glance>) -> Vec<AccountGlance> {
    sort(&mut glances);
    let mut by_name: BTreeMap<String, AccountGlance> = accounts
        .into_iter()
        .map(|account| {
            let entry = AccountGlance { id: Some(account.id), account: account.name.clone(), tenants: Vec::new() };
            (account.name, entry)
        })
        .collect();
    for glance in glances {
        let entry = by_name.entry(glance.account.clone()).or_insert_with(|| AccountGlance {
            id: None,
            account: glance.account.clone(),
            tenants: Vec::new(),
        });
        entry.tenants.push(glance);
    }
    let mut all: Vec<AccountGlance> = by_name.into_values().collect();
    let urgency = |account: &AccountGlance| account.tenants.first().map_or(Urgency::Gone, Glance::urgency);
    all.sort_by_key(|account| (urgency(account), account.account.to_lowercase()));
    all
}

/// So many of these, the worst first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    pub feed: Feed,
    pub status: Ability,
    pub tenants: usize,
}

/// What needs somebody, counted by feed and ability. Whoever is paused or removed needs nobody.
pub fn needs(connections: &[Connection]) -> Vec<Count> {
    let mut counts: Vec<Count> = Vec::new();
    for connection in connections.iter().filter(|known| known.state != State::Removed && !known.paused) {
        for (feed, state) in connection.feeds.iter().filter(|(_, state)| state.capability.needs_somebody()) {
            let status = state.capability.status;
            match counts.iter_mut().find(|count| (count.feed, count.status) == (*feed, status)) {
                Some(count) => count.tenants += 1,
                None => counts.push(Count { feed: *feed, status, tenants: 1 }),
            }
        }
    }
    counts.sort_by_key(|count| (rank(count.status), Reverse(count.tenants), count.feed));
    counts
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour)
    }

    fn glance(account: &str, state: State, status: Ability, next_step: &str) -> Glance {
        let capability = Capability { status, since: at(1), next_step: next_step.to_owned() };
        Glance {
            tenant_id: "00000000-0000-4000-8000-0000000000aa".parse().unwrap(),
            account: account.to_owned(),
            state,
            feeds: vec![Feed::Alerts],
            worst: Some(Worst { feed: Feed::Alerts, capability }),
            asleep_until: None,
            paused: false,
        }
    }

    /// From the worst to the best.
    fn ladder() -> Vec<Glance> {
        let ok = |account: &str| glance(account, State::Active, Ability::Ok, "Nothing to do.");
        vec![
            glance("ours", State::CredentialFault, Ability::Failing, "Operator: store one."),
            glance("blocked", State::Blocked, Ability::Failing, "Ask."),
            glance("confirming", State::Confirming, Ability::NotConfigured, "Operator: confirm."),
            glance("one feed", State::Active, Ability::RoleMissing, "Ask."),
            glance("propagating", State::Propagating, Ability::RoleMissing, "Nothing to do yet."),
            glance("weather", State::Active, Ability::Failing, "Nothing to do yet."),
            Glance { paused: true, ..glance("paused", State::Blocked, Ability::Failing, "Ask.") },
            ok("fine"),
            Glance { state: State::Removed, ..ok("removed") },
        ]
    }

    fn names(glances: &[Glance]) -> Vec<&str> {
        glances.iter().map(|glance| glance.account.as_str()).collect()
    }

    #[test]
    fn what_needs_somebody_soonest_stands_first() {
        let mut shuffled: Vec<Glance> = ladder().into_iter().rev().collect();
        sort(&mut shuffled);
        assert_eq!(names(&shuffled), names(&ladder()));
        let mut longer = glance("for longer", State::Blocked, Ability::Failing, "Ask.");
        longer.worst.as_mut().unwrap().capability.since = at(0);
        shuffled.push(longer);
        sort(&mut shuffled);
        assert_eq!(names(&shuffled)[..3], ["ours", "for longer", "blocked"]);
    }

    #[test]
    fn an_account_is_as_badly_off_as_its_worst_tenant_and_is_there_without_one() {
        let account = |name: &str| Account { id: Uuid::from_u128(1), name: name.to_owned(), created_at: at(0) };
        let two = Glance { account: "Blocked".to_owned(), ..ladder()[7].clone() };
        let blocked = Glance { account: "Blocked".to_owned(), ..ladder()[1].clone() };
        let accounts = vec![account("A new one"), account("Blocked"), account("fine")];
        let all = by_account(accounts, vec![two, ladder()[7].clone(), blocked, ladder()[3].clone()]);
        let seen: Vec<_> = all.iter().map(|a| (a.account.as_str(), a.id.is_some(), a.tenants.len())).collect();
        assert_eq!(seen, [("Blocked", true, 2), ("one feed", false, 1), ("fine", true, 1), ("A new one", true, 0)]);
        assert_eq!(all[0].tenants[0].state, State::Blocked);
    }

    #[test]
    fn the_worst_feed_is_the_one_that_somebody_can_help() {
        let capability = |status, words: &str| Capability { status, since: at(0), next_step: words.to_owned() };
        let order = [
            capability(Ability::Failing, "Operator: mend."),
            capability(Ability::RoleMissing, "Ask."),
            capability(Ability::NotConfigured, "Ask."),
            capability(Ability::Failing, "Nothing to do yet."),
            capability(Ability::Throttled, "Nothing to do."),
            capability(Ability::Ok, "5 machines vanished; operator: accept."),
        ];
        assert!(order.windows(2).all(|pair| badness(&pair[0]) < badness(&pair[1])));
    }
}
