//! The Lambda programs under Lambda's own protocol.

use harness::TENANT;
use jiff::Timestamp;
use serde_json::{Value, json};
use simulator::Alert;

use crate::{
    microsoft::Microsoft,
    runtime_api::{Answer, Function, lambda},
};

const PROGRAMS: [&str; 4] = ["pull-dispatch", "alert-pull", "consent-callback", "credential-rotation"];

fn pull_message(part: &str) -> String {
    json!({"tenant_id": TENANT, "part": part, "scheduled_time": Timestamp::now(), "every_seconds": 60}).to_string()
}

/// An SQS event as Lambda's event source mapping sends it.
fn sqs(messages: &[(&str, &str)]) -> Value {
    let record = |(id, body): &(&str, &str)| {
        json!({
            "messageId": id,
            "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1545082649183",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1545082649185",
            },
            "messageAttributes": {},
            "md5OfBody": "098f6bcd4621d373cade4e832627b4f6",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:muster-alerts",
            "awsRegion": "eu-central-1",
        })
    };
    json!({"Records": messages.iter().map(record).collect::<Vec<_>>()})
}

fn failures(ids: &[&str]) -> Answer {
    let failures: Vec<Value> = ids.iter().map(|id| json!({"itemIdentifier": id})).collect();
    Answer::Response(json!({"batchItemFailures": failures}))
}

fn tick(feed: &str) -> Value {
    json!({"feed": feed, "scheduled_time": Timestamp::now(), "every_seconds": 60})
}

#[test]
fn a_tick_is_dispatched_and_its_messages_are_pulled_under_the_runtime_api() {
    let microsoft = Microsoft::new();
    let data = microsoft.connected_folder();
    microsoft.alerts(|alerts| alerts.put(Alert::new("da638000000000000001_1", Timestamp::now())));
    let start = |name| Function::start(name, |start| microsoft.seen_by(start).env("MUSTER_DATA", data.path()));
    let (mut dispatch, mut pull) = (start("pull-dispatch"), start("alert-pull"));

    // A new tenant has its live alerts and its first look.
    assert_eq!(dispatch.invoke(tick("alerts")), Answer::Response(json!({"messages": 2})));

    let (live, backlog) = (pull_message("live"), pull_message("backlog"));
    let batch = sqs(&[("good", &live), ("unreadable", "{\"tenant_id\":"), ("older", &backlog)]);
    assert_eq!(pull.invoke(batch), failures(&["unreadable"]));
    let delivered = || microsoft.tenants(data.path())[0]["ledger"]["delivered"].clone();
    let mut passes = 0;
    while microsoft.tenants(data.path())[0]["backlog"] == true || delivered() == 0 {
        passes += 1;
        assert!(passes < 50, "the first look is not done after {passes} passes");
        let (live, backlog) = (pull_message("live"), pull_message("backlog"));
        assert_eq!(pull.invoke(sqs(&[("a", &live), ("b", &backlog)])), failures(&[]));
    }
    assert_eq!(delivered(), 1);
    assert_eq!(dispatch.invoke(tick("alerts")), Answer::Response(json!({"messages": 1})));
    dispatch.process.kill();
    pull.process.kill();
}

#[test]
fn an_empty_batch_is_answered_with_an_empty_list_and_never_null() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let mut pull = Function::start("alert-pull", |start| microsoft.seen_by(start).env("MUSTER_DATA", data.path()));
    for _ in 0..2 {
        assert_eq!(pull.invoke(sqs(&[])), failures(&[]));
    }
    // A tenant that is not here is nobody's failure, and the environment lives on.
    assert_eq!(pull.invoke(sqs(&[("stranger", &pull_message("live"))])), failures(&[]));
    pull.process.kill();
}

#[test]
fn an_event_that_cannot_be_handled_is_an_error_and_the_function_lives_on() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let mut dispatch =
        Function::start("pull-dispatch", |start| microsoft.seen_by(start).env("MUSTER_DATA", data.path()));
    for event in [tick("machines"), tick("alarms"), json!({}), json!("alerts")] {
        let answer = dispatch.invoke(event.clone());
        let Answer::Error(error) = answer else { panic!("{event} is answered by {answer:?}") };
        assert!(error["errorMessage"].is_string() && error["errorType"].is_string(), "{error}");
    }
    assert_eq!(dispatch.invoke(tick("alerts")), Answer::Response(json!({"messages": 0})));
    dispatch.process.kill();
}

#[test]
fn a_function_without_its_configuration_exits_with_64_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    for program in PROGRAMS {
        // Nobody listens there; a function that gets so far fails otherwise.
        let start = || lambda(program).env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9");
        start().finish().exits(64).says(&[program, "MUSTER_DATA"]);
        start()
            .env("MUSTER_DATA", folder.path())
            .env("MUSTER_CLOUD", "mars")
            .env("MUSTER_PAGE_SIZE", "0")
            .finish()
            .exits(64)
            .says(&[program, "MUSTER_CLOUD", "MUSTER_PAGE_SIZE"]);
        let file = folder.path().join("file");
        std::fs::write(&file, "no folder").unwrap();
        start().env("MUSTER_DATA", &file).finish().exits(64).says(&[program, "file"]);
    }
}
