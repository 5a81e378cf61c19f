//! The commit: intent → marks → object, created once → one transaction that moves the offsets and closes the intent.
//!
//! **Exactly once.** The intent holds every offset as it will be, and is written over the version that the plan was made
//! from. Whoever finds it open looks for the object: it is there, so the offsets move as the intent says; it is not, so an
//! empty one bars it for good, and the offsets stay. Nothing need be parsed again, and a blob that has been replaced
//! meanwhile makes no difference.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    batch::Batch,
    blob::Blob,
    line::Head,
    marks::{self, Segment, Spill},
    news::{Line, News, Place, encode, quarantine, read_portion, sort},
    progress::{self, Intent, Part, Step, TelemetryFeed},
};
use crate::{
    App,
    ocsf::Style,
    ports::store::{Expect, Write},
    record::{self, CommitError, Guarded, Ledger, Mark},
    tenant::{Feed, TenantId},
};

/// Objects removed at the beginning of a pass; the others wait for the next.
const CLEARED_AT_ONCE: usize = 100;
/// Names of objects to be removed, of which the state keeps a list.
const MAX_SUPERSEDED: usize = 2000;
/// Earlier than this no event is believed to be, when an object is named after its events.
const OLDEST: jiff::SignedDuration = jiff::SignedDuration::from_hours(400 * 24);

/// A blob on its way into the registry.
#[derive(Debug)]
pub struct New {
    pub id: String,
    pub blob: Blob,
    /// It was thought done: the version of that record, which goes.
    pub retired: Option<u64>,
}

/// One tenant's telemetry state during a pass: what was read, what the pass has changed, and the versions that guard it.
#[derive(Debug)]
pub struct Desk<'a> {
    app: &'a App,
    tenant: TenantId,
    pub state: Guarded<TelemetryFeed>,
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
        let Some(state) = Guarded::open(store, tenant).await? else { return Ok(None) };
        let live = Part::Live.load(store, tenant).await?;
        Ok(Some(Self {
            app,
            tenant,
            state,
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
        let some = self.state.feed.superseded.len().min(CLEARED_AT_ONCE);
        for name in self.state.feed.superseded.drain(..some) {
            self.app.ports.lake.remove(&Segment::key(self.tenant, &name)).await?;
        }
        Ok(())
    }

    /// Whether more is waiting to be cleared away than the state should name.
    pub fn is_cluttered(&self) -> bool {
        self.state.feed.superseded.len() > MAX_SUPERSEDED
    }

    /// Registers blobs: new ones, and those that were thought done.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when somebody else wrote first.
    pub async fn register(&mut self, new: Vec<New>) -> Result<(), CommitError> {
        let mut writes = Vec::new();
        for New { id, blob, retired } in &new {
            writes.push(Part::Live.put(self.tenant, id, blob, Expect::Absent)?);
            writes.extend(retired.map(|version| Part::Retired.delete(self.tenant, id, version)));
        }
        self.store(writes).await?;
        self.live.extend(new.into_iter().map(|New { id, blob, .. }| (id, (blob, Expect::Version(1)))));
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
            self.state.feed.superseded.extend(blob.segments.into_iter().map(|segment| segment.name));
            self.live.remove(&id);
        }
        self.store(writes).await
    }

    /// Delivers what of the batch has not left yet, and moves its blobs.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when the plan is out of date; the desk must then be opened anew.
    pub async fn commit(&mut self, batch: Batch) -> Result<Ledger, CommitError> {
        let attempt = self.state.attempt();
        let mut step = Step { retired: batch.retired, bytes: batch.bytes as u64, ..Step::default() };
        let mut found = BTreeMap::new();
        for (number, portion) in batch.portions.iter().enumerate() {
            read_portion(
                self.tenant,
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
        let News { records, mut unreadable, counts } = sort(fresh);
        step.counts.add(counts);
        let style = Style { tenant: self.tenant, raw_data: self.app.config.raw_data };
        let encoded = encode(style, &batch.portions, &records)?;
        step.counts.delivered -= encoded.unreadable.len() as u64;
        step.counts.quarantined += encoded.unreadable.len() as u64;
        unreadable.extend(encoded.unreadable);
        quarantine(self.app, self.tenant, &batch.portions, unreadable).await?;
        drop(batch.portions);
        self.deliver(step, segments, encoded.object, &records).await
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
                let moved_on = self.state.is_outdated(self.app.ports.store.as_ref()).await?;
                Err(if moved_on { CommitError::Conflict } else { error })
            }
            marks => marks,
        }
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
        let attempt = self.state.attempt();
        let key = object.then(|| record::object_key(Feed::Telemetry, self.tenant, after, until, attempt));
        let intent = Intent { key: key.clone(), opened_at: now, step: step.clone() };
        self.state.open_intent(self.app.ports.store.as_ref(), |feed| feed.intent = Some(intent)).await?;
        Ok(key)
    }

    async fn create(&self, key: &str, object: Vec<u8>) -> Result<(), CommitError> {
        record::create(self.app.ports.lake.as_ref(), key, object).await
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
        self.state.feed.intent = None;
        self.state.feed.ledger.add(step.counts);
        self.state.feed.bytes += step.bytes;
        self.state.feed.superseded.extend(step.folded);
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
    async fn store(&mut self, writes: Vec<Write>) -> Result<(), CommitError> {
        self.state.store(self.app.ports.store.as_ref(), writes, self.app.clock.now()).await
    }

    /// Ends a pass: writes what changed beside the watermark; the watermark alone only with a heartbeat.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn settle(&mut self) -> Result<(), CommitError> {
        let stored = self.state.feed_stored().watermark;
        let heartbeat = match (stored, self.state.feed.watermark) {
            (Some(stored), Some(now)) => now.duration_since(stored) >= progress::HEARTBEAT,
            (stored, now) => stored != now,
        };
        let but_for_watermark = TelemetryFeed { watermark: stored, ..self.state.feed.clone() };
        let changed = but_for_watermark != *self.state.feed_stored() || self.state.connection_has_changed();
        if heartbeat || changed { self.store(Vec::new()).await } else { Ok(()) }
    }

    /// The tenant has left: what somebody left open is settled, however young it is, for nobody can keep it any more; and of
    /// the feed's item stays little. Whether that changed anything.
    ///
    /// # Errors
    /// As [`Desk::register`].
    pub async fn leave(mut self) -> Result<bool, CommitError> {
        let before = self.state.feed.clone();
        self.finish_open_intent().await?;
        self.state.feed = std::mem::take(&mut self.state.feed).left();
        self.settle().await?;
        while !self.state.feed.superseded.is_empty() {
            // Whoever still reads what they are named in can no longer commit.
            self.clear_away().await?;
            self.settle().await?;
        }
        Ok(self.state.feed != before)
    }

    /// Finishes an open intent, whoever left it, and tells what it had brought.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn finish_open_intent(&mut self) -> Result<Ledger, CommitError> {
        let Some(Intent { key, step, .. }) = self.state.feed.intent.take() else { return Ok(Ledger::default()) };
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
        self.state.feed.superseded.extend(step.segments);
        self.store(Vec::new()).await?;
        Ok(Ledger::default())
    }
}
