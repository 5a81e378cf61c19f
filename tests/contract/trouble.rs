//! What AWS does to its callers now and then, and no other platform of ours does: each port takes it as its contract says.

use ::aws::{DynamoStore, S3Lake, SecretsManagerVault, SqsQueue};
use jiff::SignedDuration;
use laboratory::Trouble;
use serde_json::json;
use shared::ports::{
    lake::{Lake, Put},
    queue::{Outgoing, Queue},
    store::{Expect, Key, Store, StoreError, Write},
    vault::{
        Stage::{Current, Pending},
        Vault,
    },
};

use crate::{
    aws::{Strict, bucket, enter, queue, received, table},
    vault::{NAME, V1, V2, V3, found, is_invalid, put, read, secret},
};

/// Waits for what is asked of AWS.
fn wait<T>(work: impl Future<Output = T>) -> T {
    let _runtime = enter();
    futures::executor::block_on(work)
}

fn plan(strict: &Strict, operation: &str, troubles: &[Trouble]) {
    troubles.iter().for_each(|trouble| strict.gateway.trouble(Strict::DOOR, operation, *trouble));
}

fn store(strict: &Strict) -> DynamoStore {
    table(&strict.behind, "state");
    DynamoStore::new(&strict.sdk, "state")
}

fn key(sort: &str) -> Key {
    Key::new("partition", sort)
}

fn creating(sorts: &[&str]) -> Vec<Write> {
    sorts.iter().map(|sort| Write::Put { key: key(sort), value: json!(sort), expect: Expect::Absent }).collect()
}

#[test]
fn a_transaction_that_met_another_is_a_conflict_and_one_that_met_a_limit_is_not() {
    let strict = Strict::account();
    let store = store(&strict);
    for sorts in [&["a"][..], &["a", "b"]] {
        plan(&strict, "TransactWriteItems", &[Trouble::Cancelled { reason: "TransactionConflict" }]);
        let beaten = wait(store.commit(creating(sorts)));
        assert!(matches!(beaten, Err(StoreError::Conflict)), "{beaten:?}");
        for reason in ["ThrottlingError", "ProvisionedThroughputExceeded"] {
            plan(&strict, "TransactWriteItems", &[Trouble::Cancelled { reason }]);
            let throttled = wait(store.commit(creating(sorts)));
            assert!(matches!(&throttled, Err(StoreError::Unavailable(told)) if told.to_string().contains(reason)));
        }
        assert_eq!(wait(store.query("partition", "")).unwrap(), Vec::new(), "nothing of it was written");
    }
}

#[test]
fn a_commit_whose_answer_was_lost_counts_as_done() {
    let strict = Strict::account();
    let store = store(&strict);
    for (round, sorts) in [&["a"][..], &["b", "c"]].into_iter().enumerate() {
        plan(&strict, "TransactWriteItems", &[Trouble::AnswerLost]);
        wait(store.commit(creating(sorts))).unwrap();
        assert_eq!(strict.calls("TransactWriteItems"), 2 * (round + 1), "it was asked for twice");
        for sort in sorts {
            assert_eq!(wait(store.get(&key(sort))).unwrap().unwrap().version, 1, "and done once");
        }
    }
}

fn messages(count: usize) -> (Vec<String>, Vec<Outgoing>) {
    let bodies: Vec<String> = (0..count).map(|number| format!("message {number}")).collect();
    let outgoing = |body: &String| Outgoing { body: body.clone(), delay: SignedDuration::ZERO };
    let messages = bodies.iter().map(outgoing).collect();
    (bodies, messages)
}

/// What arrives when these befall the first batches.
fn sent(troubles: &[Trouble], messages: &[Outgoing]) -> (bool, Vec<String>, usize) {
    let strict = Strict::account();
    let url = queue(&strict.behind, "alerts");
    plan(&strict, "SendMessageBatch", troubles);
    let sent = wait(SqsQueue::new(&strict.sdk, &url).send(messages));
    let mut arrived = wait(received(&strict.behind, &url));
    arrived.sort();
    (sent.is_ok(), arrived, strict.calls("SendMessageBatch"))
}

const REFUSED: Trouble = Trouble::MessageRefused { sender_fault: false };

#[test]
fn a_message_that_a_batch_leaves_behind_is_sent_again_and_no_other_is() {
    let (bodies, messages) = messages(5);
    assert_eq!(sent(&[REFUSED], &messages), (true, bodies.clone(), 2));
    assert_eq!(sent(&[REFUSED, REFUSED], &messages), (true, bodies, 3));
}

#[test]
fn a_message_that_is_left_behind_for_good_is_an_error() {
    let (bodies, messages) = messages(5);
    let (is_sent, arrived, calls) = sent(&[REFUSED; 9], &messages);
    assert!(!is_sent && calls < 9, "{calls} calls");
    assert_eq!(arrived, bodies[1..]);
}

#[test]
fn a_message_that_is_refused_for_what_it_is_is_not_sent_again() {
    let (bodies, messages) = messages(3);
    let (is_sent, arrived, calls) = sent(&[Trouble::MessageRefused { sender_fault: true }], &messages);
    assert_eq!((is_sent, calls), (false, 1));
    assert_eq!(arrived, bodies[1..]);
}

#[test]
fn a_put_that_met_another_of_its_key_under_way_is_repeated() {
    let strict = Strict::account();
    let lake = S3Lake::new(&strict.sdk, &bucket(&strict.behind));
    plan(&strict, "PutObject", &[Trouble::PutConflicts]);
    assert_eq!(wait(lake.put_new("alerts/a", b"object".to_vec())).unwrap(), Put::Created);
    assert_eq!(wait(lake.get("alerts/a")).unwrap(), Some(b"object".to_vec()), "whole, the second time too");
    plan(&strict, "PutObject", &[Trouble::PutConflicts]);
    assert_eq!(wait(lake.put_new("alerts/a", b"other".to_vec())).unwrap(), Put::Exists, "the other was first");
    plan(&strict, "PutObject", &[Trouble::PutConflicts; 9]);
    assert!(wait(lake.put_new("alerts/b", Vec::new())).is_err(), "it is not repeated for ever");
    assert_eq!(wait(lake.get("alerts/b")).unwrap(), None);
}

#[test]
fn a_put_whose_answer_was_lost_finds_its_own_object() {
    let strict = Strict::account();
    let lake = S3Lake::new(&strict.sdk, &bucket(&strict.behind));
    plan(&strict, "PutObject", &[Trouble::AnswerLost]);
    assert_eq!(wait(lake.put_new("alerts/a", b"object".to_vec())).unwrap(), Put::Exists);
    assert_eq!(wait(lake.get("alerts/a")).unwrap(), Some(b"object".to_vec()));
}

#[test]
fn the_version_of_an_open_rotation_is_taken_from_the_platforms_own_caller() {
    let strict = Strict::account();
    let vault = SecretsManagerVault::new(&strict.sdk);
    wait(put(&vault, V1, "one", &[Current])).unwrap();
    strict.gateway.begin_rotation(NAME, V2).unwrap();
    let stranger = wait(vault.put(NAME, V2, &secret("two"), &[Pending], None));
    assert!(is_invalid(&stranger), "{stranger:?}");
    assert_eq!(wait(read(&vault, Pending)), None);
    wait(vault.put(NAME, V2, &secret("two"), &[Pending], Some("rotation token"))).unwrap();
    assert_eq!(wait(read(&vault, Pending)), found(V2, "two"));
}

#[test]
fn a_put_of_a_version_whose_answer_was_lost_counts_as_done() {
    let strict = Strict::account();
    let vault = SecretsManagerVault::new(&strict.sdk);
    for (operation, version, value) in [("CreateSecret", V1, "one"), ("PutSecretValue", V2, "two")] {
        plan(&strict, operation, &[Trouble::AnswerLost]);
        wait(put(&vault, version, value, &[Current])).unwrap();
        assert_eq!(wait(read(&vault, Current)), found(version, value));
    }
}

/// A version's age stands on whatever page it stands.
#[test]
fn the_ages_of_all_versions_are_read_however_many_pages_they_fill() {
    let strict = Strict::account();
    let vault = SecretsManagerVault::new(&strict.sdk);
    for (version, stage) in [(V1, Current), (V2, Current), (V3, Pending)] {
        wait(put(&vault, version, version, &[stage])).unwrap();
    }
    let before = strict.calls("ListSecretVersionIds");
    assert_eq!(wait(vault.describe(NAME)).unwrap().created.len(), 3);
    assert!(strict.calls("ListSecretVersionIds") - before >= 3, "a page holds one version");
}
