//! What the host of a vault does beside it, and Secrets Manager does on AWS: it begins rotations and calls them off.

use std::sync::Arc;

use embedded::{Database, Rotations, SqliteVault, VaultKey};
use futures::executor::block_on;
use shared::{
    clock::Clock,
    ports::vault::{
        Stage::{Current, Pending, Previous},
        Vault,
    },
};

use crate::{
    Open, race,
    vault::{NAME, V1, V2, V3, found, is_invalid, is_not_found, labels, put, read, stages},
};

suite! {
    sqlite_in_memory => in_memory(),
    sqlite_in_a_file => in_a_file();
    [
        a_rotation_begins_with_an_empty_pending_version,
        the_pending_version_gets_its_value_once,
        a_second_rotation_waits_for_the_first,
        a_rotation_of_nothing_cannot_begin,
        after_a_promotion_the_next_rotation_may_begin,
        a_cancelled_rotation_leaves_nothing_behind,
        only_an_open_rotation_can_be_cancelled,
        racing_rotations_begin_once,
        an_empty_version_is_not_promoted,
        a_version_is_as_old_as_its_rotation,
        a_removed_secret_is_not_rotated,
    ]
}

trait Hosted: Vault + Rotations {}

impl<T: Vault + Rotations> Hosted for T {}

fn in_memory() -> Open<dyn Hosted> {
    let database = Database::in_memory().unwrap();
    let folder = tempfile::tempdir().unwrap();
    Box::new(move || {
        let key = VaultKey::open(&folder.path().join("vault.key")).unwrap();
        Arc::new(SqliteVault::new(database.clone(), key, Clock::System))
    })
}

/// Every handle opens the database and the key anew, as another process would.
fn in_a_file() -> Open<dyn Hosted> {
    let folder = tempfile::tempdir().unwrap();
    Box::new(move || {
        let key = VaultKey::open(&folder.path().join("vault.key")).unwrap();
        Arc::new(SqliteVault::new(Database::open(&folder.path().join("muster.db")).unwrap(), key, Clock::System))
    })
}

/// A secret with the version [`V1`].
async fn with_one(open: &Open<dyn Hosted>) -> Arc<dyn Hosted> {
    let vault = open();
    put(&*vault, V1, "one", &[Current]).await.unwrap();
    vault
}

/// A secret whose rotation from [`V1`] to [`V2`] only awaits the promotion.
async fn ready_to_promote(open: &Open<dyn Hosted>) -> Arc<dyn Hosted> {
    let vault = with_one(open).await;
    vault.begin(NAME, V2).await.unwrap();
    put(&*vault, V2, "two", &[Pending]).await.unwrap();
    vault
}

async fn a_rotation_begins_with_an_empty_pending_version(open: Open<dyn Hosted>) {
    let vault = with_one(&open).await;
    vault.begin(NAME, V2).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current]), (V2, &[Pending])]));
    assert!(is_not_found(&vault.read(NAME, Pending, None).await), "it has no value yet");
    assert!(is_not_found(&vault.read(NAME, Pending, Some(V2)).await));
    assert_eq!(read(&*vault, Current).await, found(V1, "one"));
}

async fn the_pending_version_gets_its_value_once(open: Open<dyn Hosted>) {
    let vault = with_one(&open).await;
    vault.begin(NAME, V2).await.unwrap();
    put(&*vault, V2, "two", &[Pending]).await.unwrap();
    put(&*vault, V2, "two", &[Pending]).await.unwrap();
    assert!(put(&*vault, V2, "second thoughts", &[Pending]).await.is_err());
    assert_eq!(read(&*vault, Pending).await, found(V2, "two"));
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current]), (V2, &[Pending])]));
}

async fn a_second_rotation_waits_for_the_first(open: Open<dyn Hosted>) {
    let vault = with_one(&open).await;
    vault.begin(NAME, V2).await.unwrap();
    assert!(is_invalid(&vault.begin(NAME, V3).await), "the pending version is empty");
    put(&*vault, V2, "two", &[Pending]).await.unwrap();
    assert!(is_invalid(&vault.begin(NAME, V3).await), "the pending version has a value");
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current]), (V2, &[Pending])]));
    // Secrets Manager repeats a whole rotation under the same token.
    vault.begin(NAME, V2).await.unwrap();
    assert_eq!(read(&*vault, Pending).await, found(V2, "two"));
}

async fn a_rotation_of_nothing_cannot_begin(open: Open<dyn Hosted>) {
    let vault = open();
    assert!(is_not_found(&vault.begin(NAME, V1).await));
    assert_eq!(vault.list("").await.unwrap(), Vec::<String>::new());
}

async fn after_a_promotion_the_next_rotation_may_begin(open: Open<dyn Hosted>) {
    let vault = ready_to_promote(&open).await;
    vault.promote(NAME, V2, V1).await.unwrap();
    vault.begin(NAME, V3).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Previous]), (V2, &[Current]), (V3, &[Pending])]));
    put(&*vault, V3, "three", &[Pending]).await.unwrap();
    vault.promote(NAME, V3, V2).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V2, &[Previous]), (V3, &[Current, Pending])]));
}

async fn a_cancelled_rotation_leaves_nothing_behind(open: Open<dyn Hosted>) {
    let vault = with_one(&open).await;
    vault.begin(NAME, V2).await.unwrap();
    vault.cancel(NAME, V2).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current])]));
    vault.begin(NAME, V3).await.unwrap();
    put(&*vault, V3, "three", &[Pending]).await.unwrap();
    vault.cancel(NAME, V3).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current])]));
    assert!(is_not_found(&vault.read(NAME, Pending, Some(V3)).await));
    assert_eq!(vault.describe(NAME).await.unwrap().open_rotation(), None);
}

async fn only_an_open_rotation_can_be_cancelled(open: Open<dyn Hosted>) {
    let vault = ready_to_promote(&open).await;
    assert_eq!(vault.describe(NAME).await.unwrap().open_rotation(), Some(V2));
    for other in [V1, V3, ""] {
        assert!(is_invalid(&vault.cancel(NAME, other).await), "{other}");
    }
    vault.promote(NAME, V2, V1).await.unwrap();
    let before = labels(&*vault).await;
    assert!(is_invalid(&vault.cancel(NAME, V2).await), "it is over");
    assert_eq!(labels(&*vault).await, before);
    assert_eq!(vault.describe(NAME).await.unwrap().open_rotation(), None);
}

async fn racing_rotations_begin_once(open: Open<dyn Hosted>) {
    let vault = with_one(&open).await;
    let outcomes = race(&open, 6, |number, vault| block_on(vault.begin(NAME, &format!("token {number}"))));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| is_invalid(outcome)).count(), 5, "{outcomes:?}");
    assert_eq!(labels(&*vault).await.len(), 2);
}

async fn an_empty_version_is_not_promoted(open: Open<dyn Hosted>) {
    let vault = with_one(&open).await;
    vault.begin(NAME, V2).await.unwrap();
    assert!(is_not_found(&vault.promote(NAME, V2, V1).await));
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current]), (V2, &[Pending])]));
    assert_eq!(read(&*vault, Current).await, found(V1, "one"));
}

async fn a_version_is_as_old_as_its_rotation(open: Open<dyn Hosted>) {
    let vault = with_one(&open).await;
    vault.begin(NAME, V2).await.unwrap();
    let begun = vault.describe(NAME).await.unwrap().created;
    assert_eq!(begun.keys().collect::<Vec<_>>(), [V1, V2]);
    put(&*vault, V2, "two", &[Pending]).await.unwrap();
    assert_eq!(vault.describe(NAME).await.unwrap().created, begun);
}

async fn a_removed_secret_is_not_rotated(open: Open<dyn Hosted>) {
    let vault = with_one(&open).await;
    vault.begin(NAME, V2).await.unwrap();
    vault.remove(NAME).await.unwrap();
    assert!(is_invalid(&vault.begin(NAME, V2).await));
    assert!(is_invalid(&vault.begin(NAME, V3).await));
    assert!(is_invalid(&vault.cancel(NAME, V2).await));
    vault.restore(NAME).await.unwrap();
    assert_eq!(labels(&*vault).await, stages(&[(V1, &[Current]), (V2, &[Pending])]));
}
