//! A request to an authorize page: its parameters, and what is wrong with them (MICROSOFT 1.3, 1.4).

use jiff::Timestamp;

use crate::aadsts::Aadsts;
use crate::application::Registration;
use crate::dice::Dice;
use crate::entra_request::{EntraRequest, Version};
use crate::http::Response;
use crate::log::Trail;
use crate::refusal::Refused;
use crate::reply::ResponseMode;
use crate::token::missing;
use crate::visit::{Parameters, Visit, mismatch};
use crate::world::World;

/// A request to sign in.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) visit: Visit,
    pub(crate) scopes: Vec<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) code_challenge: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) prompt: Prompt,
    pub(crate) login_hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// Ask only what has to be asked.
    Needed,
    None,
    /// `login` or `select_account`.
    Account,
    Consent,
    /// v1 only.
    AdminConsent,
}

/// An error that goes back to the application.
pub(crate) struct Failure(pub(crate) &'static str, pub(crate) Aadsts);

impl Failure {
    /// v1 documents three parameters and no `error_uri`; both have the text.
    pub(crate) fn response(&self, visit: &Visit, now: Timestamp, dice: &mut Dice) -> Response {
        let Self(error, aadsts) = self;
        match visit.version {
            Version::V2 => visit.reply.error(error, aadsts, &[], now, dice),
            Version::V1 => visit.reply.send(vec![
                ("error", (*error).to_owned()),
                ("error_description", aadsts.description("\r\n", now, dice)),
            ]),
        }
    }
}

pub(crate) fn read(
    world: &mut World,
    dice: &mut Dice,
    request: EntraRequest<'_>,
    trail: &mut Trail,
) -> Result<Asked, Refused> {
    let known: &[&str] = match request.version {
        Version::V1 => &[
            "client_id",
            "response_type",
            "redirect_uri",
            "response_mode",
            "resource",
            "state",
            "nonce",
            "prompt",
            "sso_reload",
            "scope",
        ],
        Version::V2 => &[
            "client_id",
            "response_type",
            "redirect_uri",
            "response_mode",
            "scope",
            "state",
            "nonce",
            "code_challenge",
            "code_challenge_method",
            "prompt",
            "login_hint",
        ],
    };
    let parameters = Parameters::read(request.request.query(), known)?;
    let mut visit = Visit::read(world, dice, request, &parameters, address, trail)?;
    visit.reply.mode = match parameters.get("response_mode") {
        None | Some("query") => ResponseMode::Query,
        Some("form_post") => ResponseMode::FormPost,
        Some(other) => return Err(Refused::NotModelled(format!("response_mode={other}"))),
    };
    let now = world.now;
    let (scopes, prompt) = judge(&parameters, request.version)
        .map_err(|refused| refused.map(|failure| failure.response(&visit, now, dice)))?;
    Ok(Asked {
        visit,
        scopes,
        nonce: parameters.text("nonce"),
        code_challenge: parameters.text("code_challenge"),
        resource: parameters.text("resource"),
        prompt,
        login_hint: parameters.text("login_hint"),
    })
}

/// Compared to the letter. Without a redirect_uri Entra takes one of the registered, whichever (MICROSOFT 1.3).
fn address(
    parameters: &Parameters,
    registration: &Registration,
    _: Version,
    dice: &mut Dice,
) -> Result<String, Refused<Aadsts>> {
    let registered = &registration.redirect_uris;
    if let Some(uri) = parameters.get("redirect_uri") {
        return if registered.iter().any(|known| known == uri) {
            Ok(uri.to_owned())
        } else {
            Err(mismatch(parameters, uri).into())
        };
    }
    let chosen = dice.roll().checked_rem(registered.len() as u64).and_then(|place| usize::try_from(place).ok());
    let chosen = chosen.and_then(|place| registered.get(place)).cloned();
    chosen.ok_or_else(|| Aadsts::new(500113, "No reply address is registered for the application.").into())
}

/// What can be wrong with a request whose application is known: the scopes and the prompt, if nothing is.
fn judge(parameters: &Parameters, version: Version) -> Result<(Vec<String>, Prompt), Refused<Failure>> {
    let lacking = |name: &str| Err(Failure("invalid_request", missing(name)).into());
    match parameters.get("response_type") {
        Some("code") => {}
        None => return lacking("response_type"),
        Some(other) if other.split(' ').any(|part| part == "id_token") => {
            let text = "response_type 'id_token' is not enabled for the application.";
            return Err(Failure("unsupported_response_type", Aadsts::new(700054, text)).into());
        }
        Some(other) => return Err(Refused::NotModelled(format!("response_type={other}"))),
    }
    let scopes: Vec<String> = match (version, parameters.get("scope")) {
        // v1 ignores the scope; its code buys an id_token.
        (Version::V1, _) => vec!["openid".into(), "profile".into()],
        (Version::V2, None) => return lacking("scope"),
        (Version::V2, Some(scope)) => scope.split_whitespace().map(str::to_owned).collect(),
    };
    if let Some(other) = scopes.iter().find(|scope| !["openid", "profile"].contains(&scope.as_str())) {
        return Err(Refused::NotModelled(format!("signing in with the scope {other}")));
    }
    match (parameters.get("code_challenge"), parameters.get("code_challenge_method")) {
        (None, None) => {}
        (Some(challenge), Some("S256")) if challenge.len() == 43 => {}
        (Some(_), Some("S256")) => {
            let aadsts = Aadsts::new(501491, "Invalid size of Code_Challenge parameter.");
            return Err(Failure("invalid_request", aadsts).into());
        }
        _ => return Err(Refused::NotModelled("PKCE other than a code_challenge with the method S256".into())),
    }
    let prompt = match (parameters.get("prompt"), version) {
        (None, _) => Prompt::Needed,
        (Some("none"), _) => Prompt::None,
        (Some("login" | "select_account"), _) => Prompt::Account,
        (Some("consent"), _) => Prompt::Consent,
        (Some("admin_consent"), Version::V1) => Prompt::AdminConsent,
        (Some(other), _) => {
            let aadsts = Aadsts::new(90023, format!("Unsupported 'prompt' value '{other}'."));
            return Err(Failure("invalid_request", aadsts).into());
        }
    };
    Ok((scopes, prompt))
}
