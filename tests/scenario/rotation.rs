//! Client secrets that are renewed: Secrets Manager's traps, Entra's replicas, and other people's credentials.

use futures::executor::block_on;
use harness::{CLIENT, HAND_MADE, HOME, LOOK_ALIKE, SECRET, STEPS, Stage, at, keys, minutes, rotate, seconds};
use serde_json::json;
use shared::{
    audit::Action,
    credential::rotation::Disposition,
    ports::vault::Stage::{Current, Pending, Previous},
    secret::Secret,
};
use simulator::{CredentialPropagation, Fault, Route};

/// Everything works here, and at once.
fn at_once(stage: &Stage) {
    stage.world(|world| world.credential_propagation = CredentialPropagation { least: seconds(0), most: seconds(0) });
}

#[test]
fn a_rotation_under_continuous_polling_fails_no_poll() {
    let stage = Stage::rotating().with_short_tokens();
    stage.begin("v2");
    let mut polls = 0;
    let rotation = rotate(&stage.app, "v2");
    stage
        .drive(rotation, |stage| {
            stage.assert_polls();
            polls += 1;
        })
        .unwrap();
    // Five tokens, fifteen seconds apart, and a poll every second all the while.
    assert!(polls >= 60, "{polls}");
    assert_ne!(stage.key_id(Current), HAND_MADE);
    // On and on with the new one alone: the old one is taken away, as if nobody had kept it.
    stage.world(|world| world.application(CLIENT).unwrap().secrets.retain(|secret| secret.key_id != HAND_MADE));
    for _ in 0..60 {
        stage.pass(seconds(3));
        stage.assert_polls();
    }
    // Entra refused the new secret here and there before it was known everywhere, and only the rotation saw that.
    let refused = stage.simulator.log().iter().filter(|entry| entry.status == 401).count();
    assert!(refused > 0, "nothing flapped, so nothing was shown");
}

#[test]
fn the_trail_is_told_of_a_rotation_once() {
    let stage = Stage::rotating();
    let told = |stage: &Stage| -> Vec<String> {
        let deeds = stage.deeds().into_iter();
        deeds.filter(|(action, _)| *action == Action::CredentialRotated).map(|(_, detail)| detail).collect()
    };
    stage.rotate("v2");
    stage.step("finishSecret", "v2").unwrap();
    stage.days(1);
    stage.check();
    stage.step("finishSecret", "v2").unwrap();
    let end = stage.entry(Current).unwrap().expires_at.unwrap();
    assert_eq!(told(&stage), [format!("app: a new client secret, which ends on {end}.")]);
    stage.rotate("v3");
    assert_eq!(told(&stage).len(), 2);
}

#[test]
fn the_new_entry_says_when_it_ends_and_keeps_what_we_do_not_know() {
    let stage = Stage::rotating();
    let entry = json!({"client_id": CLIENT, "home_tenant_id": HOME, "owner": "Kim",
        "credential": {"kind": "client_secret", "value": SECRET, "key_id": HAND_MADE, "note": "made in March"}});
    let entry = Secret::new(entry.to_string());
    block_on(stage.app.ports.vault.put("muster/app", "v1b", &entry, &[Current], None)).unwrap();
    stage.rotate("v2");
    let entry = stage.raw_entry(Current);
    assert_eq!((&entry["owner"], &entry["credential"]["note"]), (&json!("Kim"), &json!("made in March")));
    assert_eq!(entry["retired_key_ids"], json!([HAND_MADE]));
    let end = stage.entry(Current).unwrap().expires_at.unwrap();
    let days = end.duration_since(stage.now()).as_hours() / 24;
    assert!((179..=180).contains(&days), "{days}");
    assert_eq!(stage.secret_text(&stage.key_id(Current)), entry["credential"]["value"].as_str().unwrap());
    // AWSPENDING is the platform's to take away.
    let stages = block_on(stage.app.ports.vault.describe("muster/app")).unwrap().stages;
    assert_eq!(stages["v2"], [Current, Pending]);
    assert_eq!(stages["v1b"], [Previous]);
}

#[test]
fn both_spellings_of_a_step_are_the_same_step() {
    let stage = Stage::rotating();
    stage.begin("v2");
    for name in ["create_secret", "set_secret", "test_secret", "finish_secret"] {
        stage.step(name, "v2").unwrap();
    }
    assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]));
    assert_eq!(stage.key_id(Previous), HAND_MADE);
}

#[test]
fn an_event_that_is_neither_step_nor_check_is_a_clear_error_and_changes_nothing() {
    let stage = Stage::rotating();
    let pace = shared::credential::rotation::Pace::new(std::time::Duration::from_secs(60), |_, _| {});
    for event in [
        json!({}),
        json!("createSecret"),
        json!({"Step": "dropSecret", "SecretId": "muster/app", "ClientRequestToken": "v2"}),
        json!({"Step": "createSecret", "ClientRequestToken": "v2"}),
        json!({"check": "everything", "scheduled_time": "2026-11-22T12:00:00Z"}),
    ] {
        let error = block_on(credential_rotation::handle(&stage.app, event.clone(), &pace)).unwrap_err();
        assert!(error.to_string().starts_with("the event is neither a step"), "{event}: {error}");
    }
    for id in ["other/app", "muster/signing", "muster/tenants/contoso"] {
        let event = json!({"Step": "createSecret", "SecretId": id, "ClientRequestToken": "v2"});
        assert!(block_on(credential_rotation::handle(&stage.app, event, &pace)).is_err(), "{id}");
    }
    // A version that nobody has begun to rotate to.
    for name in STEPS {
        assert!(stage.step(name, "v9").unwrap_err().to_string().contains("v9 is no version"), "{name}");
    }
    assert_eq!(stage.graph_calls("Password"), 0);
}

#[test]
fn a_lost_answer_leaves_exactly_one_secret_of_ours() {
    for (lost, faults) in [
        (1, vec![Fault::Broken { after: 0 }]),
        (1, vec![Fault::Truncated { after: 20 }]),
        (2, vec![Fault::Broken { after: 0 }, Fault::Broken { after: 40 }]),
    ] {
        let stage = Stage::rotating();
        stage.begin("v2");
        stage.world(|world| world.script(Route::GraphAddPassword, faults));
        for _ in 0..lost {
            let error = stage.step("createSecret", "v2").unwrap_err();
            assert_eq!(error.disposition(), Disposition::Retry, "{error}");
            assert!(stage.entry(Pending).is_none());
            stage.pass(seconds(20));
        }
        assert_eq!(stage.at_entra().len(), 2 + lost, "the answer was lost, the secret was not");
        stage.drive(rotate(&stage.app, "v2"), |_| {}).unwrap();
        stage.pass(seconds(20));
        assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]));
    }
}

#[test]
fn an_orphan_that_no_replica_showed_yet_is_gone_when_the_rotation_ends() {
    let stage = Stage::rotating();
    // Every replica learns late, so that the retry cannot see what the lost answer left.
    stage.world(|world| world.credential_propagation = CredentialPropagation { least: seconds(18), most: seconds(18) });
    stage.begin("v2");
    stage.world(|world| world.script(Route::GraphAddPassword, [Fault::Broken { after: 0 }]));
    stage.step("createSecret", "v2").unwrap_err();
    stage.step("createSecret", "v2").unwrap();
    stage.drive(rotate(&stage.app, "v2"), |_| {}).unwrap();
    assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]));
}

#[test]
fn a_step_that_is_repeated_changes_nothing() {
    let stage = Stage::rotating();
    stage.begin("v2");
    for name in STEPS {
        stage.step(name, "v2").unwrap();
        let (before, stored) = (stage.at_entra(), stage.key_id(Current));
        stage.step(name, "v2").unwrap();
        assert_eq!((stage.at_entra(), stage.key_id(Current)), (before, stored), "{name}");
    }
    let (before, stored) = (stage.at_entra(), stage.key_id(Current));
    // Secrets Manager repeats the whole rotation when it has not heard of its end.
    stage.drive(rotate(&stage.app, "v2"), |_| {}).unwrap();
    assert_eq!((stage.at_entra(), stage.key_id(Current)), (before, stored));
    assert_eq!(stage.graph_calls("addPassword"), 1);
}

#[test]
fn the_test_step_alone_tests_what_there_is() {
    let stage = Stage::rotating();
    // Rotation was switched on without rotating at once: an empty version, and only testSecret is called.
    stage.begin("v2");
    stage.step("testSecret", "v2").unwrap();
    // Or one with the current value.
    let copy = stage.raw_entry(Current).to_string();
    block_on(stage.app.ports.vault.put("muster/app", "v2", &Secret::new(copy), &[Pending], None)).unwrap();
    stage.step("testSecret", "v2").unwrap();
    assert_eq!(stage.graph_calls("/v1.0/"), 0, "Graph has nothing to do with it");
    // And it is a test: what Entra does not take fails it.
    stage.world(|world| world.application(CLIENT).unwrap().secrets.clear());
    let error = stage.step("testSecret", "v2").unwrap_err();
    assert!(error.to_string().contains("7000215"), "{error}");
}

#[test]
fn a_secret_that_flaps_is_not_promoted_before_it_has_settled() {
    let stage = Stage::rotating();
    stage.world(|world| world.credential_propagation = CredentialPropagation { least: minutes(2), most: minutes(2) });
    stage.begin("v2");
    stage.step("createSecret", "v2").unwrap();
    let made = stage.now();
    stage.step("setSecret", "v2").unwrap();
    stage.step("testSecret", "v2").unwrap();
    let took = stage.now().duration_since(made);
    assert!(took >= minutes(1), "five tokens in a row, fifteen seconds apart, take a minute: {took:?}");
    // One that never settles fails cleanly and inside the time there is, and is tested again from the start.
    let stage = Stage::rotating();
    stage.world(|world| world.credential_propagation = CredentialPropagation { least: minutes(90), most: minutes(90) });
    stage.begin("v2");
    stage.step("createSecret", "v2").unwrap();
    let begun = stage.now();
    let error = stage.step("testSecret", "v2").unwrap_err();
    assert!(stage.now().duration_since(begun) < minutes(6));
    assert_eq!(error.disposition(), Disposition::Retry, "{error}");
    assert_eq!(stage.key_id(Current), HAND_MADE);
    stage.pass(minutes(90));
    stage.drive(rotate(&stage.app, "v2"), |_| {}).unwrap();
    assert_eq!(stage.graph_calls("addPassword"), 1);
}

#[test]
fn what_is_not_ours_is_never_touched() {
    let stage = Stage::rotating();
    for number in 2..8 {
        stage.rotate(&format!("v{number}"));
        stage.days(30);
        stage.check();
    }
    assert!(stage.at_entra().contains(LOOK_ALIKE));
    let ours = keys(&[LOOK_ALIKE, &stage.key_id(Current), &stage.key_id(Previous)]);
    assert_eq!(stage.at_entra(), ours, "and of ours nothing is left over");
}

#[test]
fn the_adopted_first_secret_goes_a_day_after_nothing_names_it() {
    let stage = Stage::rotating();
    stage.rotate("v2");
    stage.days(60);
    stage.check();
    assert!(stage.at_entra().contains(HAND_MADE), "AWSPREVIOUS names it");
    stage.rotate("v3");
    stage.pass(minutes(23 * 60));
    stage.check();
    assert!(stage.at_entra().contains(HAND_MADE), "the current one is not a day old");
    stage.pass(minutes(60));
    stage.check();
    assert_eq!(stage.at_entra(), keys(&[LOOK_ALIKE, &stage.key_id(Current), &stage.key_id(Previous)]));
}

#[test]
fn a_first_secret_that_nobody_named_is_not_ours() {
    let stage = Stage::rotating();
    // Stored as the README shows it, without `key_id`.
    stage.store_application(&json!({"kind": "client_secret", "value": SECRET}), "v1b");
    stage.store_application(&json!({"kind": "client_secret", "value": SECRET}), "v1c");
    for number in 2..5 {
        stage.rotate(&format!("v{number}"));
        stage.days(30);
        stage.check();
    }
    assert!(stage.at_entra().contains(HAND_MADE));
    // Nor is one whose key id was mistyped: that is another system's.
    let stage = Stage::rotating();
    let mistyped = json!({"kind": "client_secret", "value": SECRET, "key_id": LOOK_ALIKE});
    stage.store_application(&mistyped, "v1b");
    for number in 2..5 {
        stage.rotate(&format!("v{number}"));
        stage.days(30);
        stage.check();
    }
    assert!(stage.at_entra().contains(LOOK_ALIKE));
}

#[test]
fn a_secret_that_another_entry_lives_by_is_not_removed() {
    let stage = Stage::rotating();
    // The console uses the same hand-made secret.
    let entry = stage.raw_entry(Current).to_string();
    block_on(stage.app.ports.vault.put("muster/console", "c1", &Secret::new(entry), &[Current], None)).unwrap();
    for number in 2..5 {
        stage.rotate(&format!("v{number}"));
        stage.days(30);
        stage.check();
    }
    assert!(stage.at_entra().contains(HAND_MADE));
}

#[test]
fn two_vaults_on_one_application_leave_each_other_alone() {
    let (here, there) = (Stage::rotating(), Stage::rotating());
    // The other installation works against this one's Microsoft.
    let (rotations, ports) = (there.rotations.clone(), there.app.ports.clone());
    let there = shared::App::new(here.app.config.clone(), ports, here.app.http.clone(), here.app.clock.clone());
    block_on(rotations.begin("muster/app", "v2")).unwrap();
    here.drive(rotate(&there, "v2"), |_| {}).unwrap();
    let entry = block_on(there.ports.vault.read("muster/app", Current, None)).unwrap();
    let theirs = shared::credential::entry::Entry::parse(&entry.value).unwrap().key_id.unwrap();
    for number in 2..5 {
        here.rotate(&format!("v{number}"));
        here.days(30);
        here.check();
    }
    assert!(here.at_entra().contains(&theirs));
}

#[test]
fn the_second_rotation_clears_away_what_the_first_left() {
    let stage = Stage::rotating();
    stage.begin("v2");
    // Both the answer and the chance to tidy up are lost: an orphan stays.
    stage.world(|world| {
        world.script(Route::GraphAddPassword, [Fault::Broken { after: 0 }]);
        world.script(Route::GraphRemovePassword, [Fault::Status(403), Fault::Status(403), Fault::Status(403)]);
    });
    stage.step("createSecret", "v2").unwrap_err();
    stage.pass(seconds(20));
    stage.drive(rotate(&stage.app, "v2"), |_| {}).unwrap();
    assert_eq!(stage.at_entra().len(), 4);
    stage.world(simulator::World::clear_scripts);
    stage.days(2);
    stage.rotate("v3");
    assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current), &stage.key_id(Previous)]));
}

#[test]
fn writes_that_come_too_close_are_repeated_in_seconds() {
    let stage = Stage::rotating();
    at_once(&stage);
    stage.world(|world| world.graph_write_spacing = seconds(5));
    stage.begin("v2");
    stage.world(|world| {
        world.script(Route::GraphAddPassword, [Fault::Status(409), Fault::Status(409), Fault::Broken { after: 0 }]);
        world.script(
            Route::GraphRead,
            [Fault::Status(503), Fault::Throttled { seconds: 7, header: true, words: false }],
        );
    });
    let begun = stage.now();
    stage.step("createSecret", "v2").unwrap_err();
    // The orphan goes right after the new one is made, and that is too close.
    stage.step("createSecret", "v2").unwrap();
    assert!(stage.now().duration_since(begun) < minutes(2));
    assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Pending)]));
}

#[test]
fn another_applications_secret_is_never_promoted() {
    let stage = Stage::rotating();
    for (field, other) in [("client_id", LOOK_ALIKE), ("home_tenant_id", harness::TENANT)] {
        let version = format!("v-{field}");
        stage.begin(&version);
        let mut entry = stage.raw_entry(Current);
        entry[field] = json!(other);
        let entry = Secret::new(entry.to_string());
        block_on(stage.app.ports.vault.put("muster/app", &version, &entry, &[Pending], None)).unwrap();
        for name in STEPS {
            let error = stage.step(name, &version).unwrap_err();
            assert!(error.to_string().contains("another application or another home tenant"), "{name}: {error}");
            assert_eq!(error.disposition(), Disposition::StartAnew);
        }
        block_on(stage.rotations.cancel("muster/app", &version)).unwrap();
    }
    assert_eq!((stage.key_id(Current), stage.graph_calls("Password")), (HAND_MADE.to_owned(), 0));
}

#[test]
fn an_expired_current_secret_is_the_operators_matter_unless_the_previous_one_still_works() {
    let stage = Stage::rotating();
    let expire = |stage: &Stage, key_id: &str| {
        stage.world(|world| {
            let secrets = &mut world.application(CLIENT).unwrap().secrets;
            secrets.iter_mut().filter(|secret| secret.key_id == key_id).for_each(|secret| secret.end = at(-1));
        });
    };
    expire(&stage, HAND_MADE);
    stage.begin("v2");
    let error = stage.step("createSecret", "v2").unwrap_err();
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
    let words = error.to_string();
    assert!(words.contains("7000222") && words.contains("muster vault put app"), "{words}");
    assert_eq!(stage.graph_calls("/v1.0/"), 0);
    // A good one behind a bad one: the rotation heals it.
    let stage = Stage::rotating();
    let bad = json!({"kind": "client_secret", "value": "pasted-wrongly"});
    stage.store_application(&bad, "v1b");
    stage.rotate("v2");
    assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]));
    stage.assert_polls();
    // And one that expires while the rotation is open is replaced by what is pending.
    let stage = Stage::rotating();
    at_once(&stage);
    stage.begin("v2");
    stage.step("createSecret", "v2").unwrap();
    expire(&stage, HAND_MADE);
    stage.drive(rotate(&stage.app, "v2"), |_| {}).unwrap();
    assert_ne!(stage.key_id(Current), HAND_MADE);
}

#[test]
fn without_the_right_nothing_changes_and_the_operator_reads_what_to_grant() {
    let stage = Stage::rotating();
    stage.world(|world| world.registration(CLIENT).owners.clear());
    stage.begin("v2");
    let error = stage.step("createSecret", "v2").unwrap_err();
    assert_eq!(error.disposition(), Disposition::NeedsOperator);
    let words = error.to_string();
    assert!(words.contains("Application.ReadWrite.OwnedBy") && words.contains("owner"), "{words}");
    let report = stage.check();
    assert!(report.findings.iter().any(|finding| finding.text.contains("may not change its own")), "{report:?}");
    assert_eq!(report.due, Vec::<String>::new());
    // The right is granted, and the same rotation goes on.
    stage.world(|world| world.registration(CLIENT).owners.push(CLIENT.to_owned()));
    stage.drive(rotate(&stage.app, "v2"), |_| {}).unwrap();
}

#[test]
fn when_graph_does_not_answer_the_rotation_waits_and_polls_go_on() {
    let stage = Stage::rotating().with_short_tokens();
    stage.begin("v2");
    for fault in [Fault::Status(503), Fault::Html(502), Fault::Broken { after: 0 }] {
        stage.world(|world| world.script(Route::GraphRead, vec![fault.clone(); 9]));
        let error = stage.drive(rotate(&stage.app, "v2"), Stage::assert_polls).unwrap_err();
        assert_eq!(error.disposition(), Disposition::Retry, "{error}");
        stage.world(simulator::World::clear_scripts);
    }
    assert_eq!((stage.key_id(Current), stage.graph_calls("addPassword")), (HAND_MADE.to_owned(), 0));
    stage.drive(rotate(&stage.app, "v2"), Stage::assert_polls).unwrap();
    assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]));
}

#[test]
fn a_secret_that_is_stored_is_promoted_though_graph_lists_nothing_any_more() {
    let stage = Stage::rotating();
    stage.begin("v2");
    stage.step("createSecret", "v2").unwrap();
    stage.world(|world| world.script(Route::GraphRead, vec![Fault::Status(503); 200]));
    for step in ["setSecret", "testSecret", "finishSecret"] {
        stage.step(step, "v2").unwrap();
    }
    assert_eq!(stage.key_id(Previous), HAND_MADE, "what may be left behind is the daily check's to look for");
}

#[test]
fn a_bad_moment_of_entra_says_nothing_about_a_credential() {
    let stage = Stage::rotating();
    stage.begin("v2");
    stage.step("createSecret", "v2").unwrap();
    stage.world(|world| world.script(Route::Token, [Fault::Aadsts(90_033)]));
    stage.step("setSecret", "v2").expect_err("whether the current one works is not known");
    stage.world(simulator::World::clear_scripts);
    stage.drive(rotate(&stage.app, "v2"), |_| {}).unwrap();
}

#[test]
fn without_an_identity_the_credential_before_vouches_and_a_federated_one_is_not_promoted() {
    let stage = Stage::rotating();
    stage.store_application(&json!({"kind": "federated"}), "v1-federated");
    stage.begin("v2");
    for step in ["createSecret", "setSecret"] {
        stage.step(step, "v2").unwrap();
    }
    let error = stage.step("testSecret", "v2").expect_err("nobody issues a token here").to_string();
    assert!(error.contains("MUSTER_FEDERATED_TOKEN_FILE"), "{error}");
    stage.assert_polls();
}
