//! Who is told when something is wrong.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::metrics::{Metric, NAMESPACE};

use super::functions::PULLERS;
use crate::template::{Template, list, target};

/// Told only of trouble: a message given back (the poisoned one is), a tenant throttled, a window parked. Every other
/// metric is told in a story without trouble, which looks for it in the functions' logs.
pub const OF_TROUBLE: [Metric; 4] = [Metric::EventsFailed, Metric::MessagesFailed, Metric::Parked, Metric::Throttled];

/// The alarms on a metric, and where it names one, on this resource.
fn alarms(namespace: &str, metric: &str, on: Option<&str>) -> Vec<&'static Value> {
    let all = Template::shared().all("AWS::CloudWatch::Alarm").map(|(_, alarm)| alarm);
    let dimension = |alarm: &Value| {
        alarm["Dimensions"].as_array().into_iter().flatten().find_map(|of| target(&of["Value"]).map(str::to_owned))
    };
    all.filter(|alarm| alarm["Namespace"] == namespace && alarm["MetricName"] == metric)
        .filter(|alarm| on.is_none_or(|on| dimension(alarm).as_deref() == Some(on)))
        .collect()
}

/// The one alarm on this statistic of a function's metric.
#[track_caller]
fn watcher(namespace: &str, metric: &str, statistic: &str, function: &str) -> &'static Value {
    let mut found = alarms(namespace, metric, Some(Template::shared().function(function).0));
    found.retain(|alarm| alarm["Statistic"] == statistic);
    assert_eq!(found.len(), 1, "{statistic} of {metric}");
    found[0]
}

#[test]
fn everything_that_a_person_must_know_rings() {
    let template = Template::shared();
    for (name, source) in template.all("AWS::SQS::Queue") {
        if let Some(dead) = target(&source["RedrivePolicy"]["deadLetterTargetArn"]) {
            let waiting = alarms("AWS/SQS", "ApproximateNumberOfMessagesVisible", Some(dead));
            assert_eq!(waiting.len(), 1, "a dead letter of {name}");
            assert_eq!(alarms("AWS/SQS", "ApproximateAgeOfOldestMessage", Some(name)).len(), 1, "{name} stands still");
        }
    }
    for (metric, statistic, function) in [
        // A dispatch that fails is an invocation, too; only one that succeeds tells how much it sent. And of which feed.
        ("AlertsDispatched", "SampleCount", "pull-dispatch"),
        ("MachinesDispatched", "SampleCount", "pull-dispatch"),
        ("TelemetryDispatched", "SampleCount", "pull-dispatch"),
        ("MachinesHeld", "Maximum", "machine-pull"),
        ("BytesBehind", "Maximum", "telemetry-drain"),
        ("CredentialDaysLeft", "Minimum", "credential-rotation"),
        ("CredentialFindings", "Maximum", "credential-rotation"),
        ("CredentialFindings", "SampleCount", "credential-rotation"),
        ("RotationsFailed", "Sum", "credential-rotation"),
    ] {
        watcher("Muster", metric, statistic, function);
    }
    for (_, puller) in PULLERS {
        watcher("Muster", "LedgerImbalance", "Sum", puller);
        watcher("Muster", "Quarantined", "Sum", puller);
        watcher("Muster", "FreshnessSeconds", "Maximum", puller);
        watcher("AWS/Lambda", "Throttles", "Sum", puller);
    }
    for name in super::functions::names() {
        let (function, _) = template.function(&name);
        assert_eq!(alarms("AWS/Lambda", "Errors", Some(function)).len(), 1, "errors of {name}");
    }
    // Who waits for a page is turned away; what ticks is not, and comes again.
    for pages in ["consent-callback", "console"] {
        watcher("AWS/Lambda", "Throttles", "Sum", pages);
    }
}

/// At the slowest pace that a stack may be given, too: a period that holds nothing would be taken for silence, and what
/// fails at every tick must not be counted as more in one window and as less in the next.
#[test]
fn no_alarm_is_too_short_for_any_pace() {
    let template = Template::shared();
    let errors = watcher("AWS/Lambda", "Errors", "Sum", "pull-dispatch");
    let (window, enough) = (errors["Period"].as_u64().unwrap(), errors["Threshold"].as_u64().unwrap());
    for (parameter, metric, puller) in [
        ("PullEveryMinutes", "AlertsDispatched", "alert-pull"),
        ("TelemetryEveryMinutes", "TelemetryDispatched", "telemetry-drain"),
    ] {
        let stopped = watcher("Muster", metric, "SampleCount", "pull-dispatch");
        assert_eq!(stopped["Period"]["Fn::FindInMap"], json!(["Seconds", "OfSilence", {"Ref": parameter}]));
        let stalled = watcher("Muster", "FreshnessSeconds", "Maximum", puller)["Period"].as_u64().unwrap();
        let paces = list(&template.json["Parameters"][parameter]["AllowedValues"]);
        assert!(paces.len() >= 2, "{paces:?}");
        for pace in paces.iter().map(|pace| pace.as_str().unwrap()) {
            let tick = 60 * pace.parse::<u64>().unwrap();
            let silence = seconds("OfSilence", pace);
            assert!(silence >= 2 * tick && silence >= 300, "{pace} minutes: one late tick would ring");
            assert!(stalled >= tick, "{pace} minutes: no pull in {stalled} s");
            // A failed tick is repeated once.
            assert!(window % tick == 0 && 2 * window / tick >= enough, "{pace} minutes: {window} s");
        }
    }
    let behind = watcher("Muster", "BytesBehind", "Maximum", "telemetry-drain")["Period"].as_u64().unwrap();
    assert!(behind >= 900, "at the slowest pace no drain ends in {behind} s");
}

fn seconds(map: &str, pace: &str) -> u64 {
    Template::shared().json["Mappings"]["Seconds"][map][pace].as_u64().unwrap()
}

/// An inventory comes by the hour, or twice a day. No period of CloudWatch's is longer than a day.
#[test]
fn every_alarm_on_inventories_waits_for_two_of_them() {
    let of = |parameter: &str| Template::shared().json["Parameters"][parameter]["AllowedValues"].as_array().unwrap();
    let map = |name: &str| json!(["Seconds", name, {"Ref": "MachinesEveryHours"}]);
    for (metric, statistic, function) in [
        ("MachinesDispatched", "SampleCount", "pull-dispatch"),
        ("FreshnessSeconds", "Maximum", "machine-pull"),
        ("MachinesHeld", "Maximum", "machine-pull"),
    ] {
        let alarm = watcher("Muster", metric, statistic, function);
        assert_eq!(alarm["Period"]["Fn::FindInMap"], map("OfSilenceInHours"), "{metric}");
        assert_eq!(alarm["EvaluationPeriods"], 1, "{metric}");
    }
    let stalled = watcher("Muster", "FreshnessSeconds", "Maximum", "machine-pull");
    assert_eq!(stalled["Threshold"]["Fn::FindInMap"], map("OfStaleness"));
    for pace in of("MachinesEveryHours").iter().map(|pace| pace.as_str().unwrap()) {
        let tick = 3600 * pace.parse::<u64>().unwrap();
        let silence = seconds("OfSilenceInHours", pace);
        assert!((2 * tick..=86_400).contains(&silence), "{pace} hours: {silence} s");
        assert!(seconds("OfStaleness", pace) > 2 * tick, "{pace} hours: one late inventory would ring");
    }
}

#[test]
fn every_alarm_tells_somebody_and_says_in_words_what_is_wrong() {
    let (topic, _) = Template::shared().only("AWS::SNS::Topic");
    for (name, alarm) in Template::shared().all("AWS::CloudWatch::Alarm") {
        let told: Vec<_> = alarm["AlarmActions"].as_array().unwrap().iter().filter_map(target).collect();
        assert_eq!(told, [topic], "{name}");
        assert!(alarm["AlarmDescription"].as_str().unwrap().len() > 20, "{name}");
        assert!(!alarm["TreatMissingData"].is_null(), "{name}: silence means something");
    }
}

#[test]
fn alarms_and_dashboard_ask_for_metrics_that_the_code_emits_and_never_for_a_tenant() {
    let template = Template::shared();
    let known: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    for (name, alarm) in template.all("AWS::CloudWatch::Alarm").filter(|(_, alarm)| alarm["Namespace"] == NAMESPACE) {
        let metric = alarm["MetricName"].as_str().unwrap();
        assert!(known.contains(metric), "{name} asks for {metric}");
        let dimensions = alarm["Dimensions"].as_array().unwrap();
        assert!(dimensions.len() == 1 && dimensions[0]["Name"] == "function", "{name}: {dimensions:?}");
    }
    let (_, dashboard) = template.only("AWS::CloudWatch::Dashboard");
    let body = dashboard["DashboardBody"]["Fn::Sub"].as_str().unwrap();
    let rows = metrics_of(&serde_json::from_str(body).unwrap());
    assert!(rows.iter().any(|row| row == "FreshnessSeconds"), "{rows:?}");
    for metric in rows {
        assert!(known.contains(metric.as_str()), "the dashboard asks for {metric}");
    }
}

/// The metrics of our namespace on a dashboard; `.` stands for what the row above has, `...` for all of it.
fn metrics_of(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for widget in dashboard["widgets"].as_array().unwrap() {
        let (mut namespace, mut metric) = (String::new(), String::new());
        for row in widget["properties"]["metrics"].as_array().unwrap() {
            let word = |at: usize| row[at].as_str().unwrap_or("...");
            if word(0) != "..." {
                let or = |word: &str, above: &String| if word == "." { above.clone() } else { word.to_owned() };
                (namespace, metric) = (or(word(0), &namespace), or(word(1), &metric));
            }
            if namespace == NAMESPACE {
                found.push(metric.clone());
            }
        }
    }
    found
}
