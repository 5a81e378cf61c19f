//! What scripts call: JSON, and errors as `application/problem+json` (RFC 9457).

mod problem;

use problem::Problem;

use super::Broken;
use crate::{App, web};

/// Answers a call.
pub async fn answer(_app: &App, request: &web::Request) -> Result<web::Response, Broken> {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/api/health") => Ok(problem::json(200, &serde_json::json!({"status": "ok"}))),
        _ => Ok(Problem::new(404, "There is no such call.").answer(request)),
    }
}

/// What is said when nothing can be.
pub fn out_of_order(request: &web::Request) -> web::Response {
    Problem::new(503, "Muster is out of order; try again in a few minutes.").answer(request)
}
