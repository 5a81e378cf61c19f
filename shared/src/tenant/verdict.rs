//! What all feeds of a tenant together say of its state, in whatever order they were asked.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Ability, Capability, Condition, Feed, FeedState, State, UNCERTAIN};

/// How far a refusal goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Entra refuses us a token: nothing of the tenant is to be had.
    Tenant,
    /// One API refuses us; the others may well not.
    Feed,
}

/// What keeps a feed from working, as far as it says something of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub state: State,
    pub reach: Reach,
    /// The last time that it was met, within [`UNCERTAIN`].
    #[serde(alias = "since")]
    pub at: Timestamp,
}

impl Refused {
    /// Whether a token that is let in, and was obtained at `born`, says nothing of it: the token is older.
    fn outlives(&self, born: Timestamp) -> bool {
        self.reach == Reach::Tenant && born < self.at
    }
}

impl FeedState {
    /// A feed of which this was found first.
    pub fn new(condition: &Condition, now: Timestamp) -> Self {
        let capability = Capability { status: condition.ability, since: now, next_step: condition.next_step.clone() };
        Self { capability, refused: refused(None, condition, now), asleep_until: None, backlog: false }
    }

    /// Writes down what was found; how long the feed sleeps is the connection's to say.
    pub(super) fn find(&mut self, condition: &Condition, now: Timestamp) {
        if self.capability.status != condition.ability || self.capability.next_step != condition.next_step {
            let since = if self.capability.status == condition.ability { self.capability.since } else { now };
            self.capability = Capability { status: condition.ability, since, next_step: condition.next_step.clone() };
        }
        self.refused = refused(self.refused.take(), condition, now);
    }

    /// A throttled call was let in.
    pub fn works(&self) -> bool {
        self.refused.is_none() && matches!(self.capability.status, Ability::Ok | Ability::Throttled)
    }
}

/// What a condition leaves of a refusal. One that says nothing of the tenant, such as a bad minute of Microsoft's, leaves
/// it standing. Whoever is refused at every tick need not write that down at each.
fn refused(before: Option<Refused>, condition: &Condition, now: Timestamp) -> Option<Refused> {
    match condition.state {
        None => before,
        Some(State::Active) => before.filter(|before| condition.token_born.is_some_and(|born| before.outlives(born))),
        Some(state) => {
            let again = Refused { state, reach: condition.reach, at: now };
            let recent = |before: &Refused| {
                (before.state, before.reach) == (state, condition.reach) && now.duration_since(before.at) < UNCERTAIN
            };
            Some(before.filter(recent).unwrap_or(again))
        }
    }
}

/// Defender has taken a token that was obtained at `born`: of its feeds none is refused the token any more, if that was
/// before, and none sleeps for it. Storage is another service, with tokens of its own.
pub fn end_refusals(feeds: &mut BTreeMap<Feed, FeedState>, born: Timestamp) {
    for (_, state) in feeds.iter_mut().filter(|(feed, _)| **feed != Feed::Telemetry) {
        if state.refused.take_if(|refused| refused.reach == Reach::Tenant && !refused.outlives(born)).is_some() {
            state.asleep_until = None;
        }
    }
}

/// The state that follows, or `None` if nothing speaks for one.
///
/// A refused token concerns the whole tenant; but a token lives for an hour in each process, so what a feed still does
/// with an older one proves nothing: only [a newer one](end_refusals) does. What one API refuses counts where no feed
/// works. Telemetry has an owner and rights of its own, and is asked for the state only
/// where it is alone.
pub fn together(feeds: &BTreeMap<Feed, FeedState>) -> Option<State> {
    let alone = feeds.keys().all(|feed| *feed == Feed::Telemetry);
    let deciding = || feeds.iter().filter(|(feed, _)| alone || **feed != Feed::Telemetry).map(|(_, state)| state);
    let refusals = || deciding().filter_map(|feed| feed.refused.as_ref());
    let by_token = refusals().filter(|refused| refused.reach == Reach::Tenant).max_by_key(|refused| refused.at);
    if let Some(refused) = by_token {
        return Some(refused.state);
    }
    if feeds.values().any(FeedState::works) {
        return Some(State::Active);
    }
    refusals().next().map(|refused| refused.state)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        microsoft::tokens::ApplicationName,
        tenant::{Connection, Consent},
    };

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    /// A tenant whose feeds have all worked since minute 0.
    fn tenant(feeds: &[Feed]) -> Connection {
        let state = |feed: &Feed| (*feed, FeedState::new(&Condition::ok(), at(0)));
        Connection {
            tenant_id: "00000000-0000-4000-8000-0000000000aa".parse().unwrap(),
            account: "contoso".to_owned(),
            state: State::Active,
            application: ApplicationName::App,
            region: None,
            storage: None,
            connected_at: at(0),
            paused: false,
            claimed_at: None,
            consents: Vec::new(),
            removal: None,
            feeds: feeds.iter().map(state).collect(),
        }
    }

    fn approved(at: Timestamp) -> Consent {
        Consent {
            at,
            oid: String::new(),
            name: String::new(),
            admin_roles: Vec::new(),
            roles: Vec::new(),
            invitation: String::new(),
            account: "contoso".to_owned(),
            vouched_at: None,
        }
    }

    /// The token is refused: for the tenant, or for our own fault.
    fn blocked() -> Condition {
        Condition { state: Some(State::Blocked), reach: Reach::Tenant, ..Condition::failing("Mend the policy.") }
    }

    /// Defender takes a token that was obtained then.
    fn by_token_of(born: Timestamp) -> Condition {
        Condition { token_born: Some(born), ..Condition::ok() }
    }

    fn fault() -> Condition {
        Condition { state: Some(State::CredentialFault), ..blocked() }
    }

    #[test]
    fn the_state_is_what_all_feeds_together_say() {
        use Feed::{Alerts, Machines, Telemetry};
        type Story = (&'static str, &'static [Feed], Vec<(Feed, Condition)>, State);
        let shut = || Condition::storage_refused("Give the role.");
        let busy = || Condition::throttled(SignedDuration::from_secs(8));
        let missing = Condition::role_missing;
        let stories: Vec<Story> = vec![
            (
                "alone, a feed's trouble is the tenant's",
                &[Alerts],
                vec![(Alerts, missing(Alerts))],
                State::NeedsConsent,
            ),
            ("machines' role is missing", &[Alerts, Machines], vec![(Machines, missing(Machines))], State::Active),
            ("alerts' role is missing", &[Alerts, Machines], vec![(Alerts, missing(Alerts))], State::Active),
            (
                "a throttled feed was let in",
                &[Alerts, Machines],
                vec![(Machines, busy()), (Alerts, missing(Alerts))],
                State::Active,
            ),
            (
                "both roles are missing",
                &[Alerts, Machines],
                vec![(Machines, missing(Machines)), (Alerts, missing(Alerts))],
                State::NeedsConsent,
            ),
            (
                "neither API is licensed",
                &[Alerts, Machines],
                vec![(Alerts, Condition::unlicensed("")), (Machines, Condition::unlicensed(""))],
                State::Unlicensed,
            ),
            ("one token refused is enough", &[Alerts, Machines], vec![(Machines, blocked())], State::Blocked),
            (
                "all tokens are refused",
                &Feed::ALL,
                Feed::ALL.map(|feed| (feed, fault())).into(),
                State::CredentialFault,
            ),
            ("the storage is shut", &Feed::ALL, vec![(Telemetry, shut())], State::Active),
            ("telemetry gets no token", &Feed::ALL, vec![(Telemetry, blocked())], State::Active),
            (
                "telemetry alone works",
                &Feed::ALL,
                vec![(Alerts, missing(Alerts)), (Machines, Condition::unlicensed(""))],
                State::Active,
            ),
            (
                "telemetry's old token outweighs nothing",
                &[Alerts, Telemetry],
                vec![(Alerts, blocked()), (Telemetry, busy()), (Telemetry, Condition::ok())],
                State::Blocked,
            ),
            ("telemetry is all there is", &[Telemetry], vec![(Telemetry, shut())], State::Blocked),
            (
                "nothing is exported yet",
                &[Telemetry],
                vec![(Telemetry, Condition::not_configured("Wait."))],
                State::Active,
            ),
            ("a bad minute is weather", &[Alerts], vec![(Alerts, Condition::failing("Wait."))], State::Active),
            (
                "a bad minute leaves a refusal standing",
                &[Alerts, Machines],
                vec![(Alerts, missing(Alerts)), (Alerts, Condition::failing("Wait.")), (Machines, missing(Machines))],
                State::NeedsConsent,
            ),
            (
                "what comes back, comes back",
                &[Alerts],
                vec![(Alerts, blocked()), (Alerts, Condition::ok())],
                State::Active,
            ),
        ];
        for (name, feeds, conditions, state) in stories {
            let mut tenant = tenant(feeds);
            for (minute, (feed, condition)) in conditions.iter().enumerate() {
                tenant.absorb(*feed, condition, at(1 + minute as i64));
            }
            assert_eq!(tenant.state, state, "{name}");
        }
    }

    #[test]
    fn two_feeds_that_disagree_at_alternating_ticks_do_not_make_the_state_flap() {
        let oks = [by_token_of(at(0)), Condition::throttled(SignedDuration::from_secs(8))];
        for refusal in [blocked(), fault(), Condition::role_missing(Feed::Alerts), Condition::unlicensed("")] {
            for other in [Feed::Machines, Feed::Telemetry] {
                let mut tenant = tenant(&[Feed::Alerts, other]);
                tenant.absorb(Feed::Alerts, &refusal, at(1));
                let settled = tenant.state;
                for minute in 2..90 {
                    // A token that another process still holds is good for its hour, and is throttled now and then.
                    tenant.absorb(other, &oks[minute as usize % 2], at(minute));
                    assert_eq!(tenant.state, settled, "{refusal:?} beside {other:?}, minute {minute}");
                    tenant.absorb(Feed::Alerts, &refusal, at(minute));
                    assert_eq!(tenant.state, settled, "{refusal:?} beside {other:?}, minute {minute}");
                }
            }
        }
    }

    #[test]
    fn a_feed_that_works_with_a_newer_token_ends_what_refused_the_tenant() {
        let mut tenant = tenant(&Feed::ALL);
        for (minute, feed) in [(1, Feed::Alerts), (40, Feed::Machines), (50, Feed::Telemetry)] {
            let nap = Some(SignedDuration::from_hours(24));
            tenant.absorb(feed, &Condition { asleep: nap, ..blocked() }, at(minute));
        }
        assert_eq!(tenant.state, State::Blocked);
        tenant.absorb(Feed::Telemetry, &Condition::ok(), at(60));
        assert_eq!(tenant.state, State::Blocked, "another service's token says nothing of Defender's");
        tenant.absorb(Feed::Alerts, &by_token_of(at(30)), at(61));
        assert_eq!(tenant.state, State::Blocked, "this token is older than the last refusal");
        tenant.absorb(Feed::Alerts, &by_token_of(at(62)), at(62));
        assert_eq!(tenant.state, State::Active);
        let machines = &tenant.feeds[&Feed::Machines];
        assert_eq!(
            (machines.capability.status, machines.asleep_until),
            (Ability::Failing, None),
            "asked again at once"
        );
    }

    #[test]
    fn a_feed_that_lives_on_an_older_token_does_not_end_its_own_refusal() {
        let mut tenant = tenant(&[Feed::Alerts]);
        for minute in (10..40).step_by(2) {
            tenant.absorb(Feed::Alerts, &fault(), at(minute));
            tenant.absorb(Feed::Alerts, &by_token_of(at(0)), at(minute + 1));
            assert_eq!(tenant.state, State::CredentialFault, "minute {minute}");
        }
        tenant.absorb(Feed::Alerts, &by_token_of(at(41)), at(41));
        assert_eq!(tenant.state, State::Active);
    }

    #[test]
    fn a_refusal_met_again_is_as_new_as_its_last_time_and_not_written_at_every_tick() {
        let mut tenant = tenant(&[Feed::Alerts, Feed::Machines]);
        tenant.absorb(Feed::Alerts, &fault(), at(1));
        assert!(!tenant.absorb(Feed::Alerts, &fault(), at(2)));
        assert!(tenant.absorb(Feed::Alerts, &fault(), at(50)));
        tenant.absorb(Feed::Machines, &by_token_of(at(30)), at(51));
        assert_eq!(tenant.state, State::CredentialFault);
    }

    #[test]
    fn pain_14_one_role_may_arrive_before_the_other() {
        let mut tenant = Connection {
            state: State::Propagating,
            claimed_at: Some(at(0)),
            consents: vec![approved(at(0))],
            ..tenant(&[])
        };
        for feed in [Feed::Alerts, Feed::Machines] {
            tenant.feeds.insert(feed, FeedState::new(&Condition::propagating(), at(0)));
        }
        tenant.absorb(Feed::Machines, &Condition::role_missing(Feed::Machines), at(1));
        assert_eq!(tenant.state, State::Propagating);
        tenant.complete_evidence(&["Alert.Read.All".to_owned()], at(2));
        tenant.absorb(Feed::Alerts, &Condition::ok(), at(2));
        assert_eq!((tenant.state, tenant.claimed_at), (State::Active, None));
        tenant.absorb(Feed::Machines, &Condition::role_missing(Feed::Machines), at(3));
        let waiting = &tenant.feeds[&Feed::Machines];
        assert!(waiting.capability.next_step.contains("still spreading"), "{waiting:?}");
        assert!(tenant.is_due(Feed::Machines, at(4)), "due at every tick");
        let mut late = tenant.clone();
        let both = ["Alert.Read.All".to_owned(), "Machine.Read.All".to_owned()];
        tenant.complete_evidence(&both, at(59));
        tenant.absorb(Feed::Machines, &Condition::ok(), at(59));
        assert_eq!(tenant.feeds[&Feed::Machines].capability.status, Ability::Ok);
        assert_eq!(tenant.consents[0].roles, both);
        // What was taken away is not waited for, and later grants are not this consent's.
        tenant.absorb(Feed::Machines, &Condition::role_missing(Feed::Machines), at(59));
        assert!(tenant.feeds[&Feed::Machines].capability.next_step.contains("Machine.Read.All"));
        tenant.complete_evidence(&["Score.Read.All".to_owned()], at(60));
        assert_eq!(tenant.consents[0].roles, both);
        late.absorb(Feed::Machines, &Condition::role_missing(Feed::Machines), at(60));
        let named = &late.feeds[&Feed::Machines].capability;
        assert!(named.next_step.contains("Machine.Read.All"), "{named:?}");
        assert_eq!((late.state, late.feeds[&Feed::Alerts].capability.status), (State::Active, Ability::Ok));
    }

    #[test]
    fn each_feed_is_spoken_of_in_its_own_words() {
        let words = |feed: Feed| {
            let forbidden = Condition::from_forbidden("Forbidden", "no", feed).next_step;
            [Condition::role_missing(feed).next_step, Condition::no_such_api(feed).next_step, forbidden].join(" ")
        };
        for (feed, said) in [
            (Feed::Alerts, ["Alert.Read.All", "/api/alerts", "reading alerts"]),
            (Feed::Machines, ["Machine.Read.All", "/api/machines", "reading machines"]),
        ] {
            assert!(said.iter().all(|word| words(feed).contains(word)), "{}", words(feed));
        }
        assert!(!words(Feed::Machines).to_lowercase().contains("alert"), "{}", words(Feed::Machines));
    }

    #[test]
    fn a_connection_of_the_version_before_still_reads() {
        let text = r#"{"capability":{"status":"ok","since":"2026-11-22T12:00:00Z","next_step":"Nothing to do."}}"#;
        let feed: FeedState = serde_json::from_str(text).unwrap();
        assert!(feed.works() && serde_json::to_value(&feed).unwrap().get("refused").is_none());
        let text = r#"{"state":"blocked","reach":"tenant","since":"2026-11-22T12:00:00Z"}"#;
        let refused: Refused = serde_json::from_str(text).unwrap();
        assert_eq!(refused.at, "2026-11-22T12:00:00Z".parse().unwrap());
    }
}
