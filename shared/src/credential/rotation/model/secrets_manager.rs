//! Secrets Manager's rules about one secret (AWS.md 2): what a version holds it holds for good, labels move, and a
//! rotation's version is there before its value.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    credential::{
        entry::Entry,
        ownership::{Holding, Stamp},
    },
    ports::vault::{Description, Schedule, Stage, Stages},
};

#[derive(Debug)]
pub struct SecretsManager {
    versions: BTreeMap<String, (Timestamp, Option<Entry>)>,
    labels: Stages,
    /// Versions that have lost every label. Nothing is ever stored under them again.
    spent: BTreeSet<String>,
}

impl SecretsManager {
    /// With this version before the current one, if any.
    pub fn new(current: Entry, previous: Option<Entry>, stored: Timestamp) -> Self {
        let mut vault = Self { versions: BTreeMap::new(), labels: BTreeMap::new(), spent: BTreeSet::new() };
        for (version, label, entry) in [("v0", Stage::Previous, previous), ("v1", Stage::Current, Some(current))] {
            if let Some(entry) = entry {
                vault.versions.insert(version.to_owned(), (stored, Some(entry)));
                vault.labels.insert(version.to_owned(), vec![label]);
            }
        }
        vault
    }

    pub fn describe(&self) -> Description {
        let created = self.labels.keys().map(|version| (version.clone(), self.versions[version].0)).collect();
        let (identity, stages) = ("vault/muster/app".to_owned(), self.labels.clone());
        Description { identity, stages, created, schedule: Schedule::Nobody }
    }

    pub fn holding(&self, read_at: Timestamp) -> Holding {
        let description = self.describe();
        let entry = |stage| description.version(stage).and_then(|version| self.versions[version].1.clone());
        let pending = description.open_rotation().and_then(|version| self.versions[version].1.clone());
        let current = entry(Stage::Current).expect("something is always current");
        Holding {
            read_at,
            stamp: Stamp::of(&description),
            current,
            previous: entry(Stage::Previous),
            pending,
            description,
        }
    }

    /// Every entry under a label.
    pub fn labelled(&self) -> impl Iterator<Item = &Entry> {
        self.labels.keys().filter_map(|version| self.versions[version].1.as_ref())
    }

    pub fn current(&self) -> (&str, &Entry) {
        let version = self.labels.iter().find(|(_, labels)| labels.contains(&Stage::Current));
        let version = version.expect("something is always current").0;
        (version, self.versions[version].1.as_ref().expect("what is current has a value"))
    }

    pub fn value(&self, version: &str) -> Option<Entry> {
        self.versions.get(version)?.1.clone().filter(|_| self.labels.contains_key(version))
    }

    fn move_label(&mut self, label: Stage, to: &str) {
        for labels in self.labels.values_mut() {
            labels.retain(|one| *one != label);
        }
        self.labels.entry(to.to_owned()).or_default().push(label);
        self.forget_unlabelled();
    }

    fn forget_unlabelled(&mut self) {
        self.labels.retain(|_, labels| !labels.is_empty());
        let unlabelled = self.versions.keys().filter(|version| !self.labels.contains_key(*version));
        self.spent.extend(unlabelled.cloned());
        self.versions.retain(|version, _| self.labels.contains_key(version));
    }

    /// Nothing happens while a rotation is open.
    pub fn begin(&mut self, version: &str, now: Timestamp) {
        if self.describe().open_rotation().is_none() {
            self.versions.insert(version.to_owned(), (now, None));
            self.move_label(Stage::Pending, version);
        }
    }

    pub fn cancel(&mut self) {
        if let Some(open) = self.describe().open_rotation().map(str::to_owned) {
            self.labels.remove(&open);
            self.forget_unlabelled();
        }
    }

    /// False where the version holds another value already.
    pub fn put_pending(&mut self, version: &str, entry: &Entry, now: Timestamp) -> bool {
        match self.versions.get(version) {
            _ if self.spent.contains(version) => false,
            Some((_, Some(held))) => held.text().expose() == entry.text().expose(),
            known => {
                let created = known.map_or(now, |(created, _)| *created);
                self.versions.insert(version.to_owned(), (created, Some(entry.clone())));
                self.move_label(Stage::Pending, version);
                true
            }
        }
    }

    pub fn put_current(&mut self, version: &str, entry: Entry, now: Timestamp) {
        let before = self.current().0.to_owned();
        self.versions.insert(version.to_owned(), (now, Some(entry)));
        self.make_current(version, &before);
    }

    /// # Errors
    /// When the label is not where the caller says.
    pub fn promote(&mut self, to: &str, from: &str) -> Result<(), String> {
        if self.current().0 != from || self.value(to).is_none() {
            return Err(format!("AWSCURRENT is not on {from}, or {to} holds nothing"));
        }
        self.make_current(to, from);
        Ok(())
    }

    fn make_current(&mut self, to: &str, from: &str) {
        for (version, labels) in &mut self.labels {
            labels.retain(|label| *label == Stage::Pending && version != from);
        }
        self.labels.entry(from.to_owned()).or_default().push(Stage::Previous);
        self.move_label(Stage::Current, to);
    }
}
