//! What came through the gateway, and how it went.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{call::Service, policy::Permission};

/// One call, judged.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The door it came through: a function's name.
    pub door: String,
    pub service: Service,
    pub operation: String,
    pub permissions: Vec<Permission>,
    /// What was refused of it.
    pub refused: Vec<Permission>,
    /// The status that the caller got.
    pub status: u16,
}

impl Entry {
    /// As in `secretsmanager:GetSecretValue`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.service.name(), self.operation)
    }
}

#[derive(Debug, Default)]
pub struct Journal {
    entries: Mutex<Vec<Entry>>,
    faults: Mutex<Vec<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    pub(super) fn note(&self, entry: Entry) {
        locked(&self.entries).push(entry);
    }

    pub(super) fn fault(&self, door: &str, what: &str) {
        locked(&self.faults).push(format!("{door}: {what}"));
    }

    /// How many calls there have been; what came later is [`Journal::since`] that.
    pub fn mark(&self) -> usize {
        locked(&self.entries).len()
    }

    /// The calls after a mark, in the order in which they were answered.
    pub fn since(&self, mark: usize) -> Vec<Entry> {
        locked(&self.entries)[mark..].to_vec()
    }

    /// Requests that no call of AWS is like, or that were not signed for where they went: defects, whatever else a test
    /// shows.
    pub fn faults(&self) -> Vec<String> {
        locked(&self.faults).clone()
    }

    /// What roles were refused, each with the door it was asked at.
    pub fn refusals(&self) -> Vec<String> {
        let entries = locked(&self.entries);
        let refused = entries.iter().flat_map(|entry| {
            entry.refused.iter().map(|permission| format!("{}: {}: {permission}", entry.door, entry.name()))
        });
        refused.collect()
    }

    /// What one door's calls needed and were granted.
    pub fn granted(&self, door: &str) -> Vec<Permission> {
        let entries = locked(&self.entries);
        let granted = entries.iter().filter(|entry| entry.door == door && entry.refused.is_empty());
        granted.flat_map(|entry| entry.permissions.clone()).collect()
    }
}
