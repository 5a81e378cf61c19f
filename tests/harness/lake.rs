//! A lake in memory, under the same contract suite as the folder.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use shared::ports::{
    Unavailable,
    lake::{Lake, Put, validate, validate_removal},
};

#[derive(Debug, Default)]
pub struct MemoryLake(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryLake {
    /// Every object, by key.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Lake for MemoryLake {
    async fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<Put, Unavailable> {
        validate(key)?;
        let mut objects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if objects.contains_key(key) {
            return Ok(Put::Exists);
        }
        objects.insert(key.to_owned(), bytes);
        Ok(Put::Created)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    async fn remove(&self, key: &str) -> Result<(), Unavailable> {
        validate_removal(key)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }
}
