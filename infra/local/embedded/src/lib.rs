//! The four ports on one machine: state, vault and queue in one SQLite file, the lake in a folder.
//!
//! Several processes may use one data folder at the same time: `muster tenants` while `muster serve` runs.

mod database;
mod lake;
mod queue;
mod store;
mod vault;

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path, sync::Arc};

pub use database::{Database, OpenError};
use jiff::Timestamp;
pub use lake::FolderLake;
pub use queue::SqliteQueue;
use shared::{
    App,
    clock::Clock,
    config::{Config, Mistakes},
    http::Client,
    ports::Ports,
};
pub use store::SqliteStore;
pub use vault::{SqliteVault, VaultKey};

/// Opens (or makes) the data folder: `muster.db`, `vault.key` and `lake/`.
///
/// # Errors
/// [`OpenError`], in words for the person at the keyboard.
pub fn open(data: &Path, clock: &Clock) -> Result<Ports, OpenError> {
    // What lies here is the customers' business and nobody else's on this machine.
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|cause| OpenError::new(data, &cause))?;
    let database = Database::open(&data.join("muster.db"))?;
    let key = VaultKey::open(&data.join("vault.key"))?;
    let lake = FolderLake::open(&data.join("lake"))?;
    Ok(ports(&database, key, Arc::new(lake), clock))
}

/// Whether this is a data folder already.
pub fn exists(data: &Path) -> bool {
    data.join("muster.db").exists()
}

/// Removes state that has outlived its time to live. Reads every item once; the server does it daily.
///
/// # Errors
/// [`OpenError`] when the database fails.
pub fn forget_expired(data: &Path, now: Timestamp) -> Result<(), OpenError> {
    let path = data.join("muster.db");
    SqliteStore::new(Database::open(&path)?).forget_expired(now).map_err(|cause| OpenError::new(&path, &cause))
}

/// As [`app`], from the environment alone: `MUSTER_DATA` names the data folder.
///
/// # Errors
/// Every mistake, one a line.
pub fn app_from_environment() -> Result<App, String> {
    let data = std::env::var_os("MUSTER_DATA").filter(|value| !value.is_empty());
    let (config, data) = match (Config::from_environment(), data) {
        (Ok(config), Some(data)) => (config, data),
        (config, data) => {
            let mut mistakes = config.err().map_or(Vec::new(), |mistakes| mistakes.0);
            if data.is_none() {
                mistakes.push("MUSTER_DATA is not set; it names the data folder".to_owned());
            }
            return Err(Mistakes(mistakes).to_string());
        }
    };
    app(Path::new(&data), config, Clock::System).map_err(|error| error.to_string())
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
        vault: Arc::new(SqliteVault::new(database.clone(), key, clock.clone())),
        lake,
        alerts: Arc::new(SqliteQueue::new(database.clone(), "alerts", clock.clone())),
    }
}
