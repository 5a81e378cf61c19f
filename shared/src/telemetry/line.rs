//! One line of an exported blob: what makes it a record, and how it is known again.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    microsoft::time,
    record::{Mark, mark},
    tenant::TenantId,
};

/// A record's identity and its place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// `properties.Timestamp`: when it happened on the device.
    pub time: Timestamp,
    /// In the event it is `metadata.uid`.
    pub mark: Mark,
}

/// Why a line cannot be a record; goes to the quarantine with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("no `properties`")]
    NoProperties,
    #[error("no usable `Timestamp`")]
    NoTime,
    #[error("its `category` is another table's")]
    OtherTable,
    #[error("its `tenantId` is another tenant's")]
    OtherTenant,
}

/// The envelope, as far as it identifies the record. `time`, when it was exported, is not part of that: Microsoft's own
/// repeats differ in it (MICROSOFT.md 4.1).
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, rename = "tenantId")]
    tenant: Value,
    #[serde(default)]
    category: Value,
    #[serde(borrow, default)]
    properties: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(default, rename = "Timestamp")]
    timestamp: Value,
    #[serde(default, rename = "DeviceId")]
    device: Value,
    #[serde(default, rename = "ReportId")]
    report: Value,
    #[serde(default, rename = "ActionType")]
    action: Value,
}

impl Head {
    /// Reads what identifies a record; every other field may be anything.
    ///
    /// # Errors
    /// [`Unreadable`] when it has no identity, or is not this tenant's network event.
    pub fn parse(tenant: TenantId, line: &[u8]) -> Result<Self, Unreadable> {
        // Checked here once, so that whatever passes can be read as text.
        let line = std::str::from_utf8(line).map_err(|_| Unreadable::NotJson("not UTF-8".to_owned()))?;
        let not_json = |cause: serde_json::Error| Unreadable::NotJson(cause.to_string());
        let envelope: Envelope<'_> = serde_json::from_str(line).map_err(not_json)?;
        let is = |value: &Value, expected: &str| value.as_str().is_none_or(|text| text.eq_ignore_ascii_case(expected));
        if !is(&envelope.tenant, &tenant.to_string()) {
            return Err(Unreadable::OtherTenant);
        }
        if !is(&envelope.category, "AdvancedHunting-DeviceNetworkEvents") {
            return Err(Unreadable::OtherTable);
        }
        let text = envelope.properties.ok_or(Unreadable::NoProperties)?.get();
        let Ok(properties) = serde_json::from_str::<Properties>(text) else { return Err(Unreadable::NoProperties) };
        let time = properties.timestamp.as_str().and_then(time::parse).ok_or(Unreadable::NoTime)?;
        Ok(Self { time, mark: mark_of(tenant, &properties, text) })
    }
}

/// Over tenant, DeviceId, ReportId, Timestamp, ActionType and the text of `properties`.
fn mark_of(tenant: TenantId, properties: &Properties, text: &str) -> Mark {
    let Properties { device, report, timestamp, action } = properties;
    let words = [device, report, timestamp, action].map(|value| match value {
        Value::String(text) => Cow::Borrowed(text.as_str()),
        other => Cow::Owned(other.to_string()),
    });
    let [device, report, timestamp, action] = words.each_ref().map(|word| word.as_bytes());
    mark(&[b"telemetry", tenant.to_string().as_bytes(), device, report, timestamp, action, text.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(line: &str) -> Result<Head, Unreadable> {
        Head::parse("00000000-0000-4000-8000-0000000000aa".parse().unwrap(), line.as_bytes())
    }

    const LINE: &str = r#"{"time":"2026-07-18T14:00:54.7649349Z","tenantId":"00000000-0000-4000-8000-0000000000AA","category":"AdvancedHunting-DeviceNetworkEvents","properties":{"DeviceId":"d1","ReportId":123456789012345678,"ActionType":"ConnectionSuccess","Timestamp":"2026-07-18T13:58:42.666487Z","New":[1]}}"#;

    #[test]
    fn pain_19_a_repeat_is_known_whenever_it_was_exported() {
        let first = head(LINE).unwrap();
        assert_eq!(first.time, "2026-07-18T13:58:42.666487Z".parse().unwrap());
        assert_eq!(head(&LINE.replace("14:00:54.7649349Z", "14:07:01Z")).unwrap(), first);
        for (from, to) in [
            ("\"d1\"", "\"d2\""),
            // Beyond what a floating-point number can tell apart.
            ("123456789012345678", "123456789012345679"),
            ("ConnectionSuccess", "ConnectionFailed"),
            (".666487Z", ".666488Z"),
            ("[1]", "[2]"),
        ] {
            assert_ne!(head(&LINE.replace(from, to)).unwrap().mark, first.mark, "{to}");
        }
    }

    #[test]
    fn a_line_is_a_record_of_this_tenant_and_table_or_it_is_told_why_not() {
        for (line, reason) in [
            ("{}", Unreadable::NoProperties),
            (r#"{"properties":null}"#, Unreadable::NoProperties),
            (r#"{"properties":[]}"#, Unreadable::NoTime),
            (r#"{"properties":"Timestamp"}"#, Unreadable::NoProperties),
            (r#"{"properties":{"Timestamp":1784383122}}"#, Unreadable::NoTime),
            (r#"{"properties":{"Timestamp":"+012026-07-18T13:58:42Z"}}"#, Unreadable::NoTime),
            (&LINE.replace("0000AA", "0000bb"), Unreadable::OtherTenant),
            (&LINE.replace("DeviceNetworkEvents", "DeviceEvents"), Unreadable::OtherTable),
        ] {
            assert_eq!(head(line), Err(reason), "{line}");
        }
        for line in ["", "{half", "[]", "\u{feff}{}", r#"{"properties":{}} {}"#] {
            assert!(matches!(head(line), Err(Unreadable::NotJson(_) | Unreadable::NoProperties)), "{line}");
        }
        assert!(matches!(
            Head::parse("00000000-0000-4000-8000-0000000000aa".parse().unwrap(), b"{\"properties\":\"\xff\"}"),
            Err(Unreadable::NotJson(_))
        ));
        assert!(head(r#"{"properties":{"Timestamp":"2026-07-18T13:58:42Z"}}"#).is_ok(), "an envelope may be bare");
    }
}
