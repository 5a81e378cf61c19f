//! What each invocation measures: exactly these numbers, and nothing when there is nothing to tell.

use credential_rotation::{Answer, Failures, handle_and};
use futures::executor::block_on;
use harness::{ALERT_ROLE, CLIENT, HAND_MADE, SECRET, Stage, TENANT, at, minutes, seconds};
use serde_json::{Value, json};
use shared::{credential::rotation::Pace, ports::queue::Outgoing};
use simulator::{Alert, Fault, Tenant};

/// A tenant whose first look is done.
fn quiet() -> Stage {
    let stage = Stage::connected();
    stage.walk_through(3);
    stage.metrics();
    stage
}

/// What the pull of one more tick measures.
fn next_pull(stage: &Stage) -> Value {
    stage.tick();
    let [dispatched, pulled] = stage.metrics().try_into().unwrap();
    assert_eq!(dispatched, json!({"AlertsDispatched": 1}));
    pulled
}

/// A pass that ends where it should and brought this.
fn brought(fetched: u64, delivered: u64, deduplicated: u64, quarantined: u64) -> Value {
    json!({
        "Fetched": fetched, "Delivered": delivered, "Deduplicated": deduplicated, "Quarantined": quarantined,
        "LedgerImbalance": 0, "FreshnessSeconds": 0,
    })
}

fn with(mut measures: Value, name: &str, value: Value) -> Value {
    measures[name] = value;
    measures
}

#[test]
fn an_idle_pull_tells_how_fresh_its_tenant_is_and_nothing_else() {
    assert_eq!(next_pull(&quiet()), json!({"FreshnessSeconds": 0}));
}

#[test]
fn new_alerts_are_counted_with_how_late_each_became_visible() {
    let stage = quiet();
    stage.put(Alert::new("da1", stage.now() + seconds(10)));
    stage.put(Alert::new("da2", stage.now() + seconds(40)));
    assert_eq!(next_pull(&stage), with(brought(2, 2, 0, 0), "LatenessSeconds", json!([20, 50])));
}

#[test]
fn what_comes_twice_is_counted_as_a_duplicate() {
    let stage = quiet();
    stage.put(Alert::new("da1", stage.now() + seconds(10)));
    stage.put(Alert::new("row-2", stage.now() + seconds(10)).with("id", json!("da1")));
    assert_eq!(next_pull(&stage), with(brought(2, 1, 1, 0), "LatenessSeconds", json!(50)));
}

#[test]
fn what_cannot_be_read_is_counted_once_and_never_again() {
    let stage = quiet();
    stage.put(Alert::new("da1", stage.now() + seconds(10)).with("id", json!(7)));
    assert_eq!(next_pull(&stage), brought(1, 0, 0, 1));
    assert_eq!(next_pull(&stage), json!({"FreshnessSeconds": 0}));
}

#[test]
fn pain_02_how_late_an_alert_became_visible_is_measured() {
    let stage = quiet();
    stage.put(Alert::new("da-late", stage.now() + seconds(10)).visible_from(stage.now() + minutes(3)));
    assert_eq!([(); 2].map(|()| next_pull(&stage)), [(); 2].map(|()| json!({"FreshnessSeconds": 0})));
    assert_eq!(next_pull(&stage), with(brought(1, 1, 0, 0), "LatenessSeconds", json!(170)));
}

#[test]
fn a_throttled_tenant_is_counted_and_grows_older() {
    let stage = quiet();
    stage.script([Fault::Throttled { seconds: 100, header: true, words: true }]);
    // Since the watermark as it was last stored: an idle pull moves it in memory, and writes it with the heartbeat.
    assert_eq!(next_pull(&stage), json!({"Throttled": 1, "FreshnessSeconds": 120}));
    stage.tick();
    assert_eq!(stage.metrics(), [json!({"AlertsDispatched": 0})], "nobody asks while Microsoft wants quiet");
    assert_eq!(next_pull(&stage), json!({"FreshnessSeconds": 0}));
}

#[test]
fn a_parked_window_is_counted_once() {
    let stage = quiet();
    stage.put(Alert::new("da-poison", stage.now() + seconds(10)));
    stage.tenant(|tenant| tenant.alerts.unanswerable.insert("da-poison".to_owned()));
    let parked = |measures: &Value| measures["Parked"].as_u64().unwrap_or(0);
    let mut counted = 0;
    for _ in 0..40 {
        stage.tick();
        counted += stage.metrics().iter().map(parked).sum::<u64>();
    }
    assert_eq!((counted, stage.view().parked), (1, 1));
}

#[test]
fn a_tenant_that_its_customer_must_help_first_raises_no_alarm_by_its_age() {
    let stage = quiet();
    stage.tenant(|tenant| tenant.consents.clear());
    stage.pass(minutes(90));
    let mut all = Vec::new();
    for _ in 0..3 {
        stage.tick();
        all.extend(stage.metrics());
    }
    assert_ne!(stage.view().state, shared::tenant::State::Active);
    assert!(all.iter().all(|measures| measures.get("FreshnessSeconds").is_none()), "{all:?}");
}

#[test]
fn a_message_that_nobody_can_read_is_counted_and_its_words_are_not_logged() {
    let stage = quiet();
    let body = json!({"tenant_id": "what a stranger wrote"}).to_string();
    let message = Outgoing { body, delay: seconds(0) };
    block_on(stage.app.ports.queues.alerts.send(&[message])).unwrap();
    stage.drain();
    assert_eq!(stage.metrics(), [json!({"MessagesFailed": 1})]);
    assert!(stage.heard().contains("a message failed") && !stage.heard().contains("a stranger"), "{}", stage.heard());
}

#[test]
fn a_batch_of_ten_idle_tenants_is_one_small_document() {
    let stage = Stage::new();
    for n in 0..10 {
        let id = format!("a0000000-0000-4000-8000-0000000001{n:02}");
        stage.world(|world| world.add_tenant(Tenant::new(&id, "Contoso").consented(CLIENT, &[ALERT_ROLE], at(-9_000))));
        stage.connect(&id).unwrap();
    }
    stage.ticks(3);
    stage.documents();
    stage.tick();
    let documents = stage.documents();
    assert_eq!(documents.len(), 2, "a dispatch and one batch: {documents:?}");
    assert!(documents[1].contains(r#""FreshnessSeconds":[0,0,0,0,0,0,0,0,0,0]"#), "{}", documents[1]);
    // What a month of a thousand tenants may cost in logs rests on this.
    assert!(documents[1].len() <= 240, "{} bytes: {}", documents[1].len(), documents[1]);
}

#[test]
fn a_batch_that_finds_nothing_to_do_writes_nothing() {
    let stage = quiet();
    let message = json!({"tenant_id": TENANT, "part": "backlog", "scheduled_time": stage.now(), "every_seconds": 60});
    block_on(stage.app.ports.queues.alerts.send(&[Outgoing { body: message.to_string(), delay: seconds(0) }])).unwrap();
    stage.drain();
    assert_eq!(stage.metrics(), Vec::<Value>::new());
}

#[test]
fn the_daily_check_tells_the_days_left_and_what_is_pressing() {
    let stage = Stage::rotating();
    let measured = |days: i64| {
        let secrets = |stage: &Stage, end| {
            stage.world(|world| {
                world.application(CLIENT).unwrap().secrets.iter_mut().for_each(|secret| secret.end = end)
            });
        };
        secrets(&stage, stage.now() + minutes(days * 24 * 60 + 60));
        stage.metrics();
        stage.check();
        stage.metrics()
    };
    assert_eq!(measured(100), [json!({"CredentialFindings": 0, "CredentialDaysLeft": 100})]);
    assert_eq!(measured(20), [json!({"CredentialFindings": 0, "CredentialDaysLeft": 20})]);
    assert_eq!(measured(6), [json!({"CredentialFindings": 1, "CredentialDaysLeft": 6})]);
}

#[test]
fn what_fails_after_a_check_is_counted_and_fails_no_check() {
    let stage = Stage::rotating();
    stage.metrics();
    let event = json!({"check": "credentials", "scheduled_time": stage.now()});
    let pace = Pace::new(std::time::Duration::from_secs(3600), |_, _| {});
    let failing = async |_: &_| Failures { events: 3, rotations: 1 };
    let checked = stage.drive(handle_and(&stage.app, event, &pace, failing), |_| {});
    assert!(matches!(checked, Ok(Answer::Checked(_))), "{checked:?}");
    let measured = stage.metrics();
    assert_eq!((&measured[0]["EventsFailed"], &measured[0]["RotationsFailed"]), (&json!(3), &json!(1)), "{measured:?}");
    assert_eq!(measured.len(), 1, "one document for an invocation");
}

#[test]
fn where_nothing_is_known_to_end_no_days_are_told() {
    let stage = Stage::rotating();
    let unknown = json!({"kind": "client_secret", "value": SECRET, "key_id": HAND_MADE.replace('a', "b")});
    stage.store_application(&unknown, "v1b");
    stage.metrics();
    stage.check();
    let measured = stage.metrics();
    assert_eq!(measured.len(), 1);
    assert!(measured[0].get("CredentialDaysLeft").is_none(), "{measured:?}");
}

#[test]
fn a_step_of_a_rotation_is_counted_as_failed_or_as_not() {
    let stage = Stage::rotating();
    stage.metrics();
    assert!(stage.step("createSecret", "never-begun").is_err());
    assert_eq!(stage.metrics(), [json!({"RotationsFailed": 1})]);
    stage.rotate("v2");
    assert_eq!(stage.metrics(), [(); 4].map(|()| json!({"RotationsFailed": 0})));
}
