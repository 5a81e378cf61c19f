//! Entra's rules about one application's credentials (MICROSOFT.md 5): replicas that learn late, writes that must keep
//! apart, proofs by what is registered, and a collection that is replaced whole.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::{
    credential::entry::Entry,
    microsoft::graph::{Listing, Registered, What},
};

pub const REPLICAS: usize = 3;
/// Writes that come closer are refused.
const APART: SignedDuration = SignedDuration::from_secs(1);
/// The longest that a replica lags behind: more than twice what was seen.
pub const SETTLES: SignedDuration = SignedDuration::from_secs(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whoever rotates.
    Us,
    /// Somebody who gave it to us.
    Person,
    Stranger,
}

#[derive(Debug)]
pub struct Known {
    pub registered: Registered,
    /// The text of a secret; of a certificate its thumbprint.
    pub text: String,
    pub owner: Owner,
    made: Timestamp,
    pub removed: Option<Timestamp>,
    lags: [i64; REPLICAS],
}

impl Known {
    pub fn is_gone(&self) -> bool {
        self.removed.is_some()
    }

    fn is_seen(&self, replica: usize, now: Timestamp) -> bool {
        let lag = SignedDuration::from_secs(self.lags[replica]);
        self.made + lag <= now && self.removed.is_none_or(|removed| removed + lag > now)
    }
}

#[derive(Debug, Default)]
pub struct Entra {
    pub known: Vec<Known>,
    last_write: Option<Timestamp>,
    serial: usize,
}

/// A write that comes too close to another.
#[derive(Debug)]
pub struct Concurrent;

impl Entra {
    /// Notes a write, unless it comes too close to the last one.
    pub fn write(&mut self, now: Timestamp) -> Result<(), Concurrent> {
        if self.last_write.is_some_and(|last| now.duration_since(last) < APART) {
            return Err(Concurrent);
        }
        self.last_write = Some(now);
        Ok(())
    }

    fn add(
        &mut self,
        what: What,
        text: String,
        name: &str,
        (start, end): (Timestamp, Timestamp),
        owner: Owner,
    ) -> String {
        self.serial += 1;
        let (serial, key_id) = (self.serial, format!("k{:03}", self.serial));
        let display_name = Some(name.to_owned());
        let registered = Registered { key_id: key_id.clone(), display_name, start: Some(start), end: Some(end), what };
        // Different at every replica, and another one lags each time.
        let lags = [1, 18, 50].map(|lag| (lag + 17 * serial as i64) % 51);
        self.known.push(Known { registered, text, owner, made: start, removed: None, lags });
        key_id
    }

    pub fn add_secret(&mut self, name: &str, now: Timestamp, end: Timestamp, owner: Owner) -> (String, String) {
        let text = format!("{:03}-a-secret", self.serial + 1);
        let what = What::Password { hint: Some(text[..3].to_owned()) };
        (self.add(what, text.clone(), name, (now, end), owner), text)
    }

    pub fn add_key(&mut self, name: &str, thumbprint: &str, now: Timestamp, end: Timestamp, owner: Owner) -> String {
        let what = What::Certificate { thumbprint: Some(thumbprint.to_owned()), listed: serde_json::Value::Null };
        self.add(what, thumbprint.to_owned(), name, (now, end), owner)
    }

    pub fn list(&self, replica: usize, now: Timestamp) -> Listing {
        let seen = self.known.iter().filter(|known| known.is_seen(replica, now));
        Listing { object_id: "object".to_owned(), credentials: seen.map(|known| known.registered.clone()).collect() }
    }

    /// Whether a replica takes what an entry holds.
    pub fn takes(&self, entry: &Entry, replica: usize, now: Timestamp) -> bool {
        let in_time = |known: &&Known| known.registered.end.is_none_or(|end| now < end);
        let mut seen = self.known.iter().filter(|known| known.is_seen(replica, now)).filter(in_time);
        match (entry.secret(), entry.certificate()) {
            (Some(secret), _) => seen.any(|known| known.text == *secret.expose()),
            (_, Some((certificate, _))) => {
                certificate.is_valid(now) && seen.any(|known| known.text == certificate.thumbprint())
            }
            (None, None) => true,
        }
    }

    /// Whether what an entry holds is registered at all, whoever has heard of it.
    pub fn has(&self, entry: &Entry) -> bool {
        let (secret, certificate) = (entry.secret(), entry.certificate());
        let thumbprint = certificate.map(|(certificate, _)| certificate.thumbprint());
        let text = secret.map(|secret| secret.expose().as_str()).or(thumbprint);
        text.is_none_or(|text| self.known.iter().any(|known| known.text == text && !known.is_gone()))
    }

    pub fn remove(&mut self, key_id: &str, now: Timestamp) {
        for known in self.known.iter_mut().filter(|known| known.registered.key_id == key_id) {
            known.removed.get_or_insert(now);
        }
    }

    /// Certificates that are not named are gone.
    pub fn keep_keys(&mut self, named: &BTreeSet<String>, now: Timestamp) {
        let keys = self.known.iter_mut().filter(|known| known.registered.is_certificate());
        for known in keys.filter(|known| !named.contains(&known.registered.key_id)) {
            known.removed.get_or_insert(now);
        }
    }
}
