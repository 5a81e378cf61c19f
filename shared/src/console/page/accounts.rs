//! The accounts: every customer, the worst first.

use askama::Template;

use super::{Chrome, Section, Visit};
use crate::{
    console::Broken,
    tenant::account::{self, AccountError},
    web,
};

#[derive(Template)]
#[template(path = "console/accounts.html")]
struct AccountsPage<'a> {
    chrome: Chrome<'a>,
}

pub async fn page(visit: &Visit<'_>) -> Result<web::Response, Broken> {
    Ok(visit.html(200, &AccountsPage { chrome: visit.chrome(Section::Accounts) }))
}

/// Makes a customer.
pub async fn create(visit: &Visit<'_>, form: &web::Form) -> Result<web::Response, Broken> {
    let name = form.text("name").unwrap_or_default();
    let store = visit.app.ports.store.as_ref();
    let broken = |error: AccountError| Broken::Operation(error.to_string());
    let id = match account::create(store, name, visit.now, &visit.session.actor()).await {
        Ok(made) => made.id,
        // The form was sent twice, or somebody else was quicker.
        Err(AccountError::Taken(name)) => {
            account::prepare(store, &name, visit.now, &visit.session.actor()).await.map_err(broken)?.account.id
        }
        Err(error) => return Err(broken(error)),
    };
    Ok(visit.see(&format!("/accounts/{id}")))
}
