//! Our own credential: renewed under way, refused, wrong; a certificate instead of a secret.

use harness::{SECRET, Stage, TENANT, at, minutes, seconds};
use serde_json::json;
use shared::{
    microsoft::tokens::ApplicationName,
    tenant::{Ability, State},
};
use simulator::{Alert, Application, Certificate, ClientSecret, Fault, Route, Tenant};

fn second_secret(stage: &Stage) {
    stage.world(|world| {
        let application = world.application(harness::CLIENT).unwrap();
        application.secrets.push(ClientSecret {
            key_id: "a0000000-0000-4000-8000-00000000000d".to_owned(),
            value: "the-second-secret".to_owned(),
            start: at(0),
            end: at(1_000_000),
            usable_from: None,
        });
    });
}

#[test]
fn a_new_secret_in_the_vault_is_used_without_a_missed_poll() {
    let stage = Stage::connected();
    stage.ticks(2);
    second_secret(&stage);
    stage.store_application(&json!({"kind": "client_secret", "value": "the-second-secret"}), "v2");
    stage.world(|world| world.application(harness::CLIENT).unwrap().secrets.remove(0));
    stage.pass(minutes(90));
    stage.put(Alert::new("da1", stage.now() + seconds(5)));
    stage.tick();
    assert_eq!(stage.ids(), ["da1"]);
    assert_eq!(stage.capability().status, Ability::Ok);
}

#[test]
fn a_credential_that_is_refused_is_read_afresh_before_it_is_given_up() {
    let stage = Stage::connected();
    second_secret(&stage);
    // Stored, with a mistake first, while the process still remembers the one before, which Entra has taken away.
    stage.store_application(&json!({"kind": "client_secret", "value": "mistyped"}), "v2");
    stage.store_application(&json!({"kind": "client_secret", "value": "the-second-secret"}), "v3");
    stage.world(|world| world.application(harness::CLIENT).unwrap().secrets.remove(0));
    let (name, tenant) = (ApplicationName::App, TENANT.parse().unwrap());
    let fresh = stage.app.tokens.defender(tenant, &name, true);
    assert!(futures::executor::block_on(fresh).is_ok(), "within the 30 seconds that an entry is believed");
}

#[test]
fn a_refused_current_credential_falls_back_to_the_previous_one() {
    let stage = Stage::connected();
    // Stored, but Entra does not know it yet.
    stage.store_application(&json!({"kind": "client_secret", "value": "not-yet-propagated"}), "v2");
    stage.pass(minutes(90));
    stage.put(Alert::new("da1", stage.now() + seconds(5)));
    stage.tick();
    assert_eq!(stage.ids(), ["da1"]);
}

#[test]
fn a_wrong_credential_is_the_operators_matter_and_nobody_elses() {
    let stage = Stage::connected();
    stage.ticks(2);
    stage.world(|world| world.application(harness::CLIENT).unwrap().secrets.clear());
    stage.pass(minutes(90));
    stage.ticks(2);
    assert_eq!(stage.view().state, State::CredentialFault);
    let words = stage.capability().next_step;
    assert!(words.starts_with("Operator:") && words.contains("7000215"), "{words}");
    assert!(!words.contains(SECRET));
    second_secret(&stage);
    stage.store_application(&json!({"kind": "client_secret", "value": "the-second-secret"}), "v2");
    stage.ticks(2);
    assert_eq!(stage.view().state, State::Active);
}

/// A current entry of this text, over one that works or, with nothing before it, over none.
fn stored_by_hand(stage: &Stage, text: &str, version: &str) {
    let text = shared::secret::Secret::new(text.to_owned());
    let put = stage.app.ports.vault.put("muster/app", version, &text, &[shared::ports::vault::Stage::Current], None);
    futures::executor::block_on(put).unwrap();
}

#[test]
fn the_application_before_the_current_one_does_not_stand_in_for_it() {
    let stage = Stage::connected();
    stage.ticks(2);
    // Replaced by another application, whose secret Entra does not take; the one before would still be let in.
    let other = "b0000000-0000-4000-8000-00000000c11e";
    let credential = json!({"kind": "client_secret", "value": "not-known-yet"});
    let entry = json!({"client_id": other, "home_tenant_id": harness::HOME, "credential": credential});
    stage.world(|world| {
        let application = Application { client_id: other.to_owned(), ..harness::application() };
        world.add_application(application);
    });
    let consents = Tenant::new(TENANT, "").consented(other, &[harness::ALERT_ROLE], at(-10_000)).consents;
    stage.tenant(|tenant| tenant.consents.extend(consents));
    stored_by_hand(&stage, &entry.to_string(), "v2");
    stage.pass(minutes(90));
    let before = stage.defender_calls().len();
    stage.ticks(2);
    assert_eq!(stage.defender_calls().len(), before, "nobody comes in as the application that was replaced");
    assert_eq!(stage.view().state, State::CredentialFault);
}

fn entry(credential: &serde_json::Value) -> String {
    json!({"client_id": harness::CLIENT, "home_tenant_id": harness::HOME, "credential": credential}).to_string()
}

#[test]
fn an_entry_that_a_slip_has_spoiled_leaves_the_one_before_it_at_work() {
    let certificate = certificate(2026, 2030);
    let (pem, key) = (certificate.pem.as_str(), certificate.key.as_str());
    let half = |pem: &str| pem[..pem.len() / 2].to_owned();
    for (text, words) in [
        ("{".to_owned(), "it is not JSON"),
        (r#"{"client_id":"x"}"#.to_owned(), "`credential` is missing"),
        (
            entry(&json!({"kind": "certificate", "certificate_pem": half(pem), "private_key_pem": key})),
            "The certificate is no PEM text",
        ),
        (
            entry(&json!({"kind": "certificate", "certificate_pem": pem, "private_key_pem": half(key)})),
            "The private key is no PEM text",
        ),
        (entry(&json!({"kind": "federated"})), "MUSTER_FEDERATED_TOKEN_FILE"),
        (entry(&json!({"kind": "client_secret", "value": "of-another-application"})), "AADSTS7000215"),
    ] {
        let stage = Stage::connected();
        stage.ticks(2);
        stored_by_hand(&stage, &text, "v2");
        stage.pass(minutes(90));
        stage.put(Alert::new("da1", stage.now() + seconds(5)));
        stage.ticks(2);
        assert_eq!((stage.ids(), stage.view().state), (vec!["da1".to_owned()], State::Active), "{words}");
        let heard = stage.heard();
        let warned = heard.lines().find(|line| line.contains("the current credential cannot be used"));
        let warned = warned.unwrap_or_else(|| panic!("{words}: nobody was warned"));
        assert!(warned.starts_with("WARN") && warned.contains("muster/app") && warned.contains(words), "{warned}");
    }
}

#[test]
fn half_a_vault_entry_with_nothing_before_it_is_named_and_nothing_is_lost() {
    let stage = Stage::connected();
    stage.ticks(2);
    for version in ["v2", "v3"] {
        stored_by_hand(&stage, r#"{"client_id":"x"}"#, version);
    }
    stage.pass(minutes(90));
    stage.put(Alert::new("da1", stage.now() + seconds(5)));
    stage.ticks(2);
    assert_eq!(stage.view().state, State::CredentialFault);
    let words = stage.capability().next_step;
    assert!(words.contains("muster/app") && words.contains("`credential` is missing"), "{words}");
    stage.store_application(&json!({"kind": "client_secret", "value": SECRET}), "v4");
    stage.ticks(2);
    assert_eq!(stage.ids(), ["da1"]);
}

struct Pem {
    pem: String,
    key: String,
    der: Vec<u8>,
}

fn certificate(from: i32, until: i32) -> Pem {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = parameters.self_signed(&key).unwrap();
    Pem { pem: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
}

/// The application has a certificate and nothing else, in the vault and at Entra.
fn with_certificate() -> Stage {
    let certificate = certificate(2026, 2030);
    let stage = Stage::new();
    stage.world(|world| {
        let application = world.application(harness::CLIENT).unwrap();
        application.secrets.clear();
        application.certificates.push(Certificate {
            key_id: "a0000000-0000-4000-8000-00000000000e".to_owned(),
            der: certificate.der,
            usable_from: None,
        });
    });
    let credential = json!({
        "kind": "certificate",
        "certificate_pem": certificate.pem,
        "private_key_pem": certificate.key,
        "expires_at": "2030-01-01T00:00:00Z",
    });
    stage.store_application(&credential, "v2");
    stage.store_application(&credential, "v3");
    stage
}

#[test]
fn a_clock_that_is_wrong_is_made_good_by_microsofts_and_named() {
    for (minutes_off, words) in [(20, "20 minutes ahead of"), (-20, "20 minutes behind")] {
        let stage = with_certificate();
        stage.app.clock.advance(minutes(minutes_off));
        stage.connect(TENANT).unwrap();
        let heard = stage.heard();
        let warned = heard.lines().find(|line| line.contains("this machine's clock is"));
        let warned = warned.unwrap_or_else(|| panic!("{words}: nobody was warned"));
        assert!(warned.starts_with("WARN") && warned.contains(words), "{warned}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_named_when_microsofts_time_does_not_help_either() {
    let stage = with_certificate();
    stage.app.clock.advance(minutes(10));
    stage.world(|world| world.script(Route::Token, std::iter::repeat_n(Fault::Aadsts(700_024), 4)));
    let error = stage.connect(TENANT).unwrap_err();
    assert!(error.contains("AADSTS700024"), "{error}");
    assert!(error.contains("This machine's clock is 10 minutes ahead of Microsoft's; set it right"), "{error}");
    // A clock that is right is not accused.
    let stage = with_certificate();
    stage.world(|world| world.script(Route::Token, std::iter::repeat_n(Fault::Aadsts(700_024), 2)));
    let error = stage.connect(TENANT).unwrap_err();
    assert!(error.contains("AADSTS700024") && !error.contains("minutes"), "{error}");
}

#[test]
fn a_certificate_signs_what_entra_verifies() {
    let stage = with_certificate();
    stage.connect(TENANT).unwrap();
    stage.put(Alert::new("da1", at(0) + seconds(5)));
    stage.tick();
    assert_eq!(stage.ids(), ["da1"]);
}

#[test]
fn the_secret_appears_nowhere() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(5)));
    stage.ticks(2);
    let everything = format!(
        "{:?} {:?} {:?} {:?}",
        stage.app,
        stage.view(),
        stage.simulator.log(),
        stage.lake.objects().keys().collect::<Vec<_>>()
    );
    assert!(!everything.contains(SECRET));
    assert!(!everything.contains("eyJ"), "no token either");
}
