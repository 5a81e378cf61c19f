//! The commit: intent → create-only put → one transaction of progress, seen-set and ledger.
//!
//! **Exactly once.** The seen-set is read under one version of the progress item; the intent is written over that very
//! version, so nobody has delivered anything in between. The object's key is new with every intent and the lake
//! creates an object once. A worker that dies leaves an open intent; whoever finds it settles what that key holds (the
//! dead worker's object, or an empty one that bars it for good) before anything else is planned.

use std::collections::{BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, value::RawValue};

use super::{
    Sighting,
    finding::{Activity, Evidence, finding},
    progress::{self, AlertFeed, Intent},
    seen::{self, Bucket, Seen},
    window::Window,
};
use crate::{
    App,
    config::Config,
    microsoft::time,
    ocsf::Style,
    record::{self, CommitError, Guarded, Ledger, Mark, ObjectWriter, Quarantined},
    tenant::{Feed, TenantId},
};

/// Text of alerts held at once; the object made of it is a few megabytes.
const MAX_BYTES: usize = 8 << 20;
const MAX_ALERTS: usize = 2000;
/// Seen-set items that one transaction may touch, with room for the progress, the connection and the quarantine.
const MAX_BUCKETS: usize = 90;

/// An alert as received.
#[derive(Debug)]
pub struct Received {
    pub sighting: Sighting,
    pub text: String,
    pub evidence: Evidence,
}

impl Received {
    fn mark(&self, tenant: TenantId) -> Mark {
        let Sighting { id, updated, .. } = &self.sighting;
        match self.evidence {
            Evidence::Included | Evidence::Pending => seen::version_mark(tenant, id, *updated),
            Evidence::Completed => seen::completion_mark(tenant, id, *updated),
        }
    }
}

#[derive(Debug)]
struct Unreadable {
    record: Quarantined,
    version: Option<Sighting>,
}

/// What one commit carries.
#[derive(Debug, Default)]
pub struct Batch {
    fetched: u64,
    alerts: Vec<Received>,
    quarantined: Vec<Unreadable>,
    bytes: usize,
    buckets: BTreeSet<Bucket>,
}

impl Batch {
    /// Another record has come from Microsoft. What becomes of it is counted apart from this, so that the ledger shows
    /// what got lost between.
    pub fn arrived(&mut self) {
        self.fetched += 1;
    }

    pub fn push(&mut self, alert: Received) {
        self.bytes += alert.text.len();
        self.buckets.extend([Bucket::of(alert.sighting.updated), Bucket::of(alert.sighting.created)]);
        self.alerts.push(alert);
    }

    /// `version` is the alert that the record was to be, where that is known: it is done with then, and not asked for
    /// again.
    pub fn quarantine(&mut self, record: Quarantined, version: Option<Sighting>) {
        self.bytes += record.object.len();
        self.buckets.insert(Bucket::Quarantine);
        self.buckets.extend(version.as_ref().map(|version| Bucket::of(version.updated)));
        self.quarantined.push(Unreadable { record, version });
    }

    pub fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES
            || self.alerts.len() + self.quarantined.len() >= MAX_ALERTS
            || self.buckets.len() + 1 >= MAX_BUCKETS
    }
}

/// What a commit brought.
#[derive(Debug)]
pub struct Committed {
    pub counts: Ledger,
    /// How late each delivered version became visible, where that is measured.
    pub lateness: Vec<SignedDuration>,
}

/// One tenant's alerts state during a pass: what was read, what the pass has changed, and the versions that guard it.
#[derive(Debug)]
pub struct Desk<'a> {
    app: &'a App,
    tenant: TenantId,
    pub state: Guarded<AlertFeed>,
    pub seen: Seen,
    /// Whether what this pass delivers tells how late alerts become visible; a walk through the past does not.
    pub measures_lateness: bool,
}

impl<'a> Desk<'a> {
    /// Reads the state; `None` for a tenant that is not (or no longer) here.
    ///
    /// # Errors
    /// As the store's.
    pub async fn open(app: &'a App, tenant: TenantId) -> Result<Option<Self>, CommitError> {
        let state = Guarded::open(app.ports.store.as_ref(), tenant).await?;
        Ok(state.map(|state| Self { app, tenant, state, seen: Seen::new(tenant), measures_lateness: false }))
    }

    /// Delivers what of the batch has not left yet. `window` names the object. `advance` says how far the feed has come
    /// once the batch is in; it takes effect with the commit, or in memory alone where there is nothing to commit.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when the plan is out of date; the desk must then be opened anew.
    pub async fn commit(
        &mut self,
        batch: Batch,
        window: Window,
        advance: impl FnOnce(&mut AlertFeed),
    ) -> Result<Committed, CommitError> {
        let app = self.app;
        self.seen.load(app.ports.store.as_ref(), &batch.buckets).await?;
        let mut counts = Ledger { fetched: batch.fetched, ..Ledger::default() };
        let mut marks: HashSet<Mark> = HashSet::new();
        let fresh: Vec<Received> = batch
            .alerts
            .into_iter()
            .filter(|alert| {
                let mark = alert.mark(self.tenant);
                let new = !self.seen.contains(Bucket::of(alert.sighting.updated), &mark) && marks.insert(mark);
                counts.deduplicated += u64::from(!new);
                new
            })
            .collect();
        let mut unreadable = batch.quarantined;
        let object = encode(self.tenant, &app.config, fresh, &self.seen, app.clock.now())?;
        if !object.unreadable.is_empty() {
            self.seen.load(app.ports.store.as_ref(), &[Bucket::Quarantine].into()).await?;
            unreadable.extend(object.unreadable);
        }

        let mut added: Vec<(Bucket, Mark)> = Vec::new();
        for Unreadable { record, version } in unreadable {
            added.extend(version.map(|Sighting { updated, id, .. }| {
                (Bucket::of(updated), seen::version_mark(self.tenant, &id, updated))
            }));
            let mark = seen::text_mark(&record.sha256);
            if !self.seen.contains(Bucket::Quarantine, &mark) && marks.insert(mark) {
                counts.quarantined += 1;
                added.push((Bucket::Quarantine, mark));
                // Known by its text, so that a second put finds the first one's object.
                app.ports.lake.put_new(&record.key, record.object).await?;
            } else {
                counts.deduplicated += 1;
            }
        }
        counts.delivered = object.alerts.len() as u64;
        let mut lateness = Vec::new();
        if object.alerts.is_empty() && added.is_empty() {
            self.state.feed.ledger.add(counts);
            advance(&mut self.state.feed);
            return Ok(Committed { counts, lateness });
        }
        if !object.alerts.is_empty() {
            for (sighting, mark, evidence) in object.alerts {
                added.push((Bucket::of(sighting.updated), mark));
                added.push((Bucket::of(sighting.created), seen::id_mark(self.tenant, &sighting.id)));
                if self.measures_lateness && evidence != Evidence::Completed {
                    let late = app.clock.now().duration_since(sighting.updated);
                    self.state.feed.lateness.count(late);
                    lateness.push(late);
                }
            }
            self.put_object(object.bytes, window).await?;
        }
        self.state.feed.intent = None;
        self.state.feed.ledger.add(counts);
        advance(&mut self.state.feed);
        self.store(added).await?;
        Ok(Committed { counts, lateness })
    }

    /// Writes the intent, then creates the object.
    async fn put_object(&mut self, object: Vec<u8>, window: Window) -> Result<(), CommitError> {
        let key = record::object_key(Feed::Alerts, self.tenant, window.after, window.until, self.state.attempt());
        let intent = Intent { key: key.clone(), opened_at: self.app.clock.now() };
        self.state.open_intent(self.app.ports.store.as_ref(), |feed| feed.intent = Some(intent)).await?;
        record::create(self.app.ports.lake.as_ref(), &key, object).await
    }

    /// One transaction of progress, connection and seen-set.
    async fn store(&mut self, added: Vec<(Bucket, Mark)>) -> Result<(), CommitError> {
        let Guarded { connection, feed, .. } = &mut self.state;
        if let Some(entry) = connection.feeds.get_mut(&Feed::Alerts) {
            entry.backlog = !feed.walks.is_empty();
        }
        self.state.store(self.app.ports.store.as_ref(), self.seen.writes(added), self.app.clock.now()).await?;
        // What was just written is read again when it is next needed.
        self.seen = Seen::new(self.tenant);
        Ok(())
    }

    /// Ends a pass: writes what changed beside the watermarks; the watermarks alone only with a heartbeat.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn settle(&mut self) -> Result<(), CommitError> {
        let (feed, feed_stored) = (&self.state.feed, self.state.feed_stored());
        let (looks, stored) = (&feed.looks, &feed_stored.looks);
        let heartbeat =
            looks.overlap.duration_since(stored.overlap) >= progress::HEARTBEAT || looks.two_days > stored.two_days;
        let but_for_looks = AlertFeed { looks: stored.clone(), ..feed.clone() };
        let changed = but_for_looks != *feed_stored || looks.open != stored.open || self.state.connection_has_changed();
        if heartbeat || changed { self.store(Vec::new()).await } else { Ok(()) }
    }

    /// The tenant has left: what somebody left open is settled, and the item is done with. The seen-set stays.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn leave(mut self) -> Result<(), CommitError> {
        self.finish_open_intent().await?;
        self.state.leave(self.app.ports.store.as_ref(), self.app.clock.now()).await
    }

    /// Finishes an open intent, whoever left it, and tells what it had brought.
    ///
    /// The object exists: its own lines say what was delivered. It does not: an empty object takes its place, so that
    /// a worker who is only slow can no longer deliver under this key. Either way the watermark stays, and the pass
    /// that follows looks at the same window again.
    ///
    /// # Errors
    /// As [`Desk::commit`].
    pub async fn finish_open_intent(&mut self) -> Result<Ledger, CommitError> {
        let Some(intent) = self.state.feed.intent.take() else { return Ok(Ledger::default()) };
        let mut delivered = Vec::new();
        if let Some(object) = record::left_behind(self.app.ports.lake.as_ref(), &intent.key).await? {
            record::read_object(&object, |line| {
                delivered.push(Delivered::read(line).ok_or_else(|| std::io::Error::other("a line is not ours"))?);
                Ok(())
            })?;
        }
        tracing::warn!(tenant.id = %self.tenant, key = intent.key, alerts = delivered.len(), "finished an intent that another worker left open");
        let mut added = Vec::new();
        for line in &delivered {
            added.extend([
                (Bucket::of(line.sighting.updated), line.mark),
                (Bucket::of(line.sighting.created), seen::id_mark(self.tenant, &line.sighting.id)),
            ]);
            match line.evidence {
                Evidence::Included => {}
                Evidence::Pending => self.state.feed.remember_incomplete(&line.sighting, self.app.clock.now()),
                Evidence::Completed => self
                    .state
                    .feed
                    .incomplete
                    .retain(|entry| entry.id != line.sighting.id || entry.updated != line.sighting.updated),
            }
        }
        let buckets: BTreeSet<Bucket> = added.iter().map(|(bucket, _)| *bucket).collect();
        self.seen.load(self.app.ports.store.as_ref(), &buckets).await?;
        let count = delivered.len() as u64;
        let counts = Ledger { fetched: count, delivered: count, ..Ledger::default() };
        self.state.feed.ledger.add(counts);
        self.store(added).await?;
        Ok(counts)
    }
}

/// An object ready to be put.
struct Encoded {
    bytes: Vec<u8>,
    alerts: Vec<(Sighting, Mark, Evidence)>,
    /// Texts with an id and a time that are no JSON for all that: half a surrogate pair, a number beyond any type,
    /// nesting without end.
    unreadable: Vec<Unreadable>,
}

/// The object with these alerts: sorted by time, then id, so that the same alerts make the same bytes.
fn encode(
    tenant: TenantId,
    config: &Config,
    mut alerts: Vec<Received>,
    seen: &Seen,
    now: Timestamp,
) -> Result<Encoded, CommitError> {
    alerts.sort_by(|a, b| a.sighting.cmp(&b.sighting));
    let style = Style { tenant, raw_data: config.raw_data };
    let mut writer = ObjectWriter::default();
    let mut ids: HashSet<String> = HashSet::new();
    let (mut encoded, mut unreadable) = (Vec::new(), Vec::new());
    for alert in alerts {
        let mark = alert.mark(tenant);
        let Received { sighting, text, evidence } = alert;
        let source: Map<String, Value> = match serde_json::from_str(&text) {
            Ok(source) => source,
            Err(cause) => {
                let record = quarantine(tenant, text.as_bytes(), &cause.to_string(), now);
                unreadable.push(Unreadable { record, version: Some(sighting) });
                continue;
            }
        };
        let delivered_before = seen.has_id(&sighting) || !ids.insert(sighting.id.clone());
        let activity = Activity::of(&source, delivered_before);
        writer.push(&finding(style, source, &text, &sighting, &mark, activity, evidence))?;
        encoded.push((sighting, mark, evidence));
    }
    Ok(Encoded { bytes: writer.finish()?, alerts: encoded, unreadable })
}

/// A record that cannot be parsed. It is known again by its text without evidence, which is how a look shows it.
pub fn quarantine(tenant: TenantId, text: &[u8], reason: &str, now: Timestamp) -> Quarantined {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        #[serde(borrow, default)]
        evidence: Option<&'a RawValue>,
    }
    let whole = String::from_utf8_lossy(text);
    let identity = match serde_json::from_str::<Head<'_>>(&whole) {
        Ok(Head { evidence: Some(evidence) }) => {
            // The evidence is a slice of the text; where it lies is how far it begins behind it.
            let from = evidence.get().as_ptr().addr() - whole.as_ptr().addr();
            [&whole[..from], "[]", &whole[from + evidence.get().len()..]].concat()
        }
        _ => whole.clone().into_owned(),
    };
    record::quarantine(Feed::Alerts, tenant, identity.as_bytes(), text, reason, now)
}

/// What a line of one of our objects says about the state it belongs to.
struct Delivered {
    mark: Mark,
    sighting: Sighting,
    evidence: Evidence,
}

impl Delivered {
    /// Reads only what it needs, so that nothing an alert carries can keep an intent open.
    fn read(line: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Event {
            metadata: Metadata,
            finding_info: FindingInfo,
        }
        #[derive(serde::Deserialize)]
        struct Metadata {
            uid: String,
            original_time: Option<String>,
            #[serde(default)]
            labels: Vec<String>,
        }
        #[derive(serde::Deserialize)]
        struct FindingInfo {
            uid: String,
            modified_time: i64,
            created_time: Option<i64>,
        }
        let Event { metadata, finding_info } = serde_json::from_str(line).ok()?;
        let evidence = match metadata.labels.first().map(String::as_str) {
            Some("evidence_pending") => Evidence::Pending,
            Some("evidence_completed") => Evidence::Completed,
            _ => Evidence::Included,
        };
        let precise = metadata.original_time.as_deref().and_then(time::parse);
        let updated = precise.or_else(|| Timestamp::from_millisecond(finding_info.modified_time).ok())?;
        let created = finding_info.created_time.and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(updated);
        let sighting = Sighting { updated, id: finding_info.uid, created };
        Some(Self { mark: record::from_hex(&metadata.uid)?, sighting, evidence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::store::{MAX_COMMIT_BYTES, MAX_ITEM_BYTES, MAX_WRITES};

    #[test]
    fn the_largest_commit_is_one_transaction() {
        // A batch is found full by the alert that fills it, and an alert is in two buckets.
        let buckets = MAX_BUCKETS + 2;
        let bytes = |marks: usize| seen::encode(Bucket::Quarantine, &vec![Mark::default(); marks]).to_string().len();
        // Every bucket's last item as full as it gets, or what is new in an item of its own; beside it progress and connection.
        let seen_set = buckets * bytes(seen::MARKS_PER_ITEM) + bytes(2 * MAX_ALERTS);
        assert!(seen_set + MAX_ITEM_BYTES < MAX_COMMIT_BYTES, "{seen_set} bytes of marks");
        assert!(buckets + 2 <= MAX_WRITES);
    }
}
