//! The ports on one machine: state, vault and queue in one SQLite file, the lake in a folder, our identity in a file that
//! somebody else keeps fresh.
//!
//! Several processes may use one data folder at the same time: `muster tenants` while `muster serve` runs.

mod database;
mod host;
mod identity;
mod lake;
mod queue;
mod store;
mod vault;

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

pub use database::{Database, OpenError};
pub use host::{Deliveries, Delivery, Machine, Platform, Rotations};
pub use identity::TokenFile;
use jiff::Timestamp;
pub use lake::FolderLake;
pub use queue::SqliteQueue;
use shared::{
    App,
    clock::Clock,
    config::Config,
    http::Client,
    ports::{PerFeed, Ports, lake::Lake},
};
pub use store::SqliteStore;
pub use vault::{SqliteVault, VaultKey};

/// Opens (or makes) the data folder: `muster.db`, `vault.key` and `lake/`. What is opened has no identity.
///
/// # Errors
/// [`OpenError`], in words for the person at the keyboard.
pub fn open(data: &Path, clock: &Clock) -> Result<Platform, OpenError> {
    // What lies here is the customers' business and nobody else's on this machine.
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|cause| OpenError::new(data, &cause))?;
    let (file, key_file) = (data.join("muster.db"), data.join("vault.key"));
    let database = Database::open(&file)?;
    let holds_secrets = vault::holds_any(&database).map_err(|cause| OpenError::new(&file, &cause))?;
    if holds_secrets && !key_file.exists() {
        // A new one would open nothing, and hide that the old one is gone.
        let cause =
            "it is not there, and nothing else opens what the vault in muster.db holds; restore it from your backup";
        return Err(OpenError::new(&key_file, &cause));
    }
    let key = VaultKey::open(&key_file)?;
    let lake = FolderLake::open(&data.join("lake"))?;
    Ok(platform(&database, key, Arc::new(lake), clock))
}

/// Whether this is a data folder already.
pub fn exists(data: &Path) -> bool {
    data.join("muster.db").exists()
}

/// Removes state that has outlived its time to live, and secrets that can no longer be restored. Reads every item once;
/// the server does it daily.
///
/// # Errors
/// [`OpenError`] when the database fails.
pub fn forget_expired(data: &Path, now: Timestamp) -> Result<(), OpenError> {
    let path = data.join("muster.db");
    let database = Database::open(&path)?;
    let forgotten = SqliteStore::new(database.clone()).forget_expired(now);
    forgotten.and_then(|()| vault::forget_removed(&database, now)).map_err(|cause| OpenError::new(&path, &cause))
}

/// A host on this data folder and the real network, with the identity that the environment names.
///
/// # Errors
/// [`OpenError`], also when the platform's certificates cannot be loaded.
pub fn machine(data: &Path, config: Config, clock: Clock) -> Result<Machine, OpenError> {
    let Platform { mut ports, deliveries, rotations } = open(data, &clock)?;
    ports.identity = Arc::new(TokenFile::from_environment());
    let http = Client::network(config.trusted_origins()).map_err(|cause| OpenError::new(data, &cause))?;
    Ok(Machine { app: App::new(Arc::new(config), ports, http, clock), deliveries, rotations })
}

/// The platform over a database and a lake of the caller's choosing. It has no identity.
pub fn platform(database: &Database, key: VaultKey, lake: Arc<dyn Lake>, clock: &Clock) -> Platform {
    let vault = Arc::new(SqliteVault::new(database.clone(), key, clock.clone()));
    let queue = |name: &'static str| Arc::new(SqliteQueue::new(database.clone(), name, clock.clone()));
    let (alerts, machines, telemetry) = (queue("alerts"), queue("machines"), queue("telemetry"));
    let store = Arc::new(SqliteStore::new(database.clone()));
    Platform {
        ports: Ports {
            store,
            vault: vault.clone(),
            lake,
            queues: PerFeed { alerts: alerts.clone(), machines: machines.clone(), telemetry: telemetry.clone() },
            identity: Arc::new(TokenFile::none()),
        },
        deliveries: PerFeed { alerts, machines, telemetry },
        rotations: vault,
    }
}
