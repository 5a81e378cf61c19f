//! A request to an authorize page: its parameters, and what is wrong with them (MICROSOFT 1.3, 1.4).

use jiff::Timestamp;

use crate::aadsts::Aadsts;
use crate::admin_consent::mismatch;
use crate::application::{Application, Registration};
use crate::dice::Dice;
use crate::http::Request;
use crate::log::Trail;
use crate::login_page;
use crate::refusal::Refused;
use crate::reply::{Reply, ResponseMode};
use crate::request_parameters::Parameters;
use crate::sign_in::{self, Realm};
use crate::token::Version;
use crate::world::World;

/// A request that may be answered to the application.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) realm: Realm,
    pub(crate) application: Application,
    pub(crate) registration: Registration,
    pub(crate) reply: Reply,
    pub(crate) version: Version,
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

pub(crate) fn read(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    segment: &str,
    version: Version,
    trail: &mut Trail,
) -> Result<Asked, Refused> {
    let known: &[&str] = match version {
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
    let now = world.now;
    let parameters = Parameters::read(request.query(), known)?;
    let realm = sign_in::realm(world, dice, segment)?;
    let application = parameters.application(world, dice)?;
    trail.application = Some(application.client_id.clone());
    let registration = world.registration(&application.client_id).clone();
    let redirect_uri = match parameters.get("redirect_uri") {
        Some(uri) if registration.redirect_uris.iter().any(|registered| registered == uri) => uri.to_owned(),
        Some(uri) => return Err(Refused::Answer(mismatch(&application, uri, now, dice))),
        None => any_of(&registration, now, dice)?,
    };
    let mode = match parameters.get("response_mode") {
        None | Some("query") => ResponseMode::Query,
        Some("form_post") => ResponseMode::FormPost,
        Some(other) => return Err(Refused::NotModelled(format!("response_mode={other}"))),
    };
    let reply = Reply { redirect_uri, state: parameters.get("state").map(str::to_owned), mode };
    let judged = judge(&parameters, version)?;
    let text = |name: &str| parameters.get(name).map(str::to_owned);
    let (scopes, prompt) =
        judged.map_err(|Failure(error, aadsts)| Refused::Answer(reply.error(error, &aadsts, &[], now, dice)))?;
    Ok(Asked {
        realm,
        application,
        registration,
        reply,
        version,
        scopes,
        nonce: text("nonce"),
        code_challenge: text("code_challenge"),
        resource: text("resource"),
        prompt,
        login_hint: text("login_hint"),
    })
}

/// Without a redirect_uri Entra takes one of the registered, whichever (MICROSOFT 1.3).
fn any_of(registration: &Registration, now: Timestamp, dice: &mut Dice) -> Result<String, Refused> {
    let count = registration.redirect_uris.len() as u64;
    let chosen = dice.roll().checked_rem(count).and_then(|place| usize::try_from(place).ok());
    chosen.and_then(|place| registration.redirect_uris.get(place)).cloned().ok_or_else(|| {
        let aadsts = Aadsts::new(500113, "No reply address is registered for the application.");
        Refused::Answer(login_page::error(&aadsts, now, dice))
    })
}

/// What can be wrong with a request whose application is known: the scopes and the prompt, if nothing is.
fn judge(parameters: &Parameters, version: Version) -> Result<Result<(Vec<String>, Prompt), Failure>, Refused> {
    let lacking = |name: &str| {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        Ok(Err(Failure("invalid_request", Aadsts::new(900144, text))))
    };
    match parameters.get("response_type") {
        Some("code") => {}
        None => return lacking("response_type"),
        Some(other) if other.split(' ').any(|part| part == "id_token") => {
            let text = "response_type 'id_token' is not enabled for the application.";
            return Ok(Err(Failure("unsupported_response_type", Aadsts::new(700054, text))));
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
            return Ok(Err(Failure("invalid_request", aadsts)));
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
            return Ok(Err(Failure("invalid_request", aadsts)));
        }
    };
    Ok(Ok((scopes, prompt)))
}
