//! Stories of the exporter: what it writes is what its ledger says, in all the ways that were seen of Defender.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::stage::*;
use crate::storage_stage::*;
use simulator::{Exporter, Habits, LineEnd, Simulator, Step};

fn exporter(seed: u64, habits: Habits) -> Exporter {
    Exporter::new(seed, TENANT, ACCOUNT, noon()).with_habits(habits)
}

/// What follows a line's `properties`.
const TAIL: &str = ",\"Tenant\":\"DefaultTenant\"}";

/// A day of export, applied minute by minute.
fn a_day(simulator: &Simulator, exporter: &mut Exporter) {
    for minute in 0..24 * 60 {
        simulator.set_now(noon() + seconds(60 * minute));
        let steps = exporter.advance(simulator.now());
        account(simulator, |account| steps.into_iter().for_each(|step| account.export(QUEUE, step)));
    }
    account(simulator, |account| exporter.finish().into_iter().for_each(|step| account.export(QUEUE, step)));
}

#[test]
fn the_ledger_is_what_lies_in_the_blobs() {
    for line_end in [LineEnd::CrLf, LineEnd::Lf] {
        let simulator = storage();
        let mut exporter = exporter(11, Habits { line_end, damaged_lines: 5, ..Habits::default() });
        a_day(&simulator, &mut exporter);
        let ledger = exporter.ledger();
        let names = account(&simulator, |account| account.blobs(CONTAINER));
        assert_eq!(names, ledger.blobs.keys().cloned().collect::<Vec<_>>());
        assert_eq!(names.len(), 24);
        for name in names {
            let blob = account(&simulator, |account| account.read(CONTAINER, &name)).unwrap();
            let expected = &ledger.blobs[&name];
            assert_eq!(blob.len() as u64, expected.bytes);
            let end: &[u8] = if line_end == LineEnd::CrLf { b"\r\n" } else { b"\n" };
            assert!(blob.ends_with(end), "no line is left unfinished");
            let lines: Vec<&[u8]> = blob.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            assert_eq!(lines.len() as u64, expected.lines);
            let parsed = lines.iter().filter_map(|line| serde_json::from_slice::<Value>(line).ok());
            let key = |row: &Value| {
                let text = |name: &str| row[name].as_str().unwrap().to_owned();
                (text("DeviceId"), row["ReportId"].as_u64().unwrap(), text("Timestamp"), text("ActionType"))
            };
            let found: BTreeSet<_> = parsed.map(|line| key(&line["properties"])).collect();
            let records = expected.records.iter();
            let recorded: BTreeSet<_> = records
                .map(|one| (one.device_id.clone(), one.report_id, one.timestamp.clone(), one.action_type.clone()))
                .collect();
            assert_eq!(found, recorded);
            let texts: Vec<&str> = lines.iter().map(|line| std::str::from_utf8(line).unwrap().trim_end()).collect();
            let properties = texts.iter().filter_map(|line| line.split_once("\"properties\":")?.1.strip_suffix(TAIL));
            let recorded: BTreeSet<&str> = expected.records.iter().map(|one| one.properties.as_str()).collect();
            assert_eq!(properties.collect::<BTreeSet<_>>(), recorded);
            assert!(expected.damaged.iter().all(|line| texts.iter().any(|text| text.as_bytes() == line)));
        }
        assert!(ledger.blobs.values().any(|blob| !blob.damaged.is_empty()));
    }
}

#[test]
fn it_writes_in_all_the_ways_that_were_seen() {
    let mut exporter = exporter(3, Habits::default());
    let steps: Vec<(Timestamp, Step)> = (0..3 * 24 * 60)
        .flat_map(|minute| {
            let now = noon() + seconds(60 * minute);
            exporter.advance(now).into_iter().map(move |step| (now, step)).collect::<Vec<_>>()
        })
        .collect();
    let events: Vec<&String> = steps
        .iter()
        .filter_map(|(_, step)| if let Step::Event { message, .. } = step { Some(message) } else { None })
        .collect();
    let expired = steps.iter().filter(|(_, step)| matches!(step, Step::Event { time_to_live: Some(_), .. })).count();
    let blobs = exporter.ledger().blobs.len();
    assert_eq!(blobs, 72);
    assert!(events.len() > blobs && events.iter().collect::<BTreeSet<_>>().len() == blobs, "some come twice");
    assert!((1..blobs).contains(&expired), "{expired}");
    let event: Value = serde_json::from_slice(&STANDARD.decode(events[0]).unwrap()).unwrap();
    assert_eq!(
        event["data"]["url"],
        format!(
            "https://{ACCOUNT}.blob.core.windows.net/{CONTAINER}/tenantId={TENANT}/y=2026/m=06/d=01/h=12/m=00/PT1H.json"
        )
    );

    let appends: Vec<(Timestamp, &String, &Vec<u8>)> = steps
        .iter()
        .filter_map(|(at, step)| if let Step::Append { name, bytes } = step { Some((*at, name, bytes)) } else { None })
        .collect();
    let partial = appends.iter().filter(|(_, _, bytes)| !bytes.ends_with(b"\n")).count();
    assert!(partial > 100, "{partial} appends end within a line");
    assert!(appends.iter().any(|(_, _, bytes)| bytes.ends_with(b"\r")), "and some between the two bytes of its end");
    let hour = |name: &str| -> Timestamp {
        let part = |key: &str| name.split('/').find_map(|part| part.strip_prefix(key)).unwrap().to_owned();
        at(&format!("{}-{}-{}T{}:00:00Z", part("y="), part("m="), part("d="), part("h=")))
    };
    let lateness: Vec<i64> = appends.iter().map(|(at, name, _)| at.duration_since(hour(name)).as_hours()).collect();
    assert!(lateness.iter().filter(|hours| **hours >= 2).count() > 50, "backfill into old hours");
    assert!(lateness.iter().all(|hours| (0..=14).contains(hours)), "{:?}", lateness.iter().max());

    exporter.finish();
    let ledger = exporter.ledger();
    let distinct = u64::try_from(ledger.deliveries()).unwrap();
    let repeated = (ledger.lines() - distinct) * 1000 / ledger.lines();
    assert!((15..=40).contains(&repeated), "{repeated} in a thousand lines are repeats within their blob");
    assert!(ledger.records().len() < ledger.deliveries(), "some are repeated in another blob");
}

#[test]
fn its_rows_are_as_various_as_defender_s() {
    let mut exporter = exporter(5, Habits { lines_per_minute: 60..=60, ..Habits::default() });
    exporter.advance(noon() + seconds(30 * 60));
    exporter.finish();
    let rows: Vec<Value> =
        exporter.ledger().records().iter().map(|one| serde_json::from_str(&one.properties).unwrap()).collect();
    let some = |what: &str, holds: &dyn Fn(&Value) -> bool| {
        assert!(rows.iter().any(holds), "no row {what}");
    };
    let kinds = |name: &'static str| rows.iter().filter_map(|row| row[name].as_str()).collect::<BTreeSet<_>>();
    assert_eq!(kinds("ActionType").len(), 20);
    assert_eq!(kinds("DeviceId").len(), 5);
    some("with an object", &|row| row["AdditionalFields"].is_object());
    some("with JSON in a string", &|row| row["AdditionalFields"].as_str().is_some_and(|text| text.starts_with('{')));
    some("with null", &|row| row["AdditionalFields"].is_null());
    some("beyond a double's digits", &|row| row["ReportId"].as_u64().unwrap() > 1 << 53);
    some("with IPv6", &|row| row["RemoteIP"].as_str().unwrap().starts_with("2001:"));
    some("mapped into IPv6", &|row| row["RemoteIP"].as_str().unwrap().starts_with("::ffff:"));
    some("with an address", &|row| row["RemoteUrl"].is_string());
    some("with null for an address", &|row| row.as_object().unwrap().get("RemoteUrl") == Some(&Value::Null));
    some("without the member", &|row| row.get("RemoteUrl").is_none());
    let digits: BTreeSet<usize> =
        rows.iter().map(|row| row["Timestamp"].as_str().unwrap().len() - "2026-06-01T12:00:00Z".len()).collect();
    assert_eq!(digits, [0, 2, 3, 4, 5, 6, 7, 8].into(), "no fraction digits, and one to seven");
}

#[test]
fn the_same_seed_writes_the_same_bytes_however_often_it_is_asked() {
    let run = |seed, stride: i64| {
        let mut exporter = exporter(seed, Habits::default());
        let mut steps = Vec::new();
        for minute in (0..=600).step_by(usize::try_from(stride).unwrap()) {
            steps.extend(exporter.advance(noon() + seconds(60 * minute)));
        }
        steps.extend(exporter.finish());
        steps
    };
    assert_eq!(run(1, 1), run(1, 100));
    assert_ne!(run(1, 1), run(2, 1));
}

#[test]
fn an_expired_hint_is_gone_before_anybody_looks() {
    let simulator = storage();
    let mut exporter = exporter(1, Habits { expired_hints: 1000, second_events: 0, ..Habits::default() });
    let steps = exporter.advance(noon());
    account(&simulator, |account| steps.into_iter().for_each(|step| account.export(QUEUE, step)));
    assert_eq!(account(&simulator, |account| account.queue(QUEUE).unwrap().len()), 1);
    simulator.advance(seconds(1));
    assert!(account(&simulator, |account| account.queue(QUEUE).unwrap().is_empty()));
    assert_eq!(account(&simulator, |account| account.blobs(CONTAINER)).len(), 1);
}
