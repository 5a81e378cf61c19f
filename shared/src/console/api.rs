//! What scripts call: JSON, and errors as `application/problem+json` (RFC 9457).
//!
//! `calls` is the table of everything there is, from which calls are found and the OpenAPI document is made, so that the
//! two cannot differ. `caller` knows who calls.

mod accounts;
mod activity;
mod caller;
mod calls;
mod openapi;
mod problem;
mod tenants;

use std::sync::LazyLock;

pub use caller::KnownKeys;
use calls::{Asked, CALLS, Found};
use problem::Problem;

use super::Broken;
use crate::{App, web};

static DOCUMENT: LazyLock<serde_json::Value> = LazyLock::new(|| openapi::document(CALLS));

/// Why a call gives no answer of its own.
enum NotDone {
    /// The caller's doing, in words for them.
    Problem(Box<Problem>),
    /// Ours.
    Broken(Box<Broken>),
}

impl From<Problem> for NotDone {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl<E: Into<Broken>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self::Broken(Box::new(error.into()))
    }
}

/// Answers a call.
pub async fn answer(app: &App, request: &web::Request) -> Result<web::Response, Broken> {
    match call(app, request).await {
        Ok(response) => Ok(response),
        Err(NotDone::Problem(problem)) => Ok(problem.answer(request)),
        Err(NotDone::Broken(broken)) => Err(*broken),
    }
}

async fn call(app: &App, request: &web::Request) -> Result<web::Response, NotDone> {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/api/health") => return Ok(problem::json(200, &serde_json::json!({ "status": "ok" }))),
        ("GET" | "HEAD", "/api/openapi.json") => return Ok(problem::json(200, &DOCUMENT)),
        _ => {}
    }
    // Who is nobody is not told what there is.
    let caller = caller::of(app, request).await?;
    match calls::find(&request.method, &request.path) {
        Found::Call(call, parts) => {
            if caller.role < call.role {
                let role = call.role.app_role();
                return Err(Problem::new(403, format!("This call needs the app role {role}.")).into());
            }
            (call.run)(Asked { app, request, actor: caller.actor, parts, now: app.clock.now() }).await
        }
        Found::OtherMethods(methods) => {
            let problem = Problem::new(405, format!("Here are only: {}.", methods.join(", ")));
            Err(problem.with_header("allow", methods.join(", ")).into())
        }
        Found::Nothing => Err(Problem::new(404, "There is no such call; /api/openapi.json lists them.").into()),
    }
}

/// What is said when nothing can be.
pub fn out_of_order(request: &web::Request) -> web::Response {
    Problem::new(503, "Muster is out of order; try again in a few minutes.").answer(request)
}
