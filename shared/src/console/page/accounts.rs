//! The accounts: every customer, the worst first.

pub mod many;

use askama::Template;
use jiff::SignedDuration;
use uuid::Uuid;

use super::{
    Chrome, Section, Visit,
    form::{Form, Mistake},
    standing::{Level, Standing},
    words,
};
use crate::{
    console::Broken,
    tenant::{
        State,
        account::{self, AccountError},
        glance::{self, AccountGlance},
    },
    web,
};

/// Rows of a page.
const ROWS: usize = 50;
/// Within this the same form again is an impatient finger's.
const TWICE: SignedDuration = SignedDuration::from_secs(30);
/// Characters of a name that a row has room for.
const NAME: usize = 90;

#[derive(Template)]
#[template(path = "console/accounts.html")]
struct AccountsPage<'a> {
    chrome: Chrome<'a>,
    form: &'a Form,
    asked: &'a Asked,
    tally: Vec<Tally>,
    /// How many there are at all, and how many fit what is asked for.
    all: usize,
    found: usize,
    rows: Vec<Row<'a>>,
    pages: usize,
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Asked {
    /// A part of a name, or of a tenant's id.
    text: String,
    level: Option<Level>,
    /// From 1.
    page: usize,
}

/// So many accounts of one level.
struct Tally {
    level: Level,
    words: String,
}

struct Row<'a> {
    name: String,
    address: String,
    standing: Standing<'a>,
    tenants: String,
    feeds: String,
}

impl Asked {
    fn of(request: &web::Request) -> Self {
        let page = request.asked("page").and_then(|text| text.parse().ok()).unwrap_or(1);
        Self {
            text: request.asked("q").map(|text| text.trim().to_owned()).unwrap_or_default(),
            level: request.asked("show").and_then(|text| Level::named(&text)),
            page: usize::clamp(page, 1, 100_000),
        }
    }

    fn is_for(&self, level: &Level) -> bool {
        self.level == Some(*level)
    }

    fn fits(&self, account: &AccountGlance) -> bool {
        let text = self.text.to_lowercase();
        let named = account.account.to_lowercase().contains(&text)
            || account.tenants.iter().any(|tenant| tenant.tenant_id.to_string().contains(&text));
        named && self.level.is_none_or(|level| Standing::of_account(account).level == level)
    }

    fn address(&self, level: Option<Level>, page: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if !self.text.is_empty() {
            query.append_pair("q", &self.text);
        }
        if let Some(level) = level {
            query.append_pair("show", level.class());
        }
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/accounts".to_owned() } else { format!("/accounts?{query}") }
    }

    fn of_level(&self, level: &Level) -> String {
        // Pressed once more it is let go.
        self.address(Some(*level).filter(|level| self.level != Some(*level)), 1)
    }

    fn of_page(&self, page: &usize) -> String {
        self.address(self.level, *page)
    }
}

impl<'a> Row<'a> {
    fn of(account: &'a AccountGlance) -> Self {
        let here = || account.tenants.iter().filter(|tenant| tenant.state != State::Removed);
        let mut feeds: Vec<&str> = here().flat_map(|tenant| tenant.feeds.iter().map(|feed| feed.name())).collect();
        feeds.sort_unstable();
        feeds.dedup();
        Self {
            name: words::cut(&account.account, NAME),
            // A tenant may name an account that has no record; then its tenants are found by the name.
            address: account.id.map_or_else(
                || account.tenants.first().map_or_else(String::new, |tenant| format!("/tenants/{}", tenant.tenant_id)),
                |id| format!("/accounts/{id}"),
            ),
            standing: Standing::of_account(account),
            tenants: match here().count() {
                0 => String::new(),
                tenants => words::plural(tenants, "tenant"),
            },
            feeds: feeds.join(", "),
        }
    }
}

pub async fn page(visit: &Visit<'_>) -> Result<web::Response, Broken> {
    show(visit, 200, &Form::new("new")).await
}

async fn show(visit: &Visit<'_>, status: u16, form: &Form) -> Result<web::Response, Broken> {
    let store = visit.app.ports.store.as_ref();
    let (accounts, glances) = futures::try_join!(account::list(store), glance::glance(store, visit.now))?;
    let accounts = glance::by_account(accounts, glances);
    Ok(visit.html(status, &list(visit.chrome(Section::Accounts), &Asked::of(visit.request), form, &accounts)))
}

fn list<'a>(chrome: Chrome<'a>, asked: &'a Asked, form: &'a Form, accounts: &'a [AccountGlance]) -> AccountsPage<'a> {
    let found: Vec<&AccountGlance> = accounts.iter().filter(|account| asked.fits(account)).collect();
    let first = (asked.page - 1).saturating_mul(ROWS);
    AccountsPage {
        chrome,
        form,
        asked,
        tally: tally(accounts),
        all: accounts.len(),
        found: found.len(),
        rows: found.iter().skip(first).take(ROWS).map(|account| Row::of(account)).collect(),
        pages: found.len().div_ceil(ROWS),
    }
}

fn tally(accounts: &[AccountGlance]) -> Vec<Tally> {
    let mut counts = [0_u64; Level::ALL.len()];
    for account in accounts {
        counts[Standing::of_account(account).level as usize] += 1;
    }
    let words = |level| match level {
        Level::Bad => "stopped",
        Level::Waiting => "waiting for somebody",
        Level::Passing => "on their way",
        Level::Good => "all well",
        Level::Idle => "idle",
    };
    let told = Level::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0);
    told.map(|(level, count)| Tally { level, words: format!("{} {}", words::count(count), words(level)) }).collect()
}

/// Makes a customer.
pub async fn create(visit: &Visit<'_>, form: &web::Form) -> Result<web::Response, Broken> {
    let name = form.text("name").unwrap_or_default();
    let store = visit.app.ports.store.as_ref();
    let made = account::create(store, name, visit.now, &visit.session.actor()).await;
    if let Err(AccountError::Taken(name)) = &made {
        let known = account::by_name(store, name).await?;
        // A form that was sent twice has come to what it asked for.
        if let Some(known) = known.filter(|known| visit.now.duration_since(known.created_at) < TWICE) {
            return Ok(visit.see(&address(known.id, "created")));
        }
    }
    let refused = |text: String| Form::refused("new", form, &["name"], vec![Mistake::new("name", text)]);
    match made {
        Ok(made) => Ok(visit.see(&address(made.id, "created"))),
        Err(error @ (AccountError::Name | AccountError::Taken(_))) => {
            show(visit, 422, &refused(error.to_string())).await
        }
        Err(error) => Err(Broken::Operation(error.to_string())),
    }
}

/// An account's page, and what has just been done there.
pub fn address(account: Uuid, done: &str) -> String {
    format!("/accounts/{account}?done={done}")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{
        console::page::testing::{HOSTILE, Scene, check},
        tenant::{
            Ability, Capability, Feed, TenantId,
            account::Account,
            glance::{Glance, Worst},
        },
    };

    fn tenant(account: &str, number: u128, state: State, status: Ability, next_step: &str) -> Glance {
        let capability = Capability { status, since: Timestamp::UNIX_EPOCH, next_step: next_step.to_owned() };
        Glance {
            tenant_id: Uuid::from_u128(number).to_string().parse::<TenantId>().unwrap(),
            account: account.to_owned(),
            state,
            feeds: vec![Feed::Alerts, Feed::Machines],
            worst: Some(Worst { feed: Feed::Alerts, capability }),
            asleep_until: None,
            paused: false,
        }
    }

    fn account(number: u128, name: String) -> Account {
        Account { id: Uuid::from_u128(number), name, created_at: Timestamp::UNIX_EPOCH }
    }

    fn some() -> Vec<AccountGlance> {
        let names = ["Fabrikam", "Contoso", "Northwind Traders", "Woodgrove Bank", "Litware", "Tailspin Toys"];
        let accounts: Vec<Account> = (1..).zip(names).map(|(n, name)| account(n, name.to_owned())).collect();
        let ask = "Ask an administrator of the tenant to approve the application again: the permission Machine.Read.All is \
                   not granted.";
        let tenants = vec![
            tenant("Contoso", 1, State::Active, Ability::RoleMissing, ask),
            tenant("Contoso", 2, State::Active, Ability::Ok, "Nothing to do."),
            tenant("Fabrikam", 3, State::Active, Ability::Ok, "Nothing to do."),
            tenant(
                "Northwind Traders",
                4,
                State::Propagating,
                Ability::RoleMissing,
                "Nothing to do yet: Microsoft is still \
                spreading the approval; asked again at every tick.",
            ),
            tenant("Woodgrove Bank", 5, State::Confirming, Ability::NotConfigured, "Operator: confirm."),
            tenant("Litware", 6, State::Active, Ability::Ok, "Nothing to do."),
        ];
        glance::by_account(accounts, tenants)
    }

    fn shown(name: &str, asked: &Asked, form: &Form, accounts: &[AccountGlance]) -> String {
        let scene = Scene::new();
        check(name, &list(scene.chrome(Section::Accounts), asked, form, accounts).render().unwrap())
    }

    #[test]
    fn accounts_are_listed_the_worst_first_with_what_to_do() {
        let page = shown("accounts", &Asked { page: 1, ..Asked::default() }, &Form::new("new"), &some());
        let place = |name: &str| page.find(name).unwrap_or_else(|| panic!("{name} is not there"));
        assert!(place(">Woodgrove Bank<") < place(">Contoso<") && place(">Contoso<") < place(">Northwind Traders<"));
        assert!(place(">Northwind Traders<") < place(">Fabrikam<"));
        assert!(page.contains("Machine.Read.All is not granted") && page.contains("2 waiting for somebody"));
        shown("accounts-none", &Asked { page: 1, ..Asked::default() }, &Form::new("new"), &[]);
    }

    #[test]
    fn a_refused_name_stands_where_it_was_typed_with_its_sentence() {
        let sent = web::Request { body: Ok(format!("name={HOSTILE}").into_bytes()), ..web::Request::default() };
        let mistakes = vec![Mistake::new("name", "there is an account `<b>` already")];
        let form = Form::refused("new", &sent.form().unwrap(), &["name"], mistakes);
        let page = shown("accounts-refused", &Asked { page: 1, ..Asked::default() }, &form, &some());
        assert!(page.contains("There is an account “&#60;b&#62;” already.") && page.contains("aria-invalid"));
    }

    #[test]
    fn a_page_of_a_thousand_accounts_is_small_however_they_are_named() {
        let name = |n: u128| format!("{n} {HOSTILE}{}", "ö".repeat(150));
        let accounts = (1..=1000).map(|n| account(n, name(n))).collect();
        let step =
            "Ask an administrator of the tenant to approve the application again: the permission is not granted.";
        let tenants =
            (1..=1000).map(|n| tenant(&name(n), n, State::NeedsConsent, Ability::RoleMissing, step)).collect();
        let all = glance::by_account(accounts, tenants);
        let page = shown("accounts-many", &Asked { page: 2, ..Asked::default() }, &Form::new("new"), &all);
        assert!(page.contains("Page 2 of 20") && page.matches("<tr>").count() == 51);
        let asked = Asked { text: Uuid::from_u128(77).to_string(), level: Some(Level::Bad), page: 1 };
        assert_eq!(shown("accounts-found", &asked, &Form::new("new"), &all).matches("<tr>").count(), 2);
        let nothing = Asked { text: HOSTILE.repeat(2), level: Some(Level::Good), page: 9 };
        assert!(shown("accounts-nothing", &nothing, &Form::new("new"), &all).contains("No account fits"));
    }
}
