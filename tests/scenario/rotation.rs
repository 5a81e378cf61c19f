//! Client secrets that are renewed: Secrets Manager's traps, Entra's replicas, and other people's credentials.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use futures::executor::block_on;
use harness::{CLIENT, HAND_MADE, HOME, LOOK_ALIKE, SECRET, STEPS, Stage, at, minutes, rotate, seconds};
use serde_json::json;
use shared::{
    App,
    credential::{
        check::{Kind, Severity},
        rotation::{Disposition, Pace},
    },
    ports::{
        Ports,
        vault::{
            Description, Schedule,
            Stage::{self as Label, Current, Pending, Previous},
            Vault, VaultError, Version,
        },
    },
    secret::Secret,
};
use simulator::{CredentialPropagation, Fault, Route, Tenant};

fn keys(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

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
    let there = shared::App::new(
        here.app.config.clone(),
        there.app.ports.clone(),
        here.app.http.clone(),
        here.app.clock.clone(),
    );
    block_on(there.ports.vault.begin_rotation("muster/app", "v2")).unwrap();
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
        block_on(stage.app.ports.vault.cancel_rotation("muster/app", &version)).unwrap();
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

/// One expired vendor secret took every tenant of others down, twice in the same product (n8n#22567, n8n#25368).
#[test]
fn pain_06_one_expiring_secret_takes_nobody_down() {
    let stage = Stage::rotating().with_short_tokens();
    let ends = stage.now() + minutes(120 * 24 * 60);
    stage.world(|world| {
        let secrets = &mut world.application(CLIENT).unwrap().secrets;
        let hand_made = secrets.iter_mut().find(|secret| secret.key_id == HAND_MADE).unwrap();
        (hand_made.start, hand_made.end) = (at(0), ends);
    });
    let daily = |stage: &Stage| stage.drive(local::rotate::daily(&stage.app), Stage::assert_polls);
    // Before half of its life is over nothing happens; then it is replaced, and replaced again.
    let (mut lives, mut current) = (vec![], HAND_MADE.to_owned());
    for day in 1..=400 {
        stage.days(1);
        daily(&stage);
        stage.assert_polls();
        assert!(stage.at_entra().len() <= 4, "day {day}: {:?}", stage.at_entra());
        if stage.key_id(Current) != current {
            current = stage.key_id(Current);
            lives.push(day);
        }
    }
    assert_eq!(lives[0], 60, "{lives:?}");
    assert!(lives.windows(2).all(|pair| (90..=91).contains(&(pair[1] - pair[0]))), "{lives:?}");
    // Two live credentials always: each polls alone.
    for stage_of in [Current, Previous] {
        let token = block_on(stage.app.tokens.by_credential(
            HOME.parse().unwrap(),
            &stage.entry(stage_of).unwrap().application,
            stage.app.config.graph_audience(),
        ));
        assert!(token.is_ok(), "{stage_of:?}: {token:?}");
    }
}

#[test]
fn pain_06_a_secret_that_nobody_can_renew_is_warned_about_in_good_time() {
    let stage = Stage::rotating();
    stage.world(|world| {
        world.registration(CLIENT).owners.clear();
        let secrets = &mut world.application(CLIENT).unwrap().secrets;
        secrets.iter_mut().for_each(|secret| secret.end = at(100 * 24 * 60));
    });
    let ends = json!({"kind": "client_secret", "value": SECRET, "key_id": HAND_MADE, "expires_at": at(100 * 24 * 60)});
    stage.store_application(&ends, "v1b");
    let mut warned = Vec::new();
    for day in 1..=101 {
        stage.days(1);
        let expiry = stage.check().findings.into_iter().find(|finding| finding.kind == Kind::Expiry);
        if let Some(finding) = expiry
            && warned.last().is_none_or(|(_, severity, text): &(i64, Severity, String)| {
                *severity != finding.severity || text.split(',').nth(1) != finding.text.split(',').nth(1)
            })
        {
            assert!(finding.text.contains("muster vault put app"), "{}", finding.text);
            warned.push((day, finding.severity, finding.text));
        }
    }
    let days: Vec<_> = warned.iter().map(|(day, severity, _)| (*day, *severity)).collect();
    assert_eq!(
        days,
        [
            (70, Severity::Notice),
            (86, Severity::Warning),
            (93, Severity::Warning),
            (99, Severity::Critical),
            (100, Severity::Critical),
        ],
        "{warned:#?}"
    );
}

/// Rotations that half-commit and propagate slowly (microsoft-graph-docs#17966, hashicorp/vault-plugin-secrets-azure#64).
#[test]
fn pain_15_a_half_committed_rotation_keeps_the_current_secret_working_and_converges() {
    for broken_off in STEPS {
        let stage = Stage::rotating().with_short_tokens();
        stage.begin("v2");
        for name in STEPS.iter().take_while(|name| **name != broken_off) {
            stage.step(name, "v2").unwrap();
        }
        // The step is begun and never ended: whatever it had done is done.
        {
            let mut begun = Box::pin(harness::step(&stage.app, broken_off, "v2"));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _half_done = begun.as_mut().poll(&mut context);
        }
        // Nobody comes back to it for a day; everything goes on.
        for _ in 0..24 {
            stage.pass(minutes(60));
            stage.assert_polls();
        }
        let report = stage.check();
        if broken_off != "finishSecret" {
            let stuck = report.findings.iter().any(|finding| finding.kind == Kind::RotationStuck);
            assert!(stuck && report.due == ["muster/app"], "{broken_off}: {report:?}");
        }
        // The host resumes it under its own token.
        stage.drive(local::rotate::daily(&stage.app), Stage::assert_polls);
        assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]), "{broken_off}");
        assert_eq!(block_on(stage.app.ports.vault.describe("muster/app")).unwrap().version(Current), Some("v2"));
    }
}

#[test]
fn a_rotation_that_can_never_succeed_is_given_up_for_another() {
    let stage = Stage::rotating();
    stage.begin("v2");
    stage.step("createSecret", "v2").unwrap();
    // Somebody tidies up in the portal.
    let pending = stage.key_id(Pending);
    stage.world(|world| world.application(CLIENT).unwrap().secrets.retain(|secret| secret.key_id != pending));
    let first = stage.drive(local::rotate::run(&stage.app, "app"), |_| {}).unwrap_err();
    assert!(first.to_string().contains("goes on where it stands"), "{first}");
    stage.pass(minutes(60));
    stage.drive(local::rotate::run(&stage.app, "app"), |_| {}).unwrap();
    let described = block_on(stage.app.ports.vault.describe("muster/app")).unwrap();
    assert!(described.version(Current).is_some_and(|version| version != "v2") && described.open_rotation().is_none());
    assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]));
}

#[test]
fn extra_privileges_and_drift_are_found() {
    let stage = Stage::rotating();
    assert_eq!(stage.check().findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), []);
    stage.world(|world| {
        world.add_tenant(Tenant::new(HOME, "Provider").consented(
            CLIENT,
            &["Application.ReadWrite.OwnedBy", "Application.Read.All"],
            at(-10_000),
        ));
        let tenant = Tenant::new(harness::TENANT, "Contoso");
        world.add_tenant(tenant.consented(CLIENT, &[harness::ALERT_ROLE, "Machine.Isolate"], at(-10_000)));
    });
    let unknown = json!({"kind": "client_secret", "value": SECRET, "key_id": "b0000000-0000-4000-8000-00000000000b"});
    stage.store_application(&unknown, "v1b");
    let report = stage.check();
    let text = |kind| {
        let finding = report.findings.iter().find(|finding| finding.kind == kind);
        finding.unwrap_or_else(|| panic!("{report:?}")).text.clone()
    };
    assert!(text(Kind::ExtraPrivileges).contains("Application.Read.All, Machine.Isolate"), "{report:?}");
    assert!(text(Kind::Drift).contains("b0000000-0000-4000-8000-00000000000b"), "{report:?}");
    stage.world(|world| world.application(CLIENT).unwrap().secrets.clear());
    let report = stage.check();
    assert!(
        report.findings.iter().any(|finding| finding.kind == Kind::Refused && finding.severity == Severity::Critical)
    );
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains(SECRET) && !format!("{report:?}").contains(SECRET));
}

#[test]
fn one_entry_that_cannot_be_read_does_not_hide_the_others() {
    let stage = Stage::rotating();
    for (name, text) in [
        ("muster/console", "half an entry".to_owned()),
        ("muster/signing", json!({"key": "x"}).to_string()),
        ("muster/something/else", "whatever".to_owned()),
        ("muster/tenants/a0000000-0000-4000-8000-0000000000aa", json!({"client_id": CLIENT}).to_string()),
    ] {
        block_on(stage.app.ports.vault.put(name, "v1", &Secret::new(text), &[Current], None)).unwrap();
    }
    let report = stage.check();
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.vault.as_str(), finding.kind)).collect();
    let own = "muster/tenants/a0000000-0000-4000-8000-0000000000aa";
    assert_eq!((report.checked, found), (3, vec![("muster/console", Kind::Unusable), (own, Kind::Unusable)]));
}

/// A vault as AWS's: it knows secrets by their ARNs too, and takes nothing from a rotation without its token.
#[derive(Debug)]
struct Strict {
    vault: Arc<dyn Vault>,
    tokens: Mutex<Vec<Option<String>>>,
}

const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:muster/app-AbC12x";

fn by_arn(id: &str) -> &str {
    if id == ARN { "muster/app" } else { id }
}

#[async_trait::async_trait]
impl Vault for Strict {
    async fn read(&self, name: &str, stage: Label, version: Option<&str>) -> Result<Version, VaultError> {
        self.vault.read(by_arn(name), stage, version).await
    }

    async fn put(
        &self,
        name: &str,
        version: &str,
        value: &Secret<String>,
        stages: &[Label],
        rotation_token: Option<&str>,
    ) -> Result<(), VaultError> {
        self.tokens.lock().unwrap().push(rotation_token.map(str::to_owned));
        self.vault.put(by_arn(name), version, value, stages, rotation_token).await
    }

    async fn begin_rotation(&self, name: &str, version: &str) -> Result<(), VaultError> {
        self.vault.begin_rotation(by_arn(name), version).await
    }

    async fn cancel_rotation(&self, name: &str, version: &str) -> Result<(), VaultError> {
        self.vault.cancel_rotation(by_arn(name), version).await
    }

    async fn promote(&self, name: &str, to: &str, from: &str) -> Result<(), VaultError> {
        self.vault.promote(by_arn(name), to, from).await
    }

    async fn describe(&self, name: &str) -> Result<Description, VaultError> {
        let next = Some(at(-60));
        Ok(Description { schedule: Schedule::Platform { next }, ..self.vault.describe(by_arn(name)).await? })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, VaultError> {
        self.vault.list(prefix).await
    }
}

#[test]
fn the_platforms_token_and_arn_are_handed_on_as_they_came() {
    let stage = Stage::rotating();
    let strict = Arc::new(Strict { vault: stage.app.ports.vault.clone(), tokens: Mutex::default() });
    let ports = Ports { vault: strict.clone(), ..stage.app.ports.clone() };
    let app = App::new(stage.app.config.clone(), ports, stage.app.http.clone(), stage.app.clock.clone());
    stage.begin("v2");
    let pace = Pace::new(std::time::Duration::from_secs(890), |_, _| {});
    for name in STEPS {
        let event = json!({"Step": name, "SecretId": ARN, "ClientRequestToken": "v2", "RotationToken": "t-o-k-e-n"});
        stage.drive(credential_rotation::handle(&app, event, &pace), |_| {}).unwrap();
    }
    assert_eq!(*strict.tokens.lock().unwrap(), [Some("t-o-k-e-n".to_owned())]);
    assert_ne!(stage.key_id(Current), HAND_MADE);
    // Whoever has a platform that schedules leaves the rotating to it, and hears when that does not happen.
    stage.days(200);
    let event = json!({"check": "credentials", "scheduled_time": stage.now()});
    let answer = stage.drive(credential_rotation::handle(&app, event, &pace), |_| {}).unwrap();
    let credential_rotation::Answer::Checked(report) = answer else { panic!("{answer:?}") };
    assert!(report.findings.iter().any(|finding| finding.kind == Kind::RotationOverdue), "{report:?}");
    assert_eq!(report.due, Vec::<String>::new());
}
