//! Invitations: a link for one customer's administrator, signed, expiring, and good for one binding.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::{
    App,
    config::Config,
    microsoft::sign_in::{NoDiscovery, discovery_request, parse_discovery, tenant_of_issuer},
    ports::store::{Expect, Key, Store, StoreError, Write},
    random,
    signing::{NoSigningKey, Purpose, SigningKeys},
    tenant::{
        Consent, Feed, TenantId,
        account::{self, AccountError},
    },
};

const PARTITION: &str = "invitations";
/// How long a link is good for, unless the operator says otherwise.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
pub const MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(60 * 24);
/// A used or expired invitation still says so for this long; then its record goes.
const MEMORY: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    pub account: String,
    pub feeds: Vec<Feed>,
    /// The only tenant that may answer: an id, or a domain that Entra resolves to one.
    pub expected_tenant: Option<String>,
    pub lifetime: SignedDuration,
}

/// What the operator gets. The link is a secret until it is used.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Invited {
    pub id: Uuid,
    pub link: Url,
    pub expires_at: Timestamp,
}

impl fmt::Debug for Invited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invited").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The request itself is wrong.
    #[error("{0}")]
    Refused(String),
    #[error(
        "MUSTER_PUBLIC_URL is not set; it is the origin that people's browsers see, such as https://muster.example.com"
    )]
    NoPublicUrl,
    #[error(transparent)]
    SigningKey(#[from] NoSigningKey),
    #[error("{0}")]
    Platform(String),
}

impl From<StoreError> for InviteError {
    fn from(error: StoreError) -> Self {
        Self::Platform(error.to_string())
    }
}

impl From<AccountError> for InviteError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Name => Self::Refused(error.to_string()),
            other => Self::Platform(other.to_string()),
        }
    }
}

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
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    pub at: Timestamp,
    pub tenant_id: TenantId,
}

/// Why a link leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// We never signed this.
    Mangled,
    Expired,
    Used,
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

/// What can be said of a request before anything is opened. The origin that the link will begin with.
///
/// # Errors
/// [`InviteError::Refused`] or [`InviteError::NoPublicUrl`].
pub fn check(config: &Config, new: &NewInvitation) -> Result<Url, InviteError> {
    account::name(&new.account)?;
    if new.feeds.is_empty() {
        return Err(InviteError::Refused("an invitation needs at least one feed".to_owned()));
    }
    if new.feeds.contains(&Feed::Telemetry) {
        return Err(InviteError::Refused(
            "the feed `telemetry` needs a storage account, which no invitation brings; once the tenant is in, add it with \
             `muster connect TENANT_ID --account NAME --feeds telemetry --storage ACCOUNT/QUEUE`"
                .to_owned(),
        ));
    }
    if new.lifetime < SignedDuration::from_mins(1) || new.lifetime > MAX_LIFETIME {
        return Err(InviteError::Refused("an invitation lives for 1 minute to 60 days".to_owned()));
    }
    if let Some(text) = &new.expected_tenant
        && text.trim().parse::<TenantId>().is_err()
        && !is_domain(text.trim())
    {
        let text = text.escape_default();
        return Err(InviteError::Refused(format!("`{text}` is neither a tenant id (a GUID) nor a domain")));
    }
    config.public_url.clone().ok_or(InviteError::NoPublicUrl)
}

fn is_domain(text: &str) -> bool {
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    text.contains('.') && text.len() <= 253 && text.split('.').all(label)
}

/// Makes an invitation, and the account if it is new.
///
/// # Errors
/// [`InviteError`], in words for the operator.
pub async fn invite(app: &App, new: &NewInvitation) -> Result<Invited, InviteError> {
    let public_url = check(&app.config, new)?;
    let keys = SigningKeys::load(app.ports.vault.as_ref(), &app.config.secrets_prefix).await?;
    let now = app.clock.now();
    let expected_tenant = match &new.expected_tenant {
        None => None,
        Some(text) => Some(resolve(app, text.trim()).await?),
    };
    let invitation = Invitation {
        id: random::id().map_err(|error| InviteError::Platform(error.to_string()))?,
        account: account::ensure(app.ports.store.as_ref(), &new.account, now).await?.name,
        feeds: new.feeds.clone(),
        expected_tenant,
        created_at: now,
        valid_until: now + new.lifetime,
        used: None,
    };
    app.ports.store.commit(vec![put(&invitation, Expect::Absent)?]).await?;
    let mut link = public_url;
    link.set_path(&format!("connect/{}", Token::of(&invitation, &keys).as_str()));
    Ok(Invited { id: invitation.id, link, expires_at: invitation.valid_until })
}

/// A tenant by id as it is, by domain as Entra's discovery document knows it.
async fn resolve(app: &App, text: &str) -> Result<TenantId, InviteError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let refused = |why: &str| InviteError::Refused(format!("`{}` {why}", text.escape_default()));
    let unreachable = |cause: String| InviteError::Platform(format!("Entra could not be asked for {text}: {cause}"));
    let login = app.config.login();
    let answer =
        app.http.send(discovery_request(&login, text)).await.map_err(|error| unreachable(error.to_string()))?;
    let status = answer.status;
    let body = answer.body.small(&app.clock).await.map_err(|error| unreachable(error.to_string()))?;
    match parse_discovery(status, &body, &login) {
        Ok(document) => tenant_of_issuer(&document.issuer).ok_or_else(|| refused("is no tenant's domain")),
        Err(NoDiscovery::NoTenant) => Err(refused("is no domain of an Entra tenant")),
        Err(error) => Err(unreachable(error.to_string())),
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
    let Some(item) = store.get(&key(id)).await? else { return Ok(Err(Unusable::Expired)) };
    let invitation: Invitation = serde_json::from_value(item.value)
        .map_err(|cause| StoreError::Invalid(format!("the invitation {id} cannot be read: {cause}")))?;
    if invitation.used.is_some() {
        return Ok(Err(Unusable::Used));
    }
    if invitation.valid_until <= now {
        return Ok(Err(Unusable::Expired));
    }
    Ok(Ok(Open { invitation, version: item.version }))
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
    // The store's time to live, in seconds since the epoch.
    value["expires_at"] = (invitation.valid_until + MEMORY).as_second().into();
    Ok(Write::Put { key: key(invitation.id), value, expect })
}
