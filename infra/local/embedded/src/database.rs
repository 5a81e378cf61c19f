//! The SQLite file: write-ahead log, full synchronisation, one connection per process behind a lock.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use shared::ports::Unavailable;

/// The layout that this program knows: the last of those below. A file of a newer make is refused, not guessed at.
const LAYOUT: usize = LAYOUTS.len();

/// What makes each layout out of the one before it.
const LAYOUTS: [&str; 4] = [TABLES, AGES_AND_IDENTITY, REMOVALS, SPENT];

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS state (
        partition TEXT NOT NULL, sort TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (partition, sort)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS secret_version (
        name TEXT NOT NULL, version TEXT NOT NULL, sealed BLOB,
        PRIMARY KEY (name, version)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS secret_label (
        name TEXT NOT NULL, label TEXT NOT NULL, version TEXT NOT NULL,
        PRIMARY KEY (name, label)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS message (
        id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body TEXT NOT NULL,
        visible_at INTEGER NOT NULL, receive_count INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX IF NOT EXISTS message_by_visibility ON message (queue, visible_at);
    CREATE TABLE IF NOT EXISTS dead_letter (
        id INTEGER PRIMARY KEY, queue TEXT NOT NULL, body TEXT NOT NULL);
";

/// When a version of a secret was made (one made before this layout counts as made now), in microseconds; and what tells
/// this vault from every other one.
const AGES_AND_IDENTITY: &str = "
    ALTER TABLE secret_version ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
    UPDATE secret_version SET created_at = unixepoch() * 1000000;
    CREATE TABLE installation (id TEXT NOT NULL);
    INSERT INTO installation (id) VALUES (lower(hex(randomblob(16))));
";

/// Secrets that are removed, and until when they can be restored, in microseconds.
const REMOVALS: &str = "
    CREATE TABLE secret_removal (name TEXT PRIMARY KEY NOT NULL, restorable_until INTEGER NOT NULL) WITHOUT ROWID;
";

/// Versions of secrets that are forgotten, and whose ids are not used again.
const SPENT: &str = "
    CREATE TABLE secret_spent (
        name TEXT NOT NULL, version TEXT NOT NULL,
        PRIMARY KEY (name, version)) WITHOUT ROWID;
";

/// The data folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct OpenError {
    path: String,
    cause: String,
}

impl OpenError {
    pub(crate) fn new(path: &Path, cause: &dyn std::fmt::Display) -> Self {
        Self { path: path.display().to_string(), cause: cause.to_string() }
    }
}

/// A handle on the database; clones share the connection.
///
/// Calls are made on the caller's thread. They take well under a millisecond, and a single machine has no use for a
/// pool; what waits for the disk waits once per commit.
#[derive(Debug, Clone)]
pub struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// # Errors
    /// [`OpenError`] when the file cannot be opened, is no database, or is of a newer make.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Connection::open(path)
            .map_err(|cause| cause.to_string())
            .and_then(Self::prepare)
            .map_err(|cause| OpenError::new(path, &cause))
    }

    /// A database that is gone with the process, for tests and the fault run.
    ///
    /// # Errors
    /// [`OpenError`] when SQLite fails.
    pub fn in_memory() -> Result<Self, OpenError> {
        Connection::open_in_memory()
            .map_err(|cause| cause.to_string())
            .and_then(Self::prepare)
            .map_err(|cause| OpenError::new(Path::new(":memory:"), &cause))
    }

    fn prepare(mut connection: Connection) -> Result<Self, String> {
        let mut set_up = || -> rusqlite::Result<usize> {
            connection.busy_timeout(Duration::from_secs(30))?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
            // No layout has a number below nought; a file that says so is of nobody's make.
            let found = usize::try_from(found).unwrap_or(usize::MAX);
            if found < LAYOUT {
                LAYOUTS[found..].iter().try_for_each(|layout| transaction.execute_batch(layout))?;
                transaction.pragma_update(None, "user_version", LAYOUT as i64)?;
            }
            transaction.commit()?;
            Ok(found.max(LAYOUT))
        };
        match set_up() {
            Ok(LAYOUT) => Ok(Self(Arc::new(Mutex::new(connection)))),
            Ok(found) => Err(format!(
                "this database has layout {found} and this program knows layout {LAYOUT}; use the program that made it, \
                 or a newer one"
            )),
            Err(cause) => Err(cause.to_string()),
        }
    }

    /// Runs `work` in one transaction that no other writer shares; it is committed unless `work` fails.
    pub(crate) fn write<T, E>(
        &self,
        port: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<Unavailable>,
    {
        let failed = |cause: rusqlite::Error| E::from(Unavailable::new(port, cause));
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let result = work(&transaction)?;
        transaction.commit().map_err(failed)?;
        Ok(result)
    }

    pub(crate) fn read<T>(
        &self,
        port: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Unavailable> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|cause| Unavailable::new(port, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_an_older_make_is_brought_up_to_date_and_keeps_what_it_holds() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection
            .execute_batch("INSERT INTO secret_version (name, version, sealed) VALUES ('app', 'v1', x'00')")
            .unwrap();
        let database = Database::prepare(connection).unwrap();
        let (sealed, created_at): (Vec<u8>, i64) = database
            .read("vault", |connection| {
                connection.query_row("SELECT sealed, created_at FROM secret_version", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
            })
            .unwrap();
        assert_eq!(sealed, [0]);
        let age = jiff::Timestamp::now().as_microsecond() - created_at;
        assert!((0..60_000_000).contains(&age), "{age}");
        let layout: i64 = database
            .read("vault", |connection| connection.pragma_query_value(None, "user_version", |row| row.get(0)))
            .unwrap();
        assert_eq!(layout, 4);
    }

    #[test]
    fn a_database_of_a_newer_make_is_refused_by_name() {
        let folder = std::env::temp_dir().join(format!("muster-database-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("muster.db");
        drop(Database::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        let error = Database::open(&path).unwrap_err().to_string();
        assert!(error.contains("muster.db") && error.contains("layout 7"), "{error}");
        std::fs::write(&path, "this is no database, whatever its name says it is").unwrap();
        assert!(Database::open(&path).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
