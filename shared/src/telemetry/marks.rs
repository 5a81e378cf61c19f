//! The marks of a blob's records: which have been delivered, in segments that are written once.
//!
//! Microsoft repeats some records within a blob, minutes or hours apart, and a blob of a busy hour holds millions. So the
//! marks are kept outside the state, in sorted segments, and are looked through one segment at a time. Small segments
//! are folded into the next new one, so that their number grows with the logarithm of what is in them.

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{
    ports::lake::{Lake, SNAPSHOTS},
    record::{CommitError, Mark, hex, mark},
    tenant::{Feed, TenantId},
};

/// Marks in the largest segment: a megabyte.
const MAX_MARKS: usize = 65_536;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The last part of its key.
    pub name: String,
    pub marks: usize,
}

impl Segment {
    pub fn key(tenant: TenantId, name: &str) -> String {
        format!("{SNAPSHOTS}{}/tenant={tenant}/{name}.marks", Feed::Telemetry.name())
    }
}

/// The first of the last segments that are to be folded into one with so many new marks.
pub fn fold_from(segments: &[Segment], added: usize) -> usize {
    let (mut first, mut total) = (segments.len(), added);
    while first > 0 && segments[first - 1].marks <= total && total + segments[first - 1].marks <= MAX_MARKS {
        first -= 1;
        total += segments[first].marks;
    }
    first
}

/// Sorted marks as an object's bytes.
pub fn encode(marks: &[Mark]) -> Vec<u8> {
    marks.as_flattened().to_vec()
}

/// Marks out of an object; `None` for one that is not ours.
pub fn decode(bytes: &[u8]) -> Option<Vec<Mark>> {
    let (marks, rest) = bytes.as_chunks::<16>();
    (rest.is_empty() && marks.is_sorted()).then(|| marks.to_vec())
}

/// What of `wanted` (sorted, each once) is not among `known` (sorted): what stays of it.
pub fn without(wanted: &mut Vec<Mark>, known: &[Mark]) {
    let mut known = known.iter().peekable();
    wanted.retain(|mark| {
        while known.next_if(|other| *other < mark).is_some() {}
        known.peek() != Some(&mark)
    });
}

/// Segments that one pass has read, on this machine's own disk: each commit of a large blob looks through all of them again.
#[derive(Debug, Default)]
pub struct Spill(Option<TempDir>);

impl Spill {
    /// A segment's marks.
    ///
    /// # Errors
    /// [`CommitError::Platform`] where the lake fails, or has no such segment or another one.
    pub async fn load(&mut self, lake: &dyn Lake, key: &str) -> Result<Vec<Mark>, CommitError> {
        if let Some(marks) = self.read(key) {
            return Ok(marks);
        }
        let bytes = lake.get(key).await?;
        let marks = bytes.as_deref().and_then(decode);
        self.write(key, bytes.as_deref().unwrap_or_default());
        marks.ok_or_else(|| CommitError::Platform(format!("the lake's {key} is not there, or not ours")))
    }

    fn read(&self, key: &str) -> Option<Vec<Mark>> {
        decode(&std::fs::read(self.0.as_ref()?.path().join(hex(&mark(&[key.as_bytes()])))).ok()?)
    }

    /// A disk that takes nothing only means that the lake is asked again.
    fn write(&mut self, key: &str, bytes: &[u8]) {
        if self.0.is_none() {
            self.0 = TempDir::new().ok();
        }
        if let Some(folder) = &self.0 {
            let path = folder.path().join(hex(&mark(&[key.as_bytes()])));
            if std::fs::write(&path, bytes).is_err() {
                let _half_a_file_would_be_worse = std::fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(marks: &[usize]) -> Vec<Segment> {
        marks.iter().map(|marks| Segment { name: String::new(), marks: *marks }).collect()
    }

    #[test]
    fn small_segments_are_folded_and_full_ones_stay() {
        for (there, added, first) in [
            (vec![], 5, 0),
            (vec![4], 5, 0),
            (vec![6], 5, 1),
            (vec![100, 6, 4], 5, 1),
            (vec![16, 8, 4, 2, 1], 1, 0),
            (vec![MAX_MARKS, 10], 20, 1),
            (vec![40_000], 50_000, 1),
        ] {
            assert_eq!(fold_from(&segments(&there), added), first, "{there:?} + {added}");
        }
    }

    #[test]
    fn their_number_stays_small_however_often_a_blob_grows() {
        let mut there: Vec<Segment> = Vec::new();
        for growth in 0..3000_usize {
            let added = 1 + growth * 7 % 90;
            let first = fold_from(&there, added);
            let marks = added + there.drain(first..).map(|segment| segment.marks).sum::<usize>();
            there.push(Segment { name: String::new(), marks });
            let total: usize = there.iter().map(|segment| segment.marks).sum();
            assert!(there.len() <= 12 + 2 * total / MAX_MARKS, "{} segments after {growth}", there.len());
        }
    }

    #[test]
    fn what_is_known_is_taken_out_and_the_rest_stays_in_order() {
        let marks = |numbers: &[u128]| -> Vec<Mark> { numbers.iter().map(|n| n.to_be_bytes()).collect() };
        let mut wanted = marks(&[1, 2, 5, 9]);
        without(&mut wanted, &marks(&[0, 2, 3, 9, 10]));
        assert_eq!(wanted, marks(&[1, 5]));
        without(&mut wanted, &[]);
        assert_eq!(decode(&encode(&wanted)), Some(wanted));
        assert_eq!(decode(&encode(&marks(&[2, 1]))), None, "not in order, so not ours");
        assert_eq!(decode(b"15 bytes, no mark"), None);
    }
}
