//! Assertions of an issuer outside Entra (MICROSOFT 2.6): matched against the federated credentials, then verified.

use serde_json::Value;

use crate::aadsts::Aadsts;
use crate::application::usable;
use crate::certificate_assertion::within_time;
use crate::credential::Asked;
use crate::jwt::{Jwt, PublicKey};
use crate::refusal::Refused;

pub(crate) fn check(jwt: &Jwt<'_>, asked: &Asked<'_>) -> Result<(), Refused<Aadsts>> {
    matches_a_credential(jwt, asked)?;
    if jwt.algorithm() != "RS256" {
        let text = format!("JWT token is invalid or malformed. The algorithm '{}' is not supported.", jwt.algorithm());
        return Err(Aadsts::new(50027, text).into());
    }
    let Some(issuer) = asked.issuers.iter().find(|issuer| issuer.issuer == jwt.text("iss")) else {
        // Entra could not read the issuer's metadata: an external server, to be tried again.
        return Err(Aadsts::new(90006, "External server retryable error.").into());
    };
    if !usable(issuer.usable_from, asked.now) {
        let text = "The metadata of the assertion's issuer is not available yet.";
        return Err(Aadsts::new(7000272, text).into());
    }
    let keys = issuer.jwks["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let key = keys.iter().find(|key| key["kid"] == jwt.header["kid"] && key["kid"].is_string());
    if !key.and_then(PublicKey::from_jwk).is_some_and(|key| jwt.is_signed_by(&key)) {
        return Err(Aadsts::new(700027, "Client assertion contains an invalid signature.").into());
    }
    within_time(jwt, asked.now).map_err(Refused::Answer)
}

/// Issuer, subject and audience, each compared to the letter; a difference in case alone has codes of its own.
fn matches_a_credential(jwt: &Jwt<'_>, asked: &Asked<'_>) -> Result<(), Aadsts> {
    let (issuer, subject) = (jwt.text("iss"), jwt.text("sub"));
    let all = &asked.application.federated;
    let no_match = |code, what: &str, value: &str| {
        let text = format!("No matching federated identity record found for presented assertion {what} '{value}'.");
        Err(Aadsts::new(code, text))
    };
    let of_issuer: Vec<_> = all.iter().filter(|credential| credential.issuer == issuer).collect();
    if of_issuer.is_empty() {
        let but_for_case = all.iter().any(|credential| credential.issuer.eq_ignore_ascii_case(issuer));
        return no_match(if but_for_case { 7002137 } else { 700211 }, "issuer", issuer);
    }
    let of_subject: Vec<_> = of_issuer.iter().filter(|credential| credential.subject == subject).collect();
    if of_subject.is_empty() {
        let but_for_case = of_issuer.iter().any(|credential| credential.subject.eq_ignore_ascii_case(subject));
        return no_match(if but_for_case { 7002138 } else { 700213 }, "subject", subject);
    }
    let audience = &jwt.claims["aud"];
    let Some(credential) = of_subject.iter().find(|credential| names(audience, &credential.audience)) else {
        return no_match(700212, "audience", audience.as_str().unwrap_or_default());
    };
    if !usable(credential.usable_from, asked.now) {
        let text = "No matching federated identity record found for presented assertion.";
        return Err(Aadsts::new(70021, text));
    }
    Ok(())
}

fn names(audience: &Value, wanted: &str) -> bool {
    match audience {
        Value::String(audience) => audience == wanted,
        Value::Array(audiences) => audiences.iter().any(|audience| audience == wanted),
        _ => false,
    }
}
