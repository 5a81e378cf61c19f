//! The vault's contract: AWS Secrets Manager's rules at their strictest.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    sync::Arc,
};

use embedded::{Database, SqliteVault, VaultKey};
use futures::executor::block_on;
use shared::{
    clock::Clock,
    ports::vault::{
        RECOVERY, Schedule,
        Stage::{self, Current, Pending, Previous},
        Stages, Vault, VaultError, Version,
    },
    secret::Secret,
};

use crate::{Open, aws, race};

suite! {
    sqlite_in_memory => in_memory(),
    sqlite_in_a_file => in_a_file(),
    secrets_manager => secrets_manager();
    [
        an_unknown_secret_is_not_found,
        a_value_reads_back_by_its_label,
        the_first_version_is_the_current_one,
        putting_the_same_again_does_nothing,
        a_version_keeps_its_value,
        a_version_id_belongs_to_one_secret,
        a_label_moves_to_the_version_that_is_put_under_it,
        the_version_before_becomes_the_previous_one,
        a_version_without_labels_is_forgotten,
        a_forgotten_version_is_never_used_again,
        a_read_of_another_version_than_the_labelled_one_finds_nothing,
        promoting_moves_current_and_leaves_previous_behind,
        what_is_stored_after_a_finished_rotation_leaves_no_rotation_open,
        promoting_twice_fails,
        promoting_from_a_version_that_is_not_current_fails,
        an_unknown_version_is_not_promoted,
        every_labelled_version_has_an_age,
        every_secret_has_an_identity_of_its_own,
        a_secret_that_nobody_schedules_says_so,
        a_put_of_a_rotation_may_carry_the_platforms_token,
        a_promotion_can_be_taken_back,
        the_list_is_sorted_and_its_prefix_is_no_pattern,
        every_handle_is_on_the_same_vault,
        racing_puts_of_one_version_agree_on_one_value,
        racing_promotions_succeed_once,
        a_removed_secret_is_not_there_and_takes_nothing,
        removing_what_is_not_there_is_no_error,
        a_restored_secret_has_every_version_and_label,
    ]
}

fn in_memory() -> Open<dyn Vault> {
    let database = Database::in_memory().unwrap();
    let folder = tempfile::tempdir().unwrap();
    Box::new(move || {
        let key = VaultKey::open(&folder.path().join("vault.key")).unwrap();
        Arc::new(SqliteVault::new(database.clone(), key, Clock::System))
    })
}

/// Every handle opens the database and the key anew, as another process would.
fn in_a_file() -> Open<dyn Vault> {
    let folder = tempfile::tempdir().unwrap();
    Box::new(move || {
        let key = VaultKey::open(&folder.path().join("vault.key")).unwrap();
        Arc::new(SqliteVault::new(Database::open(&folder.path().join("muster.db")).unwrap(), key, Clock::System))
    })
}

fn secrets_manager() -> Open<dyn Vault> {
    let strict = aws::Strict::account();
    Box::new(move || Arc::new(::aws::SecretsManagerVault::new(&strict.sdk)))
}

pub const NAME: &str = "muster/app";

// Version ids as Secrets Manager takes them: 32 to 64 characters.
pub const V0: &str = "version-0-00000000000000000000000";
pub const V1: &str = "version-1-00000000000000000000000";
pub const V2: &str = "version-2-00000000000000000000000";
pub const V3: &str = "version-3-00000000000000000000000";

pub fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

pub async fn put(vault: &dyn Vault, version: &str, value: &str, stages: &[Stage]) -> Result<(), VaultError> {
    vault.put(NAME, version, &secret(value), stages, None).await
}

/// The id and the value under a label.
pub async fn read(vault: &dyn Vault, stage: Stage) -> Option<(String, String)> {
    match vault.read(NAME, stage, None).await {
        Ok(Version { id, value }) => Some((id, value.expose().clone())),
        Err(VaultError::NotFound(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

pub fn found(id: &str, value: &str) -> Option<(String, String)> {
    Some((id.to_owned(), value.to_owned()))
}

/// The labels, each version's sorted.
pub async fn labels(vault: &dyn Vault) -> Stages {
    let mut stages = vault.describe(NAME).await.unwrap().stages;
    stages.values_mut().for_each(|labels| labels.sort());
    stages
}

pub fn stages(expected: &[(&str, &[Stage])]) -> Stages {
    expected.iter().map(|(version, labels)| ((*version).to_owned(), labels.to_vec())).collect()
}

pub fn is_not_found<T>(result: &Result<T, VaultError>) -> bool {
    matches!(result, Err(VaultError::NotFound(_)))
}

pub fn is_invalid<T>(result: &Result<T, VaultError>) -> bool {
    matches!(result, Err(VaultError::InvalidRequest(_)))
}

fn is_taken<T>(result: &Result<T, VaultError>) -> bool {
    matches!(result, Err(VaultError::VersionExists(_)))
}

/// A secret with the version `v1`.
async fn with_one(open: &Open<dyn Vault>) -> Arc<dyn Vault> {
    let vault = open();
    put(&*vault, V1, "one", &[Current]).await.unwrap();
    vault
}

async fn an_unknown_secret_is_not_found(open: Open<dyn Vault>) {
    let vault = open();
    for stage in [Current, Pending, Previous] {
        assert!(is_not_found(&vault.read(NAME, stage, None).await));
    }
    assert!(is_not_found(&vault.describe(NAME).await));
    assert!(is_not_found(&vault.promote(NAME, V2, V1).await));
    assert_eq!(vault.list("").await.unwrap(), Vec::<String>::new());
}

async fn a_value_reads_back_by_its_label(open: Open<dyn Vault>) {
    let vault = open();
    let value = "{\"value\":\"ä 'quoted' \u{1F980}\n\"}";
    put(&*vault, V1, value, &[Current]).await.unwrap();
    assert_eq!(read(&*vault, Current).await, found(V1, value));
    assert_eq!((read(&*vault, Pending).await, read(&*vault, Previous).await), (None, None));
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current])]));
    let long = "x".repeat(64 << 10);
    put(&*vault, V2, &long, &[Current]).await.unwrap();
    assert!(read(&*vault, Current).await == found(V2, &long));
}

async fn the_first_version_is_the_current_one(open: Open<dyn Vault>) {
    let vault = open();
    for other in [Pending, Previous] {
        assert!(is_invalid(&put(&*vault, V1, "one", &[other]).await));
    }
    assert!(is_not_found(&vault.describe(NAME).await), "a refused put leaves nothing");
    assert_eq!(vault.list("").await.unwrap(), Vec::<String>::new());
    put(&*vault, V1, "one", &[Current]).await.unwrap();
}

async fn putting_the_same_again_does_nothing(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    put(&*vault, V1, "one", &[Current]).await.unwrap();
    put(&*vault, V2, "two", &[Current]).await.unwrap();
    let before = labels(&*vault).await;
    // A late retry of the first put must not bring the old value back.
    put(&*vault, V1, "one", &[Current]).await.unwrap();
    assert_eq!(labels(&*vault).await, before);
    assert_eq!(read(&*vault, Current).await, found(V2, "two"));
}

async fn a_version_keeps_its_value(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    assert!(is_taken(&put(&*vault, V1, "another", &[Current]).await));
    assert!(is_taken(&put(&*vault, V1, "another", &[Pending]).await));
    put(&*vault, V2, "two", &[Current]).await.unwrap();
    assert!(is_taken(&put(&*vault, V1, "another", &[Current]).await));
    assert_eq!(read(&*vault, Current).await, found(V2, "two"));
    assert_eq!(read(&*vault, Previous).await, found(V1, "one"));
}

async fn a_version_id_belongs_to_one_secret(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    vault.put("muster/console", V1, &secret("other"), &[Current], None).await.unwrap();
    assert_eq!(read(&*vault, Current).await, found(V1, "one"));
    vault.put("muster/console", V2, &secret("newer"), &[Current], None).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current])]));
}

async fn a_label_moves_to_the_version_that_is_put_under_it(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    put(&*vault, V2, "two", &[Pending]).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current]), (V2, &[Pending])]));
    put(&*vault, V3, "three", &[Pending]).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current]), (V3, &[Pending])]));
}

async fn the_version_before_becomes_the_previous_one(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    put(&*vault, V2, "two", &[Current]).await.unwrap();
    assert_eq!(read(&*vault, Current).await, found(V2, "two"));
    assert_eq!(read(&*vault, Previous).await, found(V1, "one"));
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Previous]), (V2, &[Current])]));
}

async fn a_version_without_labels_is_forgotten(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    put(&*vault, V2, "two", &[Current]).await.unwrap();
    put(&*vault, V3, "three", &[Current]).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V2, &[Previous]), (V3, &[Current])]));
    for stage in [Current, Pending, Previous] {
        assert!(is_not_found(&vault.read(NAME, stage, Some(V1)).await));
    }
    assert!(is_not_found(&vault.promote(NAME, V1, V3).await));
}

/// Whoever was held up for long must not store something else under a version that was tested and called off.
async fn a_forgotten_version_is_never_used_again(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    put(&*vault, V2, "two", &[Current]).await.unwrap();
    put(&*vault, V3, "three", &[Current]).await.unwrap();
    assert!(is_taken(&put(&*vault, V1, "another", &[Pending]).await));
    assert_eq!(labels(&*vault).await, stages(&[(V2, &[Previous]), (V3, &[Current])]));
}

async fn a_read_of_another_version_than_the_labelled_one_finds_nothing(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    put(&*vault, V2, "two", &[Current]).await.unwrap();
    assert_eq!(vault.read(NAME, Current, Some(V2)).await.unwrap().value.expose(), "two");
    assert_eq!(vault.read(NAME, Previous, Some(V1)).await.unwrap().value.expose(), "one");
    for (stage, version) in [(Current, V1), (Previous, V2), (Pending, V2), (Current, &V2.to_uppercase())] {
        assert!(is_not_found(&vault.read(NAME, stage, Some(version)).await), "{stage:?} {version}");
    }
}

/// A secret whose rotation from `v1` to `v2` only awaits the promotion.
async fn ready_to_promote(open: &Open<dyn Vault>) -> Arc<dyn Vault> {
    let vault = with_one(open).await;
    put(&*vault, V2, "two", &[Pending]).await.unwrap();
    vault
}

async fn promoting_moves_current_and_leaves_previous_behind(open: Open<dyn Vault>) {
    let vault = ready_to_promote(&open).await;
    vault.promote(NAME, V2, V1).await.unwrap();
    assert_eq!(read(&*vault, Current).await, found(V2, "two"));
    assert_eq!(read(&*vault, Previous).await, found(V1, "one"));
    // AWSPENDING stays where it is; Secrets Manager itself takes it away.
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Previous]), (V2, &[Current, Pending])]));
}

async fn what_is_stored_after_a_finished_rotation_leaves_no_rotation_open(open: Open<dyn Vault>) {
    let vault = ready_to_promote(&open).await;
    vault.promote(NAME, V2, V1).await.unwrap();
    put(&*vault, V3, "three", &[Current]).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V2, &[Previous]), (V3, &[Current])]));
    assert_eq!(vault.describe(NAME).await.unwrap().open_rotation(), None);
}

async fn promoting_twice_fails(open: Open<dyn Vault>) {
    let vault = ready_to_promote(&open).await;
    vault.promote(NAME, V2, V1).await.unwrap();
    let before = labels(&*vault).await;
    assert!(is_invalid(&vault.promote(NAME, V2, V1).await));
    assert_eq!(labels(&*vault).await, before);
}

async fn promoting_from_a_version_that_is_not_current_fails(open: Open<dyn Vault>) {
    let vault = ready_to_promote(&open).await;
    let before = labels(&*vault).await;
    assert!(is_invalid(&vault.promote(NAME, V2, V2).await));
    assert!(vault.promote(NAME, V2, V0).await.is_err(), "there is no such version");
    assert_eq!(labels(&*vault).await, before);
}

async fn an_unknown_version_is_not_promoted(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    assert!(vault.promote(NAME, V2, V1).await.is_err());
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current])]));
    assert_eq!(read(&*vault, Current).await, found(V1, "one"));
}

async fn every_labelled_version_has_an_age(open: Open<dyn Vault>) {
    let before = Clock::System.now();
    let vault = with_one(&open).await;
    put(&*vault, V2, "two", &[Pending]).await.unwrap();
    let described = vault.describe(NAME).await.unwrap();
    // The platform's clock is its own.
    let slack = jiff::SignedDuration::from_secs(5);
    let plausible = before - slack..=Clock::System.now() + slack;
    assert_eq!(described.created.keys().collect::<Vec<_>>(), [V1, V2]);
    assert!(described.created.values().all(|created| plausible.contains(created)), "{described:?}");
    vault.promote(NAME, V2, V1).await.unwrap();
    assert_eq!(vault.describe(NAME).await.unwrap().created, described.created);
}

async fn every_secret_has_an_identity_of_its_own(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    vault.put("muster/console", V1, &secret("other"), &[Current], None).await.unwrap();
    let (one, other) = (vault.describe(NAME).await.unwrap(), vault.describe("muster/console").await.unwrap());
    assert_ne!(one.identity, other.identity);
    put(&*vault, V2, "two", &[Current]).await.unwrap();
    assert_eq!(open().describe(NAME).await.unwrap().identity, one.identity, "it stays");
}

async fn a_secret_that_nobody_schedules_says_so(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    assert_eq!(vault.describe(NAME).await.unwrap().schedule, Schedule::Nobody);
}

async fn a_put_of_a_rotation_may_carry_the_platforms_token(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    vault.put(NAME, V2, &secret("two"), &[Pending], Some("rotation token")).await.unwrap();
    assert_eq!(read(&*vault, Pending).await, found(V2, "two"));
}

async fn a_promotion_can_be_taken_back(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    put(&*vault, V2, "two", &[Current]).await.unwrap();
    vault.promote(NAME, V1, V2).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current]), (V2, &[Previous])]));
    assert_eq!(read(&*vault, Current).await, found(V1, "one"));
}

async fn the_list_is_sorted_and_its_prefix_is_no_pattern(open: Open<dyn Vault>) {
    let vault = open();
    let names = ["muster/tenants/b", "muster/app", "other/app", "muster_2/app", "musterX2/app", "muster/Zebra"];
    for name in names {
        vault.put(name, V1, &secret(name), &[Current], None).await.unwrap();
        vault.put(name, V2, &secret(name), &[Pending], None).await.unwrap();
    }
    let mut every = names.to_vec();
    every.sort_unstable();
    assert_eq!(vault.list("").await.unwrap(), every);
    assert_eq!(vault.list("muster/").await.unwrap(), ["muster/Zebra", "muster/app", "muster/tenants/b"]);
    assert_eq!(vault.list("muster_2").await.unwrap(), ["muster_2/app"]);
    assert_eq!(vault.list("muster%").await.unwrap(), Vec::<String>::new());
    assert_eq!(vault.list("MUSTER/").await.unwrap(), Vec::<String>::new());
}

async fn every_handle_is_on_the_same_vault(open: Open<dyn Vault>) {
    let (one, other) = (with_one(&open).await, open());
    assert_eq!(read(&*other, Current).await, found(V1, "one"));
    put(&*other, V2, "two", &[Current]).await.unwrap();
    drop((one, other));
    assert_eq!(read(&*open(), Previous).await, found(V1, "one"));
    assert_eq!(read(&*open(), Current).await, found(V2, "two"));
}

async fn racing_puts_of_one_version_agree_on_one_value(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    let outcomes = race(&open, 6, |number, vault| block_on(put(&*vault, V2, &number.to_string(), &[Pending])));
    let winners: Vec<usize> = (0..6).filter(|number| outcomes[*number].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| is_taken(outcome)).count(), 5, "{outcomes:?}");
    assert_eq!(read(&*vault, Pending).await, found(V2, &winners[0].to_string()));
}

async fn racing_promotions_succeed_once(open: Open<dyn Vault>) {
    let vault = ready_to_promote(&open).await;
    let outcomes = race(&open, 6, |_, vault| block_on(vault.promote(NAME, V2, V1)));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Previous]), (V2, &[Current, Pending])]));
}

const CANARY: &str = "canary-value-that-must-not-lie-on-the-disk";

#[test]
fn values_lie_encrypted_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("muster.db")).unwrap();
    let vault =
        SqliteVault::new(database.clone(), VaultKey::open(&folder.path().join("vault.key")).unwrap(), Clock::System);
    for version in [V1, V2, V3] {
        block_on(vault.put(NAME, version, &secret(CANARY), &[Current], None)).unwrap();
    }
    let contains = |text: &str| {
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
        files.filter(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes())).count()
    };
    // While the database is open the write-ahead log is beside it, and afterwards it is gone into the database.
    assert!(folder.path().join("muster.db-wal").exists());
    assert_eq!(contains(CANARY), 0);
    assert!(contains(NAME) > 0, "the names are not secret, and show that the search finds what is there");
    drop((vault, database));
    assert!(!folder.path().join("muster.db-wal").exists());
    assert_eq!(contains(CANARY), 0);
    assert!(contains(NAME) > 0);
}

#[test]
fn two_vaults_never_take_each_others_secrets_for_their_own() {
    let identity = || {
        let vault = SqliteVault::new(Database::in_memory().unwrap(), VaultKey::ephemeral().unwrap(), Clock::System);
        block_on(vault.put(NAME, V1, &secret("one"), &[Current], None)).unwrap();
        block_on(vault.describe(NAME)).unwrap().identity
    };
    assert_ne!(identity(), identity());
}

#[test]
fn the_key_is_made_once_and_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    VaultKey::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let key = fs::read(&path).unwrap();
    VaultKey::open(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), key);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["vault.key"], "drafts are taken away");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    VaultKey::open(&path).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o601] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = VaultKey::open(&path).unwrap_err().to_string();
        assert!(error.contains("vault.key") && error.contains("chmod 600"), "{mode:o}: {error}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    VaultKey::open(&path).unwrap();
}

#[test]
fn a_damaged_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    VaultKey::open(&path).unwrap();
    let key = fs::read(&path).unwrap();
    for damaged in [&key[..31], &[], &[key.as_slice(), &[0]].concat()] {
        fs::write(&path, damaged).unwrap();
        assert!(VaultKey::open(&path).unwrap_err().to_string().contains("no vault key"), "{} bytes", damaged.len());
    }
}

#[test]
fn another_key_opens_nothing() {
    let database = Database::in_memory().unwrap();
    let vault = |key| SqliteVault::new(database.clone(), key, Clock::System);
    let ours = vault(VaultKey::ephemeral().unwrap());
    block_on(ours.put(NAME, V1, &secret(CANARY), &[Current], None)).unwrap();
    let theirs = vault(VaultKey::ephemeral().unwrap());
    let error = block_on(theirs.read(NAME, Current, None)).unwrap_err();
    assert!(matches!(error, VaultError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("vault.key") && !error.to_string().contains(CANARY), "{error}");
    // Nor does it count as another value, which would send an operator the wrong way.
    let put = block_on(theirs.put(NAME, V1, &secret(CANARY), &[Current], None));
    assert!(matches!(put, Err(VaultError::Unavailable(_))), "{put:?}");
    assert_eq!(block_on(ours.read(NAME, Current, None)).unwrap().value.expose(), CANARY);
}

async fn a_removed_secret_is_not_there_and_takes_nothing(open: Open<dyn Vault>) {
    let vault = ready_to_promote(&open).await;
    vault.put("muster/console", V1, &secret("other"), &[Current], None).await.unwrap();
    let until = vault.remove(NAME).await.unwrap().expect("there is one");
    let window = until.duration_since(Clock::System.now());
    assert!((window - RECOVERY).abs() < jiff::SignedDuration::from_mins(1), "{window:?}");
    for vault in [vault, open()] {
        for stage in [Current, Pending, Previous] {
            assert!(is_not_found(&vault.read(NAME, stage, None).await));
            assert!(is_not_found(&vault.read(NAME, stage, Some(V1)).await));
        }
        assert!(is_not_found(&vault.describe(NAME).await));
        assert_eq!(vault.list("").await.unwrap(), ["muster/console"]);
        assert!(is_invalid(&put(&*vault, V3, "three", &[Current]).await));
        assert!(is_invalid(&put(&*vault, V3, "three", &[Pending]).await));
        assert!(is_invalid(&put(&*vault, V1, "one", &[Current]).await), "not even what it holds");
        assert!(is_invalid(&vault.promote(NAME, V2, V1).await));
        assert_eq!(vault.remove(NAME).await.unwrap(), Some(until), "it keeps its date");
    }
}

async fn removing_what_is_not_there_is_no_error(open: Open<dyn Vault>) {
    let vault = open();
    assert_eq!(vault.remove(NAME).await.unwrap(), None);
    assert!(!vault.restore(NAME).await.unwrap());
    put(&*vault, V1, "one", &[Current]).await.unwrap();
    assert!(!vault.restore(NAME).await.unwrap(), "nobody has removed it");
    assert_eq!(read(&*vault, Current).await, found(V1, "one"));
}

async fn a_restored_secret_has_every_version_and_label(open: Open<dyn Vault>) {
    let vault = with_one(&open).await;
    put(&*vault, V2, "two", &[Current]).await.unwrap();
    put(&*vault, V3, "three", &[Pending]).await.unwrap();
    let before = vault.describe(NAME).await.unwrap();
    vault.remove(NAME).await.unwrap();
    assert!(open().restore(NAME).await.unwrap());
    assert!(!vault.restore(NAME).await.unwrap(), "it is there already");
    assert_eq!(vault.describe(NAME).await.unwrap(), before);
    assert_eq!(read(&*vault, Current).await, found(V2, "two"));
    assert_eq!(read(&*vault, Previous).await, found(V1, "one"));
    assert_eq!(read(&*vault, Pending).await, found(V3, "three"));
    assert_eq!(vault.list("").await.unwrap(), [NAME]);
    vault.promote(NAME, V3, V2).await.unwrap();
    assert!(vault.remove(NAME).await.unwrap().is_some());
}
