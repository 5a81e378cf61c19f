//! The listing: every hour the whole container, for blobs whose hint was lost, and those that grew after they were thought
//! done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Pass, Stop};
use crate::{
    microsoft::storage::{Listed, StorageError},
    ports::store::Expect,
    storage::Storage,
    telemetry::{
        blob::{self, Blob, Look},
        check::Right,
        commit::New,
        hint,
        progress::Part,
    },
    tenant::Condition,
};

const EVERY: SignedDuration = SignedDuration::from_hours(1);
/// While the queue tells nothing, new blobs are found by this alone.
const WITHOUT_HINTS: SignedDuration = SignedDuration::from_mins(10);
/// Blobs registered, or forgotten, in one transaction.
const AT_ONCE: usize = 40;

/// Blobs of one tenant that are kept in mind: years of hours. Whoever can write the container could make any number.
const MAX_KNOWN: usize = 50_000;

impl Pass<'_> {
    pub(super) async fn list_if_due(&mut self) -> Result<(), Stop> {
        let every = if self.complaint.is_some() { WITHOUT_HINTS } else { EVERY };
        if self.desk.state.feed.listed_at.is_some_and(|at| self.started.duration_since(at) < every) {
            self.complain_of_a_crowd();
            return Ok(());
        }
        let mut retired = Part::Retired.load(self.app.ports.store.as_ref(), self.tenant).await?;
        let mut marker = self.desk.state.feed.listing.take();
        let from_the_beginning = marker.is_none();
        self.desk.state.feed.crowded &= !from_the_beginning;
        let mut seen = BTreeSet::new();
        loop {
            let page = match self.account.list(marker).await {
                Ok(page) => page,
                Err(error @ StorageError::Unavailable { .. }) if !self.desk.live.is_empty() => {
                    // What is registered can be read without.
                    self.complain(self.refused_blobs(Right::List, &error));
                    return Ok(());
                }
                Err(error) => return Err(Stop::Condition(self.refused_blobs(Right::List, &error))),
            };
            for blobs in page.blobs.chunks(AT_ONCE) {
                self.take_listed(blobs, &mut retired, &mut seen).await?;
            }
            marker = page.next;
            if marker.is_none() {
                break;
            }
            if self.half_over() {
                // Reading has its turn; the next pass goes on here.
                self.desk.state.feed.listing = marker;
                self.complain_of_a_crowd();
                return Ok(());
            }
        }
        if from_the_beginning {
            self.forget_the_gone(retired, &seen).await?;
        }
        self.desk.state.feed.listed_at = Some(self.started);
        self.complain_of_a_crowd();
        Ok(())
    }

    /// Until a listing finds room for every blob.
    fn complain_of_a_crowd(&mut self) {
        if self.desk.state.feed.crowded {
            self.complain(too_many(&self.storage));
        }
    }

    async fn take_listed(
        &mut self,
        blobs: &[Listed],
        retired: &mut BTreeMap<String, (Blob, u64)>,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), Stop> {
        let mut new = Vec::new();
        for listed in blobs {
            if hint::check_name(&listed.name).is_err() || !hint::is_of(self.tenant, &listed.name) {
                continue;
            }
            let id = blob::id(self.storage.account_name.as_str(), &listed.name);
            // Of blobs that are not kept in mind nothing is to be forgotten.
            if self.desk.live.contains_key(&id) || retired.contains_key(&id) {
                seen.insert(id.clone());
            }
            if let Some((blob, _)) = self.desk.live.get_mut(&id) {
                if blob.look_at(listed, self.started) != Look::Unchanged {
                    self.named.insert(id);
                }
            } else if let Some((known, version)) = retired.get(&id) {
                let mut blob = known.clone();
                if blob.look_at(listed, self.started) != Look::Unchanged {
                    let version = *version;
                    retired.remove(&id);
                    self.named.insert(id.clone());
                    new.push(New { id, blob, retired: Some(version) });
                }
            } else if listed.modified.is_none_or(|at| at >= self.first_look()) {
                if self.desk.live.len() + retired.len() + new.len() >= MAX_KNOWN {
                    self.desk.state.feed.crowded = true;
                    continue;
                }
                let mut blob = Blob::new(self.storage.account_name.as_str(), &listed.name, self.started);
                blob.look_at(listed, self.started);
                blob.grown_at = listed.modified.unwrap_or(self.started).min(self.started);
                seen.insert(id.clone());
                self.named.insert(id.clone());
                new.push(New { id, blob, retired: None });
            }
        }
        if new.is_empty() { Ok(()) } else { Ok(self.desk.register(new).await?) }
    }

    /// How far back the feed begins. A blob that was not touched since is of no interest, unless it is some day.
    fn first_look(&self) -> Timestamp {
        let since = self.desk.state.feed.since.unwrap_or(self.started);
        since.saturating_sub(self.app.config.first_look).unwrap_or(Timestamp::MIN)
    }

    /// The record of a blob goes with the blob. What of it had not been read is lost, and said.
    async fn forget_the_gone(
        &mut self,
        retired: BTreeMap<String, (Blob, u64)>,
        seen: &BTreeSet<String>,
    ) -> Result<(), Stop> {
        let version = |expect: Expect| if let Expect::Version(version) = expect { version } else { 0 };
        let live =
            self.desk.live.iter().map(|(id, (blob, expect))| (Part::Live, id.clone(), blob.clone(), version(*expect)));
        let retired = retired.into_iter().map(|(id, (blob, version))| (Part::Retired, id, blob, version));
        let account = self.storage.account_name.as_str();
        let gone = live.chain(retired).filter(|(_, id, blob, _)| blob.account == account && !seen.contains(id));
        let gone: Vec<_> = gone.collect();
        for (_, _, blob, _) in gone.iter().filter(|(part, _, blob, _)| *part == Part::Live && blob.behind() > 0) {
            tracing::error!(tenant.id = %self.tenant, blob = blob.name, bytes = blob.behind(), "a blob is gone before it was read to its end");
        }
        for some in gone.chunks(AT_ONCE) {
            if self.desk.is_cluttered() {
                // The next listing finds the others.
                return Ok(());
            }
            self.desk.forget(some.to_vec()).await?;
        }
        Ok(())
    }
}

fn too_many(storage: &Storage) -> Condition {
    Condition::failing(format!(
        "Ask the customer to delete old blobs of the export in the storage account {}: there are more than {MAX_KNOWN}, and new \
         ones are no longer looked for.",
        storage.account_name
    ))
}
