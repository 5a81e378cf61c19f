//! Which of an application's credentials are ours, and which of those nobody needs any more.
//!
//! *Ours* is what bears our stamp, and what the vault's entry has named by `key_id`, so that the first, hand-made secret
//! is adopted. What is not ours is never touched: other systems keep credentials on the same application, and a rotator
//! that removes "everything but the new one" takes them down.

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};

use super::entry::Entry;
use crate::{
    microsoft::graph::{Registered, What},
    ports::vault::{Description, Stage},
};

/// The longest that whoever makes a credential can be between reading the vault, Graph's answer, and storing it: a
/// function's longest life.
pub const IN_FLIGHT: SignedDuration = SignedDuration::from_mins(15);

/// As long as somebody may still use what the current credential has replaced.
pub const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// How our credentials are named at Entra: `muster/{hash of the secret's identity}/{version}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(String);

impl Stamp {
    pub fn of(description: &Description) -> Self {
        let hash = digest::digest(&digest::SHA256, description.identity.as_bytes());
        let hash: String = hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self(format!("muster/{hash}/"))
    }

    /// The `displayName` of the credential that the rotation to `version` makes.
    pub fn name(&self, version: &str) -> String {
        format!("{}{version}", self.0)
    }

    pub fn is_on(&self, registered: &Registered) -> bool {
        shown_name(registered).is_some_and(|name| name.starts_with(&self.0))
    }
}

/// How a credential is called at Entra. A certificate that was given no name there may bear its subject's.
fn shown_name(registered: &Registered) -> Option<&str> {
    let name = registered.display_name.as_deref()?;
    Some(name.strip_prefix("CN=").filter(|_| registered.is_certificate()).unwrap_or(name))
}

/// One secret of the vault as it is now: labels, and the entries under them.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Before any of it was read.
    pub read_at: Timestamp,
    pub description: Description,
    pub stamp: Stamp,
    pub current: Entry,
    pub previous: Option<Entry>,
    /// What the version under `AWSPENDING` holds; `None` while it awaits its value.
    pub pending: Option<Entry>,
}

impl Holding {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        [Some(&self.current), self.previous.as_ref(), self.pending.as_ref()].into_iter().flatten()
    }

    /// Whether a labelled version lives by this credential.
    fn is_named(&self, registered: &Registered) -> bool {
        self.entries().any(|entry| entry.lives_by(registered))
    }

    /// Ours without our stamp, as far as Entra still has them: what a new entry must remember. A `key_id` that another
    /// credential goes with was mistyped, and adopts nothing.
    pub fn adopted(&self, listed: &[Registered]) -> Vec<String> {
        let is_adopted = |registered: &&Registered| {
            let id = |known: &str| known.eq_ignore_ascii_case(&registered.key_id);
            let named = |entry: &Entry| entry.key_id.as_deref().is_some_and(id) && entry.fits(registered);
            self.entries().any(|entry| named(entry) || entry.retired_key_ids.iter().any(|known| id(known)))
        };
        let ours = listed.iter().filter(|registered| !self.stamp.is_on(registered)).filter(is_adopted);
        ours.map(|registered| registered.key_id.to_ascii_lowercase()).collect()
    }

    /// The credentials that the rotation to `version` has made, other than the one that is stored: secrets whose answers
    /// were lost on the way, and a certificate's second registration. Only the stored one can ever be used, because a
    /// version takes one value for good.
    pub fn orphans<'a>(&self, version: &str, listed: &'a [Registered]) -> Vec<&'a Registered> {
        let name = self.stamp.name(version);
        let strays = listed.iter().filter(|registered| shown_name(registered) == Some(name.as_str()));
        strays.filter(|stray| !self.is_named(stray) || is_a_double(stray, listed)).collect()
    }

    /// Ours, named by no labelled version of this entry or of any other, once the current credential is a day old; and a
    /// certificate's second registration. Those of an open rotation are its own business. `elsewhere` is every other entry
    /// of the vault; without it, nothing is given up.
    pub fn leftovers<'a>(
        &self,
        listed: &'a [Registered],
        elsewhere: Option<&[Entry]>,
        now: Timestamp,
    ) -> Vec<&'a Registered> {
        if self.current_since(listed).is_none_or(|since| now.duration_since(since) < GRACE) {
            return Vec::new();
        }
        let open = self.description.open_rotation().map(|version| self.stamp.name(version));
        let adopted = self.adopted(listed);
        let ours = |registered: &&Registered| {
            self.stamp.is_on(registered) || adopted.contains(&registered.key_id.to_ascii_lowercase())
        };
        // What is younger than that may have been stored, and become current, since the labels were read.
        let is_settled = |registered: &&Registered| self.is_settled(registered);
        let free = |registered: &&Registered| {
            let lives_there = |entry: &Entry| entry.lives_by(registered);
            (!self.is_named(registered) || self.stamp.is_on(registered) && is_a_double(registered, listed))
                && (open.is_none() || shown_name(registered) != open.as_deref())
                && elsewhere.is_some_and(|elsewhere| !elsewhere.iter().any(lives_there))
        };
        listed.iter().filter(ours).filter(is_settled).filter(free).collect()
    }

    /// Whether this was made so long before the vault was read that nobody can have been about to store it then.
    pub fn is_settled(&self, registered: &Registered) -> bool {
        registered.start.is_some_and(|start| self.read_at.duration_since(start) >= IN_FLIGHT)
    }

    /// Whether [`Holding::leftovers`] would be more if it knew what other entries live by.
    pub fn asks_elsewhere(&self, listed: &[Registered], now: Timestamp) -> bool {
        self.leftovers(listed, Some(&[]), now).len() > self.leftovers(listed, None, now).len()
    }

    /// Since when the current credential exists here and at Entra, whichever is later.
    fn current_since(&self, listed: &[Registered]) -> Option<Timestamp> {
        let stored = self.description.version(Stage::Current).and_then(|version| self.description.created.get(version));
        let made = self.at_entra(&self.current, listed).and_then(|registered| registered.start);
        stored.copied().max(made)
    }

    /// Whether an entry's certificate can sign that this one goes: it is registered, and stays so without it.
    pub fn can_do_without(&self, entry: &Entry, goes: &Registered, listed: &[Registered]) -> bool {
        !entry.lives_by(goes) || registrations(entry, listed) > 1
    }

    /// The credential that an entry names, as Entra has it.
    pub fn at_entra<'a>(&self, entry: &Entry, listed: &'a [Registered]) -> Option<&'a Registered> {
        let thumbprint = entry.certificate().map(|(certificate, _)| certificate.thumbprint());
        let is_it = |registered: &&Registered| thumbprint.is_some_and(|it| registered.has_thumbprint(it));
        let is_named = |registered: &&Registered| {
            entry.key_id.as_deref().is_some_and(|key_id| registered.key_id.eq_ignore_ascii_case(key_id))
        };
        listed.iter().find(is_it).or_else(|| listed.iter().find(is_named))
    }
}

/// How often an entry's certificate is registered.
fn registrations(entry: &Entry, listed: &[Registered]) -> usize {
    let thumbprint = entry.certificate().map(|(certificate, _)| certificate.thumbprint());
    thumbprint.map_or(0, |thumbprint| listed.iter().filter(|registered| registered.has_thumbprint(thumbprint)).count())
}

/// Whether the same certificate is there under a key id before this one. Everybody who looks keeps the same one.
fn is_a_double(registered: &Registered, listed: &[Registered]) -> bool {
    let What::Certificate { thumbprint: Some(thumbprint), .. } = &registered.what else { return false };
    let same = listed.iter().filter(|other| other.has_thumbprint(thumbprint));
    same.map(|other| &other.key_id).any(|first| *first < registered.key_id)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::{super::certificate, *};
    use crate::{
        ports::vault::{Schedule, Stages},
        secret::Secret,
    };

    const ID: &str = "a0000000-0000-4000-8000-00000000c11e";

    pub fn noon() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    pub fn hours(hours: i64) -> SignedDuration {
        SignedDuration::from_hours(hours)
    }

    /// An entry with this secret, key id (none where empty) and memory.
    pub fn entry(secret: &str, key_id: &str, retired: &[&str]) -> Entry {
        let mut credential = json!({"kind": "client_secret", "value": secret});
        if !key_id.is_empty() {
            credential["key_id"] = json!(key_id);
        }
        let entry =
            json!({"client_id": ID, "home_tenant_id": ID, "credential": credential, "retired_key_ids": retired});
        Entry::parse(&Secret::new(entry.to_string())).unwrap()
    }

    /// A password that was made this many hours before noon.
    pub fn password(key_id: &str, name: &str, hint: &str, age: i64) -> Registered {
        Registered {
            key_id: key_id.to_owned(),
            display_name: Some(name.to_owned()),
            start: Some(noon() - hours(age)),
            end: Some(noon() - hours(age) + hours(180 * 24)),
            what: What::Password { hint: Some(hint.to_owned()) },
        }
    }

    /// A certificate that was registered this many hours before noon.
    pub fn key(key_id: &str, name: &str, thumbprint: &str, age: i64) -> Registered {
        let what = What::Certificate { thumbprint: Some(thumbprint.to_owned()), listed: serde_json::Value::Null };
        Registered { what, ..password(key_id, name, "", age) }
    }

    /// `v1` current since so many hours, and whatever else is labelled.
    pub fn description(age: i64, others: &[(&str, Stage)]) -> Description {
        let mut stages = Stages::from([("v1".to_owned(), vec![Stage::Current])]);
        for (version, stage) in others {
            stages.entry((*version).to_owned()).or_default().push(*stage);
        }
        let created = stages.keys().map(|version| (version.clone(), noon() - hours(age))).collect();
        Description { identity: "vault/muster/app".to_owned(), stages, created, schedule: Schedule::Nobody }
    }

    pub fn holding(description: Description, current: Entry) -> Holding {
        let stamp = Stamp::of(&description);
        Holding { read_at: noon(), description, stamp, current, previous: None, pending: None }
    }

    fn ids(passwords: &[&Registered]) -> Vec<String> {
        passwords.iter().map(|password| password.key_id.clone()).collect()
    }

    #[test]
    fn what_is_not_ours_is_never_a_leftover() {
        let holding = holding(description(48, &[]), entry("current", "k1", &[]));
        let ours = holding.stamp.name("v0");
        let stamped_and_copied = [password("K5", &ours, "xyz", 4800), password("k1", "", "cur", 48)];
        let elsewhere = [entry("x", "k5", &[])];
        assert!(
            holding.leftovers(&stamped_and_copied, Some(&elsewhere), noon()).is_empty(),
            "another entry lives by it"
        );
        let listed = [
            password("k1", &holding.stamp.name("v1"), "cur", 48),
            password("k2", "muster/0123456789ab/v0", "xyz", 4800),
            password("k3", "muster", "xyz", 4800),
            Registered { display_name: None, ..password("k4", "", "xyz", 4800) },
            password("k5", &ours, "xyz", 4800),
        ];
        assert_eq!(ids(&holding.leftovers(&listed, Some(&[]), noon())), ["k5"]);
    }

    #[test]
    fn nothing_goes_before_the_current_one_is_a_day_old_in_both_places() {
        for (stored, made, expected) in [(23, 48, 0), (48, 23, 0), (24, 24, 1)] {
            let holding = holding(description(stored, &[]), entry("current", "k1", &[]));
            let listed = [password("k1", "", "cur", made), password("k0", &holding.stamp.name("v0"), "old", 4800)];
            let leftovers = holding.leftovers(&listed, Some(&[]), noon());
            assert_eq!(leftovers.len(), expected, "{stored} {made}");
        }
    }

    #[test]
    fn an_adopted_secret_is_remembered_and_goes_when_no_label_names_it() {
        let mut holding = holding(description(48, &[("v0", Stage::Previous)]), entry("current", "k1", &["hand"]));
        let listed = [password("k1", "", "cur", 48), password("HAND", "made in the portal", "han", 9000)];
        let nowhere: [Entry; 0] = [];
        assert_eq!(ids(&holding.leftovers(&listed, Some(&nowhere), noon())), ["HAND"]);
        assert_eq!(holding.adopted(&listed), ["k1", "hand"]);
        assert!(holding.asks_elsewhere(&listed, noon()) && holding.leftovers(&listed, None, noon()).is_empty());
        let elsewhere = [entry("hand-made", "", &[])];
        assert!(holding.leftovers(&listed, Some(&elsewhere), noon()).is_empty(), "another entry lives by it");
        holding.previous = Some(entry("hand-made", "hand", &[]));
        assert!(holding.leftovers(&listed, Some(&nowhere), noon()).is_empty(), "AWSPREVIOUS names it");
        holding.previous = Some(entry("hand-made", "", &[]));
        assert!(holding.leftovers(&listed, Some(&nowhere), noon()).is_empty(), "AWSPREVIOUS may live by it");
        assert!(holding.adopted(&listed[1..]).contains(&"hand".to_owned()));
        assert!(holding.adopted(&[]).is_empty(), "what Entra has no more need not be remembered");
    }

    #[test]
    fn a_mistyped_key_id_adopts_nothing() {
        let holding = holding(description(48, &[]), entry("current", "k7", &[]));
        assert_eq!(holding.adopted(&[password("k7", "somebody else's", "xyz", 9000)]), Vec::<String>::new());
    }

    #[test]
    fn a_certificate_that_is_registered_twice_stays_under_the_first_of_its_ids() {
        let made = certificate::make("x", noon(), noon() + hours(4000)).unwrap();
        let credential = json!({"kind": "certificate", "certificate_pem": made.certificate_pem,
            "private_key_pem": made.private_key_pem.expose()});
        let current = json!({"client_id": ID, "home_tenant_id": ID, "credential": credential});
        let holding = holding(description(48, &[]), Entry::parse(&Secret::new(current.to_string())).unwrap());
        let key = |key_id: &str, name: &str| key(key_id, name, made.certificate.thumbprint(), 48);
        let ours = holding.stamp.name("v1");
        let listed = [key("k2", &ours), key("k1", &ours), key("k3", "by hand")];
        assert_eq!(ids(&holding.leftovers(&listed, Some(&[]), noon())), ["k2"]);
        let listed = [key("k2", "CN=by hand"), key("k3", &format!("CN={ours}"))];
        assert_eq!(ids(&holding.leftovers(&listed, Some(&[]), noon())), ["k3"], "ours goes, theirs stays");
    }

    #[test]
    fn an_open_rotations_credentials_are_its_own_business() {
        let mut holding = holding(description(48, &[("v2", Stage::Pending)]), entry("current", "k1", &[]));
        let listed = [password("k2", &holding.stamp.name("v2"), "abc", 1), password("k1", "", "cur", 48)];
        assert!(holding.leftovers(&listed, Some(&[]), noon()).is_empty());
        assert_eq!(ids(&holding.orphans("v2", &listed)), ["k2"]);
        holding.pending = Some(entry("abcdef", "k2", &[]));
        assert!(holding.orphans("v2", &listed).is_empty());
        assert!(holding.orphans("v3", &listed).is_empty());
    }
}
