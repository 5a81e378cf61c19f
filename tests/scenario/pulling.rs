//! Alerts come, change, come late, come in crowds; each version is delivered once.

use harness::{Stage, TENANT, at, minutes, seconds, stamp};
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::tenant::Feed;
use simulator::{Alert, Flood};

fn version(id: &str, time: jiff::Timestamp, activity: &str) -> (String, String, String) {
    (id.to_owned(), stamp(time), activity.to_owned())
}

#[test]
fn a_new_alert_its_update_and_its_end_are_three_events() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(30)));
    stage.tick();
    assert_eq!(stage.delivered(), [version("da1", at(0) + seconds(30), "Create")]);

    let set_status = |status: &'static str| {
        move |fields: &mut serde_json::Map<String, Value>| {
            fields.insert("status".to_owned(), json!(status));
        }
    };
    stage.tenant(|tenant| tenant.alerts.update("da1", at(1) + seconds(30), set_status("InProgress")));
    stage.tick();
    stage.tenant(|tenant| tenant.alerts.update("da1", at(2) + seconds(30), set_status("Resolved")));
    stage.tick();
    assert_eq!(
        stage.delivered(),
        [
            version("da1", at(0) + seconds(30), "Create"),
            version("da1", at(1) + seconds(30), "Update"),
            version("da1", at(2) + seconds(30), "Close"),
        ]
    );
    stage.assert_exactly_once();
}

#[test]
fn pain_01_a_second_poll_of_an_unchanged_world_is_one_call_and_writes_nothing() {
    let stage = Stage::connected();
    for n in 0..5 {
        stage.put(Alert::new(&format!("da{n}"), at(0) + seconds(10 * n)));
    }
    stage.walk_through(3);
    let before = (stage.lake.objects(), stage.view().ledger, stage.view().watermark);
    let state = stage.state_versions();
    stage.simulator.clear_log();
    stage.tick();
    assert_eq!(stage.state_versions(), state, "nothing written");
    let log = stage.simulator.log();
    assert_eq!(log.len(), 1, "one call, no token request: {log:?}");
    assert!(log[0].target.starts_with("/api/alerts?"));
    assert_eq!((stage.lake.objects(), stage.view().ledger, stage.view().watermark), before);
    stage.ticks(30);
    assert_eq!(stage.view().ledger, before.1);
    assert!(stage.view().freshness_seconds <= Some(15 * 60), "heartbeats move the watermark");
    stage.assert_exactly_once();
}

#[test]
fn pain_02_an_alert_that_becomes_visible_late_is_found_by_the_deeper_looks() {
    for (late_by, within, look) in [(4, 1, "overlap"), (25, 11, "half hour"), (40 * 60, 24 * 60 + 2, "two days")] {
        let stage = Stage::connected();
        stage.ticks(2);
        let stamped = stage.now() - seconds(10);
        stage.put(Alert::new("da-late", stamped).visible_from(stamped + minutes(late_by)));
        while stage.now() < stamped + minutes(late_by) {
            stage.tick();
        }
        // So long at most until that look comes by.
        let mut ticks = 0;
        while stage.delivered().is_empty() && ticks < within {
            stage.tick();
            ticks += 1;
        }
        assert_eq!(stage.delivered(), [version("da-late", stamped, "Create")], "{look}");
        stage.ticks(3);
        stage.assert_exactly_once();
        if late_by > 30 {
            assert_eq!(stage.view().lateness.within_48_hours, 1);
        }
    }
}

#[test]
fn pain_03_status_changes_of_old_alerts_arrive() {
    let stage = Stage::connected();
    stage.put(Alert::new("da-old", at(-5 * 24 * 60)));
    stage.walk_through(3);
    stage.tenant(|tenant| {
        tenant.alerts.update("da-old", at(10), |fields| {
            fields.insert("status".to_owned(), json!("Resolved"));
        });
    });
    stage.ticks(12);
    assert_eq!(stage.delivered(), [version("da-old", at(-5 * 24 * 60), "Create"), version("da-old", at(10), "Close")]);
    stage.assert_exactly_once();
}

#[test]
fn the_first_look_walks_through_a_week_beside_the_live_alerts() {
    let stage = Stage::new();
    stage.tenant(|tenant| {
        tenant.alerts.flood(Flood {
            prefix: "da-past".to_owned(),
            count: 5_000,
            start: at(-6 * 24 * 60),
            step: seconds(90),
            evidence: 1,
        });
    });
    stage.put(Alert::new("da-too-old", at(-8 * 24 * 60)));
    stage.connect(TENANT).unwrap();
    stage.put(Alert::new("da-live", at(0) + seconds(20)));
    stage.tick();
    assert!(stage.ids().contains(&"da-live".to_owned()), "the past does not delay what is new");
    stage.walk_through(30);
    assert_eq!(stage.ids().len(), 5_001);
    stage.assert_exactly_once();
}

#[test]
fn pain_05_more_alerts_than_a_page_at_one_instant_all_arrive() {
    let stage = Stage::with(&[("MUSTER_PAGE_SIZE", "50")]);
    stage.connect(TENANT).unwrap();
    stage.tenant(|tenant| {
        tenant.alerts.flood(Flood {
            prefix: "da-tie".to_owned(),
            count: 700,
            start: at(0) + SignedDuration::from_nanos(1_234_567_800),
            step: SignedDuration::ZERO,
            evidence: 1,
        });
    });
    stage.put(Alert::new("da-before", at(0) + seconds(1)));
    stage.put(Alert::new("da-after", at(0) + seconds(2)));
    stage.ticks(3);
    assert_eq!(stage.ids().len(), 702);
    stage.assert_exactly_once();
}

#[test]
fn pain_05_a_crowd_beyond_the_largest_page_is_paged_until_nothing_new_comes() {
    let stage = Stage::connected();
    stage.tenant(|tenant| {
        // A stable order, as a service without updates would have: then overlapping pages miss nothing.
        tenant.alerts.unstable_order = false;
        tenant.alerts.flood(Flood {
            prefix: "da-crowd".to_owned(),
            count: 10_400,
            start: at(0) + seconds(20),
            step: SignedDuration::ZERO,
            evidence: 0,
        });
    });
    stage.ticks(4);
    assert_eq!(stage.ids().len(), 10_400);
    stage.assert_exactly_once();
}

#[test]
fn pain_05_full_pages_are_bisected_whatever_their_order_and_their_next_links() {
    for next_links in [false, true] {
        let stage = Stage::with(&[("MUSTER_PAGE_SIZE", "20")]);
        stage.tenant(|tenant| tenant.next_links = next_links);
        stage.connect(TENANT).unwrap();
        for n in 0..150 {
            stage.put(Alert::new(&format!("da{n}"), at(0) + SignedDuration::from_millis(n * 377)));
        }
        stage.ticks(4);
        assert_eq!(stage.ids().len(), 150, "next links: {next_links}");
        stage.assert_exactly_once();
    }
}

#[test]
fn an_alert_updated_while_we_page_is_delivered_in_its_newer_version() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.put(Alert::new("da2", at(0) + seconds(20)));
    // Right after the look, before the fetch.
    stage.tenant(|tenant| tenant.alerts.between_requests(|alerts| alerts.update("da1", at(1), |_| {})));
    stage.ticks(2);
    assert_eq!(stage.delivered(), [version("da1", at(1), "Create"), version("da2", at(0) + seconds(20), "Create")]);
    stage.assert_exactly_once();
}

#[test]
fn an_alert_that_vanishes_between_look_and_fetch_stops_nobody() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.put(Alert::new("da2", at(0) + seconds(20)));
    stage.tenant(|tenant| tenant.alerts.between_requests(|alerts| alerts.remove("da1")));
    stage.ticks(2);
    assert_eq!(stage.ids(), ["da2"]);
    stage.assert_exactly_once();
}

#[test]
fn a_fast_clock_of_ours_skips_nothing() {
    let stage = Stage::connected();
    // Our clock runs ahead of Microsoft's by ten minutes.
    stage.app.clock.advance(minutes(10));
    stage.tick();
    stage.put(Alert::new("da1", stage.simulator.now() + seconds(30)));
    stage.ticks(12);
    assert_eq!(stage.ids(), ["da1"]);
    let ahead = stage.view().watermark.unwrap();
    assert!(ahead <= stage.simulator.now() + seconds(60), "{ahead}");
    stage.assert_exactly_once();
}

#[test]
fn an_outage_of_days_leaves_no_hole() {
    let stage = Stage::connected();
    stage.ticks(20);
    for hour in 0..72 {
        stage.put(Alert::new(&format!("da{hour:02}"), stage.now() + minutes(60 * hour)));
    }
    stage.pass(minutes(72 * 60));
    stage.walk_through(5);
    assert_eq!(stage.ids().len(), 72);
    stage.assert_exactly_once();
}

#[test]
fn a_deep_look_that_overflows_never_delays_what_is_new() {
    let stage = Stage::with(&[("MUSTER_PAGE_SIZE", "100"), ("MUSTER_FIRST_LOOK_DAYS", "0")]);
    stage.connect(TENANT).unwrap();
    for n in 0..900 {
        // Stamped early, visible shortly before the daily look.
        stage.put(Alert::new(&format!("da-late{n}"), at(10) + seconds(n)).visible_from(at(23 * 60 + 50)));
    }
    stage.ticks(24 * 60 - 1);
    stage.put(Alert::new("da-new", stage.now() + seconds(30)));
    stage.tick();
    assert_eq!(stage.ids(), ["da-new"]);
    assert!(stage.view().backlog, "the older part of the look is a walk now");
    stage.walk_through(30);
    assert_eq!(stage.ids().len(), 901);
    stage.assert_exactly_once();
}

#[test]
fn a_repeated_message_delivers_nothing_again() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.pass(minutes(1));
    for _ in 0..3 {
        futures::executor::block_on(local::serve::fire(&stage.app, Feed::Alerts, stage.now(), 60));
    }
    stage.drain();
    assert_eq!(stage.ids(), ["da1"]);
    stage.assert_exactly_once();
}

#[test]
fn pain_23_a_large_page_becomes_several_objects() {
    let stage = Stage::connected();
    stage.tenant(|tenant| {
        tenant.alerts.flood(Flood {
            prefix: "da-fat".to_owned(),
            count: 600,
            start: at(0) + seconds(5),
            step: SignedDuration::from_millis(50),
            evidence: 30,
        });
    });
    stage.ticks(2);
    assert_eq!(stage.ids().len(), 600);
    let objects = stage.lake.objects();
    let sizes: Vec<usize> = objects.values().map(Vec::len).collect();
    assert!(objects.len() >= 2, "{sizes:?}");
    stage.assert_exactly_once();
}

#[test]
fn lines_are_sorted_and_the_key_names_the_day_of_the_windows_end() {
    let stage = Stage::connected();
    for n in [3, 1, 2] {
        stage.put(Alert::new(&format!("da{n}"), at(0) + seconds(n)));
    }
    stage.tick();
    let objects = stage.lake.objects();
    let key = objects.keys().find(|key| key.starts_with("alerts/")).unwrap();
    assert!(key.starts_with(&format!("alerts/tenant={TENANT}/day=2026-11-22/")), "{key}");
    assert!(key.ends_with(".ndjson.gz"), "{key}");
    let times: Vec<i64> = stage.events().iter().map(|event| event["time"].as_i64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}
