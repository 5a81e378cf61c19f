//! How a tenant or an account stands, at a glance: one level, one word, one next step.

use crate::tenant::{
    Ability, Capability, State,
    glance::{AccountGlance, Glance, Urgency},
};

/// What a glance tells, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing flows until somebody acts.
    Bad,
    /// Something waits for somebody.
    Waiting,
    /// It gets better by itself.
    Passing,
    Good,
    /// Nothing is expected.
    Idle,
}

impl Level {
    pub const ALL: [Self; 5] = [Self::Bad, Self::Waiting, Self::Passing, Self::Good, Self::Idle];

    /// In addresses and in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Waiting => "waiting",
            Self::Passing => "passing",
            Self::Good => "good",
            Self::Idle => "idle",
        }
    }

    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.class() == text)
    }
}

/// How something stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    pub level: Level,
    pub word: &'static str,
    /// Empty where there is nothing to do.
    pub next_step: &'a str,
}

/// What feeds say that work.
const NOTHING: &str = "Nothing to do.";

impl<'a> Standing<'a> {
    fn new(level: Level, word: &'static str, next_step: &'a str) -> Self {
        Self { level, word, next_step: if next_step == NOTHING { "" } else { next_step } }
    }

    pub fn of_tenant(glance: &'a Glance) -> Self {
        let worst = glance.worst.as_ref().map(|worst| &worst.capability);
        let told = worst.map_or("", |worst| worst.next_step.as_str());
        let level = match glance.urgency() {
            Urgency::Ours | Urgency::Stopped => Level::Bad,
            Urgency::Waiting | Urgency::Partly => Level::Waiting,
            Urgency::Passing => Level::Passing,
            Urgency::Fine => Level::Good,
            Urgency::Paused | Urgency::Gone => Level::Idle,
        };
        let of_state = |word, next_step| Self::new(level, word, next_step);
        match glance.state {
            State::Removed => of_state("Removed", ""),
            _ if glance.paused => of_state("Paused", "Nothing is gathered until somebody resumes it."),
            State::CredentialFault => of_state("Credential fault", told),
            State::Blocked => of_state("Blocked", told),
            State::NeedsConsent => of_state("Needs consent", told),
            State::Unlicensed => of_state("Unlicensed", told),
            State::Confirming => of_state(
                "Waits for you",
                "Make sure that the person who signed in may speak for this tenant, then confirm.",
            ),
            State::Propagating => of_state("Propagating", told),
            State::Invited | State::Consenting => of_state("Invited", told),
            State::Active => match worst {
                Some(_) if level == Level::Waiting && glance.feeds.len() > 1 => of_state("Partly working", told),
                Some(worst) if worst.status != Ability::Ok => of_state(word(worst.status), told),
                _ => of_state("Active", told),
            },
        }
    }

    /// As its worst tenant; those that are removed weigh nothing.
    pub fn of_account(account: &'a AccountGlance) -> Self {
        match account.tenants.first().filter(|worst| worst.state != State::Removed) {
            Some(worst) => Self::of_tenant(worst),
            None => Self::new(
                Level::Idle,
                "No tenant yet",
                "Send an invitation, or connect an application of the customer's own.",
            ),
        }
    }

    pub fn of_feed(capability: &'a Capability) -> Self {
        let level = match capability.status {
            Ability::Ok => Level::Good,
            _ if capability.needs_somebody() => Level::Bad,
            _ => Level::Passing,
        };
        Self::new(level, word(capability.status), &capability.next_step)
    }
}

/// An ability, as people read it.
pub fn word(ability: Ability) -> &'static str {
    match ability {
        Ability::Ok => "Working",
        Ability::RoleMissing => "Role missing",
        Ability::Unlicensed => "Unlicensed",
        Ability::NotConfigured => "Not configured",
        Ability::Throttled => "Throttled",
        Ability::Failing => "Failing",
    }
}

/// A state, as people read it.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Invited => "Invited",
        State::Consenting => "Consenting",
        State::Confirming => "Confirming",
        State::Propagating => "Propagating",
        State::Active => "Active",
        State::NeedsConsent => "Needs consent",
        State::Unlicensed => "Unlicensed",
        State::Blocked => "Blocked",
        State::CredentialFault => "Credential fault",
        State::Removed => "Removed",
    }
}

/// How a state looks where only the state is known.
pub fn state_level(state: State) -> Level {
    match state {
        State::CredentialFault | State::Blocked | State::NeedsConsent | State::Unlicensed => Level::Bad,
        State::Confirming => Level::Waiting,
        State::Propagating | State::Invited | State::Consenting => Level::Passing,
        State::Active => Level::Good,
        State::Removed => Level::Idle,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::tenant::{Feed, glance::Worst};

    fn standing(state: State, status: Ability, next_step: &str, feeds: &[Feed]) -> (Level, &'static str, String) {
        let capability = Capability { status, since: Timestamp::UNIX_EPOCH, next_step: next_step.to_owned() };
        let glance = Glance {
            tenant_id: "00000000-0000-4000-8000-0000000000aa".parse().unwrap(),
            account: "Contoso".to_owned(),
            state,
            feeds: feeds.to_vec(),
            worst: Some(Worst { feed: Feed::Alerts, capability }),
            asleep_until: None,
            paused: false,
        };
        let standing = Standing::of_tenant(&glance);
        (standing.level, standing.word, standing.next_step.to_owned())
    }

    #[test]
    fn a_tenant_stands_by_its_state_and_the_worst_of_its_feeds() {
        let both = &[Feed::Alerts, Feed::Machines][..];
        let one = &[Feed::Alerts][..];
        for (state, status, words, feeds, expected) in [
            (State::Active, Ability::Ok, "Nothing to do.", both, (Level::Good, "Active", "")),
            (State::Active, Ability::RoleMissing, "Ask.", both, (Level::Waiting, "Partly working", "Ask.")),
            (State::Active, Ability::NotConfigured, "Ask.", one, (Level::Waiting, "Not configured", "Ask.")),
            (
                State::Active,
                Ability::Throttled,
                "Nothing to do: wait.",
                both,
                (Level::Passing, "Throttled", "Nothing to do: wait."),
            ),
            (State::NeedsConsent, Ability::RoleMissing, "Ask.", both, (Level::Bad, "Needs consent", "Ask.")),
            (State::CredentialFault, Ability::Failing, "Store.", both, (Level::Bad, "Credential fault", "Store.")),
            (State::Removed, Ability::Failing, "Ask.", both, (Level::Idle, "Removed", "")),
        ] {
            let (level, word, next_step) = expected;
            assert_eq!(
                standing(state, status, words, feeds),
                (level, word, next_step.to_owned()),
                "{state:?} {status:?}"
            );
        }
    }
}
