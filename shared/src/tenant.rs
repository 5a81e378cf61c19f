//! A customer's Entra tenant as we know it: its connection, the state it is in, and what each feed can do now.

pub mod account;
pub mod bind;
pub mod call;
pub mod change;
mod condition;
pub mod confirm;
pub mod detail;
pub mod dispatch;
pub mod glance;
pub mod list;
pub mod missing;
pub mod overview;
pub mod proof;
pub mod pull_now;
pub mod remove;
mod verdict;

use std::{fmt, str::FromStr};

pub use condition::Condition;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
pub use verdict::{Reach, Refused};

use crate::{
    cloud::Region,
    microsoft::{
        defender::{ALERT_ROLES, MACHINE_ROLES},
        tokens::ApplicationName,
    },
    ports::{
        PerFeed,
        store::{Expect, Item, Key, Store, StoreError, Write},
    },
    storage::Storage,
};

/// Tenants are enumerated by shard, so that no dispatch ever scans the table.
pub const SHARDS: u8 = 16;
/// How long app roles may lag behind the consent to them (MICROSOFT.md 6, PAINS 14).
const PROPAGATION: SignedDuration = SignedDuration::from_hours(1);
/// In that hour nothing that is found is certain, so nothing is let alone for longer than this.
const UNCERTAIN: SignedDuration = SignedDuration::from_mins(5);

/// An Entra tenant, by GUID. Written in lower case with hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Uuid);

impl FromStr for TenantId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 36 {
            return Err(format!("`{}` is no tenant id; give the GUID of the Entra tenant", text.escape_default()));
        }
        Uuid::try_parse(text).map(Self).map_err(|_| format!("`{}` is no GUID", text.escape_default()))
    }
}

impl TryFrom<String> for TenantId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl TenantId {
    pub fn shard(self) -> u8 {
        // The last byte of a GUID is random in every version that Entra issues.
        self.0.as_bytes()[15] % SHARDS
    }

    /// The partition with everything that only this tenant's own work reads.
    pub fn partition(self) -> String {
        format!("tenant#{self}")
    }

    fn key(self) -> Key {
        Key::new(shard_partition(self.shard()), self.to_string())
    }
}

pub fn shard_partition(shard: u8) -> String {
    format!("tenants#{shard:02}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Feed {
    Alerts,
    Machines,
    Telemetry,
}

impl Feed {
    pub const ALL: [Self; 3] = [Self::Alerts, Self::Machines, Self::Telemetry];

    /// What belongs to this feed.
    pub fn of<T>(self, each: &PerFeed<T>) -> &T {
        match self {
            Self::Alerts => &each.alerts,
            Self::Machines => &each.machines,
            Self::Telemetry => &each.telemetry,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Machines => "machines",
            Self::Telemetry => "telemetry",
        }
    }

    /// The app roles any of which lets us read it. A storage account is opened by its owner, not by a consent.
    pub fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Alerts => &ALERT_ROLES,
            Self::Machines => &MACHINE_ROLES,
            Self::Telemetry => &[],
        }
    }
}

impl FromStr for Feed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|feed| feed.name() == text)
            .ok_or_else(|| format!("`{}` is no feed; choose from alerts, machines, telemetry", text.escape_default()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Invited,
    Consenting,
    Confirming,
    Propagating,
    Active,
    NeedsConsent,
    Unlicensed,
    Blocked,
    CredentialFault,
    Removed,
}

impl State {
    /// Whether data should flow, so that its age is worth an alarm. Where a customer has to act first it only grows.
    pub fn should_be_fresh(self) -> bool {
        matches!(self, Self::Active | Self::CredentialFault)
    }
}

/// What one feed of one tenant can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ability {
    Ok,
    RoleMissing,
    Unlicensed,
    NotConfigured,
    Throttled,
    Failing,
}

/// An ability, since when, and one sentence that tells a person what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capability {
    pub status: Ability,
    pub since: Timestamp,
    pub next_step: String,
}

impl Capability {
    /// Whether it gets no better by itself: a sentence begins with whom it is for, and with this where that is nobody.
    pub fn needs_somebody(&self) -> bool {
        !matches!(self.status, Ability::Ok | Ability::Throttled) && !self.next_step.starts_with("Nothing to do")
    }
}

/// One feed of one connection, as dispatch needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedState {
    pub capability: Capability,
    /// Why it does not work, where that says something of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// Not asked before this moment.
    #[serde(default)]
    pub asleep_until: Option<Timestamp>,
    /// There is older data to walk through, in messages of its own.
    #[serde(default)]
    pub backlog: bool,
}

/// Who approved our application in the tenant, and what came of it: the auditor's evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Consent {
    pub at: Timestamp,
    /// The person's object id in the tenant, from a validated id_token.
    pub oid: String,
    /// As the directory has it; for people to read, not to decide by.
    pub name: String,
    /// The administrator roles that the sign-in proved; none where only an operator can vouch.
    pub admin_roles: Vec<String>,
    /// The app roles that our token carried when access was first proven; none until then.
    pub roles: Vec<String>,
    pub invitation: String,
    pub account: String,
    /// When an operator vouched for the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched_at: Option<Timestamp>,
}

impl Consent {
    /// Whether anything but the person's own sign-in says that they may speak for the tenant.
    pub fn is_authoritative(&self) -> bool {
        !self.admin_roles.is_empty() || self.vouched_at.is_some()
    }
}

/// What is left to know of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub at: Timestamp,
    /// Until when the secret of the tenant's own application can be restored, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_until: Option<Timestamp>,
}

/// A tenant, how we authenticate there, and which feeds it gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub tenant_id: TenantId,
    pub account: String,
    pub state: State,
    pub application: ApplicationName,
    #[serde(default)]
    pub region: Option<Region>,
    /// Where its telemetry is; none without that feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    pub connected_at: Timestamp,
    #[serde(default)]
    pub paused: bool,
    /// Since when this is only a claim: somebody has approved, and access is not proven yet. A claim blocks nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
    /// Who signed in to approve, oldest first; of those for whom neither a role nor an operator speaks, the last few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<Consent>,
    /// Of a tenant that is removed: this and the consents are all that stays of its connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<Removal>,
    pub feeds: std::collections::BTreeMap<Feed, FeedState>,
}

impl Connection {
    /// Whether this feed is worth a message at `now`. Sleepers and parked tenants are passed by.
    pub fn is_due(&self, feed: Feed, now: Timestamp) -> bool {
        let asked = match self.state {
            State::Invited | State::Consenting | State::Confirming | State::Removed => false,
            // Its puller is the proof, and says what is missing once the hour is over.
            State::Propagating => true,
            State::Active | State::NeedsConsent | State::Unlicensed | State::Blocked | State::CredentialFault => {
                !self.is_expired_claim(now)
            }
        };
        let awake = self.feeds.get(&feed).is_some_and(|feed| feed.asleep_until.is_none_or(|until| until <= now));
        asked && awake && !self.paused
    }

    /// Whether this feed's data should flow. Where the customer refuses this feed and gives another, the tenant is active, and
    /// this feed's age only grows.
    pub fn should_be_fresh(&self, feed: Feed) -> bool {
        let refused = self.feeds.get(&feed).and_then(|feed| feed.refused.as_ref());
        self.state.should_be_fresh() && refused.is_none_or(|refused| refused.state.should_be_fresh())
    }

    /// Whether a proof or a role is awaited, so that this feed's own tick may be too slow for it.
    pub fn is_unsettled(&self, feed: Feed) -> bool {
        let refused = self.feeds.get(&feed).and_then(|feed| feed.refused.as_ref());
        self.state == State::Propagating
            || self.claimed_at.is_some()
            || refused.is_some_and(|refused| refused.state == State::Propagating)
    }

    /// A claim that nothing has proven within the hour comes to nothing.
    pub fn is_expired_claim(&self, now: Timestamp) -> bool {
        self.claimed_at.is_some_and(|since| now.duration_since(since) >= PROPAGATION)
    }

    /// The evidence: the last consent given for the account that has the tenant; of one that was moved, the last of all.
    pub fn evidence(&self) -> Option<&Consent> {
        let of_another = || self.consents.last().filter(|_| self.claimed_at.is_none());
        self.consent_for(&self.account).or_else(of_another)
    }

    /// The last consent given for this account, if it was given at all.
    pub fn consent_for(&self, account: &str) -> Option<&Consent> {
        self.consents.iter().rfind(|consent| consent.account == account)
    }

    /// Whether the tenant belongs to this account, access proven.
    pub fn is_bound_to(&self, account: &str) -> bool {
        self.state != State::Removed && self.claimed_at.is_none() && self.account == account
    }

    /// Whether the tenant belongs to another account for good. Whoever is removed, or has only claimed, blocks nobody.
    pub fn is_bound_elsewhere(&self, account: &str) -> bool {
        self.state != State::Removed && self.claimed_at.is_none() && self.account != account
    }

    /// Writes down what was found, and tells whether that changed anything worth a write.
    pub fn absorb(&mut self, feed: Feed, condition: &Condition, now: Timestamp) -> bool {
        let before = self.clone();
        let instead = if self.is_waiting_for_roles(feed, condition, now) {
            Some(Condition::propagating())
        } else if self.is_expired_claim(now) && condition.ability != Ability::RoleMissing {
            // What comes after the hour proves nothing any more.
            Some(Condition::not_proven_in_time())
        } else {
            None
        };
        let condition = instead.as_ref().unwrap_or(condition);
        let given_at = self.consent_for(&self.account).map(|consent| consent.at);
        let fresh = given_at.is_some_and(|at| now.duration_since(at) < PROPAGATION);
        if let Some(entry) = self.feeds.get_mut(&feed) {
            entry.find(condition, now);
            entry.asleep_until = condition.asleep.map(|pause| now + if fresh { pause.min(UNCERTAIN) } else { pause });
        }
        if condition.state == Some(State::Active)
            && feed != Feed::Telemetry
            && let Some(born) = condition.token_born
        {
            verdict::end_refusals(&mut self.feeds, born);
        }
        if condition.state.is_some()
            && let Some(state) = verdict::together(&self.feeds)
        {
            self.state = state;
        }
        if self.state == State::Active {
            self.claimed_at = None;
        }
        *self != before
    }

    /// The roles that a consent came to, where they were still spreading when it was given: all at once or one by one.
    pub fn complete_evidence(&mut self, roles: &[String], now: Timestamp) {
        let last = self.consents.iter_mut().rfind(|consent| consent.account == self.account);
        let spreading =
            |consent: &&mut Consent| consent.roles.is_empty() || now.duration_since(consent.at) < PROPAGATION;
        if let Some(consent) = last.filter(spreading) {
            let new: Vec<String> = roles.iter().filter(|role| !consent.roles.contains(role)).cloned().collect();
            consent.roles.extend(new);
        }
    }

    /// Roles lag consent, and not all by the same time: what is missing within the hour is only not there yet. From a feed
    /// that works it was taken away.
    fn is_waiting_for_roles(&self, feed: Feed, condition: &Condition, now: Timestamp) -> bool {
        let has_come =
            |consent: &Consent| feed.roles().iter().any(|role| consent.roles.iter().any(|held| held == role));
        let fresh = |consent: &Consent| now.duration_since(consent.at) < PROPAGATION && !has_come(consent);
        condition.ability == Ability::RoleMissing
            && feed != Feed::Telemetry
            && !(self.state == State::Active && self.feeds.get(&feed).is_some_and(FeedState::works))
            && self.consent_for(&self.account).is_some_and(fresh)
    }
}

/// A connection as read, with the version that the next write expects.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub connection: Connection,
    pub version: u64,
}

impl Loaded {
    fn from_item(item: Item) -> Result<Self, StoreError> {
        let connection = serde_json::from_value(item.value)
            .map_err(|cause| StoreError::Invalid(format!("a stored connection cannot be read: {cause}")))?;
        Ok(Self { connection, version: item.version })
    }

    /// The write that keeps the connection as it is now, if nobody changed it meanwhile.
    pub fn put(&self) -> Result<Write, StoreError> {
        put(&self.connection, Expect::Version(self.version))
    }

    /// The condition that nobody changed or removed the tenant meanwhile.
    pub fn check(&self) -> Write {
        Write::Check { key: self.connection.tenant_id.key(), expect: Expect::Version(self.version) }
    }
}

fn put(connection: &Connection, expect: Expect) -> Result<Write, StoreError> {
    let value = serde_json::to_value(connection).map_err(|cause| StoreError::Invalid(cause.to_string()))?;
    Ok(Write::Put { key: connection.tenant_id.key(), value, expect })
}

/// # Errors
/// As the store's.
pub async fn load(store: &dyn Store, tenant: TenantId) -> Result<Option<Loaded>, StoreError> {
    store.get(&tenant.key()).await?.map(Loaded::from_item).transpose()
}

/// All tenants of one shard. One that cannot be read is reported and passed by: it must not silence its neighbours.
///
/// # Errors
/// As the store's.
pub async fn load_shard(store: &dyn Store, shard: u8) -> Result<Vec<Loaded>, StoreError> {
    let items = store.query(&shard_partition(shard), "").await?;
    let readable = items.into_iter().filter_map(|(key, item)| match Loaded::from_item(item) {
        Ok(loaded) => Some(loaded),
        Err(error) => {
            tracing::error!(tenant.id = %key.sort, %error, "the state of a tenant cannot be read; the tenant is left out");
            None
        }
    });
    Ok(readable.collect())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn connection(state: State) -> Connection {
        let at = Timestamp::UNIX_EPOCH;
        let capability = Capability { status: Ability::Ok, since: at, next_step: "Nothing to do.".to_owned() };
        Connection {
            tenant_id: "00000000-0000-4000-8000-0000000000aa".parse().unwrap(),
            account: "contoso".to_owned(),
            state,
            application: ApplicationName::App,
            region: None,
            storage: None,
            connected_at: at,
            paused: false,
            claimed_at: None,
            consents: Vec::new(),
            removal: None,
            feeds: [(Feed::Alerts, FeedState { capability, refused: None, asleep_until: None, backlog: false })].into(),
        }
    }

    #[test]
    fn a_tenant_id_is_a_guid_with_hyphens_and_nothing_else() {
        let id: TenantId = "00000000-0000-4000-8000-0000000000AA".parse().unwrap();
        assert_eq!(id.to_string(), "00000000-0000-4000-8000-0000000000aa");
        for text in ["", "common", "contoso.com", "{00000000-0000-4000-8000-0000000000aa}", "../etc"] {
            assert!(text.parse::<TenantId>().is_err(), "{text}");
        }
    }

    #[test]
    fn dispatch_passes_sleepers_and_the_unconnected_by() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(connection(State::Active).is_due(Feed::Alerts, now));
        assert!(!connection(State::Active).is_due(Feed::Machines, now));
        assert!(!connection(State::Removed).is_due(Feed::Alerts, now));
        assert!(!connection(State::Confirming).is_due(Feed::Alerts, now));
        let mut asleep = connection(State::Active);
        assert!(asleep.absorb(Feed::Alerts, &Condition::throttled(SignedDuration::from_secs(8)), now));
        assert!(!asleep.is_due(Feed::Alerts, now + SignedDuration::from_secs(7)));
        assert!(asleep.is_due(Feed::Alerts, now + SignedDuration::from_secs(8)));
    }

    #[test]
    fn pain_14_roles_that_lag_consent_are_waited_for_an_hour_and_then_named() {
        let claimed = Timestamp::UNIX_EPOCH;
        let consent = Consent {
            at: claimed,
            oid: String::new(),
            name: String::new(),
            admin_roles: Vec::new(),
            roles: Vec::new(),
            invitation: String::new(),
            account: "contoso".to_owned(),
            vouched_at: None,
        };
        let claim = Connection { claimed_at: Some(claimed), consents: vec![consent], ..connection(State::Propagating) };
        let mut tenant = claim.clone();
        let missing = Condition::role_missing(Feed::Alerts);
        let soon = claimed + SignedDuration::from_mins(59);
        tenant.absorb(Feed::Alerts, &missing, soon);
        assert_eq!(tenant.state, State::Propagating);
        assert!(tenant.is_due(Feed::Alerts, soon), "due at every tick");
        tenant.absorb(Feed::Alerts, &missing, claimed + SignedDuration::from_mins(60));
        assert_eq!(tenant.state, State::NeedsConsent);
        assert!(tenant.feeds[&Feed::Alerts].capability.next_step.contains("Alert.Read.All"));
        assert!(!tenant.is_bound_elsewhere("another"), "never proven, so it blocks nobody");
        assert!(!tenant.is_due(Feed::Alerts, claimed + SignedDuration::from_hours(48)), "and comes to nothing");
        let mut late = claim.clone();
        late.absorb(Feed::Alerts, &Condition::ok(), claimed + SignedDuration::from_hours(9));
        assert_eq!((late.state, late.claimed_at), (State::NeedsConsent, Some(claimed)));
        let mut in_time = claim;
        in_time.absorb(Feed::Alerts, &Condition::unlicensed(""), soon);
        let asleep = in_time.feeds[&Feed::Alerts].asleep_until;
        assert_eq!(asleep, Some(soon + SignedDuration::from_mins(5)), "no nap of a day in the uncertain hour");
        in_time.absorb(Feed::Alerts, &Condition::ok(), soon);
        assert!(in_time.is_bound_elsewhere("another") && !in_time.is_bound_elsewhere("contoso"));
    }

    #[test]
    fn absorbing_the_same_condition_twice_changes_nothing_but_the_nap() {
        let now = Timestamp::UNIX_EPOCH;
        let mut active = connection(State::Active);
        assert!(!active.absorb(Feed::Alerts, &Condition::ok(), now));
        assert!(active.absorb(Feed::Alerts, &Condition::role_missing(Feed::Alerts), now));
        let feed = &active.feeds[&Feed::Alerts];
        assert_eq!((active.state, feed.capability.status), (State::NeedsConsent, Ability::RoleMissing));
        assert!(feed.capability.next_step.contains("Alert.Read.All"));
    }
}
