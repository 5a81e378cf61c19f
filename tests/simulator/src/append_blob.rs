//! An append blob: blocks one after the other, read in ranges without being copied together.

use bytes::Bytes;
use jiff::Timestamp;

use crate::http::{Body, Chunk};

/// At most this much of a blob is in memory twice.
const CHUNK: usize = 64 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct AppendBlob {
    /// Each block with the offset it ends before.
    blocks: Vec<(u64, Bytes)>,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    /// Without quotation marks.
    pub(crate) etag: String,
}

impl AppendBlob {
    pub(crate) fn new(etag: String, at: Timestamp) -> Self {
        Self { blocks: Vec::new(), created: at, modified: at, etag }
    }

    pub(crate) fn length(&self) -> u64 {
        self.blocks.last().map_or(0, |(end, _)| *end)
    }

    /// `x-ms-blob-committed-block-count`.
    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn append(&mut self, bytes: Bytes) {
        self.blocks.push((self.length() + bytes.len() as u64, bytes));
    }

    pub(crate) fn shrink(&mut self, length: u64) {
        let kept = self.slices(0, length);
        self.blocks.clear();
        for block in kept {
            self.append(block);
        }
    }

    /// The bytes from `from` up to and without `until`, as a body that is made while it is read.
    pub(crate) fn body(&self, from: u64, until: u64) -> Body {
        let mut slices = self.slices(from, until).into_iter();
        let mut rest = Bytes::new();
        Body::lazy(std::iter::from_fn(move || {
            let mut chunk = Vec::new();
            while chunk.len() < CHUNK {
                if rest.is_empty() {
                    let Some(next) = slices.next() else { break };
                    rest = next;
                }
                let taken = rest.split_to(rest.len().min(CHUNK - chunk.len()));
                chunk.extend_from_slice(&taken);
            }
            (!chunk.is_empty()).then_some(Chunk::Data(chunk))
        }))
    }

    fn slices(&self, from: u64, until: u64) -> Vec<Bytes> {
        let first = self.blocks.partition_point(|(end, _)| *end <= from);
        let mut slices = Vec::new();
        for (end, block) in &self.blocks[first..] {
            let start = end - block.len() as u64;
            if start >= until {
                break;
            }
            let within = |offset: u64| usize::try_from(offset - start).unwrap_or(usize::MAX).min(block.len());
            slices.push(block.slice(within(from.max(start))..within(until.min(*end))));
        }
        slices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(blocks: &[&str]) -> AppendBlob {
        let mut blob = AppendBlob::new("0x1".into(), Timestamp::UNIX_EPOCH);
        for block in blocks {
            blob.append(Bytes::copy_from_slice(block.as_bytes()));
        }
        blob
    }

    #[test]
    fn every_range_over_every_seam_is_the_text_there() {
        let (blob, text) = (blob(&["abc", "", "d", "efgh", "ij"]), "abcdefghij");
        assert_eq!((blob.length(), blob.block_count()), (10, 5));
        for from in 0..=10 {
            for until in from..=10 {
                let body = blob.body(from as u64, until as u64).collect_bytes();
                assert_eq!(String::from_utf8(body).unwrap(), text[from..until], "{from}..{until}");
            }
        }
    }

    #[test]
    fn a_body_comes_in_chunks_however_large_or_small_the_blocks_are() {
        let mut blob = blob(&[]);
        for size in [1, 200_000, 10, 65_536, 3] {
            blob.append(vec![7; size].into());
        }
        let sizes: Vec<usize> = blob
            .body(0, blob.length())
            .map(|chunk| match chunk {
                Chunk::Data(data) => data.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), 265_550);
        assert!(sizes.iter().rev().skip(1).all(|size| *size == CHUNK), "{sizes:?}");
    }

    #[test]
    fn a_blob_that_shrank_goes_on_from_there() {
        let mut blob = blob(&["abc", "def"]);
        blob.shrink(4);
        blob.append(Bytes::from_static(b"X"));
        assert_eq!(blob.body(0, blob.length()).collect_bytes(), b"abcdX");
        blob.shrink(100);
        assert_eq!(blob.length(), 5);
    }
}
