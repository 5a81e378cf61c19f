//! Stories of signed assertions: by the application's certificate, and by an issuer outside Entra.

use crate::stage::*;
use serde_json::{Value, json};
use simulator::{Certificate, FederatedCredential, FederatedIssuer, Request, SigningKey, Simulator};

const ISSUER: &str = "https://00000000.tokens.sts.global.api.aws.example";
const SUBJECT: &str = "arn:aws:iam::000000000000:role/Puller";
const AUDIENCE: &str = "api://AzureADTokenExchange";

fn certificate_code(algorithm: Algorithm, change: impl FnOnce(&mut Value)) -> i64 {
    let mut claims = claims();
    change(&mut claims);
    code(simulator().handle(with_assertion(&certificate_assertion(algorithm, &claims))))
}

#[test]
fn both_header_forms_are_accepted_and_give_a_token_of_the_second_class() {
    for algorithm in [Algorithm::Ps256, Algorithm::Ps256Padded, Algorithm::Rs256] {
        let simulator = simulator();
        let body = body(simulator.handle(with_assertion(&certificate_assertion(algorithm, &claims()))));
        assert_eq!(payload(body["access_token"].as_str().unwrap())["appidacr"], "2", "{algorithm:?}");
        assert_eq!(simulator.log()[0].credential.as_deref(), Some("certificate"));
    }
}

#[test]
fn every_claim_of_an_assertion_is_judged() {
    let now = noon().as_second();
    let judged = |change: fn(&mut Value, i64)| certificate_code(Algorithm::Ps256, |claims| change(claims, now));
    assert_eq!(judged(|claims, now| claims["exp"] = (now - 299).into()), 0);
    assert_eq!(judged(|claims, now| claims["exp"] = (now - 300).into()), 700024);
    assert_eq!(judged(|claims, now| claims["nbf"] = (now + 300).into()), 0);
    assert_eq!(judged(|claims, now| claims["nbf"] = (now + 301).into()), 700024);
    assert_eq!(judged(|claims, _| claims["exp"] = Value::Null), 700024);
    assert_eq!(judged(|claims, _| claims["sub"] = "somebody".into()), 700021);
    assert_eq!(judged(|claims, _| claims["jti"] = Value::Null), 50027);
    assert_eq!(judged(|claims, _| claims["aud"] = format!("https://{LOGIN}/{HOME}/oauth2/v2.0/token").into()), 700023);
    assert_eq!(
        judged(|claims, _| claims["aud"] = format!("https://other.example/{TENANT}/oauth2/v2.0/token").into()),
        700023
    );
    assert_eq!(judged(|claims, _| claims["aud"] = format!("https://{LOGIN}/{TENANT}/oauth2/token").into()), 700023);
    assert_eq!(judged(|claims, _| claims["aud"] = format!("https://{LOGIN}").into()), 700023);
}

#[test]
fn a_signature_is_verified_and_a_certificate_must_be_registered() {
    let good = certificate_assertion(Algorithm::Ps256, &claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let other = certificate_assertion(Algorithm::Ps256, &json!({"iss": CLIENT}));
    let forged = format!("{signed}.{}", other.rsplit_once('.').unwrap().1);
    assert_eq!(code(simulator().handle(with_assertion(&forged))), 700027);
    assert_eq!(code(simulator().handle(with_assertion("not.a.token"))), 50027);

    let simulator = simulator();
    simulator.world(|world| {
        let registered: &mut Vec<Certificate> = &mut world.application(CLIENT).unwrap().certificates;
        registered[0].usable_from = Some(at("2026-06-01T12:00:30Z"));
    });
    assert_eq!(code(simulator.handle(with_assertion(&good))), 700027);
    simulator.advance(seconds(30));
    assert_eq!(code(simulator.handle(with_assertion(&good))), 0);
    simulator.world(|world| world.application(CLIENT).unwrap().certificates.clear());
    assert_eq!(code(simulator.handle(with_assertion(&good))), 700027);
}

#[test]
fn a_certificate_outside_its_validity_is_refused() {
    let simulator = simulator();
    // The test certificate is valid for the year 2026.
    for (now, expected) in
        [("2026-12-31T23:59:59Z", 0), ("2027-01-01T00:00:01Z", 1000502), ("2025-12-31T23:59:59Z", 1000502)]
    {
        simulator.set_now(at(now));
        let mut claims = claims();
        claims["nbf"] = at(now).as_second().into();
        claims["exp"] = (at(now).as_second() + 600).into();
        simulator.world(|world| {
            world.tenant(TENANT).unwrap().consents[0].service_principal_from = at("2025-01-01T00:00:00Z");
        });
        assert_eq!(
            code(simulator.handle(with_assertion(&certificate_assertion(Algorithm::Rs256, &claims)))),
            expected,
            "{now}"
        );
    }
}

#[test]
fn a_mixture_the_facts_do_not_mention_is_not_guessed() {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "x"});
    let key = include_str!("../keys/client-test-key.pem");
    let simulator = simulator();
    let response = simulator.handle(with_assertion(&sign(Algorithm::Rs256, key, &header, &claims())));
    assert_eq!(response.status, 501);
    assert_eq!(simulator.refusals().len(), 1);
}

fn issuer_key() -> SigningKey {
    SigningKey::from_pem(include_str!("../keys/issuer-test-key.pem"), "issuer-key").unwrap()
}

fn federated() -> Simulator {
    let simulator = simulator();
    simulator.world(|world| {
        let jwks = json!({"keys": [issuer_key().jwk()]});
        world.add_issuer(FederatedIssuer { issuer: ISSUER.into(), jwks, usable_from: None });
        world.application(CLIENT).unwrap().federated.push(FederatedCredential {
            name: "aws".into(),
            issuer: ISSUER.into(),
            subject: SUBJECT.into(),
            audience: AUDIENCE.into(),
            usable_from: None,
        });
    });
    simulator
}

fn external_claims() -> Value {
    let now = noon().as_second();
    json!({"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "exp": now + 300, "jti": "1"})
}

#[test]
fn a_federated_assertion_buys_a_token() {
    let simulator = federated();
    let body = body(simulator.handle(with_assertion(&issuer_key().sign(&external_claims()))));
    assert_eq!(payload(body["access_token"].as_str().unwrap())["appidacr"], "2");
    assert_eq!(simulator.log()[0].credential.as_deref(), Some("federated"));
}

#[test]
fn issuer_subject_and_audience_match_to_the_letter() {
    let judged = |claim: &str, value: Value| {
        let mut claims = external_claims();
        claims[claim] = value;
        code(federated().handle(with_assertion(&issuer_key().sign(&claims))))
    };
    assert_eq!(judged("aud", json!([AUDIENCE])), 0);
    assert_eq!(judged("iss", "https://somebody.example".into()), 700211);
    assert_eq!(judged("iss", ISSUER.to_uppercase().into()), 7002137);
    assert_eq!(judged("sub", "arn:aws:iam::000000000000:role/Other".into()), 700213);
    assert_eq!(judged("sub", SUBJECT.to_lowercase().into()), 7002138);
    assert_eq!(judged("aud", "api://other".into()), 700212);
    assert_eq!(judged("exp", (noon().as_second() - 300).into()), 700024);
}

#[test]
fn a_federated_signature_is_verified_with_the_issuer_s_key_and_rs256_only() {
    let claims = external_claims();
    let header = json!({"alg": "RS256", "kid": "issuer-key"});
    let stranger = sign(Algorithm::Rs256, include_str!("../keys/client-test-key.pem"), &header, &claims);
    assert_eq!(code(federated().handle(with_assertion(&stranger))), 700027);
    let header = json!({"alg": "PS256", "kid": "issuer-key"});
    let wrong_algorithm = sign(Algorithm::Ps256, include_str!("../keys/issuer-test-key.pem"), &header, &claims);
    assert_eq!(code(federated().handle(with_assertion(&wrong_algorithm))), 50027);
    let unknown_key = SigningKey::from_pem(include_str!("../keys/issuer-test-key.pem"), "other").unwrap();
    assert_eq!(code(federated().handle(with_assertion(&unknown_key.sign(&claims)))), 700027);
}

#[test]
fn a_new_federated_credential_propagates() {
    let simulator = federated();
    simulator.world(|world| {
        world.application(CLIENT).unwrap().federated[0].usable_from = Some(at("2026-06-01T12:02:00Z"));
    });
    let assertion = issuer_key().sign(&external_claims());
    assert_eq!(code(simulator.handle(with_assertion(&assertion))), 70021);
    simulator.advance(seconds(120));
    assert_eq!(code(simulator.handle(with_assertion(&assertion))), 0);
}

#[test]
fn an_issuer_that_entra_meets_for_the_first_time_is_believed_later() {
    let simulator = simulator();
    simulator.world(|world| {
        let credential = federated().world(|other| other.application(CLIENT).unwrap().federated[0].clone());
        world.application(CLIENT).unwrap().federated.push(credential);
    });
    let issuer = json!({"issuer": ISSUER, "jwks": {"keys": [issuer_key().jwk()]}, "usable_from": "20m"});
    let posted = Request::post("/_simulator/issuers", "application/json", issuer.to_string());
    assert_eq!(simulator.handle(posted).status, 200);
    let token = || {
        let mut claims = external_claims();
        claims["exp"] = (simulator.now().as_second() + 300).into();
        code(simulator.handle(with_assertion(&issuer_key().sign(&claims))))
    };
    assert_eq!(token(), 7000272);
    simulator.advance(seconds(20 * 60));
    assert_eq!(token(), 0);
}

#[test]
fn a_rotated_key_is_unknown_until_it_is_published() {
    let simulator = federated();
    let other = SigningKey::from_pem(include_str!("../keys/issuer-test-key.pem"), "other").unwrap();
    let assertion = other.sign(&external_claims());
    assert_eq!(code(simulator.handle(with_assertion(&assertion))), 700027);
    let issuer = json!({"issuer": ISSUER, "jwks": {"keys": [issuer_key().jwk(), other.jwk()]}});
    let posted = Request::post("/_simulator/issuers", "application/json", issuer.to_string());
    assert_eq!(simulator.handle(posted).status, 200);
    assert_eq!(code(simulator.handle(with_assertion(&assertion))), 0);
    let before = issuer_key().sign(&external_claims());
    assert_eq!(code(simulator.handle(with_assertion(&before))), 0, "both are published");
}

#[test]
fn an_issuer_whose_keys_cannot_be_fetched_is_a_passing_trouble() {
    let simulator = simulator();
    simulator.world(|world| {
        let elsewhere = "https://unreachable.example";
        world.application(CLIENT).unwrap().federated.push(FederatedCredential {
            name: "elsewhere".into(),
            issuer: elsewhere.into(),
            subject: SUBJECT.into(),
            audience: AUDIENCE.into(),
            usable_from: None,
        });
    });
    let mut claims = external_claims();
    claims["iss"] = "https://unreachable.example".into();
    let response = simulator.handle(with_assertion(&issuer_key().sign(&claims)));
    assert_eq!((response.status, code(response)), (503, 90006));
}

#[test]
fn the_first_version_s_endpoint_is_an_audience_only_there() {
    let mut claims = claims();
    claims["aud"] = format!("https://{LOGIN}/{TENANT}/oauth2/token").into();
    let assertion = certificate_assertion(Algorithm::Ps256, &claims);
    let mut request = with_assertion(&assertion);
    assert_eq!(code(simulator().handle(request.clone())), 700023);
    request.target = format!("/{TENANT}/oauth2/token");
    request.body.extend_from_slice(b"&resource=https://api.securitycenter.microsoft.com");
    assert_eq!(code(simulator().handle(request)), 0);
}
