//! What the forms of a tenant's page do.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::show;
use crate::{
    alert::backfill,
    consent::connect::ConnectError,
    console::{
        Broken,
        page::{
            Visit,
            form::{self, Form, Mistake, STORAGE_ACCOUNT, STORAGE_QUEUE},
            message::Message,
        },
    },
    credential::renewal::{self, RenewalError},
    machine::accept::{Accepted, accept},
    tenant::{
        Feed, TenantId,
        change::{Change, ChangeError, change},
        confirm::confirm,
        pull_now::pull_now,
    },
    web,
};

const SETTINGS: [&str; 4] = ["feeds", "region", STORAGE_ACCOUNT, STORAGE_QUEUE];

/// Why nothing was done: sentences for the form, or our own trouble.
enum NotDone {
    Mistakes(Vec<Mistake>),
    NoSuchTenant,
    Broken(Broken),
}

impl NotDone {
    /// `field` is where a sentence belongs that does not say it itself.
    fn of(error: ChangeError, field: &'static str) -> Self {
        match error {
            ChangeError::Unknown(_) => Self::NoSuchTenant,
            ChangeError::Refused(text) => Self::Mistakes(vec![Mistake::new(field, text)]),
            ChangeError::NotProven(ConnectError::NotProven { missing, .. }) => {
                Self::Mistakes(form::mistakes(&missing).into_iter().map(|mistake| elsewhere(mistake, field)).collect())
            }
            ChangeError::NotProven(other) => Self::Mistakes(vec![Mistake::new(field, other.to_string())]),
            ChangeError::Busy => Self::Mistakes(vec![Mistake::new("", error.to_string())]),
            ChangeError::Platform(cause) => Self::Broken(Broken::Operation(cause)),
        }
    }
}

/// A sentence about what these forms have no field for stands where the form has one.
fn elsewhere(mistake: Mistake, field: &'static str) -> Mistake {
    if SETTINGS.contains(&mistake.field) && field == "feeds" { mistake } else { Mistake { field, ..mistake } }
}

/// Does what a form asks for: a word of the page, or what was wrong.
pub async fn act(visit: &Visit<'_>, id: &str, what: &str, form: &web::Form) -> Result<web::Response, Broken> {
    let Ok(tenant) = id.parse::<TenantId>() else { return Ok(visit.tell(&Message::NO_SUCH_PAGE)) };
    // The form to be shown again where it is refused, and what is kept of it.
    let (prefix, fields): (_, &[&'static str]) = match what {
        "settings" => ("settings", &SETTINGS),
        "backfill" => ("backfill", &["since"]),
        "move" => ("move", &["account"]),
        _ => ("action", &[]),
    };
    let done = match what {
        "confirm" => by_confirming(visit, tenant, form).await,
        "pull" => by_pulling(visit, tenant).await,
        "accept" => by_accepting(visit, tenant).await,
        "pause" => by_pausing(visit, tenant, true).await,
        "resume" => by_pausing(visit, tenant, false).await,
        "settings" => by_setting(visit, tenant, form).await,
        "backfill" => by_backfill(visit, tenant, form).await,
        "renewal" => by_renewal_link(visit, tenant).await,
        "move" => by_moving(visit, tenant, form).await,
        _ => Err(NotDone::NoSuchTenant),
    };
    match done {
        Ok(word) => Ok(visit.see(&format!("/tenants/{tenant}?done={word}"))),
        Err(NotDone::NoSuchTenant) => Ok(visit.tell(&Message::NO_SUCH_PAGE)),
        Err(NotDone::Broken(broken)) => Err(broken),
        Err(NotDone::Mistakes(mistakes)) => {
            show(visit, 422, id, None, Some(Form::refused(prefix, form, fields, mistakes))).await
        }
    }
}

async fn by_confirming(visit: &Visit<'_>, tenant: TenantId, form: &web::Form) -> Result<&'static str, NotDone> {
    let seen = form.text("oid").unwrap_or_default();
    let confirmed = confirm(visit.app, tenant, Some(seen), &visit.session.actor()).await;
    confirmed.map(|_| "confirmed").map_err(|error| NotDone::of(error, ""))
}

async fn by_pulling(visit: &Visit<'_>, tenant: TenantId) -> Result<&'static str, NotDone> {
    let pulled = pull_now(visit.app, tenant, &visit.session.actor()).await.map_err(|error| NotDone::of(error, ""))?;
    if !pulled.feeds.is_empty() {
        return Ok("pulled");
    }
    let why =
        pulled.passed_by.iter().map(|passed| Mistake::new("", format!("{}: {}", passed.feed.name(), passed.reason)));
    Err(NotDone::Mistakes(why.collect()))
}

async fn by_accepting(visit: &Visit<'_>, tenant: TenantId) -> Result<&'static str, NotDone> {
    match accept(visit.app, tenant, &visit.session.actor()).await {
        Ok(Accepted::Machines(_)) => Ok("accepted"),
        Ok(Accepted::Nothing) => Ok("nothing-held"),
        Ok(Accepted::NotHere) => Err(NotDone::NoSuchTenant),
        Err(error) => Err(NotDone::Broken(Broken::Operation(error.to_string()))),
    }
}

async fn by_pausing(visit: &Visit<'_>, tenant: TenantId, paused: bool) -> Result<&'static str, NotDone> {
    let wanted = Change { paused: Some(paused), ..Change::default() };
    let changed = change(visit.app, tenant, &wanted, &visit.session.actor()).await;
    changed.map(|_| if paused { "paused" } else { "resumed" }).map_err(|error| NotDone::of(error, ""))
}

async fn by_setting(visit: &Visit<'_>, tenant: TenantId, form: &web::Form) -> Result<&'static str, NotDone> {
    let wanted = settings(form).map_err(NotDone::Mistakes)?;
    let changed = change(visit.app, tenant, &wanted, &visit.session.actor()).await;
    changed.map(|_| "changed").map_err(|error| NotDone::of(error, "feeds"))
}

/// Everything that the form says, or everything that is wrong with it.
fn settings(form: &web::Form) -> Result<Change, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let feeds = form::feeds(form, &mut mistakes);
    let region = form::region(form, &mut mistakes);
    let telemetry = feeds.contains(&Feed::Telemetry);
    let storage = if telemetry { form::storage(form, &mut mistakes) } else { None };
    if mistakes.is_empty() {
        Ok(Change { feeds: Some(feeds), region: Some(region), storage, ..Change::default() })
    } else {
        Err(mistakes)
    }
}

async fn by_backfill(visit: &Visit<'_>, tenant: TenantId, form: &web::Form) -> Result<&'static str, NotDone> {
    let since = form.text("since").and_then(day).ok_or_else(|| {
        NotDone::Mistakes(vec![Mistake::new("since", "Give a day as year, month and day, such as 2026-11-22.")])
    })?;
    let begun = backfill::begin(visit.app, tenant, since, &visit.session.actor()).await;
    begun.map(|_| "backfill").map_err(|error| NotDone::of(error, "since"))
}

/// When a day begins, in UTC.
fn day(text: &str) -> Option<Timestamp> {
    let day: Date = text.parse().ok()?;
    day.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp())
}

async fn by_renewal_link(visit: &Visit<'_>, tenant: TenantId) -> Result<&'static str, NotDone> {
    match renewal::make(visit.app, tenant, &visit.session.actor()).await {
        Ok(_) => Ok("renewal"),
        Err(RenewalError::Unknown(_)) => Err(NotDone::NoSuchTenant),
        Err(RenewalError::Refused(text)) => Err(NotDone::Mistakes(vec![Mistake::new("", text)])),
        Err(RenewalError::Broken(broken)) => Err(NotDone::Broken(broken.into())),
    }
}

async fn by_moving(visit: &Visit<'_>, tenant: TenantId, form: &web::Form) -> Result<&'static str, NotDone> {
    let Some(account) = form.text("account") else {
        return Err(NotDone::Mistakes(vec![Mistake::new("account", "Say which account it is to belong to.")]));
    };
    let wanted = Change { account: Some(account.to_owned()), ..Change::default() };
    let changed = change(visit.app, tenant, &wanted, &visit.session.actor()).await;
    changed.map(|_| "moved").map_err(|error| NotDone::of(error, "account"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: &str) -> web::Form {
        web::Request { body: Ok(body.as_bytes().to_vec()), ..web::Request::default() }.form().unwrap()
    }

    #[test]
    fn settings_are_read_whole_or_every_mistake_is_told_beside_its_field() {
        let read = settings(&sent("feeds=alerts&feeds=machines&region=eu&storage.account_name=ignored!")).unwrap();
        let expected = Change {
            feeds: Some(vec![Feed::Alerts, Feed::Machines]),
            region: Some(Some("eu".parse().unwrap())),
            ..Change::default()
        };
        assert_eq!(read, expected);
        let mistakes = settings(&sent("feeds=telemetry&region=moon&storage.account_name=No!")).unwrap_err();
        let fields: Vec<&str> = mistakes.iter().map(|mistake| mistake.field).collect();
        assert_eq!(fields, ["region", "storage.account_name", "storage.queue_name"]);
        assert_eq!(settings(&sent("feeds=mail")).unwrap_err()[0].field, "feeds");
    }

    #[test]
    fn a_day_begins_at_midnight_utc() {
        assert_eq!(day("2026-11-22"), "2026-11-22T00:00:00Z".parse().ok());
        assert!(["", "22.11.2026", "2026-13-01", "tomorrow"].into_iter().all(|text| day(text).is_none()));
    }
}
