//! Tenants, for scripts.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{
    NotDone, Problem,
    accounts::account_of,
    calls::{Asked, give},
};
use crate::{
    alert::backfill,
    cloud::Region,
    consent::connect::{self, ConnectError},
    console::Broken,
    credential::renewal::{self, RenewalError},
    secret::Secret,
    storage::Storage,
    tenant::{
        Feed, TenantId,
        change::{self, ChangeError},
        confirm, detail, list, pull_now,
        remove::{self, RemoveError},
    },
    web,
};

pub async fn list(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    give(200, &list::list(asked.app.ports.store.as_ref(), asked.now).await?)
}

pub async fn one(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    seen(&asked, asked.tenant()?, 200).await
}

/// The tenant as it is now.
async fn seen(asked: &Asked<'_>, tenant: TenantId, status: u16) -> Result<web::Response, NotDone> {
    let view = detail::detail(asked.app.ports.store.as_ref(), tenant, asked.now).await?;
    give(status, &view.ok_or_else(|| Problem::new(404, "There is no such tenant."))?)
}

/// A tenant with an application of its own. Tested for real before anything is kept.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConnection {
    /// The account's id, or its name; an account of a new name is made.
    account: String,
    tenant_id: TenantId,
    /// Of the application that the tenant has registered for us.
    client_id: uuid::Uuid,
    #[schemars(with = "NewCredential")]
    credential: Value,
    feeds: Vec<Feed>,
    /// Where the telemetry is; with that feed alone.
    storage: Option<Storage>,
    region: Option<Region>,
}

/// How the application proves itself.
#[derive(JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used; the entry is read where it is tested")]
enum NewCredential {
    ClientSecret {
        value: String,
        key_id: Option<uuid::Uuid>,
        expires_at: Option<Timestamp>,
    },
    Certificate {
        certificate_pem: String,
        private_key_pem: String,
        key_id: Option<uuid::Uuid>,
        expires_at: Option<Timestamp>,
    },
}

pub async fn connect(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    let new: NewConnection = asked.body()?;
    let entry = json!({ "client_id": new.client_id, "home_tenant_id": new.tenant_id, "credential": new.credential });
    let connection = connect::NewConnection {
        tenant_id: new.tenant_id,
        account: account_of(&asked, &new.account).await?,
        feeds: new.feeds,
        region: new.region,
        storage: new.storage,
    };
    connect::connect_own(asked.app, &connection, &Secret::new(entry.to_string()), &asked.actor).await?;
    seen(&asked, new.tenant_id, 201).await
}

impl From<ConnectError> for NotDone {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::NotProven { missing, .. } => {
                let missing = missing.iter().map(|missing| json!(missing)).collect();
                Problem::new(422, "The test has shown that something is missing; nothing was kept.")
                    .naming(missing)
                    .into()
            }
            ConnectError::BoundElsewhere(_) => Problem::new(409, error.to_string()).into(),
            ConnectError::Unsupported(why) => Problem::new(422, why).into(),
            ConnectError::Platform(why) => Broken::Operation(why).into(),
        }
    }
}

/// What is to be different; what is not named stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// All feeds that the tenant is to have.
    feeds: Option<Vec<Feed>>,
    /// `null` is wherever Microsoft sends us.
    #[serde(default, deserialize_with = "given")]
    region: Option<Option<Region>>,
    storage: Option<Storage>,
    /// The feature that DESIGN's table calls pause.
    #[serde(alias = "pause")]
    paused: Option<bool>,
    /// The id or the name of the account that it is to belong to.
    account: Option<String>,
}

/// A field that is there, be it `null`.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

pub async fn change(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    let tenant = asked.tenant()?;
    let wanted: Change = asked.body()?;
    let account = match &wanted.account {
        Some(named) => Some(account_of(&asked, named).await?),
        None => None,
    };
    let change = change::Change {
        feeds: wanted.feeds,
        region: wanted.region,
        storage: wanted.storage,
        paused: wanted.paused,
        account,
    };
    change::change(asked.app, tenant, &change, &asked.actor).await?;
    seen(&asked, tenant, 200).await
}

impl From<ChangeError> for NotDone {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Unknown(_) => Problem::new(404, error.to_string()).into(),
            ChangeError::Refused(_) | ChangeError::Busy => Problem::new(409, error.to_string()).into(),
            ChangeError::NotProven(error) => error.into(),
            ChangeError::Platform(why) => Broken::Operation(why).into(),
        }
    }
}

pub async fn pull(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    give(202, &pull_now::pull_now(asked.app, asked.tenant()?, &asked.actor).await?)
}

/// From when.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    /// A time, or a day (its beginning, in UTC), of the last 180 days.
    #[schemars(with = "String")]
    since: Since,
}

struct Since(Timestamp);

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        let text = String::deserialize(field)?;
        let day = |text: &str| text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
        let since = text.parse().ok().or_else(|| day(&text));
        let hint = "`since` is a time such as 2026-11-22T00:00:00Z, or a day such as 2026-11-22";
        since.map(Self).ok_or_else(|| serde::de::Error::custom(hint))
    }
}

pub async fn backfill(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    let tenant = asked.tenant()?;
    let Backfill { since: Since(since) } = asked.body()?;
    backfill::begin(asked.app, tenant, since, &asked.actor).await?;
    seen(&asked, tenant, 202).await
}

/// For whom; without it for whoever signed in last.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// `consent.oid` of the tenant as it was looked at. If somebody else has signed in since, nothing is confirmed.
    oid: Option<String>,
}

pub async fn confirm(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    let tenant = asked.tenant()?;
    let oid = if asked.has_body() { asked.body::<Confirmation>()?.oid } else { None };
    confirm::confirm(asked.app, tenant, oid.as_deref(), &asked.actor).await?;
    seen(&asked, tenant, 200).await
}

pub async fn renewal(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    give(201, &renewal::make(asked.app, asked.tenant()?, &asked.actor).await?)
}

impl From<RenewalError> for NotDone {
    fn from(error: RenewalError) -> Self {
        match error {
            RenewalError::Unknown(_) => Problem::new(404, error.to_string()).into(),
            RenewalError::Refused(why) => Problem::new(409, why).into(),
            RenewalError::Broken(broken) => Broken::from(broken).into(),
        }
    }
}

pub async fn remove(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    give(200, &remove::remove(asked.app, asked.tenant()?, &asked.actor).await?)
}

impl From<RemoveError> for NotDone {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::Unknown(_) => Problem::new(404, error.to_string()).into(),
            RemoveError::CameBack(_) | RemoveError::Busy(_) => Problem::new(409, error.to_string()).into(),
            RemoveError::Platform(why) => Broken::Operation(why).into(),
        }
    }
}
