//! Whether an application is who it says: client secrets, and which kind an assertion is.

use jiff::Timestamp;
use url::form_urlencoded;

use crate::aadsts::Aadsts;
use crate::application::{Application, FederatedIssuer, usable};
use crate::entra_request::EntraRequest;
use crate::http::Request;
use crate::jwt::{Jwt, from_any_base64};
use crate::refusal::Refused;
use crate::token::{Form, missing};
use crate::{certificate_assertion, federated_assertion};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The credential in a token request.
#[derive(Clone, Debug)]
pub(crate) enum Presented {
    Nothing,
    Secret { client_id: Option<String>, value: String },
    Assertion { token: String, by_application: bool },
}

/// What the credential is presented for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) application: &'a Application,
    pub(crate) request: EntraRequest<'a>,
    pub(crate) issuers: &'a [FederatedIssuer],
    pub(crate) now: Timestamp,
}

impl Presented {
    pub(crate) fn of(request: &Request, form: &Form) -> Result<Self, Refused<Aadsts>> {
        let not_modelled = |what: &str| Err(Refused::NotModelled(what.into()));
        let basic = request.header("authorization").map(basic);
        let secret = form.get("client_secret").filter(|value| !value.is_empty());
        let assertion = form.get("client_assertion").filter(|value| !value.is_empty());
        match (basic, secret, assertion) {
            (None, None, None) => Ok(Self::Nothing),
            (None, Some(value), None) => Ok(Self::Secret { client_id: None, value: value.clone() }),
            (Some(Some((client_id, value))), None, None) => Ok(Self::Secret { client_id: Some(client_id), value }),
            (Some(None), _, _) => not_modelled("an Authorization header other than Basic at the token endpoint"),
            (None, None, Some(token)) => {
                match form.get("client_assertion_type").map(String::as_str) {
                    Some(JWT_BEARER) => {}
                    None | Some("") => return Err(missing("client_assertion_type").into()),
                    Some(_) => return not_modelled("a client_assertion_type other than jwt-bearer"),
                }
                // An application asserts itself; an issuer elsewhere asserts somebody.
                let client_id = form.get("client_id").map(String::as_str).unwrap_or_default();
                let by_application =
                    Jwt::parse(token).is_none_or(|jwt| jwt.text("iss").eq_ignore_ascii_case(client_id));
                Ok(Self::Assertion { token: token.clone(), by_application })
            }
            _ => not_modelled("two credentials in one token request"),
        }
    }

    /// The client id, where the credential brings it.
    pub(crate) fn client_id(&self) -> Option<&str> {
        match self {
            Self::Secret { client_id, .. } => client_id.as_deref(),
            _ => None,
        }
    }

    /// For the log, which never holds the value.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Secret { .. } => Some("client_secret"),
            Self::Assertion { by_application: true, .. } => Some("certificate"),
            Self::Assertion { by_application: false, .. } => Some("federated"),
        }
    }
}

/// The `appidacr` of the token to issue: "1" for a secret, "2" for an assertion.
pub(crate) fn check(presented: &Presented, asked: &Asked<'_>) -> Result<&'static str, Refused<Aadsts>> {
    match presented {
        Presented::Nothing => {
            let text = "'client_assertion' or 'client_secret' is required for the 'client_credentials' grant type.";
            Err(Aadsts::new(7000216, text).into())
        }
        Presented::Secret { value, .. } => secret(value, asked).map(|()| "1").map_err(Refused::Answer),
        Presented::Assertion { token, by_application } => {
            let Some(jwt) = Jwt::parse(token) else {
                return Err(Aadsts::new(50027, "JWT token is invalid or malformed.").into());
            };
            if *by_application {
                certificate_assertion::check(&jwt, asked)?;
            } else {
                federated_assertion::check(&jwt, asked)?;
            }
            Ok("2")
        }
    }
}

/// The id of a secret in the place of its value, a wrong one, and one that has not propagated yet all look the same.
fn secret(value: &str, asked: &Asked<'_>) -> Result<(), Aadsts> {
    let client_id = &asked.application.client_id;
    let matching = asked.application.secrets.iter().filter(|secret| secret.value == value);
    let known: Vec<_> = matching.filter(|s| s.start <= asked.now && usable(s.usable_from, asked.now)).collect();
    if known.is_empty() {
        let text = format!(
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client_id}'."
        );
        return Err(Aadsts::new(7000215, text));
    }
    if known.iter().all(|secret| secret.end <= asked.now) {
        let text = format!("The provided client secret keys for app '{client_id}' are expired.");
        return Err(Aadsts::new(7000222, text));
    }
    Ok(())
}

/// RFC 6749 2.3.1: both halves are form-encoded before they are joined.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, value) = header.split_once(' ')?;
    let text = String::from_utf8(from_any_base64(value.trim())?).ok()?;
    let (client_id, secret) = text.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decode = |half: &str| form_urlencoded::parse(half.as_bytes()).next().map(|(name, _)| name.into_owned());
    Some((decode(client_id)?, decode(secret)?))
}
