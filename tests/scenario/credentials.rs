//! Our own credential: renewed under way, refused, wrong; a certificate instead of a secret.

use harness::{SECRET, Stage, TENANT, at, minutes, seconds};
use serde_json::json;
use shared::{
    microsoft::tokens::ApplicationName,
    tenant::{Ability, State},
};
use simulator::{Alert, Certificate, ClientSecret};

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

#[test]
fn half_a_vault_entry_is_named_and_nothing_is_lost() {
    let stage = Stage::connected();
    stage.ticks(2);
    let damaged = shared::secret::Secret::new(r#"{"client_id":"x"}"#.to_owned());
    let put = stage.app.ports.vault.put("muster/app", "v2", &damaged, &[shared::ports::vault::Stage::Current], None);
    futures::executor::block_on(put).unwrap();
    stage.pass(minutes(90));
    stage.put(Alert::new("da1", stage.now() + seconds(5)));
    stage.ticks(2);
    let words = stage.capability().next_step;
    assert!(words.contains("muster/app") && words.contains("`credential` is missing"), "{words}");
    stage.store_application(&json!({"kind": "client_secret", "value": SECRET}), "v3");
    stage.ticks(2);
    assert_eq!(stage.ids(), ["da1"]);
}

#[test]
fn a_certificate_signs_what_entra_verifies() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let certificate = parameters.self_signed(&key).unwrap();
    let stage = Stage::new();
    stage.world(|world| {
        let application = world.application(harness::CLIENT).unwrap();
        application.secrets.clear();
        application.certificates.push(Certificate {
            key_id: "a0000000-0000-4000-8000-00000000000e".to_owned(),
            der: certificate.der().to_vec(),
            usable_from: None,
        });
    });
    let credential = json!({
        "kind": "certificate",
        "certificate_pem": certificate.pem(),
        "private_key_pem": key.serialize_pem(),
        "expires_at": "2030-01-01T00:00:00Z",
    });
    stage.store_application(&credential, "v2");
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
