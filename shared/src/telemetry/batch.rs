//! What one commit carries: whole lines of some blobs, and the blobs as they are afterwards.

use std::collections::BTreeMap;

use super::blob::{Blob, Tail};

/// Text of lines held at once, but for the piece that fills it.
const MAX_BYTES: usize = 12 << 20;
/// Blobs in one batch: the intent holds them all, and an item is bounded.
const MAX_BLOBS: usize = 16;
/// Segments that one batch's blobs may name, for the same reason.
const MAX_SEGMENTS: usize = 3000;

/// Whole lines of one blob, and what the blob is once they are in.
#[derive(Debug)]
pub struct Portion {
    pub id: String,
    pub text: Vec<u8>,
    /// A line that is too long to be one: all of it goes to the quarantine as it is.
    pub torn: bool,
}

/// What one commit carries.
#[derive(Debug, Default)]
pub struct Batch {
    pub portions: Vec<Portion>,
    pub blobs: BTreeMap<String, Blob>,
    pub retired: Vec<String>,
    pub bytes: usize,
}

impl Batch {
    /// The blob as this batch will leave it.
    pub fn blob(&self, id: &str) -> Option<&Blob> {
        self.blobs.get(id)
    }

    /// Takes in lines that end where `after` says. `torn` where they are part of a line without end.
    pub fn push(&mut self, id: &str, mut after: Blob, text: Vec<u8>, torn: bool) {
        after.offset += text.len() as u64;
        after.tail = Tail::of(&text).or(after.tail);
        self.bytes += text.len();
        self.blobs.insert(id.to_owned(), after);
        self.portions.push(Portion { id: id.to_owned(), text, torn });
    }

    /// The blob has changed without bringing a line.
    pub fn note(&mut self, id: &str, after: Blob) {
        self.blobs.insert(id.to_owned(), after);
    }

    /// The blob is done.
    pub fn retire(&mut self, id: &str) {
        self.retired.push(id.to_owned());
    }

    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    pub fn is_full(&self) -> bool {
        let segments: usize = self.blobs.values().map(|blob| blob.segments.len()).sum();
        self.bytes >= MAX_BYTES || self.blobs.len() >= MAX_BLOBS || segments >= MAX_SEGMENTS
    }
}
