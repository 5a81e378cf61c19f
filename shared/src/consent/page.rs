//! The pages for tenant administrators.

use askama::Template;
use url::Url;

use super::{Receipt, Request, Told, invitation::Token, outcome::Words};
use crate::{
    config::Config,
    page::{self, Audience, Frame, Pages},
    sign_in::Browser,
    tenant::Feed,
    web,
};

/// An administrator may read the page today and press the button tomorrow.
const COOKIE_SECONDS: u32 = 24 * 3600;

/// The name of the one cookie.
const COOKIE: &str = "muster-consent";

/// What the browser sends of it.
pub fn cookie_of<'a>(request: &'a web::Request, config: &Config) -> Option<&'a str> {
    request.cookie(&page::cookie_name(config, COOKIE))
}

#[derive(Template)]
#[template(path = "consent/invitation.html")]
struct InvitationPage<'a> {
    frame: Frame<'a>,
    account: &'a str,
    expected: Option<String>,
    client_id: Option<&'a str>,
    permissions: Vec<Permission>,
    until: String,
    action: String,
}

/// A permission in plain words, and as Microsoft's page names it.
pub struct Permission {
    pub plain: &'static str,
    name: &'static str,
}

#[derive(Template)]
#[template(path = "consent/outcome.html")]
struct OutcomePage<'a> {
    frame: Frame<'a>,
    words: Words,
    receipt: Option<&'a Receipt>,
    again: Option<String>,
}

/// Renders what one request gets.
pub struct Site<'a> {
    config: &'a Config,
    pages: Pages<'a>,
}

impl<'a> Site<'a> {
    pub fn new(config: &'a Config, request: &web::Request) -> Self {
        Self { config, pages: Pages::new(config, Audience::Administrators, request) }
    }

    pub fn redirect(&self, to: &Url) -> web::Response {
        self.pages.redirect(302, to.as_str())
    }

    pub fn request(&self, Request { invitation, token, browser, client_id }: &Request) -> web::Response {
        let page = InvitationPage {
            frame: self.pages.frame(),
            account: &invitation.account,
            expected: invitation.expected_tenant.map(|tenant| tenant.to_string()),
            client_id: client_id.as_deref(),
            permissions: invitation.feeds.iter().map(|feed| permission(*feed)).collect(),
            until: invitation.valid_until.strftime("%-d %B %Y, %H:%M UTC").to_string(),
            action: format!("/connect/{}/start", token.as_str()),
        };
        let mut response = self.pages.html(200, page.render());
        response.cookies.push(self.cookie(token, browser));
        response
    }

    /// As [`Site::redirect`]; the cookie is set anew, so that it lasts for the way there and back.
    pub fn start(&self, to: &Url, token: &Token, browser: &Browser) -> web::Response {
        let mut response = self.redirect(to);
        response.cookies.push(self.cookie(token, browser));
        response
    }

    fn cookie(&self, token: &Token, browser: &Browser) -> String {
        page::cookie(self.config, COOKIE, &format!("{}.{}", browser.expose(), token.as_str()), COOKIE_SECONDS)
    }

    pub fn told(&self, told: &Told) -> web::Response {
        let contact = self.config.support_contact.as_deref().unwrap_or(&self.config.provider_name);
        let words = told.outcome.words(&self.config.provider_name, contact);
        let again = told.again.as_ref().filter(|_| words.again).map(|token| format!("/connect/{}", token.as_str()));
        let page = OutcomePage { frame: self.pages.frame(), words, receipt: told.receipt.as_ref(), again };
        self.pages.html(told.outcome.status(), page.render())
    }
}

pub fn permission(feed: Feed) -> Permission {
    match feed {
        Feed::Alerts => Permission {
            plain: "Read the alerts of Microsoft Defender for Endpoint",
            name: "WindowsDefenderATP: Alert.Read.All",
        },
        Feed::Machines => Permission {
            plain: "Read the list of devices in Microsoft Defender for Endpoint",
            name: "WindowsDefenderATP: Machine.Read.All",
        },
        Feed::Telemetry => Permission {
            plain: "Read the network telemetry that Defender exports into your storage account",
            name: "Azure Storage: a role on that storage account, given by you",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{super::outcome::Outcome, *};
    use crate::page::testing;

    #[test]
    fn a_request_id_from_outside_is_only_letters_on_the_page() {
        let config = Config::from_lookup(|_| None).unwrap();
        let request = web::Request { id: "<script>\"a\"".to_owned(), ..web::Request::default() };
        let page = Site::new(&config, &request).told(&Outcome::OutOfOrder.into());
        assert!(page.body.contains("scripta") && !page.body.contains("<script"));
    }

    #[test]
    fn a_page_for_administrators_is_small_and_has_no_script_whatever_names_are_like() {
        let name = |key: &str| match key {
            "MUSTER_PROVIDER_NAME" => Some("Example Security".to_owned()),
            "MUSTER_SUPPORT_CONTACT" => Some("soc@example.com".to_owned()),
            _ => None,
        };
        let config = Config::from_lookup(name).unwrap();
        let request = web::Request { id: "Jx1=".to_owned(), ..web::Request::default() };
        let site = Site::new(&config, &request);
        let hostile = "<script>alert(1)</script>\"'><h1>Contoso</h1>";
        let asked = InvitationPage {
            frame: site.pages.frame(),
            account: hostile,
            expected: Some("00000000-0000-4000-8000-0000000000aa".to_owned()),
            client_id: Some("00000000-0000-4000-8000-0000000000bb"),
            permissions: [Feed::Alerts, Feed::Machines].map(permission).into(),
            until: "29 November 2026, 12:00 UTC".to_owned(),
            action: "/connect/token/start".to_owned(),
        };
        testing::check("consent-request", &asked.render().unwrap(), 0);
        for (name, outcome) in [
            ("consent-connected", Outcome::Connected),
            ("consent-confirming", Outcome::Confirming),
            (
                "consent-wrong",
                Outcome::WrongTenant { expected: "00000000-0000-4000-8000-0000000000aa".parse().unwrap() },
            ),
        ] {
            let receipt = Receipt {
                name: hostile.to_owned(),
                tenant: "00000000-0000-4000-8000-0000000000aa".parse().unwrap(),
                account: Some(hostile.to_owned()),
            };
            let words = outcome.words("Example Security", "soc@example.com");
            let again = words.again.then(|| "/connect/token".to_owned());
            let page = OutcomePage { frame: site.pages.frame(), words, receipt: Some(&receipt), again };
            testing::check(name, &page.render().unwrap(), 0);
        }
    }
}
