//! The commit: intent → marks → object, created once → one transaction that moves the offsets and closes the intent.
//!
//! **Exactly once.** The intent holds every offset as it will be, and is written over the version that the plan was made
//! from. Whoever finds it open looks for the object: it is there, so the offsets move as the intent says; it is not, so an
//! empty one bars it for good, and the offsets stay. Nothing need be parsed again, and a blob that has been replaced
//! meanwhile makes no difference.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    blob::{self, Blob, Tail},
    event::network_activity,
    line::Head,
    marks::{self, Segment, Spill},
    progress::{self, Intent, Part, Step, TelemetryFeed},
};
use crate::{
    App,
    ocsf::Style,
    ports::{
        lake::Put,
        store::{Expect, Write},
    },
    record::{self, CommitError, Ledger, Mark, ObjectWriter, Quarantined, mark},
    tenant::{self, Feed, TenantId},
};

/// Text of lines held at once, but for the piece that fills it.
const MAX_BYTES: usize = 12 << 20;
/// Blobs in one batch: the intent holds them all, and an item is bounded.
const MAX_BLOBS: usize = 16;
/// Earlier than this no event is believed to be, when an object is named after its events.
const OLDEST: jiff::SignedDuration = jiff::SignedDuration::from_hours(400 * 24);

/// Whole lines of one blob, and what the blob is once they are in.
#[derive(Debug)]
struct Portion {
    id: String,
    text: Vec<u8>,
    /// A line that is too long to be one: all of it goes to the quarantine as it is.
    torn: bool,
}

/// What one commit carries.
#[derive(Debug, Default)]
pub struct Batch {
    portions: Vec<Portion>,
    blobs: BTreeMap<String, Blob>,
    retired: Vec<String>,
    bytes: usize,
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
        self.bytes >= MAX_BYTES || self.blobs.len() >= MAX_BLOBS
    }
}

/// A blob on its way into the registry.
#[derive(Debug)]
pub struct New {
    pub id: String,
    pub blob: Blob,
    pub registration: Registration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    First,
    /// It was thought done; that record, of this version, goes.
    Again {
        version: u64,
    },
    /// Of no interest unless it grows.
    Done,
}

/// A line of a batch: which portion, from where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    portion: usize,
    from: usize,
    to: usize,
}

/// One line that has not left yet.
#[derive(Debug)]
enum Line {
    Record(Head),
    Unreadable { reason: String },
}

/// What a batch holds that is new.
#[derive(Debug, Default)]
struct News {
    records: Vec<(Head, Place)>,
    quarantined: Vec<Quarantined>,
    counts: Ledger,
}

/// One tenant's telemetry state during a pass: what was read, what the pass has changed, and the versions that guard it.
#[derive(Debug)]
pub struct Desk<'a> {
    app: &'a App,
    tenant: TenantId,
    pub connection: tenant::Loaded,
    connection_read: tenant::Connection,
    pub feed: TelemetryFeed,
    feed_stored: TelemetryFeed,
    expect: Expect,
    /// Blobs that may still grow, by id, with their versions.
    pub live: BTreeMap<String, (Blob, Expect)>,
    spill: Spill,
}

impl<'a> Desk<'a> {
    /// Reads the state; `None` for a tenant that is not (or no longer) here.
    ///
    /// # Errors
    /// As the store's.
    pub async fn open(app: &'a App, tenant: TenantId) -> Result<Option<Self>, CommitError> {
        let store = app.ports.store.as_ref();
        let Some(connection) = tenant::load(store, tenant).await? else { return Ok(None) };
        let progress::Loaded { feed, expect } = progress::load(store, tenant).await?;
        let live = Part::Live.load(store, tenant).await?;
        Ok(Some(Self {
            app,
            tenant,
            connection_read: connection.connection.clone(),
            connection,
            feed_stored: feed.clone(),
            feed,
            expect,
            live: live.into_iter().map(|(id, (blob, version))| (id, (blob, Expect::Version(version)))).collect(),
            spill: Spill::default(),
        }))
    }

    pub fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    /// Removes what an earlier pass has let go. Whoever read the state before that is done with it by now.
    ///
    /// # Errors
    /// As the lake's.
    pub async fn clear_away(&mut self) -> Result<(), CommitError> {
        for name in std::mem::take(&mut self.feed.superseded) {
            self.app.ports.lake.remove(&Segment::key(self.tenant, &name)).await?;
        }
        Ok(())
    }

    /// Registers blobs: new ones, and those that were thought done.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when somebody else wrote first.
    pub async fn register(&mut self, new: Vec<New>) -> Result<(), CommitError> {
        let mut writes = Vec::new();
        for New { id, blob, registration } in &new {
            writes.push(match registration {
                Registration::Done => Part::Retired.put(self.tenant, id, blob, Expect::Absent)?,
                Registration::First | Registration::Again { .. } => {
                    Part::Live.put(self.tenant, id, blob, Expect::Absent)?
                }
            });
            if let Registration::Again { version } = registration {
                writes.push(Part::Retired.delete(self.tenant, id, *version));
            }
        }
        self.store(writes).await?;
        let live = new.into_iter().filter(|new| !matches!(new.registration, Registration::Done));
        self.live.extend(live.map(|New { id, blob, .. }| (id, (blob, Expect::Version(1)))));
        Ok(())
    }

    /// Forgets blobs that are no more.
    ///
    /// # Errors
    /// As [`Desk::register`].
    pub async fn forget(&mut self, gone: Vec<(Part, String, Blob, u64)>) -> Result<(), CommitError> {
        let mut writes = Vec::new();
        for (part, id, blob, version) in gone {
            writes.push(part.delete(self.tenant, &id, version));
            self.feed.superseded.extend(blob.segments.into_iter().map(|segment| segment.name));
            self.live.remove(&id);
        }
        self.store(writes).await
    }

    /// Delivers what of the batch has not left yet, and moves its blobs.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when the plan is out of date; the desk must then be opened anew.
    pub async fn commit(&mut self, batch: Batch) -> Result<Ledger, CommitError> {
        let attempt = self.expect.next_version();
        let mut step = Step { retired: batch.retired, bytes: batch.bytes as u64, ..Step::default() };
        let mut found = BTreeMap::new();
        for (number, portion) in batch.portions.iter().enumerate() {
            self.read_portion(
                number,
                portion,
                &mut step.counts,
                found.entry(portion.id.clone()).or_insert_with(Vec::new),
            );
        }
        let mut segments = Vec::new();
        let mut fresh = Vec::new();
        step.blobs = batch.blobs;
        for (number, (id, lines)) in found.into_iter().enumerate() {
            let Some(blob) = step.blobs.get_mut(&id) else { continue };
            let new = self.take_news(blob, lines, &mut step.counts, &mut fresh, &mut step.folded).await?;
            if let Some(marks) = new {
                let name = format!("{attempt:08}-{number:02}");
                blob.segments.push(Segment { name: name.clone(), marks: marks.len() });
                segments.push((name, marks::encode(&marks)));
            }
        }
        step.segments = segments.iter().map(|(name, _)| name.clone()).collect();
        let News { records, quarantined, counts } = self.sort(&batch.portions, fresh);
        step.counts.add(counts);
        let (object, unreadable) = self.encode(&batch.portions, &records)?;
        step.counts.delivered -= unreadable.len() as u64;
        step.counts.quarantined += unreadable.len() as u64;
        drop(batch.portions);
        for record in quarantined.into_iter().chain(unreadable) {
            // Known by its text, so that a second put finds the first one's object.
            self.app.ports.lake.put_new(&record.key, record.object).await?;
        }
        self.deliver(step, segments, object, &records).await
    }

    /// The lines of a portion, each with its mark.
    fn read_portion(
        &self,
        number: usize,
        portion: &Portion,
        counts: &mut Ledger,
        found: &mut Vec<(Mark, Place, Line)>,
    ) {
        let whole = [(0, portion.text.len())];
        let split = blob::lines(&portion.text);
        let places: Box<dyn Iterator<Item = (usize, usize)>> =
            if portion.torn { Box::new(whole.into_iter()) } else { Box::new(split) };
        for (from, to) in places {
            counts.fetched += 1;
            let text = &portion.text[from..to];
            let head = if portion.torn {
                Err("part of a line that is too long".to_owned())
            } else {
                Head::parse(self.tenant, text).map_err(|reason| reason.to_string())
            };
            let (mark, line) = match head {
                Ok(head) => (head.mark, Line::Record(head)),
                Err(reason) => (mark(&[b"telemetry text", text]), Line::Unreadable { reason }),
            };
            found.push((mark, Place { portion: number, from, to }, line));
        }
    }

    /// What of one blob's lines is new: it goes to `fresh`. Gives the marks of the segment that is to be written, old ones
    /// that are folded into it included.
    async fn take_news(
        &mut self,
        blob: &mut Blob,
        mut lines: Vec<(Mark, Place, Line)>,
        counts: &mut Ledger,
        fresh: &mut Vec<(Place, Line)>,
        folded: &mut Vec<String>,
    ) -> Result<Option<Vec<Mark>>, CommitError> {
        lines.sort_by_key(|(mark, place, _)| (*mark, *place));
        let read = lines.len();
        lines.dedup_by_key(|(mark, _, _)| *mark);
        let mut new: Vec<Mark> = lines.iter().map(|(mark, _, _)| *mark).collect();
        let first = marks::fold_from(&blob.segments, new.len());
        let mut fold = Vec::new();
        for (number, segment) in blob.segments.iter().enumerate() {
            let known = self.known(&segment.name).await?;
            marks::without(&mut new, &known);
            if number >= first {
                fold.extend(known);
            }
        }
        lines.retain(|(mark, _, _)| new.binary_search(mark).is_ok());
        counts.deduplicated += (read - lines.len()) as u64;
        fresh.extend(lines.into_iter().map(|(_, place, line)| (place, line)));
        if new.is_empty() {
            return Ok(None);
        }
        folded.extend(blob.segments.drain(first..).map(|segment| segment.name));
        new.extend(fold);
        new.sort_unstable();
        Ok(Some(new))
    }

    /// A segment's marks. One that is gone was cleared away by somebody who has committed meanwhile.
    async fn known(&mut self, name: &str) -> Result<Vec<Mark>, CommitError> {
        let lake = self.app.ports.lake.as_ref();
        match self.spill.load(lake, &Segment::key(self.tenant, name)).await {
            Err(error @ CommitError::Platform(_)) => {
                let now = progress::load(self.app.ports.store.as_ref(), self.tenant).await?;
                Err(if now.expect == self.expect { error } else { CommitError::Conflict })
            }
            marks => marks,
        }
    }

    /// Records in the order of their times, and what goes to the quarantine.
    fn sort(&self, portions: &[Portion], fresh: Vec<(Place, Line)>) -> News {
        let mut news = News::default();
        for (place, line) in fresh {
            match line {
                Line::Record(head) => {
                    news.counts.delivered += 1;
                    news.records.push((head, place));
                }
                Line::Unreadable { reason } => {
                    news.counts.quarantined += 1;
                    news.quarantined.push(self.quarantine(text_of(portions, place), &reason));
                }
            }
        }
        news.records.sort_unstable_by_key(|(head, place)| (head.time, head.mark, *place));
        news
    }

    fn quarantine(&self, text: &[u8], reason: &str) -> Quarantined {
        record::quarantine(Feed::Telemetry, self.tenant, text, text, reason, self.app.clock.now())
    }

    /// The object with these records, and those of them that are no JSON for all that.
    fn encode(
        &self,
        portions: &[Portion],
        records: &[(Head, Place)],
    ) -> Result<(Option<Vec<u8>>, Vec<Quarantined>), CommitError> {
        let style = Style { tenant: self.tenant, raw_data: self.app.config.raw_data };
        let mut writer = ObjectWriter::fast();
        let mut unreadable = Vec::new();
        for (head, place) in records {
            let bytes = text_of(portions, *place);
            let event = std::str::from_utf8(bytes).map_err(|cause| cause.to_string());
            match event.and_then(|line| network_activity(style, line, head)) {
                Ok(event) => writer.push(&event)?,
                Err(reason) => unreadable.push(self.quarantine(bytes, &reason)),
            }
        }
        let object = if unreadable.len() < records.len() { Some(writer.finish()?) } else { None };
        Ok((object, unreadable))
    }

    /// Writes the intent, then marks and object, then the offsets. Where only offsets move, they move at once.
    async fn deliver(
        &mut self,
        step: Step,
        segments: Vec<(String, Vec<u8>)>,
        object: Option<Vec<u8>>,
        records: &[(Head, Place)],
    ) -> Result<Ledger, CommitError> {
        if object.is_some() || !segments.is_empty() {
            let key = self.open_intent(&step, object.is_some(), records).await?;
            for (name, marks) in segments {
                self.create(&Segment::key(self.tenant, &name), marks).await?;
            }
            if let (Some(key), Some(object)) = (key, object) {
                self.create(&key, object).await?;
            }
        }
        let counts = step.counts;
        self.take(step).await?;
        Ok(counts)
    }

    async fn open_intent(
        &mut self,
        step: &Step,
        object: bool,
        records: &[(Head, Place)],
    ) -> Result<Option<String>, CommitError> {
        let now = self.app.clock.now();
        let believed = |at: Timestamp| at.clamp(now.saturating_sub(OLDEST).unwrap_or(now), now);
        let (after, until) = (records.first(), records.last());
        let after = after.map_or(now, |(head, _)| believed(head.time));
        let until = until.map_or(now, |(head, _)| believed(head.time));
        let attempt = self.expect.next_version();
        let key = object.then(|| record::object_key(Feed::Telemetry, self.tenant, after, until, attempt));
        let intent = Intent { key: key.clone(), opened_at: now, step: step.clone() };
        // The intent says nothing about progress, so it is written over the state as it was read.
        let with_intent = TelemetryFeed { intent: Some(intent), ..self.feed_stored.clone() };
        let write = progress::put(self.tenant, &with_intent, self.expect)?;
        self.app.ports.store.commit(vec![write, self.connection.check()]).await?;
        self.expect = Expect::Version(self.expect.next_version());
        self.feed_stored = with_intent;
        Ok(key)
    }

    async fn create(&self, key: &str, object: Vec<u8>) -> Result<(), CommitError> {
        match self.app.ports.lake.put_new(key, object).await? {
            Put::Created => Ok(()),
            // Somebody took us for dead and settled the intent.
            Put::Exists => Err(CommitError::Conflict),
        }
    }

    /// The transaction that makes a step true.
    async fn take(&mut self, step: Step) -> Result<(), CommitError> {
        let mut writes = Vec::new();
        let mut after = BTreeMap::new();
        for (id, blob) in step.blobs {
            // One that was forgotten meanwhile was no more.
            let Some((_, expect)) = self.live.get(&id) else { continue };
            if step.retired.contains(&id) {
                writes.push(Part::Retired.put(self.tenant, &id, &blob, Expect::Absent)?);
                if let Expect::Version(version) = *expect {
                    writes.push(Part::Live.delete(self.tenant, &id, version));
                }
                after.insert(id, None);
            } else {
                writes.push(Part::Live.put(self.tenant, &id, &blob, *expect)?);
                after.insert(id, Some((blob, Expect::Version(expect.next_version()))));
            }
        }
        self.feed.intent = None;
        self.feed.ledger.add(step.counts);
        self.feed.bytes += step.bytes;
        self.feed.superseded.extend(step.folded);
        self.store(writes).await?;
        for (id, blob) in after {
            match blob {
                Some(blob) => self.live.insert(id, blob),
                None => self.live.remove(&id),
            };
        }
        Ok(())
    }

    /// One transaction of these writes, progress and connection.
    async fn store(&mut self, mut writes: Vec<Write>) -> Result<(), CommitError> {
        let connection_changed = self.connection.connection != self.connection_read;
        writes.push(if connection_changed { self.connection.put()? } else { self.connection.check() });
        writes.push(progress::put(self.tenant, &self.feed, self.expect)?);
        self.app.ports.store.commit(writes).await?;
        self.expect = Expect::Version(self.expect.next_version());
        self.feed_stored = self.feed.clone();
        if connection_changed {
            self.connection.version += 1;
            self.connection_read = self.connection.connection.clone();
        }
        Ok(())
    }

    /// Ends a pass: writes what changed beside the watermark; the watermark alone only with a heartbeat.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn settle(&mut self) -> Result<(), CommitError> {
        let stored = self.feed_stored.watermark;
        let heartbeat = match (stored, self.feed.watermark) {
            (Some(stored), Some(now)) => now.duration_since(stored) >= progress::HEARTBEAT,
            (stored, now) => stored != now,
        };
        let but_for_watermark = TelemetryFeed { watermark: stored, ..self.feed.clone() };
        let changed = but_for_watermark != self.feed_stored || self.connection.connection != self.connection_read;
        if heartbeat || changed { self.store(Vec::new()).await } else { Ok(()) }
    }

    /// Finishes an open intent, whoever left it, and tells what it had brought.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn finish_open_intent(&mut self) -> Result<Ledger, CommitError> {
        let Some(Intent { key, step, .. }) = self.feed.intent.take() else { return Ok(Ledger::default()) };
        let came = match &key {
            Some(key) => record::was_delivered(self.app.ports.lake.as_ref(), key).await?,
            // Marks alone: whatever of them is written is let go, and written again.
            None => false,
        };
        tracing::warn!(tenant.id = %self.tenant, key, came, "finished an intent that another worker left open");
        if came {
            let counts = step.counts;
            self.take(step).await?;
            return Ok(counts);
        }
        self.feed.superseded.extend(step.segments);
        self.store(Vec::new()).await?;
        Ok(Ledger::default())
    }
}

fn text_of(portions: &[Portion], place: Place) -> &[u8] {
    &portions[place.portion].text[place.from..place.to]
}
