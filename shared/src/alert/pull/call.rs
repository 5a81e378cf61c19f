//! One call to Defender with our token, and what each refusal means for the pass.

use jiff::fmt::rfc2822;

use super::{Pass, Stop};
use crate::{
    http::{HttpError, Request, Response},
    metrics::Metric,
    microsoft::{
        defender::{ALERT_ROLES, Refusal, refusal},
        token::TokenError,
    },
    tenant::Condition,
};

/// Why a call brought nothing.
pub(super) enum CallFailed {
    /// 5xx, a time-out, a broken or unreadable body: the ladder's business.
    Service(String),
    NotFound,
    BadRequest(String),
    Stop(Stop),
}

impl CallFailed {
    /// For a caller that has no other use for it.
    pub(super) fn into_stop(self) -> Stop {
        match self {
            Self::Stop(stop) => stop,
            Self::Service(failure) => Stop::Faulty(failure),
            Self::NotFound => Stop::Condition(Condition::no_such_api()),
            Self::BadRequest(message) => Stop::Condition(Condition::failing(format!(
                "Operator: Defender does not understand our query ({message}); please report it."
            ))),
        }
    }
}

impl From<Stop> for CallFailed {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl Pass<'_> {
    /// One call to Defender with our token: its 200, or what its refusal means.
    pub(super) async fn call(&mut self, request: Request) -> Result<Response, CallFailed> {
        loop {
            let application = self.desk.connection.connection.application.clone();
            let token = self.app.tokens.defender(self.tenant, &application, false).await.map_err(no_token)?;
            if !token.has_any(&ALERT_ROLES) {
                self.refresh_token(|| Condition::role_missing(&ALERT_ROLES)).await?;
                continue;
            }
            if !self.budget.take(self.app.clock.now(), self.came_forward) {
                return Err(Stop::Spent.into());
            }
            let mut attempt = request.clone();
            attempt.bearer = Some(token.bearer.clone());
            let response = match self.app.http.send(attempt).await {
                Ok(response) => response,
                Err(HttpError::ForeignOrigin(origin)) => {
                    let words = format!(
                        "Operator: a request was about to leave for {origin}; this is a defect, please report it."
                    );
                    return Err(Stop::Condition(Condition::failing(words)).into());
                }
                Err(error) => return Err(CallFailed::Service(error.to_string())),
            };
            if let Some(date) = response.header("date").and_then(|text| rfc2822::parse(text).ok()) {
                self.ceiling = self.ceiling.min(date.timestamp());
            }
            if response.status == 200 {
                self.token_refreshed = false;
                self.budget.answered = true;
                self.accepted = Some(token);
                return Ok(response);
            }
            let (status, retry_after) = (response.status, response.header("retry-after").map(str::to_owned));
            let body = response.body.small(&self.app.clock).await.unwrap_or_default();
            match refusal(status, retry_after.as_deref(), &body) {
                Refusal::Throttled { pause } => {
                    self.recorded.add(Metric::Throttled, 1);
                    return Err(Stop::Condition(Condition::throttled(pause)).into());
                }
                Refusal::Unauthorized { message } => {
                    self.refresh_token(|| Condition::unauthorized(&message)).await?;
                }
                Refusal::Forbidden { code, message } => {
                    self.refresh_token(|| Condition::from_forbidden(&code, &message, &ALERT_ROLES)).await?;
                }
                Refusal::NotFound => return Err(CallFailed::NotFound),
                Refusal::BadRequest { message } => return Err(CallFailed::BadRequest(message)),
                Refusal::Unavailable { message } => return Err(CallFailed::Service(message)),
            }
        }
    }

    /// A fresh token once per pass, since roles and licences are cached in tokens; then the condition holds.
    async fn refresh_token(&mut self, otherwise: impl FnOnce() -> Condition) -> Result<(), Stop> {
        if self.token_refreshed {
            return Err(Stop::Condition(otherwise()));
        }
        self.token_refreshed = true;
        let application = self.desk.connection.connection.application.clone();
        self.app.tokens.defender(self.tenant, &application, true).await.map_err(no_token)?;
        Ok(())
    }
}

fn no_token(error: TokenError) -> Stop {
    match error {
        TokenError::Platform(error) => Stop::Failed(error.into()),
        other => Stop::Condition(Condition::from_token_error(&other, &ALERT_ROLES)),
    }
}
