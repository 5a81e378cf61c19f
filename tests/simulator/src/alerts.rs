//! The alerts of one tenant: what is stored, what is generated, and what changes while somebody pages.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::alert::Alert;
use crate::dice::{hash, mix};
use crate::flood::{Flood, Source};
use crate::time::{dotnet, to_ticks};

type Change = Box<dyn FnOnce(&mut Alerts) + Send>;

/// The alerts of one tenant.
pub struct Alerts {
    /// An alert whose `$expand=evidence` makes the whole request fail with 500, whatever else is on the page.
    pub poison: BTreeSet<String>,
    /// Ids of alerts whose mere presence in a result, with evidence or without, makes the whole request fail with 500.
    pub unanswerable: BTreeSet<String>,
    /// Defender documents no order. `true`: another order at every request; `false`: one order, but still not by time.
    pub unstable_order: bool,
    tenant: String,
    stored: BTreeMap<String, Arc<Alert>>,
    floods: Vec<Arc<Source>>,
    /// Generated alerts that were removed or replaced since.
    gone: HashSet<(usize, u32)>,
    between_requests: VecDeque<Change>,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            poison: BTreeSet::new(),
            unanswerable: BTreeSet::new(),
            unstable_order: true,
            tenant: String::new(),
            stored: BTreeMap::new(),
            floods: Vec::new(),
            gone: HashSet::new(),
            between_requests: VecDeque::new(),
        }
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts")
            .field("stored", &self.stored.len())
            .field("floods", &self.floods)
            .finish_non_exhaustive()
    }
}

impl Alerts {
    /// A new alert, or the whole replacement of one.
    pub fn put(&mut self, mut alert: Alert) {
        alert.last_update = to_ticks(alert.last_update);
        self.name_tenant(&mut alert);
        self.hide_generated(&alert.id);
        self.stored.insert(alert.id.clone(), Arc::new(alert));
    }

    /// Changes an alert and moves its `lastUpdateTime` to `at`.
    ///
    /// Panics when there is no such alert: the test that says so is mistaken.
    #[expect(clippy::panic, reason = "a test that updates an alert that is not there must fail at once")]
    pub fn update(&mut self, id: &str, at: Timestamp, change: impl FnOnce(&mut Map<String, Value>)) {
        let Some(mut alert) = self.find(id) else { panic!("there is no alert {id} to update") };
        change(&mut alert.fields);
        alert.fields.insert("lastUpdateTime".into(), dotnet(at).into());
        alert.last_update = at;
        self.put(alert);
    }

    pub fn remove(&mut self, id: &str) {
        self.stored.remove(id);
        self.hide_generated(id);
    }

    /// Every id, generated ones too, visible or not.
    pub fn ids(&self) -> Vec<String> {
        self.items().map(|item| item.id().into_owned()).collect()
    }

    /// A stored alert. A generated one is not stored: [`Alerts::find`] makes it.
    pub fn get(&self, id: &str) -> Option<&Alert> {
        self.stored.get(id).map(Arc::as_ref)
    }

    /// An alert, stored or generated.
    pub fn find(&self, id: &str) -> Option<Alert> {
        self.item(id).map(|item| match item {
            Item::Stored(alert) => Alert::clone(&alert),
            Item::Generated(source, index) => source.alert(index),
        })
    }

    pub fn flood(&mut self, flood: Flood) {
        self.floods.push(Arc::new(Source::new(flood, &self.tenant)));
    }

    /// Queues a change; one is applied after each answer to `/api/alerts` was computed: updates while somebody pages.
    pub fn between_requests(&mut self, change: impl FnOnce(&mut Alerts) + Send + 'static) {
        self.between_requests.push_back(Box::new(change));
    }

    pub(crate) fn apply_next_change(&mut self) {
        if let Some(change) = self.between_requests.pop_front() {
            change(self);
        }
    }

    pub(crate) fn belong_to(&mut self, tenant: &str) {
        self.tenant = tenant.into();
        self.floods = self.floods.iter().map(|source| Arc::new(source.of_tenant(tenant))).collect();
        for mut alert in std::mem::take(&mut self.stored).into_values().map(Arc::unwrap_or_clone) {
            self.name_tenant(&mut alert);
            self.stored.insert(alert.id.clone(), Arc::new(alert));
        }
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = Item> {
        let generated = self.floods.iter().enumerate().flat_map(move |(which, source)| {
            let indices = (0..source.count()).filter(move |index| !self.gone.contains(&(which, *index)));
            indices.map(|index| Item::Generated(source.clone(), index))
        });
        self.stored.values().cloned().map(Item::Stored).chain(generated)
    }

    pub(crate) fn item(&self, id: &str) -> Option<Item> {
        if let Some(alert) = self.stored.get(id) {
            return Some(Item::Stored(alert.clone()));
        }
        let (which, index) = self.generated(id)?;
        (!self.gone.contains(&(which, index))).then(|| Item::Generated(self.floods[which].clone(), index))
    }

    fn generated(&self, id: &str) -> Option<(usize, u32)> {
        let mut floods = self.floods.iter().enumerate();
        floods.find_map(|(which, source)| source.index(id).map(|index| (which, index)))
    }

    fn hide_generated(&mut self, id: &str) {
        if let Some(place) = self.generated(id) {
            self.gone.insert(place);
        }
    }

    fn name_tenant(&self, alert: &mut Alert) {
        if let Some(tenant) = alert.fields.get_mut("aadTenantId")
            && tenant.is_null()
            && !self.tenant.is_empty()
        {
            *tenant = self.tenant.as_str().into();
        }
    }
}

/// One alert of a list, cheap to hold while the page is written.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Stored(Arc<Alert>),
    Generated(Arc<Source>, u32),
}

impl Item {
    pub(crate) fn id(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Stored(alert) => alert.id.as_str().into(),
            Self::Generated(source, index) => source.id(*index).into(),
        }
    }

    pub(crate) fn last_update(&self) -> Timestamp {
        match self {
            Self::Stored(alert) => alert.last_update,
            Self::Generated(source, index) => source.at(*index),
        }
    }

    pub(crate) fn visible_from(&self) -> Timestamp {
        match self {
            Self::Stored(alert) => alert.visible_from,
            Self::Generated(source, index) => source.at(*index),
        }
    }

    /// A field other than `evidence`, as it is written.
    pub(crate) fn field(&self, name: &str) -> Option<Value> {
        match self {
            Self::Stored(alert) => alert.fields.get(name).cloned(),
            Self::Generated(source, index) => source.without_evidence(*index).fields.remove(name),
        }
    }

    pub(crate) fn write(&self, expand: bool, out: &mut Vec<u8>) {
        match self {
            Self::Stored(alert) => alert.write(expand, out),
            Self::Generated(source, index) => source.write(*index, expand, out),
        }
    }

    /// Where this alert falls in an order that has nothing to do with time.
    pub(crate) fn rank(&self, salt: u64) -> u64 {
        match self {
            Self::Stored(alert) => mix(salt ^ hash(alert.id.as_bytes())),
            Self::Generated(source, index) => mix(salt ^ source.rank(*index)),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn alerts() -> Alerts {
        let mut alerts = Alerts::default();
        alerts.belong_to("tenant");
        let start = "2026-01-01T00:00:00Z".parse().unwrap();
        let step = SignedDuration::from_secs(1);
        alerts.flood(Flood { prefix: "da5".into(), count: 3, start, step, evidence: 1 });
        alerts
    }

    #[test]
    fn a_generated_alert_becomes_a_stored_one_when_it_changes() {
        let mut alerts = alerts();
        let later = "2026-01-02T00:00:00.12Z".parse().unwrap();
        alerts.update("da5_1", later, |fields| {
            fields.insert("status".into(), "Resolved".into());
        });
        assert_eq!(alerts.ids(), ["da5_1", "da5_0", "da5_2"]);
        let changed = alerts.get("da5_1").unwrap();
        assert_eq!((changed.last_update, &changed.fields["status"]), (later, &"Resolved".into()));
        assert_eq!(changed.fields["lastUpdateTime"], "2026-01-02T00:00:00.12Z");
    }

    #[test]
    fn a_removed_alert_stays_away() {
        let mut alerts = alerts();
        alerts.put(Alert::new("da6_1", Timestamp::UNIX_EPOCH));
        alerts.remove("da6_1");
        alerts.remove("da5_0");
        assert_eq!(alerts.ids(), ["da5_1", "da5_2"]);
        assert!(alerts.find("da5_0").is_none());
    }

    #[test]
    fn an_alert_carries_the_tenant_that_holds_it_unless_told_otherwise() {
        let mut alerts = Alerts::default();
        alerts.put(Alert::new("a", Timestamp::UNIX_EPOCH));
        alerts.put(Alert::new("b", Timestamp::UNIX_EPOCH).with("aadTenantId", "other".into()));
        alerts.belong_to("tenant");
        assert_eq!(alerts.find("a").unwrap().fields["aadTenantId"], "tenant");
        assert_eq!(alerts.find("b").unwrap().fields["aadTenantId"], "other");
    }

    #[test]
    fn one_queued_change_is_applied_at_a_time() {
        let mut alerts = alerts();
        alerts.between_requests(|alerts| alerts.remove("da5_0"));
        alerts.between_requests(|alerts| alerts.remove("da5_1"));
        alerts.apply_next_change();
        assert_eq!(alerts.ids().len(), 2);
        alerts.apply_next_change();
        alerts.apply_next_change();
        assert_eq!(alerts.ids().len(), 1);
    }
}
