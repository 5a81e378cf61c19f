//! One walk of one browser through Microsoft's two pages: bound to the browser and the invitation, each step good once.
//! Of the browser's secret we keep the digest.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    ports::store::{Expect, Key, Store, StoreError, Write},
    random::{self, NoRandomness},
    sign_in::Browser,
    signing::{Purpose, SigningKeys},
    tenant::TenantId,
};

/// Both pages, with a second factor and a role to activate first.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

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
