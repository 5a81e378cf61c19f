//! The four ports on one machine: state, vault and queue in one SQLite file, the lake in a folder.
//!
//! Several processes may use one data folder at the same time: `muster tenants` while `muster serve` runs.

mod database;
mod lake;
mod queue;
mod store;
mod vault;

use std::{path::Path, sync::Arc};

pub use database::{Database, OpenError};
pub use lake::FolderLake;
pub use queue::SqliteQueue;
use shared::{App, clock::Clock, config::Config, http::Client, ports::Ports};
pub use store::SqliteStore;
pub use vault::{SqliteVault, VaultKey};

/// Opens (or makes) the data folder: `muster.db`, `vault.key` and `lake/`.
///
/// # Errors
/// [`OpenError`], in words for the person at the keyboard.
pub fn open(data: &Path, clock: &Clock) -> Result<Ports, OpenError> {
    std::fs::create_dir_all(data).map_err(|cause| OpenError::new(data, &cause))?;
    let database = Database::open(&data.join("muster.db"))?;
    SqliteStore::new(database.clone()).forget_expired(clock.now()).map_err(|cause| OpenError::new(data, &cause))?;
    let key = VaultKey::open(&data.join("vault.key"))?;
    let lake = FolderLake::open(&data.join("lake"))?;
    Ok(ports(&database, key, Arc::new(lake), clock))
}

/// Everything an operation needs, on this data folder and the real network.
///
/// # Errors
/// [`OpenError`], also when the platform's certificates cannot be loaded.
pub fn app(data: &Path, config: Config, clock: Clock) -> Result<App, OpenError> {
    let ports = open(data, &clock)?;
    let http = Client::network(config.trusted_origins()).map_err(|cause| OpenError::new(data, &cause))?;
    Ok(App::new(Arc::new(config), ports, http, clock))
}

/// The ports over a database and a lake of the caller's choosing.
pub fn ports(database: &Database, key: VaultKey, lake: Arc<dyn shared::ports::lake::Lake>, clock: &Clock) -> Ports {
    Ports {
        store: Arc::new(SqliteStore::new(database.clone())),
        vault: Arc::new(SqliteVault::new(database.clone(), key)),
        lake,
        alerts: Arc::new(SqliteQueue::new(database.clone(), "alerts", clock.clone())),
    }
}
