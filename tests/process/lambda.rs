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

    let (told, logged) = lines(&dispatch.process.kill().stdout);
    assert_eq!(told.iter().map(|document| document["Dispatched"].as_u64()).collect::<Vec<_>>(), [Some(2), Some(1)]);
    assert_eq!(told[0]["function"], "pull-dispatch");
    assert!(logged.iter().any(|line| line["message"] == "a tick is dispatched" && line["duration_ms"].is_u64()));

    let (told, logged) = lines(&pull.process.kill().stdout);
    let sum = |name: &str| told.iter().filter_map(|document| document[name].as_u64()).sum::<u64>();
    assert_eq!((sum("Fetched"), sum("Delivered"), sum("LedgerImbalance"), sum("MessagesFailed")), (1, 1, 0, 1));
    assert!(told.iter().all(|document| document["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Muster"));
    let pulled = logged.iter().filter(|line| line["message"] == "pulled alerts");
    assert!(pulled.clone().count() > 0 && pulled.clone().all(|line| line["tenant.id"] == TENANT), "{logged:?}");
}

/// What a function printed: its metrics, and its log, each line of which says to which invocation it belongs.
fn lines(stdout: &str) -> (Vec<Value>, Vec<Value>) {
    let all = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    let (told, logged): (Vec<Value>, Vec<Value>) = all.partition(|line| line.get("_aws").is_some());
    for line in &logged {
        assert!(line["span"]["requestId"].is_string() && line["timestamp"].is_string(), "{line}");
    }
    (told, logged)
}

#[test]
fn a_function_that_only_warns_still_says_which_invocation_it_was_and_still_measures() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let mut pull = Function::start("alert-pull", |start| {
        microsoft.seen_by(start).env("MUSTER_DATA", data.path()).env("AWS_LAMBDA_LOG_LEVEL", "WARN")
    });
    assert_eq!(pull.invoke(sqs(&[("unreadable", "{}")])), failures(&["unreadable"]));
    let (told, logged) = lines(&pull.process.kill().stdout);
    assert_eq!((told.len(), &told[0]["MessagesFailed"]), (1, &json!(1)));
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!((&logged[0]["level"], &logged[0]["message.id"]), (&json!("ERROR"), &json!("unreadable")));
    assert_eq!(logged[0]["span"]["requestId"], "00000000-0000-4000-8000-000000000001");
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
