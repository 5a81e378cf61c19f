//! The state store in SQLite.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use shared::ports::{
    Unavailable,
    store::{Expect, Item, Key, Store, StoreError, Write, validate},
};

use crate::Database;

const PORT: &str = "state store";

#[derive(Debug)]
pub struct SqliteStore(Database);

impl SqliteStore {
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// Removes what has outlived its `expires_at` (seconds since the epoch), as DynamoDB's time to live does.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_expired(&self, now: Timestamp) -> Result<(), Unavailable> {
        self.0.write(PORT, |transaction| {
            transaction
                .execute("DELETE FROM state WHERE json_extract(value, '$.expires_at') < ?1", params![now.as_second()])
                .map(|_| ())
                .map_err(|cause| Unavailable::new(PORT, cause))
        })
    }
}

fn failed(cause: rusqlite::Error) -> StoreError {
    Unavailable::new(PORT, cause).into()
}

fn item(version: i64, text: &str) -> Result<Item, StoreError> {
    let value = serde_json::from_str(text).map_err(|cause| Unavailable::new(PORT, cause))?;
    Ok(Item { version: u64::try_from(version).unwrap_or(0), value })
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let row = self.0.read(PORT, |connection| {
            connection
                .prepare_cached("SELECT version, value FROM state WHERE partition = ?1 AND sort = ?2")?
                .query_row(params![key.partition, key.sort], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
                .optional()
        })?;
        row.map(|(version, text)| item(version, &text)).transpose()
    }

    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<(Key, Item)>, StoreError> {
        let rows: Vec<(String, i64, String)> = self.0.read(PORT, |connection| {
            connection
                .prepare_cached(
                    "SELECT sort, version, value FROM state
                     WHERE partition = ?1 AND sort >= ?2 AND substr(sort, 1, length(?2)) = ?2 ORDER BY sort",
                )?
                .query_map(params![partition, prefix], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        rows.into_iter().map(|(sort, version, text)| Ok((Key::new(partition, sort), item(version, &text)?))).collect()
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        validate(&writes)?;
        self.0.write(PORT, |transaction| writes.iter().try_for_each(|write| apply(transaction, write)))
    }
}

fn apply(transaction: &Transaction<'_>, write: &Write) -> Result<(), StoreError> {
    let Key { partition, sort } = write.key();
    let version: Option<i64> = transaction
        .prepare_cached("SELECT version FROM state WHERE partition = ?1 AND sort = ?2")
        .and_then(|mut statement| statement.query_row(params![partition, sort], |row| row.get(0)).optional())
        .map_err(failed)?;
    let found = version.map_or(Expect::Absent, |version| Expect::Version(u64::try_from(version).unwrap_or(0)));
    if found != write.expect() {
        return Err(StoreError::Conflict);
    }
    match write {
        Write::Check { .. } => Ok(()),
        Write::Delete { .. } => transaction
            .execute("DELETE FROM state WHERE partition = ?1 AND sort = ?2", params![partition, sort])
            .map(|_| ())
            .map_err(failed),
        Write::Put { value, expect, .. } => {
            let version = i64::try_from(expect.next_version()).unwrap_or(i64::MAX);
            transaction
                .execute(
                    "INSERT OR REPLACE INTO state (partition, sort, version, value) VALUES (?1, ?2, ?3, ?4)",
                    params![partition, sort, version, value.to_string()],
                )
                .map(|_| ())
                .map_err(failed)
        }
    }
}
