//! Fetches: what a look showed and we have not seen, with evidence, into the lake.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    string::FromUtf8Error,
};

use super::{Advance, Pass, Stop, Work, call::CallFailed, look::Page};
use crate::{
    alert::{
        Sighting,
        commit::{Batch, Received, quarantine},
        finding::Evidence,
        id_of,
        ladder::Rung,
        progress::{COMPLETION_RETRY, Incomplete, MAX_COMPLETION_TRIES},
        seen::{Bucket, text_mark},
        window::{Group, Window, groups},
    },
    microsoft::{
        defender::{MAX_TOP, alert_request},
        time::TICK,
    },
    record::{CommitError, Quarantined},
    tenant::Ability,
};

const FETCH_BYTES: u64 = 2 << 30;
/// Alerts that a fetch did not bring are asked for one by one up to here; beyond, the next look finds them.
const MAX_BY_ID: usize = 10;
const COMPLETIONS_PER_PASS: usize = 3;

/// What became of asking for one version by the alert's id.
enum ById {
    /// Brought, quarantined, or updated since and so to come back by itself.
    Settled,
    Gone,
    Unclear(String),
    /// Not asked: a crowd was updated at once, and the next look will show it.
    TooMany,
}

/// What a fetch left open.
struct Fetched {
    batch: Batch,
    missing: Vec<Sighting>,
    full: bool,
}

impl Pass<'_> {
    pub(super) async fn deliver(&mut self, window: Window, page: Page, last: bool) -> Result<(), Stop> {
        let Page { mut sightings, texts, unreadable, .. } = page;
        sightings.sort_unstable();
        sightings.dedup();
        let store = self.app.ports.store.as_ref();
        let buckets = sightings.iter().map(|sighting| Bucket::of(sighting.updated)).collect();
        self.desk.seen.load(store, &buckets).await.map_err(CommitError::from)?;
        let limit = self.rung.group(self.app.config.page_size);
        let mut groups: VecDeque<Group> =
            groups(&sightings, |sighting| !self.desk.seen.has_version(sighting), limit).into();

        let mut batch = Batch::default();
        if !unreadable.is_empty() {
            self.desk.seen.load(store, &[Bucket::Quarantine].into()).await.map_err(CommitError::from)?;
        }
        for record in unreadable {
            if self.desk.seen.contains(Bucket::Quarantine, &text_mark(&record.sha256)) {
                continue;
            }
            batch.arrived();
            batch.quarantine(record, None);
            if batch.is_full() {
                self.commit(std::mem::take(&mut batch), window, None).await?;
            }
        }
        let done = groups.is_empty().then(|| self.advance(window.until, last));
        self.commit(batch, window, done).await?;

        while let Some(group) = groups.pop_front() {
            let Fetched { mut batch, mut missing, full } = match self.fetch(&group).await {
                Ok(fetched) => fetched,
                Err(CallFailed::Service(failure)) if self.began_at == Rung::Bare => {
                    tracing::warn!(tenant.id = %self.tenant, failure, alerts = group.wanted.len(), "a fetch with evidence fails; its alerts are asked for one by one");
                    Fetched { batch: Batch::default(), missing: group.wanted.clone(), full: false }
                }
                Err(CallFailed::Service(failure)) => {
                    self.climb(&failure)?;
                    requeue(&mut groups, group, self.rung.group(self.app.config.page_size));
                    continue;
                }
                Err(other) => return Err(other.into_stop()),
            };
            if full && !missing.is_empty() && !group.window.is_instant() {
                // Others crowd the window; what is still missing gets narrower ones.
                if let Some(rest) = Group::new(std::mem::take(&mut missing)) {
                    requeue(&mut groups, rest, (group.wanted.len() / 2).max(1));
                }
                self.commit(batch, group.window, None).await?;
                continue;
            }
            if let Err(stop) = self.ask_by_id(missing, &texts, group.window, &mut batch).await {
                // What has been brought so far is kept.
                self.commit(batch, group.window, None).await?;
                return Err(stop);
            }
            let reached = if groups.is_empty() { window.until } else { group.window.until };
            let advance = self.advance(reached, last && groups.is_empty());
            self.commit(batch, group.window, Some(advance)).await?;
        }
        Ok(())
    }

    async fn commit(&mut self, batch: Batch, window: Window, advance: Option<Advance>) -> Result<(), Stop> {
        let brings_forward = advance.is_some();
        self.walk_done |= advance.as_ref().is_some_and(Advance::ends_a_walk);
        let committed = self
            .desk
            .commit(batch, window, |feed| {
                if let Some(advance) = advance {
                    advance.apply(feed);
                }
            })
            .await?;
        self.came_forward |= brings_forward || committed.counts.delivered > 0;
        self.delivered += committed.counts.delivered;
        self.measure_commit(committed);
        Ok(())
    }

    /// Alerts that a look showed and a fetch did not bring: updated meanwhile (they come back by themselves), gone, or
    /// in need of a question of their own. On the last rung what stays unclear leaves without evidence; before, it
    /// holds the watermark.
    async fn ask_by_id(
        &mut self,
        missing: Vec<Sighting>,
        texts: &HashMap<Sighting, String>,
        window: Window,
        batch: &mut Batch,
    ) -> Result<(), Stop> {
        let last_rung = self.began_at == Rung::Bare;
        let mut settled = false;
        for (n, sighting) in missing.into_iter().enumerate() {
            let found = if last_rung || n < MAX_BY_ID {
                match self.ask_for(&sighting, batch, Evidence::Included).await {
                    // The very first question took the time of the whole pass, and would at every pass.
                    Err(Stop::Spent) if n == 0 && last_rung => ById::Unclear("no answer in time".to_owned()),
                    found => found?,
                }
            } else {
                ById::TooMany
            };
            settled |= matches!(found, ById::Settled);
            match (found, texts.get(&sighting)) {
                (ById::Settled, _) => {}
                // Without a look's text there is nothing to fall back on: what is gone is gone.
                (ById::Gone, None) => {}
                (ById::Gone | ById::Unclear(_), Some(text)) => {
                    tracing::warn!(tenant.id = %self.tenant, alert.id = sighting.id, "an alert is delivered without its evidence, which follows when it is to be had");
                    self.desk.state.feed.remember_incomplete(&sighting, self.started);
                    batch.arrived();
                    batch.push(Received { sighting, text: text.clone(), evidence: Evidence::Pending });
                }
                (ById::Unclear(failure), None) => {
                    self.hold(&sighting);
                    return self.climb(&failure);
                }
                (ById::TooMany, _) => {
                    self.hold(&sighting);
                    // Nothing was to be had of any of them: that is no crowd that was just updated.
                    return if settled { Ok(()) } else { self.climb("alerts that a look shows are nowhere to be had") };
                }
            }
            if batch.is_full() {
                self.commit(std::mem::take(batch), window, None).await?;
            }
        }
        Ok(())
    }

    /// The watermark stays before this alert.
    fn hold(&mut self, sighting: &Sighting) {
        self.ceiling = self.ceiling.min(sighting.updated - TICK);
    }

    /// Asks for one version by the alert's id.
    async fn ask_for(&mut self, sighting: &Sighting, batch: &mut Batch, evidence: Evidence) -> Result<ById, Stop> {
        let response = match self.call(alert_request(&self.base, &sighting.id)).await {
            Ok(response) => response,
            Err(CallFailed::NotFound) => return Ok(ById::Gone),
            Err(CallFailed::Service(failure) | CallFailed::BadRequest(failure)) => return Ok(ById::Unclear(failure)),
            // Others were answered in this pass: this is the alert's own trouble, and not the tenant's.
            Err(CallFailed::Stop(Stop::Condition(condition))) if condition.ability != Ability::Throttled => {
                return Ok(ById::Unclear(condition.next_step));
            }
            Err(CallFailed::Stop(stop)) => return Err(stop),
        };
        let body = match response.body.small(&self.app.clock).await {
            Ok(body) => body,
            Err(error) => return Ok(ById::Unclear(error.to_string())),
        };
        if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err() {
            return Ok(ById::Unclear("the answer is not JSON".to_owned()));
        }
        let found = match Sighting::parse(&body) {
            Ok(found) if found.id == sighting.id && found.updated > sighting.updated => return Ok(ById::Settled),
            Ok(found) if found.id != sighting.id || found.updated != sighting.updated => {
                return Ok(ById::Unclear("the answer is another alert".to_owned()));
            }
            found => found,
        };
        batch.arrived();
        match (found, String::from_utf8(body)) {
            (Ok(_), Ok(text)) => batch.push(Received { sighting: sighting.clone(), text, evidence }),
            (found, text) => {
                let reason = found.err().map_or("not UTF-8".to_owned(), |reason| reason.to_string());
                let text = text.map_or_else(FromUtf8Error::into_bytes, String::into_bytes);
                batch.quarantine(self.quarantine(&text, &reason), Some(sighting.clone()));
            }
        }
        Ok(ById::Settled)
    }

    /// Asks again for the evidence of alerts that left without. Their own trouble is nobody else's.
    pub(super) async fn complete_evidence(&mut self) -> Result<(), Stop> {
        if !matches!(self.work, Work::Live(_)) {
            return Ok(());
        }
        let due: Vec<Sighting> = self
            .desk
            .state
            .feed
            .incomplete
            .iter()
            .filter(|entry| entry.not_before <= self.started)
            .take(COMPLETIONS_PER_PASS)
            .map(Incomplete::sighting)
            .collect();
        for sighting in due {
            let mut batch = Batch::default();
            // Settled: brought, or updated since, and then the newer version carries the evidence.
            let found = self.ask_for(&sighting, &mut batch, Evidence::Completed).await?;
            let resolved = matches!(found, ById::Settled | ById::Gone);
            for entry in self.desk.state.feed.incomplete.iter_mut().filter(|entry| entry.sighting() == sighting) {
                entry.tries = if resolved { MAX_COMPLETION_TRIES } else { entry.tries + 1 };
                entry.not_before = self.started + COMPLETION_RETRY;
            }
            self.desk.state.feed.incomplete.retain(|entry| entry.tries < MAX_COMPLETION_TRIES);
            self.commit(batch, Window::new(sighting.updated, sighting.updated), None).await?;
        }
        Ok(())
    }

    /// Fetches a group with evidence, committing on the way whatever grows too large to hold.
    async fn fetch(&mut self, group: &Group) -> Result<Fetched, CallFailed> {
        let mut missing: HashSet<&Sighting> = group.wanted.iter().collect();
        let mut batch = Batch::default();
        let page = self.rung.page(self.app.config.page_size).max(2 * group.wanted.len()).min(MAX_TOP);
        let top = if group.window.is_instant() { MAX_TOP } else { page };
        let mut skip = 0;
        loop {
            let mut elements = self.elements(self.query(group.window, top, skip, true), FETCH_BYTES).await?;
            let before = missing.len();
            while let Some(text) = elements.next().await.map_err(CallFailed::Service)? {
                batch.arrived();
                let sighting = Sighting::parse(&text);
                // Wanted, and broken here: then this is what there is to be had of it.
                let wanted = match &sighting {
                    Ok(sighting) => missing.take(sighting),
                    Err(_) => {
                        let id = id_of(&text);
                        let found = missing.iter().find(|wanted| Some(&wanted.id) == id.as_ref()).copied();
                        found.and_then(|wanted| missing.take(wanted))
                    }
                };
                match (sighting, String::from_utf8(text)) {
                    (Ok(sighting), Ok(text)) => {
                        batch.push(Received { sighting, text, evidence: Evidence::Included });
                    }
                    (sighting, text) => {
                        let text = text.map_or_else(FromUtf8Error::into_bytes, String::into_bytes);
                        let (version, reason) = match sighting {
                            Ok(sighting) => (Some(sighting), "not UTF-8".to_owned()),
                            Err(reason) => (wanted.cloned(), reason.to_string()),
                        };
                        batch.quarantine(self.quarantine(&text, &reason), version);
                    }
                }
                if batch.is_full() {
                    let full = std::mem::take(&mut batch);
                    self.commit(full, group.window, None).await?;
                }
            }
            let full = elements.count() >= top || elements.has_more();
            let again = full && group.window.is_instant() && !missing.is_empty() && missing.len() < before;
            if !again {
                let mut missing: Vec<Sighting> = missing.into_iter().cloned().collect();
                missing.sort_unstable();
                return Ok(Fetched { batch, missing, full });
            }
            skip += (elements.count() * 9 / 10).max(1);
        }
    }

    pub(super) fn quarantine(&self, text: &[u8], reason: &str) -> Quarantined {
        quarantine(self.tenant, text, reason, self.app.clock.now())
    }
}

/// Puts a group back in pieces of at most `limit`, oldest first.
fn requeue(groups: &mut VecDeque<Group>, group: Group, limit: usize) {
    if group.wanted.len() <= limit {
        groups.push_front(group);
        return;
    }
    match group.split() {
        Ok((left, right)) => {
            requeue(groups, right, limit);
            requeue(groups, left, limit);
        }
        Err(whole) => groups.push_front(whole),
    }
}
