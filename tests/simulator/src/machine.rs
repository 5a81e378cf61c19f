//! One machine of Defender's inventory as the API writes it (MICROSOFT 3.3).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::dice::{guid_of, hash, mix};
use crate::time::dotnet;

/// A machine of one tenant.
#[derive(Clone, Debug)]
pub struct Machine {
    pub id: String,
    /// Everything Defender would send; may be damaged on purpose.
    pub fields: Map<String, Value>,
    /// If set, this exact text is sent in the machine's place.
    pub raw: Option<String>,
}

impl Machine {
    /// A realistic machine, last seen at `at`, with the fields that no document knows and those that are null.
    pub fn new(id: &str, at: Timestamp) -> Self {
        Self { id: id.into(), fields: sample(id, at), raw: None }
    }

    /// Sets one field as it goes over the wire.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.fields.insert(field.into(), value);
        self
    }

    pub fn without(mut self, field: &str) -> Self {
        self.fields.remove(field);
        self
    }

    /// Defender found that this record and another are one machine, which lives on under the other's id.
    pub fn merged_into(self, id: &str) -> Self {
        self.with("mergedIntoMachineId", id.into())
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match &self.raw {
            Some(raw) => out.extend_from_slice(raw.as_bytes()),
            None => out.extend_from_slice(json!(self.fields).to_string().as_bytes()),
        }
    }
}

/// The fields of the published samples. `rbacGroupId` is a number although the page says String, `osVersion` is null.
fn sample(id: &str, at: Timestamp) -> Map<String, Value> {
    let number = mix(hash(id.as_bytes()));
    let pick = |shift: u32, of: &[&'static str]| of[(number >> shift) as usize % of.len()];
    let (third, fourth) = (number % 250, (number >> 8) % 250);
    let mac = format!("0A{:010X}", number & 0xFF_FFFF_FFFF);
    let address = format!("10.0.{third}.{fourth}");
    let Value::Object(fields) = json!({
        "id": id,
        "mergedIntoMachineId": null,
        "isPotentialDuplication": false,
        "isExcluded": false,
        "exclusionReason": null,
        "computerDnsName": format!("host{}.contoso.example", number % 1_000_000),
        "firstSeen": dotnet(at - SignedDuration::from_hours(24 * 30)),
        "lastSeen": dotnet(at),
        "osPlatform": pick(4, &["Windows10", "Windows11", "WindowsServer2022", "Ubuntu", "macOS"]),
        "osVersion": null,
        "osProcessor": "x64",
        "version": "22H2",
        "lastIpAddress": address,
        "lastExternalIpAddress": format!("203.0.113.{}", number % 200),
        "agentVersion": "10.8790.19045.5608",
        "osBuild": 19045,
        "healthStatus": "Active",
        "deviceValue": "Normal",
        "rbacGroupId": number % 5,
        "rbacGroupName": null,
        "riskScore": pick(12, &["None", "Informational", "Low", "Medium", "High"]),
        "exposureLevel": pick(16, &["None", "Low", "Medium", "High"]),
        "isAadJoined": true,
        "aadDeviceId": guid_of(&["device", id]),
        "machineTags": [],
        "onboardingStatus": "Onboarded",
        "osArchitecture": "64-bit",
        "managedBy": "Intune",
        "managedByStatus": "Unknown",
        "ipAddresses": [
            {"ipAddress": address, "macAddress": mac, "type": "Ethernet", "operationalStatus": "Up"},
            {"ipAddress": "", "macAddress": null, "type": "SoftwareLoopback", "operationalStatus": "Up"},
        ],
        "vmMetadata": null,
    }) else {
        return Map::new();
    };
    fields
}
