//! What an exporter has written, to compare with what arrived elsewhere.

use std::collections::{BTreeMap, BTreeSet};

/// A record, by everything it could be known again by. Repeated lines are one record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    pub device_id: String,
    pub report_id: u64,
    /// As written, with whatever fraction digits.
    pub timestamp: String,
    pub action_type: String,
    /// The exact text of the line's `properties`.
    pub properties: String,
}

/// What one blob holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobLedger {
    /// Lines with their ends, repeated ones included.
    pub lines: u64,
    /// Everything appended, an unfinished last line included.
    pub bytes: u64,
    /// The distinct records of the finished lines.
    pub records: BTreeSet<Record>,
    /// The distinct lines that are no record, without their ends.
    pub damaged: BTreeSet<Vec<u8>>,
}

/// Every blob by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub blobs: BTreeMap<String, BlobLedger>,
}

impl Ledger {
    /// The distinct records over all blobs: one that was written to two is counted once.
    pub fn records(&self) -> BTreeSet<&Record> {
        self.blobs.values().flat_map(|blob| &blob.records).collect()
    }

    /// The sum over the blobs of their distinct records: what arrives when repeats are removed within each blob.
    pub fn deliveries(&self) -> usize {
        self.blobs.values().map(|blob| blob.records.len()).sum()
    }

    /// Finished lines in all blobs.
    pub fn lines(&self) -> u64 {
        self.blobs.values().map(|blob| blob.lines).sum()
    }

    /// Bytes in all blobs.
    pub fn bytes(&self) -> u64 {
        self.blobs.values().map(|blob| blob.bytes).sum()
    }
}
