//! Who is told when something is wrong.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::template::{Template, root, target};

/// Every metric that a story without trouble makes the functions tell; it looks for them in their logs.
pub const METRICS: [&str; 11] = [
    "CredentialDaysLeft",
    "CredentialFindings",
    "Deduplicated",
    "Delivered",
    "Dispatched",
    "Fetched",
    "FreshnessSeconds",
    "LatenessSeconds",
    "LedgerImbalance",
    "Quarantined",
    "RotationsFailed",
];
/// Told only of trouble: a message given back (the poisoned one is), a tenant throttled, a window parked.
pub const OF_TROUBLE: [&str; 3] = ["MessagesFailed", "Parked", "Throttled"];

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
    for (metric, function) in [
        ("LedgerImbalance", "alert-pull"),
        ("FreshnessSeconds", "alert-pull"),
        ("CredentialDaysLeft", "credential-rotation"),
        ("RotationsFailed", "credential-rotation"),
    ] {
        let (function, _) = template.function(function);
        assert_eq!(alarms("Muster", metric, Some(function)).len(), 1, "{metric}");
    }
    for name in super::functions::names() {
        let (function, _) = template.function(&name);
        assert_eq!(alarms("AWS/Lambda", "Errors", Some(function)).len(), 1, "errors of {name}");
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
    let known: BTreeSet<&str> = METRICS.into_iter().chain(OF_TROUBLE).collect();
    for (name, alarm) in template.all("AWS::CloudWatch::Alarm").filter(|(_, alarm)| alarm["Namespace"] == "Muster") {
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

#[test]
fn the_code_knows_every_metric_by_that_name() {
    let code = fs::read_to_string(root().join("shared/src/metrics.rs")).unwrap();
    for metric in METRICS.into_iter().chain(OF_TROUBLE) {
        assert!(code.contains(metric), "{metric}");
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
            if namespace == "Muster" {
                found.push(metric.clone());
            }
        }
    }
    found
}
