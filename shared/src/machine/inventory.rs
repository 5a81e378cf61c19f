//! A machine as an OCSF 1.3.0 Device Inventory Info event (class 5001, no profile).
//!
//! What has no place in the class goes to `unmapped`, as `ocsf` has it for all classes.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    ocsf::{Style, coded, drop_null, integer_of, is_hostname, keep_source, metadata, put, take, text_of, time_of},
    record::{Mark, hex},
};

const CLASS: &str = "Device Inventory Info";

/// What an event says of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It is new, or has changed.
    Collected,
    /// Its record says that it is another machine now.
    Merged { into: String },
    /// It was in no complete list any more, and Defender answers 404 for its id.
    Gone,
}

impl News {
    /// A merged or a vanished machine is no longer there: OCSF has no activity for that, so it is *Other*, with a name.
    fn activity(&self) -> (u32, &'static str, &'static str) {
        match self {
            Self::Collected => (2, "Collect", "Collect"),
            Self::Merged { .. } | Self::Gone => (99, "Removed", "Other"),
        }
    }

    fn message(&self) -> Option<Value> {
        match self {
            Self::Collected => None,
            Self::Merged { into } => Some(format!("The machine was merged into {into}.").into()),
            Self::Gone => Some("Defender no longer knows the machine.".into()),
        }
    }
}

/// Builds the event. `source` is the machine's record and `text` the very text it was parsed from; both are empty for a
/// machine that is gone. `at` is when we found out.
pub fn event(
    style: Style,
    id: &str,
    news: &News,
    mut source: Map<String, Value>,
    text: &str,
    uid: &Mark,
    at: Timestamp,
) -> Value {
    let from = &mut source;
    let (activity_id, activity_name, type_name) = news.activity();
    let mut metadata = metadata(style, &hex(uid));
    put(&mut metadata, "original_time", from.get("lastSeen").filter(|seen| seen.is_string()).cloned());
    take(from, "id");
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": activity_name,
        "category_uid": 5,
        "category_name": "Discovery",
        "class_uid": 5001,
        "class_name": CLASS,
        "type_uid": 500_100 + activity_id,
        "type_name": format!("{CLASS}: {type_name}"),
        "time": at.as_millisecond(),
        "severity_id": 1,
        "severity": "Informational",
        "metadata": metadata,
        "device": device(from, id),
    });
    put(&mut event, "message", news.message());
    if text.is_empty() {
        return event;
    }
    keep_source(&mut event, style, source, text);
    event
}

fn device(from: &mut Map<String, Value>, id: &str) -> Value {
    let mut device = json!({ "uid": id, "type_id": type_id(from) });
    let name = text_of(from, "computerDnsName");
    let key = if name.as_ref().and_then(Value::as_str).is_some_and(is_hostname) { "hostname" } else { "name" };
    put(&mut device, key, name);
    put(&mut device, "uid_alt", text_of(from, "aadDeviceId"));
    put(&mut device, "first_seen_time", time_of(from, "firstSeen"));
    put(&mut device, "last_seen_time", time_of(from, "lastSeen"));
    put(&mut device, "ip", address_of(from, "lastIpAddress"));
    put(&mut device, "network_interfaces", network_interfaces(from));
    put(&mut device, "os", os(from));
    put(&mut device, "hw_info", text_of(from, "osProcessor").map(|cpu| json!({ "cpu_type": cpu })));
    put(&mut device, "groups", groups(from));
    if from.get("riskScore").is_some_and(|risk| !risk.is_null()) {
        let risks = [("None", 0), ("Informational", 0), ("Low", 1), ("Medium", 2), ("High", 3)];
        let (id, level) = coded(from, "riskScore", &risks);
        put(&mut device, "risk_level_id", Some(id.into()));
        put(&mut device, "risk_level", Some(level));
    }
    drop_null(from, "riskScore");
    put(&mut device, "agent_list", agents(from));
    put(&mut device, "instance_uid", instance(from));
    // `Unknown`, and names we do not know, say nothing: the field stays left over as it is.
    if from.get("managedBy").and_then(Value::as_str) == Some("Intune") {
        put(&mut device, "is_managed", Some(true.into()));
    }
    device
}

/// Defender does not say what kind of device it is; the platform and the cloud's metadata sometimes do.
fn type_id(from: &Map<String, Value>) -> u32 {
    let platform = from.get("osPlatform").and_then(Value::as_str).unwrap_or_default();
    if platform.starts_with("WindowsServer") {
        1
    } else if matches!(platform, "Android" | "iOS") {
        5
    } else if from.get("vmMetadata").is_some_and(Value::is_object) {
        6
    } else {
        0
    }
}

fn os(from: &mut Map<String, Value>) -> Option<Value> {
    let name = text_of(from, "osPlatform")?;
    let platform = name.as_str().unwrap_or_default().to_ascii_lowercase();
    let known = [
        ("windowsphone", 101),
        ("windows", 100),
        ("android", 201),
        ("ipados", 302),
        ("ios", 301),
        ("macos", 300),
        ("solaris", 400),
        ("aix", 401),
    ];
    let linuxes = [
        "linux", "ubuntu", "debian", "redhat", "rhel", "centos", "suse", "sles", "fedora", "oracle", "amazon",
        "mariner", "alma", "rocky",
    ];
    let type_id = known
        .iter()
        .find(|(prefix, _)| platform.starts_with(prefix))
        .map(|(_, id)| *id)
        .or_else(|| linuxes.iter().any(|word| platform.contains(word)).then_some(200));
    let mut os = json!({ "name": name, "type_id": type_id.unwrap_or(99) });
    if type_id.is_none() {
        put(&mut os, "type", Some(name));
    }
    let version = text_of(from, "osVersion").or_else(|| text_of(from, "version"));
    put(&mut os, "version", version);
    let build = integer_of(from, "osBuild").map(|build| build.to_string().into()).or_else(|| text_of(from, "osBuild"));
    put(&mut os, "build", build);
    let bits = match from.get("osArchitecture").and_then(Value::as_str) {
        Some("64-bit") => Some(64),
        Some("32-bit") => Some(32),
        _ => None,
    };
    if bits.is_some() {
        take(from, "osArchitecture");
    }
    put(&mut os, "cpu_bits", bits.map(Value::from));
    Some(os)
}

/// The one group that Defender's own access control has the machine in. The id is a number, or a text as documented.
fn groups(from: &mut Map<String, Value>) -> Option<Value> {
    let uid = integer_of(from, "rbacGroupId").map(|id| id.to_string().into()).or_else(|| text_of(from, "rbacGroupId"));
    let name = text_of(from, "rbacGroupName");
    if uid.is_none() && name.is_none() {
        return None;
    }
    let mut group = json!({});
    put(&mut group, "uid", uid);
    put(&mut group, "name", name);
    Some(json!([group]))
}

fn agents(from: &mut Map<String, Value>) -> Option<Value> {
    let version = text_of(from, "agentVersion")?;
    Some(json!([{
        "name": "Microsoft Defender for Endpoint",
        "vendor_name": "Microsoft",
        "type_id": 1,
        "type": "Endpoint Detection and Response",
        "version": version,
    }]))
}

/// The cloud's own id of a virtual machine; what else the cloud says stays left over.
fn instance(from: &mut Map<String, Value>) -> Option<Value> {
    let Some(Value::Object(metadata)) = from.get_mut("vmMetadata") else { return None };
    let id = text_of(metadata, "vmId");
    if metadata.is_empty() {
        take(from, "vmMetadata");
    }
    id
}

fn address_of(from: &mut Map<String, Value>, name: &str) -> Option<Value> {
    from.get(name)?.as_str()?.parse::<std::net::IpAddr>().ok()?;
    text_of(from, name)
}

/// The addresses with what they belong to. What is left of each entry stays where it was in the list.
fn network_interfaces(from: &mut Map<String, Value>) -> Option<Value> {
    let Some(Value::Array(entries)) = from.get_mut("ipAddresses") else { return None };
    let interfaces: Vec<Value> = entries.iter_mut().filter_map(network_interface).collect();
    if entries.iter().all(|entry| entry.as_object().is_some_and(Map::is_empty)) {
        take(from, "ipAddresses");
    }
    (!interfaces.is_empty()).then_some(Value::Array(interfaces))
}

fn network_interface(entry: &mut Value) -> Option<Value> {
    let entry = entry.as_object_mut()?;
    let mac = entry.get("macAddress").and_then(Value::as_str).and_then(mac);
    if mac.is_some() {
        take(entry, "macAddress");
    }
    let ip = address_of(entry, "ipAddress");
    if ip.is_none() && mac.is_none() {
        return None;
    }
    let kinds = [("Ethernet", 1), ("Wireless80211", 2), ("Wwanpp", 3), ("Wwanpp2", 3), ("Tunnel", 4)];
    let (type_id, kind) = coded(entry, "type", &kinds);
    let mut interface = json!({ "type_id": type_id, "type": kind });
    put(&mut interface, "ip", ip);
    put(&mut interface, "mac", mac);
    drop_null(entry, "ipAddress");
    drop_null(entry, "macAddress");
    Some(interface)
}

/// Twelve digits, as Defender writes them, or the schema's own form.
fn mac(text: &str) -> Option<Value> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs: Vec<&str> = (0..6).filter_map(|n| digits.get(2 * n..2 * n + 2)).collect();
    Some(pairs.join(":").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(news: &News, source: Value) -> Value {
        let style = Style { tenant: "00000000-0000-4000-8000-0000000000aa".parse().unwrap(), raw_data: true };
        let text = source.to_string();
        let source = source.as_object().cloned().unwrap();
        event(style, "m1", news, source, &text, &Mark::default(), Timestamp::UNIX_EPOCH)
    }

    fn device_of(source: Value) -> (Value, Value) {
        let event = built(&News::Collected, source);
        (event["device"].clone(), event["unmapped"].clone())
    }

    #[test]
    fn a_platform_names_its_system_and_an_unknown_one_is_other_with_its_text() {
        for (platform, os, device) in [
            ("Windows11", 100, 0),
            ("WindowsServer2022", 100, 1),
            ("Ubuntu", 200, 0),
            ("SUSE Linux Enterprise", 200, 0),
            ("macOS", 300, 0),
            ("iOS", 301, 5),
            ("Android", 201, 5),
            ("BeOS", 99, 0),
        ] {
            let (found, _) = device_of(json!({"osPlatform": platform}));
            assert_eq!((&found["os"]["type_id"], &found["type_id"]), (&json!(os), &json!(device)), "{platform}");
            assert_eq!(found["os"]["name"], platform);
            assert_eq!(found["os"].get("type").is_some(), os == 99, "{platform}");
        }
    }

    #[test]
    fn a_group_is_a_number_or_a_text_and_perhaps_has_no_name() {
        for (source, groups) in [
            (json!({"rbacGroupId": 7, "rbacGroupName": "Servers"}), json!([{"uid": "7", "name": "Servers"}])),
            (json!({"rbacGroupId": "7", "rbacGroupName": null}), json!([{"uid": "7"}])),
            (json!({"rbacGroupId": null, "rbacGroupName": null}), Value::Null),
        ] {
            let (device, unmapped) = device_of(source);
            assert_eq!((&device["groups"], &unmapped), (&groups, &Value::Null));
        }
    }

    #[test]
    fn what_the_schema_has_no_place_for_is_left_over_where_it_was() {
        let (device, unmapped) = device_of(json!({
            "ipAddresses": [
                {"ipAddress": "10.0.0.8", "macAddress": "0a1b2C3d4e5f", "type": "Ethernet", "operationalStatus": "Up"},
                {"ipAddress": "", "macAddress": null, "type": "SoftwareLoopback"},
                {"ipAddress": "fe80::1", "macAddress": "beef", "type": "Future"},
                7,
            ],
            "vmMetadata": {"vmId": "vm-1", "cloudProvider": "Azure"},
            "managedBy": "Unknown",
            "osVersion": null,
            "machineTags": ["a"],
            "lastIpAddress": "somewhere",
        }));
        assert_eq!(
            device["network_interfaces"],
            json!([
                {"type_id": 1, "type": "Ethernet", "ip": "10.0.0.8", "mac": "0a:1b:2C:3d:4e:5f"},
                {"type_id": 99, "type": "Future", "ip": "fe80::1"},
            ])
        );
        assert_eq!(
            (&device["instance_uid"], device.get("is_managed"), &device["type_id"]),
            (&json!("vm-1"), None, &json!(6))
        );
        assert_eq!(
            unmapped,
            json!({
                "ipAddresses": [
                    {"operationalStatus": "Up"},
                    {"ipAddress": "", "macAddress": null, "type": "SoftwareLoopback"},
                    {"macAddress": "beef"},
                    7,
                ],
                "vmMetadata": {"cloudProvider": "Azure"},
                "managedBy": "Unknown",
                "osVersion": null,
                "machineTags": ["a"],
                "lastIpAddress": "somewhere",
            })
        );
    }

    #[test]
    fn a_risk_is_a_level_and_an_unknown_one_is_other_with_its_text() {
        for (risk, level) in [("None", 0), ("Low", 1), ("High", 3), ("Catastrophic", 99)] {
            let (device, _) = device_of(json!({"riskScore": risk}));
            assert_eq!((&device["risk_level_id"], &device["risk_level"]), (&json!(level), &json!(risk)));
        }
        assert!(device_of(json!({"riskScore": null})).0.get("risk_level_id").is_none());
    }

    #[test]
    fn a_machine_that_is_no_more_is_removed_with_the_reason_in_words() {
        let merged = built(&News::Merged { into: "m2".to_owned() }, json!({"mergedIntoMachineId": "m2"}));
        assert_eq!((&merged["activity_id"], &merged["activity_name"]), (&json!(99), &json!("Removed")));
        assert_eq!(
            (&merged["type_uid"], &merged["message"]),
            (&json!(500_199), &json!("The machine was merged into m2."))
        );
        assert_eq!(merged["unmapped"]["mergedIntoMachineId"], "m2");
    }
}
