//! One row of DeviceNetworkEvents as the export writes it, in all the variety that was seen (MICROSOFT 4.1, 4.2).

use std::fmt::Display;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::ledger::Record;
use crate::time::to_ticks;

/// The table's documented ways of connecting, and one that nobody has documented.
const ACTIONS: [&str; 20] = [
    "ConnectionSuccess",
    "ConnectionFailed",
    "ConnectionAttempt",
    "ConnectionRequest",
    "ConnectionFound",
    "ConnectionAcknowledged",
    "ConnectionSuccessAggregatedReport",
    "ConnectionFailedAggregatedReport",
    "ListeningConnectionCreated",
    "InboundConnectionAccepted",
    "InboundConnectionAttempt",
    "InboundInternetScanInspected",
    "NetworkSignatureInspected",
    "HttpConnectionInspected",
    "DnsConnectionInspected",
    "SslConnectionInspected",
    "SshConnectionInspected",
    "IcmpConnectionInspected",
    "NtlmAuthenticationInspected",
    "QuantumConnectionObserved",
];

/// Name, folder and command line: with spaces, quotation marks, backslashes, and letters beyond ASCII.
const PROCESSES: [(&str, &str, &str); 5] = [
    ("svchost.exe", r"c:\windows\system32", r"svchost.exe -k NetworkService -p -s Dnscache"),
    (
        "msedge.exe",
        r"c:\program files (x86)\microsoft\edge",
        r#""msedge.exe" --type=utility --lang=de "C:\Users\jörg""#,
    ),
    ("updater", "/opt/updater", "updater --x"),
    ("python3", "/usr/bin", "python3 -c 'print(\"\u{1f980}\\u00e9\")'"),
    ("System", "", ""),
];

/// Where a machine is, and what it is called.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) name: String,
}

impl Device {
    pub(crate) fn nth(number: u64) -> Self {
        Self {
            id: format!("5844d4a3f835919fd63772082de62951d0da{number:04x}"),
            name: format!("host{number}.contoso.example"),
        }
    }
}

/// A row at about this time: the text of `properties`, and what it is known again by.
pub(crate) fn row(dice: &mut Dice, device: &Device, at: Timestamp) -> Record {
    let action = ACTIONS[dice.below(ACTIONS.len())];
    let inspected = action.ends_with("Inspected");
    let timestamp = fractions(dice, at);
    let report_id = report_id(dice);
    let (process, folder, command_line) = PROCESSES[dice.below(PROCESSES.len())];
    let (remote, remote_type) = address(dice, true);
    let (local, local_type) = address(dice, false);
    let before = SignedDuration::from_secs(dice.span(1, 86_400));
    let started = fractions(dice, at - before);

    let mut row = Object::default();
    row.text("DeviceName", &device.name);
    row.text("DeviceId", &device.id);
    row.put("ReportId", report_id);
    row.text("RemoteIP", &remote);
    row.put("RemotePort", [443, 53, 80, 22, 3389, 50_000][dice.below(6)]);
    row.text("LocalIP", &local);
    row.put("LocalPort", dice.span(1024, 65_535));
    row.maybe(dice, if inspected { 0 } else { 1000 }, "Protocol", "Tcp");
    row.maybe(dice, 400, "RemoteUrl", "https://example.com/päth?q=\"1\"");
    row.text("InitiatingProcessCreationTime", &started);
    row.put("InitiatingProcessId", if inspected { 0 } else { dice.span(4, 60_000) });
    row.maybe(dice, 950, "InitiatingProcessCommandLine", command_line);
    row.text("InitiatingProcessFileName", process);
    row.maybe(dice, 950, "InitiatingProcessFolderPath", folder);
    row.maybe(dice, 800, "InitiatingProcessSHA1", "ff836cfb1af40252bd2a2ea843032e99a5b20000");
    row.maybe(dice, 500, "InitiatingProcessAccountUpn", "u@contoso.example");
    row.maybe(dice, 850, "LocalIPType", local_type);
    row.maybe(dice, 850, "RemoteIPType", remote_type);
    row.text("ActionType", action);
    match additional_fields(dice) {
        Some(fields) => row.put("AdditionalFields", fields),
        None => row.put("AdditionalFields", "null"),
    }
    row.put("IsInitiatingProcessRemoteSession", dice.chance(20));
    row.text("InitiatingProcessUniqueId", &if inspected { "0".into() } else { dice.span(1, i64::MAX).to_string() });
    row.text("Timestamp", &timestamp);
    row.maybe(dice, 900, "MachineGroup", "main");
    Record { device_id: device.id.clone(), report_id, timestamp, action_type: action.into(), properties: row.close() }
}

/// The line of a row, without its end. The envelope's `time` is the export's, and another one each time.
pub(crate) fn line(record: &Record, tenant_id: &str, time: Timestamp, dice: &mut Dice) -> String {
    let before = SignedDuration::from_secs(dice.span(30, 120));
    let received = fractions(dice, time - before);
    let mut envelope = Object::default();
    envelope.text("time", &fractions(dice, time));
    envelope.text("tenantId", tenant_id);
    envelope.text("operationName", "Publish");
    envelope.text("category", "AdvancedHunting-DeviceNetworkEvents");
    envelope.text("_TimeReceivedBySvc", &received);
    envelope.put("properties", &record.properties);
    envelope.text("Tenant", "DefaultTenant");
    envelope.close()
}

/// Within the second, with no fraction digits up to seven.
fn fractions(dice: &mut Dice, at: Timestamp) -> String {
    let at = to_ticks(at);
    let whole = at.strftime("%Y-%m-%dT%H:%M:%S");
    let digits = dice.below(8);
    if digits == 0 {
        return format!("{whole}Z");
    }
    let fraction = dice.roll() % 10_u64.pow(u32::try_from(digits).unwrap_or(0));
    format!("{whole}.{fraction:0digits$}Z")
}

/// Small ones repeat; large ones have up to 18 digits, beyond what a double can tell apart.
fn report_id(dice: &mut Dice) -> u64 {
    let digits = [2, 5, 5, 9, 16, 18][dice.below(6)];
    dice.roll() % 10_u64.pow(digits)
}

fn address(dice: &mut Dice, remote: bool) -> (String, &'static str) {
    let host = dice.below(250) + 1;
    match (dice.below(10), remote) {
        (0..=5, true) => (format!("203.0.113.{host}"), "Public"),
        (0..=6, false) | (6, true) => (format!("10.0.{}.{host}", host % 4), "Private"),
        (7, _) => (format!("2001:db8::{host:x}"), "Public"),
        (8, _) => (format!("::ffff:10.0.0.{host}"), "FourToSixMapping"),
        _ => (if remote { "127.0.0.1" } else { "::1" }.into(), "Loopback"),
    }
}

/// An object, JSON inside a string, an empty string, or nothing.
fn additional_fields(dice: &mut Dice) -> Option<String> {
    let fields = json!({"InitiatingProcessPosixEffectiveUser": {"Name": "ü", "PosixUserId": dice.below(70_000)}});
    match dice.below(10) {
        0..=3 => Some(Value::from(fields.to_string()).to_string()),
        4..=6 => Some(fields.to_string()),
        7 => Some("\"\"".into()),
        _ => None,
    }
}

/// An object whose members stand in the order they were put in, as Microsoft writes its own order.
#[derive(Default)]
struct Object(String);

impl Object {
    fn put(&mut self, name: &str, value: impl Display) {
        let mark = if self.0.is_empty() { '{' } else { ',' };
        self.0.push_str(&format!("{mark}\"{name}\":{value}"));
    }

    fn text(&mut self, name: &str, value: &str) {
        self.put(name, Value::from(value));
    }

    /// Is there so many times in a thousand; otherwise it is `null`, or left out.
    fn maybe(&mut self, dice: &mut Dice, per_mille: u64, name: &str, value: &str) {
        if dice.chance(per_mille) {
            self.text(name, value);
        } else if dice.chance(700) {
            self.put(name, "null");
        }
    }

    fn close(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
