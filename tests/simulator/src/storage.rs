//! A customer's storage account: containers of append blobs, queues, who may do what, and its firewall (MICROSOFT 4).

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::append_blob::AppendBlob;
use crate::dice::{hash, mix};
use crate::event_grid::BlobCreated;
use crate::queue::Queue;
use crate::storage_role::{Assignment, Operation, StorageRole};

/// The most blobs that one answer of a list holds.
const LIST_MAXIMUM: usize = 5000;

/// A storage account. `World::add_storage` takes it in; what happens in it happens at the world's time, so fill it
/// through `World::storage`.
#[derive(Debug)]
pub struct StorageAccount {
    pub name: String,
    /// The tenant whose tokens it believes.
    pub tenant_id: String,
    /// Whether its firewall keeps everybody out who comes over the internet: 403 `AuthorizationFailure`.
    pub firewall: bool,
    /// The most blobs on a page of a list, however many were asked for. Azure promises no number.
    pub list_page: usize,
    pub(crate) clock: Timestamp,
    containers: BTreeMap<String, BTreeMap<String, AppendBlob>>,
    queues: BTreeMap<String, Queue>,
    assignments: Vec<Assignment>,
    /// Event Grid's subscriptions: a blob created in this container is announced in that queue.
    subscriptions: Vec<(String, String)>,
    /// How many changes there were: what ETags and sequencers are made of.
    changes: u64,
}

impl StorageAccount {
    /// An account with nothing in it, where nobody has a role.
    pub fn new(name: &str, tenant_id: &str) -> Self {
        Self {
            name: name.into(),
            tenant_id: tenant_id.into(),
            firewall: false,
            list_page: LIST_MAXIMUM,
            clock: Timestamp::UNIX_EPOCH,
            containers: BTreeMap::new(),
            queues: BTreeMap::new(),
            assignments: Vec::new(),
            subscriptions: Vec::new(),
            changes: 0,
        }
    }

    pub fn with_container(mut self, container: &str) -> Self {
        self.create_container(container);
        self
    }

    pub fn with_queue(mut self, queue: &str) -> Self {
        self.create_queue(queue);
        self
    }

    pub fn with_role(mut self, client_id: &str, role: StorageRole) -> Self {
        self.assign(client_id, role, Timestamp::MIN);
        self
    }

    /// Container and queue, and Event Grid between them.
    pub fn with_subscription(mut self, container: &str, queue: &str) -> Self {
        self.create_container(container);
        self.create_queue(queue);
        self.subscribe(container, queue);
        self
    }

    /// Assigns a role to an application's service principal, in force from `from` on; in Azure that takes minutes.
    pub fn assign(&mut self, client_id: &str, role: StorageRole, from: Timestamp) {
        self.assignments.push(Assignment { client_id: client_id.to_ascii_lowercase(), role, from });
    }

    /// Takes this role away again.
    pub fn unassign(&mut self, client_id: &str, role: StorageRole) {
        self.assignments.retain(|one| one.role != role || !one.client_id.eq_ignore_ascii_case(client_id));
    }

    pub(crate) fn allows(&self, client_id: &str, operation: Operation) -> bool {
        self.assignments.iter().any(|one| {
            one.client_id.eq_ignore_ascii_case(client_id) && one.from <= self.clock && one.role.allows(operation)
        })
    }

    /// From now on each blob created in this container is announced in this queue. Appending announces nothing.
    pub fn subscribe(&mut self, container: &str, queue: &str) {
        self.subscriptions.push((container.into(), queue.into()));
    }

    /// Event Grid falls silent.
    pub fn unsubscribe(&mut self) {
        self.subscriptions.clear();
    }

    /// Makes the container unless it is there.
    pub fn create_container(&mut self, container: &str) {
        self.containers.entry(container.into()).or_default();
    }

    /// Removes the container with everything in it.
    pub fn delete_container(&mut self, container: &str) {
        self.containers.remove(container);
    }

    /// Makes the queue unless it is there.
    pub fn create_queue(&mut self, queue: &str) {
        self.queues.entry(queue.into()).or_insert_with(|| Queue::new(&self.name, queue));
    }

    /// Removes the queue with everything in it.
    pub fn delete_queue(&mut self, queue: &str) {
        self.queues.remove(queue);
    }

    /// The queue, at the account's time.
    pub fn queue(&mut self, queue: &str) -> Option<&mut Queue> {
        let found = self.queues.get_mut(queue)?;
        found.move_to(self.clock);
        Some(found)
    }

    /// Creates an empty append blob, or replaces the blob of this name by one, as Put Blob does; Event Grid announces
    /// it. The container is made where there is none.
    pub fn create_append_blob(&mut self, container: &str, blob: &str) {
        let etag = self.create_silently(container, blob);
        let subscribed = self.subscriptions.iter().filter(|(of, _)| of == container);
        let queues: Vec<String> = subscribed.map(|(_, queue)| queue.clone()).collect();
        for queue in queues {
            self.changes += 1;
            let event = BlobCreated {
                account: &self.name,
                container,
                blob,
                etag: &etag,
                at: self.clock,
                sequence: self.changes,
            };
            let message = event.message();
            if let Some(queue) = self.queue(&queue) {
                queue.put_raw(&message);
            }
        }
    }

    /// The same without an event; the new ETag.
    pub(crate) fn create_silently(&mut self, container: &str, blob: &str) -> String {
        let (etag, clock) = (self.next_etag(), self.clock);
        let blobs = self.containers.entry(container.into()).or_default();
        blobs.insert(blob.into(), AppendBlob::new(etag.clone(), clock));
        etag
    }

    /// Appends one block; a blob that is not there is created first. No event: Event Grid is silent about Append Block.
    pub fn append(&mut self, container: &str, blob: &str, bytes: impl Into<Bytes>) {
        if self.blob(container, blob).is_none() {
            self.create_append_blob(container, blob);
        }
        self.change(container, blob, |blob| blob.append(bytes.into()));
    }

    /// Another blob takes the place of this one, under the same name and with a creation time of its own.
    pub fn replace(&mut self, container: &str, blob: &str, bytes: impl Into<Bytes>) {
        self.create_append_blob(container, blob);
        self.change(container, blob, |blob| blob.append(bytes.into()));
    }

    /// Cuts the blob to its first `length` bytes, which no client of Azure's can do to an append blob.
    pub fn shrink(&mut self, container: &str, blob: &str, length: u64) {
        self.change(container, blob, |blob| blob.shrink(length));
    }

    pub fn delete_blob(&mut self, container: &str, blob: &str) {
        if let Some(blobs) = self.containers.get_mut(container) {
            blobs.remove(blob);
        }
    }

    /// Dates the blob's creation; its ETag stays.
    pub fn set_creation_time(&mut self, container: &str, blob: &str, at: Timestamp) {
        let found = self.containers.get_mut(container).and_then(|blobs| blobs.get_mut(blob));
        if let Some(found) = found {
            found.created = at;
        }
    }

    /// What the blob holds.
    pub fn read(&self, container: &str, blob: &str) -> Option<Vec<u8>> {
        self.blob(container, blob).map(|blob| blob.body(0, blob.length()).collect_bytes())
    }

    pub fn length(&self, container: &str, blob: &str) -> Option<u64> {
        self.blob(container, blob).map(AppendBlob::length)
    }

    /// The names of the container's blobs, sorted.
    pub fn blobs(&self, container: &str) -> Vec<String> {
        self.container(container).into_iter().flat_map(|blobs| blobs.keys().cloned()).collect()
    }

    pub(crate) fn container(&self, container: &str) -> Option<&BTreeMap<String, AppendBlob>> {
        self.containers.get(container)
    }

    pub(crate) fn blob(&self, container: &str, blob: &str) -> Option<&AppendBlob> {
        self.container(container)?.get(blob)
    }

    /// Changes a blob that is there, with everything that a change brings.
    fn change(&mut self, container: &str, blob: &str, change: impl FnOnce(&mut AppendBlob)) {
        let (etag, clock) = (self.next_etag(), self.clock);
        let found = self.containers.get_mut(container).and_then(|blobs| blobs.get_mut(blob));
        if let Some(found) = found {
            change(found);
            found.etag = etag;
            found.modified = clock;
        }
    }

    /// As Azure writes them, without the quotation marks.
    fn next_etag(&mut self) -> String {
        self.changes += 1;
        format!("0x8D{:013X}", mix(hash(self.name.as_bytes()) ^ self.changes) >> 12)
    }
}
