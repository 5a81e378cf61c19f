//! Accounts and their invitations, for scripts.

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    NotDone, Problem,
    calls::{Asked, give},
};
use crate::{
    consent::invitation::{self, InviteError},
    console::Broken,
    tenant::{
        Feed,
        account::{self, Account, AccountError},
    },
    web,
};

/// A customer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AccountView {
    id: Uuid,
    name: String,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self { id: account.id, name: account.name }
    }
}

/// What to make a customer of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// 1 to 200 printable characters, unlike every other account's, whatever the case.
    name: String,
}

pub async fn list(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    let accounts = account::list(asked.app.ports.store.as_ref()).await?;
    give(200, &accounts.into_iter().map(AccountView::from).collect::<Vec<_>>())
}

pub async fn create(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    let new: NewAccount = asked.body()?;
    let account = account::create(asked.app.ports.store.as_ref(), &new.name, asked.now, &asked.actor).await?;
    give(201, &AccountView::from(account))
}

impl From<AccountError> for NotDone {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Name => Problem::new(422, error.to_string()).into(),
            AccountError::Taken(_) => Problem::new(409, error.to_string()).into(),
            AccountError::Random(error) => Broken::Random(error).into(),
            AccountError::Store(error) => Broken::Store(error).into(),
        }
    }
}

/// Whom to ask for what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// The account's id, or its name; an account of a new name is made.
    account: String,
    /// `alerts`, `machines` or both. Telemetry is added once the tenant is in.
    feeds: Vec<Feed>,
    /// The only tenant that may answer: its id, or one of its domains.
    expected_tenant: Option<String>,
    /// 1 to 1,440; 168 if it is not given.
    expires_in_hours: Option<u16>,
}

pub async fn invite(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    let new: NewInvitation = asked.body()?;
    let account = account_of(&asked, &new.account).await?;
    let lifetime = new.expires_in_hours.map_or(invitation::LIFETIME, |hours| SignedDuration::from_hours(hours.into()));
    let new = invitation::NewInvitation {
        account,
        feeds: new.feeds,
        expected_tenant: new.expected_tenant,
        lifetime,
        once: None,
    };
    give(201, &invitation::invite(asked.app, &new, &asked.actor).await?)
}

impl From<InviteError> for NotDone {
    fn from(error: InviteError) -> Self {
        match error {
            InviteError::Refused(why) => Problem::new(422, why).into(),
            InviteError::NoPublicUrl => Broken::NoPublicUrl.into(),
            InviteError::SigningKey(error) => Broken::SigningKey(error).into(),
            InviteError::Platform(why) => Broken::Operation(why).into(),
        }
    }
}

/// The name of the account that a call refers to, by id or by name.
///
/// # Errors
/// 404 for an id that no account has.
pub async fn account_of(asked: &Asked<'_>, named: &str) -> Result<String, NotDone> {
    let Ok(id) = named.parse::<Uuid>() else { return Ok(named.to_owned()) };
    let account = account::by_id(asked.app.ports.store.as_ref(), id).await?;
    Ok(account.ok_or_else(|| Problem::new(404, "There is no account of this id."))?.name)
}
