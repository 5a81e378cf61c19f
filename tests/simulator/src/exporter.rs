//! Defender's streaming export, as it was seen to write (MICROSOFT 4.1, 4.3): hourly append blobs that grow for hours,
//! announced once; repeats, backfill, lines cut in two, hints that come twice or never.
//!
//! It decides and keeps the ledger; whoever has a storage to write to applies its steps in their order.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::dice::Dice;
use crate::event_grid::BlobCreated;
use crate::ledger::{Ledger, Record};
use crate::network_event::{Device, line, row};
use crate::storage::StorageAccount;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// A blob of an earlier hour still grows this long after its hour.
const BACKFILL_HOURS: i64 = 13;
/// Minutes into the next hour in which an hour's last records are written.
const LATE_MINUTES: RangeInclusive<i64> = 2..=8;
/// Of how many of a blob's latest records a repeat is chosen.
const REPEATABLE: usize = 200;

/// One thing to do to a storage account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create an empty append blob, without announcing it: the announcements are steps of their own.
    CreateBlob { name: String },
    /// Append one block.
    Append { name: String, bytes: Vec<u8> },
    /// Put this text into the queue. A hint that is to expire unseen has a time to live of its own.
    Event { message: String, time_to_live: Option<SignedDuration> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// As observed.
    CrLf,
    /// As the documentation's "JSON lines" may be read.
    Lf,
}

/// How it writes. Chances are in a thousand.
#[derive(Clone, Debug)]
pub struct Habits {
    pub line_end: LineEnd,
    pub devices: u64,
    /// Records in a minute of the current hour.
    pub lines_per_minute: RangeInclusive<i64>,
    /// A line is followed by a repeat of an earlier one: the same `properties` in another envelope.
    pub repeats: u64,
    /// A repeat is of a record in another blob.
    pub repeats_across_blobs: u64,
    /// An append ends in the middle of a line; the next one to that blob brings the rest.
    pub partial_lines: u64,
    /// In a minute, some records are appended to a blob of an earlier hour.
    pub backfill: u64,
    /// A blob is announced twice.
    pub second_events: u64,
    /// A blob's announcement expires before anybody sees it.
    pub expired_hints: u64,
    /// A line is no JSON; none in Microsoft's own export so far.
    pub damaged_lines: u64,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            line_end: LineEnd::CrLf,
            devices: 5,
            lines_per_minute: 2..=20,
            repeats: 30,
            repeats_across_blobs: 100,
            partial_lines: 150,
            backfill: 60,
            second_events: 100,
            expired_hints: 100,
            damaged_lines: 0,
        }
    }
}

/// One tenant's export to one account. The same seed, habits and times give the same bytes.
#[derive(Debug)]
pub struct Exporter {
    pub habits: Habits,
    tenant_id: String,
    account: String,
    dice: Dice,
    /// The minute that comes next.
    next: Timestamp,
    blobs: BTreeMap<String, OpenBlob>,
    ledger: Ledger,
    events: u64,
}

/// A blob that may still grow.
#[derive(Debug)]
struct OpenBlob {
    hour: Timestamp,
    /// The rest of a line that was cut, and what the line will have been.
    rest: Option<(Vec<u8>, Line)>,
    latest: Vec<Record>,
}

#[derive(Clone, Debug)]
enum Line {
    Record(Record),
    Damaged(Vec<u8>),
}

impl Exporter {
    /// The container that Microsoft names.
    pub const CONTAINER: &str = "insights-logs-advancedhunting-devicenetworkevents";

    /// An export of this tenant to this account that begins at this time.
    pub fn new(seed: u64, tenant_id: &str, account: &str, start: Timestamp) -> Self {
        Self {
            habits: Habits::default(),
            tenant_id: tenant_id.into(),
            account: account.into(),
            dice: Dice::new(seed),
            next: start,
            blobs: BTreeMap::new(),
            ledger: Ledger::default(),
            events: 0,
        }
    }

    pub fn with_habits(mut self, habits: Habits) -> Self {
        self.habits = habits;
        self
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Everything it does up to and with this time, a minute at a time.
    pub fn advance(&mut self, to: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        while self.next <= to {
            let now = self.next;
            self.minute(now, &mut steps);
            self.next = now + MINUTE;
        }
        steps
    }

    /// Finishes every line that was cut. After that the ledger is all there is.
    pub fn finish(&mut self) -> Vec<Step> {
        let cut: Vec<String> =
            self.blobs.iter().filter(|(_, blob)| blob.rest.is_some()).map(|(name, _)| name.clone()).collect();
        let mut steps = Vec::new();
        for name in cut {
            self.append(&name, &[], false, &mut steps);
        }
        steps
    }

    fn minute(&mut self, now: Timestamp, steps: &mut Vec<Step>) {
        let hour = start_of_hour(now);
        let oldest = hour - SignedDuration::from_hours(BACKFILL_HOURS);
        self.blobs.retain(|_, blob| blob.hour >= oldest || blob.rest.is_some());
        let current = self.blob_of(hour, now, steps);
        let count = self.dice.span(*self.habits.lines_per_minute.start(), *self.habits.lines_per_minute.end());
        self.write(&current, now, now, count, steps);

        let past_the_hour = now.duration_since(hour).as_mins();
        let previous = self.name_of(hour - SignedDuration::from_hours(1));
        if LATE_MINUTES.contains(&past_the_hour) && self.blobs.contains_key(&previous) && self.dice.chance(500) {
            let count = self.dice.span(1, 5);
            self.write(&previous, now, hour - MINUTE, count, steps);
        }
        if self.dice.chance(self.habits.backfill) {
            let older: Vec<(String, Timestamp)> = self
                .blobs
                .iter()
                .filter(|(name, _)| **name != current)
                .map(|(name, blob)| (name.clone(), blob.hour))
                .collect();
            if !older.is_empty() {
                let (name, of) = &older[self.dice.below(older.len())];
                let count = self.dice.span(1, 4);
                self.write(name, now, *of, count, steps);
            }
        }
        // A line that was cut is not left so for long, whether anything follows it or not.
        let cut: Vec<String> =
            self.blobs.iter().filter(|(_, blob)| blob.rest.is_some()).map(|(name, _)| name.clone()).collect();
        for name in cut {
            if self.dice.chance(300) {
                self.append(&name, &[], false, steps);
            }
        }
    }

    /// The hour's blob; created and announced if this is its first minute.
    fn blob_of(&mut self, hour: Timestamp, now: Timestamp, steps: &mut Vec<Step>) -> String {
        let name = self.name_of(hour);
        if self.blobs.contains_key(&name) {
            return name;
        }
        self.blobs.insert(name.clone(), OpenBlob { hour, rest: None, latest: Vec::new() });
        self.ledger.blobs.entry(name.clone()).or_default();
        steps.push(Step::CreateBlob { name: name.clone() });
        self.events += 1;
        let etag = format!("0x8D{:013X}", self.dice.roll() >> 12);
        let event = BlobCreated {
            account: &self.account,
            container: Self::CONTAINER,
            blob: &name,
            etag: &etag,
            at: now,
            sequence: self.events,
        };
        let message = event.message();
        let time_to_live = self.dice.chance(self.habits.expired_hints).then_some(SignedDuration::from_secs(1));
        if self.dice.chance(self.habits.second_events) {
            steps.push(Step::Event { message: message.clone(), time_to_live });
        }
        steps.push(Step::Event { message, time_to_live });
        name
    }

    /// Writes records that happened at about `happened`, and whatever repeats come with them.
    fn write(&mut self, name: &str, now: Timestamp, happened: Timestamp, count: i64, steps: &mut Vec<Step>) {
        let mut lines = Vec::new();
        for _ in 0..count {
            let device = Device::nth(self.dice.roll() % self.habits.devices.max(1));
            let at = happened - SignedDuration::from_secs(self.dice.span(0, 300));
            lines.push(Line::Record(row(&mut self.dice, &device, at)));
            if self.dice.chance(self.habits.repeats)
                && let Some(record) = self.earlier(name)
            {
                lines.push(Line::Record(record));
            }
            if self.dice.chance(self.habits.damaged_lines) {
                lines.push(Line::Damaged(
                    format!("{{\"time\":\"{now}\",\"properties\":{{\"cut {}", self.dice.roll()).into(),
                ));
            }
        }
        let lines: Vec<(Vec<u8>, Line)> = lines.into_iter().map(|one| (self.text(&one, now), one)).collect();
        // Now and then in two blocks.
        let (first, second) = lines.split_at(if self.dice.chance(300) { lines.len() / 2 } else { lines.len() });
        for part in [first, second] {
            if !part.is_empty() {
                let cut = self.dice.chance(self.habits.partial_lines);
                self.append(name, part, cut, steps);
            }
        }
    }

    /// A record that was written before, mostly to the same blob.
    fn earlier(&mut self, name: &str) -> Option<Record> {
        let across = self.dice.chance(self.habits.repeats_across_blobs);
        let blobs: Vec<&OpenBlob> =
            self.blobs.iter().filter(|(other, _)| (*other == name) != across).map(|(_, blob)| blob).collect();
        let records: Vec<&Record> = blobs.into_iter().flat_map(|blob| &blob.latest).collect();
        if records.is_empty() { None } else { Some(records[self.dice.below(records.len())].clone()) }
    }

    fn text(&mut self, one: &Line, now: Timestamp) -> Vec<u8> {
        let mut text = match one {
            Line::Record(record) => line(record, &self.tenant_id, now, &mut self.dice).into_bytes(),
            Line::Damaged(text) => text.clone(),
        };
        text.extend_from_slice(match self.habits.line_end {
            LineEnd::CrLf => b"\r\n",
            LineEnd::Lf => b"\n",
        });
        text
    }

    /// Appends what an earlier append has left of its last line, then these; with `cut` the last one only in part.
    fn append(&mut self, name: &str, lines: &[(Vec<u8>, Line)], cut: bool, steps: &mut Vec<Step>) {
        let (Some(blob), Some(ledger)) = (self.blobs.get_mut(name), self.ledger.blobs.get_mut(name)) else { return };
        let mut bytes = Vec::new();
        let mut finished = Vec::new();
        if let Some((rest, one)) = blob.rest.take() {
            bytes.extend(rest);
            finished.push(one);
        }
        for (text, one) in lines {
            bytes.extend_from_slice(text);
            finished.push(one.clone());
        }
        if cut
            && let Some((text, _)) = lines.last()
            && let Some(one) = finished.pop()
        {
            // Anywhere within the line, between the two bytes of its end too.
            let kept = self.dice.below(text.len());
            bytes.truncate(bytes.len() - text.len() + kept);
            blob.rest = Some((text[kept..].to_vec(), one));
        }
        for one in finished {
            ledger.lines += 1;
            match one {
                Line::Record(record) => {
                    blob.latest.push(record.clone());
                    ledger.records.insert(record);
                }
                Line::Damaged(text) => {
                    ledger.damaged.insert(text);
                }
            }
        }
        let excess = blob.latest.len().saturating_sub(REPEATABLE);
        blob.latest.drain(..excess);
        ledger.bytes += bytes.len() as u64;
        if !bytes.is_empty() {
            steps.push(Step::Append { name: name.to_owned(), bytes });
        }
    }

    fn name_of(&self, hour: Timestamp) -> String {
        let hour = hour.to_zoned(TimeZone::UTC);
        format!("tenantId={}/{}/m=00/PT1H.json", self.tenant_id, hour.strftime("y=%Y/m=%m/d=%d/h=%H"))
    }
}

fn start_of_hour(at: Timestamp) -> Timestamp {
    let second = at.as_second();
    Timestamp::from_second(second - second.rem_euclid(3600)).unwrap_or(at)
}

impl StorageAccount {
    /// Applies a step of an exporter's, whose hints go to this queue. The account's own Event Grid says nothing of it.
    pub fn export(&mut self, queue: &str, step: Step) {
        match step {
            Step::CreateBlob { name } => {
                self.create_silently(Exporter::CONTAINER, &name);
            }
            Step::Append { name, bytes } => self.append(Exporter::CONTAINER, &name, bytes),
            Step::Event { message, time_to_live } => {
                let Some(queue) = self.queue(queue) else { return };
                match time_to_live {
                    Some(time_to_live) => queue.put_for(&message, time_to_live),
                    None => queue.put_raw(&message),
                }
            }
        }
    }
}
