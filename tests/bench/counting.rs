//! The embedded ports, counting what goes through them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use shared::{
    ports::{
        Ports, Unavailable,
        lake::{Lake, Put},
        store::{Item, Key, Store, StoreError, Write},
        vault::{Description, Stage, Vault, VaultError, Version},
    },
    secret::Secret,
};

#[derive(Debug, Default)]
pub struct Counts {
    objects: AtomicU64,
    bytes: AtomicU64,
    state_writes: AtomicU64,
    vault_reads: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    pub objects: u64,
    pub bytes: u64,
    /// Transactions, whatever they hold.
    pub state_writes: u64,
    pub vault_reads: u64,
}

impl Counts {
    pub fn reset(&self) {
        for count in [&self.objects, &self.bytes, &self.state_writes, &self.vault_reads] {
            count.store(0, Ordering::SeqCst);
        }
    }

    pub fn taken(&self) -> Taken {
        Taken {
            objects: self.objects.load(Ordering::SeqCst),
            bytes: self.bytes.load(Ordering::SeqCst),
            state_writes: self.state_writes.load(Ordering::SeqCst),
            vault_reads: self.vault_reads.load(Ordering::SeqCst),
        }
    }
}

pub fn over(ports: Ports) -> (Ports, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let counted = Ports {
        store: Arc::new(CountedStore(ports.store, counts.clone())),
        vault: Arc::new(CountedVault(ports.vault, counts.clone())),
        lake: Arc::new(CountedLake(ports.lake, counts.clone())),
        ..ports
    };
    (counted, counts)
}

#[derive(Debug)]
struct CountedLake(Arc<dyn Lake>, Arc<Counts>);

#[async_trait]
impl Lake for CountedLake {
    async fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<Put, Unavailable> {
        self.1.objects.fetch_add(1, Ordering::SeqCst);
        self.1.bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        self.0.put_new(key, bytes).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.0.get(key).await
    }

    async fn remove(&self, key: &str) -> Result<(), Unavailable> {
        self.0.remove(key).await
    }
}

#[derive(Debug)]
struct CountedStore(Arc<dyn Store>, Arc<Counts>);

#[async_trait]
impl Store for CountedStore {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.0.get(key).await
    }

    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<(Key, Item)>, StoreError> {
        self.0.query(partition, prefix).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.1.state_writes.fetch_add(1, Ordering::SeqCst);
        self.0.commit(writes).await
    }
}

#[derive(Debug)]
struct CountedVault(Arc<dyn Vault>, Arc<Counts>);

#[async_trait]
impl Vault for CountedVault {
    async fn read(&self, name: &str, stage: Stage, version: Option<&str>) -> Result<Version, VaultError> {
        self.1.vault_reads.fetch_add(1, Ordering::SeqCst);
        self.0.read(name, stage, version).await
    }

    async fn put(
        &self,
        name: &str,
        version: &str,
        value: &Secret<String>,
        stages: &[Stage],
        rotation_token: Option<&str>,
    ) -> Result<(), VaultError> {
        self.0.put(name, version, value, stages, rotation_token).await
    }

    async fn promote(&self, name: &str, to: &str, from: &str) -> Result<(), VaultError> {
        self.0.promote(name, to, from).await
    }

    async fn describe(&self, name: &str) -> Result<Description, VaultError> {
        self.0.describe(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, VaultError> {
        self.0.list(prefix).await
    }

    async fn remove(&self, name: &str) -> Result<Option<Timestamp>, VaultError> {
        self.0.remove(name).await
    }

    async fn restore(&self, name: &str) -> Result<bool, VaultError> {
        self.0.restore(name).await
    }
}
