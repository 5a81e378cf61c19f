//! Whatever Microsoft, or somebody in its place, sends: a clear answer, nothing lost, nothing changed that should not be.

use harness::{Stage, at, minutes, seconds};
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::tenant::Ability;
use simulator::{Alert, Fault};

#[test]
fn one_broken_alert_among_a_thousand_goes_to_quarantine_once_and_stops_nobody() {
    let stage = Stage::connected();
    for n in 0..999 {
        stage.put(Alert::new(&format!("da{n:03}"), at(0) + SignedDuration::from_millis(n * 50)));
    }
    stage.put(Alert::new("da-broken", at(0) + seconds(20)).with("lastUpdateTime", json!("soon")));
    stage.ticks(3);
    assert_eq!(stage.ids().len(), 999);
    let quarantined = stage.quarantined();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0]["reason"], "no usable `lastUpdateTime`");
    assert!(quarantined[0]["source"].as_str().unwrap().contains("da-broken"));
    // It is shown again at every look of the overlap and of the deeper ones.
    stage.ticks(40);
    assert_eq!(stage.quarantined().len(), 1);
    stage.assert_exactly_once();
}

#[test]
fn a_known_broken_alert_costs_no_write() {
    let stage = Stage::connected();
    stage.put(Alert::new("da-broken", at(0) + seconds(20)).without("id"));
    stage.walk_through(2);
    let before = stage.state_versions();
    stage.tick();
    assert_eq!(stage.state_versions(), before);
}

#[test]
fn alerts_without_id_or_time_and_elements_that_are_no_alerts_are_quarantined() {
    let stage = Stage::connected();
    let mut odd = Alert::new("da-odd", at(0) + seconds(9));
    odd.raw = Some("42".to_owned());
    stage.put(odd);
    stage.put(Alert::new("da-no-id", at(0) + seconds(10)).without("id"));
    stage.put(Alert::new("da-null-id", at(0) + seconds(11)).with("id", Value::Null));
    stage.put(Alert::new("da-no-time", at(0) + seconds(12)).without("lastUpdateTime"));
    stage.put(Alert::new("da-good", at(0) + seconds(13)));
    stage.ticks(3);
    assert_eq!(stage.ids(), ["da-good"]);
    let mut reasons: Vec<String> =
        stage.quarantined().iter().map(|record| record["reason"].as_str().unwrap().to_owned()).collect();
    reasons.sort();
    assert_eq!(reasons, ["no usable `id`", "no usable `id`", "no usable `lastUpdateTime`", "not a JSON object"]);
    stage.assert_exactly_once();
}

#[test]
fn times_with_any_digits_or_no_zone_are_one_and_the_same_instant() {
    let stage = Stage::connected();
    for (n, text) in [
        "2026-11-22T12:00:10Z",
        "2026-11-22T12:00:10.1Z",
        "2026-11-22T12:00:10.13Z",
        "2026-11-22T12:00:10.1569718Z",
        "2026-11-22T12:00:10.2",
        "2026-11-22 12:00:10.3",
    ]
    .into_iter()
    .enumerate()
    {
        let instant = shared::microsoft::time::parse(text).unwrap();
        stage.put(Alert::new(&format!("da{n}"), instant).with("lastUpdateTime", json!(text)));
    }
    stage.ticks(8);
    assert_eq!(stage.ids().len(), 6);
    stage.assert_exactly_once();
}

#[test]
fn duplicate_ids_in_one_page_are_delivered_once() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    // The same version under another row of the service's.
    stage.put(Alert::new("row-2", at(0) + seconds(10)).with("id", json!("da1")));
    stage.ticks(2);
    assert_eq!(stage.ids(), ["da1"]);
    assert_eq!(stage.view().ledger.deduplicated, 1);
    stage.assert_exactly_once();
}

#[test]
fn html_truncated_json_and_a_body_that_never_ends_lose_nothing() {
    let json =
        |text: &str| Fault::Body { status: 200, content_type: "application/json".to_owned(), text: text.to_owned() };
    for fault in [
        Fault::Html(200),
        Fault::Endless,
        json("{\"value\":[{\"id\":\"da-fake\""),
        json("{\"error\":{\"code\":\"x\"}}"),
        json("[]"),
        json(""),
        json("{\"value\":{}}"),
    ] {
        let stage = Stage::connected();
        stage.put(Alert::new("da1", at(0) + seconds(10)));
        stage.script([fault.clone(), Fault::Normal, fault.clone()]);
        stage.ticks(5);
        assert_eq!(stage.ids(), ["da1"], "{fault:?}");
        stage.assert_exactly_once();
    }
}

#[test]
fn pain_22_a_next_link_to_another_host_is_never_followed() {
    let stage = Stage::connected();
    for n in 0..3 {
        stage.put(Alert::new(&format!("da{n}"), at(0) + seconds(10 + n)));
    }
    stage.script(vec![Fault::NextLink("https://evil.example/api/alerts?$skip=1".to_owned()); 5]);
    stage.ticks(5);
    assert_eq!(stage.ids().len(), 3);
    let origins = stage.origins.lock().unwrap().clone();
    let ours = ["https://api.security.microsoft.com", "https://login.microsoftonline.com"].map(str::to_owned);
    assert_eq!(origins, ours.into(), "nobody else was asked");
    let followed = stage.simulator.log().into_iter().filter(|entry| entry.target.ends_with("/api/alerts?$skip=1"));
    assert_eq!(followed.count(), 0);
    stage.assert_exactly_once();
}

#[test]
fn a_page_that_always_promises_more_does_not_hold_us_for_ever() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.script(vec![Fault::NextLink("https://api.securitycenter.microsoft.com/api/alerts?$skip=0".to_owned()); 3000]);
    stage.ticks(20);
    assert_eq!(stage.ids(), ["da1"]);
    stage.assert_exactly_once();
}

#[test]
fn a_query_that_defender_refuses_is_told_to_the_operator() {
    let stage = Stage::connected();
    stage.script(vec![Fault::Status(400); 5]);
    stage.tick();
    let capability = stage.capability();
    assert_eq!(capability.status, Ability::Failing);
    assert!(capability.next_step.starts_with("Operator:"), "{}", capability.next_step);
    stage.pass(minutes(1));
    stage.ticks(6);
    assert_eq!(stage.capability().status, Ability::Ok);
}

#[test]
fn a_record_broken_only_in_its_evidence_page_is_quarantined_and_the_rest_flows() {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.put(Alert::new("da2", at(0) + seconds(11)));
    // After the look, da1 loses its time; the fetch by window and by id shows it so.
    stage.tenant(|tenant| {
        tenant.alerts.between_requests(|alerts| {
            alerts.put(Alert::new("da1", at(0) + seconds(10)).with("lastUpdateTime", json!(0)));
        });
    });
    stage.ticks(10);
    assert_eq!(stage.ids(), ["da2"]);
    assert_eq!(stage.quarantined().len(), 1, "{:?}", stage.quarantined());
    stage.assert_exactly_once();
}

#[test]
fn text_that_is_json_to_some_and_not_to_others_is_quarantined_and_stops_nobody() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for (field, odd) in [("title", r#""cut \ud83d""#), ("score", "1e999"), ("nested", deep.as_str())] {
        let stage = Stage::connected();
        let mut alert = Alert::new("da-odd", at(0) + seconds(10)).with(field, json!("PLACEHOLDER"));
        alert.raw = Some(serde_json::to_string(&alert.fields).unwrap().replace("\"PLACEHOLDER\"", odd));
        stage.put(alert);
        stage.put(Alert::new("da-sound", at(0) + seconds(11)));
        stage.ticks(3);
        assert_eq!(stage.ids(), ["da-sound"], "{field}");
        assert_eq!(stage.quarantined().len(), 1, "{field}");
        let calls = stage.view().ledger.fetched;
        stage.ticks(3);
        assert_eq!(stage.view().ledger.fetched, calls, "not fetched again and again");
        stage.assert_exactly_once();
    }
}

#[test]
fn a_page_full_of_records_without_a_time_is_bisected_to_its_end() {
    // Nothing in the page tells where to split: halving must reach the very instant within one pass.
    let stage = Stage::with(&[("MUSTER_PAGE_SIZE", "3"), ("MUSTER_FIRST_LOOK_DAYS", "7")]);
    for n in 0..4 {
        stage.put(Alert::new(&format!("da-timeless{n}"), at(-5000) + seconds(1)).without("lastUpdateTime"));
    }
    stage.put(Alert::new("da1", at(-1000)));
    stage.connect(harness::TENANT).unwrap();
    stage.walk_through(20);
    assert_eq!(stage.ids(), ["da1"]);
    assert_eq!(stage.quarantined().len(), 4);
    stage.assert_exactly_once();
}
