//! Messages that nobody can handle, and answers that SQS would misread.

use std::time::Duration;

use jiff::Timestamp;
use laboratory::until;
use serde_json::{Value, json};
use shared::ports::queue::MAX_RECEIVES;

use crate::{
    microsoft::Microsoft,
    rules::functions::PULLERS,
    stack::{PUBLIC_URL, QUEUES, Stack},
};

/// Nobody has connected it.
const STRANGER: &str = "a0000000-0000-4000-8000-0000000000ee";
const PATIENCE: Duration = Duration::from_secs(60);

/// The queues hide a message for a good quarter of an hour and more; the clock is moved by hiding it for a second.
/// Everything else is as the template says.
pub fn hurry(stack: &Stack) {
    hide_for(stack, 1);
}

/// Hides messages for so many seconds.
pub fn hide_for(stack: &Stack, seconds: u32) {
    for [queue, _] in QUEUES {
        let attributes = json!({"VisibilityTimeout": seconds.to_string()});
        let body = json!({"QueueUrl": stack.outputs[queue], "Attributes": attributes});
        let set = stack.operator.json("sqs", "AmazonSQS.SetQueueAttributes", &body);
        assert_eq!(set.status, 200, "{}", set.text());
    }
}

fn send(stack: &Stack, queue: &str, body: &str) {
    let message = json!({"QueueUrl": stack.outputs[queue], "MessageBody": body});
    stack.operator.json("sqs", "AmazonSQS.SendMessage", &message).json();
}

#[test]
fn a_message_that_nobody_can_read_is_a_dead_letter_after_its_deliveries_and_harms_no_other() {
    let microsoft = Microsoft::new(PUBLIC_URL);
    let stack = Stack::deploy(&microsoft, &[]);
    hurry(&stack);
    for [queue, _] in QUEUES {
        send(&stack, queue, &format!("poison for {queue}"));
        send(
            &stack,
            queue,
            &json!({"tenant_id": harness::TENANT, "part": "live", "scheduled_time": "2026-11-22T02:25:00Z",
                             "every_seconds": 60})
            .to_string(),
        );
    }
    for ([queue, dead], (_, puller)) in QUEUES.into_iter().zip(PULLERS) {
        until("the dead letter is there", PATIENCE, || (stack.waiting(dead) == 1).then_some(()));
        assert_eq!(stack.waiting(queue), 0, "{queue}: a message for a tenant that is not here is done");
        let receive = json!({"QueueUrl": stack.outputs[dead], "VisibilityTimeout": 0});
        let dead = stack.operator.json("sqs", "AmazonSQS.ReceiveMessage", &receive).json();
        assert_eq!(dead["Messages"][0]["Body"], format!("poison for {queue}"));
        let output = stack.output(puller);
        let told = output.lines().filter(|line| line.contains("unreadable message")).count();
        assert_eq!(told, MAX_RECEIVES as usize, "it was delivered so often, and told each time:\n{output}");
        assert!(output.contains("\"MessagesFailed\""), "and counted:\n{output}");
    }
    assert_eq!(stack.gateway.journal().refusals(), Vec::<String>::new());
}

/// `null`, `{}` or an unknown message id would make SQS delete what was not handled, or deliver again what was.
#[test]
fn every_answer_is_a_list_of_the_messages_that_failed() {
    let microsoft = Microsoft::new(PUBLIC_URL);
    let stack = Stack::deploy(&microsoft, &[]);
    let record = |id: &str, body: &str| json!({"messageId": id, "body": body, "eventSource": "aws:sqs"});
    // A tenant that is not here any more is nobody's failure.
    let stranger =
        json!({"tenant_id": STRANGER, "part": "live", "scheduled_time": Timestamp::now(), "every_seconds": 60});
    let cases: [(Value, Value); 5] = [
        (json!([]), json!([])),
        (json!([record("a", &stranger.to_string())]), json!([])),
        (json!([record("a", "{}")]), json!([{"itemIdentifier": "a"}])),
        (json!([record("a", ""), record("b", "null")]), json!([{"itemIdentifier": "a"}, {"itemIdentifier": "b"}])),
        (json!([{"messageId": "c"}]), json!([{"itemIdentifier": "c"}])),
    ];
    for (_, puller) in PULLERS {
        for (records, failures) in &cases {
            let answer = stack.invoke(puller, &json!({"Records": records})).unwrap();
            assert_eq!(answer.as_object().unwrap().len(), 1, "{puller}: {answer}");
            let mut failed = answer["batchItemFailures"].as_array().unwrap().clone();
            failed.sort_by_key(|failure| failure["itemIdentifier"].to_string());
            assert_eq!(Value::Array(failed), *failures, "{puller}: {records}");
        }
    }
}

#[test]
fn an_event_of_the_wrong_shape_is_an_error_that_names_it_and_the_function_lives_on() {
    let microsoft = Microsoft::new(PUBLIC_URL);
    let stack = Stack::deploy(&microsoft, &[]);
    let now = Timestamp::now();
    let tick = |feed: &str| json!({"feed": feed, "scheduled_time": now, "every_seconds": 60});
    let bad: [(&str, Value, &str); 6] = [
        ("pull-dispatch", tick("alarms"), "alarms"),
        ("pull-dispatch", json!({"feed": "alerts", "scheduled_time": "<aws.scheduler.scheduled-time>"}), "scheduled"),
        ("pull-dispatch", json!({}), "feed"),
        ("credential-rotation", json!({}), "neither a step of a rotation nor a check"),
        ("credential-rotation", json!({"Step": "dropSecret"}), "neither a step of a rotation nor a check"),
        ("credential-rotation", json!({"check": "weather", "scheduled_time": now}), "neither a step"),
    ];
    for (function, event, named) in bad {
        let error = stack.invoke(function, &event).unwrap_err();
        let message = error["errorMessage"].as_str().unwrap_or_else(|| panic!("{event}: {error}"));
        assert!(message.contains(named), "{event}: {message}");
    }
    for (feed, _) in PULLERS {
        assert_eq!(stack.invoke("pull-dispatch", &tick(feed)).unwrap(), json!({"messages": 0}), "{feed}");
    }
    let check = json!({"check": "credentials", "scheduled_time": now});
    assert_eq!(stack.invoke("credential-rotation", &check).unwrap()["checked"], 0);
}
