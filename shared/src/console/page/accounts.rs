//! The accounts: every customer, the worst first.

use askama::Template;

use super::{Chrome, Section, Visit};
use crate::{console::Broken, tenant::account, web};

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
    let made = account::ensure(visit.app.ports.store.as_ref(), name, visit.now).await;
    let made = made.map_err(|error| Broken::Operation(error.to_string()))?;
    Ok(visit.see(&format!("/accounts/{}", made.id)))
}
