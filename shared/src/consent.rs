//! How a tenant comes in: an invitation, two pages of Microsoft's, and a proof.
//!
//! `answer` is the operation, one request of a browser at a time, and `walk` the steps of it. `invitation` and `attempt`
//! are what is signed and kept, `refusal` reads what Microsoft sends back in place of an approval, `admit` decides what a
//! proven sign-in is worth, and `outcome` and `page` say it to a person. `connect` is the operator's way in, who vouches
//! where no link is needed.

mod admit;
mod attempt;
pub mod connect;
pub mod invitation;
mod outcome;
mod page;
mod refusal;
mod returned;
mod walk;

use invitation::{Invitation, Token};
use jiff::SignedDuration;
use outcome::Outcome;
use page::Site;
use url::Url;
pub use walk::CALLBACK;
use walk::Visit;

use crate::{
    App, microsoft::token::TokenError, ports::store::StoreError, random::NoRandomness, sign_in::Browser,
    signing::NoSigningKey, tenant::TenantId, web,
};

/// What a browser is answered with.
enum Answer {
    /// The page that asks.
    Request(Box<Request>),
    /// To Microsoft, with the browser's secret for the way back.
    Start(Url, Token, Browser),
    Redirect(Url),
    Told(Told),
}

/// What the page that asks needs to know.
struct Request {
    invitation: Invitation,
    token: Token,
    /// The secret that the browser is to keep.
    browser: Browser,
    /// By which Microsoft's page can be compared with ours.
    client_id: Option<String>,
}

/// The end of a visit.
struct Told {
    outcome: Outcome,
    receipt: Option<Receipt>,
    /// The invitation to begin again with.
    again: Option<Token>,
}

/// Who signed in where, so that a slip is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Receipt {
    tenant: TenantId,
    name: String,
    /// `None` where it is nobody's business whose the tenant is.
    account: Option<String>,
}

impl From<Outcome> for Told {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, receipt: None, again: None }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self::Told(outcome.into())
    }
}

/// Our own trouble. The person is asked to come back, the cause goes to the log.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    SigningKey(#[from] NoSigningKey),
    #[error("our own application cannot be used: {0}")]
    Application(TokenError),
    #[error("MUSTER_PUBLIC_URL is not set")]
    NoPublicUrl,
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// Answers one request, always with a redirect or a page for people, and in the time that is left: whoever would wait
/// longer gets the page that asks them to come back.
pub async fn answer(app: &App, request: &web::Request, left: SignedDuration) -> web::Response {
    let Some(response) = app.clock.within(left, walk_on(app, request)).await else {
        let left_ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
        tracing::error!(request.id, left_ms, "a consent page was not there in time");
        return Site::new(&app.config, request).told(&Outcome::OutOfOrder.into());
    };
    response
}

async fn walk_on(app: &App, request: &web::Request) -> web::Response {
    let (site, began) = (Site::new(&app.config, request), app.clock.now());
    let out_of_order = |broken: &Broken| {
        tracing::error!(request.id, error = %broken, "a consent page cannot be given");
        site.told(&Outcome::OutOfOrder.into())
    };
    let route = match Route::of(request) {
        Ok(route) => route,
        Err(outcome) => return site.told(&outcome.into()),
    };
    let visit = match Visit::open(app, request).await {
        Ok(visit) => visit,
        Err(broken) => return out_of_order(&broken),
    };
    match visit.answer(route).await {
        Ok(Answer::Start(to, token, browser)) => site.start(&to, &token, &browser),
        Ok(Answer::Redirect(to)) => site.redirect(&to),
        Ok(Answer::Request(asked)) => site.request(&asked),
        Ok(Answer::Told(mut told)) => {
            if told.outcome == Outcome::InvitationMangled {
                // Anybody can have any number of these.
                tracing::debug!(request.id, "no invitation of ours");
            } else {
                let tenant_id = told.receipt.as_ref().map(|receipt| tracing::field::display(receipt.tenant));
                let duration_ms = app.clock.milliseconds_since(began);
                tracing::info!(request.id, tenant.id = tenant_id, outcome = ?told.outcome, duration_ms, "a consent was answered");
            }
            told.again = told.again.or(visit.invited);
            site.told(&told)
        }
        Err(broken) => out_of_order(&broken),
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    Invitation(&'a str),
    Start(&'a str),
    /// Somebody copied the address of the button.
    StartByLink(&'a str),
    Callback,
}

impl<'a> Route<'a> {
    fn of(request: &'a web::Request) -> Result<Self, Outcome> {
        let path: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), path.as_slice()) {
            ("GET" | "HEAD", ["connect", token] | ["connect", token, ""]) => Ok(Self::Invitation(token)),
            ("POST", ["connect", token, "start"]) => Ok(Self::Start(token)),
            ("GET" | "HEAD", ["connect", token, "start"]) => Ok(Self::StartByLink(token)),
            ("GET", ["consent", "callback"]) => Ok(Self::Callback),
            (_, ["connect", _] | ["connect", _, "start"] | ["consent", "callback"]) => Err(Outcome::WrongMethod),
            _ => Err(Outcome::NoSuchPage),
        }
    }
}
