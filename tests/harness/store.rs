//! A store that remembers, as text, everything that was ever written to it.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use shared::ports::store::{Item, Key, Store, StoreError, Write};

#[derive(Debug)]
pub struct RecordingStore {
    store: Arc<dyn Store>,
    written: Mutex<Vec<String>>,
}

impl RecordingStore {
    pub fn over(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, written: Mutex::default() })
    }

    pub fn written(&self) -> String {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

#[async_trait]
impl Store for RecordingStore {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.store.get(key).await
    }

    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<(Key, Item)>, StoreError> {
        self.store.query(partition, prefix).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let texts = writes.iter().map(|write| format!("{write:?}"));
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend(texts);
        self.store.commit(writes).await
    }
}
