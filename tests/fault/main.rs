//! The fault run: seeded and deterministic, ports and simulator in one thread and virtual time.
//!
//! Workers die before or after any port call or request, two work on one tenant at once, messages come twice, Microsoft
//! throttles and fails. Afterwards each alert's latest version is in the lake, and no version is there twice. Rotations
//! suffer the same; meanwhile the current credential always works.
//!
//! A failing seed prints the command that replays it; `MUSTER_FAULT_SEEDS` sets how many are run.

#![expect(clippy::expect_used, clippy::panic, reason = "this crate is a test from top to bottom")]

mod chaos;
mod consent;
mod leaving;
mod machines;
mod renewal;
mod rotation;
mod story;
mod telemetry;

use chaos::CrashPoint;
use machines::Inventory;
use rotation::Rotations;
use shared::tenant::Feed;
use story::Story;
use telemetry::Export;

const SEEDS: u64 = 300;
/// Spread over threads by the test harness; each seed is a world of its own.
const SHARES: u64 = 4;

/// Each of these is some dozens of runs long.
const INVENTORY_SEEDS: u64 = 60;

/// Each of these is some hours of export long.
const EXPORT_SEEDS: u64 = 60;

/// Each of these is some rotations long.
const ROTATION_SEEDS: u64 = 80;

fn run_share(share: u64) {
    if let Some(seed) = number("MUSTER_FAULT_SEED") {
        if share == 0 {
            eprintln!("{}", Story::random(seed).tell_verbosely());
        }
        return;
    }
    let seeds = number("MUSTER_FAULT_SEEDS").unwrap_or(SEEDS);
    for seed in (0..seeds).filter(|seed| seed % SHARES == share) {
        let outcome = std::panic::catch_unwind(|| Story::random(seed).tell());
        if outcome.is_err() {
            panic!("seed {seed} fails; replay it with\n  MUSTER_FAULT_SEED={seed} cargo test -p tests --test fault");
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is `{text}`, not a number")))
}

#[test]
fn random_histories_lose_and_double_nothing_first_share() {
    run_share(0);
}

#[test]
fn random_histories_lose_and_double_nothing_second_share() {
    run_share(1);
}

#[test]
fn random_histories_lose_and_double_nothing_third_share() {
    run_share(2);
}

#[test]
fn random_histories_lose_and_double_nothing_fourth_share() {
    run_share(3);
}

#[test]
fn a_crash_at_every_point_of_a_pull_loses_and_doubles_nothing() {
    let mut points = 0;
    for point in 1.. {
        let crashed = Story::scripted(CrashPoint::At(point));
        if !crashed {
            break;
        }
        points = point;
    }
    assert!(points > 20, "only {points} points: the story no longer reaches what it is about");
}

#[test]
fn a_worker_that_is_only_slow_delivers_nothing_after_another_took_over() {
    let mut stalls = 0;
    for point in 1.. {
        let stalled = Story::scripted(CrashPoint::Stall(point));
        if !stalled {
            break;
        }
        stalls = point;
    }
    assert!(stalls > 20, "only {stalls} points");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    assert_eq!(Story::random(42).tell(), Story::random(42).tell());
}

#[test]
fn a_slow_tenant_holds_one_worker_and_no_more() {
    assert_eq!(Story::slow_tenant(), (0, vec!["da1".to_owned()]));
}

#[test]
fn random_rotations_keep_the_current_credential_working_and_leave_nothing_behind() {
    if let Some(seed) = number("MUSTER_FAULT_SEED") {
        eprintln!("{:?}", Rotations::random(seed));
        return;
    }
    let seeds = number("MUSTER_FAULT_SEEDS").map_or(ROTATION_SEEDS, |seeds| seeds / 4);
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| Rotations::random(seed));
        if outcome.is_err() {
            panic!("seed {seed} fails; replay it with\n  MUSTER_FAULT_SEED={seed} cargo test -p tests --test fault");
        }
    }
}

#[test]
fn a_crash_at_every_point_of_a_rotation_leaves_a_working_credential_and_converges() {
    let points = (1..).take_while(|point| Rotations::scripted(CrashPoint::At(*point))).count();
    assert!(points > 70, "only {points} points: the story no longer reaches what it is about");
}

#[test]
fn a_rotation_that_is_taken_over_and_then_goes_on_leaves_a_working_credential_and_converges() {
    let points = (1..).take_while(|point| Rotations::scripted(CrashPoint::Stall(*point))).count();
    assert!(points > 70, "only {points} points");
}

#[test]
fn a_certificate_is_renewed_wherever_its_rotation_dies_stalls_or_fails() {
    for kind in [CrashPoint::At, CrashPoint::Stall, CrashPoint::Fail] {
        let points = (1..).take_while(|point| Rotations::certified(kind(*point))).count();
        assert!(points > 50, "only {points} points");
    }
}

#[test]
fn a_collection_of_keys_is_replaced_wherever_its_rotation_dies_stalls_or_fails() {
    for kind in [CrashPoint::At, CrashPoint::Stall, CrashPoint::Fail] {
        let points = (1..).take_while(|point| Rotations::with_an_ended_certificate(kind(*point))).count();
        assert!(points > 50, "only {points} points");
    }
}

#[test]
fn the_same_seed_tells_the_same_rotations() {
    assert_eq!(Rotations::random(42), Rotations::random(42));
}

#[test]
fn a_renewal_that_dies_stalls_or_fails_anywhere_saves_one_credential_and_is_told_once() {
    for kind in [CrashPoint::At, CrashPoint::Stall, CrashPoint::Fail] {
        let waited: Vec<bool> = (1..).map_while(|point| renewal::renewal(kind(point))).collect();
        let points = waited.len();
        assert!(points > 20, "only {points} points: the story no longer reaches what it is about");
        assert!(waited.contains(&true), "nobody was told that somebody else is at it");
    }
}

#[test]
fn a_renewal_that_stood_still_overwrites_nobody_brings_nobody_back_and_is_told_of() {
    for story in [renewal::overwrites_nobody, renewal::brings_nobody_back, renewal::is_told_of_beside_an_operator] {
        let points = (1..).take_while(|point| story(*point)).count();
        assert!(points > 20, "only {points} points");
    }
}

#[test]
fn a_check_beside_a_rotation_never_takes_its_new_secret_away() {
    let points = (1..).take_while(|point| Rotations::check_beside_a_rotation(*point)).count();
    assert!(points > 20, "only {points} points");
}

#[test]
fn an_outage_at_every_point_of_a_rotation_leaves_a_working_credential_and_converges() {
    let points = (1..).take_while(|point| Rotations::scripted(CrashPoint::Fail(*point))).count();
    assert!(points > 70, "only {points} points");
}

#[test]
fn random_inventories_are_what_their_events_add_up_to() {
    if let Some(seed) = number("MUSTER_FAULT_SEED") {
        eprintln!("{:?}", Inventory::random(seed));
        return;
    }
    let seeds = number("MUSTER_FAULT_SEEDS").map_or(INVENTORY_SEEDS, |seeds| seeds / 4);
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| Inventory::random(seed));
        if outcome.is_err() {
            panic!("seed {seed} fails; replay it with\n  MUSTER_FAULT_SEED={seed} cargo test -p tests --test fault");
        }
    }
}

#[test]
fn a_crash_at_every_point_of_an_inventory_run_loses_and_doubles_nothing() {
    let points = (1..).take_while(|point| Inventory::scripted(CrashPoint::At(*point))).count();
    assert!(points > 30, "only {points} points: the story no longer reaches what it is about");
}

#[test]
fn an_inventory_run_that_is_taken_over_and_then_goes_on_delivers_nothing_more() {
    let points = (1..).take_while(|point| Inventory::scripted(CrashPoint::Stall(*point))).count();
    assert!(points > 30, "only {points} points");
}

#[test]
fn an_outage_at_every_point_of_an_inventory_run_loses_and_doubles_nothing() {
    let points = (1..).take_while(|point| Inventory::scripted(CrashPoint::Fail(*point))).count();
    assert!(points > 30, "only {points} points");
}

#[test]
fn the_same_seed_tells_the_same_inventories() {
    assert_eq!(Inventory::random(42), Inventory::random(42));
}

#[test]
fn random_exports_are_in_the_lake_each_record_once_for_a_blob() {
    if let Some(seed) = number("MUSTER_FAULT_SEED") {
        eprintln!("{:?}", Export::random(seed));
        return;
    }
    let seeds = number("MUSTER_FAULT_SEEDS").map_or(EXPORT_SEEDS, |seeds| seeds / 4);
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| Export::random(seed));
        if outcome.is_err() {
            panic!("seed {seed} fails; replay it with\n  MUSTER_FAULT_SEED={seed} cargo test -p tests --test fault");
        }
    }
}

#[test]
fn a_crash_at_every_point_of_a_drain_loses_and_doubles_nothing() {
    let points = (1..).take_while(|point| Export::scripted(CrashPoint::At(*point))).count();
    assert!(points > 30, "only {points} points: the story no longer reaches what it is about");
}

#[test]
fn a_drain_that_is_taken_over_and_then_goes_on_delivers_nothing_more() {
    let points = (1..).take_while(|point| Export::scripted(CrashPoint::Stall(*point))).count();
    assert!(points > 30, "only {points} points");
}

#[test]
fn an_outage_at_every_point_of_a_drain_loses_and_doubles_nothing() {
    let points = (1..).take_while(|point| Export::scripted(CrashPoint::Fail(*point))).count();
    assert!(points > 30, "only {points} points");
}

#[test]
fn a_blob_that_is_replaced_at_any_point_of_a_drain_is_delivered_once() {
    let points = (1..).take_while(|point| telemetry::replaced_under_way(*point)).count();
    assert!(points > 10, "only {points} points");
}

#[test]
fn the_same_seed_tells_the_same_exports() {
    assert_eq!(Export::random(42), Export::random(42));
}

#[test]
fn a_removal_that_is_cut_short_at_any_point_is_completed_by_the_next() {
    let points = (1..).take_while(|point| leaving::removal(CrashPoint::At(*point))).count();
    assert!(points > 40, "only {points} points: the removal no longer reaches what it is about");
}

#[test]
fn an_outage_at_every_point_of_a_removal_is_made_good_by_the_next() {
    let points = (1..).take_while(|point| leaving::removal(CrashPoint::Fail(*point))).count();
    assert!(points > 40, "only {points} points");
}

#[test]
fn a_return_after_a_removal_that_was_cut_short_gets_everything_once() {
    let points = (1..).take_while(|point| leaving::removal_cut_short(CrashPoint::At(*point))).count();
    assert!(points > 30, "only {points} points");
}

#[test]
fn a_removal_at_any_point_of_a_pull_loses_and_doubles_nothing() {
    for feed in Feed::ALL {
        for back in [false, true] {
            let under = |point: &u32| leaving::removal_under_a_pull(feed, CrashPoint::Stall(*point), back);
            let points = (1..).take_while(under).count();
            assert!(points > 15, "only {points} points of {feed:?}");
        }
        let dead = |point: &u32| leaving::removal_under_a_pull(feed, CrashPoint::At(*point), false);
        assert!((1..).take_while(dead).count() > 15, "{feed:?}");
    }
}
