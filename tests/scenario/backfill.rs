//! Older alerts once more, from a date: beside what is new, with its progress shown, and nothing twice.

use futures::executor::block_on;
use harness::{Stage, TENANT, at, minutes};
use jiff::{SignedDuration, Timestamp};
use shared::{
    alert::{
        backfill::{Backfill, begin},
        progress::WalkReason,
    },
    audit::{Action, Actor},
    tenant::{Feed, change::ChangeError},
};
use simulator::Alert;

fn days_ago(days: i64) -> Timestamp {
    at(0) - SignedDuration::from_hours(24 * days)
}

fn backfill(stage: &Stage, since: Timestamp) -> Result<Backfill, ChangeError> {
    block_on(begin(&stage.app, TENANT.parse().unwrap(), since, &Actor::CommandLine))
}

fn refused(stage: &Stage, since: Timestamp, words: &str) {
    let done = backfill(stage, since);
    assert!(matches!(&done, Err(ChangeError::Refused(told)) if told.contains(words)), "{words}: {done:?}");
}

/// Connected at noon, with one alert for each of the last hundred days; the first look is done.
fn stage() -> Stage {
    let stage = Stage::new();
    for day in 0..100 {
        stage.put(Alert::new(&format!("da{day:03}"), days_ago(day) - minutes(10)));
    }
    stage.connect(TENANT).unwrap();
    stage.walk_through(10);
    assert_eq!(stage.ids().len(), 7);
    stage
}

#[test]
fn a_backfill_brings_what_is_older_and_nothing_twice() {
    let stage = stage();
    let begun = backfill(&stage, days_ago(30)).unwrap();
    assert_eq!(
        begun,
        Backfill {
            reason: WalkReason::Backfill,
            since: days_ago(30),
            until: days_ago(7),
            reached: days_ago(30),
            percent: 0
        }
    );
    assert_eq!((stage.view().backfill, stage.view().backlog), (Some(begun), true));
    stage.drain();
    stage.walk_through(20);
    assert_eq!((stage.ids().len(), stage.view().backfill), (30, None));
    stage.assert_exactly_once();
    // Once more from the very same date finds everything seen.
    let again = backfill(&stage, days_ago(30)).unwrap();
    assert_eq!((again.since, again.until), (days_ago(30), at(0)), "to the watermark as it was last written");
    stage.walk_through(20);
    assert_eq!(stage.ids().len(), 30);
    stage.assert_exactly_once();
    backfill(&stage, days_ago(40)).unwrap();
    stage.walk_through(20);
    assert_eq!(stage.ids().len(), 40);
    stage.assert_exactly_once();
    let entry = stage.trail().into_iter().find(|entry| entry.action == Action::BackfillBegun).unwrap();
    assert_eq!(entry.detail, "Alerts from 2026-10-23 12:00 UTC to 2026-11-15 12:00 UTC.");
}

#[test]
fn the_first_message_leaves_at_once_and_what_is_new_is_never_delayed() {
    let stage = stage();
    backfill(&stage, days_ago(30)).unwrap();
    stage.drain();
    assert!(stage.ids().len() > 7, "without a tick");
    stage.put(Alert::new("da-new", stage.now()));
    stage.tick();
    assert!(stage.ids().contains(&"da-new".to_owned()));
}

#[test]
fn progress_is_shown_while_it_walks() {
    let stage = Stage::with(&[("MUSTER_PAGE_SIZE", "3")]);
    for n in 0..2000 {
        stage.put(Alert::new(&format!("da{n:04}"), days_ago(1) - minutes(20 * n)));
    }
    stage.connect(TENANT).unwrap();
    let first = stage.view().backfill.unwrap();
    assert_eq!((first.reason, first.since, first.until, first.percent), (WalkReason::FirstLook, days_ago(7), at(0), 0));
    let mut shown = Vec::new();
    for _ in 0..200 {
        stage.tick();
        let Some(walk) = stage.view().backfill else { break };
        assert!(walk.reached >= walk.since && walk.reached < walk.until, "{walk:?}");
        shown.push(walk.percent);
    }
    assert!(
        shown.len() > 3 && shown.is_sorted() && shown.iter().any(|percent| (20..80).contains(percent)),
        "{shown:?}"
    );
    assert_eq!(stage.view().backfill, None);
}

#[test]
fn one_backfill_at_a_time_and_what_makes_no_sense_is_refused_in_words() {
    let stage = Stage::new();
    stage.connect(TENANT).unwrap();
    refused(&stage, days_ago(3), "first look is still on its way");
    refused(&stage, days_ago(181), "180 days");
    refused(&stage, at(1), "in the past");
    backfill(&stage, days_ago(30)).unwrap();
    refused(&stage, days_ago(60), "under way (0 %)");
    assert_eq!(stage.deeds().iter().filter(|(action, _)| *action == Action::BackfillBegun).count(), 1);
    let stage = Stage::with_feeds(&[Feed::Machines]);
    refused(&stage, days_ago(30), "only alerts can be read again");
    let stage = Stage::new();
    assert!(matches!(backfill(&stage, days_ago(30)), Err(ChangeError::Unknown(_))));
}
