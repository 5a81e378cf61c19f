//! Invitations: a link for one customer's administrator, signed, expiring, and good for one binding.
//!
//! `invite` makes them, one or as many as a file names (`csv`), and `mail` writes the letter that carries the link.

pub mod csv;
mod invite;
mod mail;
mod withdraw;

use std::fmt;

use futures::{StreamExt, TryStreamExt, stream};
pub use invite::{InviteAllError, InviteError, Invited, InvitedRow, NewInvitation, check, invite, invite_all, link};
use jiff::{SignedDuration, Timestamp};
pub use mail::mail_draft;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;
pub use withdraw::{WithdrawError, withdraw};

use crate::{
    App,
    ports::store::{Expect, Key, Store, StoreError, Write},
    signing::{Purpose, SigningKeys},
    tenant::{Consent, Feed, TenantId, account},
};

const PARTITION: &str = "invitations";
const INDEX: &str = "invitation#";
/// How long a link is good for, unless the operator says otherwise.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
pub const MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(60 * 24);
/// A used or expired invitation still says so for this long; then its record goes.
const MEMORY: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Invitations of one account that are read at a time.
const READ_AT_ONCE: usize = 16;

/// An invitation as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    pub id: Uuid,
    pub account: String,
    pub feeds: Vec<Feed>,
    #[serde(default)]
    pub expected_tenant: Option<TenantId>,
    pub created_at: Timestamp,
    pub valid_until: Timestamp,
    /// The binding that spent it.
    #[serde(default)]
    pub used: Option<Used>,
    /// When an operator took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Timestamp>,
}

impl Invitation {
    pub fn state(&self, now: Timestamp) -> InvitationState {
        match (&self.used, self.withdrawn_at) {
            (Some(used), _) => InvitationState::Used(used.clone()),
            (None, Some(at)) => InvitationState::Withdrawn { at },
            (None, None) if self.valid_until <= now => InvitationState::Expired,
            (None, None) => InvitationState::Open,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub at: Timestamp,
    pub tenant_id: TenantId,
}

/// What has become of an invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum InvitationState {
    Open,
    Used(Used),
    Expired,
    Withdrawn { at: Timestamp },
}

/// An invitation and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub invitation: Invitation,
    pub state: InvitationState,
}

/// Why a link leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// We never signed this.
    Mangled,
    Expired,
    Used,
    /// An operator took it back.
    Withdrawn,
}

/// An open invitation, with the version that its use expects.
#[derive(Debug, Clone)]
pub struct Open {
    pub invitation: Invitation,
    version: u64,
}

impl Open {
    /// The write that spends it, which only one binding can make.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if it cannot be encoded.
    pub fn spend(&self, tenant_id: TenantId, now: Timestamp) -> Result<Write, StoreError> {
        let used = Invitation { used: Some(Used { at: now, tenant_id }), ..self.invitation.clone() };
        put(&used, Expect::Version(self.version))
    }

    /// The write that takes it back.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if it cannot be encoded.
    pub fn withdraw(&self, now: Timestamp) -> Result<Write, StoreError> {
        let withdrawn = Invitation { withdrawn_at: Some(now), ..self.invitation.clone() };
        put(&withdrawn, Expect::Version(self.version))
    }

    /// The condition that nobody has spent it meanwhile.
    pub fn check(&self) -> Write {
        Write::Check { key: key(self.invitation.id), expect: Expect::Version(self.version) }
    }
}

/// The text in the link: id and end, signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    pub fn of(invitation: &Invitation, keys: &SigningKeys) -> Self {
        let end = invitation.valid_until.as_second().to_be_bytes();
        Self(keys.sign(Purpose::Invitation, &[&invitation.id.as_bytes()[..], &end].concat()))
    }

    /// What stands in an address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A text we signed ourselves, whatever has become of its invitation.
    pub fn parse(text: &str, keys: &SigningKeys) -> Option<(Self, Uuid, Timestamp)> {
        let payload = keys.open(Purpose::Invitation, text)?;
        let (id, end) = payload.split_at_checked(16)?;
        let end = Timestamp::from_second(i64::from_be_bytes(end.try_into().ok()?)).ok()?;
        Some((Self(text.to_owned()), Uuid::from_slice(id).ok()?, end))
    }
}

/// Opens a link.
///
/// # Errors
/// As the store's; what is wrong with the link is an answer.
pub async fn open(
    store: &dyn Store,
    keys: &SigningKeys,
    text: &str,
    now: Timestamp,
) -> Result<Result<(Token, Open), Unusable>, StoreError> {
    let Some((token, id, end)) = Token::parse(text, keys) else { return Ok(Err(Unusable::Mangled)) };
    if end <= now {
        return Ok(Err(Unusable::Expired));
    }
    Ok(load(store, id, now).await?.map(|open| (token, open)))
}

/// The open invitation of this id.
///
/// # Errors
/// As the store's.
pub async fn load(store: &dyn Store, id: Uuid, now: Timestamp) -> Result<Result<Open, Unusable>, StoreError> {
    let Some((invitation, version)) = read(store, id).await? else { return Ok(Err(Unusable::Expired)) };
    Ok(match invitation.state(now) {
        InvitationState::Open => Ok(Open { invitation, version }),
        InvitationState::Used(_) => Err(Unusable::Used),
        InvitationState::Withdrawn { .. } => Err(Unusable::Withdrawn),
        InvitationState::Expired => Err(Unusable::Expired),
    })
}

/// The invitation of this id, whatever has become of it; none where its record is gone.
///
/// # Errors
/// As the store's.
pub async fn find(store: &dyn Store, id: Uuid) -> Result<Option<Invitation>, StoreError> {
    Ok(read(store, id).await?.map(|(invitation, _)| invitation))
}

async fn read(store: &dyn Store, id: Uuid) -> Result<Option<(Invitation, u64)>, StoreError> {
    let Some(item) = store.get(&key(id)).await? else { return Ok(None) };
    let invitation = serde_json::from_value(item.value)
        .map_err(|cause| StoreError::Invalid(format!("the invitation {id} cannot be read: {cause}")))?;
    Ok(Some((invitation, item.version)))
}

/// The invitations of an account, the newest first, as long as they are remembered.
///
/// # Errors
/// As the store's.
pub async fn list_of(store: &dyn Store, account: Uuid, now: Timestamp) -> Result<Vec<Listed>, StoreError> {
    let index = store.query(&account::partition(account), INDEX).await?;
    let ids: Vec<Uuid> = index.iter().filter_map(|(key, _)| key.sort.strip_prefix(INDEX)?.parse().ok()).collect();
    let read = stream::iter(ids).map(|id| find(store, id)).buffered(READ_AT_ONCE);
    let found: Vec<Option<Invitation>> = read.try_collect().await?;
    let mut listed: Vec<Listed> =
        found.into_iter().flatten().map(|invitation| Listed { state: invitation.state(now), invitation }).collect();
    listed.sort_by_key(|listed| (std::cmp::Reverse(listed.invitation.created_at), listed.invitation.id));
    Ok(listed)
}

/// The open invitations of an account that nobody but this tenant may answer.
///
/// # Errors
/// As the store's.
pub async fn expecting(
    store: &dyn Store,
    tenant: TenantId,
    account: &str,
    now: Timestamp,
) -> Result<Vec<Open>, StoreError> {
    let items = store.query(PARTITION, "").await?;
    // One that cannot be read admits nobody.
    let readable = items.into_iter().filter_map(|(_, item)| {
        let invitation: Invitation = serde_json::from_value(item.value).ok()?;
        Some(Open { invitation, version: item.version })
    });
    let open = readable.filter(|Open { invitation, .. }| invitation.state(now) == InvitationState::Open);
    let theirs = open
        .filter(|Open { invitation, .. }| invitation.expected_tenant == Some(tenant) && invitation.account == account);
    Ok(theirs.collect())
}

/// An operator vouches for whoever gave this consent: the write that spends their invitation, if it is still open.
///
/// # Errors
/// As the store's.
pub async fn spend_by_vouching(app: &App, consent: &Consent, tenant: TenantId) -> Result<Option<Write>, StoreError> {
    let now = app.clock.now();
    let Ok(id) = consent.invitation.parse() else { return Ok(None) };
    match load(app.ports.store.as_ref(), id, now).await? {
        Ok(open) => open.spend(tenant, now).map(Some),
        Err(_spent_or_expired) => Ok(None),
    }
}

fn key(id: Uuid) -> Key {
    Key::new(PARTITION, id.to_string())
}

fn put(invitation: &Invitation, expect: Expect) -> Result<Write, StoreError> {
    let mut value = serde_json::to_value(invitation).map_err(|cause| StoreError::Invalid(cause.to_string()))?;
    value["expires_at"] = forgotten_at(invitation).into();
    Ok(Write::Put { key: key(invitation.id), value, expect })
}

/// By which the account finds it, for as long as it is remembered.
fn put_into_index(invitation: &Invitation, account: Uuid) -> Write {
    let key = Key::new(account::partition(account), format!("{INDEX}{}", invitation.id));
    Write::Put { key, value: json!({ "expires_at": forgotten_at(invitation) }), expect: Expect::Absent }
}

/// The store's time to live, in seconds since the epoch.
fn forgotten_at(invitation: &Invitation) -> i64 {
    (invitation.valid_until + MEMORY).as_second()
}
