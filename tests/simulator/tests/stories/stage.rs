//! A small stage for the stories: one application, one consenting tenant, and how to ask for things.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{
    AdminRole, Application, Certificate, ClientSecret, GroupMembershipClaims, Registration, Request, Response,
    Simulator, Tenant, User,
};
use std::collections::BTreeMap;

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

pub(crate) const CALLBACK: &str = "https://muster.example/consent/callback";
pub(crate) const ADMIN: &str = "00000000-0000-4000-8000-0000000000a1";
pub(crate) const APPLICATION_ADMIN: &str = "00000000-0000-4000-8000-0000000000a2";
pub(crate) const ORDINARY: &str = "00000000-0000-4000-8000-0000000000a3";
pub(crate) const GUEST: &str = "00000000-0000-4000-8000-0000000000a4";
pub(crate) const STRANGER: &str = "00000000-0000-4000-8000-0000000000b1";
pub(crate) const OTHER: &str = "00000000-0000-4000-8000-0000000000bb";

/// The same stage before anybody consented, with people in the directories.
pub(crate) fn people() -> Simulator {
    let simulator = simulator();
    simulator.world(|world| {
        let application = world.application(CLIENT).unwrap();
        application.roles = vec!["Alert.Read.All".into()];
        *world.registration(CLIENT) = Registration {
            redirect_uris: vec![CALLBACK.into()],
            delegated_permissions: vec!["openid".into(), "profile".into()],
            group_membership_claims: GroupMembershipClaims::DirectoryRole,
            owners: vec![CLIENT.into()],
            ..Registration::default()
        };
        world.add_tenant(
            Tenant::new(TENANT, "Contoso")
                .with_user(User::member(ADMIN, "Adele", "adele@contoso.example").with_role(AdminRole::Global))
                .with_user(
                    User::member(APPLICATION_ADMIN, "Alex", "alex@contoso.example").with_role(AdminRole::Application),
                )
                .with_user(User::member(ORDINARY, "Omar", "omar@contoso.example"))
                .with_user(User::guest(GUEST, "Grete", "grete@fabrikam.example", OTHER).with_role(AdminRole::Global)),
        );
        world.add_tenant(
            Tenant::new(OTHER, "Fabrikam")
                .with_user(User::member(STRANGER, "Stella", "stella@fabrikam.example").with_role(AdminRole::Global)),
        );
    });
    simulator
}

/// An address of Entra's with this query.
pub(crate) fn page(path: &str, parameters: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    format!("https://{LOGIN}/{path}?{query}")
}

/// The link an admin approves.
pub(crate) fn consent_link() -> String {
    let parameters = [("client_id", CLIENT), ("redirect_uri", CALLBACK), ("scope", SCOPE), ("state", "s t&1")];
    page("organizations/v2.0/adminconsent", &parameters)
}

pub(crate) const VERIFIER: &str = "a-verifier-of-forty-three-letters-or-even-more";

/// The address of a sign-in, with these parameters in the place of its own or after them.
pub(crate) fn sign_in_link(tenant: &str, changed: &[(&str, &str)]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, VERIFIER.as_bytes());
    let challenge = URL_SAFE_NO_PAD.encode(digest);
    let mut parameters = vec![
        ("client_id", CLIENT),
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile"),
        ("state", "st"),
        ("nonce", "n-1"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    parameters.retain(|(name, _)| changed.iter().all(|(other, _)| other != name));
    parameters.extend(changed.iter().filter(|(_, value)| !value.is_empty()));
    page(&format!("{tenant}/oauth2/v2.0/authorize"), &parameters)
}

/// Redeems a code, with these parameters in the place of its own; an empty one is left out.
pub(crate) fn redeem(simulator: &Simulator, tenant: &str, code: &str, changed: &[(&str, &str)]) -> Response {
    let mut parameters = vec![
        ("client_id", CLIENT),
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("scope", "openid profile"),
        ("client_secret", SECRET),
    ];
    parameters.retain(|(name, _)| changed.iter().all(|(other, _)| other != name));
    parameters.extend(changed.iter().filter(|(_, value)| !value.is_empty()));
    simulator.handle(token_request(tenant, &parameters))
}

/// What came back to the application: the parameters of the redirect, by name.
pub(crate) fn answer(location: &str) -> BTreeMap<String, String> {
    let url = url::Url::parse(location).unwrap();
    assert_eq!(format!("{}{}", url.origin().ascii_serialization(), url.path()), CALLBACK);
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// The names of the parameters that came back.
pub(crate) fn names(answer: &BTreeMap<String, String>) -> Vec<&str> {
    answer.keys().map(String::as_str).collect()
}
