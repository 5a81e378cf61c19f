//! Queues and what they start.

use serde_json::{Value, json};
use shared::ports::queue::{MAX_BATCH, MAX_RECEIVES};

use super::functions::PULLERS;
use crate::template::{Template, list, target};

const QUEUE: &str = "AWS::SQS::Queue";
const FORTNIGHT: u64 = 14 * 24 * 60 * 60;

/// Each queue that starts a function: event source, queue, function.
fn sources() -> Vec<(&'static Value, &'static Value, &'static Value)> {
    let template = Template::shared();
    let found = template.all("AWS::Lambda::EventSourceMapping").map(|(_, source)| {
        let queue = template.properties(target(&source["EventSourceArn"]).unwrap(), QUEUE);
        let function = template.properties(target(&source["FunctionName"]).unwrap(), "AWS::Lambda::Function");
        (source, queue, function)
    });
    let found: Vec<_> = found.collect();
    assert!(!found.is_empty());
    found
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// AWS's own advice, so that a slow run is not met by a second one of the same message.
#[test]
fn a_message_is_hidden_for_six_times_as_long_as_its_function_may_run() {
    for (_, queue, function) in sources() {
        assert!(number(&queue["VisibilityTimeout"]) >= 6 * number(&function["Timeout"]), "{queue:#}");
    }
}

#[test]
fn a_message_dies_after_as_many_receives_as_the_contract_says_and_lives_long_enough_for_them() {
    for (_, queue, _) in sources() {
        let redrive = &queue["RedrivePolicy"];
        assert_eq!(redrive["maxReceiveCount"], MAX_RECEIVES);
        let dead = Template::shared().properties(target(&redrive["deadLetterTargetArn"]).unwrap(), QUEUE);
        assert_eq!(number(&dead["MessageRetentionPeriod"]), FORTNIGHT, "a dead letter waits for a person");
        let deliveries = u64::from(MAX_RECEIVES) * number(&queue["VisibilityTimeout"]);
        assert!(number(&queue["MessageRetentionPeriod"]) > deliveries, "it is forgotten before it is a dead letter");
    }
}

#[test]
fn a_batch_is_what_the_code_takes_and_is_answered_message_by_message() {
    for (source, _, function) in sources() {
        let most = u64::try_from(MAX_BATCH).unwrap();
        // All messages of a batch are handled at once, in one memory: many idle looks, few inventories, one storage.
        let puller = PULLERS.iter().find(|(_, name)| Template::shared().function(name).1 == function).unwrap().1;
        let expected = match puller {
            "alert-pull" => most..=most,
            "machine-pull" => 2..=5,
            _ => 1..=1,
        };
        assert!(expected.contains(&number(&source["BatchSize"])), "{puller}: {source}");
        assert_eq!(source["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    }
    assert_eq!(sources().len(), PULLERS.len());
}

/// A new account has ten environments for everything.
#[test]
fn no_feed_takes_the_whole_account_nor_do_all_of_them() {
    let template = Template::shared();
    let mut all = 0;
    for (source, _, _) in sources() {
        let most = &source["ScalingConfig"]["MaximumConcurrency"]["Fn::FindInMap"];
        let parameter = target(&most[2]).unwrap_or_else(|| panic!("{source}: one feed would take the whole account"));
        let default = template.json["Parameters"][parameter]["Default"].as_str().unwrap();
        for value in list(&template.json["Parameters"][parameter]["AllowedValues"]) {
            let value = value.as_str().unwrap();
            assert_eq!(template.json["Mappings"]["Environments"]["AsNumber"][value].to_string(), value, "{parameter}");
        }
        all += default.parse::<u64>().unwrap();
    }
    assert!(all <= 8, "{all} of ten are the pullers', and the pages and the ticks want some, too");
}

#[test]
fn every_queue_is_encrypted_and_takes_encrypted_connections_alone() {
    let template = Template::shared();
    let (_, policy) = template.only("AWS::SQS::QueuePolicy");
    let covered: Vec<_> = policy["Queues"].as_array().unwrap().iter().filter_map(target).collect();
    for (name, queue) in template.all(QUEUE) {
        assert_eq!(queue["SqsManagedSseEnabled"], true, "{name}");
        assert!(covered.contains(&name), "{name} is in no policy");
    }
    let statement = &policy["PolicyDocument"]["Statement"][0];
    assert_eq!(statement["Effect"], "Deny");
    assert_eq!(statement["Condition"], json!({"Bool": {"aws:SecureTransport": "false"}}));
}
