//! Pages for people: the frame around each of them, and the headers that keep them ours.

#[cfg(test)]
pub mod testing;

use std::sync::LazyLock;

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{config::Config, web};

const STYLE: &str = include_str!("../templates/style.css");
/// What the console's pages can do better where there is JavaScript. They do everything without it.
const SCRIPT: &str = include_str!("../templates/console/script.js");

static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| source(STYLE));
static SCRIPT_SOURCE: LazyLock<String> = LazyLock::new(|| source(SCRIPT));

/// An inline element by its digest, as a policy names it.
fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

/// What every page says of the provider.
#[derive(Debug)]
pub struct Frame<'a> {
    pub style: &'static str,
    pub script: &'static str,
    pub provider: &'a str,
    pub contact: Option<&'a str>,
    /// Whether the contact is a mail address.
    pub by_mail: bool,
    pub reference: String,
}

/// Who the pages are for, which decides what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Of these pages' forms no `form-action` is said: browsers apply it to the redirects that follow, and ours lead
    /// through whatever identity provider the customer has.
    Administrators,
    Operators,
}

/// Makes what one request is answered with.
#[derive(Debug)]
pub struct Pages<'a> {
    config: &'a Config,
    audience: Audience,
    reference: String,
    with_body: bool,
}

impl<'a> Pages<'a> {
    pub fn new(config: &'a Config, audience: Audience, request: &web::Request) -> Self {
        let safe = |c: &char| c.is_ascii_alphanumeric() || "-_=".contains(*c);
        let reference = request.id.chars().filter(safe).take(64).collect();
        Self { config, audience, reference, with_body: request.method != "HEAD" }
    }

    pub fn frame(&self) -> Frame<'a> {
        let contact = self.config.support_contact.as_deref();
        Frame {
            style: STYLE,
            script: SCRIPT,
            provider: &self.config.provider_name,
            contact,
            by_mail: contact.is_some_and(is_mail_address),
            reference: self.reference.clone(),
        }
    }

    /// A page, or what is left to say where it cannot be rendered.
    pub fn html(&self, status: u16, rendered: askama::Result<String>) -> web::Response {
        match rendered {
            Ok(body) => self.respond(status, body),
            Err(error) => {
                tracing::error!(request.id = self.reference, %error, "a page cannot be rendered");
                self.respond(503, "Out of order; please try again.".to_owned())
            }
        }
    }

    /// To another page: 302 goes on with what the browser was doing, 303 comes after a form.
    pub fn redirect(&self, status: u16, to: &str) -> web::Response {
        let mut response = self.respond(status, String::new());
        response.headers.push(("location", to.to_owned()));
        response
    }

    fn respond(&self, status: u16, body: String) -> web::Response {
        let style = &*STYLE_SOURCE;
        let more = match self.audience {
            Audience::Administrators => String::new(),
            Audience::Operators => format!("; script-src {}; form-action 'self'", &*SCRIPT_SOURCE),
        };
        let policy = format!(
            "default-src 'none'; style-src {style}; img-src data:; base-uri 'none'; frame-ancestors 'none'{more}"
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

fn is_secure(config: &Config) -> bool {
    config.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
}

/// The cookie's name as the browser knows it. `__Host-` keeps other hosts from setting it, and needs https.
pub fn cookie_name(config: &Config, name: &str) -> String {
    if is_secure(config) { format!("__Host-{name}") } else { name.to_owned() }
}

/// A cookie that no script can read, and that comes along when somebody follows a link to us. No seconds forget it.
pub fn cookie(config: &Config, name: &str, value: &str, seconds: u32) -> String {
    let (name, secure) = (cookie_name(config, name), if is_secure(config) { "; Secure" } else { "" });
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
}

fn is_mail_address(contact: &str) -> bool {
    contact.contains('@') && contact.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_style_and_the_script_that_pages_carry() {
        let config = Config::from_lookup(|_| None).unwrap();
        for audience in [Audience::Administrators, Audience::Operators] {
            let pages = Pages::new(&config, audience, &web::Request::default());
            let page = pages.html(200, Ok(String::new()));
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.contains(&source(pages.frame().style)));
            assert_eq!(policy.contains(&source(pages.frame().script)), audience == Audience::Operators);
        }
    }
}
