//! The commit: intent → segment → object, created once → one transaction that names the segment and closes the intent.
//!
//! **Exactly once.** What has left us is what the segments say, and a segment counts when the state names it. The intent
//! names segment and object, and is written over the version that the plan was made from, so both keys are new and one
//! worker's. Whoever finds it open looks for the object: it is there, so its segment is too, and is taken in; it is not,
//! so an empty one bars it for good, and the segment is let go.

use serde_json::{Map, Value};

use super::{
    fields,
    inventory::{News, event},
    progress::{self, Intent, MachineFeed},
    snapshot::{self, Line, Snapshot},
};
use crate::{
    App,
    ocsf::Style,
    ports::lake::SNAPSHOTS,
    record::{self, CommitError, Guarded, Ledger, Mark, ObjectWriter, Quarantined, mark},
    tenant::{Feed, TenantId},
};

/// Text of machines held at once.
const MAX_BYTES: usize = 8 << 20;
const MAX_MACHINES: usize = 2_000;
/// Where more changes than these are only remembered, the whole snapshot is shorter to write.
const MAX_LINES: usize = 20_000;

/// One machine's event to be.
#[derive(Debug)]
pub struct Leaving {
    pub id: String,
    pub news: News,
    /// The record as it came; empty for a machine that is gone.
    pub text: String,
}

/// What one commit carries.
#[derive(Debug, Default)]
pub struct Batch {
    counts: Ledger,
    leaving: Vec<Leaving>,
    quarantined: Vec<Quarantined>,
    lines: Vec<Line>,
    bytes: usize,
}

impl Batch {
    /// Another record has come from Microsoft. What becomes of it is counted apart from this, so that the ledger shows
    /// what got lost between.
    pub fn arrived(&mut self) {
        self.counts.fetched += 1;
    }

    /// It says what we know.
    pub fn known(&mut self) {
        self.counts.deduplicated += 1;
    }

    pub fn push(&mut self, leaving: Leaving, line: Line) {
        self.bytes += leaving.text.len() + leaving.id.len();
        self.counts.delivered += 1;
        self.leaving.push(leaving);
        self.remember(line);
    }

    pub fn quarantine(&mut self, record: Quarantined, line: Line) {
        self.bytes += record.object.len();
        self.counts.quarantined += 1;
        self.quarantined.push(record);
        self.remember(line);
    }

    /// Something to remember that is no event.
    pub fn remember(&mut self, line: Line) {
        if self.lines.len() < MAX_LINES {
            self.lines.push(line);
        }
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.leaving.len() + self.quarantined.len() >= MAX_MACHINES
    }
}

/// One tenant's inventory during a pass: what was read, what the pass has changed, and the versions that guard it.
#[derive(Debug)]
pub struct Desk<'a> {
    app: &'a App,
    tenant: TenantId,
    pub state: Guarded<MachineFeed>,
    pub snapshot: Snapshot,
}

impl<'a> Desk<'a> {
    /// Reads the state; `None` for a tenant that is not (or no longer) here. The snapshot is read by [`Desk::load`].
    ///
    /// # Errors
    /// As the store's.
    pub async fn open(app: &'a App, tenant: TenantId) -> Result<Option<Self>, CommitError> {
        let state = Guarded::open(app.ports.store.as_ref(), tenant).await?;
        Ok(state.map(|state| Self { app, tenant, state, snapshot: Snapshot::default() }))
    }

    /// Reads the snapshot, and what an interrupted run had seen.
    ///
    /// # Errors
    /// [`CommitError::Platform`] for a segment that is not there or not ours.
    pub async fn load(&mut self) -> Result<(), CommitError> {
        let seen = self.state.feed.run.iter().map(|run| &run.seen);
        for key in self.state.feed.segments.iter().chain(seen) {
            let Some(segment) = self.app.ports.lake.get(key).await? else {
                let moved_on = self.state.is_outdated(self.app.ports.store.as_ref()).await?;
                let lost = format!("the snapshot's segment {key} is not in the lake");
                return Err(if moved_on { CommitError::Conflict } else { CommitError::Platform(lost) });
            };
            self.snapshot.read(&segment)?;
        }
        Ok(())
    }

    /// Removes what an earlier pass has let go. Whoever read the state before that is done with it by now.
    ///
    /// # Errors
    /// As the lake's.
    pub async fn clear_away(&mut self) -> Result<(), CommitError> {
        for key in std::mem::take(&mut self.state.feed.superseded) {
            self.app.ports.lake.remove(&key).await?;
        }
        Ok(())
    }

    /// Delivers a batch. `advance` says how far the feed has come once it is in; it takes effect with the commit, or in
    /// memory alone where there is nothing to write.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when the plan is out of date; the desk must then be opened anew.
    pub async fn commit(
        &mut self,
        batch: Batch,
        advance: impl FnOnce(&mut MachineFeed),
    ) -> Result<Ledger, CommitError> {
        let Batch { counts, leaving, quarantined, lines, .. } = batch;
        if lines.is_empty() {
            self.state.feed.ledger.add(counts);
            advance(&mut self.state.feed);
            return Ok(counts);
        }
        for record in quarantined {
            // Known by its text, so that a second put finds the first one's object.
            self.app.ports.lake.put_new(&record.key, record.object).await?;
        }
        let replaces = snapshot::must_compact(self.state.feed.segments.len()) || lines.len() >= MAX_LINES;
        let segment = if replaces { self.snapshot.encode()? } else { snapshot::encode(&lines)? };
        drop(lines);
        let attempt = self.state.attempt();
        let object = (!leaving.is_empty()).then(|| self.encode(leaving, attempt)).transpose()?;
        let intent = self.open_intent(object.is_some(), replaces, counts).await?;
        self.create(&intent.segment, segment).await?;
        if let (Some(key), Some(object)) = (&intent.object, object) {
            self.create(key, object).await?;
        }
        self.state.feed.intent = None;
        self.state.feed.take_in(intent.segment, replaces);
        self.state.feed.ledger.add(counts);
        advance(&mut self.state.feed);
        self.store().await?;
        Ok(counts)
    }

    /// Keeps what the run has seen, for another pass to go on with. `open` is told where that is.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn interrupt(&mut self, open: impl FnOnce(String) -> progress::OpenRun) -> Result<(), CommitError> {
        let seen = self.snapshot.encode_seen()?;
        let intent = self.open_intent(false, false, Ledger::default()).await?;
        self.create(&intent.segment, seen).await?;
        self.state.feed.intent = None;
        let before = self.state.feed.run.replace(open(intent.segment));
        self.state.feed.let_go(before.map(|run| run.seen));
        self.store().await
    }

    async fn open_intent(&mut self, object: bool, replaces: bool, counts: Ledger) -> Result<Intent, CommitError> {
        let (now, attempt) = (self.app.clock.now(), self.state.attempt());
        // Microsoft's clock may be behind ours; keys sort in the order of the commits all the same.
        let after = self.state.feed.last_complete.max(self.state.feed.first_run).unwrap_or(now);
        let intent = Intent {
            object: object.then(|| record::object_key(Feed::Machines, self.tenant, after.min(now), now, attempt)),
            segment: format!("{SNAPSHOTS}machines/tenant={}/{attempt:08}.ndjson.gz", self.tenant),
            replaces,
            counts,
            opened_at: now,
        };
        // Of progress only whom to ask for is remembered: whoever takes the segment in would not find it out again.
        let merge_targets = self.state.feed.merge_targets.clone();
        let add = |feed: &mut MachineFeed| {
            feed.intent = Some(intent.clone());
            feed.merge_targets = merge_targets;
        };
        self.state.open_intent(self.app.ports.store.as_ref(), add).await?;
        Ok(intent)
    }

    async fn create(&self, key: &str, object: Vec<u8>) -> Result<(), CommitError> {
        record::create(self.app.ports.lake.as_ref(), key, object).await
    }

    /// The object with these machines, in the order of their ids. A list that shifts may bring one machine twice, changed in
    /// between, so an event is told from every other by the attempt and its place in the object.
    fn encode(&self, mut leaving: Vec<Leaving>, attempt: u64) -> Result<Vec<u8>, CommitError> {
        let (tenant, now) = (self.tenant.to_string(), self.app.clock.now());
        let style = Style { tenant: self.tenant, raw_data: self.app.config.raw_data };
        leaving.sort_by(|a, b| a.id.cmp(&b.id));
        let mut writer = ObjectWriter::default();
        for (place, Leaving { id, news, text }) in leaving.into_iter().enumerate() {
            let source: Map<String, Value> = fields(text.as_bytes()).unwrap_or_default();
            let numbers = [attempt.to_be_bytes(), (place as u64).to_be_bytes()].concat();
            let uid: Mark = mark(&[b"machine event", tenant.as_bytes(), id.as_bytes(), &numbers]);
            writer.push(&event(style, &id, &news, source, &text, &uid, now))?;
        }
        Ok(writer.finish()?)
    }

    /// One transaction of progress and connection.
    async fn store(&mut self) -> Result<(), CommitError> {
        self.state.store(self.app.ports.store.as_ref(), Vec::new(), self.app.clock.now()).await
    }

    /// Ends a pass: writes what changed, if anything did.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn settle(&mut self) -> Result<(), CommitError> {
        let changed = self.state.feed != *self.state.feed_stored() || self.state.connection_has_changed();
        if changed { self.store().await } else { Ok(()) }
    }

    /// The tenant has left: what somebody left open is settled, and of the state stays what we know of its machines. Whether
    /// that changed anything.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn leave(mut self) -> Result<bool, CommitError> {
        let before = self.state.feed.clone();
        self.finish_open_intent().await?;
        self.state.feed = std::mem::take(&mut self.state.feed).left();
        self.settle().await?;
        // Whoever still reads what they are named in can no longer commit.
        self.clear_away().await?;
        self.settle().await?;
        Ok(self.state.feed != before)
    }

    /// Finishes an open intent, whoever left it, and tells what it had brought.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn finish_open_intent(&mut self) -> Result<Ledger, CommitError> {
        let Some(intent) = self.state.feed.intent.take() else { return Ok(Ledger::default()) };
        let came = match &intent.object {
            None => false,
            Some(key) => record::was_delivered(self.app.ports.lake.as_ref(), key).await?,
        };
        tracing::warn!(tenant.id = %self.tenant, object = intent.object, came, "finished an intent that another worker left open");
        let counts = if came { intent.counts } else { Ledger::default() };
        if came {
            self.state.feed.take_in(intent.segment, intent.replaces);
            self.state.feed.ledger.add(counts);
        } else {
            // Whoever left the intent may only be slow: what it would put there now, nobody would clear away.
            self.app.ports.lake.put_new(&intent.segment, Vec::new()).await?;
            self.state.feed.let_go([intent.segment]);
        }
        self.store().await?;
        Ok(counts)
    }
}
