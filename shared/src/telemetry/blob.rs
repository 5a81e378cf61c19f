//! One blob of the export, as the registry knows it: how far it has been read, and when it is worth another look.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::marks::Segment;
use crate::{
    microsoft::storage::Listed,
    record::{hex, mark},
};

/// A blob that has not grown for so long is done. The longest backfill seen was 13 hours (MICROSOFT.md 4.1).
pub const SETTLED: SignedDuration = SignedDuration::from_hours(24);
/// A quiet blob is looked at this often at least; the listing wakes it sooner where it grew.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(16);
/// Lines taken at once. Nobody's are so short that this matters, unless they are no records.
const MAX_LINES: usize = 32_768;
/// Less than this may be the beginning of a line, which nobody has ended yet.
const A_LINE: u64 = 64 << 10;
/// So many bytes before the offset are read again, to know the blob by them: more than a line, for lines all end alike.
const TAIL: u64 = 4096;

/// The last bytes that were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    pub length: u64,
    pub hash: String,
}

impl Tail {
    /// Of everything up to here, of which these bytes are the last.
    pub fn of(read: &[u8]) -> Option<Self> {
        let from = read.len().saturating_sub(usize::try_from(TAIL).unwrap_or(usize::MAX));
        let last = &read[from..];
        (!last.is_empty()).then(|| Self { length: last.len() as u64, hash: hex(&digest(&SHA256, last).as_ref()[..16]) })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    pub name: String,
    /// The storage account that it lies in: a tenant may be given another.
    pub account: String,
    /// When Azure made it, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Everything before is in.
    #[serde(default)]
    pub offset: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
    /// As it was last seen.
    #[serde(default)]
    pub length: u64,
    /// When it was last seen to grow, or first seen at all.
    pub grown_at: Timestamp,
    /// The marks of its records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
    /// The offset is in the middle of a line that was too long to be one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub torn: bool,
}

/// Its sort key's last part: names are longer and freer than keys may be.
pub fn id(account: &str, name: &str) -> String {
    hex(&mark(&[b"blob", account.as_bytes(), name.as_bytes()]))
}

/// What a look at the blob itself tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Unchanged,
    Grown,
    /// Another blob has taken its place.
    Replaced,
}

impl Blob {
    pub fn new(account: &str, name: &str, now: Timestamp) -> Self {
        let (account, name) = (account.to_owned(), name.to_owned());
        let (created, tail) = (None, None);
        Self { name, account, created, offset: 0, tail, length: 0, grown_at: now, segments: Vec::new(), torn: false }
    }

    /// Where reading begins: a little before the offset.
    pub fn read_from(&self) -> u64 {
        self.offset.saturating_sub(self.tail.as_ref().map_or(0, |tail| tail.length))
    }

    pub fn behind(&self) -> u64 {
        self.length.saturating_sub(self.offset)
    }

    /// Whether this tick, `every` after the last, should look at it. The longer it has been quiet, the rarer: every
    /// minute in its first eight, then less and less often. More than the beginning of a line is read at once, and what
    /// has settled is looked at for the last time.
    pub fn is_due(&self, now: Timestamp, every: SignedDuration) -> bool {
        let quiet = now.duration_since(self.grown_at);
        let mut pause = SignedDuration::from_mins(1);
        while pause < LONGEST_PAUSE && pause * 8 < quiet {
            pause *= 2;
        }
        let turn = |at: Timestamp| at.as_second().div_euclid(pause.as_secs());
        let before = now.saturating_sub(every).unwrap_or(Timestamp::MIN);
        self.behind() > A_LINE || self.is_settled(now) || turn(now) != turn(before)
    }

    pub fn is_settled(&self, now: Timestamp) -> bool {
        now.duration_since(self.grown_at) >= SETTLED
    }

    /// Takes in what Azure says of it.
    pub fn look(&mut self, created: Option<Timestamp>, length: u64, now: Timestamp) -> Look {
        let another = matches!((self.created, created), (Some(known), Some(seen)) if known != seen);
        if another || length < self.offset {
            self.start_anew(created, length, now);
            return Look::Replaced;
        }
        self.created = self.created.or(created);
        if length > self.length {
            (self.length, self.grown_at) = (length, now);
            return Look::Grown;
        }
        Look::Unchanged
    }

    /// As [`Blob::look`], from a listing, which may be a little older than what has been read since.
    pub fn look_at(&mut self, listed: &Listed, now: Timestamp) -> Look {
        if self.created.is_some() && self.created == listed.created && listed.length < self.length {
            return Look::Unchanged;
        }
        self.look(listed.created, listed.length, now)
    }

    /// Another blob of this name: everything from its first byte. What is known of the records stays, so that one that is
    /// in both comes once.
    pub fn start_anew(&mut self, created: Option<Timestamp>, length: u64, now: Timestamp) {
        (self.offset, self.tail, self.torn) = (0, None, false);
        (self.created, self.length, self.grown_at) = (created, length, now);
    }
}

/// How much of a piece is whole lines: up to behind the last newline, or behind that of the line which is one too many to
/// be held at once. With `all`, an end of the blob is the end of a line.
pub fn whole_lines(piece: &[u8], all: bool) -> usize {
    match memchr::memchr_iter(b'\n', piece).nth(MAX_LINES - 1) {
        Some(at) => at + 1,
        None if all => piece.len(),
        None => memchr::memrchr(b'\n', piece).map_or(0, |at| at + 1),
    }
}

/// The lines of a piece as (from, to), without their ends, CRLF or LF. Blank ones are no records.
pub fn lines(piece: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let ends = memchr::memchr_iter(b'\n', piece).chain([piece.len()]);
    ends.scan(0, |from, end| Some((std::mem::replace(from, end + 1), end))).filter_map(|(from, end)| {
        let line = piece.get(from..end)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let blank = line.iter().all(u8::is_ascii_whitespace);
        (!blank).then_some((from, from + line.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    #[test]
    fn pain_08_a_blob_that_grows_is_looked_at_at_every_tick_and_a_quiet_one_less_and_less_often() {
        let blob = Blob::new("a", "b", at(0));
        let every = SignedDuration::from_mins(1);
        let looks = |range: std::ops::Range<i64>| range.filter(|minute| blob.is_due(at(*minute), every)).count();
        assert_eq!(looks(1..9), 8);
        assert_eq!(looks(60..120), 4, "an hour later");
        assert_eq!(looks(600..1200), 37, "at last every sixteen minutes");
        let mut behind = blob.clone();
        behind.length = A_LINE + 1;
        assert!(behind.is_due(at(601), every), "what is known to be there is read at once");
        let slow = SignedDuration::from_mins(30);
        assert!((600..700).all(|minute| blob.is_due(at(minute), slow)), "a slow tick misses no turn");
    }

    #[test]
    fn a_blob_in_the_place_of_another_is_known_by_its_birth_or_by_being_shorter() {
        let mut blob = Blob { created: Some(at(0)), offset: 100, length: 120, ..Blob::new("a", "b", at(0)) };
        assert_eq!(blob.look(Some(at(0)), 120, at(5)), Look::Unchanged);
        assert_eq!((blob.look(Some(at(0)), 130, at(5)), blob.grown_at), (Look::Grown, at(5)));
        assert_eq!(blob.look(None, 130, at(6)), Look::Unchanged, "Azure need not say when");
        let mut shorter = blob.clone();
        assert_eq!(shorter.look(Some(at(0)), 99, at(7)), Look::Replaced);
        assert_eq!((shorter.offset, shorter.length), (0, 99));
        assert_eq!(blob.clone().look(Some(at(1)), 130, at(7)), Look::Replaced);
        let listed = |created, length| Listed { name: "b".to_owned(), length, created, modified: None };
        assert_eq!(
            blob.look_at(&listed(Some(at(0)), 90), at(8)),
            Look::Unchanged,
            "an older listing is no replacement"
        );
        assert_eq!(blob.look_at(&listed(Some(at(0)), 140), at(8)), Look::Grown);
        assert_eq!(blob.look_at(&listed(Some(at(3)), 10), at(9)), Look::Replaced);
    }

    #[test]
    fn a_piece_is_cut_behind_its_last_newline_and_its_lines_end_either_way() {
        let piece = b"{1}\r\n\r\n{2}\n  \n{3}\r\n{half";
        assert_eq!(whole_lines(piece, false), piece.len() - 5);
        assert_eq!(whole_lines(piece, true), piece.len());
        assert_eq!(whole_lines(b"{half", false), 0);
        let short = b"\n".repeat(MAX_LINES + 5);
        assert_eq!((whole_lines(&short, false), whole_lines(&short, true)), (MAX_LINES, MAX_LINES));
        let texts = |piece: &'static [u8]| -> Vec<&[u8]> { lines(piece).map(|(from, to)| &piece[from..to]).collect() };
        assert_eq!(texts(piece), [b"{1}".as_slice(), b"{2}", b"{3}", b"{half"]);
        assert_eq!(texts(b""), Vec::<&[u8]>::new());
        assert_eq!(texts(b"\n\r\n"), Vec::<&[u8]>::new());
    }

    #[test]
    fn the_tail_is_the_last_bytes_that_there_are() {
        assert_eq!(Tail::of(b""), None);
        assert_eq!(Tail::of(b"abc").unwrap().length, 3);
        let long = [b'x'; 5000];
        assert_eq!(Tail::of(&long), Tail::of(&long[..4096]));
        assert_ne!(Tail::of(b"abc"), Tail::of(b"abd"));
    }
}
