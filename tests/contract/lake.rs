//! The lake's contract.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use embedded::FolderLake;
use futures::executor::block_on;
use harness::MemoryLake;
use shared::ports::lake::{Lake, Put};

use crate::{Open, aws, race};

suite! {
    folder => in_a_folder(),
    memory => in_memory(),
    s3 => in_s3();
    [
        what_was_never_put_is_not_there,
        an_object_reads_back_as_it_was_put,
        an_object_is_never_overwritten,
        only_keys_of_plain_segments_are_taken,
        any_letters_make_a_key,
        every_handle_is_on_the_same_lake,
        of_many_concurrent_puts_exactly_one_creates,
        concurrent_puts_under_different_keys_do_not_mix,
        a_reader_sees_the_whole_object_or_none,
        only_what_the_state_points_to_is_ever_removed,
    ]
}

/// Every handle opens the folder anew.
fn in_a_folder() -> Open<dyn Lake> {
    let folder = tempfile::tempdir().unwrap();
    Box::new(move || Arc::new(FolderLake::open(folder.path()).unwrap()))
}

fn in_memory() -> Open<dyn Lake> {
    let lake = Arc::new(MemoryLake::default());
    Box::new(move || lake.clone())
}

fn in_s3() -> Open<dyn Lake> {
    let sdk = aws::account();
    let bucket = aws::bucket(&sdk);
    Box::new(move || Arc::new(::aws::S3Lake::new(&sdk, &bucket)))
}

const KEY: &str = "alerts/tenant=a0000000-0000-4000-8000-0000000000aa/day=2026-11-22/from_until-00000001.ndjson.gz";

async fn what_was_never_put_is_not_there(open: Open<dyn Lake>) {
    let lake = open();
    assert_eq!(lake.get(KEY).await.unwrap(), None);
    assert_eq!(lake.put_new(KEY, b"object".to_vec()).await.unwrap(), Put::Created);
    assert_eq!(lake.get(&format!("{KEY}.bak")).await.unwrap(), None);
    assert_eq!(lake.get("alerts/elsewhere").await.unwrap(), None);
}

async fn an_object_reads_back_as_it_was_put(open: Open<dyn Lake>) {
    let lake = open();
    let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(1 << 20).collect();
    for (key, bytes) in [("a/empty", Vec::new()), ("a/text", b"{}\n".to_vec()), ("a/large", every_byte)] {
        assert_eq!(lake.put_new(key, bytes.clone()).await.unwrap(), Put::Created, "{key}");
        assert!(lake.get(key).await.unwrap() == Some(bytes), "{key}");
    }
}

async fn an_object_is_never_overwritten(open: Open<dyn Lake>) {
    let lake = open();
    for (key, first) in [("a", "first"), ("b", "")] {
        assert_eq!(lake.put_new(key, first.into()).await.unwrap(), Put::Created);
        for second in ["second", "first", ""] {
            assert_eq!(lake.put_new(key, second.into()).await.unwrap(), Put::Exists);
            assert_eq!(lake.get(key).await.unwrap(), Some(first.into()));
        }
    }
}

async fn only_keys_of_plain_segments_are_taken(open: Open<dyn Lake>) {
    let lake = open();
    for key in ["", "/", "/x", "x/", "a//b", ".", "..", "../x", "a/../../x", "a/./b", "a/..", ".hidden", "a/.hidden/b"]
    {
        assert!(lake.put_new(key, b"object".to_vec()).await.is_err(), "`{key}` was taken");
        assert!(matches!(lake.get(key).await, Err(_) | Ok(None)), "`{key}` was read");
    }
    for key in ["a", "a..b", "a.", "a/b.c/d=e"] {
        assert_eq!(lake.put_new(&format!("good/{key}/x"), Vec::new()).await.unwrap(), Put::Created, "{key}");
    }
}

async fn any_letters_make_a_key(open: Open<dyn Lake>) {
    let lake = open();
    let keys = ["Zürich", "zürich", "东京/警报", "\u{1F980}", "a b", "100%_*?", "'quoted'", "a:b", "-f"];
    for key in keys {
        assert_eq!(lake.put_new(key, key.into()).await.unwrap(), Put::Created, "{key}");
    }
    for key in keys {
        assert_eq!(lake.get(key).await.unwrap(), Some(key.into()), "{key}");
    }
}

async fn every_handle_is_on_the_same_lake(open: Open<dyn Lake>) {
    let (one, other) = (open(), open());
    assert_eq!(one.put_new("a/1", b"one".to_vec()).await.unwrap(), Put::Created);
    assert_eq!(other.put_new("a/1", b"other".to_vec()).await.unwrap(), Put::Exists);
    assert_eq!(other.put_new("a/2", b"other".to_vec()).await.unwrap(), Put::Created);
    drop((one, other));
    let third = open();
    assert_eq!(third.get("a/1").await.unwrap(), Some(b"one".to_vec()));
    assert_eq!(third.get("a/2").await.unwrap(), Some(b"other".to_vec()));
}

async fn of_many_concurrent_puts_exactly_one_creates(open: Open<dyn Lake>) {
    for round in 0..10 {
        let key = format!("round={round}/object");
        let outcomes = race(&open, 8, |number, lake| {
            // Bytes of one writer alone, and of a length of its own.
            block_on(lake.put_new(&key, vec![b'0' + number as u8; 50_000 + number])).unwrap()
        });
        let winners: Vec<usize> = (0..8).filter(|number| outcomes[*number] == Put::Created).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let object = open().get(&key).await.unwrap().unwrap();
        assert!(object == vec![b'0' + winners[0] as u8; 50_000 + winners[0]], "not the object of writer {winners:?}");
    }
}

async fn concurrent_puts_under_different_keys_do_not_mix(open: Open<dyn Lake>) {
    const EACH: usize = 20;
    let object = |writer: usize, number: usize| format!("{writer}:{number};").repeat(5000).into_bytes();
    let key = |writer: usize, number: usize| format!("writer={writer}/{number}");
    race(&open, 4, |writer, lake| {
        for number in 0..EACH {
            let put = block_on(lake.put_new(&key(writer, number), object(writer, number))).unwrap();
            assert_eq!(put, Put::Created);
        }
    });
    let lake = open();
    for (writer, number) in (0..4).flat_map(|writer| (0..EACH).map(move |number| (writer, number))) {
        let found = lake.get(&key(writer, number)).await.unwrap();
        assert!(found == Some(object(writer, number)), "writer {writer}, object {number}");
    }
}

async fn a_reader_sees_the_whole_object_or_none(open: Open<dyn Lake>) {
    let whole = vec![7; 8 << 20];
    let written = AtomicBool::new(false);
    race(&open, 2, |number, lake| {
        if number == 0 {
            let put = block_on(lake.put_new("large", whole.clone()));
            written.store(true, Ordering::SeqCst);
            assert_eq!(put.unwrap(), Put::Created);
            return;
        }
        loop {
            let last = written.load(Ordering::SeqCst);
            match block_on(lake.get("large")).unwrap() {
                Some(found) => assert!(found == whole, "{} bytes of {}", found.len(), whole.len()),
                None => assert!(!last, "created, but not there"),
            }
            if last {
                return;
            }
        }
    });
}

/// Every file below `folder`, by its path from there.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_folder_holds_the_objects_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let lake = FolderLake::open(folder.path()).unwrap();
    for key in ["a/1", "a/1", "b/c/2"] {
        block_on(lake.put_new(key, key.into())).unwrap();
    }
    assert!(block_on(lake.put_new("../outside", Vec::new())).is_err());
    assert_eq!(files(folder.path()), ["a/1", "b/c/2"]);
}

/// A process that dies between giving an object its name and taking the draft's name away leaves two names of one file.
/// In a container the next process has the same id, and must not write into that file.
#[test]
fn what_a_dead_process_of_the_same_id_left_behind_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let lake = FolderLake::open(folder.path()).unwrap();
    block_on(lake.put_new("old", b"delivered and committed".to_vec())).unwrap();
    for number in 0..3 {
        let draft = folder.path().join(".incoming").join(format!("{}-{number}", std::process::id()));
        fs::hard_link(folder.path().join("old"), draft).unwrap();
    }
    let lake = FolderLake::open(folder.path()).unwrap();
    assert_eq!(block_on(lake.put_new("new", b"new".to_vec())).unwrap(), Put::Created);
    assert_eq!(block_on(lake.get("old")).unwrap(), Some(b"delivered and committed".to_vec()));
    assert_eq!(block_on(lake.get("new")).unwrap(), Some(b"new".to_vec()));
}

async fn only_what_the_state_points_to_is_ever_removed(open: Open<dyn Lake>) {
    let lake = open();
    let snapshot = "snapshots/machines/tenant=a0000000-0000-4000-8000-0000000000aa/00000001.ndjson.gz";
    // A neighbour by name, which a careless comparison of prefixes takes for one of them.
    let neighbour = "snapshots-of-mine/a.json";
    for key in [snapshot, KEY, "quarantine/alerts/a.json", neighbour] {
        assert_eq!(lake.put_new(key, b"object".to_vec()).await.unwrap(), Put::Created, "{key}");
    }
    for record in [KEY, "quarantine/alerts/a.json", neighbour, "snapshots", "snapshots/../a", "snapshots/"] {
        assert!(lake.remove(record).await.is_err(), "{record}");
    }
    for record in [KEY, "quarantine/alerts/a.json", neighbour] {
        assert_eq!(lake.get(record).await.unwrap(), Some(b"object".to_vec()), "{record}");
    }
    for _ in 0..2 {
        lake.remove(snapshot).await.unwrap();
        assert_eq!(lake.get(snapshot).await.unwrap(), None);
    }
    // What is gone may come again: a key names what it holds, and nobody asks for it in between.
    assert_eq!(lake.put_new(snapshot, b"again".to_vec()).await.unwrap(), Put::Created);
}
