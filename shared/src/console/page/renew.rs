//! What whoever follows a renewal link sees: the page that takes a new credential, and what has become of it.
//!
//! Nobody signs in here. The link is all that is proven of its holder, and what they give is worth as much as Entra says.

use askama::Template;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::form::{self, ENDS, Form, Mistake};
use crate::{
    App,
    console::Broken,
    credential::renewal::{self, NotRenewed, Open, Renewed, Unusable},
    page::{Audience, Frame, Pages},
    tenant::missing::lines,
    web,
};

/// What is shown again where it was refused. No secret is among it.
const FIELDS: [&str; 2] = ["kind", ENDS];

#[derive(Template)]
#[template(path = "renewal/form.html")]
struct FormPage<'a> {
    frame: Frame<'a>,
    open: &'a Open,
    form: &'a Form,
    ends: Option<String>,
    until: String,
    action: String,
    now: Timestamp,
}

impl FormPage<'_> {
    fn is_over(&self) -> bool {
        self.open.ends.is_some_and(|ends| ends <= self.now)
    }
}

#[derive(Template)]
#[template(path = "renewal/outcome.html")]
struct OutcomePage<'a> {
    frame: Frame<'a>,
    words: Words,
    renewed: Option<&'a Renewed>,
    ends: Option<String>,
    /// What the application lacks whatever its credential.
    still: Vec<String>,
}

/// An outcome as people read it.
struct Words {
    status: u16,
    good: bool,
    heading: &'static str,
    happened: &'static str,
    next_step: &'static str,
}

/// One request of somebody who has a link, or says so.
struct Guest<'a> {
    app: &'a App,
    pages: Pages<'a>,
    token: &'a str,
}

/// Whether an address is one of these pages'.
pub fn is_here(request: &web::Request) -> bool {
    request.path.starts_with("/renew/")
}

pub async fn answer(app: &App, request: &web::Request) -> Result<web::Response, Broken> {
    let pages = Pages::new(&app.config, Audience::Administrators, request);
    let token = request.path.trim_start_matches("/renew/").trim_end_matches('/');
    let guest = Guest { app, pages, token };
    match request.method.as_str() {
        "GET" | "HEAD" => guest.look().await,
        "POST" => guest.send(request).await,
        _ => Ok(guest.say(WRONG_METHOD)),
    }
}

/// The page that asks to come back.
pub fn out_of_order(app: &App, request: &web::Request) -> web::Response {
    Guest { app, pages: Pages::new(&app.config, Audience::Administrators, request), token: "" }.say(OUT_OF_ORDER)
}

impl Guest<'_> {
    async fn look(&self) -> Result<web::Response, Broken> {
        Ok(match renewal::open(self.app, self.token).await? {
            Ok(open) => self.ask(200, &open, &Form::new("renew")),
            Err(unusable) => self.say(words(unusable)),
        })
    }

    async fn send(&self, request: &web::Request) -> Result<web::Response, Broken> {
        let public_url = self.app.config.public_url.as_ref().ok_or(Broken::NoPublicUrl)?;
        if !request.is_from(public_url) {
            return Ok(self.say(FOREIGN_FORM));
        }
        let sent = match request.form() {
            Ok(form) if request.has_type("application/x-www-form-urlencoded") => form,
            _ => return Ok(self.say(NO_FORM)),
        };
        let refused = match read(&sent) {
            Ok(credential) => match renewal::renew(self.app, self.token, credential).await {
                Ok(renewed) => {
                    tracing::info!(request.id, tenant.id = %renewed.grant.tenant, "a credential was renewed by its link");
                    return Ok(self.thank(&renewed));
                }
                Err(NotRenewed::Unusable(unusable)) => return Ok(self.say(words(unusable))),
                Err(NotRenewed::Broken(broken)) => return Err(broken.into()),
                Err(NotRenewed::Missing(missing)) => form::mistakes(&missing).into_iter().map(beside).collect(),
            },
            Err(mistakes) => mistakes,
        };
        Ok(match renewal::open(self.app, self.token).await? {
            Ok(open) => self.ask(422, &open, &Form::refused("renew", &sent, &FIELDS, refused)),
            Err(unusable) => self.say(words(unusable)),
        })
    }

    fn ask(&self, status: u16, open: &Open, form: &Form) -> web::Response {
        let page = FormPage {
            frame: self.pages.frame(),
            open,
            form,
            ends: open.ends.map(day_of),
            until: open.grant.until.strftime("%-d %B %Y, %H:%M UTC").to_string(),
            action: format!("/renew/{}", self.token),
            now: self.app.clock.now(),
        };
        self.pages.html(status, page.render())
    }

    fn say(&self, words: Words) -> web::Response {
        let status = words.status;
        let page = OutcomePage { frame: self.pages.frame(), words, renewed: None, ends: None, still: Vec::new() };
        self.pages.html(status, page.render())
    }

    fn thank(&self, renewed: &Renewed) -> web::Response {
        let page = OutcomePage {
            frame: self.pages.frame(),
            words: SAVED,
            renewed: Some(renewed),
            ends: renewed.ends.map(day_of),
            still: lines(&renewed.missing),
        };
        self.pages.html(SAVED.status, page.render())
    }
}

fn day_of(at: Timestamp) -> String {
    at.strftime("%-d %B %Y").to_string()
}

/// The credential as the vault is to have it, or what is wrong with the form.
fn read(sent: &web::Form) -> Result<Map<String, Value>, Vec<Mistake>> {
    let mut credential = Map::new();
    let mut put = |name: &str, value: &str| credential.insert(name.to_owned(), json!(value));
    if sent.text("kind") == Some("certificate") {
        put("kind", "certificate");
        put("certificate_pem", sent.text("certificate_pem").unwrap_or_default());
        put("private_key_pem", sent.text("private_key_pem").unwrap_or_default());
        return Ok(credential);
    }
    put("kind", "client_secret");
    put("value", sent.text("client_secret").unwrap_or_default());
    let mut mistakes = Vec::new();
    let ends = form::ends(sent, &mut mistakes).ok_or(mistakes)?;
    put("expires_at", &ends.to_string());
    Ok(credential)
}

/// A sentence about what this page has no field for stands above the form alone.
fn beside(mistake: Mistake) -> Mistake {
    if mistake.field == "credential" { mistake } else { Mistake { field: "", ..mistake } }
}

fn words(unusable: Unusable) -> Words {
    let gone = |heading, happened, next_step| Words { status: 410, good: false, heading, happened, next_step };
    match unusable {
        Unusable::Mangled => Words {
            status: 400,
            good: false,
            heading: "This link is damaged",
            happened: "Part of it may have been lost on the way, or somebody has changed it.",
            next_step: "Open the link in the original message again, or copy all of it. If that does not help, ask for a new one.",
        },
        Unusable::Expired => gone("This link has expired", "Nothing was saved.", "Ask for a new link."),
        Unusable::Spent => gone(
            "This link has done its work",
            "A credential was stored since it was made, by this link or in another way. Nothing is changed by it any more.",
            "If that was you, all is well. If it was not, or another credential is to be entered, ask for a new link.",
        ),
        Unusable::Busy => Words {
            status: 409,
            good: false,
            heading: "A credential is being saved by this link",
            happened: "Somebody has sent one a moment ago. What you have sent was not saved.",
            next_step: "Open the link again in two minutes: it then says what has become of that.",
        },
        Unusable::Ended => gone(
            "This link is not needed any more",
            "The application that it was for is not used any more. Nothing was saved.",
            "You may delete its client secrets and certificates in Entra.",
        ),
    }
}

const SAVED: Words = Words {
    status: 200,
    good: true,
    heading: "It works, and is saved",
    happened: "The new credential was tried for real and has taken the place of the old one.",
    next_step: "There is nothing more to do here, and you may close this page. Delete the old one in Entra tomorrow, and not \
                before: some of Microsoft's servers know the new one late.",
};
const FOREIGN_FORM: Words = Words {
    status: 403,
    good: false,
    heading: "This form is from another site",
    happened: "Nothing was saved.",
    next_step: "Open the link from your message again and enter the credential there.",
};
const NO_FORM: Words = Words {
    status: 400,
    good: false,
    heading: "This cannot be read",
    happened: "Nothing was saved. What was sent is no form of this page, or is too long: 256 KB at most.",
    next_step: "Open the link from your message again.",
};
const WRONG_METHOD: Words = Words {
    status: 405,
    good: false,
    heading: "This page takes no such request",
    happened: "Nothing was saved.",
    next_step: "Open the link from your message in a browser.",
};
const OUT_OF_ORDER: Words = Words {
    status: 503,
    good: false,
    heading: "We are out of order",
    happened: "It is our own trouble, and not yours. The credential may or may not be saved.",
    next_step: "Open the link again in a few minutes: it says whether there is still something to do.",
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, console::page::testing::HOSTILE, page::testing};

    fn sent(body: &str) -> web::Form {
        web::Request { body: Ok(body.as_bytes().to_vec()), ..web::Request::default() }.form().unwrap()
    }

    #[test]
    fn a_form_becomes_a_credential_of_the_vaults_shape() {
        let read = |body: &str| read(&sent(body)).map(Value::Object);
        assert_eq!(
            read("kind=client_secret&client_secret=+s+&ends=2027-05-01&certificate_pem=x").unwrap(),
            json!({"kind": "client_secret", "value": "s", "expires_at": "2027-05-01T00:00:00Z"})
        );
        assert_eq!(
            read("kind=certificate&client_secret=s&certificate_pem=c&private_key_pem=k").unwrap(),
            json!({"kind": "certificate", "certificate_pem": "c", "private_key_pem": "k"})
        );
        for lacking in ["", "client_secret=s", "client_secret=s&ends=May"] {
            assert_eq!(read(lacking).unwrap_err()[0].field, ENDS, "{lacking}");
        }
    }

    #[test]
    fn the_pages_are_small_have_no_script_and_never_repeat_a_secret() {
        let name = |key: &str| (key == "MUSTER_PROVIDER_NAME").then(|| "Example & Sons".to_owned());
        let config = Config::from_lookup(name).unwrap();
        let pages = Pages::new(&config, Audience::Administrators, &web::Request::default());
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let open = Open::example(HOSTILE, now);
        let mistakes = vec![Mistake::new("credential", "no"), Mistake::new(ENDS, "no"), Mistake::new("", HOSTILE)];
        let form = sent("kind=certificate&ends=May&client_secret=s3cret&private_key_pem=k3y&certificate_pem=c3rt");
        for (file, form) in
            [("renewal", Form::new("renew")), ("renewal-refused", Form::refused("renew", &form, &FIELDS, mistakes))]
        {
            let (ends, until) = (open.ends.map(day_of), "22 December 2026".to_owned());
            let action = "/renew/token".to_owned();
            let page = FormPage { frame: pages.frame(), open: &open, form: &form, ends, until, action, now };
            let page = testing::check(file, &page.render().unwrap(), 0);
            assert!(page.contains("ended on 21 November 2026") && page.contains("&#60;script&#62;alert(1)"), "{page}");
            assert!(!page.contains("s3cret") && !page.contains("k3y") && !page.contains("c3rt"));
        }
        let renewed = Renewed { grant: open.grant, ends: Some(now), missing: Vec::new() };
        let still = vec![HOSTILE.to_owned()];
        let (ends, renewed) = (Some(day_of(now)), Some(&renewed));
        let page = OutcomePage { frame: pages.frame(), words: SAVED, renewed, ends, still };
        testing::check("renewal-saved", &page.render().unwrap(), 0);
    }
}
