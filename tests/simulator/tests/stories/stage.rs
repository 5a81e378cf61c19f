//! A small stage for the stories: one application, one consenting tenant, and how to ask for things.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Application, Certificate, ClientSecret, Request, Response, Simulator, Tenant};

pub(crate) const CLIENT: &str = "00000000-0000-4000-8000-00000000c11e";
pub(crate) const TENANT: &str = "00000000-0000-4000-8000-0000000000aa";
pub(crate) const HOME: &str = "00000000-0000-4000-8000-000000000001";
pub(crate) const SECRET: &str = "the value of the secret";
pub(crate) const KEY_ID: &str = "00000000-0000-4000-8000-0000000005ec";
pub(crate) const SCOPE: &str = "https://api.securitycenter.microsoft.com/.default";
pub(crate) const LOGIN: &str = "login.simulator.example";

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn noon() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

pub(crate) fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

pub(crate) fn simulator() -> Simulator {
    let simulator = Simulator::new(7, noon());
    simulator.world(|world| {
        world.add_application(Application {
            client_id: CLIENT.into(),
            home_tenant_id: HOME.into(),
            name: "Connector".into(),
            secrets: vec![ClientSecret {
                key_id: KEY_ID.into(),
                value: SECRET.into(),
                start: at("2026-01-01T00:00:00Z"),
                end: at("2027-01-01T00:00:00Z"),
                usable_from: None,
            }],
            certificates: vec![Certificate { key_id: "1".into(), der: certificate(), usable_from: None }],
            ..Application::default()
        });
        world.add_tenant(Tenant::new(TENANT, "Contoso").consented(
            CLIENT,
            &["Alert.Read.All"],
            at("2026-01-01T00:00:00Z"),
        ));
        world.add_tenant(Tenant::new(HOME, "Provider"));
    });
    simulator
}

pub(crate) fn certificate() -> Vec<u8> {
    der(include_str!("../keys/client-test-certificate.pem"))
}

pub(crate) fn der(pem: &str) -> Vec<u8> {
    let inner: String =
        pem.lines().skip_while(|line| !line.starts_with("-----")).filter(|l| !l.starts_with('-')).collect();
    STANDARD.decode(inner).unwrap()
}

/// A v2 token request with these parameters.
pub(crate) fn token_request(tenant: &str, parameters: &[(&str, &str)]) -> Request {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    Request::post(&format!("/{tenant}/oauth2/v2.0/token"), "application/x-www-form-urlencoded", body)
        .with("Host", LOGIN)
}

pub(crate) fn with_secret(secret: &str) -> Request {
    let parameters =
        [("client_id", CLIENT), ("scope", SCOPE), ("grant_type", "client_credentials"), ("client_secret", secret)];
    token_request(TENANT, &parameters)
}

pub(crate) fn with_assertion(assertion: &str) -> Request {
    let parameters = [
        ("client_id", CLIENT),
        ("scope", SCOPE),
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
    ];
    token_request(TENANT, &parameters)
}

/// How a client signs with its certificate's key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Algorithm {
    Ps256,
    Ps256Padded,
    Rs256,
}

pub(crate) fn certificate_assertion(algorithm: Algorithm, claims: &Value) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate());
    let sha256 = digest(&SHA256, &certificate());
    let header = match algorithm {
        Algorithm::Ps256 => json!({"alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE_NO_PAD.encode(sha256)}),
        Algorithm::Ps256Padded => json!({"alg": "PS256", "typ": "JWT", "x5t#S256": URL_SAFE.encode(sha256)}),
        Algorithm::Rs256 => json!({"alg": "RS256", "typ": "JWT", "x5t": URL_SAFE_NO_PAD.encode(sha1)}),
    };
    sign(algorithm, include_str!("../keys/client-test-key.pem"), &header, claims)
}

pub(crate) fn sign(algorithm: Algorithm, key: &str, header: &Value, claims: &Value) -> String {
    let pair = KeyPair::from_pkcs8(&der(key)).unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::Rs256 => pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap(),
        _ => pair.sign(&RSA_PSS_SHA256, &random, signed.as_bytes(), &mut signature).unwrap(),
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The claims a client asserts about itself at noon.
pub(crate) fn claims() -> Value {
    let now = noon().as_second();
    json!({
        "aud": format!("https://{LOGIN}/{TENANT}/oauth2/v2.0/token"), "iss": CLIENT, "sub": CLIENT,
        "jti": "00000000-0000-4000-8000-000000000777", "nbf": now, "iat": now, "exp": now + 600,
    })
}

pub(crate) fn body(response: Response) -> Value {
    serde_json::from_slice(&response.body.collect_bytes()).unwrap()
}

/// The AADSTS code of an error, 0 for a token.
pub(crate) fn code(response: Response) -> i64 {
    let body = body(response);
    if body["access_token"].is_string() { 0 } else { body["error_codes"][0].as_i64().unwrap_or(-1) }
}

/// A bearer token for the tenant, as `Authorization` has it.
pub(crate) fn bearer(simulator: &Simulator) -> String {
    let body = body(simulator.handle(with_secret(SECRET)));
    format!("Bearer {}", body["access_token"].as_str().unwrap())
}

pub(crate) fn get(simulator: &Simulator, bearer: &str, target: &str) -> Response {
    simulator.handle(Request::get(target).with("Authorization", bearer))
}

pub(crate) fn ids(page: &Value) -> Vec<String> {
    page["value"].as_array().unwrap().iter().map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn payload(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}
