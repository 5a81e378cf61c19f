//! Athena's columns are the fields of our events. A field without a column is in the lake and cannot be asked for, and
//! nobody is told so.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use harness::{Stage, TENANT};
use serde_json::{Map, Value, json};
use shared::{
    alert::{
        Sighting,
        finding::{Activity, Evidence, finding},
    },
    machine::inventory::{self, News},
    ocsf::Style,
    record::Mark,
    telemetry::{event::network_activity, line::Head},
};
use simulator::Alert;

use crate::template::{Template, list, root};

/// A type as Hive writes it.
#[derive(Debug, PartialEq, Eq)]
enum Type {
    Text,
    Int,
    BigInt,
    Boolean,
    List(Box<Type>),
    Struct(BTreeMap<String, Type>),
}

/// Columns of text that hold whatever Microsoft has sent, as JSON.
const AS_JSON: [&str; 2] = ["evidences.data", "unmapped"];

impl Type {
    fn read(text: &str) -> Self {
        let inside = |of: &str| text.strip_prefix(of).and_then(|rest| rest.strip_suffix('>'));
        if let Some(element) = inside("array<") {
            return Self::List(Box::new(Self::read(element)));
        }
        if let Some(members) = inside("struct<") {
            let member = |text: &str| {
                let (name, of) = text.split_once(':').unwrap_or_else(|| panic!("a member without a type: {text}"));
                (name.to_owned(), Self::read(of))
            };
            return Self::Struct(parts(members).into_iter().map(member).collect());
        }
        match text {
            "string" => Self::Text,
            "int" => Self::Int,
            "bigint" => Self::BigInt,
            "boolean" => Self::Boolean,
            other => panic!("the type {other} is not understood"),
        }
    }

    /// Walks an event's value: what has no place here, or does not fit into it, and which leaves are filled.
    fn walk(&self, path: &str, value: &Value, wrong: &mut Vec<String>, filled: &mut BTreeSet<String>) {
        match (self, value) {
            (Self::List(of), Value::Array(values)) => {
                values.iter().for_each(|value| of.walk(path, value, wrong, filled));
            }
            (Self::Struct(members), Value::Object(fields)) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    match members.get(name) {
                        Some(of) => of.walk(&path, value, wrong, filled),
                        None => wrong.push(format!("no column has {path}")),
                    }
                }
            }
            _ => {
                let fits = match self {
                    Self::Text => value.is_string() || AS_JSON.contains(&path),
                    Self::Int => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
                    Self::BigInt => value.is_i64(),
                    Self::Boolean => value.is_boolean(),
                    Self::List(_) | Self::Struct(_) => false,
                };
                if fits {
                    filled.insert(path.to_owned());
                } else {
                    wrong.push(format!("{path} is {self:?} and {value}"));
                }
            }
        }
    }

    fn leaves(&self, path: &str, found: &mut BTreeSet<String>) {
        match self {
            Self::List(of) => of.leaves(path, found),
            Self::Struct(members) => {
                for (name, of) in members {
                    of.leaves(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
                }
            }
            Self::Text | Self::Int | Self::BigInt | Self::Boolean => {
                found.insert(path.to_owned());
            }
        }
    }
}

/// What stands between the commas of the outermost level.
fn parts(text: &str) -> Vec<&str> {
    let (mut depth, mut begun, mut found) = (0, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&text[begun..at]);
                begun = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[begun..]);
    found
}

/// All columns of a feed's table, as the one struct that an event is.
fn columns(feed: &str) -> Type {
    let columns = Template::shared().table(feed)["StorageDescriptor"]["Columns"].as_array().unwrap();
    let text = |column: &Value, name: &str| column[name].as_str().unwrap().to_owned();
    Type::Struct(columns.iter().map(|column| (text(column, "Name"), Type::read(&text(column, "Type")))).collect())
}

/// An alert in which everything is said that has a place in the class.
fn complete() -> Value {
    let user = json!({"accountName": "eve", "domainName": "D", "userSid": "S-1-5-21", "aadUserId": "u-1",
                      "userPrincipalName": "eve@contoso.example"});
    let file = json!({"fileName": "x.dll", "filePath": "C:\\", "sha1": "ff83", "sha256": "a475"});
    let process = json!({
        "processId": 4_294_967_295_u32, "processCommandLine": "x.exe", "processCreationTime": "2026-01-26T20:31:32.9581596Z",
        "parentProcessId": 8420, "parentProcessFileName": "cmd.exe", "parentProcessFilePath": "C:\\",
        "parentProcessCreationTime": "2026-01-26T20:31:32Z",
    });
    let entity = |kind: &str, of: &[&Value]| {
        let mut entity =
            Map::from_iter([("entityType".to_owned(), json!(kind)), ("detectionStatus".to_owned(), json!("x"))]);
        of.iter().for_each(|fields| entity.extend(fields.as_object().unwrap().clone()));
        Value::Object(entity)
    };
    json!({
        "id": "da1", "incidentId": 7, "severity": "High", "status": "Resolved", "title": "t", "description": "d",
        "detectionSource": "WindowsDefenderAv", "detectorId": "d-1", "category": "Malware", "machineId": "m-1",
        "computerDnsName": "host.contoso.example", "rbacGroupName": "A", "mitreTechniques": ["T1064"],
        "alertCreationTime": "2026-01-26T20:31:32Z", "firstEventTime": "2026-01-26T20:31:32Z",
        "lastEventTime": "2026-01-26T20:31:32Z", "lastUpdateTime": "2026-01-26T20:33:57.7220239Z",
        "relatedUser": {"userName": "temp1", "domainName": "DOMAIN"},
        "comments": [{"comment": "Looked at."}],
        "evidence": [
            entity("Process", &[&process, &file, &user]),
            entity("File", &[&file]),
            entity("User", &[&user]),
            entity("Ip", &[&json!({"ipAddress": "203.0.113.9"})]),
            entity("Url", &[&json!({"url": "http://evil.example/a"})]),
            entity("Registry", &[&json!({"registryHive": "HKEY_LOCAL_MACHINE", "registryKey": "SOFTWARE\\X"})]),
            7,
        ],
    })
}

/// What the code makes of an alert.
fn event(alert: &Value) -> Value {
    let text = alert.to_string();
    let (source, sighting) = (alert.as_object().unwrap().clone(), Sighting::parse(text.as_bytes()).unwrap());
    let activity = Activity::of(&source, false);
    finding(style(), source, &text, &sighting, &[7; 16], activity, Evidence::Pending)
}

fn style() -> Style {
    Style { tenant: TENANT.parse().unwrap(), raw_data: true }
}

/// What the code makes of a machine, of which everything is said that has a place in the class; and of one with another
/// name, of a system that nobody knows; and of one that is gone.
fn machines() -> Vec<Value> {
    let at = "2026-11-22T02:25:00Z".parse().unwrap();
    let source = json!({
        "id": "m1", "computerDnsName": "host1.contoso.example", "aadDeviceId": "a0000000-0000-4000-8000-00000000de00",
        "firstSeen": "2026-01-26T20:31:32Z", "lastSeen": "2026-11-22T02:00:00.1Z", "lastIpAddress": "10.0.0.8",
        "ipAddresses": [{"ipAddress": "10.0.0.8", "macAddress": "0A1B2C3D4E5F", "type": "Ethernet"}],
        "osPlatform": "Windows11", "osVersion": null, "version": "22H2", "osBuild": 19045, "osArchitecture": "64-bit",
        "osProcessor": "x64", "rbacGroupId": 7, "rbacGroupName": "Servers", "riskScore": "High",
        "agentVersion": "10.8790", "vmMetadata": {"vmId": "vm-1"}, "managedBy": "Intune", "healthStatus": "Active",
    });
    let mut odd = source.clone();
    (odd["computerDnsName"], odd["osPlatform"]) = (json!("host_1"), json!("BeOS"));
    let event = |source: &Value, news: &News| {
        let text = source.to_string();
        inventory::event(style(), "m1", news, source.as_object().unwrap().clone(), &text, &Mark::default(), at)
    };
    let gone = inventory::event(style(), "m1", &News::Gone, Map::new(), "", &Mark::default(), at);
    vec![event(&source, &News::Collected), event(&odd, &News::Merged { into: "m2".to_owned() }), gone]
}

/// What the code makes of a connection in each direction, of which everything is said that has a place in the class; and
/// of a device with no host's name, about which nothing is said.
fn network_events() -> Vec<Value> {
    let complete = json!({
        "ActionType": "ConnectionSuccess", "DeviceId": "d1", "DeviceName": "host1.contoso.example", "MachineGroup": "main",
        "RemoteIP": "203.0.113.9", "RemotePort": 443, "RemoteUrl": "updates.example", "LocalIP": "10.0.0.183",
        "LocalPort": 53630, "Protocol": "Tcp", "RemoteIPType": "Public",
        "InitiatingProcessId": 4_294_967_295_u32, "InitiatingProcessFileName": "updater",
        "InitiatingProcessFolderPath": "/opt/updater", "InitiatingProcessSHA1": "aa", "InitiatingProcessMD5": "bb",
        "InitiatingProcessSHA256": "cc", "InitiatingProcessFileSize": 4_294_967_296_i64,
        "InitiatingProcessVersionInfoCompanyName": "Contoso", "InitiatingProcessVersionInfoFileDescription": "Updates",
        "InitiatingProcessVersionInfoProductVersion": "1.0", "InitiatingProcessCommandLine": "updater --x",
        "InitiatingProcessCreationTime": "2026-07-18T13:58:42.24998Z", "InitiatingProcessIntegrityLevel": "System",
        "InitiatingProcessUniqueId": "1", "InitiatingProcessSessionId": 2, "IsInitiatingProcessRemoteSession": false,
        "InitiatingProcessAccountUpn": "u@contoso.example", "InitiatingProcessAccountName": "u",
        "InitiatingProcessAccountDomain": "contoso", "InitiatingProcessAccountSid": "S-1-5-21",
        "InitiatingProcessAccountObjectId": "o-1", "InitiatingProcessParentId": 1,
        "InitiatingProcessParentFileName": "init", "InitiatingProcessParentCreationTime": "2026-07-18T13:58:42Z",
    });
    let with = |changed: Value| {
        let mut properties = complete.as_object().unwrap().clone();
        properties.extend(changed.as_object().unwrap().clone());
        Value::Object(properties)
    };
    let event = |mut properties: Value| {
        properties["Timestamp"] = "2026-07-18T13:58:42.666487Z".into();
        properties["ReportId"] = 7.into();
        let line = json!({
            "time": "2026-07-18T14:00:54.7649349Z", "_TimeReceivedBySvc": "2026-07-18T13:59:01Z", "tenantId": TENANT,
            "category": "AdvancedHunting-DeviceNetworkEvents", "properties": properties,
        });
        let line = line.to_string();
        let head = Head::parse(style().tenant, line.as_bytes()).unwrap();
        network_activity(style(), &line, &head).unwrap()
    };
    vec![
        event(complete.clone()),
        event(with(json!({"ActionType": "InboundConnectionAccepted", "RemoteUrl": "https://updates.example/x?y"}))),
        event(json!({"DeviceName": "no host"})),
    ]
}

/// What a pull brings of the alerts that the simulator tells as Microsoft documents them.
fn pulled() -> Vec<Value> {
    let stage = Stage::connected();
    stage.put(Alert::new("da1", stage.now()).evidence(10));
    stage.tick();
    let events = stage.events();
    assert_eq!(events.len(), 1);
    events
}

#[test]
fn every_field_of_an_event_has_its_column_and_no_column_is_of_nothing() {
    let mut unnamed = complete();
    // What is no host name has another place.
    unnamed["computerDnsName"] = json!("host_1");
    let mut events = pulled();
    events.extend([event(&complete()), event(&unnamed)]);
    fits("alerts", &events);
    fits("machines", &machines());
    fits("telemetry", &network_events());
}

/// These events fill all of a feed's columns, and nothing else.
#[track_caller]
fn fits(feed: &str, events: &[Value]) {
    let (columns, mut wrong, mut filled, mut leaves) = (columns(feed), Vec::new(), BTreeSet::new(), BTreeSet::new());
    events.iter().for_each(|event| columns.walk("", event, &mut wrong, &mut filled));
    assert_eq!(wrong, Vec::<String>::new(), "{feed}: in the lake, and not to be asked for");
    columns.leaves("", &mut leaves);
    let empty: Vec<&String> = leaves.difference(&filled).collect();
    assert_eq!(empty, Vec::<&String>::new(), "{feed}: columns that no event fills");
}

impl Type {
    /// What of it the published class does not have, or has otherwise.
    fn judge(&self, path: &str, schema: &Value, whole: &Value, wrong: &mut Vec<String>) {
        let schema = schema["$ref"].as_str().map_or(schema, |place| whole.pointer(&place[1..]).unwrap());
        let is = |kind: &str| list(&schema["type"]).contains(&&json!(kind));
        let fits = match self {
            Self::List(of) => {
                of.judge(path, &schema["items"], whole, wrong);
                is("array")
            }
            Self::Struct(members) => {
                for (name, of) in members {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    match schema["properties"].get(name) {
                        Some(schema) => of.judge(&path, schema, whole, wrong),
                        None => wrong.push(format!("{path} is nowhere in the class")),
                    }
                }
                is("object")
            }
            Self::Text => is("string") || AS_JSON.contains(&path),
            Self::Int | Self::BigInt => is("integer"),
            Self::Boolean => is("boolean"),
        };
        if !fits {
            wrong.push(format!("{path} is {self:?} and {}", schema["type"]));
        }
    }
}

#[test]
fn every_column_is_of_the_published_class() {
    for (feed, class) in
        [("alerts", "detection_finding"), ("machines", "inventory_info"), ("telemetry", "network_activity_host")]
    {
        let path = root().join(format!("tests/fixtures/ocsf/{class}-1.3.0.schema.json"));
        let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let mut wrong = Vec::new();
        columns(feed).judge("", &schema, &schema, &mut wrong);
        assert_eq!(wrong, Vec::<String>::new(), "{feed}");
    }
}

/// A field that the events above lack is named in the code all the same.
#[test]
fn every_name_that_the_code_gives_to_a_field_is_a_columns() {
    for (feed, path, at_least) in [
        ("alerts", "shared/src/alert/finding.rs", 50),
        ("machines", "shared/src/machine/inventory.rs", 40),
        ("telemetry", "shared/src/telemetry/event.rs", 50),
    ] {
        let code = ["shared/src/ocsf.rs", path].map(|path| fs::read_to_string(root().join(path)).unwrap());
        let code = code.each_ref().map(|code| code.split("#[cfg(test)]").next().unwrap()).concat();
        names(feed, &code, at_least);
    }
}

fn names(feed: &str, code: &str, at_least: usize) {
    let mut leaves = BTreeSet::new();
    columns(feed).leaves("", &mut leaves);
    let columns: BTreeSet<&str> = leaves.iter().flat_map(|path| path.split('.')).collect();
    let put = code.split("put(&mut ").skip(1).filter_map(|rest| rest.split_once(", \"")?.1.split('"').next());
    let literal = code.split("\": ").filter_map(|before| before.rsplit('"').next());
    let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let named: BTreeSet<&str> = put.chain(literal).filter(is_name).collect();
    assert!(named.len() >= at_least, "{feed}: only {named:?} were found");
    assert_eq!(named.difference(&columns).collect::<Vec<_>>(), Vec::<&&str>::new(), "{feed}: no column has these");
}

#[test]
fn a_type_is_read_to_its_last_member_and_a_value_that_does_not_fit_is_told() {
    let of = Type::read("struct<a:int,b:array<struct<c:bigint,d:string>>,e:string,f:boolean>");
    let walked = |value: Value| {
        let (mut wrong, mut filled) = (Vec::new(), BTreeSet::new());
        of.walk("", &value, &mut wrong, &mut filled);
        (wrong.len(), filled.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(walked(json!({"f": true})).0 + walked(json!({"f": 1})).0, 1);
    let leaves = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        walked(json!({"a": 1, "b": [{"c": 3_000_000_000_i64, "d": "x"}], "e": ""})),
        (0, leaves(&["a", "b.c", "b.d", "e"]))
    );
    for value in
        [json!({"a": 3_000_000_000_i64}), json!({"b": {"c": 1}}), json!({"b": [{"x": 1}]}), json!({"e": {"f": 1}})]
    {
        assert_eq!(walked(value.clone()), (1, Vec::new()), "{value}");
    }
}
