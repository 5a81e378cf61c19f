//! Certificates that renew themselves: registered with a proof of possession, tried, and taken away a day later.

use harness::{HAND_MADE_CERTIFICATE, LOOK_ALIKE, Stage, keys, rotate, seconds};
use shared::{
    credential::{check::Kind, rotation::Disposition},
    ports::vault::Stage::Current,
};
use simulator::{Certificate, CredentialPropagation, Fault, Route};

/// Everything works here, and at once.
fn at_once(stage: &Stage) {
    stage.world(|world| world.credential_propagation = CredentialPropagation { least: seconds(0), most: seconds(0) });
}

fn thumbprint(stage: &Stage) -> String {
    stage.entry(Current).unwrap().certificate().unwrap().0.thumbprint().to_owned()
}

#[test]
fn a_certificate_is_replaced_under_continuous_polling_and_no_poll_fails() {
    let stage = Stage::certified(2030).with_short_tokens();
    let before = thumbprint(&stage);
    stage.begin("v2");
    let mut polls = 0;
    stage
        .drive(rotate(&stage.app, "v2"), |stage| {
            stage.assert_polls();
            polls += 1;
        })
        .unwrap();
    assert!(polls >= 60, "{polls}");
    assert_ne!(thumbprint(&stage), before);
    let end = stage.entry(Current).unwrap().expires_at.unwrap();
    let days = end.duration_since(stage.now()).as_hours() / 24;
    assert!((179..=180).contains(&days), "{days}");
    // The old one still works, and so it must for a day; both are of use to nobody else.
    assert_eq!(stage.certificates_at_entra().len(), 2);
    let refused = stage.simulator.log().iter().filter(|entry| entry.status == 401).count();
    assert!(refused > 0, "nothing flapped, so nothing was shown");
    assert_eq!(stage.graph_calls("addKey"), 1);
}

#[test]
fn a_day_later_the_certificate_that_nobody_names_any_more_is_taken_away() {
    let stage = Stage::certified(2030);
    stage.rotate("v2");
    stage.days(2);
    stage.check();
    assert_eq!(stage.certificates_at_entra().len(), 2, "AWSPREVIOUS names it");
    stage.rotate("v3");
    assert!(stage.certificates_at_entra().contains(HAND_MADE_CERTIFICATE), "not before a day is over");
    stage.days(2);
    let report = stage.check();
    let left = stage.certificates_at_entra();
    assert_eq!(left.len(), 2, "{report:?}");
    assert!(!left.contains(HAND_MADE_CERTIFICATE), "it was named by its key id, and so is ours");
    assert_eq!(stage.at_entra(), keys(&[LOOK_ALIKE]), "the secret of another system");
    assert_eq!(report.findings, [], "and nothing is to be said of that");
}

#[test]
fn a_registration_whose_answer_is_lost_is_found_again_or_done_twice_and_tidied() {
    for lag in [0, 18] {
        let stage = Stage::certified(2030);
        stage.world(|world| {
            world.credential_propagation = CredentialPropagation { least: seconds(lag), most: seconds(lag) };
            world.script(Route::GraphAddKey, [Fault::Broken { after: 0 }]);
        });
        stage.begin("v2");
        stage.drive(rotate(&stage.app, "v2"), |_| {}).expect_err("the answer is lost");
        stage.drive(rotate(&stage.app, "v2"), |_| {}).expect("it goes on where it stands");
        stage.pass(seconds(lag + 1));
        assert_eq!(stage.certificates_at_entra().len(), 2, "the one before and the new one, once");
        assert_eq!(stage.graph_calls("addKey") > 1, lag > 0, "a replica that lags behind does not show it");
    }
}

#[test]
fn with_its_last_certificate_over_an_application_gets_a_new_one_and_others_keep_theirs() {
    let stage = Stage::rotating();
    stage.store_certificate(2026, "v1-certificate");
    let foreign = "b0000000-0000-4000-8000-0000000000ce";
    stage.world(|world| {
        let application = world.application(harness::CLIENT).unwrap();
        let der = application.certificates[0].der.clone();
        application.certificates.push(Certificate { key_id: foreign.to_owned(), der, usable_from: None });
    });
    stage.rotate("v2");
    assert_eq!(stage.graph_calls("addKey"), 0, "nobody could sign a proof");
    let left = stage.certificates_at_entra();
    assert!(left.contains(foreign) && left.len() == 3, "{left:?}");
    stage.world(|world| world.application(harness::CLIENT).unwrap().secrets.clear());
    stage.pass(seconds(7200));
    stage.assert_polls();
}

#[test]
fn a_proof_that_graph_does_not_take_leaves_the_old_certificate_in_use() {
    let stage = Stage::certified(2030);
    at_once(&stage);
    stage.world(|world| world.script(Route::GraphAddKey, vec![Fault::Status(401); 12]));
    stage.begin("v2");
    let error = stage.drive(rotate(&stage.app, "v2"), |_| {}).expect_err("nobody takes our proof");
    assert_eq!(error.disposition(), Disposition::Retry);
    assert!(error.to_string().contains("proof"), "{error}");
    stage.assert_polls();
    stage.world(simulator::World::clear_scripts);
    stage.drive(rotate(&stage.app, "v2"), |_| {}).expect("the next try goes on");
    assert_eq!(stage.certificates_at_entra().len(), 2);
}

#[test]
fn a_certificate_of_which_graph_says_nothing_is_registered_by_a_later_try() {
    let stage = Stage::certified(2030);
    stage.begin("v2");
    stage.step("createSecret", "v2").unwrap();
    stage.world(|world| world.script(Route::GraphRead, vec![Fault::Status(503); 40]));
    let error = stage.step("setSecret", "v2").expect_err("only a list tells whether it is there already");
    assert!(error.to_string().contains("Graph"), "{error}");
    stage.world(simulator::World::clear_scripts);
    stage.step("setSecret", "v2").unwrap();
    assert_eq!(stage.certificates_at_entra().len(), 2);
}

#[test]
fn success_that_is_taken_back_again_promotes_nothing() {
    let stage = Stage::certified(2030);
    at_once(&stage);
    let before = thumbprint(&stage);
    stage.begin("v2");
    // Entra has said yes, and then forgets the new certificate while it earns its tokens.
    let mut tokens = 0;
    let error = stage.drive(rotate(&stage.app, "v2"), |stage| {
        tokens += 1;
        if tokens == 20 {
            stage.world(|world| {
                world
                    .application(harness::CLIENT)
                    .unwrap()
                    .certificates
                    .retain(|one| one.key_id == HAND_MADE_CERTIFICATE);
            });
        }
    });
    let error = error.expect_err("what is gone earns no token").to_string();
    assert!(error.contains("the old one stays current"), "{error}");
    assert_eq!(thumbprint(&stage), before);
    stage.assert_polls();
    stage.drive(rotate(&stage.app, "v2"), |_| {}).expect("it is registered again");
    assert_ne!(thumbprint(&stage), before);
}

#[test]
fn without_the_right_to_look_nothing_is_made_and_the_operator_reads_what_to_grant() {
    let stage = Stage::certified(2030);
    stage.world(|world| world.registration(harness::CLIENT).owners.clear());
    stage.begin("v2");
    let error = stage.drive(rotate(&stage.app, "v2"), |_| {}).expect_err("Graph refuses");
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
    assert!(error.to_string().contains("Application.ReadWrite.OwnedBy"), "{error}");
    assert_eq!(stage.graph_calls("addKey"), 0);
    let report = stage.check();
    assert!(report.findings.iter().any(|finding| finding.kind == Kind::MayNotRotate), "{report:?}");
}

#[test]
fn a_damaged_entry_is_named_and_what_it_replaced_still_works() {
    let stage = Stage::certified(2030);
    let raw = stage.raw_entry(Current);
    let pem = raw["credential"]["certificate_pem"].as_str().unwrap();
    for (field, value, words) in [
        ("certificate_pem", &pem[..pem.len() / 2], "The certificate is no PEM text"),
        ("private_key_pem", include_str!("../simulator/keys/unknown-signing-test-key.pem"), "do not belong together"),
    ] {
        let mut credential = raw["credential"].clone();
        credential[field] = value.into();
        stage.store_application(&credential, field);
        let report = stage.check();
        let finding = &report.findings[0];
        assert_eq!(finding.kind, Kind::Unusable, "{report:?}");
        assert!(finding.text.contains(words), "{}", finding.text);
        stage.store_application(&raw["credential"], &format!("{field}-mended"));
        stage.pass(seconds(7200));
        stage.assert_polls();
    }
}

#[test]
fn a_clock_ten_minutes_fast_or_slow_is_named_and_hinders_no_rotation() {
    for ahead in [10, -10] {
        let stage = Stage::certified(2030);
        stage.simulator.advance(harness::minutes(-ahead));
        stage.begin("v2");
        stage.drive(rotate(&stage.app, "v2"), |_| {}).unwrap();
        assert_eq!(stage.certificates_at_entra().len(), 2, "{ahead}");
        let heard = stage.heard();
        assert!(heard.contains("clock"), "{heard}");
    }
}
