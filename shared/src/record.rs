//! Records on their way into the lake: object keys, gzip, and the quarantine of what cannot be parsed.

mod error;
mod guarded;
mod history;
mod ledger;

use std::io::{BufRead, BufReader, Write};

use aws_lc_rs::digest;
pub use error::CommitError;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
pub use guarded::{Guarded, Progress, create};
pub use history::{History, Hour};
use jiff::{Timestamp, tz::TimeZone};
pub use ledger::Ledger;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    microsoft::time,
    ports::lake::{Lake, Put},
    tenant::{Feed, TenantId},
};

/// The key of one lake object (the lake table in the README). `attempt` is the state version under which its intent
/// was written, so no key is ever planned twice.
pub fn object_key(feed: Feed, tenant: TenantId, after: Timestamp, until: Timestamp, attempt: u64) -> String {
    let day = until.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d");
    format!(
        "{}/tenant={tenant}/day={day}/{}_{}-{attempt:08}.ndjson.gz",
        feed.name(),
        time::compact(after),
        time::compact(until)
    )
}

/// Gathers lines into one gzip object.
#[derive(Debug)]
pub struct ObjectWriter {
    gzip: GzEncoder<Vec<u8>>,
    /// Each line is encoded here first: the encoder writes every comma by itself, and deflate wants more at a time.
    line: Vec<u8>,
}

impl Default for ObjectWriter {
    fn default() -> Self {
        Self { gzip: GzEncoder::new(Vec::new(), Compression::default()), line: Vec::new() }
    }
}

impl ObjectWriter {
    /// Compresses less, for many records that are soon old: an eighth more bytes for a third of the time.
    pub fn fast() -> Self {
        Self { gzip: GzEncoder::new(Vec::new(), Compression::fast()), line: Vec::new() }
    }

    /// # Errors
    /// When the line cannot be encoded; a defect of the mapping.
    pub fn push(&mut self, line: &impl Serialize) -> std::io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.gzip.write_all(&self.line)
    }

    /// # Errors
    /// Never in practice: the target is memory.
    pub fn finish(self) -> std::io::Result<Vec<u8>> {
        self.gzip.finish()
    }
}

/// The lines of an object, each handed to `line`.
///
/// # Errors
/// When the object is not gzip, or `line` says so.
pub fn read_object(object: &[u8], mut line: impl FnMut(&str) -> std::io::Result<()>) -> std::io::Result<()> {
    BufReader::new(GzDecoder::new(object)).lines().try_for_each(|text| line(&text?))
}

/// The object that an intent left in the lake. If there is none, an empty one takes its place, so that a worker who is only
/// slow can no longer deliver under this key. Where somebody has begun to settle this before us, it is that one.
///
/// # Errors
/// As the lake's.
pub async fn left_behind(lake: &dyn Lake, key: &str) -> Result<Option<Vec<u8>>, CommitError> {
    if let Some(object) = lake.get(key).await? {
        return Ok(Some(object));
    }
    match lake.put_new(key, ObjectWriter::default().finish()?).await? {
        Put::Created => Ok(None),
        Put::Exists => match lake.get(key).await? {
            None => Err(CommitError::Platform(format!("the lake's object {key} is there, and is not"))),
            object => Ok(object),
        },
    }
}

/// Whether an intent's object came into the lake; it is [settled](left_behind) with that.
///
/// # Errors
/// As [`left_behind`]; [`CommitError::Platform`] for an object that is not ours.
pub async fn was_delivered(lake: &dyn Lake, key: &str) -> Result<bool, CommitError> {
    let Some(object) = left_behind(lake, key).await? else { return Ok(false) };
    let mut first = String::new();
    BufReader::new(GzDecoder::new(object.as_slice())).read_line(&mut first)?;
    Ok(!first.is_empty())
}

/// What something is known again by: the first 16 bytes of a SHA-256.
pub type Mark = [u8; 16];

pub fn mark(parts: &[&[u8]]) -> Mark {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        // Lengths keep ("ab","c") and ("a","bc") apart.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut mark = Mark::default();
    mark.copy_from_slice(&context.finish().as_ref()[..16]);
    mark
}

pub fn from_hex(text: &str) -> Option<Mark> {
    let bytes: Vec<u8> = (0..text.len() / 2)
        .map(|i| text.get(2 * i..2 * i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<_>>()?;
    bytes.try_into().ok()
}

/// The text that a record is identified by. Dots alone are no id: an address would lose them.
pub fn usable_id(id: &Value) -> Option<&str> {
    id.as_str().map(str::trim).filter(|id| !id.is_empty() && id.len() <= 512 && *id != "." && *id != "..")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record that cannot be parsed, as it goes to the quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub key: String,
    pub sha256: Vec<u8>,
    pub object: Vec<u8>,
}

/// `identity` is the text that it is known again by; `source` is everything that was received.
pub fn quarantine(
    feed: Feed,
    tenant: TenantId,
    identity: &[u8],
    source: &[u8],
    reason: &str,
    now: Timestamp,
) -> Quarantined {
    let sha256 = digest::digest(&digest::SHA256, identity).as_ref().to_vec();
    let hex = hex(&sha256);
    let object = json!({
        "tenant_uid": tenant,
        "reason": reason,
        "received_at": now,
        "sha256": hex,
        "source": String::from_utf8_lossy(source),
    });
    Quarantined {
        key: format!("quarantine/{}/tenant={tenant}/{hex}.json", feed.name()),
        sha256,
        object: object.to_string().into_bytes(),
    }
}

/// Many records that cannot be parsed, as lines of one object with the reason of each, known again by all their texts. Of a
/// long one so much is kept.
///
/// # Errors
/// Never in practice: the target is memory.
pub fn quarantine_together<'a>(
    feed: Feed,
    tenant: TenantId,
    records: impl Iterator<Item = (String, &'a [u8])>,
    kept: usize,
) -> std::io::Result<Quarantined> {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut writer = ObjectWriter::fast();
    for (reason, source) in records {
        context.update(&(source.len() as u64).to_be_bytes());
        context.update(source);
        let source = String::from_utf8_lossy(&source[..source.len().min(kept)]);
        writer.push(&json!({ "tenant_uid": tenant, "reason": reason, "source": source }))?;
    }
    let sha256 = context.finish().as_ref().to_vec();
    let key = format!("quarantine/{}/tenant={tenant}/{}.ndjson.gz", feed.name(), hex(&sha256));
    Ok(Quarantined { key, sha256, object: writer.finish()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_names_tenant_day_of_the_windows_end_and_window() {
        let tenant = "00000000-0000-4000-8000-0000000000aa".parse().unwrap();
        let key = object_key(
            Feed::Alerts,
            tenant,
            "2026-11-22T23:59:00Z".parse().unwrap(),
            "2026-11-23T00:00:00.5Z".parse().unwrap(),
            42,
        );
        assert_eq!(
            key,
            "alerts/tenant=00000000-0000-4000-8000-0000000000aa/day=2026-11-23/\
             20261122T235900.0000000Z_20261123T000000.5000000Z-00000042.ndjson.gz"
        );
    }

    #[test]
    fn an_object_reads_back_line_by_line_and_may_be_empty() {
        let lines = |object: &[u8]| {
            let mut lines = Vec::new();
            read_object(object, |line| {
                lines.push(line.to_owned());
                Ok(())
            })
            .map(|()| lines)
        };
        let mut writer = ObjectWriter::default();
        writer.push(&json!({"a": "ä\n"})).unwrap();
        writer.push(&json!([])).unwrap();
        assert_eq!(lines(&writer.finish().unwrap()).unwrap(), [r#"{"a":"ä\n"}"#, "[]"]);
        assert_eq!(lines(&ObjectWriter::default().finish().unwrap()).unwrap(), Vec::<String>::new());
        assert!(lines(b"not gzip").is_err());
    }

    #[test]
    fn a_quarantined_record_keeps_its_text_and_its_reason() {
        let tenant = "00000000-0000-4000-8000-0000000000aa".parse().unwrap();
        let record = quarantine(Feed::Alerts, tenant, b"{}", b"{}", "no usable `id`", Timestamp::UNIX_EPOCH);
        assert!(record.key.starts_with("quarantine/alerts/tenant=00000000-0000-4000-8000-0000000000aa/44136fa3"));
        let object: Value = serde_json::from_slice(&record.object).unwrap();
        assert_eq!((object["source"].as_str(), object["reason"].as_str()), (Some("{}"), Some("no usable `id`")));
    }
}
