//! The machines of one tenant: what is stored, what is generated, and how its list misbehaves (MICROSOFT 3.3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::dice::{hash, mix};
use crate::machine::Machine;

type Change = Box<dyn FnOnce(&mut Machines) + Send>;

/// Whether a page that is not the last carries `@odata.nextLink`. Reports disagree, so both are to be lived with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextLinks {
    Never,
    Always,
}

/// What the list says when there is no machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyInventory {
    /// 404, as it is documented.
    NotFound,
    /// 200 with an empty list.
    EmptyList,
}

/// What the list says behind its last machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastTheEnd {
    /// 200 with an empty list.
    EmptyList,
    /// 404 in Defender's own words, as if there were no machine at all.
    NotFound,
    /// The first page once more: `$skip` is taken no notice of.
    FirstPage,
}

/// The machines of one tenant, listed in the order of their ids, the generated ones last.
pub struct Machines {
    pub next_links: NextLinks,
    pub empty: EmptyInventory,
    pub past_the_end: PastTheEnd,
    /// How many machines a page holds where `$top` does not ask for fewer.
    pub page_size: usize,
    /// Ids that the list leaves out although the machine is there and answers by its id.
    pub unlisted: BTreeSet<String>,
    stored: BTreeMap<String, Arc<Machine>>,
    generated: Generated,
    /// Generated machines that were removed or replaced since.
    gone: BTreeSet<u32>,
    between_requests: VecDeque<Change>,
}

/// Machines out of a rule, from their index; never stored.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Generated {
    count: u32,
    last_seen: Timestamp,
}

impl Generated {
    /// As long as Defender's own ids.
    fn id(index: u32) -> String {
        format!("fb{:030x}{index:08x}", mix(hash(b"bulk")))
    }

    fn index(self, id: &str) -> Option<u32> {
        let index = u32::from_str_radix(id.get(32..)?, 16).ok()?;
        (index < self.count && Self::id(index) == id).then_some(index)
    }

    fn machine(self, index: u32) -> Machine {
        Machine::new(&Self::id(index), self.last_seen)
    }
}

impl Default for Machines {
    fn default() -> Self {
        Self {
            next_links: NextLinks::Always,
            empty: EmptyInventory::NotFound,
            past_the_end: PastTheEnd::EmptyList,
            page_size: 10_000,
            unlisted: BTreeSet::new(),
            stored: BTreeMap::new(),
            generated: Generated::default(),
            gone: BTreeSet::new(),
            between_requests: VecDeque::new(),
        }
    }
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machines")
            .field("stored", &self.stored.len())
            .field("generated", &self.generated)
            .finish_non_exhaustive()
    }
}

impl Machines {
    /// A new machine, or the whole replacement of one.
    pub fn put(&mut self, machine: Machine) {
        self.gone.extend(self.generated.index(&machine.id));
        self.stored.insert(machine.id.clone(), Arc::new(machine));
    }

    /// Changes a machine.
    ///
    /// Panics when there is no such machine: the test that says so is mistaken.
    #[expect(clippy::panic, reason = "a test that updates a machine that is not there must fail at once")]
    pub fn update(&mut self, id: &str, change: impl FnOnce(&mut Map<String, Value>)) {
        let Some(mut machine) = self.find(id) else { panic!("there is no machine {id} to update") };
        change(&mut machine.fields);
        self.put(machine);
    }

    /// The machine is gone: neither in the list nor by its id.
    pub fn remove(&mut self, id: &str) {
        self.stored.remove(id);
        self.gone.extend(self.generated.index(id));
    }

    /// So many more machines, all last seen at one moment. Asked again, it replaces the ones before.
    pub fn bulk(&mut self, count: u32, last_seen: Timestamp) {
        self.generated = Generated { count, last_seen };
        self.gone.clear();
    }

    /// Every id there is, generated ones too, listed or not.
    pub fn ids(&self) -> Vec<String> {
        self.items().map(|item| item.id().into_owned()).collect()
    }

    /// A machine, stored or generated.
    pub fn find(&self, id: &str) -> Option<Machine> {
        self.item(id).map(|item| match item {
            Item::Stored(machine) => Arc::unwrap_or_clone(machine),
            Item::Generated(source, index) => source.machine(index),
        })
    }

    /// Queues a change; one is applied after each answer to `/api/machines` was computed: the list shifts while
    /// somebody pages.
    pub fn between_requests(&mut self, change: impl FnOnce(&mut Machines) + Send + 'static) {
        self.between_requests.push_back(Box::new(change));
    }

    pub(crate) fn apply_next_change(&mut self) {
        if let Some(change) = self.between_requests.pop_front() {
            change(self);
        }
    }

    pub(crate) fn item(&self, id: &str) -> Option<Item> {
        if let Some(machine) = self.stored.get(id) {
            return Some(Item::Stored(machine.clone()));
        }
        let index = self.generated.index(id).filter(|index| !self.gone.contains(index))?;
        Some(Item::Generated(self.generated, index))
    }

    pub(crate) fn listed(&self) -> impl Iterator<Item = Item> {
        self.items().filter(|item| self.unlisted.is_empty() || !self.unlisted.contains(&*item.id()))
    }

    fn items(&self) -> impl Iterator<Item = Item> {
        let generated = (0..self.generated.count).filter(|index| !self.gone.contains(index));
        let generated = generated.map(|index| Item::Generated(self.generated, index));
        self.stored.values().cloned().map(Item::Stored).chain(generated)
    }
}

/// One machine of a list, cheap to hold while the page is written.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Stored(Arc<Machine>),
    Generated(Generated, u32),
}

impl Item {
    fn id(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Stored(machine) => machine.id.as_str().into(),
            Self::Generated(_, index) => Generated::id(*index).into(),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Stored(machine) => machine.write(out),
            Self::Generated(source, index) => source.machine(*index).write(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_machines_come_last_and_become_stored_ones_when_they_change() {
        let mut machines = Machines::default();
        machines.bulk(3, Timestamp::UNIX_EPOCH);
        machines.put(Machine::new("0e1", Timestamp::UNIX_EPOCH));
        let ids = machines.ids();
        assert_eq!((ids.len(), ids[0].as_str(), ids[3].len()), (4, "0e1", 40));
        machines.update(&ids[2], |fields| {
            fields.insert("riskScore".into(), "High".into());
        });
        assert_eq!(machines.find(&ids[2]).unwrap().fields["riskScore"], "High");
        machines.remove(&ids[3]);
        machines.remove("0e1");
        assert_eq!(machines.ids(), [ids[2].clone(), ids[1].clone()]);
        assert!(machines.find(&ids[3]).is_none());
        assert!(machines.find("fb").is_none() && machines.find("ä").is_none());
    }
}
