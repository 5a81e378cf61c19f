//! A lake whose worker dies right after an object has been put: the worst moment there is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use shared::ports::{
    Unavailable,
    lake::{Lake, Put},
};
use tokio::sync::Notify;

#[derive(Debug)]
pub struct DyingLake {
    lake: Arc<dyn Lake>,
    armed: AtomicBool,
    died: Notify,
}

impl DyingLake {
    pub fn over(lake: Arc<dyn Lake>) -> Arc<Self> {
        Arc::new(Self { lake, armed: AtomicBool::new(false), died: Notify::new() })
    }

    /// The next worker that puts an object dies of it.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Returns when a worker has died; whoever runs it must drop it.
    pub async fn death(&self) {
        self.died.notified().await;
    }
}

#[async_trait]
impl Lake for DyingLake {
    async fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<Put, Unavailable> {
        let put = self.lake.put_new(key, bytes).await?;
        if self.armed.swap(false, Ordering::SeqCst) {
            self.died.notify_one();
            // Never comes back: nothing after the put is run.
            std::future::pending::<()>().await;
        }
        Ok(put)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.lake.get(key).await
    }

    async fn remove(&self, key: &str) -> Result<(), Unavailable> {
        self.lake.remove(key).await
    }
}
