//! Tens of thousands of alerts out of a rule: generated from their index when they are looked at, never stored.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::alert::{Alert, entity, sample};
use crate::dice::{hash, mix};
use crate::time::to_ticks;

/// A rule for many alerts. Their ids are `{prefix}_{index}`, the first index 0.
#[derive(Clone, Debug)]
pub struct Flood {
    pub prefix: String,
    pub count: u32,
    /// Creation and last update of the first one.
    pub start: Timestamp,
    /// From one to the next; zero lets all of them share one instant.
    pub step: SignedDuration,
    /// Evidence entities per alert, about a kilobyte each.
    pub evidence: u32,
}

/// A flood with the text of one alert's evidence made beforehand; only its digests differ from alert to alert, so that
/// writing an alert is copying and a page compresses about as well as a real one.
#[derive(Debug)]
pub(crate) struct Source {
    rule: Flood,
    tenant: String,
    evidence: Vec<u8>,
    /// Where in `evidence` the digests lie.
    digests: Vec<std::ops::Range<usize>>,
}

impl Source {
    pub(crate) fn new(rule: Flood, tenant: &str) -> Self {
        let entities: Value = (0..rule.evidence).map(|index| entity(&rule.prefix, index, rule.start)).collect();
        let evidence = entities.to_string().into_bytes();
        let digests = digests(&evidence);
        Self { rule, tenant: tenant.into(), evidence, digests }
    }

    pub(crate) fn of_tenant(&self, tenant: &str) -> Self {
        Self::new(self.rule.clone(), tenant)
    }

    pub(crate) fn count(&self) -> u32 {
        self.rule.count
    }

    pub(crate) fn id(&self, index: u32) -> String {
        format!("{}_{index}", self.rule.prefix)
    }

    /// A number of this alert's own, without making its id.
    pub(crate) fn rank(&self, index: u32) -> u64 {
        mix(hash(self.rule.prefix.as_bytes()) ^ u64::from(index))
    }

    /// The index of the alert with this id.
    pub(crate) fn index(&self, id: &str) -> Option<u32> {
        let index = id.strip_prefix(&self.rule.prefix)?.strip_prefix('_')?.parse().ok()?;
        (index < self.rule.count && self.id(index) == id).then_some(index)
    }

    /// Creation, last update, and the moment from which it is visible.
    pub(crate) fn at(&self, index: u32) -> Timestamp {
        let since = self.rule.step.checked_mul(i32::try_from(index).unwrap_or(i32::MAX));
        to_ticks(since.and_then(|since| self.rule.start.checked_add(since).ok()).unwrap_or(Timestamp::MAX))
    }

    /// The alert whole, for what changes it or looks into it; its evidence is the same text that `write` writes.
    pub(crate) fn alert(&self, index: u32) -> Alert {
        let mut alert = self.without_evidence(index);
        let evidence = serde_json::from_slice(&self.evidence_of(index)).unwrap_or(Value::Array(Vec::new()));
        alert.fields.insert("evidence".into(), evidence);
        alert
    }

    pub(crate) fn without_evidence(&self, index: u32) -> Alert {
        let (id, at) = (self.id(index), self.at(index));
        let mut fields = sample(&id, at);
        fields.insert("aadTenantId".into(), self.tenant.as_str().into());
        Alert { id, last_update: at, visible_from: at, fields, raw: None }
    }

    pub(crate) fn write(&self, index: u32, expand: bool, out: &mut Vec<u8>) {
        self.without_evidence(index).write(false, out);
        // The object just written is open again, for its last member.
        out.pop();
        out.extend_from_slice(br#","evidence":"#);
        if expand {
            out.extend_from_slice(&self.evidence_of(index));
        } else {
            out.extend_from_slice(b"[]");
        }
        out.push(b'}');
    }

    fn evidence_of(&self, index: u32) -> Vec<u8> {
        let mut text = self.evidence.clone();
        let mut word = self.rank(index);
        for digest in &self.digests {
            for sixteen in text[digest.clone()].chunks_mut(16) {
                word = mix(word.wrapping_add(1));
                for (place, digit) in sixteen.iter_mut().enumerate() {
                    *digit = b"0123456789abcdef"[(word >> (4 * place)) as usize & 15];
                }
            }
        }
        text
    }
}

/// The runs of 40 and 64 hexadecimal digits between quotes: the two digests of each file.
fn digests(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for (end, byte) in text.iter().enumerate() {
        if *byte != b'"' {
            continue;
        }
        if matches!(end - start, 40 | 64) && text[start..end].iter().all(u8::is_ascii_hexdigit) {
            found.push(start..end);
        }
        start = end + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(step: i64) -> Source {
        let start = "2026-01-01T00:00:00Z".parse().unwrap();
        let step = SignedDuration::from_secs(step);
        Source::new(Flood { prefix: "da1".into(), count: 20, start, step, evidence: 3 }, "t")
    }

    #[test]
    fn an_id_leads_back_to_its_index() {
        let source = source(1);
        assert_eq!(source.index("da1_19"), Some(19));
        for unknown in ["da1_20", "da1_019", "da1_+1", "da1", "da2_1"] {
            assert_eq!(source.index(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_step_spreads_them_and_zero_does_not() {
        assert_eq!(source(60).at(3), "2026-01-01T00:03:00Z".parse().unwrap());
        assert_eq!(source(0).at(3), source(0).at(0));
    }

    #[test]
    fn the_written_text_is_the_alert_and_no_two_are_alike() {
        let source = source(1);
        let text = |index, expand| {
            let mut out = Vec::new();
            source.write(index, expand, &mut out);
            serde_json::from_slice::<Value>(&out).unwrap()
        };
        assert_eq!(text(7, true), Value::Object(source.alert(7).fields));
        assert_ne!(text(7, true)["evidence"], text(8, true)["evidence"]);
        assert_eq!(text(7, false)["evidence"], serde_json::json!([]));
        assert_eq!(text(7, false)["aadTenantId"], "t");
    }
}
