//! Assertions an application signs with its certificate (MICROSOFT 2.5), verified for real.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use x509_cert::der::Decode;

use crate::aadsts::Aadsts;
use crate::application::{Certificate, usable};
use crate::credential::Asked;
use crate::entra_request::{EntraRequest, Version};
use crate::jwt::{Jwt, PublicKey, from_any_base64};
use crate::refusal::Refused;

/// How far clocks may differ.
pub(crate) const SKEW: SignedDuration = SignedDuration::from_mins(5);

pub(crate) fn check(jwt: &Jwt<'_>, asked: &Asked<'_>) -> Result<(), Refused<Aadsts>> {
    let certificate = named(jwt, asked)?;
    let Some((key, not_before, not_after)) = read(&certificate.der) else {
        return Err(Refused::NotModelled("a registered certificate without an RSA key".into()));
    };
    if !jwt.is_signed_by(&key) {
        let text = "Client assertion contains an invalid signature. [Reason - The key was not found or the signature does not verify.]";
        return Err(Aadsts::new(700027, text).into());
    }
    if asked.now < not_before || not_after < asked.now {
        let text = "The provided client certificate is not within its validity period.";
        return Err(Aadsts::new(1000502, text).into());
    }
    claims(jwt, asked)?;
    within_time(jwt, asked.now).map_err(Refused::Answer)
}

/// The certificate the header names: `PS256` with `x5t#S256` or `RS256` with `x5t`.
fn named<'a>(jwt: &Jwt<'_>, asked: &Asked<'a>) -> Result<&'a Certificate, Refused<Aadsts>> {
    let (name, algorithm): (&str, &'static Algorithm) = match jwt.algorithm() {
        "PS256" => ("x5t#S256", &SHA256),
        "RS256" => ("x5t", &SHA1_FOR_LEGACY_USE_ONLY),
        other => return Err(Refused::NotModelled(format!("certificate assertions signed with {other:?}"))),
    };
    let Some(thumbprint) = jwt.header[name].as_str() else {
        let what = format!("a certificate assertion with {} and without {name}", jwt.algorithm());
        return Err(Refused::NotModelled(what));
    };
    let thumbprint = from_any_base64(thumbprint);
    let registered = asked.application.certificates.iter().find(|certificate| {
        thumbprint.as_deref() == Some(digest(algorithm, &certificate.der).as_ref())
            && usable(certificate.usable_from, asked.now)
    });
    registered.ok_or_else(|| {
        let text = format!(
            "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Please visit the Azure Portal, app '{}'.]",
            asked.application.client_id
        );
        Aadsts::new(700027, text).into()
    })
}

fn claims(jwt: &Jwt<'_>, asked: &Asked<'_>) -> Result<(), Aadsts> {
    let client_id = &asked.application.client_id;
    if !jwt.text("iss").eq_ignore_ascii_case(client_id) || !jwt.text("sub").eq_ignore_ascii_case(client_id) {
        let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
        return Err(Aadsts::new(700021, text));
    }
    if jwt.text("jti").is_empty() {
        return Err(Aadsts::new(50027, "JWT token is invalid or malformed. The claim 'jti' is missing."));
    }
    if !names_the_endpoint(jwt.text("aud"), asked) {
        return Err(Aadsts::new(700023, "Client assertion audience claim does not match Realm issuer."));
    }
    Ok(())
}

/// The audience is this tenant's token endpoint, v2 or, at the v1 endpoint, v1; and at the host that was asked.
fn names_the_endpoint(audience: &str, asked: &Asked<'_>) -> bool {
    let Some((_, rest)) = audience.split_once("://") else { return false };
    let Some((host, path)) = rest.split_once('/') else { return false };
    let EntraRequest { request, segment, version } = asked.request;
    let endpoint = |rest: &str| path.eq_ignore_ascii_case(&format!("{segment}/{rest}"));
    let right_path = endpoint("oauth2/v2.0/token") || version == Version::V1 && endpoint("oauth2/token");
    right_path && request.header("host").is_none_or(|asked| asked.eq_ignore_ascii_case(host))
}

/// `nbf` is optional, `exp` is not.
pub(crate) fn within_time(jwt: &Jwt<'_>, now: Timestamp) -> Result<(), Aadsts> {
    let outside = || {
        let text = format!("Client assertion is not within its valid time range. Current time: {now}.");
        Aadsts::new(700024, text)
    };
    let until = jwt.seconds("exp").ok_or_else(outside)?;
    let from = jwt.seconds("nbf").unwrap_or(i64::MIN);
    let early = from > (now + SKEW).as_second();
    let late = until <= (now - SKEW).as_second();
    if early || late { Err(outside()) } else { Ok(()) }
}

/// The RSA key and the validity of a certificate.
pub(crate) fn read(der: &[u8]) -> Option<(PublicKey, Timestamp, Timestamp)> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let certificate = certificate.tbs_certificate();
    let key = certificate.subject_public_key_info().subject_public_key.as_bytes()?.to_vec();
    let at = |time: x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok()?;
        Timestamp::from_second(seconds).ok()
    };
    let validity = certificate.validity();
    Some((PublicKey::Der(key), at(validity.not_before)?, at(validity.not_after)?))
}
