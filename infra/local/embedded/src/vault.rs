//! The vault in SQLite: AWS Secrets Manager's labels at their strictest, values sealed with AES-256-GCM.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use async_trait::async_trait;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    constant_time::verify_slices_are_equal,
    rand,
};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};
use shared::{
    clock::Clock,
    ports::{
        Unavailable,
        vault::{Description, RECOVERY, Schedule, Stage, Stages, Vault, VaultError, Version},
    },
    secret::Secret,
};

use crate::{Database, OpenError, Rotations};

const PORT: &str = "vault";
const KEY_BYTES: usize = 32;

/// The key that seals the values. It lies in a file of its own, which nobody else may read.
#[derive(Debug)]
pub struct VaultKey(RandomizedNonceKey);

impl VaultKey {
    /// Reads the key file, or makes it with mode 0600.
    ///
    /// # Errors
    /// [`OpenError`] when the file cannot be made, is damaged, or others may read it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let error = |cause: &dyn std::fmt::Display| OpenError::new(path, cause);
        let mut fresh = [0; KEY_BYTES];
        rand::fill(&mut fresh).map_err(|cause| error(&cause))?;
        // Under a name of its own first, so that no other process ever reads half a key.
        let draft = path.with_extension(format!("key-{}", std::process::id()));
        if !path.exists() {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)
                .map_err(|cause| error(&cause))?;
            file.write_all(&fresh).and_then(|()| file.sync_all()).map_err(|cause| error(&cause))?;
            let linked = fs::hard_link(&draft, path);
            fs::remove_file(&draft).map_err(|cause| error(&cause))?;
            // The key must outlive a power cut before anything is sealed with it.
            if let Some(folder) = path.parent() {
                fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|cause| error(&cause))?;
            }
            match linked {
                Err(cause) if cause.kind() != ErrorKind::AlreadyExists => return Err(error(&cause)),
                _ => {}
            }
        }
        let mode = fs::metadata(path).map_err(|cause| error(&cause))?.mode();
        if mode & 0o077 != 0 {
            return Err(error(&"others can read this key; run chmod 600 on it"));
        }
        let bytes = Secret::new(fs::read(path).map_err(|cause| error(&cause))?);
        Self::from_bytes(bytes.expose())
            .ok_or_else(|| error(&"this is no vault key; restore the file from your backup"))
    }

    /// A key that is gone with the process.
    ///
    /// # Errors
    /// [`OpenError`] when the machine has no randomness.
    pub fn ephemeral() -> Result<Self, OpenError> {
        let mut fresh = [0; KEY_BYTES];
        rand::fill(&mut fresh)
            .ok()
            .and_then(|()| Self::from_bytes(&fresh))
            .ok_or_else(|| OpenError::new(Path::new("vault key"), &"the machine has no randomness"))
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == KEY_BYTES).then(|| RandomizedNonceKey::new(&AES_256_GCM, bytes).ok()).flatten().map(Self)
    }

    /// Nonce, then the sealed text. Name and version are authenticated with it, so no value passes for another's.
    fn seal(&self, name: &str, version: &str, value: &Secret<String>) -> Result<Vec<u8>, VaultError> {
        let mut sealed = value.expose().clone().into_bytes();
        let nonce = self
            .0
            .seal_in_place_append_tag(aad(name, version), &mut sealed)
            .map_err(|_| Unavailable::new(PORT, "a value cannot be sealed"))?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn open_sealed(&self, name: &str, version: &str, sealed: &[u8]) -> Result<Secret<String>, VaultError> {
        let unreadable = || Unavailable::new(PORT, format!("the secret {name} cannot be opened with this vault.key"));
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN).ok_or_else(unreadable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unreadable())?;
        let mut rest = rest.to_vec();
        let length = self.0.open_in_place(nonce, aad(name, version), &mut rest).map_err(|_| unreadable())?.len();
        rest.truncate(length);
        String::from_utf8(rest).map(Secret::new).map_err(|_| unreadable().into())
    }
}

fn aad(name: &str, version: &str) -> Aad<Vec<u8>> {
    Aad::from([name.as_bytes(), &[0], version.as_bytes()].concat())
}

#[derive(Debug)]
pub struct SqliteVault {
    database: Database,
    key: VaultKey,
    clock: Clock,
}

impl SqliteVault {
    pub fn new(database: Database, key: VaultKey, clock: Clock) -> Self {
        Self { database, key, clock }
    }
}

fn failed(cause: rusqlite::Error) -> VaultError {
    Unavailable::new(PORT, cause).into()
}

fn stage(label: &str) -> Option<Stage> {
    [Stage::Current, Stage::Pending, Stage::Previous].into_iter().find(|stage| stage.label() == label)
}

/// Forgets for good what was removed and can no longer be restored.
pub fn forget_removed(database: &Database, now: Timestamp) -> Result<(), Unavailable> {
    database.write(PORT, |transaction| {
        let names: Vec<String> = transaction
            .prepare("SELECT name FROM secret_removal WHERE restorable_until <= ?1")
            .and_then(|mut statement| {
                statement.query_map(params![now.as_microsecond()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
            })
            .map_err(|cause| Unavailable::new(PORT, cause))?;
        names.iter().try_for_each(|name| forget(transaction, name).map_err(|cause| Unavailable::new(PORT, cause)))
    })
}

/// Whether there is anything that only this vault's key opens.
///
/// # Errors
/// [`Unavailable`]
pub fn holds_any(database: &Database) -> Result<bool, Unavailable> {
    database.read(PORT, |connection| {
        connection.query_row("SELECT EXISTS (SELECT 1 FROM secret_version)", [], |row| row.get(0))
    })
}

fn forget(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<()> {
    ["secret_label", "secret_version", "secret_spent", "secret_removal"].into_iter().try_for_each(|table| {
        transaction.execute(&format!("DELETE FROM {table} WHERE name = ?1"), params![name]).map(|_| ())
    })
}

/// Until when a removed secret can be restored. One whose time is over is forgotten on this occasion.
fn removal(transaction: &Transaction<'_>, name: &str, now: Timestamp) -> Result<Option<Timestamp>, VaultError> {
    let until: Option<i64> = transaction
        .query_row("SELECT restorable_until FROM secret_removal WHERE name = ?1", params![name], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    let Some(until) = until else { return Ok(None) };
    let until = Timestamp::from_microsecond(until).map_err(|cause| Unavailable::new(PORT, cause))?;
    if until <= now {
        forget(transaction, name).map_err(failed)?;
        return Ok(None);
    }
    Ok(Some(until))
}

/// Nothing is changed in a secret that is removed.
fn check_there(transaction: &Transaction<'_>, name: &str, now: Timestamp) -> Result<(), VaultError> {
    match removal(transaction, name, now)? {
        None => Ok(()),
        Some(until) => Err(VaultError::InvalidRequest(format!("{name} is removed, and can be restored until {until}"))),
    }
}

/// Which version carries a label.
fn holder(transaction: &Transaction<'_>, name: &str, stage: Stage) -> Result<Option<String>, VaultError> {
    transaction
        .query_row(
            "SELECT version FROM secret_label WHERE name = ?1 AND label = ?2",
            params![name, stage.label()],
            |row| row.get(0),
        )
        .optional()
        .map_err(failed)
}

fn exists(transaction: &Transaction<'_>, name: &str) -> Result<bool, VaultError> {
    transaction
        .query_row("SELECT 1 FROM secret_version WHERE name = ?1 LIMIT 1", params![name], |_| Ok(()))
        .optional()
        .map(|row| row.is_some())
        .map_err(failed)
}

fn set_label(transaction: &Transaction<'_>, name: &str, stage: Stage, version: &str) -> Result<(), VaultError> {
    transaction
        .execute(
            "INSERT OR REPLACE INTO secret_label (name, label, version) VALUES (?1, ?2, ?3)",
            params![name, stage.label(), version],
        )
        .map(|_| ())
        .map_err(failed)
}

/// Versions left without labels are forgotten, but for their ids: those are never used again.
fn forget_unlabelled(transaction: &Transaction<'_>, name: &str) -> Result<(), VaultError> {
    let unlabelled = "FROM secret_version WHERE name = ?1 AND version NOT IN (
                          SELECT version FROM secret_label WHERE name = ?1)";
    let remembering = format!("INSERT OR IGNORE INTO secret_spent (name, version) SELECT name, version {unlabelled}");
    [remembering, format!("DELETE {unlabelled}")]
        .iter()
        .try_for_each(|statement| transaction.execute(statement, params![name]).map(|_| ()).map_err(failed))
}

/// Whether the version was forgotten.
fn is_spent(transaction: &Transaction<'_>, name: &str, version: &str) -> Result<bool, VaultError> {
    transaction
        .query_row("SELECT 1 FROM secret_spent WHERE name = ?1 AND version = ?2", params![name, version], |_| Ok(()))
        .optional()
        .map(|row| row.is_some())
        .map_err(failed)
}

fn remove_label(transaction: &Transaction<'_>, name: &str, stage: Stage) -> Result<(), VaultError> {
    transaction
        .execute("DELETE FROM secret_label WHERE name = ?1 AND label = ?2", params![name, stage.label()])
        .map(|_| ())
        .map_err(failed)
}

/// Moves a label; the version that loses `AWSCURRENT` gets `AWSPREVIOUS`.
fn move_label(transaction: &Transaction<'_>, name: &str, stage: Stage, version: &str) -> Result<(), VaultError> {
    if stage == Stage::Current
        && let Some(old) = holder(transaction, name, Stage::Current)?
        && old != version
    {
        set_label(transaction, name, Stage::Previous, &old)?;
        // The pending label of the rotation that made it is over with it.
        if holder(transaction, name, Stage::Pending)?.as_deref() == Some(&old) {
            remove_label(transaction, name, Stage::Pending)?;
        }
    }
    set_label(transaction, name, stage, version)?;
    forget_unlabelled(transaction, name)
}

#[async_trait]
impl Vault for SqliteVault {
    async fn read(&self, name: &str, stage: Stage, version: Option<&str>) -> Result<Version, VaultError> {
        let row: Option<(String, Option<Vec<u8>>)> = self.database.read(PORT, |connection| {
            connection
                .query_row(
                    "SELECT version, sealed FROM secret_label JOIN secret_version USING (name, version)
                     WHERE name = ?1 AND label = ?2 AND name NOT IN (SELECT name FROM secret_removal)",
                    params![name, stage.label()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
        })?;
        match row {
            Some((id, Some(sealed))) if version.is_none_or(|wanted| wanted == id) => {
                let value = self.key.open_sealed(name, &id, &sealed)?;
                Ok(Version { id, value })
            }
            _ => Err(VaultError::NotFound(format!("{name} {}", stage.label()))),
        }
    }

    /// On one machine the caller is the owner of everything, and nobody asks for a rotation token.
    async fn put(
        &self,
        name: &str,
        version: &str,
        value: &Secret<String>,
        stages: &[Stage],
        _: Option<&str>,
    ) -> Result<(), VaultError> {
        let sealed = self.key.seal(name, version, value)?;
        self.database.write(PORT, |transaction| {
            check_there(transaction, name, self.clock.now())?;
            if is_spent(transaction, name, version)? {
                return Err(VaultError::VersionExists(version.to_owned()));
            }
            let stored: Option<Option<Vec<u8>>> = transaction
                .query_row(
                    "SELECT sealed FROM secret_version WHERE name = ?1 AND version = ?2",
                    params![name, version],
                    |row| row.get(0),
                )
                .optional()
                .map_err(failed)?;
            if let Some(Some(stored)) = stored {
                let known = self.key.open_sealed(name, version, &stored)?;
                return verify_slices_are_equal(known.expose().as_bytes(), value.expose().as_bytes())
                    .map_err(|_| VaultError::VersionExists(version.to_owned()));
            }
            if !exists(transaction, name)? && !stages.contains(&Stage::Current) {
                return Err(VaultError::InvalidRequest("the first version of a secret is its current one".to_owned()));
            }
            if stages.is_empty() {
                return Err(VaultError::InvalidRequest("a version without a label is forgotten at once".to_owned()));
            }
            transaction
                .execute(
                    "INSERT INTO secret_version (name, version, sealed, created_at) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (name, version) DO UPDATE SET sealed = excluded.sealed",
                    params![name, version, sealed, self.clock.now().as_microsecond()],
                )
                .map_err(failed)?;
            stages.iter().try_for_each(|stage| move_label(transaction, name, *stage, version))
        })
    }

    async fn promote(&self, name: &str, to: &str, from: &str) -> Result<(), VaultError> {
        self.database.write(PORT, |transaction| {
            check_there(transaction, name, self.clock.now())?;
            let current =
                holder(transaction, name, Stage::Current)?.ok_or_else(|| VaultError::NotFound(name.to_owned()))?;
            if current != from {
                return Err(VaultError::InvalidRequest(format!("AWSCURRENT of {name} is not on version {from}")));
            }
            let ready: Option<bool> = transaction
                .query_row(
                    "SELECT sealed IS NOT NULL FROM secret_version WHERE name = ?1 AND version = ?2",
                    params![name, to],
                    |row| row.get(0),
                )
                .optional()
                .map_err(failed)?;
            if ready != Some(true) {
                return Err(VaultError::NotFound(format!("{name} version {to}")));
            }
            move_label(transaction, name, Stage::Current, to)
        })
    }

    async fn describe(&self, name: &str) -> Result<Description, VaultError> {
        let (installation, rows): (String, Vec<(String, String, i64)>) = self.database.read(PORT, |connection| {
            let rows = connection
                .prepare(
                    "SELECT version, label, created_at FROM secret_label JOIN secret_version USING (name, version)
                     WHERE name = ?1 AND name NOT IN (SELECT name FROM secret_removal) ORDER BY label",
                )?
                .query_map(params![name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<rusqlite::Result<_>>()?;
            Ok((connection.query_row("SELECT id FROM installation", [], |row| row.get(0))?, rows))
        })?;
        if rows.is_empty() {
            return Err(VaultError::NotFound(name.to_owned()));
        }
        let mut description = Description {
            identity: format!("{installation}/{name}"),
            stages: Stages::new(),
            created: Default::default(),
            schedule: Schedule::Nobody,
        };
        for (version, label, created_at) in rows {
            let created_at = Timestamp::from_microsecond(created_at).map_err(|cause| Unavailable::new(PORT, cause))?;
            description.created.insert(version.clone(), created_at);
            description.stages.entry(version).or_default().extend(stage(&label));
        }
        Ok(description)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, VaultError> {
        Ok(self.database.read(PORT, |connection| {
            connection
                .prepare(
                    "SELECT DISTINCT name FROM secret_label WHERE substr(name, 1, length(?1)) = ?1
                     AND name NOT IN (SELECT name FROM secret_removal) ORDER BY name",
                )?
                .query_map(params![prefix], |row| row.get(0))?
                .collect()
        })?)
    }

    async fn remove(&self, name: &str) -> Result<Option<Timestamp>, VaultError> {
        let now = self.clock.now();
        self.database.write(PORT, |transaction| {
            if let Some(until) = removal(transaction, name, now)? {
                return Ok(Some(until));
            }
            if !exists(transaction, name)? {
                return Ok(None);
            }
            let until = now + RECOVERY;
            transaction
                .execute(
                    "INSERT INTO secret_removal (name, restorable_until) VALUES (?1, ?2)",
                    params![name, until.as_microsecond()],
                )
                .map_err(failed)?;
            // As it will be read back.
            Timestamp::from_microsecond(until.as_microsecond())
                .map(Some)
                .map_err(|cause| Unavailable::new(PORT, cause).into())
        })
    }

    async fn restore(&self, name: &str) -> Result<bool, VaultError> {
        self.database.write(PORT, |transaction| {
            // What can no longer be restored is not there any more.
            removal(transaction, name, self.clock.now())?;
            let restored = transaction.execute("DELETE FROM secret_removal WHERE name = ?1", params![name]);
            restored.map(|rows| rows > 0).map_err(failed)
        })
    }
}

#[async_trait]
impl Rotations for SqliteVault {
    async fn begin(&self, name: &str, version: &str) -> Result<(), VaultError> {
        self.database.write(PORT, |transaction| {
            check_there(transaction, name, self.clock.now())?;
            let current =
                holder(transaction, name, Stage::Current)?.ok_or_else(|| VaultError::NotFound(name.to_owned()))?;
            match holder(transaction, name, Stage::Pending)? {
                Some(pending) if pending == version => return Ok(()),
                Some(pending) if pending != current => {
                    return Err(VaultError::InvalidRequest(format!(
                        "a rotation of {name} is in progress under version {pending}"
                    )));
                }
                _ if is_spent(transaction, name, version)? => {
                    return Err(VaultError::InvalidRequest(format!("version {version} of {name} was used before")));
                }
                _ => {}
            }
            transaction
                .execute(
                    "INSERT OR IGNORE INTO secret_version (name, version, sealed, created_at) VALUES (?1, ?2, NULL, ?3)",
                    params![name, version, self.clock.now().as_microsecond()],
                )
                .map_err(failed)?;
            move_label(transaction, name, Stage::Pending, version)
        })
    }

    async fn cancel(&self, name: &str, version: &str) -> Result<(), VaultError> {
        self.database.write(PORT, |transaction| {
            check_there(transaction, name, self.clock.now())?;
            let is_current = holder(transaction, name, Stage::Current)?.as_deref() == Some(version);
            if is_current || holder(transaction, name, Stage::Pending)?.as_deref() != Some(version) {
                return Err(VaultError::InvalidRequest(format!(
                    "no rotation of {name} is open under version {version}"
                )));
            }
            remove_label(transaction, name, Stage::Pending)?;
            forget_unlabelled(transaction, name)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn what_is_removed_is_forgotten_for_good_when_its_time_is_over() {
        let (database, clock) = (Database::in_memory().unwrap(), Clock::manual(Timestamp::UNIX_EPOCH));
        let vault = SqliteVault::new(database.clone(), VaultKey::ephemeral().unwrap(), clock.clone());
        let put = |name: &str, value: &str| {
            block_on(vault.put(name, "v1", &Secret::new(value.to_owned()), &[Stage::Current], None)).unwrap();
        };
        let rows = || -> i64 {
            database
                .read(PORT, |connection| {
                    connection.query_row("SELECT count(*) FROM secret_version", [], |row| row.get(0))
                })
                .unwrap()
        };
        for name in ["a", "b"] {
            put(name, "old");
            assert_eq!(block_on(vault.remove(name)).unwrap(), Some(clock.now() + RECOVERY));
        }
        clock.advance(RECOVERY - SignedDuration::from_secs(1));
        forget_removed(&database, clock.now()).unwrap();
        assert!(block_on(vault.restore("a")).unwrap() && rows() == 2);
        block_on(vault.remove("a")).unwrap();
        clock.advance(SignedDuration::from_secs(1));
        assert!(!block_on(vault.restore("b")).unwrap(), "a moment too late, whether it is cleared away or not");
        assert_eq!((rows(), block_on(vault.remove("b")).unwrap()), (1, None));
        put("b", "another");
        clock.advance(RECOVERY);
        forget_removed(&database, clock.now()).unwrap();
        assert_eq!((rows(), block_on(vault.list("")).unwrap()), (1, vec!["b".to_owned()]));
    }
}
