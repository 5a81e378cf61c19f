//! Microsoft throttles, fails, breaks off; tenants do not disturb each other.

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use futures::executor::block_on;
use harness::{ALERT_ROLE, CLIENT, Stage, TENANT, at, minutes, seconds};
use serde_json::Value;
use shared::{
    consent::connect::{NewConnection, connect},
    tenant::{Ability, Feed},
};
use simulator::{Alert, Fault, Flood, Route, Tenant};

#[test]
fn pain_11_a_throttled_tenant_resumes_without_loss_or_repeat() {
    for (header, words) in [(true, true), (false, true), (false, false)] {
        let stage = Stage::connected();
        stage.ticks(2);
        stage.put(Alert::new("da1", stage.now() + seconds(10)));
        stage.script([Fault::Throttled { seconds: 100, header, words }]);
        stage.tick();
        let asleep = stage.capability();
        assert_eq!(asleep.status, Ability::Throttled);
        stage.simulator.clear_log();
        if header || words {
            stage.tick();
            assert_eq!(stage.simulator.log().len(), 0, "nobody asks while Microsoft wants quiet");
        }
        stage.ticks(2);
        assert_eq!(stage.ids(), ["da1"]);
        assert_eq!(stage.capability().status, Ability::Ok);
        stage.assert_exactly_once();
    }
}

#[test]
fn pain_11_the_quota_itself_is_only_weather() {
    let stage = Stage::with(&[("MUSTER_PAGE_SIZE", "10")]);
    stage.world(|world| world.quota.per_minute = 20);
    stage.connect(TENANT).unwrap();
    for n in 0..200 {
        stage.put(Alert::new(&format!("da{n}"), at(0) + jiff::SignedDuration::from_millis(n * 250)));
    }
    stage.ticks(60);
    assert_eq!(stage.ids().len(), 200);
    stage.assert_exactly_once();
}

#[test]
fn four_twenty_nine_then_five_hundred_then_normal_loses_nothing() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.script([Fault::Throttled { seconds: 8, header: true, words: true }, Fault::Status(500)]);
    stage.ticks(3);
    assert_eq!(stage.ids(), ["da1"]);
    stage.assert_exactly_once();
}

#[test]
fn pain_04_a_poison_query_never_freezes_a_tenant() {
    let stage = Stage::connected();
    for n in 0..40 {
        stage.put(Alert::new(&format!("da{n:02}"), at(0) + seconds(n)));
    }
    stage.tenant(|tenant| tenant.alerts.poison.insert("da17".to_owned()));
    stage.ticks(6);
    assert_eq!(stage.ids().len(), 40, "all the others, and the poisoned one without evidence");
    let pending =
        |event: &&Value| event.pointer("/metadata/labels/0").and_then(Value::as_str) == Some("evidence_pending");
    let events = stage.events();
    let bare: Vec<&Value> = events.iter().filter(pending).collect();
    assert_eq!(bare.len(), 1, "{:#?}", events.iter().find(|event| event["finding_info"]["uid"] == "da17"));
    assert_eq!(bare[0]["finding_info"]["uid"], "da17");
    assert_eq!(stage.capability().status, Ability::Ok);
    stage.assert_exactly_once();

    // Microsoft recovers; the evidence follows in an event of its own, once.
    stage.tenant(|tenant| tenant.alerts.poison.clear());
    stage.ticks(200);
    let completed: Vec<Value> = stage
        .events()
        .into_iter()
        .filter(|event| event.pointer("/metadata/labels/0").and_then(Value::as_str) == Some("evidence_completed"))
        .collect();
    assert_eq!(completed.len(), 1);
    assert!(completed[0]["evidences"].as_array().unwrap().len() > 1);
    stage.assert_exactly_once();
}

#[test]
fn pain_04_the_identical_failing_request_is_not_sent_again_and_again() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.ticks(2);
    stage.script(vec![Fault::Status(500); 1000]);
    stage.simulator.clear_log();
    stage.ticks(5);
    let calls = stage.defender_calls();
    assert!(calls.len() <= 10, "{} calls in five ticks of an outage", calls.len());
    assert_eq!(stage.capability().status, Ability::Failing);
}

#[test]
fn an_outage_ends_and_nothing_was_parked_or_lost() {
    let stage = Stage::connected();
    stage.ticks(2);
    for n in 0..30 {
        stage.put(Alert::new(&format!("da{n:02}"), stage.now() + minutes(n)));
    }
    stage.script(vec![Fault::Status(503); 40]);
    stage.ticks(30);
    stage.ticks(40);
    assert_eq!(stage.view().parked, 0);
    assert_eq!(stage.ids().len(), 30);
    assert_eq!(stage.capability().status, Ability::Ok);
    stage.assert_exactly_once();
}

#[test]
fn a_window_that_fails_for_good_is_parked_and_tried_again_hourly() {
    let stage = Stage::with(&[("MUSTER_FIRST_LOOK_DAYS", "0")]);
    stage.connect(TENANT).unwrap();
    stage.ticks(2);
    let poisoned = stage.now() + seconds(10);
    stage.put(Alert::new("da-poison", poisoned));
    stage.tenant(|tenant| tenant.alerts.unanswerable.insert("da-poison".to_owned()));
    for n in 1..30 {
        stage.put(Alert::new(&format!("da{n:02}"), stage.now() + minutes(n)));
    }
    stage.ticks(35);
    assert_eq!(stage.ids().len(), 29, "everything but the window that Microsoft cannot answer");
    assert_eq!(stage.view().parked, 1, "the window is kept, and said so");
    stage.tenant(|tenant| tenant.alerts.unanswerable.clear());
    stage.ticks(120);
    assert_eq!(stage.ids().len(), 30);
    stage.assert_exactly_once();
}

#[test]
fn pain_18_a_token_that_expires_mid_run_is_renewed_and_the_page_resumed() {
    let stage = Stage::new();
    stage.world(|world| world.token_lifetime = seconds(60));
    stage.connect(TENANT).unwrap();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.put(Alert::new("da2", at(0) + seconds(20)));
    stage.script([Fault::ExpiredToken, Fault::Normal, Fault::ExpiredToken]);
    stage.ticks(1);
    assert_eq!(stage.ids(), ["da1", "da2"], "within the very tick");
    stage.ticks(10);
    assert_eq!(stage.capability().status, Ability::Ok);
    stage.assert_exactly_once();
}

#[test]
fn slow_truncated_and_broken_answers_lose_nothing() {
    for fault in [
        Fault::Truncated { after: 100 },
        Fault::Truncated { after: 2500 },
        Fault::Broken { after: 0 },
        Fault::Broken { after: 700 },
        Fault::Slow { pause: seconds(1), chunk: 400 },
        Fault::Slow { pause: seconds(60), chunk: 4000 },
        Fault::Html(200),
        Fault::Html(503),
    ] {
        let stage = Stage::connected();
        stage.put(Alert::new("da1", at(0) + seconds(10)));
        // Once for the look, once for the fetch.
        stage.script([fault.clone(), Fault::Normal, fault.clone()]);
        stage.ticks(4);
        assert_eq!(stage.ids(), ["da1"], "{fault:?}");
        stage.assert_exactly_once();
    }
}

#[test]
fn pain_10_a_slow_or_failing_tenant_never_delays_another() {
    let stage = Stage::connected();
    let other = "a0000000-0000-4000-8000-0000000000bb";
    stage.world(|world| {
        world.add_tenant(Tenant::new(other, "Fabrikam").consented(CLIENT, &[ALERT_ROLE], at(-10_000)));
    });
    stage.connect(other).unwrap();
    stage.tenant(|tenant| {
        tenant.alerts.flood(Flood {
            prefix: "da-slow".to_owned(),
            count: 5_000,
            start: at(-900),
            step: seconds(10),
            evidence: 1,
        });
    });
    stage.world(|world| {
        world.script_tenant(TENANT, Route::Alerts, vec![Fault::Status(500); 50]);
        if let Some(tenant) = world.tenant(other) {
            tenant.alerts.put(Alert::new("da-quick", at(0) + seconds(30)));
        }
    });
    stage.tick();
    assert_eq!(stage.ids(), ["da-quick"]);
}

#[test]
fn pain_07_failures_are_told_and_the_ledger_balances() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.put(Alert::new("da2", at(0) + seconds(11)).without("id"));
    stage.script([Fault::Status(500), Fault::Truncated { after: 50 }]);
    stage.ticks(5);
    let ledger = stage.view().ledger;
    assert_eq!((ledger.delivered, ledger.quarantined), (1, 1));
    stage.assert_exactly_once();
    stage.script(vec![Fault::Status(500); 1000]);
    stage.ticks(3);
    let capability = stage.capability();
    assert_eq!(capability.status, Ability::Failing);
    assert!(capability.next_step.contains("HTTP 500"), "{}", capability.next_step);
}

#[test]
fn an_unreadable_message_becomes_a_dead_letter_and_stops_nobody() {
    let stage = Stage::connected();
    let poison = shared::ports::queue::Outgoing { body: "{not ours".to_owned(), delay: jiff::SignedDuration::ZERO };
    futures::executor::block_on(stage.app.ports.queues.alerts.send(&[poison])).unwrap();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.ticks(60);
    assert_eq!(stage.ids(), ["da1"]);
    assert_eq!(futures::executor::block_on(stage.deliveries.alerts.dead_letters()).unwrap(), ["{not ours"]);
}

#[test]
fn connecting_twice_or_to_another_account_never_overwrites() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.tick();
    let before = stage.view();
    stage.connect(TENANT).unwrap();
    assert_eq!((stage.view().ledger, stage.view().watermark), (before.ledger, before.watermark));
    let other = NewConnection {
        tenant_id: TENANT.parse().unwrap(),
        account: "Somebody else".to_owned(),
        feeds: vec![shared::tenant::Feed::Alerts],
        region: None,
        storage: None,
    };
    let error =
        futures::executor::block_on(connect(&stage.app, &other, &shared::audit::Actor::CommandLine)).unwrap_err();
    assert!(error.to_string().contains("Contoso"), "{error}");
    assert_eq!(stage.view().account, "Contoso");
}

#[test]
fn a_window_of_the_past_that_fails_for_good_is_parked_and_the_walk_goes_on() {
    let stage = Stage::new();
    for n in 0..200 {
        stage.put(Alert::new(&format!("da{n:03}"), at(0) - minutes(5 * n + 7)));
    }
    stage.tenant(|tenant| tenant.alerts.unanswerable.insert("da120".to_owned()));
    stage.connect(TENANT).unwrap();
    stage.ticks(60);
    assert!(stage.ids().len() >= 190, "all but the neighbourhood of the one that Microsoft cannot answer");
    stage.ticks(4 * 60);
    assert_eq!(stage.ids().len(), 199, "the parked window shrinks to what really fails");
    assert!(stage.view().backlog);
    assert_eq!(stage.capability().status, Ability::Ok, "what is new flows all the while");
    stage.tenant(|tenant| tenant.alerts.unanswerable.clear());
    stage.ticks(120);
    assert_eq!(stage.ids().len(), 200);
    assert!(!stage.view().backlog);
    stage.assert_exactly_once();
}

#[test]
fn pain_04_a_poisoned_crowd_at_one_instant_arrives_all_the_same() {
    let stage = Stage::connected();
    for n in 0..80 {
        stage.put(Alert::new(&format!("da{n:02}"), at(0) + seconds(20)));
    }
    stage.tenant(|tenant| tenant.alerts.poison.insert("da33".to_owned()));
    stage.ticks(12);
    assert_eq!(stage.ids().len(), 80);
    stage.assert_exactly_once();
}

#[test]
fn an_alert_that_only_the_list_knows_leaves_without_evidence() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(20)));
    stage.tenant(|tenant| tenant.alerts.poison.insert("da1".to_owned()));
    stage.world(|world| world.script(Route::Alert, vec![Fault::Status(404); 10]));
    stage.ticks(6);
    assert_eq!(stage.ids(), ["da1"]);
    stage.assert_exactly_once();
}

#[test]
fn an_alert_that_its_own_window_never_brings_does_not_hold_the_watermark_for_ever() {
    let stage = Stage::with(&[("MUSTER_FIRST_LOOK_DAYS", "0")]);
    stage.connect(TENANT).unwrap();
    stage.put(Alert::new("da1", at(0) + seconds(20)));
    let empty =
        Fault::Body { status: 200, content_type: "application/json".to_owned(), text: r#"{"value":[]}"#.to_owned() };
    stage.script([Fault::Normal, empty].into_iter().cycle().take(40));
    stage.world(|world| world.script(Route::Alert, vec![Fault::Status(500); 40]));
    stage.ticks(10);
    assert_eq!(stage.ids(), ["da1"]);
    stage.assert_exactly_once();
}

#[test]
fn neighbours_that_both_fail_for_good_and_one_in_the_very_last_second_freeze_nobody() {
    let stage = Stage::with(&[("MUSTER_FIRST_LOOK_DAYS", "0")]);
    stage.connect(TENANT).unwrap();
    stage.ticks(2);
    // In slices next to each other, and at the end of the look that finds them.
    for (n, second) in [2, 24, 46, 60].into_iter().enumerate() {
        let id = format!("da-poison{n}");
        stage.put(Alert::new(&id, stage.now() + seconds(second)));
        stage.tenant(|tenant| tenant.alerts.unanswerable.insert(id));
    }
    for n in 1..40 {
        stage.put(Alert::new(&format!("da{n:02}"), stage.now() + minutes(n) + seconds(30)));
    }
    stage.ticks(60);
    assert_eq!(stage.ids().len(), 39);
    stage.tenant(|tenant| tenant.alerts.unanswerable.clear());
    stage.ticks(180);
    assert_eq!((stage.ids().len(), stage.view().parked), (43, 0));
    stage.assert_exactly_once();
}

#[test]
fn an_answer_that_only_drips_does_not_hold_a_worker_for_ever() {
    let stage = Stage::connected();
    stage.ticks(2);
    stage.pass(minutes(90));
    stage.put(Alert::new("da1", stage.now() + seconds(1)));
    // A token, byte by byte, each just in time.
    stage.world(|world| world.script(Route::Token, [Fault::Slow { pause: seconds(29), chunk: 1 }]));
    let before = stage.now();
    stage.tick();
    assert!(stage.now().duration_since(before) < minutes(5), "{}", stage.now());
    stage.ticks(2);
    assert_eq!(stage.ids(), ["da1"]);
}

#[test]
fn an_answer_is_given_up_before_its_invocation_ends_and_smaller_ones_are_asked_for() {
    let stage = Stage::connected();
    stage.ticks(2);
    for n in 0..40 {
        stage.put(Alert::new(&format!("da{n:02}"), stage.now() + seconds(n)));
    }
    stage.pass(minutes(1));
    // Every look drips, as long as it is large: four seconds for each piece.
    stage.script([Fault::Slow { pause: seconds(4), chunk: 200 }]);
    block_on(local::serve::fire(&stage.app, Feed::Alerts, stage.now(), 60));
    let (left, longest_pause) = (seconds(120), seconds(30));
    let before = stage.now();
    for delivery in block_on(stage.deliveries.alerts.receive(1, minutes(6))).unwrap() {
        let mut message = SqsMessage::default();
        (message.message_id, message.body) = (Some(delivery.message_id), Some(delivery.body));
        let mut event = SqsEvent::default();
        event.records.push(message);
        let answer = block_on(alert_pull::handle(&stage.app, event, left));
        assert_eq!(answer.batch_item_failures.len(), 0);
    }
    let took = stage.now().duration_since(before);
    assert!(seconds(60) < took && took <= left + longest_pause, "{took:#}");
    stage.simulator.clear_log();
    stage.ticks(3);
    let first = &stage.defender_calls()[0].target;
    assert!(first.ends_with("top=100"), "{first}");
    assert_eq!(stage.ids().len(), 40);
    stage.assert_exactly_once();
}

#[test]
fn a_throttled_pass_sleeps_from_the_moment_it_was_told_to() {
    let stage = Stage::connected();
    stage.ticks(2);
    stage.put(Alert::new("da1", stage.now() + seconds(10)));
    // The look takes most of a minute, then the fetch is refused.
    stage.script([
        Fault::Slow { pause: seconds(9), chunk: 500 },
        Fault::Throttled { seconds: 90, header: true, words: false },
    ]);
    stage.tick();
    let told_at = stage.now();
    stage.simulator.clear_log();
    while stage.now().duration_since(told_at) < seconds(85) {
        stage.pass(seconds(5));
        futures::executor::block_on(local::serve::fire(&stage.app, Feed::Alerts, stage.now(), 5));
        stage.drain();
    }
    assert_eq!(stage.defender_calls().len(), 0);
    stage.ticks(2);
    assert_eq!(stage.ids(), ["da1"]);
}

#[test]
fn a_fetch_crowded_by_what_is_already_delivered_brings_every_new_one() {
    let stage = Stage::with(&[("MUSTER_PAGE_SIZE", "200"), ("MUSTER_FIRST_LOOK_DAYS", "0")]);
    stage.connect(TENANT).unwrap();
    for n in 0..100 {
        stage.put(Alert::new(&format!("da-known{n:02}"), at(0) + jiff::SignedDuration::from_millis(500 * n)));
    }
    for n in 0..10 {
        // Ten known ones lie between each two of these.
        let between = at(0) + jiff::SignedDuration::from_millis(5_000 * n + 250);
        stage.put(Alert::new(&format!("da-late{n}"), between).visible_from(at(1) + seconds(30)));
    }
    stage.tick();
    // The look is answered, the fetch is not: smaller pages follow, and these overflow.
    stage.script([Fault::Normal, Fault::Status(500)]);
    stage.ticks(2);
    assert_eq!(stage.ids().len(), 110);
    stage.assert_exactly_once();
}

#[test]
fn evidence_that_only_drips_does_not_freeze_the_tenant() {
    let stage = Stage::with(&[("MUSTER_FIRST_LOOK_DAYS", "0")]);
    stage.connect(TENANT).unwrap();
    stage.put(Alert::new("da1", at(0) + seconds(20)));
    stage.put(Alert::new("da2", at(0) + seconds(20)));
    stage.tenant(|tenant| tenant.alerts.poison.insert("da1".to_owned()));
    stage.world(|world| world.script(Route::Alert, vec![Fault::Slow { pause: seconds(25), chunk: 100 }; 60]));
    stage.ticks(8);
    assert_eq!(stage.ids(), ["da1", "da2"]);
    stage.assert_exactly_once();
}

#[test]
fn an_alert_that_is_refused_by_its_id_is_its_own_trouble() {
    for status in [400, 401, 403] {
        let stage = Stage::with(&[("MUSTER_FIRST_LOOK_DAYS", "0")]);
        stage.connect(TENANT).unwrap();
        stage.put(Alert::new("da1", at(0) + seconds(20)));
        stage.tenant(|tenant| tenant.alerts.poison.insert("da1".to_owned()));
        stage.world(|world| world.script(Route::Alert, vec![Fault::Status(status); 60]));
        stage.ticks(6);
        assert_eq!(stage.ids(), ["da1"], "{status}");
        assert_eq!(stage.capability().status, Ability::Ok, "{status}");
        stage.assert_exactly_once();
    }
}

#[test]
fn parked_windows_get_their_turn_beside_a_long_walk() {
    let stage = Stage::with(&[("MUSTER_PAGE_SIZE", "10")]);
    stage.tenant(|tenant| {
        tenant.alerts.flood(Flood {
            prefix: "da-past".to_owned(),
            count: 9_000,
            start: at(-9_000),
            step: seconds(59),
            evidence: 0,
        });
    });
    stage.connect(TENANT).unwrap();
    stage.ticks(2);
    stage.put(Alert::new("da-poison", stage.now() + seconds(10)));
    stage.tenant(|tenant| tenant.alerts.unanswerable.insert("da-poison".to_owned()));
    stage.ticks(30);
    assert_eq!(stage.view().parked, 1);
    stage.tenant(|tenant| tenant.alerts.unanswerable.clear());
    stage.ticks(90);
    assert!(stage.view().backlog, "the first look is still at work");
    assert!(stage.ids().contains(&"da-poison".to_owned()));
}
