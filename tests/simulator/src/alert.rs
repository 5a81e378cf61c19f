//! One Defender alert as the API writes it (MICROSOFT 3.2).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::dice::{guid_of, hash, mix};
use crate::time::{dotnet, to_ticks};

/// An alert of one tenant.
#[derive(Clone, Debug)]
pub struct Alert {
    pub id: String,
    /// What the server filters on, even where the JSON field is damaged.
    pub last_update: Timestamp,
    /// Before this instant the alert is nowhere to be seen, whatever its times say: alerts become visible late.
    pub visible_from: Timestamp,
    /// Everything Defender would send, with `evidence`; may be damaged on purpose.
    pub fields: Map<String, Value>,
    /// If set, this exact text is sent in the alert's place, with or without `$expand`.
    pub raw: Option<String>,
}

impl Alert {
    /// A realistic alert with every documented field and two evidence entities, created and last updated at `at`.
    pub fn new(id: &str, at: Timestamp) -> Self {
        let mut fields = sample(id, at);
        fields.insert("evidence".into(), (0..2).map(|index| entity(id, index, at)).collect());
        Self { id: id.into(), last_update: to_ticks(at), visible_from: at, fields, raw: None }
    }

    pub fn visible_from(mut self, at: Timestamp) -> Self {
        self.visible_from = at;
        self
    }

    /// Sets one field as it goes over the wire; `lastUpdateTime` too is then only what is *written*.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.fields.insert(field.into(), value);
        self
    }

    pub fn without(mut self, field: &str) -> Self {
        self.fields.remove(field);
        self
    }

    pub fn created(self, at: Timestamp) -> Self {
        self.with("alertCreationTime", dotnet(at).into())
    }

    /// This many evidence entities of about a kilobyte each.
    pub fn evidence(self, count: u32) -> Self {
        let entities = (0..count).map(|index| entity(&self.id, index, self.last_update)).collect();
        self.with("evidence", entities)
    }

    /// The alert's text as it goes over the wire. Without `$expand=evidence` the evidence is an empty array.
    pub(crate) fn write(&self, expand: bool, out: &mut Vec<u8>) {
        if let Some(raw) = &self.raw {
            return out.extend_from_slice(raw.as_bytes());
        }
        out.push(b'{');
        for (index, (name, value)) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let hidden = !expand && name == "evidence";
            out.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
            out.push(b':');
            out.extend_from_slice(if hidden { "[]".into() } else { value.to_string() }.as_bytes());
        }
        out.push(b'}');
    }
}

/// Every documented field but `evidence`. `aadTenantId` is filled in by the tenant that holds the alert.
pub(crate) fn sample(id: &str, at: Timestamp) -> Map<String, Value> {
    let number = mix(hash(id.as_bytes()));
    let pick = |shift: u32, of: &[&'static str]| of[(number >> shift) as usize % of.len()];
    let before = |milliseconds| dotnet(at - SignedDuration::from_millis(milliseconds));
    let host = number % 50;
    let Value::Object(fields) = json!({
        "id": id,
        "incidentId": number % 2_000_000,
        "investigationId": null,
        "assignedTo": null,
        "severity": pick(8, &["Informational", "Low", "Medium", "High"]),
        "status": "New",
        "classification": null,
        "determination": null,
        "investigationState": pick(10, &["Queued", "UnsupportedAlertType", "Benign", "Running"]),
        "detectionSource": pick(12, &["WindowsDefenderAtp", "WindowsDefenderAv"]),
        "detectorId": guid_of(&["detector", pick(14, &["a", "b", "c", "d", "e"])]),
        "category": pick(17, &["Execution", "Persistence", "SuspiciousActivity", "Malware"]),
        "threatFamilyName": null,
        "title": pick(20, &["Suspicious PowerShell download", "Low-reputation process start", "'Example' malware was detected"]),
        "description": "A process behaved in a way that is seen in attacks. Read the process tree and the command line, and isolate the device where they are not expected.",
        "alertCreationTime": dotnet(at),
        "firstEventTime": before(144_766),
        "lastEventTime": before(144_665),
        "lastUpdateTime": dotnet(at),
        "resolvedTime": null,
        "machineId": format!("111e6dd8c833c8a052ea231ec1b19adaf497{host:04x}"),
        "computerDnsName": format!("host{host}.contoso.example"),
        "rbacGroupName": "A",
        "aadTenantId": null,
        "threatName": null,
        "mitreTechniques": ["T1064", "T1085"],
        "relatedUser": {"userName": format!("temp{}", number % 20), "domainName": "DOMAIN"},
        "comments": [{"comment": "Looked at.", "createdBy": "analyst@contoso.example", "createdTime": dotnet(at)}],
    }) else {
        return Map::new();
    };
    fields
}

/// One evidence entity: all keys are always there, null where they do not apply.
pub(crate) fn entity(id: &str, index: u32, at: Timestamp) -> Value {
    let number = mix(hash(id.as_bytes()) ^ u64::from(index));
    if index % 5 == 1 {
        return json!({
            "entityType": "User", "evidenceCreationTime": dotnet(at), "sha1": null, "sha256": null, "fileName": null,
            "filePath": null, "processId": null, "processCommandLine": null, "processCreationTime": null,
            "parentProcessId": null, "parentProcessCreationTime": null, "parentProcessFileName": null,
            "parentProcessFilePath": null, "ipAddress": null, "url": null, "registryKey": null, "registryHive": null,
            "registryValueType": null, "registryValue": null, "accountName": format!("temp{}", number % 20),
            "domainName": "DOMAIN", "userSid": format!("S-1-5-21-11111607-1111760036-109187956-{}", number % 100_000),
            "aadUserId": guid_of(&["user", id]), "userPrincipalName": "temp@contoso.example",
            "detectionStatus": null,
        });
    }
    let (sha1, sha256) = (hex(number, 40), hex(!number, 64));
    let command = format!(
        "powershell.exe -NoProfile -ExecutionPolicy Bypass -File C:\\ProgramData\\Contoso\\{}\\run.ps1 -Token {}",
        hex(number.rotate_left(9), 16),
        hex(number.rotate_left(21), 64)
    );
    json!({
        "entityType": "Process", "evidenceCreationTime": dotnet(at), "sha1": sha1, "sha256": sha256,
        "fileName": "rundll32.exe", "filePath": "C:\\Windows\\SysWOW64", "processId": 1000 + number % 60_000,
        "processCommandLine": command,
        "processCreationTime": dotnet(at - SignedDuration::from_millis(144_764)), "parentProcessId": 8420,
        "parentProcessCreationTime": dotnet(at - SignedDuration::from_millis(144_822)),
        "parentProcessFileName": "powershell.exe", "parentProcessFilePath": "C:\\Windows\\System32\\WindowsPowerShell\\v1.0",
        "ipAddress": null, "url": null, "registryKey": null, "registryHive": null, "registryValueType": null,
        "registryValue": null, "accountName": "temp1", "domainName": "DOMAIN", "userSid": null, "aadUserId": null,
        "userPrincipalName": null, "detectionStatus": "Detected",
    })
}

fn hex(seed: u64, digits: usize) -> String {
    let words = (0..).map(|word| format!("{:016x}", mix(seed.wrapping_add(word))));
    let mut text: String = words.take(digits.div_ceil(16)).collect();
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(alert: &Alert, expand: bool) -> Value {
        let mut out = Vec::new();
        alert.write(expand, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn evidence_shows_only_when_expanded() {
        let alert = Alert::new("da1_1", "2026-01-01T00:00:00.5Z".parse().unwrap());
        assert_eq!(written(&alert, false)["evidence"], json!([]));
        assert_eq!(written(&alert, true)["evidence"].as_array().unwrap().len(), 2);
        assert_eq!(written(&alert, true)["lastUpdateTime"], "2026-01-01T00:00:00.5Z");
    }

    #[test]
    fn thirty_entities_are_about_thirty_kilobytes() {
        let alert = Alert::new("da1_1", Timestamp::UNIX_EPOCH).evidence(30);
        let size = written(&alert, true).to_string().len();
        assert!((24_000..40_000).contains(&size), "{size} bytes");
    }

    #[test]
    fn damage_is_sent_as_it_is() {
        let alert = Alert::new("da1_1", Timestamp::UNIX_EPOCH).with("lastUpdateTime", "soon".into()).without("title");
        assert_eq!(written(&alert, true)["lastUpdateTime"], "soon");
        assert_eq!(written(&alert, true).get("title"), None);
        let raw = Alert { raw: Some("[1]".into()), ..alert };
        assert_eq!(written(&raw, false), json!([1]));
    }
}
