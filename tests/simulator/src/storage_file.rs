//! The JSON a storage account is described by, as in the world file. The README explains every part.

use jiff::Timestamp;
use serde::Deserialize;

use crate::storage::StorageAccount;
use crate::storage_role::StorageRole;
use crate::world::World;
use crate::world_file::Moment;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StorageFile {
    name: String,
    tenant: String,
    #[serde(default)]
    firewall: bool,
    list_page: Option<usize>,
    #[serde(default)]
    containers: Vec<String>,
    #[serde(default)]
    queues: Vec<String>,
    #[serde(default)]
    roles: Vec<RoleFile>,
    #[serde(default)]
    subscriptions: Vec<SubscriptionFile>,
    #[serde(default)]
    blobs: Vec<BlobFile>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleFile {
    client_id: String,
    role: StorageRole,
    from: Option<Moment>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionFile {
    container: String,
    queue: String,
}

/// A block of a blob, which is created with the first one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlobFile {
    container: String,
    name: String,
    text: String,
}

impl StorageFile {
    /// Adds the account, or replaces the one of this name.
    pub(crate) fn add_to(self, world: &mut World) {
        let mut account = StorageAccount::new(&self.name, &self.tenant);
        account.firewall = self.firewall;
        account.list_page = self.list_page.unwrap_or(account.list_page);
        self.containers.iter().for_each(|container| account.create_container(container));
        self.queues.iter().for_each(|queue| account.create_queue(queue));
        for RoleFile { client_id, role, from } in self.roles {
            let from = from.map_or(Timestamp::MIN, |moment| moment.resolve(world.now));
            account.assign(&client_id, role, from);
        }
        for SubscriptionFile { container, queue } in self.subscriptions {
            account = account.with_subscription(&container, &queue);
        }
        world.add_storage(account);
        if let Some(account) = world.storage(&self.name) {
            self.blobs.into_iter().for_each(|blob| blob.append_to(account));
        }
    }
}

impl BlobFile {
    pub(crate) fn append_to(self, account: &mut StorageAccount) {
        account.append(&self.container, &self.name, self.text.into_bytes());
    }
}
