//! Looks: what there is in a window, without evidence.

use std::collections::{HashMap, HashSet};

use super::{Pass, call::CallFailed};
use crate::{
    alert::{Sighting, ladder::Rung, window::Window},
    microsoft::defender::{AlertsQuery, Elements, Limits, MAX_TOP, alerts_request},
    record::Quarantined,
};

const LOOK_BYTES: u64 = 256 << 20;

/// One page of a look.
#[derive(Default)]
pub(super) struct Page {
    pub(super) sightings: Vec<Sighting>,
    /// The text of each, kept only where it may have to leave without evidence.
    pub(super) texts: HashMap<Sighting, String>,
    pub(super) unreadable: Vec<Quarantined>,
    pub(super) full: bool,
}

impl Pass<'_> {
    pub(super) fn query(&self, window: Window, top: usize, skip: usize, evidence: bool) -> AlertsQuery {
        AlertsQuery { after: window.after, until: window.until, top, skip, evidence }
    }

    pub(super) async fn elements(&mut self, query: AlertsQuery, bytes: u64) -> Result<Elements, CallFailed> {
        let response = self.call(alerts_request(&self.base, &query)).await?;
        let limits = Limits { bytes, elements: MAX_TOP, clock: self.app.clock.clone(), deadline: self.budget.ends_at };
        Ok(Elements::new(response.body, limits))
    }

    /// Asks what there is in a window, without evidence.
    pub(super) async fn look(&mut self, window: Window, skip: usize) -> Result<Page, CallFailed> {
        let top = if skip > 0 || window.is_instant() { MAX_TOP } else { self.rung.page(self.app.config.page_size) };
        let mut elements = self.elements(self.query(window, top, skip, false), LOOK_BYTES).await?;
        let mut page = Page::default();
        while let Some(text) = elements.next().await.map_err(CallFailed::Service)? {
            match Sighting::parse(&text) {
                Ok(sighting) => {
                    if self.began_at == Rung::Bare {
                        page.texts.insert(sighting.clone(), String::from_utf8_lossy(&text).into_owned());
                    }
                    page.sightings.push(sighting);
                }
                Err(reason) => page.unreadable.push(self.quarantine(&text, &reason.to_string())),
            }
        }
        // An empty page with a next link is complete all the same, or splitting would never end.
        page.full = elements.count() >= top || (elements.has_more() && elements.count() > 0);
        Ok(page)
    }

    /// As [`Pass::look`], and at one instant until everything has been seen.
    pub(super) async fn look_well(&mut self, window: Window) -> Result<Page, CallFailed> {
        let page = self.look(window, 0).await?;
        if page.full && window.is_instant() { self.look_at_crowd(window).await } else { Ok(page) }
    }

    /// More alerts at one instant than a page holds: overlapping `$skip` passes until one brings nothing new.
    async fn look_at_crowd(&mut self, window: Window) -> Result<Page, CallFailed> {
        let mut all = Page::default();
        let mut known: HashSet<Sighting> = HashSet::new();
        loop {
            let (mut skip, mut news) = (0, false);
            loop {
                let page = self.look(window, skip).await?;
                let count = page.sightings.len() + page.unreadable.len();
                for sighting in page.sightings {
                    news |= known.insert(sighting);
                }
                all.texts.extend(page.texts);
                all.unreadable.extend(page.unreadable);
                if !page.full || count == 0 {
                    break;
                }
                skip += (count * 9 / 10).max(1);
            }
            if !news {
                all.full = false;
                all.sightings = known.into_iter().collect();
                return Ok(all);
            }
        }
    }
}
