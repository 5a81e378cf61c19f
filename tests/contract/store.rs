//! The state store's contract.

use std::sync::Arc;

use embedded::{Database, SqliteStore};
use futures::executor::block_on;
use serde_json::{Value, json};
use shared::ports::store::{Expect, Item, Key, MAX_COMMIT_BYTES, MAX_ITEM_BYTES, MAX_WRITES, Store, StoreError, Write};

use crate::{Open, aws, race};

suite! {
    sqlite_in_memory => in_memory(),
    sqlite_in_a_file => in_a_file(),
    dynamodb => dynamodb();
    [
        what_is_not_there_reads_as_nothing,
        a_put_is_read_back_as_it_was_written,
        every_write_counts_the_version_up,
        a_put_that_expects_something_else_conflicts,
        a_delete_needs_the_version_it_read,
        a_check_writes_nothing_and_guards_the_rest,
        a_transaction_is_all_or_nothing_wherever_it_fails,
        a_query_gives_the_prefix_of_one_partition_in_order,
        a_prefix_is_text_and_no_pattern,
        a_hundred_writes_are_one_transaction_and_no_more,
        an_empty_transaction_is_refused,
        one_transaction_names_no_item_twice,
        an_item_has_a_largest_size,
        a_transaction_has_a_largest_size,
        a_commit_is_seen_by_every_handle_at_once,
        of_two_writers_on_one_version_exactly_one_wins,
        of_many_creators_exactly_one_wins,
        no_increment_is_lost_among_racing_writers,
    ]
}

fn in_memory() -> Open<dyn Store> {
    let database = Database::in_memory().unwrap();
    Box::new(move || Arc::new(SqliteStore::new(database.clone())))
}

/// Every handle opens the file anew, as another process would.
fn in_a_file() -> Open<dyn Store> {
    let folder = tempfile::tempdir().unwrap();
    Box::new(move || Arc::new(SqliteStore::new(Database::open(&folder.path().join("muster.db")).unwrap())))
}

fn dynamodb() -> Open<dyn Store> {
    let strict = aws::Strict::account();
    aws::table(&strict.behind, "state");
    Box::new(move || Arc::new(::aws::DynamoStore::new(&strict.sdk, "state")))
}

fn key(sort: &str) -> Key {
    Key::new("partition", sort)
}

fn put(sort: &str, value: impl Into<Value>, expect: Expect) -> Write {
    Write::Put { key: key(sort), value: value.into(), expect }
}

fn delete(sort: &str, expect: Expect) -> Write {
    Write::Delete { key: key(sort), expect }
}

fn check(sort: &str, expect: Expect) -> Write {
    Write::Check { key: key(sort), expect }
}

fn is_conflict<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Conflict))
}

fn is_invalid<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Invalid(_)))
}

async fn item(store: &Arc<dyn Store>, sort: &str) -> Option<Item> {
    store.get(&key(sort)).await.unwrap()
}

/// Everything in the partition, as (sort, version, value).
async fn all(store: &Arc<dyn Store>) -> Vec<(String, u64, Value)> {
    let items = store.query("partition", "").await.unwrap();
    items.into_iter().map(|(key, item)| (key.sort, item.version, item.value)).collect()
}

async fn sorts(store: &Arc<dyn Store>, prefix: &str) -> Vec<String> {
    store.query("partition", prefix).await.unwrap().into_iter().map(|(key, _)| key.sort).collect()
}

async fn what_is_not_there_reads_as_nothing(open: Open<dyn Store>) {
    let store = open();
    assert_eq!(item(&store, "a").await, None);
    assert_eq!(store.query("partition", "").await.unwrap(), Vec::new());
    store.commit(vec![put("a", 1, Expect::Absent)]).await.unwrap();
    assert_eq!(store.get(&Key::new("another partition", "a")).await.unwrap(), None);
    assert_eq!(item(&store, "A").await, None, "keys are compared letter by letter");
}

async fn a_put_is_read_back_as_it_was_written(open: Open<dyn Store>) {
    let store = open();
    let values = [
        json!(null),
        json!("a 'quoted' \"text\" with \u{0} and \n, ü and \u{1F980}"),
        json!({"nested": [{"": 0}, [], {}], "largest": u64::MAX, "smallest": i64::MIN, "fraction": 0.1, "yes": true}),
    ];
    for (number, value) in values.iter().enumerate() {
        let sort = format!("ä/{number} \u{1F980}");
        store.commit(vec![put(&sort, value.clone(), Expect::Absent)]).await.unwrap();
        assert_eq!(item(&store, &sort).await, Some(Item { version: 1, value: value.clone() }));
    }
}

async fn every_write_counts_the_version_up(open: Open<dyn Store>) {
    let store = open();
    let mut expect = Expect::Absent;
    for version in 1..=4 {
        assert_eq!(expect.next_version(), version);
        store.commit(vec![put("a", version, expect)]).await.unwrap();
        let found = item(&store, "a").await;
        assert_eq!(found, Some(Item { version, value: json!(version) }));
        expect = Expect::as_read(found.as_ref());
    }
    store.commit(vec![delete("a", expect)]).await.unwrap();
    store.commit(vec![put("a", "new", Expect::Absent)]).await.unwrap();
    assert_eq!(item(&store, "a").await.unwrap().version, 1, "a new item begins anew");
}

async fn a_put_that_expects_something_else_conflicts(open: Open<dyn Store>) {
    let store = open();
    for expect in [Expect::Version(0), Expect::Version(1)] {
        assert!(is_conflict(&store.commit(vec![put("a", 1, expect)]).await), "{expect:?} of nothing");
    }
    store.commit(vec![put("a", 1, Expect::Absent)]).await.unwrap();
    store.commit(vec![put("a", 2, Expect::Version(1))]).await.unwrap();
    for expect in [Expect::Absent, Expect::Version(1), Expect::Version(3)] {
        assert!(is_conflict(&store.commit(vec![put("a", 3, expect)]).await), "{expect:?} of version 2");
    }
    assert_eq!(all(&store).await, [("a".to_owned(), 2, json!(2))]);
}

async fn a_delete_needs_the_version_it_read(open: Open<dyn Store>) {
    let store = open();
    assert!(is_conflict(&store.commit(vec![delete("a", Expect::Version(1))]).await));
    store.commit(vec![put("a", 1, Expect::Absent), put("b", 1, Expect::Absent)]).await.unwrap();
    for expect in [Expect::Absent, Expect::Version(2)] {
        assert!(is_conflict(&store.commit(vec![delete("a", expect)]).await), "{expect:?}");
    }
    store.commit(vec![delete("a", Expect::Version(1))]).await.unwrap();
    assert_eq!(sorts(&store, "").await, ["b"]);
}

async fn a_check_writes_nothing_and_guards_the_rest(open: Open<dyn Store>) {
    let store = open();
    store.commit(vec![put("a", 1, Expect::Absent)]).await.unwrap();
    store.commit(vec![check("a", Expect::Version(1)), check("b", Expect::Absent)]).await.unwrap();
    assert_eq!(all(&store).await, [("a".to_owned(), 1, json!(1))]);
    for guard in [check("a", Expect::Version(2)), check("a", Expect::Absent), check("b", Expect::Version(1))] {
        let guarded = store.commit(vec![put("c", 1, Expect::Absent), guard.clone()]).await;
        assert!(is_conflict(&guarded), "{guard:?}");
    }
    store.commit(vec![put("c", 1, Expect::Absent), check("a", Expect::Version(1))]).await.unwrap();
    assert_eq!(sorts(&store, "").await, ["a", "c"]);
}

async fn a_transaction_is_all_or_nothing_wherever_it_fails(open: Open<dyn Store>) {
    let store = open();
    store.commit(vec![put("changed", 1, Expect::Absent), put("deleted", 1, Expect::Absent)]).await.unwrap();
    let before = all(&store).await;
    let good =
        [put("changed", 2, Expect::Version(1)), delete("deleted", Expect::Version(1)), put("new", 1, Expect::Absent)];
    for place in 0..=good.len() {
        for bad in [put("x", 1, Expect::Version(9)), delete("x", Expect::Version(9)), check("x", Expect::Version(9))] {
            let mut writes = good.to_vec();
            writes.insert(place, bad.clone());
            assert!(is_conflict(&store.commit(writes).await), "{bad:?} in place {place}");
            assert_eq!(all(&store).await, before, "{bad:?} in place {place}");
        }
    }
    store.commit(good.to_vec()).await.unwrap();
    assert_eq!(all(&store).await, [("changed".to_owned(), 2, json!(2)), ("new".to_owned(), 1, json!(1))]);
}

async fn a_query_gives_the_prefix_of_one_partition_in_order(open: Open<dyn Store>) {
    let store = open();
    // Put in no order; read in the order of the bytes, as DynamoDB has it.
    let names =
        ["seen#9", "seen#10", "seen", "seen#", "Seen#1", "sef", "see", "seen#\u{e4}", "seen#\u{1F980}", "seen#z"];
    store.commit(names.iter().map(|name| put(name, *name, Expect::Absent)).collect()).await.unwrap();
    let elsewhere = Write::Put { key: Key::new("partition#2", "seen#1"), value: json!(0), expect: Expect::Absent };
    store.commit(vec![elsewhere]).await.unwrap();

    let expected = ["seen#", "seen#10", "seen#9", "seen#z", "seen#\u{e4}", "seen#\u{1F980}"];
    assert_eq!(sorts(&store, "seen#").await, expected);
    let mut every = names.to_vec();
    every.sort_unstable();
    assert_eq!(sorts(&store, "").await, every);
    assert_eq!(sorts(&store, "seen#9").await, ["seen#9"]);
    assert_eq!(sorts(&store, "seen#91").await, Vec::<String>::new());
    for (key, item) in store.query("partition", "se").await.unwrap() {
        assert_eq!((key.partition.as_str(), item), ("partition", Item { version: 1, value: json!(key.sort) }));
    }
}

async fn a_prefix_is_text_and_no_pattern(open: Open<dyn Store>) {
    let store = open();
    let names = ["a%b", "a_b", "axb", "a*b", "a?b", "a[x]b", "a\\b", "a'b", "a\"b", "A_B"];
    store.commit(names.iter().map(|name| put(name, 0, Expect::Absent)).collect()).await.unwrap();
    for name in names {
        assert_eq!(sorts(&store, name).await, [name]);
        let beginning = &name[..2];
        let expected = if name == "axb" { "axb" } else { name };
        assert_eq!(sorts(&store, beginning).await, [expected], "{beginning}");
    }
    for nothing in ["%", "_", "*", "a%%", "a__", "' OR 1=1 --", "\u{10FFFF}"] {
        assert_eq!(sorts(&store, nothing).await, Vec::<String>::new(), "{nothing}");
    }
}

async fn a_hundred_writes_are_one_transaction_and_no_more(open: Open<dyn Store>) {
    let store = open();
    let writes = |count: usize| (0..count).map(|n| put(&format!("{n:03}"), n, Expect::Absent)).collect::<Vec<_>>();
    assert_eq!(MAX_WRITES, 100);
    assert!(is_invalid(&store.commit(writes(MAX_WRITES + 1)).await));
    assert_eq!(all(&store).await, Vec::new());
    store.commit(writes(MAX_WRITES)).await.unwrap();
    assert_eq!(all(&store).await.len(), MAX_WRITES);
}

async fn an_empty_transaction_is_refused(open: Open<dyn Store>) {
    assert!(is_invalid(&open().commit(Vec::new()).await));
}

async fn one_transaction_names_no_item_twice(open: Open<dyn Store>) {
    let store = open();
    store.commit(vec![put("a", 1, Expect::Absent)]).await.unwrap();
    let once = [put("a", 2, Expect::Version(1)), delete("a", Expect::Version(1)), check("a", Expect::Version(1))];
    for first in &once {
        for second in &once {
            let both = store.commit(vec![first.clone(), put("b", 1, Expect::Absent), second.clone()]).await;
            assert!(is_invalid(&both), "{first:?}, {second:?}");
        }
    }
    assert_eq!(all(&store).await, [("a".to_owned(), 1, json!(1))]);
    let namesake = Write::Put { key: Key::new("partition#2", "a"), value: json!(1), expect: Expect::Absent };
    store.commit(vec![put("a", 2, Expect::Version(1)), namesake]).await.unwrap();
}

async fn an_item_has_a_largest_size(open: Open<dyn Store>) {
    let store = open();
    let text = |bytes: usize| "x".repeat(bytes - 2);
    let too_large = store
        .commit(vec![put("small", 1, Expect::Absent), put("large", text(MAX_ITEM_BYTES + 1), Expect::Absent)])
        .await;
    assert!(is_invalid(&too_large));
    assert_eq!(all(&store).await, Vec::new());
    store.commit(vec![put("large", text(MAX_ITEM_BYTES), Expect::Absent)]).await.unwrap();
    assert_eq!(item(&store, "large").await.unwrap().value, json!(text(MAX_ITEM_BYTES)));
}

async fn a_transaction_has_a_largest_size(open: Open<dyn Store>) {
    let store = open();
    let text = "x".repeat(MAX_ITEM_BYTES - 2);
    let writes =
        |count: usize| (0..count).map(|n| put(&n.to_string(), text.as_str(), Expect::Absent)).collect::<Vec<_>>();
    let most = MAX_COMMIT_BYTES / MAX_ITEM_BYTES;
    assert!(is_invalid(&store.commit(writes(most + 1)).await));
    assert_eq!(all(&store).await, Vec::new());
    store.commit(writes(most)).await.unwrap();
    assert_eq!(sorts(&store, "").await.len(), most);
}

async fn a_commit_is_seen_by_every_handle_at_once(open: Open<dyn Store>) {
    let (writer, reader) = (open(), open());
    assert_eq!(item(&reader, "a").await, None);
    for version in 1..=3 {
        let expect = if version == 1 { Expect::Absent } else { Expect::Version(version - 1) };
        writer.commit(vec![put("a", version, expect)]).await.unwrap();
        assert_eq!(item(&reader, "a").await, Some(Item { version, value: json!(version) }));
        assert_eq!(sorts(&reader, "").await, ["a"]);
    }
    reader.commit(vec![delete("a", Expect::Version(3))]).await.unwrap();
    assert_eq!(item(&writer, "a").await, None);
    drop((writer, reader));
    assert_eq!(item(&open(), "a").await, None);
}

async fn of_two_writers_on_one_version_exactly_one_wins(open: Open<dyn Store>) {
    let store = open();
    store.commit(vec![put("a", "first", Expect::Absent)]).await.unwrap();
    for round in 1..=20 {
        let outcomes = race(&open, 2, |number, store| {
            block_on(store.commit(vec![
                put("a", number, Expect::Version(round)),
                put(&format!("{number} won round {round}"), 0, Expect::Absent),
            ]))
        });
        let winners: Vec<usize> = (0..2).filter(|number| outcomes[*number].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        assert!(outcomes.iter().any(is_conflict), "{outcomes:?}");
        assert_eq!(item(&store, "a").await, Some(Item { version: round + 1, value: json!(winners[0]) }));
        assert!(item(&store, &format!("{} won round {round}", winners[0])).await.is_some());
        assert_eq!(all(&store).await.len() as u64, 1 + round, "the loser left something behind");
    }
}

async fn of_many_creators_exactly_one_wins(open: Open<dyn Store>) {
    let outcomes = race(&open, 8, |number, store| block_on(store.commit(vec![put("a", number, Expect::Absent)])));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| is_conflict(outcome)).count(), 7, "{outcomes:?}");
    assert_eq!(item(&open(), "a").await.unwrap().version, 1);
}

async fn no_increment_is_lost_among_racing_writers(open: Open<dyn Store>) {
    const EACH: u64 = 10;
    race(&open, 4, |_, store| {
        for _ in 0..EACH {
            loop {
                let found = block_on(store.get(&key("count"))).unwrap();
                let next = found.as_ref().and_then(|found| found.value.as_u64()).unwrap_or(0) + 1;
                match block_on(store.commit(vec![put("count", next, Expect::as_read(found.as_ref()))])) {
                    Ok(()) => break,
                    Err(StoreError::Conflict) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        }
    });
    assert_eq!(item(&open(), "count").await, Some(Item { version: 4 * EACH, value: json!(4 * EACH) }));
}
