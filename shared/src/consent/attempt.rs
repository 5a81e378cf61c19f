//! One walk of one browser through Microsoft's two pages: bound to the browser and the invitation, each step good once.
//!
//! The browser keeps a secret of its own in a cookie; we keep its digest. Nonce and code verifier are derived from that
//! secret, so that nothing which is stored, logged or seen in an address is enough to go on with an attempt.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ports::store::{Expect, Key, Store, StoreError, Write},
    random::{self, NoRandomness},
    secret::Secret,
    signing::{Purpose, SigningKeys},
    tenant::TenantId,
};

/// Both pages, with a second factor and a role to activate first.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
const BROWSER_BYTES: usize = 32;

/// The secret that one browser keeps.
#[derive(Debug, Clone)]
pub struct Browser(Secret<Vec<u8>>);

impl Browser {
    /// # Errors
    /// As [`random::bytes`].
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(Secret::new(random::bytes::<BROWSER_BYTES>()?.to_vec())))
    }

    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .filter(|bytes| bytes.len() == BROWSER_BYTES)
            .map(|bytes| Self(Secret::new(bytes)))
    }

    /// As the cookie carries it.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose())
    }

    fn digest(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.0.expose()))
    }

    fn derive(&self, what: &str, attempt: Uuid) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, format!("{what} {attempt}").as_bytes()))
    }

    /// What the id_token must repeat.
    pub fn nonce(&self, attempt: Uuid) -> String {
        self.derive("nonce", attempt)
    }

    /// What redeems the code.
    pub fn code_verifier(&self, attempt: Uuid) -> Secret<String> {
        Secret::new(self.derive("code verifier", attempt))
    }

    /// What Entra gets of the verifier beforehand.
    pub fn code_challenge(&self, attempt: Uuid) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.code_verifier(attempt).expose().as_bytes()))
    }
}

/// Where an attempt stands. It goes forward only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// The administrator is at Microsoft's consent page.
    Consenting,
    /// Somebody approved, they say, in this tenant; now they sign in there.
    SigningIn { tenant: TenantId },
    /// The code has come; whatever came of it, this attempt is over.
    Over,
}

impl Step {
    /// Keeps a state of one page from being used at the other.
    fn number(self) -> u8 {
        match self {
            Self::Consenting => 1,
            Self::SigningIn { .. } => 2,
            Self::Over => 3,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub id: Uuid,
    pub invitation: Uuid,
    /// SHA-256 of the browser's secret.
    browser: String,
    pub step: Step,
    /// Seconds since the epoch; the store's time to live too.
    expires_at: i64,
}

/// An attempt as read, with the version that its next step expects.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub attempt: Attempt,
    version: u64,
}

/// Why a `state` is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadState {
    /// Not ours, or damaged on the way.
    Mangled,
    Expired,
    /// This step of the attempt has been taken already, in this very browser.
    Replayed(Attempt),
    /// Begun in another browser, or this one has lost its cookie.
    OtherBrowser,
}

impl Attempt {
    /// # Errors
    /// As [`random::id`].
    pub fn new(invitation: Uuid, browser: &Browser, now: Timestamp) -> Result<Self, NoRandomness> {
        Ok(Self {
            id: random::id()?,
            invitation,
            browser: browser.digest(),
            step: Step::Consenting,
            expires_at: (now + LIFETIME).as_second(),
        })
    }

    /// The `state` that the page of the current step gives back.
    pub fn state(&self, keys: &SigningKeys) -> String {
        let payload = [&self.id.as_bytes()[..], &[self.step.number()], &self.expires_at.to_be_bytes()].concat();
        keys.sign(Purpose::ConsentState, &payload)
    }

    fn key(id: Uuid) -> Key {
        Key::new(format!("consent#{id}"), "attempt")
    }

    fn put(&self, expect: Expect) -> Result<Write, StoreError> {
        let value = serde_json::to_value(self).map_err(|cause| StoreError::Invalid(cause.to_string()))?;
        Ok(Write::Put { key: Self::key(self.id), value, expect })
    }

    /// # Errors
    /// As the store's.
    pub async fn begin(&self, store: &dyn Store) -> Result<(), StoreError> {
        store.commit(vec![self.put(Expect::Absent)?]).await
    }
}

impl Loaded {
    /// Goes on to `step`; of two who try, one does.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for the other one.
    pub async fn advance(self, store: &dyn Store, step: Step) -> Result<Attempt, StoreError> {
        let attempt = Attempt { step, ..self.attempt };
        store.commit(vec![attempt.put(Expect::Version(self.version))?]).await?;
        Ok(attempt)
    }
}

/// The attempt that this `state` belongs to, if it is its turn and this is its browser.
///
/// # Errors
/// As the store's; what is wrong with the state is an answer.
pub async fn resume(
    store: &dyn Store,
    keys: &SigningKeys,
    state: &str,
    browser: Option<&Browser>,
    now: Timestamp,
) -> Result<Result<Loaded, BadState>, StoreError> {
    let Some((id, step, end)) = keys.open(Purpose::ConsentState, state).and_then(|payload| parse(&payload)) else {
        return Ok(Err(BadState::Mangled));
    };
    if end <= now.as_second() {
        return Ok(Err(BadState::Expired));
    }
    let Some(item) = store.get(&Attempt::key(id)).await? else { return Ok(Err(BadState::Expired)) };
    let attempt: Attempt = serde_json::from_value(item.value)
        .map_err(|cause| StoreError::Invalid(format!("a consent attempt cannot be read: {cause}")))?;
    let theirs = browser.map(Browser::digest).unwrap_or_default();
    if verify_slices_are_equal(theirs.as_bytes(), attempt.browser.as_bytes()).is_err() {
        return Ok(Err(BadState::OtherBrowser));
    }
    if attempt.step.number() != step {
        return Ok(Err(BadState::Replayed(attempt)));
    }
    Ok(Ok(Loaded { attempt, version: item.version }))
}

fn parse(payload: &[u8]) -> Option<(Uuid, u8, i64)> {
    let (id, rest) = payload.split_at_checked(16)?;
    let (step, end) = rest.split_first()?;
    Some((Uuid::from_slice(id).ok()?, *step, i64::from_be_bytes(end.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_derived_differs_by_browser_attempt_and_use_and_is_long_enough() {
        let (one, other) = (Browser::new().unwrap(), Browser::new().unwrap());
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let all = [
            one.nonce(first),
            one.nonce(second),
            other.nonce(first),
            one.code_verifier(first).expose().clone(),
            other.code_verifier(first).expose().clone(),
            one.code_challenge(first),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        // RFC 7636 takes verifiers of 43 to 128 characters.
        assert!(all.iter().all(|text| text.len() == 43));
        assert_eq!(Browser::parse(&one.expose()).unwrap().nonce(first), one.nonce(first));
        for text in ["", "short", &"A".repeat(44), "ÄÖÜ"] {
            assert!(Browser::parse(text).is_none(), "{text}");
        }
    }
}
