//! The list, page by page, each machine taken in as it arrives.

use super::{Pass, Stop};
use crate::{
    machine::{
        Sighting, Unreadable,
        run::{More, Next, PageRead, next},
        snapshot::{Presence, Sight},
    },
    microsoft::defender::{Elements, Limits, Position, continuation, machines_request},
    tenant::call::CallFailed,
};

/// No page of machines is larger.
const PAGE_BYTES: u64 = 1 << 30;
/// Nor has more of them, whatever Microsoft takes for a page.
const PAGE_MACHINES: usize = 1_000_000;
/// Times one page is asked for in one pass.
const TRIES: u32 = 3;

impl Pass<'_> {
    /// Reads the list to its end, from where it was left.
    pub(super) async fn read_list(&mut self) -> Result<(), Stop> {
        loop {
            let page = self.read_page_patiently().await?;
            let next = next(&self.place, &page);
            if page.new < page.elements && next != Next::Repeated && !self.shifted {
                tracing::info!(tenant.id = %self.tenant, "the machines' list has shifted while it was read; this run tells nothing about who is missing");
                self.shifted = true;
            }
            if page.more == More::Elsewhere {
                tracing::warn!(tenant.id = %self.tenant, read = self.place.read + page.elements, "the machines' list goes on behind a link that is no place in it; what was read is skipped instead");
            }
            match next {
                Next::Page(place) => self.place = place,
                Next::End | Next::Repeated => return Ok(()),
                Next::Lost => {
                    tracing::warn!(tenant.id = %self.tenant, read = self.place.read, "the machines' list goes round in circles");
                    self.shifted = true;
                    return Ok(());
                }
            }
        }
    }

    /// The same page once more where the service fails. Nothing waits: the next tick is the pause.
    async fn read_page_patiently(&mut self) -> Result<PageRead, Stop> {
        let mut tries = 1;
        loop {
            self.desk.snapshot.begin_page();
            match self.read_page().await {
                Err(Stop::Faulty(failure)) if tries < TRIES => {
                    tracing::warn!(tenant.id = %self.tenant, failure, "a page of machines fails; it is asked for again");
                    tries += 1;
                }
                Err(stop) => {
                    self.desk.snapshot.break_off_page();
                    return Err(stop);
                }
                Ok(page) => return Ok(page),
            }
            self.desk.snapshot.break_off_page();
        }
    }

    async fn read_page(&mut self) -> Result<PageRead, Stop> {
        let response = match self.call(machines_request(&self.base, &self.place.position)).await {
            Ok(response) => response,
            // No machines (MICROSOFT.md 3.3), or none behind those that were skipped. Behind a link, and from a gateway, it
            // is a failure like others.
            Err(CallFailed::NotFound { by_defender: true }) if !matches!(self.place.position, Position::Link(_)) => {
                self.budget.answered = true;
                return Ok(PageRead { elements: 0, new: 0, more: More::Silent });
            }
            // Whether a link of an earlier pass still holds is Microsoft's to say.
            Err(CallFailed::NotFound { .. } | CallFailed::BadRequest(_)) if self.is_where_it_was_resumed() => {
                return Err(Stop::PlaceLost);
            }
            Err(CallFailed::NotFound { .. }) if self.place.position != Position::Start => {
                return Err(Stop::Faulty("HTTP 404 in the middle of the machines' list".to_owned()));
            }
            Err(failed) => return Err(failed.into()),
        };
        let limits = Limits {
            bytes: PAGE_BYTES,
            elements: PAGE_MACHINES,
            clock: self.app.clock.clone(),
            deadline: self.budget.ends_at,
        };
        let mut elements = Elements::new(response.body, limits);
        let mut new = 0;
        while let Some(text) = elements.next().await.map_err(Stop::Faulty)? {
            let sighting = Sighting::parse(&text);
            new += u64::from(self.see(&sighting) == Sight::First);
            self.take_in(sighting, text, Presence::Listed);
            if self.batch.is_full() {
                self.commit().await?;
            }
        }
        let more = match elements.next_link() {
            None => More::Silent,
            Some(link) => continuation(link).map_or(More::Elsewhere, More::At),
        };
        Ok(PageRead { elements: elements.count() as u64, new, more })
    }

    /// At the link that an earlier pass left behind.
    fn is_where_it_was_resumed(&self) -> bool {
        let resumed = self.desk.state.feed.run.as_ref().is_some_and(|run| run.place == self.place);
        resumed && matches!(self.place.position, Position::Link(_))
    }

    /// Whether this run sees the machine for the first time.
    fn see(&mut self, sighting: &Result<Sighting, Unreadable>) -> Sight {
        let Ok(sighting) = sighting else { return Sight::First };
        self.desk.snapshot.see(&sighting.id)
    }
}
