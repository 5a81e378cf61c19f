//! Telemetry: blobs that grow for hours, hints that lie or never come, and each byte once.

use futures::executor::block_on;
use harness::{ACCOUNT, HINTS, Stage, TENANT, line, minutes, seconds};
use serde_json::{Value, json};
use shared::{
    ports::store::{Expect, MAX_WRITES},
    telemetry::{
        blob::{Blob, id},
        progress::Part,
    },
    tenant::{Ability, Feed},
};
use simulator::{Exporter, Fault, Habits, LineEnd, Route};

fn blob(hour: u32) -> String {
    format!("tenantId={TENANT}/y=2026/m=11/d=22/h={hour:02}/m=00/PT1H.json")
}

fn reports(stage: &Stage) -> Vec<u64> {
    let mut reports: Vec<u64> =
        stage.network_events().iter().map(|event| event["unmapped"]["ReportId"].as_u64().unwrap()).collect();
    reports.sort_unstable();
    reports
}

#[test]
fn pain_08_one_event_announces_hours_of_appends_and_every_one_is_delivered_once() {
    let stage = Stage::with_telemetry();
    let mut exporter = stage.exporter(1);
    for _ in 0..200 {
        stage.pass(seconds(30));
        stage.export(&mut exporter);
        stage.drain_telemetry();
    }
    stage.finish_export(&mut exporter);
    stage.pass(minutes(17));
    stage.drain_telemetry();
    assert!(exporter.ledger().deliveries() > 1000, "{}", exporter.ledger().deliveries());
    stage.lake_equals(exporter.ledger());
}

#[test]
fn pain_19_microsofts_own_repeats_are_delivered_once_for_each_blob() {
    let stage = Stage::with_telemetry();
    let habits = Habits { repeats: 300, repeats_across_blobs: 100, ..Habits::default() };
    let mut exporter = stage.exporter(2).with_habits(habits);
    for _ in 0..90 {
        stage.drain_telemetry();
        stage.export(&mut exporter);
    }
    stage.finish_export(&mut exporter);
    stage.pass(minutes(17));
    stage.drain_telemetry();
    stage.lake_equals(exporter.ledger());
    let ledger = stage.feed_view(Feed::Telemetry).ledger;
    assert!(ledger.deduplicated > ledger.fetched / 5, "{ledger:?}");
}

#[test]
fn a_line_is_taken_once_it_is_whole_whichever_way_it_ends() {
    for end in [LineEnd::CrLf, LineEnd::Lf] {
        let stage = Stage::with_telemetry();
        let habits = Habits { line_end: end, partial_lines: 500, ..Habits::default() };
        let mut exporter = stage.exporter(3).with_habits(habits);
        for _ in 0..30 {
            stage.export(&mut exporter);
            stage.drain_telemetry();
        }
        stage.finish_export(&mut exporter);
        stage.pass(minutes(17));
        stage.drain_telemetry();
        stage.lake_equals(exporter.ledger());
        assert_eq!(stage.quarantined_telemetry(), Vec::<Value>::new());
    }
}

#[test]
fn an_idle_pass_asks_the_queue_and_writes_nothing() {
    let stage = Stage::with_telemetry();
    stage.append(&blob(12), format!("{}\r\n", line(1, &json!({}))));
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [1]);
    let (asked, versions) = (stage.simulator.log().len(), stage.state_versions());
    stage.drain_telemetry();
    assert_eq!(stage.simulator.log().len() - asked, 2, "the queue, and the blob of this hour");
    assert_eq!(stage.state_versions(), versions);
    let objects = stage.lake.objects().len();
    for _ in 0..5 {
        stage.drain_telemetry();
    }
    assert_eq!(stage.lake.objects().len(), objects);
}

#[test]
fn a_blob_whose_hint_was_lost_is_found_within_the_hour() {
    let stage = Stage::with_telemetry();
    stage.drain_telemetry();
    stage.append(&blob(12), format!("{}\n", line(1, &json!({}))));
    stage.storage(|storage| storage.queue(HINTS).unwrap().clear());
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [0; 0]);
    stage.pass(minutes(60));
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [1]);
}

#[test]
fn a_blob_that_was_done_and_grew_again_wakes_up() {
    let stage = Stage::with_telemetry();
    stage.append(&blob(12), format!("{}\n", line(1, &json!({}))));
    stage.drain_telemetry();
    for _ in 0..30 {
        stage.pass(minutes(60));
        stage.drain_telemetry();
    }
    assert_eq!(stage.feed_view(Feed::Telemetry).blobs, Some(0), "it is done");
    let repeat = line(1, &json!({}));
    stage.append(&blob(12), format!("{repeat}\n{}\n", line(2, &json!({}))));
    stage.pass(minutes(60));
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [1, 2], "and what it had brought is still known");
}

#[test]
fn a_tail_without_an_end_is_taken_when_the_blob_is_done() {
    for (tail, good, bad) in [(line(2, &json!({})), vec![1, 2], 0), ("{half".to_owned(), vec![1], 1)] {
        let stage = Stage::with_telemetry();
        stage.append(&blob(12), format!("{}\n{tail}", line(1, &json!({}))));
        for _ in 0..30 {
            stage.pass(minutes(60));
            stage.drain_telemetry();
        }
        assert_eq!(reports(&stage), good);
        assert_eq!(stage.quarantined_telemetry().len(), bad);
        assert_eq!(stage.feed_view(Feed::Telemetry).bytes_behind, Some(0));
        assert!(stage.feed_view(Feed::Telemetry).ledger.balances());
    }
}

#[test]
fn a_blob_that_was_replaced_is_read_from_its_beginning_and_what_both_hold_comes_once() {
    let (one, two, three) = (line(1, &json!({})), line(2, &json!({})), line(3, &json!({})));
    for how in ["anew", "shorter", "in place"] {
        let stage = Stage::with_telemetry();
        stage.append(&blob(12), format!("{one}\n{two}\n"));
        stage.drain_telemetry();
        stage.pass(minutes(1));
        stage.storage(|storage| match how {
            "anew" => storage.replace(Exporter::CONTAINER, &blob(12), format!("{two}\n{three}\n")),
            "shorter" => storage.shrink(Exporter::CONTAINER, &blob(12), 0),
            _ => {
                let born = stage.now() - minutes(2);
                storage.replace(Exporter::CONTAINER, &blob(12), format!("{three}\n{one}\n{two}\n{two}\n"));
                storage.set_creation_time(Exporter::CONTAINER, &blob(12), born);
            }
        });
        if how == "shorter" {
            stage.drain_telemetry();
            stage.append(&blob(12), format!("{three}\n"));
        }
        stage.drain_telemetry();
        assert_eq!(reports(&stage), [1, 2, 3], "{how}");
        assert!(stage.feed_view(Feed::Telemetry).ledger.balances());
    }
}

#[test]
fn pain_23_a_large_blob_is_read_in_pieces_and_goes_on_where_it_stopped() {
    let stage = Stage::with_telemetry();
    let filler = "x".repeat(20_000);
    let lines: Vec<String> = (0..2000).map(|n| line(n, &json!({"New": filler}))).collect();
    stage.append(&blob(12), lines.join("\r\n") + "\r\n");
    // Cut off twice in the middle of the transfer.
    stage.script_storage(
        Route::Blob,
        [Fault::Normal, Fault::Broken { after: 5_000_000 }, Fault::Truncated { after: 9_000_000 }],
    );
    stage.drain_telemetry();
    stage.drain_telemetry();
    assert_eq!(reports(&stage), (0..2000).collect::<Vec<u64>>());
    let keys = stage.lake.objects().into_keys().filter(|key| key.starts_with("telemetry/")).count();
    assert!(keys >= 2, "several objects, and none held whole");
}

#[test]
fn hints_are_believed_about_the_name_of_a_blob_and_nothing_else() {
    let stage = Stage::with_telemetry();
    stage.append(&blob(12), format!("{}\n", line(1, &json!({}))));
    let event = |name: &str| {
        json!({
            "subject": format!("/blobServices/default/containers/{}/blobs/{name}", Exporter::CONTAINER),
            "eventType": "Microsoft.Storage.BlobCreated", "data": {"url": "https://evil.example/collect"},
        })
        .to_string()
    };
    let good = [event(&blob(12)), event(&blob(12)), event(&blob(13)), event(&blob(12).replace("aa/y", "ab/y"))];
    let bad = ["", "!", "bm90IGpzb24=", "{}", &event("../../secrets"), &event("a%2f..%2fb")];
    stage.storage(|storage| {
        let queue = storage.queue(HINTS).unwrap();
        queue.clear();
        good.iter().map(String::as_str).chain(bad).for_each(|text| queue.put_raw(text));
    });
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [1]);
    assert_eq!(stage.storage(|storage| storage.queue(HINTS).unwrap().len()), bad.len(), "what was understood is gone");
    for _ in 0..6 {
        stage.pass(minutes(3));
        stage.drain_telemetry();
    }
    assert!(stage.storage(|storage| storage.queue(HINTS).unwrap().is_empty()));
    assert_eq!(stage.quarantined_telemetry().len(), bad.len());
    let ledger = stage.feed_view(Feed::Telemetry).ledger;
    assert!(ledger.balances() && ledger.quarantined == bad.len() as u64, "{ledger:?}");
    let origins = stage.origins.lock().unwrap();
    assert!(!origins.iter().any(|origin| origin.contains("evil")), "{origins:?}");
}

#[test]
fn lines_that_are_no_records_go_to_the_quarantine_once_and_their_neighbours_are_delivered() {
    let stage = Stage::with_telemetry();
    let large = line(2, &json!({"AdditionalFields": "x".repeat(1 << 20)}));
    let mut text = Vec::new();
    for part in [
        line(1, &json!({"AdditionalFields": {"a": 1}})).as_bytes(),
        b"{half",
        b"{\"properties\":{\"Timestamp\":\"2026-11-22T12:00:00Z\",\"x\":\"\xff\"}}",
        br#"{"properties":{"Timestamp":"2026-11-22T12:00:00Z","x":"\ud800"}}"#,
        large.as_bytes(),
        b"{half",
        line(3, &json!({"Timestamp": "9999-12-31T23:59:59Z"})).as_bytes(),
        line(4, &json!({"Timestamp": "0001-01-01T00:00:00Z", "AdditionalFields": null})).as_bytes(),
        line(999_999_999_999_999_999, &json!({"AdditionalFields": "{\"b\":2}"})).as_bytes(),
    ] {
        text.extend_from_slice(part);
        text.extend_from_slice(b"\r\n");
    }
    stage.append(&blob(12), text);
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [1, 2, 4, 999_999_999_999_999_999]);
    let ledger = stage.feed_view(Feed::Telemetry).ledger;
    assert_eq!((ledger.fetched, ledger.delivered, ledger.deduplicated, ledger.quarantined), (9, 4, 1, 4));
    assert_eq!(stage.quarantined_telemetry().len(), 4);
}

#[test]
fn a_tenant_sees_only_its_own_blobs_and_lines() {
    let stage = Stage::with_telemetry();
    let other = "a0000000-0000-4000-8000-0000000000bb";
    stage.append(&blob(12).replace(TENANT, other), format!("{}\n", line(1, &json!({}))));
    stage.append(&blob(12), format!("{}\n{}\n", line(2, &json!({})), line(3, &json!({})).replace(TENANT, other)));
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [2]);
    assert_eq!(stage.quarantined_telemetry().len(), 1);
}

#[test]
fn a_line_without_an_end_goes_to_the_quarantine_and_what_follows_is_delivered() {
    let stage = Stage::with_telemetry();
    let endless = "x".repeat(20 << 20);
    let long = line(2, &json!({"AdditionalFields": "y".repeat(3 << 20)}));
    stage.append(&blob(12), format!("{}\n{endless}\n{long}\n{}\n", line(1, &json!({})), line(3, &json!({}))));
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [1, 3]);
    let kept = stage.quarantined_telemetry();
    assert!(kept.len() >= 3 && kept.iter().all(|record| record["source"].as_str().unwrap().len() <= 64 << 10));
    let view = stage.feed_view(Feed::Telemetry);
    assert!(view.ledger.balances() && view.bytes_behind == Some(0), "{view:?}");
}

#[test]
fn a_blob_full_of_what_is_no_record_neither_wedges_its_tenant_nor_fills_the_quarantine() {
    let stage = Stage::with_telemetry();
    let bad: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    stage.append(&blob(12), format!("{bad}{}\n", line(1, &json!({}))));
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [1]);
    let ledger = stage.feed_view(Feed::Telemetry).ledger;
    assert_eq!((ledger.fetched, ledger.quarantined, ledger.delivered), (100_001, 100_000, 1));
    let objects = stage.lake.objects().into_keys().filter(|key| key.starts_with("quarantine/telemetry/")).count();
    assert!(objects < 10, "{objects} objects");
    assert_eq!(stage.events_of("quarantine/telemetry/").len(), 100_000);
}

#[test]
fn what_was_not_touched_since_before_the_first_look_is_left_alone() {
    let stage = Stage::with_storage(&[("MUSTER_FIRST_LOOK_DAYS", "1")]);
    stage.append(&blob(0), format!("{}\n", line(1, &json!({}))));
    stage.pass(minutes(36 * 60));
    stage.append(&blob(1), format!("{}\n", line(2, &json!({}))));
    stage.storage(|storage| storage.queue(HINTS).unwrap().clear());
    stage.connect_feeds(&[Feed::Telemetry], Some("contosologs/hints")).unwrap();
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [2]);
}

#[test]
fn a_blob_that_is_gone_is_forgotten_with_its_marks_and_one_that_never_was_does_no_harm() {
    let stage = Stage::with_telemetry();
    stage.append(&blob(12), format!("{}\n", line(1, &json!({}))));
    stage.append(&blob(13), format!("{}\n", line(2, &json!({}))));
    stage.drain_telemetry();
    stage.storage(|storage| storage.delete_blob(Exporter::CONTAINER, &blob(12)));
    stage.pass(minutes(61));
    stage.drain_telemetry();
    stage.drain_telemetry();
    assert_eq!(stage.feed_view(Feed::Telemetry).blobs, Some(1));
    stage.assert_telemetry_tidy(0);
    let never = json!({
        "subject": format!("/blobServices/default/containers/{}/blobs/{}", Exporter::CONTAINER, blob(14)),
        "eventType": "Microsoft.Storage.BlobCreated",
    });
    stage.storage(|storage| storage.queue(HINTS).unwrap().put_raw(&never.to_string()));
    stage.drain_telemetry();
    assert_eq!((reports(&stage), stage.feed_view(Feed::Telemetry).blobs), (vec![1, 2], Some(1)));
}

/// Registers so many blobs that are done, and of which nothing is left.
fn remember_blobs(stage: &Stage, count: usize) {
    let (tenant, store) = (TENANT.parse().unwrap(), stage.app.ports.store.as_ref());
    let names: Vec<String> = (0..count).map(|number| format!("gone/{number}")).collect();
    for some in names.chunks(MAX_WRITES) {
        let put = |name: &String| {
            let blob = Blob::new(ACCOUNT, name, stage.now());
            Part::Retired.put(tenant, &id(ACCOUNT, name), &blob, Expect::Absent).unwrap()
        };
        block_on(store.commit(some.iter().map(put).collect())).unwrap();
    }
}

#[test]
fn more_blobs_than_are_kept_in_mind_are_a_complaint_and_no_reason_to_list_more_often() {
    let stage = Stage::with_telemetry();
    remember_blobs(&stage, 50_000);
    stage.append(&blob(12), format!("{}\n", line(1, &json!({}))));
    stage.storage(|storage| storage.queue(HINTS).unwrap().clear());
    let lists = || stage.simulator.log().iter().filter(|entry| entry.target.contains("comp=list")).count();
    let asked = lists();
    for _ in 0..5 {
        stage.drain_telemetry();
        let capability = stage.capability_of(Feed::Telemetry);
        assert_eq!(capability.status, Ability::Failing, "{capability:?}");
        assert!(capability.next_step.contains("delete old blobs"), "{capability:?}");
    }
    assert_eq!((lists() - asked, reports(&stage)), (1, vec![]));
    stage.pass(minutes(61));
    stage.drain_telemetry();
    assert_eq!((lists() - asked, reports(&stage)), (2, vec![1]), "what is gone has made room");
    assert_eq!(stage.capability_of(Feed::Telemetry).status, Ability::Ok);
}

#[test]
fn a_404_of_a_gateway_forgets_nothing() {
    let stage = Stage::with_telemetry();
    stage.append(&blob(12), format!("{}\n", line(1, &json!({}))));
    stage.drain_telemetry();
    stage.append(&blob(12), format!("{}\n", line(2, &json!({}))));
    stage.script_storage(Route::Blob, [Fault::Html(404)]);
    stage.drain_telemetry();
    stage.pass(minutes(61));
    stage.drain_telemetry();
    assert_eq!(reports(&stage), [1, 2]);
}

#[test]
fn pain_20_what_storage_refuses_later_is_named_sleeps_and_is_noticed_when_it_is_mended() {
    for (refuse, ability, word) in [
        ("firewall", Ability::Failing, "firewall"),
        ("reader", Ability::RoleMissing, "Storage Blob Data Reader"),
        ("busy", Ability::Throttled, "wait"),
        ("container", Ability::Failing, "insights-logs-advancedhunting-devicenetworkevents"),
    ] {
        let stage = Stage::with_telemetry();
        stage.append(&blob(12), format!("{}\n", line(1, &json!({}))));
        stage.drain_telemetry();
        stage.append(&blob(12), format!("{}\n", line(2, &json!({}))));
        stage.storage(|storage| match refuse {
            "firewall" => storage.firewall = true,
            "reader" => storage.unassign(harness::CLIENT, simulator::StorageRole::BlobDataReader),
            "container" => storage.delete_container(Exporter::CONTAINER),
            _ => {}
        });
        let throttled = Fault::Throttled { seconds: 90, header: true, words: false };
        if refuse == "busy" {
            stage.script_storage(Route::Blob, [throttled]);
        }
        stage.drain_telemetry();
        if refuse == "container" {
            stage.pass(minutes(61));
            stage.drain_telemetry();
        }
        let capability = stage.capability_of(Feed::Telemetry);
        assert_eq!(capability.status, ability, "{refuse}: {capability:?}");
        assert!(capability.next_step.contains(word), "{refuse}: {capability:?}");
        if refuse == "container" {
            continue;
        }
        let asked = stage.simulator.log().len();
        stage.pull(Feed::Telemetry);
        assert_eq!(stage.simulator.log().len(), asked, "{refuse}: it sleeps");
        stage.storage(|storage| {
            storage.firewall = false;
            let now = storage_now();
            storage.assign(harness::CLIENT, simulator::StorageRole::BlobDataReader, now);
        });
        stage.pass(minutes(61));
        stage.drain_telemetry();
        assert_eq!(
            (reports(&stage), stage.capability_of(Feed::Telemetry).status),
            (vec![1, 2], Ability::Ok),
            "{refuse}"
        );
    }
}

/// Long ago: a role given then is in force.
fn storage_now() -> jiff::Timestamp {
    harness::at(-1000)
}

#[test]
fn pain_08_a_blob_is_never_read_again_from_its_beginning() {
    let stage = Stage::with_telemetry();
    let mut length = 0;
    for number in 0..20 {
        let text = format!("{}\r\n", line(number, &json!({"New": "x".repeat(20_000)})));
        length += text.len() as u64;
        stage.append(&blob(12), text);
        stage.drain_telemetry();
    }
    let read: u64 = stage.metrics().iter().filter_map(|document| document["BytesRead"].as_u64()).sum();
    assert!((length..length + 20 * 4096).contains(&read), "{read} of {length} bytes");
}
