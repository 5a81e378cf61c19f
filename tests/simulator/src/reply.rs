//! How Entra answers an application through the browser: a redirect with a query, or a form (MICROSOFT 1.1–1.3).

use jiff::Timestamp;
use url::form_urlencoded;

use crate::aadsts::Aadsts;
use crate::dice::Dice;
use crate::http::Response;
use crate::login_page;

/// Where the answer goes, and what goes back with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) mode: ResponseMode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ResponseMode {
    #[default]
    Query,
    FormPost,
}

impl Reply {
    pub(crate) fn send(&self, mut pairs: Vec<(&str, String)>) -> Response {
        if let Some(state) = &self.state {
            pairs.push(("state", state.clone()));
        }
        match self.mode {
            ResponseMode::FormPost => login_page::form_post(&self.redirect_uri, &pairs),
            ResponseMode::Query => {
                let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                let mark = if self.redirect_uri.contains('?') { '&' } else { '?' };
                Response::new(302, "text/html; charset=utf-8", "")
                    .with("Location", format!("{}{mark}{query}", self.redirect_uri))
                    .with("Cache-Control", "no-store, no-cache")
            }
        }
    }

    /// An error with its AADSTS text; `more` stands after it.
    pub(crate) fn error(
        &self,
        error: &str,
        aadsts: &Aadsts,
        more: &[(&'static str, &str)],
        now: Timestamp,
        dice: &mut Dice,
    ) -> Response {
        let mut pairs = vec![
            ("error", error.to_owned()),
            ("error_description", aadsts.description("\r\n", now, dice)),
            ("error_uri", aadsts.error_uri()),
        ];
        pairs.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        self.send(pairs)
    }

    /// Cancelled before anybody signed in: no description, no tenant, no `admin_consent`.
    pub(crate) fn cancelled(&self) -> Response {
        self.send(vec![("error", "access_denied".into()), ("error_subcode", "cancel".into())])
    }
}
