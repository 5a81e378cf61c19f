//! What leaves us: OCSF 1.3.0 Detection Findings, valid against the published schema, with nothing of Microsoft's lost.

use harness::{Stage, TENANT, at, seconds, stamp};
use serde_json::{Value, json};
use simulator::Alert;

const SCHEMA: &str = include_str!("../fixtures/ocsf/detection_finding-1.3.0.schema.json");

/// Violations of the schema, in words.
pub fn violations(event: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(event).map(|error| format!("{} at {}", error, error.instance_path())).collect()
}

/// The one event that this alert becomes, proven valid.
fn event_of(alert: Alert) -> Value {
    event_with(&[], alert)
}

fn event_with(settings: &[(&str, &str)], alert: Alert) -> Value {
    let stage = Stage::with(settings);
    stage.connect(TENANT).unwrap();
    stage.put(alert);
    stage.tick();
    let events = stage.events();
    assert_eq!(events.len(), 1);
    assert_eq!(violations(&events[0]), Vec::<String>::new(), "{}", events[0]);
    events[0].clone()
}

fn alert() -> Alert {
    Alert::new("da1", at(0) + seconds(30))
}

#[test]
fn the_schema_itself_can_refuse() {
    let good = event_of(alert());
    for (pointer, value) in [("/severity_id", json!(42)), ("/time", json!("noon")), ("/finding_info", json!({}))] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!violations(&bad).is_empty(), "{pointer}");
    }
    let mut bad = good;
    bad["surprise"] = json!(1);
    assert!(!violations(&bad).is_empty(), "unknown attributes are refused");
}

#[test]
fn an_alert_is_a_detection_finding_with_device_process_file_and_user_as_evidence() {
    let entity = |kind: &str, fields: Value| {
        let mut entity =
            json!({"entityType": kind, "evidenceCreationTime": stamp(at(0)), "ipAddress": null, "url": null});
        for (name, value) in fields.as_object().unwrap() {
            entity[name] = value.clone();
        }
        entity
    };
    let event = event_of(
        alert()
            .with("severity", json!("High"))
            .with("mitreTechniques", json!(["T1064", "T1059.001"]))
            .with("relatedUser", json!({"userName": "temp1", "domainName": "DOMAIN"}))
            .with("computerDnsName", json!("host_1.contoso.example"))
            .with(
                "evidence",
                json!([
                    entity("Process", json!({"processId": 3276, "fileName": "rundll32.exe", "filePath": "C:\\Windows",
                        "sha256": "a4752c71d81afd3d5865d24ddb11a6b0c615062fcc448d24050c2172d2cb0000",
                        "processCommandLine": "rundll32.exe x.dll,Run", "processCreationTime": "2026-01-26T20:31:32.9581596Z",
                        "parentProcessId": 8420, "parentProcessFileName": "cmd.exe", "detectionStatus": "Detected",
                        "accountName": "temp1", "userPrincipalName": "temp1@contoso.example"})),
                    entity("File", json!({"fileName": "x.dll", "sha1": "ff836cfb1af40252bd2a2ea843032e99a5b20000"})),
                    entity("User", json!({"accountName": "eve", "domainName": "D", "userSid": "S-1-5-21", "userPrincipalName": "no mail"})),
                    entity("Ip", json!({"ipAddress": "203.0.113.9"})),
                    entity("Ip", json!({"ipAddress": "not an address"})),
                    entity("Url", json!({"url": "http://evil.example/a"})),
                    entity("Registry", json!({"registryHive": "HKEY_LOCAL_MACHINE", "registryKey": "SOFTWARE\\X", "registryValue": "v"})),
                    entity("CloudResource", json!({"resourceId": "/subscriptions/1"})),
                    null,
                    7,
                ]),
            ),
    );
    assert_eq!(event["class_uid"], 2004);
    assert_eq!(event["type_uid"], 200_401);
    assert_eq!((&event["severity_id"], &event["severity"]), (&json!(4), &json!("High")));
    assert_eq!(event["metadata"]["tenant_uid"], TENANT);
    assert_eq!(event["finding_info"]["uid"], "da1");
    assert_eq!(event["finding_info"]["attacks"][1]["technique"]["uid"], "T1059.001");
    let evidences = event["evidences"].as_array().unwrap();
    assert_eq!(evidences[0]["device"]["name"], "host_1.contoso.example", "no hostname by the schema's rule");
    assert_eq!(evidences[1]["user"], json!({"name": "temp1", "domain": "DOMAIN"}));
    let process = &evidences[2]["process"];
    assert_eq!((&process["pid"], &process["parent_process"]["name"]), (&json!(3276), &json!("cmd.exe")));
    assert_eq!(process["file"]["hashes"][0]["algorithm_id"], 3);
    assert_eq!(process["user"]["email_addr"], "temp1@contoso.example");
    assert_eq!(evidences[2]["data"]["detectionStatus"], "Detected");
    assert_eq!(evidences[3]["file"]["name"], "x.dll");
    assert_eq!(evidences[4]["data"]["userPrincipalName"], "no mail", "what the schema refuses stays beside");
    assert_eq!(evidences[5]["dst_endpoint"]["ip"], "203.0.113.9");
    assert_eq!(evidences[6]["data"]["ipAddress"], "not an address");
    assert_eq!(evidences[7]["url"]["url_string"], "http://evil.example/a");
    assert_eq!(evidences[8]["reg_key"]["path"], "HKEY_LOCAL_MACHINE\\SOFTWARE\\X");
    assert_eq!(evidences[9]["data"]["resourceId"], "/subscriptions/1");
    assert_eq!(evidences[10]["data"], 7);
}

#[test]
fn pain_25_unknown_enums_nulls_extra_fields_and_wrong_types_are_kept() {
    let event = event_of(
        alert()
            .with("severity", json!("Catastrophic"))
            .with("status", json!("Escalated"))
            .with("futureField", json!({"deep": [1, null]}))
            .with("title", Value::Null)
            .with("description", json!(7))
            .with("mitreTechniques", json!("T1064"))
            .with("incidentId", json!("not a number"))
            .with("relatedUser", json!("temp1"))
            .with("machineId", json!(["x"]))
            .with("evidence", json!({"not": "a list"}))
            .with("firstEventTime", json!("yesterday")),
    );
    assert_eq!((&event["severity_id"], &event["severity"]), (&json!(99), &json!("Catastrophic")));
    assert_eq!((&event["status_id"], &event["status"]), (&json!(99), &json!("Escalated")));
    assert_eq!(event["finding_info"]["title"], "da1");
    let unmapped = &event["unmapped"];
    assert_eq!(unmapped["futureField"], json!({"deep": [1, null]}));
    for (field, value) in [
        ("description", json!(7)),
        ("mitreTechniques", json!("T1064")),
        ("incidentId", json!("not a number")),
        ("relatedUser", json!("temp1")),
        ("machineId", json!(["x"])),
        ("evidence", json!({"not": "a list"})),
        ("firstEventTime", json!("yesterday")),
    ] {
        assert_eq!(unmapped[field], value, "{field}");
    }
}

#[test]
fn an_enum_that_is_no_text_stays_as_it_is() {
    let event = event_of(alert().with("severity", json!(7)).with("status", Value::Null));
    assert_eq!((&event["severity_id"], &event["severity"]), (&json!(99), &json!("7")));
    assert_eq!(event["unmapped"]["severity"], 7);
    assert_eq!(event["status_id"], 0);
}

#[test]
fn the_source_text_travels_along_unless_it_is_too_long_or_unwanted() {
    let short = event_of(alert());
    let source: Value = serde_json::from_str(short["raw_data"].as_str().unwrap()).unwrap();
    assert_eq!(source["id"], "da1");

    let long = event_of(alert().with("description", json!("ä".repeat(70_000))));
    assert!(long.get("raw_data").is_none());
    assert!(long["unmapped"]["source"].as_str().unwrap().contains("da1"));
    assert_eq!(long["unmapped"]["description"].as_str().unwrap().chars().count(), 70_000);

    let off = event_with(&[("MUSTER_RAW_DATA", "off")], alert());
    assert!(off.get("raw_data").is_none());
    assert!(off.get("unmapped").is_none_or(|unmapped| unmapped.get("source").is_none()));
}

#[test]
fn the_uid_is_the_same_for_the_same_version_wherever_it_is_pulled() {
    let one = event_of(alert());
    let other = event_with(&[("MUSTER_PAGE_SIZE", "1")], alert().with("title", json!("another title")));
    assert_eq!(one["metadata"]["uid"], other["metadata"]["uid"]);
    let later = event_of(Alert::new("da1", at(0) + seconds(31)));
    assert_ne!(one["metadata"]["uid"], later["metadata"]["uid"]);
}
