//! How the simulator says that it does not know something: 501, and a line a test harness fails on.

use serde_json::json;

use crate::http::Response;

/// Either an answer the real service would give, or the admission that we do not know it.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The service's own error.
    Answer(Response),
    /// What is not modelled, in words that follow "the simulator does not model".
    NotModelled(String),
}

pub(crate) fn not_modelled(what: &str) -> Response {
    let error = format!("the simulator does not model {what}");
    Response::json(501, &json!({"simulator": "not modelled", "error": error}))
}
