//! A signed-in person's session: what their cookie says, what they may do, and which forms are theirs.
//!
//! The cookie is signed and says all there is to know; of a session we store only that it was ended. It lives for an hour,
//! as long as Entra's own tokens: whoever loses a role loses it here within that. Whoever has it still is sent to Entra and
//! back, and notices nothing.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    audit::Actor,
    config::Config,
    microsoft::id_token::Person,
    page, plain,
    ports::store::{Expect, Key, Store, StoreError, Write},
    random::{self, NoRandomness},
    signing::{Purpose, SigningKeys},
    web,
};

const COOKIE: &str = "muster-session";
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
const LIFETIME_SECONDS: u32 = 3600;
/// A cookie is short, whatever somebody is called.
const MAX_NAME: usize = 40;

/// What an app role lets somebody do; each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look, and nothing else.
    Reader,
    Operator,
}

impl Role {
    /// As the application's manifest calls it.
    pub fn app_role(self) -> &'static str {
        match self {
            Self::Reader => "Muster.Reader",
            Self::Operator => "Muster.Operator",
        }
    }

    /// The highest of those that Entra names.
    pub fn among(app_roles: &[String]) -> Option<Self> {
        let held = |role: &Self| app_roles.iter().any(|name| name == role.app_role());
        [Self::Operator, Self::Reader].into_iter().find(held)
    }
}

/// Somebody who has signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    #[serde(rename = "i")]
    pub id: Uuid,
    #[serde(rename = "o")]
    pub oid: String,
    #[serde(rename = "n")]
    pub name: String,
    #[serde(rename = "r")]
    pub role: Role,
    /// Seconds since the epoch.
    #[serde(rename = "e")]
    ends_at: i64,
}

impl Session {
    /// # Errors
    /// As [`random::id`].
    pub fn begin(person: &Person, role: Role, now: Timestamp) -> Result<Self, NoRandomness> {
        Ok(Self {
            id: random::id()?,
            oid: person.oid.clone(),
            name: plain::visible(&person.name, MAX_NAME),
            role,
            ends_at: (now + LIFETIME).as_second(),
        })
    }

    pub fn actor(&self) -> Actor {
        Actor::Operator { oid: self.oid.clone(), name: self.name.clone() }
    }

    /// The cookie that carries it.
    ///
    /// # Errors
    /// Never, but for a defect.
    pub fn cookie(&self, config: &Config, keys: &SigningKeys) -> Result<String, StoreError> {
        let payload = serde_json::to_vec(self).map_err(|cause| StoreError::Invalid(cause.to_string()))?;
        Ok(page::cookie(config, COOKIE, &keys.sign(Purpose::Session, &payload), LIFETIME_SECONDS))
    }

    /// The session of this browser, if it has one that is not over.
    ///
    /// # Errors
    /// As the store's.
    pub async fn of(
        request: &web::Request,
        config: &Config,
        keys: &SigningKeys,
        store: &dyn Store,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let payload =
            request.cookie(&page::cookie_name(config, COOKIE)).and_then(|text| keys.open(Purpose::Session, text));
        let session = payload.and_then(|payload| serde_json::from_slice::<Self>(&payload).ok());
        let Some(session) = session.filter(|session| now.as_second() < session.ends_at) else { return Ok(None) };
        let was_ended = store.get(&session.key()).await?.is_some();
        Ok((!was_ended).then_some(session))
    }

    /// What ends it everywhere, also for who has copied the cookie. The record goes when the cookie would have.
    pub fn end(&self) -> Write {
        Write::Put { key: self.key(), value: serde_json::json!({ "expires_at": self.ends_at }), expect: Expect::Absent }
    }

    /// The cookie that makes the browser forget.
    pub fn forget(config: &Config) -> String {
        page::cookie(config, COOKIE, "", 0)
    }

    fn key(&self) -> Key {
        Key::new("sessions", self.id.to_string())
    }

    /// What every form of this session carries, and no other page can know.
    pub fn form_token(&self, keys: &SigningKeys) -> String {
        keys.sign(Purpose::Form, self.id.as_bytes())
    }

    pub fn has_sent(&self, form: &web::Form, keys: &SigningKeys) -> bool {
        let sent = form.text("token").and_then(|token| keys.open(Purpose::Form, token));
        sent.is_some_and(|id| id == self.id.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_of_our_own_roles_counts_and_no_other() {
        let among = |names: &[&str]| Role::among(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(among(&["Muster.Reader", "Muster.Operator"]), Some(Role::Operator));
        assert_eq!(among(&["Muster.Reader"]), Some(Role::Reader));
        for other in ["muster.operator", "Muster.Operator ", "Operator", "", "Global Administrator"] {
            assert_eq!(among(&[other]), None, "{other}");
        }
        assert!(Role::Reader < Role::Operator);
    }
}
