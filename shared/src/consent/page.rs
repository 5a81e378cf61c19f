//! The pages for tenant administrators, and the headers that keep them theirs.

use askama::Template;
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use url::Url;

use super::{Receipt, Request, Told, invitation::Token, outcome::Words};
use crate::{config::Config, sign_in::Browser, tenant::Feed, web};

const STYLE: &str = include_str!("../../templates/style.css");
/// An administrator may read the page today and press the button tomorrow.
const COOKIE_SECONDS: u32 = 24 * 3600;

/// The name of the one cookie. `__Host-` keeps other hosts from setting it, and needs https.
pub fn cookie_name(config: &Config) -> &'static str {
    if is_secure(config) { "__Host-muster-consent" } else { "muster-consent" }
}

fn is_secure(config: &Config) -> bool {
    config.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
}

/// What every page says of the provider.
struct Frame<'a> {
    style: &'static str,
    provider: &'a str,
    contact: Option<&'a str>,
    /// Whether the contact is a mail address.
    by_mail: bool,
    reference: String,
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
struct Permission {
    plain: &'static str,
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
    reference: String,
    with_body: bool,
}

impl<'a> Site<'a> {
    pub fn new(config: &'a Config, request: &web::Request) -> Self {
        let safe = |c: &char| c.is_ascii_alphanumeric() || "-_=".contains(*c);
        let reference = request.id.chars().filter(safe).take(64).collect();
        Self { config, reference, with_body: request.method != "HEAD" }
    }

    pub fn redirect(&self, to: &Url) -> web::Response {
        let mut response = self.response(302, String::new());
        response.headers.push(("location", to.to_string()));
        response
    }

    pub fn request(&self, Request { invitation, token, browser, client_id }: &Request) -> web::Response {
        let page = InvitationPage {
            frame: self.frame(),
            account: &invitation.account,
            expected: invitation.expected_tenant.map(|tenant| tenant.to_string()),
            client_id: client_id.as_deref(),
            permissions: invitation.feeds.iter().map(|feed| permission(*feed)).collect(),
            until: invitation.valid_until.strftime("%-d %B %Y, %H:%M UTC").to_string(),
            action: format!("/connect/{}/start", token.as_str()),
        };
        let mut response = self.page(200, page.render());
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
        let secure = if is_secure(self.config) { "; Secure" } else { "" };
        let (name, browser, token) = (cookie_name(self.config), browser.expose(), token.as_str());
        format!("{name}={browser}.{token}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax{secure}")
    }

    pub fn told(&self, told: &Told) -> web::Response {
        let contact = self.config.support_contact.as_deref().unwrap_or(&self.config.provider_name);
        let words = told.outcome.words(&self.config.provider_name, contact);
        let again = told.again.as_ref().filter(|_| words.again).map(|token| format!("/connect/{}", token.as_str()));
        let page = OutcomePage { frame: self.frame(), words, receipt: told.receipt.as_ref(), again };
        self.page(told.outcome.status(), page.render())
    }

    fn frame(&self) -> Frame<'_> {
        Frame {
            style: STYLE,
            provider: &self.config.provider_name,
            contact: self.config.support_contact.as_deref(),
            by_mail: self.config.support_contact.as_ref().is_some_and(|contact| is_mail_address(contact)),
            reference: self.reference.clone(),
        }
    }

    fn page(&self, status: u16, rendered: askama::Result<String>) -> web::Response {
        match rendered {
            Ok(body) => self.response(status, body),
            Err(error) => {
                tracing::error!(request.id = self.reference, %error, "a page cannot be rendered");
                self.response(503, "Out of order; please try again.".to_owned())
            }
        }
    }

    fn response(&self, status: u16, body: String) -> web::Response {
        let style = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
        // No `form-action`: browsers apply it to the redirects that follow a form, and ours lead through whatever
        // identity provider the customer has.
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
        );
        let mut headers = vec![
            ("content-type", "text/html; charset=utf-8".to_owned()),
            ("content-security-policy", policy),
            ("referrer-policy", "no-referrer".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            ("x-frame-options", "DENY".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ];
        if is_secure(self.config) {
            headers.push(("strict-transport-security", "max-age=31536000".to_owned()));
        }
        let body = if self.with_body { body } else { String::new() };
        web::Response { status, headers, cookies: Vec::new(), body }
    }
}

fn is_mail_address(contact: &str) -> bool {
    contact.contains('@') && contact.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte))
}

fn permission(feed: Feed) -> Permission {
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

    #[test]
    fn the_policy_names_the_style_that_the_page_carries() {
        let config = Config::from_lookup(|_| None).unwrap();
        let page = Site::new(&config, &web::Request::default()).told(&Outcome::Connected.into());
        let style = page.body.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        let digest = STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes()));
        assert!(page.header("content-security-policy").unwrap().contains(&digest));
    }

    #[test]
    fn a_request_id_from_outside_is_only_letters_on_the_page() {
        let config = Config::from_lookup(|_| None).unwrap();
        let request = web::Request { id: "<script>\"a\"".to_owned(), ..web::Request::default() };
        let page = Site::new(&config, &request).told(&Outcome::OutOfOrder.into());
        assert!(page.body.contains("scripta") && !page.body.contains("<script"));
    }
}
