//! Each folder under `functions/` is one function of the template, with what its code reads and nothing else.

use std::{collections::BTreeSet, fs};

pub use harness::functions as names;
use serde_json::json;

use crate::template::{Template, root, target};

/// What each feed's queue starts.
pub const PULLERS: [(&str, &str); 3] =
    [("alerts", "alert-pull"), ("machines", "machine-pull"), ("telemetry", "telemetry-drain")];

/// Every word of capitals that begins with `MUSTER_`, in what is not a test.
fn settings(path: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap();
    let word = |rest: &str| -> String {
        rest.chars().take_while(|letter| letter.is_ascii_uppercase() || *letter == '_').collect()
    };
    code.split("\"MUSTER_").skip(1).map(|rest| format!("MUSTER_{}", word(rest))).collect()
}

#[test]
fn every_function_has_its_resource_and_there_are_no_others() {
    let template = Template::shared();
    let names = names();
    for name in &names {
        let (_, function) = template.function(name);
        assert_eq!(function["FunctionName"], json!({"Fn::Sub": format!("${{AWS::StackName}}-{name}")}), "{name}");
        assert_eq!(function["Runtime"], "provided.al2023", "{name}");
        assert_eq!(function["Architectures"], json!([{"Ref": "Architecture"}]), "{name}");
    }
    assert_eq!(template.all("AWS::Lambda::Function").count(), names.len());
    let architecture = &template.json["Parameters"]["Architecture"];
    assert_eq!(
        (&architecture["Default"], &architecture["AllowedValues"]),
        (&json!("arm64"), &json!(["arm64", "x86_64"]))
    );
}

#[test]
fn every_function_is_given_exactly_the_settings_that_the_code_reads() {
    let mut read = settings("shared/src/config.rs");
    read.extend(settings("infra/aws/ports/src/settings.rs"));
    assert!(read.len() >= 15, "only {read:?} were found");
    for (name, function) in Template::shared().all("AWS::Lambda::Function") {
        let given = function["Environment"]["Variables"].as_object().unwrap();
        assert_eq!(given.keys().cloned().collect::<BTreeSet<_>>(), read, "{name}");
    }
}

/// Whoever sends to a feed, sends to what starts its puller.
#[test]
fn every_function_calls_a_feeds_queue_by_the_name_of_that_feed() {
    let template = Template::shared();
    for (feed, puller) in PULLERS {
        let (function, _) = template.function(puller);
        let mut sources = template.all("AWS::Lambda::EventSourceMapping").map(|(_, source)| source);
        let source = sources.find(|source| target(&source["FunctionName"]) == Some(function)).unwrap();
        let queue = target(&source["EventSourceArn"]).unwrap();
        let named = template.properties(queue, "AWS::SQS::Queue");
        assert_eq!(named["QueueName"], json!({"Fn::Sub": format!("${{AWS::StackName}}-{feed}")}));
        let setting = format!("MUSTER_{}_QUEUE_URL", feed.to_uppercase());
        for (name, function) in template.all("AWS::Lambda::Function") {
            assert_eq!(function["Environment"]["Variables"][&setting], json!({"Ref": queue}), "{name}");
        }
        let said = template.json["Outputs"]["OperatorEnvironment"]["Value"]["Fn::Sub"][0].as_str().unwrap();
        assert!(
            said.contains(&format!("{setting}=${{{queue}}} ")) || said.contains(&format!("{setting}=${{{queue}}}\n"))
        );
    }
}

#[test]
fn every_function_writes_json_to_a_log_of_its_own_that_ends() {
    let template = Template::shared();
    let mut logs = BTreeSet::new();
    for (name, function) in template.all("AWS::Lambda::Function") {
        let logging = &function["LoggingConfig"];
        assert_eq!(logging["LogFormat"], "JSON", "{name}");
        let log = target(&logging["LogGroup"]).unwrap();
        template.properties(log, "AWS::Logs::LogGroup");
        assert!(logs.insert(log), "{name} shares its log");
    }
    for (name, log) in template.all("AWS::Logs::LogGroup") {
        assert!(!log["RetentionInDays"].is_null(), "{name} keeps its lines for ever");
    }
}

/// A pull of alerts calls for 50 seconds at most, reads for as long again and more, and ends a minute before its
/// invocation, as all pulls do; an inventory is read whole, and a pass over a storage goes as far as it gets; a rotation
/// waits as long as it gets; an HTTP API waits for 30 seconds.
#[test]
fn every_function_has_the_time_that_its_work_takes() {
    let template = Template::shared();
    let seconds = |name: &str| template.function(name).1["Timeout"].as_u64().unwrap();
    assert_eq!(seconds("alert-pull"), 180);
    assert_eq!((seconds("machine-pull"), seconds("telemetry-drain")), (300, 300));
    for name in ["consent-callback", "console"] {
        assert!(seconds(name) <= 30, "{name}: {}", seconds(name));
    }
    assert!(seconds("pull-dispatch") <= 60, "a tick is over when the next one comes");
    assert_eq!(seconds("credential-rotation"), 900);
}

/// A call of AWS that hangs is given up, and told of, while its function still has the time to tell.
#[test]
fn a_call_of_aws_ends_before_any_function_does() {
    let code = fs::read_to_string(root().join("infra/aws/ports/src/lib.rs")).unwrap();
    let seconds = |name: &str| -> u64 {
        let set = code.split(&format!("const {name}: Duration = Duration::from_secs(")).nth(1);
        let set = set.unwrap_or_else(|| panic!("{name} is set elsewhere; change this"));
        set.split(')').next().unwrap().parse().unwrap()
    };
    assert!(
        code.contains(".operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION)"),
        "they are set otherwise"
    );
    let functions = Template::shared().all("AWS::Lambda::Function");
    let shortest = functions.map(|(_, function)| function["Timeout"].as_u64().unwrap()).min().unwrap();
    let (attempt, operation) = (seconds("ATTEMPT"), seconds("OPERATION"));
    assert!(2 * attempt <= operation, "a try of {attempt} s leaves no second one in {operation} s");
    assert!(operation < shortest, "{operation} s, and a function has {shortest} s");
}
