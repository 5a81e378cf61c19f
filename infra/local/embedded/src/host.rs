//! What AWS's own services do between our calls and one machine's host does itself: it hands out messages, and begins and
//! calls off rotations. Operations know nothing of it.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use shared::{
    App,
    ports::{PerFeed, Ports, Unavailable, vault::VaultError},
};

/// A message as one receiver got it. The receipt is good until the visibility timeout has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub message_id: String,
    pub receipt: String,
    pub body: String,
    /// 1 at the first delivery.
    pub receive_count: u32,
}

/// Contract, as SQS has it: a delivered message is hidden for the visibility timeout and comes back unless deleted; after
/// [`shared::ports::queue::MAX_RECEIVES`] deliveries it moves to the dead letters instead. Deleting with a receipt that has
/// expired is no error and deletes nothing that another receiver holds.
#[async_trait]
pub trait Deliveries: Send + Sync + std::fmt::Debug {
    /// At most `max` messages, hidden from others for `visibility`.
    async fn receive(&self, max: usize, visibility: SignedDuration) -> Result<Vec<Delivery>, Unavailable>;

    async fn delete(&self, receipt: &str) -> Result<(), Unavailable>;

    /// Bodies of the dead letters, oldest first.
    async fn dead_letters(&self) -> Result<Vec<String>, Unavailable>;
}

/// Contract, as Secrets Manager has it:
/// - `begin` labels an empty version `AWSPENDING`, and is refused while another version that is not also current carries
///   that label;
/// - `cancel` takes `AWSPENDING` off a version, and is refused where that version does not carry it or is current, because
///   a finished rotation is not to be called off.
#[async_trait]
pub trait Rotations: Send + Sync + std::fmt::Debug {
    async fn begin(&self, name: &str, version: &str) -> Result<(), VaultError>;

    async fn cancel(&self, name: &str, version: &str) -> Result<(), VaultError>;
}

/// One data folder, opened: the ports for the operations, and the host's own hands on the same state.
#[derive(Debug, Clone)]
pub struct Platform {
    pub ports: Ports,
    pub deliveries: PerFeed<Arc<dyn Deliveries>>,
    pub rotations: Arc<dyn Rotations>,
}

/// A running host: the operations on their ports, and the hands of [`Platform`].
#[derive(Debug, Clone)]
pub struct Machine {
    pub app: App,
    pub deliveries: PerFeed<Arc<dyn Deliveries>>,
    pub rotations: Arc<dyn Rotations>,
}
