//! One call to Defender with our token, and what each refusal means for whoever called.

use std::sync::Arc;

use jiff::{Timestamp, fmt::rfc2822};

use super::{Condition, Feed, TenantId};
use crate::{
    App,
    http::{HttpError, Request, Response},
    metrics::{Metric, Recorded},
    microsoft::{
        defender::{Refusal, is_error, refusal},
        token::{AccessToken, TokenError},
        tokens::ApplicationName,
    },
    ports::Unavailable,
};

/// Why a call brought nothing.
#[derive(Debug)]
pub enum CallFailed {
    /// The caller's budget has no further call.
    Spent,
    /// 5xx, a time-out, a broken or unreadable body.
    Service(String),
    /// 404. From Defender itself it is an answer; a gateway says so too, and means nothing.
    NotFound {
        by_defender: bool,
    },
    BadRequest(String),
    Condition(Condition),
    Platform(Unavailable),
}

/// Calls Defender for one feed of one tenant. A fresh token is asked for once, since roles and licences are cached in
/// tokens, and once more after each success; then the refusal holds.
#[derive(Debug)]
pub struct Caller<'a> {
    app: &'a App,
    tenant: TenantId,
    application: ApplicationName,
    feed: Feed,
    recorded: &'a Recorded,
    token_refreshed: bool,
    accepted: Option<Arc<AccessToken>>,
    date: Option<Timestamp>,
}

impl<'a> Caller<'a> {
    pub fn new(
        app: &'a App,
        tenant: TenantId,
        application: &ApplicationName,
        feed: Feed,
        recorded: &'a Recorded,
    ) -> Self {
        let application = application.clone();
        Self { app, tenant, application, feed, recorded, token_refreshed: false, accepted: None, date: None }
    }

    /// The roles of the token that Defender took last, where they can be read.
    pub fn accepted_roles(&self) -> Option<&[String]> {
        self.accepted.as_ref()?.roles.as_deref()
    }

    /// When the token was obtained that Defender took last.
    pub fn token_born(&self) -> Option<Timestamp> {
        self.accepted.as_ref().map(|token| token.obtained_at)
    }

    /// The earliest of the times that Defender's answers bear.
    pub fn date(&self) -> Option<Timestamp> {
        self.date
    }

    /// One call: its 200, or what its refusal means. `grant` is asked for every request that would leave.
    ///
    /// # Errors
    /// [`CallFailed`].
    pub async fn call(&mut self, request: Request, mut grant: impl FnMut() -> bool) -> Result<Response, CallFailed> {
        loop {
            let token = self.token(false).await?;
            let feed = self.feed;
            if !token.has_any(feed.roles()) {
                self.refresh_token(|| Condition::role_missing(feed)).await?;
                continue;
            }
            if !grant() {
                return Err(CallFailed::Spent);
            }
            let mut attempt = request.clone();
            attempt.bearer = Some(token.bearer.clone());
            let response = match self.app.http.send(attempt).await {
                Ok(response) => response,
                Err(HttpError::ForeignOrigin(origin)) => {
                    return Err(CallFailed::Condition(Condition::failing(format!(
                        "Operator: a request was about to leave for {origin}; this is a defect, please report it."
                    ))));
                }
                Err(error) => return Err(CallFailed::Service(error.to_string())),
            };
            if let Some(date) = response.header("date").and_then(|text| rfc2822::parse(text).ok()) {
                let date = date.timestamp();
                self.date = Some(self.date.map_or(date, |earliest| earliest.min(date)));
            }
            if response.status == 200 {
                self.token_refreshed = false;
                self.accepted = Some(token);
                return Ok(response);
            }
            self.refused(response, token).await?;
        }
    }

    /// Reads a refusal; without an error the call is worth another try.
    async fn refused(&mut self, response: Response, token: Arc<AccessToken>) -> Result<(), CallFailed> {
        let (status, retry_after) = (response.status, response.header("retry-after").map(str::to_owned));
        let body = response.body.small(&self.app.clock).await.unwrap_or_default();
        let feed = self.feed;
        match refusal(status, retry_after.as_deref(), &body) {
            Refusal::Throttled { pause } => {
                self.recorded.add(Metric::Throttled, 1);
                Err(CallFailed::Condition(Condition::throttled(pause)))
            }
            Refusal::Unauthorized { message } => self.refresh_token(|| Condition::unauthorized(&message)).await,
            Refusal::Forbidden { code, message } => {
                self.refresh_token(|| Condition::from_forbidden(&code, &message, feed)).await
            }
            Refusal::NotFound => {
                let by_defender = is_error(&body);
                // That nothing is there is told only to whom may know.
                self.accepted = self.accepted.take().or(by_defender.then_some(token));
                Err(CallFailed::NotFound { by_defender })
            }
            Refusal::BadRequest { message } => Err(CallFailed::BadRequest(message)),
            Refusal::Unavailable { message } => Err(CallFailed::Service(message)),
        }
    }

    async fn refresh_token(&mut self, otherwise: impl FnOnce() -> Condition) -> Result<(), CallFailed> {
        if self.token_refreshed {
            return Err(CallFailed::Condition(otherwise()));
        }
        self.token_refreshed = true;
        self.token(true).await.map(|_| ())
    }

    async fn token(&self, fresh: bool) -> Result<Arc<AccessToken>, CallFailed> {
        self.app.tokens.defender(self.tenant, &self.application, fresh).await.map_err(|error| match error {
            TokenError::Platform(error) => CallFailed::Platform(error),
            other => CallFailed::Condition(Condition::from_token_error(&other, self.feed)),
        })
    }
}
