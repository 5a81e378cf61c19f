//! What operators see, and what their forms do.
//!
//! A form is answered with 303 to a page that shows what has become of it, so that reloading repeats nothing. Every form
//! carries the session's token, and nobody but an operator's form does anything.

mod account;
mod accounts;
mod activity;
mod chart;
mod form;
mod message;
mod overview;
mod renew;
mod standing;
mod tenant;
#[cfg(test)]
mod testing;
mod words;

use askama::Template;
use jiff::Timestamp;
use message::Message;
use words::Moment;

use super::{
    Broken,
    session::{Role, Session},
    sign_in,
};
use crate::{
    App,
    audit::{Action, Entry},
    page::{Audience, Frame, Pages},
    tenant::Feed,
    web,
};

/// One request of somebody who is signed in.
struct Visit<'a> {
    app: &'a App,
    request: &'a web::Request,
    session: Session,
    /// What the forms of this page carry.
    token: String,
    pages: Pages<'a>,
    now: Timestamp,
}

/// What every page of the console says around what is its own.
struct Chrome<'a> {
    frame: Frame<'a>,
    /// Nobody, on the pages before the sign-in.
    who: Option<Who<'a>>,
}

struct Who<'a> {
    name: &'a str,
    is_operator: bool,
    token: &'a str,
    /// The entry of the menu that this page belongs to.
    at: Section,
    /// Whether this page is that entry's own.
    is_front: bool,
}

impl Who<'_> {
    fn current(&self) -> &'static str {
        if self.is_front { "page" } else { "true" }
    }
}

impl Chrome<'_> {
    fn is_operator(&self) -> bool {
        self.token().is_some()
    }

    /// What the forms carry; a reader has none.
    fn token(&self) -> Option<&str> {
        self.who.as_ref().filter(|who| who.is_operator).map(|who| who.token)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Accounts,
    Overview,
    Activity,
}

impl Section {
    /// Templates name it by its path.
    fn is(self, path: &str) -> bool {
        path == self.path()
    }

    fn path(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Overview => "overview",
            Self::Activity => "activity",
        }
    }
}

/// Where Microsoft keeps data, as it names the hosts and as people name the places.
const REGIONS: [(&str, &str); 6] = [
    ("us", "United States"),
    ("eu", "Europe"),
    ("uk", "United Kingdom"),
    ("au", "Australia"),
    ("swa", "Switzerland"),
    ("ina", "India"),
];

/// What a feed brings.
fn feed_title(feed: &Feed) -> &'static str {
    match feed {
        Feed::Alerts => "Alerts",
        Feed::Machines => "Machines",
        Feed::Telemetry => "Telemetry (network events, from a storage account)",
    }
}

impl Visit<'_> {
    fn moment(&self, at: Timestamp) -> Moment {
        Moment { at, now: self.now }
    }

    fn chrome(&self, at: Section) -> Chrome<'_> {
        let who = Who {
            name: &self.session.name,
            is_operator: self.session.role == Role::Operator,
            token: &self.token,
            at,
            is_front: self.request.path.trim_matches('/') == at.path(),
        };
        Chrome { frame: self.pages.frame(), who: Some(who) }
    }

    fn html(&self, status: u16, page: &impl Template) -> web::Response {
        self.pages.html(status, page.render())
    }

    /// What a form has come to.
    fn see(&self, path: &str) -> web::Response {
        self.pages.redirect(303, path)
    }
}

/// Answers a browser.
pub async fn answer(app: &App, request: &web::Request) -> Result<web::Response, Broken> {
    if renew::is_here(request) {
        return renew::answer(app, request).await;
    }
    let pages = Pages::new(&app.config, Audience::Operators, request);
    let (store, now) = (app.ports.store.as_ref(), app.clock.now());
    let keys = super::signing_keys(app).await?;
    let looks = matches!(request.method.as_str(), "GET" | "HEAD");
    match (request.path.as_str(), looks) {
        ("/login", true) => {
            let back = request.asked("back").unwrap_or_default();
            let departure = sign_in::begin(app, request, &keys, &back).await?;
            let mut response = pages.redirect(302, departure.to.as_str());
            response.cookies.push(departure.cookie);
            return Ok(response);
        }
        ("/login/callback", true) => {
            return Ok(match sign_in::arrive(app, request, &keys).await? {
                Ok(arrival) => {
                    let mut response = pages.redirect(303, &arrival.back);
                    response.cookies.push(arrival.session.cookie(&app.config, &keys)?);
                    response.cookies.push(sign_in::forget(app));
                    response
                }
                Err(outside) => message::show(&pages, &Message::outside(outside)),
            });
        }
        _ => {}
    }
    let session = Session::of(request, &app.config, &keys, store, now).await?;
    let Some(session) = session else {
        let back =
            if request.query.is_empty() { request.path.clone() } else { format!("{}?{}", request.path, request.query) };
        let back: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
        return Ok(if looks {
            pages.redirect(302, &format!("/login?back={back}"))
        } else {
            message::show(&pages, &Message::SESSION_OVER)
        });
    };
    let token = session.form_token(&keys);
    let visit = Visit { app, request, session, token, pages, now };
    if looks {
        return visit.look().await;
    }
    let public_url = app.config.public_url.as_ref().ok_or(Broken::NoPublicUrl)?;
    let form = match request.form() {
        Ok(form) if request.has_type("application/x-www-form-urlencoded") => form,
        _ => return Ok(visit.tell(&Message::NO_FORM)),
    };
    if request.method != "POST" {
        return Ok(visit.tell(&Message::NO_SUCH_PAGE));
    }
    if !request.is_from(public_url) || !visit.session.has_sent(&form, &keys) {
        tracing::warn!(request.id, "a form that is not of this session was refused");
        return Ok(visit.tell(&Message::FOREIGN_FORM));
    }
    if request.path == "/logout" {
        return visit.sign_out().await;
    }
    if visit.session.role < Role::Operator {
        return Ok(visit.tell(&Message::READER));
    }
    visit.act(&form).await
}

/// The page that asks to come back.
pub fn out_of_order(app: &App, request: &web::Request) -> web::Response {
    if renew::is_here(request) {
        return renew::out_of_order(app, request);
    }
    message::show(&Pages::new(&app.config, Audience::Operators, request), &Message::OUT_OF_ORDER)
}

impl Visit<'_> {
    fn path(&self) -> Vec<&str> {
        self.request.path.trim_matches('/').split('/').collect()
    }

    /// The pages.
    async fn look(&self) -> Result<web::Response, Broken> {
        match self.path().as_slice() {
            [""] => Ok(self.pages.redirect(302, "/accounts")),
            ["accounts"] => accounts::page(self).await,
            ["accounts", "invite-many"] => accounts::many::page(self),
            ["accounts", id] => account::page(self, id).await,
            ["tenants", id, "remove"] => tenant::remove::page(self, id).await,
            ["tenants", id] => tenant::page(self, id).await,
            ["overview"] => overview::page(self).await,
            ["activity"] => activity::page(self).await,
            _ => Ok(self.tell(&Message::NO_SUCH_PAGE)),
        }
    }

    /// What an operator's form asks for.
    async fn act(&self, form: &web::Form) -> Result<web::Response, Broken> {
        match self.path().as_slice() {
            ["accounts"] => accounts::create(self, form).await,
            ["accounts", "invite-many"] => accounts::many::invite_all(self, form).await,
            ["accounts", id, "connections"] => account::connect(self, id, form).await,
            ["accounts", id, "invitations"] => account::invite(self, id, form).await,
            ["accounts", id, "invitations", invitation, "withdraw"] => account::withdraw(self, id, invitation).await,
            ["tenants", id, "invite"] => account::invite_tenant(self, id, form).await,
            ["tenants", id, "remove"] => tenant::remove::act(self, id, form).await,
            ["tenants", id, what] => tenant::act(self, id, what, form).await,
            _ => Ok(self.tell(&Message::NO_SUCH_PAGE)),
        }
    }

    async fn sign_out(&self) -> Result<web::Response, Broken> {
        let entry = Entry::new(self.now, &self.session.actor(), Action::SignedOut);
        match self.app.ports.store.commit(vec![self.session.end(), entry.write()?]).await {
            // Pressed twice.
            Ok(()) | Err(crate::ports::store::StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        let mut response = message::show(&self.pages, &Message::SIGNED_OUT);
        response.cookies.push(Session::forget(&self.app.config));
        Ok(response)
    }

    fn tell(&self, message: &Message) -> web::Response {
        message::show(&self.pages, message)
    }
}
