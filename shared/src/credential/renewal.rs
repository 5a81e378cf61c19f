//! Renewal links: by one of these a customer's administrator gives the tenant's own application a new credential.
//!
//! A link is signed, and bound to the tenant, the application and the version of the vault's entry that is current when it
//! is made. So nothing has to be kept for it to be good once: whatever becomes current next, by whomever, spends it. What is
//! kept all the same lets operators find the link again, makes one of it where they press twice, and lets one go on of two
//! who save at once.

mod mail;
mod save;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
pub use mail::mail_draft;
pub use save::{NotRenewed, Renewed, complete, renew};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::status;
use crate::{
    App,
    audit::{Action, Actor, Entry},
    microsoft::tokens::ApplicationName,
    ports::{
        store::{Expect, Key, Store, StoreError, Write},
        vault::{Stage, VaultError},
    },
    random::NoRandomness,
    secret::Secret,
    signing::{NoSigningKey, Purpose, SigningKeys},
    tenant::{Connection, Loaded, State, TenantId, load},
};

/// How long a link is good for.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A link that is good for less than this is not given once more: who gets it needs days.
const WORTH_SENDING: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Beside what is known of credentials, so that the daily check may complete what has broken off, and nothing else of a tenant.
const PARTITION: &str = "credentials";
const FIELD: &str = "link";
/// As long as somebody may need from the first write to the last.
const AT_IT: SignedDuration = SignedDuration::from_mins(2);

/// What a link lets somebody do: put another credential in the place of this version's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub tenant: TenantId,
    pub client_id: String,
    /// The vault's version that is current.
    version: String,
    pub until: Timestamp,
}

impl Grant {
    /// What stands in the address. It is a secret until it is spent.
    fn sign(&self, keys: &SigningKeys) -> String {
        let Self { tenant, client_id, version, until } = self;
        keys.sign(Purpose::Renewal, format!("{tenant}/{client_id}/{}/{version}", until.as_second()).as_bytes())
    }

    /// One that we signed ourselves, whatever has become of it.
    fn parse(text: &str, keys: &SigningKeys) -> Option<Self> {
        let payload = String::from_utf8(keys.open(Purpose::Renewal, text)?).ok()?;
        let mut parts = payload.splitn(4, '/');
        Some(Self {
            tenant: parts.next()?.parse().ok()?,
            client_id: parts.next()?.to_owned(),
            until: Timestamp::from_second(parts.next()?.parse().ok()?).ok()?,
            version: parts.next()?.to_owned(),
        })
    }

    fn link(&self, public_url: &Url, keys: &SigningKeys) -> Url {
        let mut link = public_url.clone();
        link.set_path(&format!("renew/{}", self.sign(keys)));
        link
    }
}

/// Why a link leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// We never signed this.
    Mangled,
    Expired,
    /// Another credential is current since.
    Spent,
    /// Somebody is saving one by this link at this moment, or has broken off a moment ago.
    Busy,
    /// The tenant's own application is not what we come in by any more.
    Ended,
}

/// Whether a link we signed still leads somewhere. `current` is the version that the vault has now.
fn judge(
    grant: &Grant,
    connection: Option<&Connection>,
    current: Option<&str>,
    now: Timestamp,
) -> Result<(), Unusable> {
    if grant.until <= now {
        return Err(Unusable::Expired);
    }
    if !connection.is_some_and(is_by_its_own) {
        return Err(Unusable::Ended);
    }
    if current != Some(grant.version.as_str()) {
        return Err(Unusable::Spent);
    }
    Ok(())
}

fn is_by_its_own(connection: &Connection) -> bool {
    connection.state != State::Removed && connection.application == ApplicationName::Own
}

/// A link that leads somewhere, with what the page has to say.
#[derive(Debug, Clone)]
pub struct Open {
    pub grant: Grant,
    pub account: String,
    /// When the present credential ends or ended, as far as anybody knows.
    pub ends: Option<Timestamp>,
}

#[cfg(test)]
impl Open {
    /// Of a credential that ended yesterday.
    pub fn example(account: &str, now: Timestamp) -> Self {
        let grant = Grant {
            tenant: "a0000000-0000-4000-8000-0000000000aa".parse().unwrap(),
            client_id: "a0000000-0000-4000-8000-0000000000ee".to_owned(),
            version: "v/1".to_owned(),
            until: now + LIFETIME,
        };
        Self { grant, account: account.to_owned(), ends: Some(now - SignedDuration::from_hours(24)) }
    }
}

/// Our own trouble.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    SigningKey(#[from] NoSigningKey),
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error("MUSTER_PUBLIC_URL is not set")]
    NoPublicUrl,
    #[error("{0}")]
    Other(String),
}

/// Opens a link, and writes nothing: mail scanners open links too.
///
/// # Errors
/// [`Broken`]; what is wrong with the link is an answer.
pub async fn open(app: &App, token: &str) -> Result<Result<Open, Unusable>, Broken> {
    let (grant, known) = match look(app, token).await? {
        Ok(found) => found,
        Err(unusable) => return Ok(Err(unusable)),
    };
    let ends = status::one(app.ports.store.as_ref(), &status::own(grant.tenant)).await?;
    let ends = ends.and_then(|status| status.expires_at);
    Ok(Ok(Open { grant, account: known.connection.account, ends }))
}

async fn look(app: &App, token: &str) -> Result<Result<(Grant, Loaded), Unusable>, Broken> {
    let keys = app.signing.load(app.ports.vault.as_ref(), &app.config.secrets_prefix, app.clock.now()).await?;
    // What is not ours costs neither the store nor the vault anything.
    let Some(grant) = Grant::parse(token, &keys) else { return Ok(Err(Unusable::Mangled)) };
    let known = load(app.ports.store.as_ref(), grant.tenant).await?;
    let current = current(app, grant.tenant).await?;
    let connection = known.as_ref().map(|known| &known.connection);
    let judged = judge(&grant, connection, current.as_deref(), app.clock.now());
    Ok(judged.and_then(|()| known.ok_or(Unusable::Ended)).map(|known| (grant, known)))
}

/// The version of the tenant's own entry that is current.
async fn current(app: &App, tenant: TenantId) -> Result<Option<String>, VaultError> {
    match app.ports.vault.describe(&entry_name(app, tenant)).await {
        Ok(description) => Ok(description.version(Stage::Current).map(str::to_owned)),
        Err(VaultError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn entry_name(app: &App, tenant: TenantId) -> String {
    ApplicationName::Own.vault_name(&app.config.secrets_prefix, tenant)
}

/// What the operator gets. The link is a secret until it is spent.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Renewal {
    pub link: Url,
    pub expires_at: Timestamp,
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewal").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    #[error("no tenant {0} is connected here")]
    Unknown(TenantId),
    /// There is nothing of the customer's to renew.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Broken(Broken),
}

impl<E: Into<Broken>> From<E> for RenewalError {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Makes a link for the administrator of a tenant that has an application of its own. Asked for again while the last one
/// is good for a week or more, it is that one. The trail tells that it was made, and not what it is.
///
/// # Errors
/// [`RenewalError`]
pub async fn make(app: &App, tenant: TenantId, by: &Actor) -> Result<Renewal, RenewalError> {
    let (store, now) = (app.ports.store.as_ref(), app.clock.now());
    let public_url = app.config.public_url.as_ref().ok_or(Broken::NoPublicUrl)?;
    let keys = app.signing.load(app.ports.vault.as_ref(), &app.config.secrets_prefix, now).await?;
    let connection = load(store, tenant).await?.map(|known| known.connection);
    let connection = connection.filter(|known| known.state != State::Removed).ok_or(RenewalError::Unknown(tenant))?;
    if !is_by_its_own(&connection) {
        let why = "this tenant is connected by the provider's application, whose credential is no customer's to renew";
        return Err(RenewalError::Refused(why.to_owned()));
    }
    // What has become of the link before is in the trail ahead of the next one.
    complete(app, tenant).await?;
    let (version, client_id) = stored(app, tenant).await?;
    let renewal = |grant: &Grant| Renewal { link: grant.link(public_url, &keys), expires_at: grant.until };
    let (kept, expect) = kept(store, tenant).await?;
    // Whoever is at it tells of it by what is kept.
    if kept.as_ref().and_then(|kept| kept.taken.as_ref()).is_some_and(|taken| taken.is_at_it(now)) {
        let why = "somebody is saving a credential by the last link at this moment; look again in two minutes";
        return Err(RenewalError::Refused(why.to_owned()));
    }
    // One that somebody has broken off over is of no more use.
    let again = kept.filter(|kept| kept.taken.is_none()).map(|kept| kept.grant);
    let again = again.filter(|grant| (&grant.version, &grant.client_id) == (&version, &client_id));
    if let Some(grant) = again.filter(|grant| grant.until.duration_since(now) >= WORTH_SENDING) {
        return Ok(renewal(&grant));
    }
    let until = Timestamp::from_second((now + LIFETIME).as_second()).unwrap_or(now);
    let grant = Grant { tenant, client_id, version, until };
    let entry = Entry::new(now, by, Action::RenewalLinkMade).of_tenant(tenant).of_account(&connection.account);
    let entry = entry.saying(format!("Good until {}.", until.strftime("%Y-%m-%d %H:%M UTC")));
    let renewal = renewal(&grant);
    store.commit(vec![Kept { grant, taken: None }.write(expect)?, entry.write()?]).await?;
    Ok(renewal)
}

/// Version and application of what is in the vault for this tenant.
async fn stored(app: &App, tenant: TenantId) -> Result<(String, String), RenewalError> {
    let damaged = || {
        let name = status::own(tenant);
        RenewalError::Refused(format!(
            "the vault has no usable entry {name} for this tenant; connect it again by its own application, with its client id"
        ))
    };
    let version = match app.ports.vault.read(&entry_name(app, tenant), Stage::Current, None).await {
        Ok(version) => version,
        Err(VaultError::NotFound(_)) => return Err(damaged()),
        Err(error) => return Err(error.into()),
    };
    let client_id = client_id(&version.value).ok_or_else(damaged)?;
    Ok((version.id, client_id))
}

/// Whose an entry is. Whatever has become of the credential is what a link is to mend; this alone has to be known for one.
pub fn client_id(entry: &Secret<String>) -> Option<String> {
    let entry: serde_json::Value = serde_json::from_str(entry.expose()).ok()?;
    let client_id = entry.get("client_id").and_then(|id| id.as_str()).filter(|id| super::is_guid(id));
    client_id.map(str::to_ascii_lowercase)
}

/// The link that was made last, if it is still worth sending, after the application that it is for.
///
/// # Errors
/// [`Broken`]
pub async fn made(app: &App, tenant: TenantId) -> Result<Option<(String, Renewal)>, Broken> {
    let (Some(Kept { grant, .. }), _) = kept(app.ports.store.as_ref(), tenant).await? else { return Ok(None) };
    let now = app.clock.now();
    let is_current = current(app, tenant).await?.as_deref() == Some(grant.version.as_str());
    let is_open = is_current && grant.until.duration_since(now) >= WORTH_SENDING;
    let Some(public_url) = app.config.public_url.as_ref().filter(|_| is_open) else { return Ok(None) };
    let keys = app.signing.load(app.ports.vault.as_ref(), &app.config.secrets_prefix, now).await?;
    let renewal = Renewal { link: grant.link(public_url, &keys), expires_at: grant.until };
    Ok(Some((grant.client_id, renewal)))
}

/// What is kept of a tenant's last link.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    grant: Grant,
    /// Who is putting, or has put, another version in the place of the grant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken: Option<Taken>,
}

/// Of two who renew the same version at once, one has this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    /// The version that is going to be current, or was then.
    by: String,
    at: Timestamp,
    done: bool,
}

impl Taken {
    /// Whoever began and did not come back is not waited for.
    fn is_at_it(&self, now: Timestamp) -> bool {
        !self.done && now.duration_since(self.at) < AT_IT
    }
}

impl Kept {
    /// Whether somebody else is at it, or has done it.
    fn is_taken(&self, version: &str, now: Timestamp) -> bool {
        let busy = |taken: &Taken| taken.done || taken.is_at_it(now);
        self.grant.version == version && self.taken.as_ref().is_some_and(busy)
    }

    fn write(&self, expect: Expect) -> Result<Write, StoreError> {
        let kept = serde_json::to_value(self).map_err(|cause| StoreError::Invalid(cause.to_string()))?;
        // Under a name of its own: an item's `expires_at` is when the store forgets it.
        let value = serde_json::json!({ FIELD: kept, "expires_at": self.grant.until.as_second() });
        Ok(Write::Put { key: key(self.grant.tenant), value, expect })
    }
}

fn key(tenant: TenantId) -> Key {
    Key::new(PARTITION, format!("renewal#{tenant}"))
}

/// The write that forgets a tenant's last link, whose item the store clears away then; `None` where there was none.
///
/// # Errors
/// As the store's.
pub async fn forget(store: &dyn Store, tenant: TenantId, now: Timestamp) -> Result<Option<Write>, StoreError> {
    let item = store.get(&key(tenant)).await?.filter(|item| item.value.get(FIELD).is_some());
    let value = serde_json::json!({ "expires_at": now.as_second() });
    Ok(item.map(|item| Write::Put { key: key(tenant), value, expect: Expect::Version(item.version) }))
}

async fn kept(store: &dyn Store, tenant: TenantId) -> Result<(Option<Kept>, Expect), StoreError> {
    let item = store.get(&key(tenant)).await?;
    let expect = Expect::as_read(item.as_ref());
    let kept = item.and_then(|mut item| serde_json::from_value(item.value.get_mut(FIELD)?.take()).ok());
    Ok((kept, expect))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        secret::Secret,
        tenant::{Condition, Feed},
    };

    const TENANT: &str = "a0000000-0000-4000-8000-0000000000aa";

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn keys() -> SigningKeys {
        let key = Secret::new(format!(r#"{{"key":"{}"}}"#, "A".repeat(43)));
        SigningKeys::of(&key).unwrap()
    }

    fn grant() -> Grant {
        Open::example("Contoso", now()).grant
    }

    fn connection(state: State, application: ApplicationName) -> Connection {
        let conditions = [(Feed::Alerts, Condition::ok())].into();
        let known: Connection = serde_json::from_value(serde_json::json!({
            "tenant_id": TENANT, "account": "Contoso", "state": "active", "application": "own",
            "connected_at": now(), "feeds": {},
        }))
        .unwrap();
        let renewed = crate::tenant::bind::renewed(&known, conditions, now());
        Connection { state, application, ..renewed }
    }

    #[test]
    fn a_link_says_what_it_is_for_and_nobody_else_can_make_one() {
        let keys = keys();
        let token = grant().sign(&keys);
        assert_eq!(Grant::parse(&token, &keys), Some(grant()));
        let other = keys.sign(Purpose::Invitation, format!("{TENANT}/x/1/v").as_bytes());
        let (payload, signature) = token.split_once('.').unwrap();
        let (_, foreign) = other.split_once('.').unwrap();
        for forged in [
            other.clone(),
            format!("{payload}.{foreign}"),
            format!("{payload}x.{signature}"),
            payload.to_owned(),
            String::new(),
            keys.sign(Purpose::Renewal, b"half/of/1"),
            keys.sign(Purpose::Renewal, b"\xff/b/1/v"),
        ] {
            assert_eq!(Grant::parse(&forged, &keys), None, "{forged}");
        }
    }

    #[test]
    fn a_link_is_good_for_its_time_its_version_and_a_tenant_that_comes_by_its_own() {
        let own = connection(State::CredentialFault, ApplicationName::Own);
        let app = connection(State::Active, ApplicationName::App);
        let removed = connection(State::Removed, ApplicationName::Own);
        let later = now() + LIFETIME;
        for (known, current, at, expected) in [
            (Some(&own), Some("v/1"), now(), Ok(())),
            (Some(&own), Some("v/1"), later, Err(Unusable::Expired)),
            (Some(&own), Some("v2"), now(), Err(Unusable::Spent)),
            (Some(&own), None, now(), Err(Unusable::Spent)),
            (Some(&app), Some("v/1"), now(), Err(Unusable::Ended)),
            (Some(&removed), Some("v/1"), now(), Err(Unusable::Ended)),
            (None, Some("v/1"), now(), Err(Unusable::Ended)),
        ] {
            assert_eq!(judge(&grant(), known, current, at), expected, "{current:?} {at}");
        }
    }

    #[test]
    fn what_is_printed_of_a_link_is_not_the_link() {
        let link = grant().link(&"https://muster.example.com".parse().unwrap(), &keys());
        assert!(link.as_str().starts_with("https://muster.example.com/renew/"));
        let renewal = Renewal { link, expires_at: now() };
        assert!(!format!("{renewal:?}").contains("renew/"));
    }
}
