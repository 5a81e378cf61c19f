//! Sending an invitation, and taking it back.

use jiff::SignedDuration;

use super::{Forms, known, show};
use crate::{
    consent::invitation::{self, InviteError, LIFETIME, MAX_LIFETIME, NewInvitation, WithdrawError},
    console::{
        Broken,
        page::{
            Visit, accounts,
            form::{self, Form, Mistake},
            message::Message,
        },
    },
    random,
    tenant::{Feed, account, load},
    web,
};

const DAYS: &str = "lifetime_days";
const FIELDS: [&str; 3] = ["feeds", "expected_tenant", DAYS];
/// What an invitation can bring; telemetry needs a storage account that no approval names.
pub const OFFERED: [Feed; 2] = [Feed::Alerts, Feed::Machines];

pub fn form() -> Result<Form, Broken> {
    fresh("invite")
}

/// A form that has feeds and a lifetime, as it is at first.
pub fn fresh(prefix: &'static str) -> Result<Form, Broken> {
    let form = Form::new(prefix).with(DAYS, (LIFETIME.as_hours() / 24).to_string());
    let mut form = OFFERED.iter().fold(form, |form, feed| form.with("feeds", feed.name()));
    form.once = random::id()?.to_string();
    Ok(form)
}

/// The days that an invitation is to live.
pub fn lifetime(form: &web::Form, mistakes: &mut Vec<Mistake>) -> SignedDuration {
    let most = MAX_LIFETIME.as_hours() / 24;
    let days = form.text(DAYS).and_then(|text| text.parse::<i64>().ok()).filter(|days| (1..=most).contains(days));
    if days.is_none() {
        mistakes.push(Mistake::new(DAYS, format!("An invitation lives for 1 to {most} days.")));
    }
    days.map_or(LIFETIME, |days| SignedDuration::from_hours(24 * days))
}

/// An invitation for an administrator of this account.
pub async fn invite(visit: &Visit<'_>, id: &str, form: &web::Form) -> Result<web::Response, Broken> {
    let Some(account) = known(visit, id).await? else { return Ok(visit.tell(&Message::NO_SUCH_PAGE)) };
    let mut mistakes = Vec::new();
    let new = NewInvitation {
        account: account.name,
        feeds: form::feeds(form, &mut mistakes),
        expected_tenant: form.text("expected_tenant").map(str::to_owned),
        lifetime: lifetime(form, &mut mistakes),
        once: form.text("once").and_then(|text| text.parse().ok()),
    };
    if mistakes.is_empty() {
        match invitation::invite(visit.app, &new, &visit.session.actor()).await {
            Ok(_) => return Ok(visit.see(&accounts::address(account.id, "invited"))),
            // Whatever else can be refused was looked at before.
            Err(InviteError::Refused(text)) => {
                let field = if new.expected_tenant.is_some() { "expected_tenant" } else { "" };
                mistakes.push(Mistake::new(field, text));
            }
            Err(error) => return Err(Broken::Operation(error.to_string())),
        }
    }
    let invite = Form::refused("invite", form, &FIELDS, mistakes);
    show(visit, 422, id, None, &Forms { invite, ..Forms::new(visit).await? }).await
}

/// An invitation that only this tenant can use, for the feeds it has.
pub async fn invite_tenant(visit: &Visit<'_>, id: &str, form: &web::Form) -> Result<web::Response, Broken> {
    let store = visit.app.ports.store.as_ref();
    // Pressed twice, it makes one invitation.
    let Some(once) = form.text("once").and_then(|text| text.parse().ok()) else {
        return Ok(visit.tell(&Message::NO_FORM));
    };
    let known = match id.parse() {
        Ok(tenant) => load(store, tenant).await?,
        Err(_) => None,
    };
    let Some(connection) = known.map(|known| known.connection) else { return Ok(visit.tell(&Message::NO_SUCH_PAGE)) };
    let Some(account) = account::by_name(store, &connection.account).await? else {
        return Ok(visit.tell(&Message::NO_SUCH_PAGE));
    };
    let has = |feed: &Feed| connection.feeds.is_empty() || connection.feeds.contains_key(feed);
    let feeds: Vec<Feed> = OFFERED.into_iter().filter(has).collect();
    let new = NewInvitation {
        account: account.name,
        feeds: if feeds.is_empty() { OFFERED.to_vec() } else { feeds },
        expected_tenant: Some(connection.tenant_id.to_string()),
        lifetime: LIFETIME,
        once: Some(once),
    };
    let invited = invitation::invite(visit.app, &new, &visit.session.actor()).await;
    invited.map_err(|error| Broken::Operation(error.to_string()))?;
    Ok(visit.see(&accounts::address(account.id, "invited")))
}

/// The invitation's link leads nowhere from now on.
pub async fn withdraw(visit: &Visit<'_>, id: &str, invitation: &str) -> Result<web::Response, Broken> {
    let (Some(account), Ok(invitation)) = (known(visit, id).await?, invitation.parse()) else {
        return Ok(visit.tell(&Message::NO_SUCH_PAGE));
    };
    match invitation::withdraw(visit.app, invitation, &visit.session.actor()).await {
        Ok(_) => Ok(visit.see(&accounts::address(account.id, "withdrawn"))),
        // What has become of it meanwhile stands on the page.
        Err(WithdrawError::Unknown | WithdrawError::Used(_) | WithdrawError::Expired) => {
            Ok(visit.see(&accounts::address(account.id, "over")))
        }
        Err(WithdrawError::Store(error)) => Err(error.into()),
    }
}
