//! What we know of a tenant's machines: who they are, what they looked like, since when they are missing.
//!
//! It is kept as segments in the lake, each with what one commit changed; a later line overrides an earlier one. When
//! there are too many, a commit writes everything anew. In memory a machine takes about 130 bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::record::{self, Mark, ObjectWriter, from_hex, hex};

/// More are not read at the start of a run: then everything is written anew as one.
pub const MAX_SEGMENTS: usize = 16;

/// Where a machine was, when it was last looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    Listed,
    /// Not in the list since the complete run of this number.
    Missed(u64),
    /// Not in the list, and yet there when asked for by its id: Defender lists recent machines alone.
    Unlisted,
    /// In the list, but only to say that it lives on as another machine.
    Merged,
    /// Such a record, not in the list since the complete run of this number.
    MergedMissed(u64),
}

impl Presence {
    /// It is no machine of its own any more.
    pub fn is_merged(self) -> bool {
        matches!(self, Self::Merged | Self::MergedMissed(_))
    }
}

/// One machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    pub content: Mark,
    pub presence: Presence,
    /// The reading of a page that showed it in this run; 0 for none.
    seen: u32,
}

/// One line of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Machine {
        id: String,
        content: String,
        presence: Presence,
    },
    Gone {
        id: String,
    },
    /// The text of a record that went to the quarantine.
    Quarantined {
        text: String,
    },
    /// Shown in a run that was interrupted.
    Seen {
        id: String,
    },
}

/// Whether a record of the list is the first of its id in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    First,
    /// The list has shifted while it was read.
    Again,
}

/// All that is known of one tenant's machines.
#[derive(Debug, Default)]
pub struct Snapshot {
    machines: BTreeMap<Box<str>, Known>,
    quarantined: BTreeSet<Mark>,
    /// The readings that ended before the page did: what they showed will be shown again.
    broken: BTreeSet<u32>,
    reading: u32,
}

impl Snapshot {
    /// Takes in a segment, which overrides what came before.
    ///
    /// # Errors
    /// When it is not one of ours.
    pub fn read(&mut self, segment: &[u8]) -> std::io::Result<()> {
        record::read_object(segment, |line| {
            let line: Line = serde_json::from_str(line)?;
            self.apply(line).ok_or_else(|| std::io::Error::other("a mark is not ours"))
        })
    }

    fn apply(&mut self, line: Line) -> Option<()> {
        match line {
            Line::Machine { id, content, presence } => {
                let known = Known { content: from_hex(&content)?, presence, seen: 0 };
                self.machines.insert(id.into(), known);
            }
            Line::Gone { id } => {
                self.machines.remove(id.as_str());
            }
            Line::Quarantined { text } => {
                self.quarantined.insert(from_hex(&text)?);
            }
            Line::Seen { id } => {
                let first = self.first_reading();
                if let Some(known) = self.machines.get_mut(id.as_str()) {
                    known.seen = first;
                }
            }
        }
        Some(())
    }

    /// What an interrupted run has seen counts as seen by the first reading.
    fn first_reading(&mut self) -> u32 {
        self.reading = self.reading.max(1);
        1
    }

    pub fn get(&self, id: &str) -> Option<&Known> {
        self.machines.get(id)
    }

    /// All machines, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Known)> {
        self.machines.iter().map(|(id, known)| (&**id, known))
    }

    /// Those that are somewhere, merged ones aside.
    pub fn count(&self) -> usize {
        self.machines.values().filter(|known| !known.presence.is_merged()).count()
    }

    /// Another reading of a page begins.
    pub fn begin_page(&mut self) {
        self.reading += 1;
    }

    /// The page broke off: what it showed is to be shown again.
    pub fn break_off_page(&mut self) {
        self.broken.insert(self.reading);
    }

    pub fn is_seen(&self, id: &str) -> bool {
        self.machines.get(id).is_some_and(|known| self.has_seen(known))
    }

    /// Whether the list of this run has shown it.
    pub fn has_seen(&self, known: &Known) -> bool {
        known.seen > 0 && !self.broken.contains(&known.seen)
    }

    /// The list shows a machine that is known already.
    pub fn see(&mut self, id: &str) -> Sight {
        let (reading, broken) = (self.reading, &self.broken);
        let Some(known) = self.machines.get_mut(id) else { return Sight::First };
        let again = known.seen > 0 && !broken.contains(&known.seen);
        known.seen = reading;
        if again { Sight::Again } else { Sight::First }
    }

    /// Writes down what a machine is now; the line says so to whoever reads the segment.
    pub fn set(&mut self, id: &str, content: Mark, presence: Presence) -> Line {
        match self.machines.get_mut(id) {
            Some(known) => (known.content, known.presence) = (content, presence),
            None => {
                // What the list shows is seen, also when it is new.
                let seen = if matches!(presence, Presence::Listed | Presence::Merged) { self.reading } else { 0 };
                self.machines.insert(id.into(), Known { content, presence, seen });
            }
        }
        Line::machine(id, content, presence)
    }

    pub fn remove(&mut self, id: &str) -> Line {
        self.machines.remove(id);
        Line::Gone { id: id.to_owned() }
    }

    pub fn has_quarantined(&self, text: &Mark) -> bool {
        self.quarantined.contains(text)
    }

    pub fn quarantine(&mut self, text: Mark) -> Line {
        self.quarantined.insert(text);
        Line::Quarantined { text: hex(&text) }
    }

    /// Everything, as the one segment that stands in for all before it.
    ///
    /// # Errors
    /// Never in practice: the target is memory.
    pub fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut writer = ObjectWriter::default();
        for (id, known) in &self.machines {
            writer.push(&Line::machine(id, known.content, known.presence))?;
        }
        for text in &self.quarantined {
            writer.push(&Line::Quarantined { text: hex(text) })?;
        }
        writer.finish()
    }

    /// What the list of this run has shown so far, for the run to be gone on with.
    ///
    /// # Errors
    /// As [`Snapshot::encode`].
    pub fn encode_seen(&self) -> std::io::Result<Vec<u8>> {
        let mut writer = ObjectWriter::default();
        for (id, _) in self.machines.iter().filter(|(_, known)| self.has_seen(known)) {
            writer.push(&Line::Seen { id: String::from(&**id) })?;
        }
        writer.finish()
    }
}

impl Line {
    fn machine(id: &str, content: Mark, presence: Presence) -> Self {
        Self::Machine { id: id.to_owned(), content: hex(&content), presence }
    }
}

/// The segment with these lines.
///
/// # Errors
/// As [`Snapshot::encode`].
pub fn encode(lines: &[Line]) -> std::io::Result<Vec<u8>> {
    let mut writer = ObjectWriter::default();
    lines.iter().try_for_each(|line| writer.push(line))?;
    writer.finish()
}

/// Whether a commit writes everything anew instead of one more segment.
pub fn must_compact(segments: usize) -> bool {
    segments >= MAX_SEGMENTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(n: u8) -> Mark {
        [n; 16]
    }

    #[test]
    fn later_segments_override_earlier_ones_and_one_stands_in_for_all() {
        let mut written = Snapshot::default();
        let first = vec![
            written.set("m1", content(1), Presence::Listed),
            written.set("m2", content(2), Presence::Listed),
            written.quarantine(content(9)),
        ];
        let second = vec![written.set("m1", content(3), Presence::Missed(7)), written.remove("m2")];
        let mut read = Snapshot::default();
        for lines in [&first, &second] {
            read.read(&encode(lines).unwrap()).unwrap();
        }
        let mut compacted = Snapshot::default();
        compacted.read(&written.encode().unwrap()).unwrap();
        for snapshot in [&written, &read, &compacted] {
            let all: Vec<_> = snapshot.iter().map(|(id, known)| (id, known.content, known.presence)).collect();
            assert_eq!(all, [("m1", content(3), Presence::Missed(7))]);
            assert!(snapshot.has_quarantined(&content(9)) && !snapshot.has_quarantined(&content(8)));
        }
        assert!(read.read(b"not a segment").is_err());
        assert_eq!((must_compact(MAX_SEGMENTS - 1), must_compact(MAX_SEGMENTS)), (false, true));
    }

    #[test]
    fn an_id_that_two_pages_show_is_seen_again_and_one_of_a_broken_page_is_not() {
        let mut snapshot = Snapshot::default();
        snapshot.set("m1", content(1), Presence::Listed);
        snapshot.begin_page();
        assert_eq!((snapshot.see("m1"), snapshot.see("new")), (Sight::First, Sight::First));
        snapshot.break_off_page();
        assert!(!snapshot.is_seen("m1"));
        snapshot.begin_page();
        assert_eq!(snapshot.see("m1"), Sight::First);
        assert_eq!(snapshot.see("m1"), Sight::Again, "twice on one page");
        snapshot.begin_page();
        assert_eq!(snapshot.see("m1"), Sight::Again);
        snapshot.set("m2", content(1), Presence::Listed);
        assert_eq!(snapshot.see("m2"), Sight::Again, "new, and shown before");
    }

    #[test]
    fn a_run_that_goes_on_knows_what_it_has_seen() {
        let mut snapshot = Snapshot::default();
        let lines = ["m1", "m2"].map(|id| snapshot.set(id, content(1), Presence::Listed));
        snapshot.begin_page();
        snapshot.see("m1");
        let mut resumed = Snapshot::default();
        resumed.read(&encode(&lines).unwrap()).unwrap();
        resumed.read(&snapshot.encode_seen().unwrap()).unwrap();
        resumed.begin_page();
        assert_eq!((resumed.see("m1"), resumed.see("m2")), (Sight::Again, Sight::First));
    }
}
