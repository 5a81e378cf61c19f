//! What the clock starts: the input must be what the code reads, and a tick must not outlive its use.

use serde_json::{Value, json};
use shared::{credential::check::CheckEvent, tenant::dispatch::Tick};

use super::functions::PULLERS;
use crate::template::{Template, list, target};

const MOMENT: &str = "2026-11-22T02:25:00Z";

/// A schedule's input at a moment, with every placeholder filled in.
fn input(schedule: &Value) -> String {
    let input = &schedule["Target"]["Input"];
    let text = input.as_str().or(input["Fn::Sub"].as_str()).or(input["Fn::Sub"][0].as_str()).unwrap();
    assert_eq!(text.matches("<aws.scheduler.scheduled-time>").count(), 1, "{text}");
    let text = text.replace("<aws.scheduler.scheduled-time>", MOMENT).replace("${Every}", "60");
    assert!(!text.contains("${") && !text.contains('<'), "{text}");
    text
}

/// The schedules that start a function.
fn schedules_of(function: &str) -> Vec<&'static Value> {
    let template = Template::shared();
    let (wanted, _) = template.function(function);
    let all = template.all("AWS::Scheduler::Schedule").map(|(_, schedule)| schedule);
    all.filter(|schedule| target(&schedule["Target"]["Arn"]) == Some(wanted)).collect()
}

#[test]
fn every_schedules_input_is_what_its_function_reads() {
    let ticks = schedules_of("pull-dispatch");
    let feeds: Vec<&str> = ticks
        .iter()
        .map(|schedule| {
            let tick: Tick = serde_json::from_str(&input(schedule)).unwrap();
            assert_eq!(tick.scheduled_time.to_string(), MOMENT);
            assert_eq!(schedule["Name"]["Fn::Sub"], format!("${{AWS::StackName}}-{}", tick.feed.name()));
            tick.feed.name()
        })
        .collect();
    assert_eq!(feeds, PULLERS.map(|(feed, _)| feed), "one schedule for each feed that is pulled");
    let [check] = schedules_of("credential-rotation")[..] else { panic!("one check of the credentials") };
    let check: CheckEvent = serde_json::from_str(&input(check)).unwrap();
    assert_eq!(check.scheduled_time.to_string(), MOMENT);
    assert_eq!(Template::shared().all("AWS::Scheduler::Schedule").count(), 4);
}

/// A message that takes its tick's time for another is too old too soon, or never.
#[test]
fn a_tick_says_how_long_it_is_until_the_next() {
    let template = Template::shared();
    for (schedule, (parameter, map, seconds, cron)) in schedules_of("pull-dispatch").into_iter().zip([
        ("PullEveryMinutes", "InMinutes", 60, "cron(0/${PullEveryMinutes} * * * ? *)"),
        ("MachinesEveryHours", "InHours", 3600, "cron(0 0/${MachinesEveryHours} * * ? *)"),
        ("TelemetryEveryMinutes", "InMinutes", 60, "cron(0/${TelemetryEveryMinutes} * * * ? *)"),
    ]) {
        assert_eq!(schedule["ScheduleExpression"]["Fn::Sub"], cron);
        let every = &schedule["Target"]["Input"]["Fn::Sub"][1]["Every"];
        assert_eq!(*every, json!({"Fn::FindInMap": ["Seconds", map, {"Ref": parameter}]}));
        for pace in list(&template.json["Parameters"][parameter]["AllowedValues"]) {
            let pace = pace.as_str().unwrap();
            let number = pace.parse::<u64>().unwrap();
            let said = template.json["Mappings"]["Seconds"][map][pace].as_str().unwrap();
            assert_eq!(said.parse::<u64>().unwrap(), seconds * number, "{parameter} {pace}");
            // Or the last tick of an hour, or of a day, is nearer to the next one than it says.
            assert_eq!(if seconds == 60 { 60 } else { 24 } % number, 0, "{parameter} {pace}");
        }
    }
}

/// The next tick does the work of one that failed, so a late one is worth nothing.
#[test]
fn a_tick_lives_for_minutes_and_what_failed_is_kept_as_evidence() {
    let template = Template::shared();
    for (name, schedule) in template.all("AWS::Scheduler::Schedule") {
        let retries = &schedule["Target"]["RetryPolicy"];
        assert!(retries["MaximumEventAgeInSeconds"].as_u64().unwrap() <= 300, "{name}");
        assert!(retries["MaximumRetryAttempts"].as_u64().unwrap() <= 3, "{name}");
        let dead = target(&schedule["Target"]["DeadLetterConfig"]["Arn"]).unwrap();
        template.properties(dead, "AWS::SQS::Queue");
        assert_eq!(schedule["FlexibleTimeWindow"]["Mode"], "OFF", "{name}: ticks are on the minute");
    }
}

/// The scheduler hands an event over and goes; then it is Lambda that repeats what fails, for six hours unless told.
#[test]
fn lambda_does_not_repeat_a_tick_for_hours() {
    let template = Template::shared();
    let (dispatch, _) = template.function("pull-dispatch");
    let mut configs = template.all("AWS::Lambda::EventInvokeConfig");
    let (_, config) = configs.find(|(_, config)| target(&config["FunctionName"]) == Some(dispatch)).unwrap();
    assert!(config["MaximumEventAgeInSeconds"].as_u64().unwrap() <= 300);
    assert!(config["MaximumRetryAttempts"].as_u64().unwrap() <= 2);
}
