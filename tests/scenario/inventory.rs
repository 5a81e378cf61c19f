//! What leaves us of machines: OCSF 1.3.0 Device Inventory Info, valid against the published schema, with nothing of
//! Microsoft's lost.

use harness::{Stage, TENANT, at};
use serde_json::{Map, Value, json};
use simulator::Machine;

const SCHEMA: &str = include_str!("../fixtures/ocsf/inventory_info-1.3.0.schema.json");

/// Violations of the schema, in words.
fn violations(event: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(event).map(|error| format!("{} at {}", error, error.instance_path())).collect()
}

fn event_of(machine: Machine) -> Value {
    event_with(&[], machine)
}

/// The one event that this machine becomes, proven valid.
fn event_with(settings: &[(&str, &str)], machine: Machine) -> Value {
    let stage = Stage::with(settings);
    stage.give_machines(TENANT);
    stage.machines(|machines| machines.put(machine));
    stage.run_machines();
    let events = stage.machine_events();
    assert_eq!(events.len(), 1);
    assert_eq!(violations(&events[0]), Vec::<String>::new(), "{}", events[0]);
    events[0].clone()
}

fn machine() -> Machine {
    Machine::new("0e23b8b2000000000000000000000000000522d0", at(-30))
}

#[test]
fn the_schema_itself_can_refuse() {
    let good = event_of(machine());
    for (pointer, value) in [("/severity_id", json!(42)), ("/time", json!("noon")), ("/device", json!({"uid": "m"}))] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!violations(&bad).is_empty(), "{pointer}");
    }
    let mut bad = good;
    bad["surprise"] = json!(1);
    assert!(!violations(&bad).is_empty(), "unknown attributes are refused");
}

#[test]
fn a_machine_is_a_device_with_its_system_addresses_groups_and_agent() {
    let event = event_of(
        machine()
            .with("computerDnsName", json!("c-lab-08.contoso.example"))
            .with("osPlatform", json!("WindowsServer2022"))
            .with("rbacGroupId", json!(7))
            .with("rbacGroupName", json!("Servers"))
            .with("riskScore", json!("High"))
            .with("firstSeen", json!("2025-11-05T11:54:59.5717001Z"))
            .with("lastIpAddress", json!("10.0.0.8"))
            .with("aadDeviceId", json!("00000000-0000-4000-8000-0000000000d1"))
            .with(
                "ipAddresses",
                json!([{"ipAddress": "10.0.0.8", "macAddress": "0A1B2C3D4E5F", "type": "Ethernet", "operationalStatus": "Up"}]),
            ),
    );
    assert_eq!(
        (&event["class_uid"], &event["type_uid"], &event["activity_name"]),
        (&json!(5001), &json!(500_102), &json!("Collect"))
    );
    assert_eq!(event["metadata"]["tenant_uid"], TENANT);
    assert_eq!(event["metadata"]["original_time"], harness::stamp(at(-30)));
    let device = &event["device"];
    for (pointer, value) in [
        ("/uid", json!("0e23b8b2000000000000000000000000000522d0")),
        ("/uid_alt", json!("00000000-0000-4000-8000-0000000000d1")),
        ("/hostname", json!("c-lab-08.contoso.example")),
        ("/type_id", json!(1)),
        ("/ip", json!("10.0.0.8")),
        ("/first_seen_time", json!(1_762_343_699_571_i64)),
        ("/last_seen_time", json!(at(-30).as_millisecond())),
        (
            "/network_interfaces",
            json!([{"ip": "10.0.0.8", "mac": "0A:1B:2C:3D:4E:5F", "type_id": 1, "type": "Ethernet"}]),
        ),
        (
            "/os",
            json!({"name": "WindowsServer2022", "type_id": 100, "version": "22H2", "build": "19045", "cpu_bits": 64}),
        ),
        ("/hw_info/cpu_type", json!("x64")),
        ("/groups", json!([{"uid": "7", "name": "Servers"}])),
        ("/risk_level_id", json!(3)),
        ("/agent_list/0/version", json!("10.8790.19045.5608")),
        ("/is_managed", json!(true)),
    ] {
        assert_eq!(device.pointer(pointer), Some(&value), "{pointer}");
    }
}

/// Every leaf of the record is found again, mapped or left over; `null` says nothing that a missing field does not.
#[test]
fn pain_25_nothing_that_microsoft_sends_is_lost() {
    let odd = Machine::new("m", at(0))
        .with("computerDnsName", json!("host_1"))
        .with("osBuild", Value::Null)
        .with("osPlatform", json!("BeOS"))
        .with("osVersion", json!("5.1"))
        .with("rbacGroupId", json!("text as documented"))
        .with("riskScore", json!("Catastrophic"))
        .with("exposureLevel", json!(7))
        .with("machineTags", json!(["a", "b"]))
        .with("vmMetadata", json!({"vmId": "vm-1", "cloudProvider": "Azure", "resourceId": "/subscriptions/1"}))
        .with("firstSeen", json!("long ago"))
        .with("lastIpAddress", json!("not an address"))
        .with("ipAddresses", json!({"not": "a list"}))
        .with("futureField", json!({"deep": [1, null]}))
        .with("source", json!("a field of Microsoft's"));
    for machine in [machine(), odd] {
        let (fields, event) = (machine.fields.clone(), event_with(&[("MUSTER_RAW_DATA", "off")], machine));
        assert!(event.get("raw_data").is_none());
        let text = event.to_string();
        for (name, value) in &fields {
            let kept = event["unmapped"].get(name) == Some(value);
            let found = leaves(value).iter().all(|leaf| text.contains(leaf.as_str()));
            let is_time = ["firstSeen", "lastSeen"].contains(&name.as_str());
            assert!(kept || found || is_time, "{name}: {value} in {event}");
        }
    }
}

/// The texts and numbers in a value, in the forms that an event may have them in.
fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        Value::Object(members) => members.values().flat_map(leaves).collect(),
        Value::String(text) if text == "64-bit" => vec!["\"cpu_bits\":64".to_owned()],
        Value::String(text) if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            let pairs: Vec<&str> = (0..6).map(|n| &text[2 * n..2 * n + 2]).collect();
            vec![pairs.join(":")]
        }
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

#[test]
fn the_source_text_travels_along_unless_it_is_too_long_or_unwanted() {
    let short = event_of(machine());
    let source: Map<String, Value> = serde_json::from_str(short["raw_data"].as_str().unwrap()).unwrap();
    assert_eq!(source["id"], "0e23b8b2000000000000000000000000000522d0");
    let long = event_of(machine().with("exclusionReason", json!("ä".repeat(70_000))).with("source", json!("theirs")));
    assert!(long.get("raw_data").is_none());
    assert!(long["unmapped"]["source"].as_str().unwrap().contains("0e23b8b2"));
    assert_eq!(long["unmapped"]["_source"], "theirs");
}

#[test]
fn a_machine_that_is_gone_or_merged_is_a_valid_event_too() {
    let stage = Stage::with_machines();
    stage.put_machines(["m1", "m2", "m3"]);
    stage.run_machines();
    stage.machines(|machines| {
        machines.remove("m1");
        machines.put(Machine::new("m2", at(0)).merged_into("m3"));
    });
    for _ in 0..2 {
        stage.run_machines();
    }
    let events = stage.machine_events();
    assert_eq!(events.len(), 5);
    for event in &events {
        assert_eq!(violations(event), Vec::<String>::new(), "{event}");
    }
    let gone = &events[4];
    assert_eq!(gone["device"], json!({"uid": "m1", "type_id": 0}));
    assert_eq!(gone["message"], "Defender no longer knows the machine.");
}
