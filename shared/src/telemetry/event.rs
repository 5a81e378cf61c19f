//! A DeviceNetworkEvents record as an OCSF 1.3.0 Network Activity (class 4001) with the profile `host`: device and actor.
//!
//! What has no place in the class goes to `unmapped`, as `ocsf` has it for all classes.

use serde_json::{Map, Value, json};

use super::line::Head;
use crate::{
    ocsf::{
        Style, drop_null, fits, integer_of, is_email, is_hostname, keep_source, metadata, put, take, text_of, time_of,
    },
    record::{Mark, hex},
};

/// What happened, from where to where, as far as an ActionType tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    activity: Activity,
    direction: Direction,
    status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Open,
    Fail,
    Refuse,
    Traffic,
    Listen,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Unknown,
    Inbound,
    Outbound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Unknown,
    Success,
    Failure,
}

impl Kind {
    /// The ActionTypes of the table (the advanced hunting schema reference, and the portal's list of them). A report that
    /// sums up several connections of a kind is traffic in that kind's direction.
    fn of(action: &str) -> Self {
        let kind = |activity, direction, status| Self { activity, direction, status };
        if let Some(one) = action.strip_suffix("AggregatedReport") {
            let Self { activity, direction, status } = Self::of(one);
            let activity = if activity == Activity::Other { activity } else { Activity::Traffic };
            return kind(activity, direction, status);
        }
        match action {
            "ConnectionSuccess" => kind(Activity::Open, Direction::Outbound, Status::Success),
            "ConnectionFailed" => kind(Activity::Fail, Direction::Outbound, Status::Failure),
            "ConnectionBlocked" => kind(Activity::Refuse, Direction::Outbound, Status::Failure),
            "ConnectionRequest" | "ConnectionAttempt" => kind(Activity::Open, Direction::Outbound, Status::Unknown),
            "ConnectionAcknowledged" => kind(Activity::Open, Direction::Unknown, Status::Success),
            // Seen while it was open already.
            "ConnectionFound" => kind(Activity::Traffic, Direction::Unknown, Status::Unknown),
            "InboundConnectionAccepted" => kind(Activity::Open, Direction::Inbound, Status::Success),
            "InboundConnectionAttempt" => kind(Activity::Open, Direction::Inbound, Status::Unknown),
            "InboundConnectionBlocked" => kind(Activity::Refuse, Direction::Inbound, Status::Failure),
            "ListeningConnectionCreated" => kind(Activity::Listen, Direction::Inbound, Status::Success),
            "InboundInternetScanInspected" => kind(Activity::Traffic, Direction::Inbound, Status::Unknown),
            "DnsConnectionInspected"
            | "FtpConnectionInspected"
            | "HttpConnectionInspected"
            | "IcmpConnectionInspected"
            | "NetworkSignatureInspected"
            | "NtlmAuthenticationInspected"
            | "SmtpConnectionInspected"
            | "SshConnectionInspected"
            | "SslConnectionInspected" => kind(Activity::Traffic, Direction::Unknown, Status::Unknown),
            _ => kind(Activity::Other, Direction::Unknown, Status::Unknown),
        }
    }
}

impl Activity {
    fn id_and_name(self) -> (u32, &'static str) {
        match self {
            Self::Open => (1, "Open"),
            Self::Fail => (4, "Fail"),
            Self::Refuse => (5, "Refuse"),
            Self::Traffic => (6, "Traffic"),
            Self::Listen => (7, "Listen"),
            Self::Other => (99, "Other"),
        }
    }
}

impl Direction {
    fn id_and_name(self) -> (u32, &'static str) {
        match self {
            Self::Unknown => (0, "Unknown"),
            Self::Inbound => (1, "Inbound"),
            Self::Outbound => (2, "Outbound"),
        }
    }
}

impl Status {
    fn id_and_name(self) -> (u32, &'static str) {
        match self {
            Self::Unknown => (0, "Unknown"),
            Self::Success => (1, "Success"),
            Self::Failure => (2, "Failure"),
        }
    }
}

/// Builds the event. `line` is the very text that `head` was read from.
///
/// # Errors
/// The parser's words for a line that has an identity and is no JSON for all that: half a surrogate pair, a number beyond
/// any type, nesting without end.
pub fn network_activity(style: Style, line: &str, head: &Head) -> Result<Value, String> {
    let mut envelope: Map<String, Value> = serde_json::from_str(line).map_err(|cause| cause.to_string())?;
    let mut properties = match envelope.remove("properties") {
        Some(Value::Object(properties)) => properties,
        other => Map::from_iter([("properties".to_owned(), other.unwrap_or_default())]),
    };
    let from = &mut properties;
    let action = text_of(from, "ActionType");
    let text = action.as_ref().and_then(Value::as_str).unwrap_or_default();
    let mut kind = Kind::of(text);
    if kind.activity == Activity::Traffic && kind.direction == Direction::Unknown {
        kind.direction = inspected_direction(from);
    }
    let metadata = network_metadata(style, &mut envelope, from, &head.mark, action.as_ref());
    let (activity_id, activity) = kind.activity.id_and_name();
    let (status_id, status) = kind.status.id_and_name();
    let activity = if kind.activity == Activity::Other && !text.is_empty() { text } else { activity };
    let (local, remote) = (local_endpoint(from), remote_endpoint(from));
    let (source, destination) = match (kind.activity, kind.direction) {
        (Activity::Listen, _) => (None, local.or(remote)),
        (_, Direction::Inbound) => (remote, local),
        _ => (local, remote),
    };
    let mut event = json!({
        "activity_id": activity_id,
        "activity_name": activity,
        "category_uid": 4,
        "category_name": "Network Activity",
        "class_uid": 4001,
        "class_name": "Network Activity",
        "type_uid": 400_100 + activity_id,
        "type_name": format!("Network Activity: {activity}"),
        "time": head.time.as_millisecond(),
        "severity_id": 1,
        "severity": "Informational",
        "status_id": status_id,
        "status": status,
        "metadata": metadata,
        // The class demands one that is somebody.
        "dst_endpoint": destination.unwrap_or_else(|| json!({ "name": "Unknown" })),
    });
    put(&mut event, "src_endpoint", source);
    put(&mut event, "url", url(from));
    let connection = connection_info(from, kind.direction, &event);
    put(&mut event, "connection_info", Some(connection));
    put(&mut event, "device", device(from));
    put(&mut event, "actor", actor(from));
    for (name, value) in envelope {
        let name = if properties.contains_key(&name) { format!("_{name}") } else { name };
        properties.insert(name, value);
    }
    keep_source(&mut event, style, properties, line);
    Ok(event)
}

/// `In` or `Out`, as the network inspection writes it into `AdditionalFields`: an object, or JSON in a string.
fn inspected_direction(from: &Map<String, Value>) -> Direction {
    let parsed;
    let fields = match from.get("AdditionalFields") {
        Some(Value::String(text)) => {
            parsed = serde_json::from_str(text).unwrap_or(Value::Null);
            &parsed
        }
        Some(fields) => fields,
        None => return Direction::Unknown,
    };
    match fields.get("direction").and_then(Value::as_str) {
        Some(text) if text.eq_ignore_ascii_case("in") => Direction::Inbound,
        Some(text) if text.eq_ignore_ascii_case("out") => Direction::Outbound,
        _ => Direction::Unknown,
    }
}

fn network_metadata(
    style: Style,
    envelope: &mut Map<String, Value>,
    from: &mut Map<String, Value>,
    mark: &Mark,
    action: Option<&Value>,
) -> Value {
    let mut metadata = metadata(style, &hex(mark));
    put(&mut metadata, "profiles", Some(json!(["host"])));
    put(&mut metadata, "event_code", action.cloned());
    put(&mut metadata, "original_time", text_of(from, "Timestamp"));
    put(&mut metadata, "logged_time", time_of(envelope, "_TimeReceivedBySvc"));
    put(&mut metadata, "processed_time", time_of(envelope, "time"));
    put(&mut metadata, "log_name", text_of(envelope, "category"));
    // Another tenant's would not have come so far.
    if envelope.get("tenantId").is_some_and(Value::is_string) {
        take(envelope, "tenantId");
    }
    metadata
}

fn local_endpoint(from: &mut Map<String, Value>) -> Option<Value> {
    let mut endpoint = endpoint(from, "LocalIP", "LocalPort");
    if let Some(name) = from.get("DeviceName").and_then(Value::as_str).filter(|name| is_hostname(name)) {
        put(&mut endpoint, "hostname", Some(name.into()));
    }
    put(&mut endpoint, "uid", from.get("DeviceId").filter(|_| is_text(from, "DeviceId")).cloned());
    identified(endpoint)
}

fn remote_endpoint(from: &mut Map<String, Value>) -> Option<Value> {
    let mut endpoint = endpoint(from, "RemoteIP", "RemotePort");
    if from.get("RemoteUrl").and_then(Value::as_str).is_some_and(is_hostname) {
        put(&mut endpoint, "hostname", take(from, "RemoteUrl"));
    }
    identified(endpoint)
}

/// OCSF wants an endpoint to be somebody; a port alone is not.
fn identified(endpoint: Value) -> Option<Value> {
    let mut endpoint = is_something(endpoint)?;
    if ["ip", "uid", "hostname"].into_iter().all(|name| endpoint.get(name).is_none()) {
        put(&mut endpoint, "name", Some("Unknown".into()));
    }
    Some(endpoint)
}

fn endpoint(from: &mut Map<String, Value>, ip: &str, port: &str) -> Value {
    let mut endpoint = json!({});
    drop_null(from, ip);
    // OCSF takes forty characters and no zone, and nothing that is not an address.
    if from.get(ip).and_then(Value::as_str).is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()) {
        put(&mut endpoint, "ip", take(from, ip));
    }
    drop_null(from, port);
    if from.get(port).and_then(Value::as_u64).is_some_and(|port| port <= 65_535) {
        put(&mut endpoint, "port", take(from, port));
    }
    endpoint
}

/// What is more than the name of a host.
fn url(from: &mut Map<String, Value>) -> Option<Value> {
    text_of(from, "RemoteUrl").map(|url| json!({ "url_string": url }))
}

fn connection_info(from: &mut Map<String, Value>, direction: Direction, event: &Value) -> Value {
    let (direction_id, direction) = direction.id_and_name();
    let mut info = json!({ "direction_id": direction_id, "direction": direction });
    drop_null(from, "Protocol");
    if let Some(protocol) = from.get("Protocol").and_then(Value::as_str) {
        let number = match protocol.to_ascii_lowercase().as_str() {
            "tcp" | "tcpv4" | "tcpv6" => Some(("tcp", 6)),
            "udp" | "udpv4" | "udpv6" => Some(("udp", 17)),
            "icmp" | "icmpv4" => Some(("icmp", 1)),
            "icmpv6" => Some(("ipv6-icmp", 58)),
            _ => None,
        };
        if let Some((name, number)) = number {
            put(&mut info, "protocol_name", Some(name.into()));
            put(&mut info, "protocol_num", Some(number.into()));
            // What the number does not tell stays beside.
            if name.eq_ignore_ascii_case(protocol) {
                take(from, "Protocol");
            }
        } else {
            put(&mut info, "protocol_name", text_of(from, "Protocol"));
        }
    }
    let ip = |end: &str| event.pointer(end).and_then(Value::as_str);
    if let Some(ip) = ip("/dst_endpoint/ip").or_else(|| ip("/src_endpoint/ip")) {
        put(&mut info, "protocol_ver_id", Some(if ip.contains(':') { 6 } else { 4 }.into()));
    }
    // RemoteIPType itself stays left over: it says more than the boundary.
    let boundary = match from.get("RemoteIPType").and_then(Value::as_str) {
        Some("Loopback") => Some((1, "Localhost")),
        Some("Private" | "LinkLocal") => Some((2, "Internal")),
        Some("Public") => Some((3, "External")),
        _ => None,
    };
    if let Some((id, name)) = boundary {
        put(&mut info, "boundary_id", Some(id.into()));
        put(&mut info, "boundary", Some(name.into()));
    }
    info
}

fn device(from: &mut Map<String, Value>) -> Option<Value> {
    if !is_text(from, "DeviceId") && !is_text(from, "DeviceName") {
        return None;
    }
    let mut device = json!({ "type_id": 0 });
    put(&mut device, "uid", text_of(from, "DeviceId"));
    let key = if from.get("DeviceName").and_then(Value::as_str).is_some_and(is_hostname) { "hostname" } else { "name" };
    put(&mut device, key, text_of(from, "DeviceName"));
    put(&mut device, "groups", text_of(from, "MachineGroup").map(|name| json!([{ "name": name }])));
    Some(device)
}

/// The process behind the connection; where nothing tells it from others, its user alone.
fn actor(from: &mut Map<String, Value>) -> Option<Value> {
    if from.get("InitiatingProcessId").is_some_and(Value::is_i64) || is_text(from, "InitiatingProcessUniqueId") {
        return Some(json!({ "process": process(from) }));
    }
    user(from).map(|user| json!({ "user": user }))
}

/// With its file, its user and its parent.
fn process(from: &mut Map<String, Value>) -> Value {
    const OF: &str = "InitiatingProcess";
    let of = |name: &str| format!("{OF}{name}");
    let mut process = json!({});
    put(&mut process, "pid", integer_of(from, &of("Id")).map(Value::from));
    put(&mut process, "name", from.get(&of("FileName")).filter(|name| name.is_string()).cloned());
    put(&mut process, "cmd_line", text_of(from, &of("CommandLine")));
    put(&mut process, "created_time", time_of(from, &of("CreationTime")));
    put(&mut process, "uid", text_of(from, &of("UniqueId")));
    put(&mut process, "file", file(from));
    put(&mut process, "integrity", text_of(from, &of("IntegrityLevel")));
    put(&mut process, "session", session(from));
    put(&mut process, "user", user(from));
    if let Some(pid) = integer_of(from, &of("ParentId")) {
        let mut parent = json!({ "pid": pid });
        put(&mut parent, "name", text_of(from, &of("ParentFileName")));
        put(&mut parent, "created_time", time_of(from, &of("ParentCreationTime")));
        put(&mut process, "parent_process", Some(parent));
    }
    process
}

fn file(from: &mut Map<String, Value>) -> Option<Value> {
    let name = text_of(from, "InitiatingProcessFileName")?;
    let mut file = json!({ "name": name, "type_id": 1 });
    put(&mut file, "path", text_of(from, "InitiatingProcessFolderPath"));
    put(&mut file, "size", integer_of(from, "InitiatingProcessFileSize").map(Value::from));
    put(&mut file, "company_name", text_of(from, "InitiatingProcessVersionInfoCompanyName"));
    put(&mut file, "desc", text_of(from, "InitiatingProcessVersionInfoFileDescription"));
    put(&mut file, "version", text_of(from, "InitiatingProcessVersionInfoProductVersion"));
    let mut hash = |field: &str, algorithm_id: u32, algorithm: &str| {
        let name = format!("InitiatingProcess{field}");
        from.get(&name).and_then(Value::as_str).filter(|hash| !hash.is_empty() && hash.len() <= 64)?;
        let value = take(from, &name)?;
        Some(json!({ "algorithm_id": algorithm_id, "algorithm": algorithm, "value": value }))
    };
    let hashes: Vec<Value> =
        [hash("MD5", 1, "MD5"), hash("SHA1", 2, "SHA-1"), hash("SHA256", 3, "SHA-256")].into_iter().flatten().collect();
    put(&mut file, "hashes", (!hashes.is_empty()).then_some(Value::Array(hashes)));
    Some(file)
}

fn session(from: &mut Map<String, Value>) -> Option<Value> {
    let mut session = json!({});
    put(&mut session, "uid", integer_of(from, "InitiatingProcessSessionId").map(|id| id.to_string().into()));
    if from.get("IsInitiatingProcessRemoteSession").is_some_and(Value::is_boolean) {
        put(&mut session, "is_remote", take(from, "IsInitiatingProcessRemoteSession"));
    }
    is_something(session)
}

fn user(from: &mut Map<String, Value>) -> Option<Value> {
    const ACCOUNT: &str = "InitiatingProcessAccount";
    let of = |name: &str| format!("{ACCOUNT}{name}");
    if !is_text(from, &of("Name")) && !is_text(from, &of("Sid")) {
        return None;
    }
    let mut user = json!({});
    put(&mut user, "name", text_of(from, &of("Name")));
    put(&mut user, "uid", text_of(from, &of("Sid")));
    put(&mut user, "domain", text_of(from, &of("Domain")));
    put(&mut user, "uid_alt", text_of(from, &of("ObjectId")));
    if from.get(&of("Upn")).and_then(Value::as_str).is_some_and(|upn| fits(upn) && is_email(upn)) {
        put(&mut user, "email_addr", take(from, &of("Upn")));
    }
    Some(user)
}

/// Whether [`text_of`] would take it.
fn is_text(from: &Map<String, Value>, name: &str) -> bool {
    from.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty() && fits(text))
}

fn is_something(value: Value) -> Option<Value> {
    value.as_object().is_some_and(|map| !map.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(properties: Value) -> Value {
        let tenant = "00000000-0000-4000-8000-0000000000aa".parse().unwrap();
        let mut properties = properties;
        properties["Timestamp"] = "2026-07-18T13:58:42.666487Z".into();
        let line = json!({"time": "2026-07-18T14:00:54.7649349Z", "tenantId": tenant, "properties": properties});
        let line = line.to_string();
        let head = Head::parse(tenant, line.as_bytes()).unwrap();
        let event = network_activity(Style { tenant, raw_data: true }, &line, &head).unwrap();
        assert_eq!(violations(&event), Vec::<String>::new());
        event
    }

    fn violations(event: &Value) -> Vec<String> {
        let schema =
            serde_json::from_str(include_str!("../../../tests/fixtures/ocsf/network_activity_host-1.3.0.schema.json"));
        let validator = jsonschema::validator_for(&schema.unwrap()).unwrap();
        validator.iter_errors(event).map(|error| format!("{} at {}", error, error.instance_path())).collect()
    }

    #[test]
    fn every_action_type_has_its_activity_direction_and_status() {
        for (action, activity, direction, status) in [
            ("ConnectionSuccess", 1, 2, 1),
            ("ConnectionFailed", 4, 2, 2),
            ("ConnectionBlocked", 5, 2, 2),
            ("ConnectionRequest", 1, 2, 0),
            ("ConnectionAttempt", 1, 2, 0),
            ("ConnectionAcknowledged", 1, 0, 1),
            ("ConnectionFound", 6, 0, 0),
            ("InboundConnectionAccepted", 1, 1, 1),
            ("InboundConnectionAttempt", 1, 1, 0),
            ("InboundConnectionBlocked", 5, 1, 2),
            ("ListeningConnectionCreated", 7, 1, 1),
            ("InboundInternetScanInspected", 6, 1, 0),
            ("DnsConnectionInspected", 6, 0, 0),
            ("NetworkSignatureInspected", 6, 0, 0),
            ("ConnectionSuccessAggregatedReport", 6, 2, 1),
            ("ConnectionFailedAggregatedReport", 6, 2, 2),
            ("InboundConnectionAcceptedAggregatedReport", 6, 1, 1),
            ("ThoughtsInspected", 99, 0, 0),
            ("TeleportationAggregatedReport", 99, 0, 0),
            ("Teleportation", 99, 0, 0),
        ] {
            let event = event(json!({"ActionType": action, "RemoteIP": "203.0.113.9", "LocalIP": "10.0.0.1"}));
            let found = [&event["activity_id"], &event["connection_info"]["direction_id"], &event["status_id"]];
            assert_eq!(found.map(|id| id.as_u64().unwrap()), [activity, direction, status], "{action}");
            assert_eq!(event["metadata"]["event_code"], action);
            if activity == 99 {
                assert_eq!(event["activity_name"], action);
            }
        }
        assert_eq!(event(json!({}))["activity_id"], 99);
    }

    #[test]
    fn what_an_inspection_saw_has_the_direction_that_it_tells() {
        let seen = |fields: Value| {
            event(
                json!({"ActionType": "HttpConnectionInspected", "RemoteIP": "203.0.113.9", "AdditionalFields": fields}),
            )
        };
        for (fields, direction, remote) in [
            (json!({"direction": "In"}), 1, "/src_endpoint/ip"),
            (json!("{\"direction\":\"Out\",\"method\":\"GET\"}"), 2, "/dst_endpoint/ip"),
            (json!("{half"), 0, "/dst_endpoint/ip"),
            (json!(null), 0, "/dst_endpoint/ip"),
            (json!(7), 0, "/dst_endpoint/ip"),
        ] {
            let event = seen(fields.clone());
            assert_eq!(event["connection_info"]["direction_id"], direction, "{fields}");
            assert_eq!(event.pointer(remote).unwrap(), "203.0.113.9");
            assert_eq!(event["unmapped"]["AdditionalFields"], fields, "kept as it came");
        }
    }

    #[test]
    fn every_column_finds_its_place_or_stays_beside() {
        let event = event(json!({
            "ActionType": "ConnectionSuccess", "DeviceId": "d1", "DeviceName": "host1.contoso.example", "MachineGroup": "main",
            "RemoteIP": "2001:db8::9", "RemotePort": 443, "RemoteUrl": "https://updates.example/x?y", "LocalIP": "10.0.0.183",
            "LocalPort": 53630, "Protocol": "Tcp", "LocalIPType": "Private", "RemoteIPType": "Public",
            "InitiatingProcessId": 0, "InitiatingProcessFileName": "updater", "InitiatingProcessFolderPath": "/opt/updater",
            "InitiatingProcessSHA1": "aa", "InitiatingProcessMD5": "", "InitiatingProcessCommandLine": "updater --x",
            "InitiatingProcessCreationTime": "2026-07-18T13:58:42.24998Z", "InitiatingProcessAccountUpn": "u@contoso.example",
            "InitiatingProcessAccountName": "u", "InitiatingProcessParentId": 1, "InitiatingProcessParentFileName": "init",
            "InitiatingProcessSessionId": 2, "IsInitiatingProcessRemoteSession": false, "InitiatingProcessUniqueId": "0",
            "ReportId": 123_456_789_012_345_678_i64, "AppGuardContainerId": null, "Brand": {"new": true},
        }));
        let at = |pointer: &str| event.pointer(pointer).cloned().unwrap_or_default();
        for (pointer, value) in [
            ("/src_endpoint/ip", json!("10.0.0.183")),
            ("/src_endpoint/port", json!(53630)),
            ("/src_endpoint/uid", json!("d1")),
            ("/dst_endpoint/ip", json!("2001:db8::9")),
            ("/dst_endpoint/port", json!(443)),
            ("/url/url_string", json!("https://updates.example/x?y")),
            ("/connection_info/protocol_name", json!("tcp")),
            ("/connection_info/protocol_num", json!(6)),
            ("/connection_info/protocol_ver_id", json!(6)),
            ("/connection_info/boundary_id", json!(3)),
            ("/device/uid", json!("d1")),
            ("/device/hostname", json!("host1.contoso.example")),
            ("/device/groups/0/name", json!("main")),
            ("/actor/process/pid", json!(0)),
            ("/actor/process/file/path", json!("/opt/updater")),
            ("/actor/process/file/hashes/0/value", json!("aa")),
            ("/actor/process/cmd_line", json!("updater --x")),
            ("/actor/process/session/is_remote", json!(false)),
            ("/actor/process/user/email_addr", json!("u@contoso.example")),
            ("/actor/process/parent_process/name", json!("init")),
            ("/metadata/original_time", json!("2026-07-18T13:58:42.666487Z")),
            ("/unmapped/ReportId", json!(123_456_789_012_345_678_i64)),
            ("/unmapped/Brand", json!({"new": true})),
            ("/unmapped/LocalIPType", json!("Private")),
        ] {
            assert_eq!(at(pointer), value, "{pointer}");
        }
    }

    #[test]
    fn what_is_nobody_is_not_made_somebody() {
        for properties in [
            json!({"RemotePort": 443, "RemoteIP": null, "RemoteUrl": "https://x.example/y"}),
            json!({"LocalPort": 443, "ActionType": "ListeningConnectionCreated"}),
            json!({"InitiatingProcessFileName": "x", "InitiatingProcessParentFileName": "y", "InitiatingProcessId": null}),
            json!({"InitiatingProcessAccountDomain": "d", "InitiatingProcessAccountUpn": "u@contoso.example"}),
            json!({"InitiatingProcessAccountName": "u", "InitiatingProcessAccountUpn": "u@contoso.example"}),
            json!({"InitiatingProcessId": 7, "InitiatingProcessParentFileName": "y"}),
            json!({"MachineGroup": "main", "DeviceId": null, "DeviceName": ""}),
            json!({"DeviceId": "x".repeat(70_000)}),
        ] {
            let event = event(properties.clone());
            for (name, value) in properties.as_object().unwrap().iter().filter(|(_, value)| value.is_string()) {
                let text = serde_json::to_string(&event).unwrap();
                assert!(text.contains(value.as_str().unwrap()), "{name} is lost in {event}");
            }
        }
    }

    #[test]
    fn what_the_schema_refuses_stays_beside() {
        let odd = json!({
            "ActionType": 7, "DeviceName": "not a host", "RemoteIP": "", "RemotePort": 70_000, "RemoteUrl": "a b", "LocalIP": "?",
            "LocalPort": "53", "Protocol": "Sctp", "InitiatingProcessId": "x", "InitiatingProcessFileName": null,
            "InitiatingProcessSHA256": "f".repeat(65), "InitiatingProcessAccountUpn": "nobody",
            "InitiatingProcessCommandLine": "x".repeat(70_000), "time": "mine",
        });
        let event = event(odd.clone());
        for name in ["ActionType", "RemoteIP", "RemotePort", "LocalIP", "LocalPort", "InitiatingProcessSHA256", "time"]
        {
            assert_eq!(event["unmapped"][name], odd[name], "{name}");
        }
        assert_eq!(event["device"]["name"], "not a host");
        assert_eq!(event["connection_info"]["protocol_name"], "Sctp");
        assert!(event["unmapped"]["source"].as_str().unwrap().len() > 70_000, "longer than raw_data may be");
    }
}
