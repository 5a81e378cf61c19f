//! Letting a tenant go: what goes and what stays, a name typed, and what came of it.

use askama::Template;
use url::Url;

use super::super::{
    Chrome, Section, Visit,
    form::{self, Form, Mistake},
    message::Message,
    words::{self, Moment},
};
use crate::{
    console::Broken,
    microsoft::tokens::ApplicationName,
    tenant::{
        Connection, State, TenantId, load,
        remove::{RemoveError, Removed, kept, remove, step_at_microsoft},
    },
    web,
};

const FIELD: &str = "name";

#[derive(Template)]
#[template(path = "console/remove.html")]
struct RemovePage<'a> {
    chrome: Chrome<'a>,
    connection: &'a Connection,
    form: &'a Form,
    feeds: String,
    kept: Vec<String>,
}

impl RemovePage<'_> {
    fn has_own_secret(&self) -> bool {
        self.connection.application == ApplicationName::Own
    }
}

/// What is left of a tenant that was removed, and where its administrator ends it at Microsoft.
pub struct Left {
    pub at: Option<Moment>,
    /// Until when its own application's secret can be restored.
    pub secret_until: Option<Moment>,
    pub kept: Vec<String>,
    pub link: Url,
    pub step: String,
    /// What the removal took away, right after it.
    pub taken: Option<String>,
}

impl Left {
    /// Nothing of a tenant that is here.
    pub async fn of(visit: &Visit<'_>, connection: &Connection) -> Option<Self> {
        if connection.state != State::Removed {
            return None;
        }
        let removal = connection.removal.as_ref();
        Some(Self {
            at: removal.map(|removal| visit.moment(removal.at)),
            secret_until: removal.and_then(|removal| removal.secret_until).map(|until| visit.moment(until)),
            kept: kept(),
            link: visit.app.config.enterprise_applications(),
            step: step_at_microsoft(visit.app, connection).await,
            taken: taken(visit.request),
        })
    }
}

/// Only numbers come by the address: nobody puts words into this page.
fn taken(request: &web::Request) -> Option<String> {
    let number = |name| request.asked(name).and_then(|text| text.parse::<u64>().ok());
    let [feeds, items, invitations] = ["feeds", "items", "invitations"].map(number);
    Some(format!(
        "{}, {} of state and {} that only this tenant could have answered.",
        words::plural(feeds?, "feed"),
        words::plural(items?, "item"),
        words::plural(invitations?, "invitation"),
    ))
}

pub async fn page(visit: &Visit<'_>, id: &str) -> Result<web::Response, Broken> {
    show(visit, 200, id, &Form::new("remove")).await
}

async fn show(visit: &Visit<'_>, status: u16, id: &str, form: &Form) -> Result<web::Response, Broken> {
    let Some(connection) = known(visit, id).await? else { return Ok(visit.tell(&Message::NO_SUCH_PAGE)) };
    let feeds: Vec<&str> = connection.feeds.keys().map(|feed| feed.name()).collect();
    let page = RemovePage {
        chrome: visit.chrome(Section::Accounts),
        connection: &connection,
        form,
        feeds: feeds.join(", "),
        kept: kept(),
    };
    Ok(visit.html(status, &page))
}

async fn known(visit: &Visit<'_>, id: &str) -> Result<Option<Connection>, Broken> {
    let Ok(tenant) = id.parse::<TenantId>() else { return Ok(None) };
    Ok(load(visit.app.ports.store.as_ref(), tenant).await?.map(|known| known.connection))
}

/// Lets the tenant go, if the name of its account was typed. One that a removal was cut short of is removed to the end.
pub async fn act(visit: &Visit<'_>, id: &str, sent: &web::Form) -> Result<web::Response, Broken> {
    let Some(connection) = known(visit, id).await? else { return Ok(visit.tell(&Message::NO_SUCH_PAGE)) };
    let typed = sent.text(FIELD).unwrap_or_default();
    let mistake = if typed.to_lowercase() != connection.account.to_lowercase() {
        Mistake::new(FIELD, format!("Type the name of the account, {}, to go on.", connection.account))
    } else {
        match remove(visit.app, connection.tenant_id, &visit.session.actor()).await {
            Ok(removed) => return Ok(visit.see(&result(&removed))),
            Err(RemoveError::Unknown(_)) => return Ok(visit.tell(&Message::NO_SUCH_PAGE)),
            Err(error @ (RemoveError::CameBack(_) | RemoveError::Busy(_))) => Mistake::new("", error.to_string()),
            Err(RemoveError::Platform(cause)) => return Err(Broken::Operation(cause)),
        }
    };
    show(visit, 422, id, &form::Form::refused("remove", sent, &[FIELD], vec![mistake])).await
}

fn result(removed: &Removed) -> String {
    let Removed { tenant_id, removed, .. } = removed;
    let (feeds, items, invitations) = (removed.feeds.len(), removed.state_items, removed.invitations);
    format!("/tenants/{tenant_id}?done=removed&feeds={feeds}&items={items}&invitations={invitations}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_brings_numbers_to_the_result_and_no_words() {
        let taken = |query: &str| taken(&web::Request { query: query.to_owned(), ..web::Request::default() });
        let expected = "2 feeds, 1,300 items of state and 1 invitation that only this tenant could have answered.";
        assert_eq!(taken("done=removed&feeds=2&items=1300&invitations=1").as_deref(), Some(expected));
        assert_eq!(taken("done=removed&feeds=call+555&items=1&invitations=1"), None);
    }
}
