//! An alert as an OCSF 1.3.0 Detection Finding (class 2004, no profile).
//!
//! What has no place in the class goes to `unmapped`, as `ocsf` has it for all classes.

use serde_json::{Map, Value, json};

use super::Sighting;
use crate::{
    ocsf::{
        Style, coded, drop_null, fits, integer_of, is_email, is_hostname, keep_source, metadata, put, take, text_of,
        time_of,
    },
    record::{Mark, hex},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Create,
    Update,
    Close,
}

impl Activity {
    /// Close when resolved; else Create for an id never delivered; else Update.
    pub fn of(source: &Map<String, Value>, id_delivered: bool) -> Self {
        match source.get("status").and_then(Value::as_str) {
            Some("Resolved") => Self::Close,
            _ if id_delivered => Self::Update,
            _ => Self::Create,
        }
    }

    fn id(self) -> u32 {
        match self {
            Self::Create => 1,
            Self::Update => 2,
            Self::Close => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Update => "Update",
            Self::Close => "Close",
        }
    }
}

/// Whether an event carries its alert's evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    Included,
    /// Microsoft could not give it; it follows in an event of its own.
    Pending,
    /// This is the event that brings it after all.
    Completed,
}

/// Builds the event. `source` is the alert, `text` the very text it was parsed from, `uid` its version's mark.
pub fn finding(
    style: Style,
    mut source: Map<String, Value>,
    text: &str,
    sighting: &Sighting,
    uid: &Mark,
    activity: Activity,
    evidence: Evidence,
) -> Value {
    let from = &mut source;
    let original_time = text_of(from, "lastUpdateTime");
    take(from, "id");
    let tenant = style.tenant.to_string();
    if from.get("aadTenantId").and_then(Value::as_str).is_some_and(|id| id.eq_ignore_ascii_case(&tenant)) {
        take(from, "aadTenantId");
    }
    let (severity_id, severity) =
        coded(from, "severity", &[("UnSpecified", 0), ("Informational", 1), ("Low", 2), ("Medium", 3), ("High", 4)]);
    let (status_id, status) = coded(from, "status", &[("Unknown", 0), ("New", 1), ("InProgress", 2), ("Resolved", 4)]);

    let mut metadata = metadata(style, &hex(uid));
    put(&mut metadata, "original_time", original_time);
    match evidence {
        Evidence::Included => {}
        Evidence::Pending => put(&mut metadata, "labels", Some(json!(["evidence_pending"]))),
        Evidence::Completed => put(&mut metadata, "labels", Some(json!(["evidence_completed"]))),
    }

    let mut event = json!({
        "activity_id": activity.id(),
        "activity_name": activity.name(),
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "type_uid": 200_400 + activity.id(),
        "type_name": format!("Detection Finding: {}", activity.name()),
        "time": sighting.updated.as_millisecond(),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "metadata": metadata,
        "finding_info": finding_info(from, sighting),
    });
    let artifacts = artifacts(from);
    put(&mut event, "evidences", (!artifacts.is_empty()).then_some(Value::Array(artifacts)));
    keep_source(&mut event, style, source, text);
    event
}

fn finding_info(from: &mut Map<String, Value>, sighting: &Sighting) -> Value {
    let title = text_of(from, "title").unwrap_or_else(|| sighting.id.clone().into());
    let mut info = json!({
        "uid": sighting.id,
        "title": title,
        "modified_time": sighting.updated.as_millisecond(),
    });
    put(&mut info, "desc", text_of(from, "description"));
    put(&mut info, "created_time", time_of(from, "alertCreationTime"));
    put(&mut info, "first_seen_time", time_of(from, "firstEventTime"));
    put(&mut info, "last_seen_time", time_of(from, "lastEventTime"));
    put(&mut info, "types", text_of(from, "category").map(|category| json!([category])));
    let source = text_of(from, "detectionSource");
    if let Some(detector) = text_of(from, "detectorId") {
        let mut analytic = json!({ "uid": detector, "type_id": 0 });
        put(&mut analytic, "category", source.clone());
        put(&mut info, "analytic", Some(analytic));
    }
    put(&mut info, "data_sources", source.map(|source| json!([source])));
    if let Some(incident) = from.get("incidentId").and_then(Value::as_i64) {
        take(from, "incidentId");
        put(&mut info, "related_events", Some(json!([{ "uid": incident.to_string(), "type": "Incident" }])));
    }
    drop_null(from, "incidentId");
    put(&mut info, "attacks", attacks(from));
    info
}

fn attacks(from: &mut Map<String, Value>) -> Option<Value> {
    let techniques = from.get("mitreTechniques")?.as_array()?;
    let attacks: Option<Vec<Value>> = techniques
        .iter()
        .map(|technique| technique.as_str().filter(|uid| fits(uid)).map(|uid| json!({ "technique": { "uid": uid } })))
        .collect();
    let attacks = attacks?;
    take(from, "mitreTechniques");
    (!attacks.is_empty()).then_some(Value::Array(attacks))
}

/// The device and the user of the alert itself, then its evidence, each as one artifact.
fn artifacts(from: &mut Map<String, Value>) -> Vec<Value> {
    let mut artifacts = Vec::new();
    if let Some(device) = device(from) {
        artifacts.push(json!({ "device": device }));
    }
    if let Some(Value::Object(mut related)) = from.get("relatedUser").cloned()
        && let Some(user) = user(&mut related, "userName")
    {
        artifacts.push(json!({ "user": user }));
        related.retain(|_, value| !value.is_null());
        take(from, "relatedUser");
        if !related.is_empty() {
            from.insert("relatedUser".to_owned(), Value::Object(related));
        }
    }
    drop_null(from, "relatedUser");
    if from.get("evidence").is_some_and(Value::is_array)
        && let Some(Value::Array(entities)) = from.remove("evidence")
    {
        artifacts.extend(entities.into_iter().filter_map(artifact));
    }
    artifacts
}

fn device(from: &mut Map<String, Value>) -> Option<Value> {
    let uid = text_of(from, "machineId");
    let name = text_of(from, "computerDnsName");
    if uid.is_none() && name.is_none() {
        return None;
    }
    let mut device = json!({ "type_id": 0 });
    put(&mut device, "uid", uid);
    let key = if name.as_ref().and_then(Value::as_str).is_some_and(is_hostname) { "hostname" } else { "name" };
    put(&mut device, key, name);
    put(&mut device, "groups", text_of(from, "rbacGroupName").map(|name| json!([{ "name": name }])));
    Some(device)
}

/// One evidence entity. What has no place in the artifact stays beside it in `data`.
fn artifact(entity: Value) -> Option<Value> {
    let Value::Object(mut entity) = entity else {
        return (!entity.is_null()).then(|| json!({ "data": entity }));
    };
    entity.retain(|_, value| !value.is_null());
    let mut artifact = json!({});
    match entity.get("entityType").and_then(Value::as_str).unwrap_or_default() {
        "Process" => put(&mut artifact, "process", process(&mut entity)),
        "File" => put(&mut artifact, "file", file(&mut entity, "fileName", "filePath", true)),
        "User" => put(&mut artifact, "user", user(&mut entity, "accountName")),
        "Ip" => put(&mut artifact, "dst_endpoint", ip(&mut entity).map(|ip| json!({ "ip": ip }))),
        "Url" => put(&mut artifact, "url", text_of(&mut entity, "url").map(|url| json!({ "url_string": url }))),
        "Registry" => put(&mut artifact, "reg_key", registry_key(&mut entity)),
        _ => {}
    }
    put(&mut artifact, "data", (!entity.is_empty()).then_some(Value::Object(entity)));
    artifact.as_object().is_some_and(|map| !map.is_empty()).then_some(artifact)
}

fn process(entity: &mut Map<String, Value>) -> Option<Value> {
    let mut process = json!({ "pid": integer_of(entity, "processId")? });
    put(&mut process, "name", entity.get("fileName").filter(|name| name.is_string()).cloned());
    put(&mut process, "file", file(entity, "fileName", "filePath", true));
    put(&mut process, "cmd_line", text_of(entity, "processCommandLine"));
    put(&mut process, "created_time", time_of(entity, "processCreationTime"));
    put(&mut process, "user", user(entity, "accountName"));
    if let Some(pid) = integer_of(entity, "parentProcessId") {
        let mut parent = json!({ "pid": pid });
        put(&mut parent, "name", entity.get("parentProcessFileName").filter(|name| name.is_string()).cloned());
        put(&mut parent, "file", file(entity, "parentProcessFileName", "parentProcessFilePath", false));
        put(&mut parent, "created_time", time_of(entity, "parentProcessCreationTime"));
        put(&mut process, "parent_process", Some(parent));
    }
    Some(process)
}

fn file(entity: &mut Map<String, Value>, name: &str, folder: &str, hashed: bool) -> Option<Value> {
    let mut file = json!({ "name": text_of(entity, name)?, "type_id": 1 });
    put(&mut file, "parent_folder", text_of(entity, folder));
    if hashed {
        let mut hash = |field: &str, algorithm_id: u32, algorithm: &str| {
            entity.get(field).and_then(Value::as_str).filter(|hash| !hash.is_empty() && hash.len() <= 64)?;
            let value = text_of(entity, field)?;
            Some(json!({ "algorithm_id": algorithm_id, "algorithm": algorithm, "value": value }))
        };
        let hashes: Vec<Value> =
            [hash("sha1", 2, "SHA-1"), hash("sha256", 3, "SHA-256")].into_iter().flatten().collect();
        put(&mut file, "hashes", (!hashes.is_empty()).then_some(Value::Array(hashes)));
    }
    Some(file)
}

fn user(entity: &mut Map<String, Value>, name: &str) -> Option<Value> {
    let (name, uid) = (text_of(entity, name), text_of(entity, "userSid"));
    if name.is_none() && uid.is_none() {
        return None;
    }
    let mut user = json!({});
    put(&mut user, "name", name);
    put(&mut user, "uid", uid);
    put(&mut user, "domain", text_of(entity, "domainName"));
    put(&mut user, "uid_alt", text_of(entity, "aadUserId"));
    if entity.get("userPrincipalName").and_then(Value::as_str).is_some_and(is_email) {
        put(&mut user, "email_addr", text_of(entity, "userPrincipalName"));
    }
    Some(user)
}

fn ip(entity: &mut Map<String, Value>) -> Option<Value> {
    entity.get("ipAddress")?.as_str()?.parse::<std::net::IpAddr>().ok()?;
    text_of(entity, "ipAddress")
}

fn registry_key(entity: &mut Map<String, Value>) -> Option<Value> {
    let key = entity.get("registryKey")?.as_str()?.to_owned();
    let path = match entity.get("registryHive").and_then(Value::as_str) {
        Some(hive) if !hive.is_empty() => format!("{hive}\\{key}"),
        _ => key,
    };
    if !fits(&path) {
        return None;
    }
    take(entity, "registryKey");
    take(entity, "registryHive");
    Some(json!({ "path": path }))
}
