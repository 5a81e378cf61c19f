//! One call of a pass to Defender: what it costs, and what a refusal means for the pass.

use super::{Pass, Stop};
use crate::{
    http::{Request, Response},
    tenant::{Condition, Feed, call},
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
            Self::NotFound => Stop::Condition(Condition::no_such_api(Feed::Alerts)),
            Self::BadRequest(message) => Stop::Condition(Condition::query_not_understood(&message)),
        }
    }
}

impl From<Stop> for CallFailed {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<call::CallFailed> for CallFailed {
    fn from(failed: call::CallFailed) -> Self {
        match failed {
            call::CallFailed::Spent => Stop::Spent.into(),
            call::CallFailed::Service(failure) => Self::Service(failure),
            call::CallFailed::NotFound { .. } => Self::NotFound,
            call::CallFailed::BadRequest(message) => Self::BadRequest(message),
            call::CallFailed::Condition(condition) => Stop::Condition(condition).into(),
            call::CallFailed::Platform(error) => Stop::Failed(error.into()).into(),
        }
    }
}

impl Pass<'_> {
    /// One call to Defender with our token: its 200, or what its refusal means.
    pub(super) async fn call(&mut self, request: Request) -> Result<Response, CallFailed> {
        let Self { app, caller, budget, came_forward, .. } = self;
        let answered = caller.call(request, || budget.take(app.clock.now(), *came_forward)).await;
        if let Some(date) = self.caller.date() {
            self.ceiling = self.ceiling.min(date);
        }
        self.budget.answered |= answered.is_ok();
        Ok(answered?)
    }
}
