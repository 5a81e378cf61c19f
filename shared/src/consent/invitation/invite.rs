//! Making invitations, each with its entry in the trail: one, or all that a file names or none.

use std::{fmt, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use url::Url;
use uuid::Uuid;

use super::{
    Invitation, InvitationState, MAX_LIFETIME, Token,
    csv::{Mistake, Row, doubles},
    find, put, put_into_index,
};
use crate::{
    App,
    audit::{Action, Actor, Entry},
    config::Config,
    microsoft::sign_in::{Discovery, NoDiscovery, discovery_request, parse_discovery, tenant_of_issuer},
    ports::store::{Expect, StoreError},
    random, record,
    signing::{NoSigningKey, SigningKeys},
    tenant::{
        Feed, TenantId,
        account::{self, AccountError, Prepared},
    },
};

/// Whoever loses the race for an account's name reads it again; more often than this nobody loses.
const TRIES: usize = 10;
/// Rows of a file that are worked on at a time: what one browser waits for must not take minutes.
const AT_ONCE: usize = 8;

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    pub account: String,
    pub feeds: Vec<Feed>,
    /// The only tenant that may answer: an id, or a domain that Entra resolves to one.
    pub expected_tenant: Option<String>,
    pub lifetime: SignedDuration,
    /// What tells one form from another: the same one, sent twice with the same content, is one invitation.
    pub once: Option<Uuid>,
}

/// What the operator gets. The link is a secret until it is used.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Invited {
    pub id: Uuid,
    pub link: Url,
    pub expires_at: Timestamp,
    pub account: String,
    pub feeds: Vec<Feed>,
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
            AccountError::Name | AccountError::Taken(_) => Self::Refused(error.to_string()),
            other => Self::Platform(other.to_string()),
        }
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
    if let Some(text) = &new.expected_tenant {
        is_tenant(text.trim()).map_err(InviteError::Refused)?;
    }
    config.public_url.clone().ok_or(InviteError::NoPublicUrl)
}

/// Whether the text can name a tenant: by id, or by a domain that is to be resolved.
///
/// # Errors
/// The mistake in words.
pub(super) fn is_tenant(text: &str) -> Result<(), String> {
    if text.parse::<TenantId>().is_ok() || is_domain(text) {
        return Ok(());
    }
    Err(format!("`{}` is neither a tenant id (a GUID) nor a domain", text.escape_default()))
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
pub async fn invite(app: &App, new: &NewInvitation, by: &Actor) -> Result<Invited, InviteError> {
    let desk = Desk::open(app, new, by).await?;
    let expected = match &new.expected_tenant {
        None => None,
        Some(text) => Some(resolve(app, text.trim()).await?),
    };
    desk.invite(new, expected).await
}

/// The link of an invitation that is still open, once more.
///
/// # Errors
/// [`InviteError::Refused`] for one that is not open.
pub async fn link(app: &App, invitation: &Invitation) -> Result<Invited, InviteError> {
    let public_url = app.config.public_url.clone().ok_or(InviteError::NoPublicUrl)?;
    let keys = app.signing.load(app.ports.vault.as_ref(), &app.config.secrets_prefix, app.clock.now()).await?;
    let over = match invitation.state(app.clock.now()) {
        InvitationState::Open => return Ok(invited(invitation, &public_url, &keys)),
        InvitationState::Used(_) => "been used",
        InvitationState::Expired => "expired",
        InvitationState::Withdrawn { .. } => "been withdrawn",
    };
    Err(InviteError::Refused(format!("this invitation has {over}; make a new one")))
}

fn invited(invitation: &Invitation, public_url: &Url, keys: &SigningKeys) -> Invited {
    let mut link = public_url.clone();
    link.set_path(&format!("connect/{}", Token::of(invitation, keys).as_str()));
    Invited {
        id: invitation.id,
        link,
        expires_at: invitation.valid_until,
        account: invitation.account.clone(),
        feeds: invitation.feeds.clone(),
    }
}

/// Why a file led to no invitations.
#[derive(Debug, thiserror::Error)]
pub enum InviteAllError {
    /// Everything that is wrong with it; nobody was invited.
    #[error("{} of the file's rows cannot be used; nobody was invited", .0.len())]
    Mistakes(Vec<Mistake>),
    /// Of a platform that failed half-way some invitations may exist. The same again with the same `once` makes the
    /// others.
    #[error(transparent)]
    Invite(#[from] InviteError),
}

/// A row and its invitation.
#[derive(Debug, Clone, Serialize)]
pub struct InvitedRow {
    /// The file's.
    pub line: u64,
    /// Whom to send the link to.
    pub email: Option<String>,
    #[serde(flatten)]
    pub invited: Invited,
}

/// Invites all of these, in their order, or nobody where a row cannot be used.
///
/// # Errors
/// [`InviteAllError`]
pub async fn invite_all(
    app: &App,
    rows: &[Row],
    feeds: &[Feed],
    lifetime: SignedDuration,
    once: Option<Uuid>,
    by: &Actor,
) -> Result<Vec<InvitedRow>, InviteAllError> {
    let new = |row: &Row| NewInvitation {
        account: row.account.clone(),
        feeds: feeds.to_vec(),
        expected_tenant: row.expected_tenant.clone(),
        lifetime,
        once,
    };
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let desk = Desk::open(app, &new(first), by).await?;
    let tenants = resolve_all(app, rows).await?;
    // Made before any of them runs: the compiler cannot see through a closure that borrows while a stream is polled.
    let each: Vec<_> = rows
        .iter()
        .zip(tenants)
        .map(|(row, tenant)| {
            let (desk, new) = (&desk, new(row));
            async move {
                let invited = desk.invite(&new, tenant).await?;
                Ok::<_, InviteError>(InvitedRow { line: row.line, email: row.email.clone(), invited })
            }
        })
        .collect();
    Ok(stream::iter(each).buffered(AT_ONCE).try_collect().await?)
}

/// The tenant that each row expects, or all that is wrong: no tenant's domain, and two rows for one tenant.
async fn resolve_all(app: &App, rows: &[Row]) -> Result<Vec<Option<TenantId>>, InviteAllError> {
    let each: Vec<_> = rows
        .iter()
        .map(|row| async move {
            match &row.expected_tenant {
                None => Ok(None),
                Some(text) => resolve(app, text.trim()).await.map(Some),
            }
        })
        .collect();
    let resolved: Vec<Result<Option<TenantId>, InviteError>> = stream::iter(each).buffered(AT_ONCE).collect().await;
    let (mut tenants, mut mistakes) = (Vec::new(), Vec::new());
    for (row, resolved) in rows.iter().zip(resolved) {
        match resolved {
            Ok(tenant) => tenants.push(tenant),
            Err(InviteError::Refused(text)) => mistakes.push(Mistake { line: row.line, text }),
            Err(other) => return Err(other.into()),
        }
    }
    if mistakes.is_empty() {
        let rows = rows
            .iter()
            .zip(&tenants)
            .map(|(row, tenant)| Row { expected_tenant: tenant.map(|tenant| tenant.to_string()), ..row.clone() });
        mistakes = doubles(&rows.collect::<Vec<_>>());
    }
    if mistakes.is_empty() { Ok(tenants) } else { Err(InviteAllError::Mistakes(mistakes)) }
}

/// What every invitation of one request needs.
struct Desk<'a> {
    app: &'a App,
    public_url: Url,
    keys: Arc<SigningKeys>,
    by: &'a Actor,
}

impl<'a> Desk<'a> {
    async fn open(app: &'a App, new: &NewInvitation, by: &'a Actor) -> Result<Self, InviteError> {
        let public_url = check(&app.config, new)?;
        let keys = app.signing.load(app.ports.vault.as_ref(), &app.config.secrets_prefix, app.clock.now()).await?;
        Ok(Self { app, public_url, keys, by })
    }

    /// Account, invitation, index and trail in one transaction.
    async fn invite(&self, new: &NewInvitation, expected_tenant: Option<TenantId>) -> Result<Invited, InviteError> {
        let (store, now) = (self.app.ports.store.as_ref(), self.app.clock.now());
        for _ in 0..TRIES {
            let Prepared { account, mut writes } = account::prepare(store, &new.account, now, self.by).await?;
            let invitation = Invitation {
                id: match new.once {
                    Some(once) => derived(once, &account.name, new, expected_tenant),
                    None => random::id().map_err(|error| InviteError::Platform(error.to_string()))?,
                },
                account: account.name,
                feeds: new.feeds.clone(),
                expected_tenant,
                created_at: now,
                valid_until: now + new.lifetime,
                used: None,
                withdrawn_at: None,
            };
            if new.once.is_some()
                && let Some(sent_before) = find(store, invitation.id).await?
            {
                return link(self.app, &sent_before).await;
            }
            writes.extend([put(&invitation, Expect::Absent)?, put_into_index(&invitation, account.id)]);
            writes.push(entry(&invitation, now, self.by).write()?);
            match store.commit(writes).await {
                Ok(()) => return Ok(invited(&invitation, &self.public_url, &self.keys)),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }
}

fn entry(invitation: &Invitation, now: Timestamp, by: &Actor) -> Entry {
    let feeds: Vec<&str> = invitation.feeds.iter().map(|feed| feed.name()).collect();
    let until = invitation.valid_until.strftime("%Y-%m-%d %H:%M UTC");
    let whom = match invitation.expected_tenant {
        Some(_) => "one tenant alone",
        None => "any tenant",
    };
    let entry = Entry::new(now, by, Action::Invited).of_account(&invitation.account);
    let entry = entry.saying(format!("For {}, good for {whom} until {until}.", feeds.join(" and ")));
    invitation.expected_tenant.map_or(entry.clone(), |tenant| entry.of_tenant(tenant))
}

/// The id of the invitation that this form asks for. Nobody gains by guessing it: a link is signed.
fn derived(once: Uuid, account: &str, new: &NewInvitation, expected_tenant: Option<TenantId>) -> Uuid {
    let mut feeds: Vec<&str> = new.feeds.iter().map(|feed| feed.name()).collect();
    feeds.sort_unstable();
    let tenant = expected_tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
    let seconds = new.lifetime.as_secs().to_be_bytes();
    let mark = record::mark(&[
        b"invitation",
        once.as_bytes(),
        account.as_bytes(),
        feeds.join(",").as_bytes(),
        tenant.as_bytes(),
        &seconds,
    ]);
    uuid::Builder::from_custom_bytes(mark).into_uuid()
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
        Ok(Discovery { home: Some(home), .. }) | Err(NoDiscovery::OtherCloud(home))
            if home.refusal(app.config.cloud).is_some() =>
        {
            Err(InviteError::Refused(home.refusal(app.config.cloud).unwrap_or_default()))
        }
        Ok(document) => tenant_of_issuer(&document.issuer).ok_or_else(|| refused("is no tenant's domain")),
        Err(NoDiscovery::NoTenant) => Err(refused("is no domain of an Entra tenant")),
        Err(error) => Err(unreachable(error.to_string())),
    }
}
