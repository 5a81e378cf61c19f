//! How the simulator says that it does not know something: 501, and a line a test harness fails on.

use serde_json::json;

use crate::http::Response;

/// Either an error the real service would answer with, or the admission that we do not know what it would do.
#[derive(Debug)]
pub(crate) enum Refused<E = Response> {
    /// The service's own error.
    Answer(E),
    /// What is not modelled, in words that follow "the simulator does not model".
    NotModelled(String),
}

impl<E> Refused<E> {
    /// The same refusal, its error put as the caller hears it.
    pub(crate) fn map<F>(self, answer: impl FnOnce(E) -> F) -> Refused<F> {
        match self {
            Self::Answer(error) => Refused::Answer(answer(error)),
            Self::NotModelled(what) => Refused::NotModelled(what),
        }
    }
}

impl<E> From<E> for Refused<E> {
    fn from(error: E) -> Self {
        Self::Answer(error)
    }
}

pub(crate) fn not_modelled(what: &str) -> Response {
    let error = format!("the simulator does not model {what}");
    Response::json(501, &json!({"simulator": "not modelled", "error": error}))
}
