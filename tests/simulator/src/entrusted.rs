//! What was shown to the simulator, or handed out by it, that nobody may write down: credentials, tokens, codes.

use std::{collections::BTreeSet, fmt};

use url::form_urlencoded;

use crate::http::{Request, Response};

/// The fields of a request, and of the address that a person is sent back to, whose values are secret.
const SECRET_FIELDS: [&str; 6] = ["client_secret", "client_assertion", "code", "code_verifier", "nonce", "state"];
/// A test makes up shorter ones, which stand in any text by chance.
const SHORTEST: usize = 12;

/// All of it so far. Its `Debug` tells how many there are, because whoever prints a simulator must not print these.
#[derive(Default)]
pub(crate) struct Entrusted(BTreeSet<String>);

impl fmt::Debug for Entrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entrusted({})", self.0.len())
    }
}

impl Entrusted {
    pub(crate) fn all(&self) -> BTreeSet<String> {
        self.0.clone()
    }

    /// Adds what this request and its answer carry.
    pub(crate) fn gather(&mut self, request: &Request, response: &Response) {
        let back = response.header("location").and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
        for form in [request.query().as_bytes(), &request.body, back.as_bytes()] {
            let fields = form_urlencoded::parse(form).filter(|(name, _)| SECRET_FIELDS.contains(&name.as_ref()));
            self.0.extend(fields.map(|(_, value)| value.into_owned()).filter(|value| value.len() >= SHORTEST));
        }
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        self.0.extend(bearer.filter(|token| token.len() >= SHORTEST).map(str::to_owned));
    }
}
