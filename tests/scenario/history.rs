//! A tenant's last day by the hour: how old its data was, and how much it delivered; and what that costs.

use futures::executor::block_on;
use harness::{Stage, TENANT, at, minutes, seconds};
use shared::tenant::{
    Feed,
    detail::{Detail, detail},
};
use simulator::{Alert, Machine};

fn shown(stage: &Stage) -> Detail {
    let shown = detail(stage.app.ports.store.as_ref(), TENANT.parse().unwrap(), stage.now());
    block_on(shown).unwrap().unwrap()
}

/// The last hours of a feed: (worst age in whole minutes, events).
fn last(stage: &Stage, feed: Feed, count: usize) -> Vec<(Option<u32>, u64)> {
    let hours = shown(stage).history[&feed].clone();
    assert_eq!(hours.len(), 24);
    let told = hours.iter().map(|hour| (hour.worst_seconds.map(|seconds| seconds / 60), hour.delivered));
    told.skip(24 - count).collect()
}

#[test]
fn an_outage_is_seen_in_the_hours_that_it_took_and_a_quiet_hour_is_as_old_as_a_heartbeat() {
    let stage = Stage::connected();
    stage.ticks(70);
    assert_eq!(last(&stage, Feed::Alerts, 3), [(None, 0), (Some(15), 0), (Some(15), 0)]);
    stage.put(Alert::new("da1", stage.now() + seconds(10)));
    stage.pass(minutes(120));
    stage.tick();
    // The last write before the outage was a heartbeat at 13:00.
    assert_eq!(last(&stage, Feed::Alerts, 4), [(Some(15), 0), (Some(60), 0), (Some(120), 0), (Some(131), 1)]);
    let begins: Vec<_> = shown(&stage).history[&Feed::Alerts].iter().map(|hour| hour.begins_at).collect();
    assert_eq!((begins[23], begins[20]), (at(180), at(0)));
}

#[test]
fn history_costs_no_write_of_its_own() {
    let stage = Stage::connected();
    stage.walk_through(3);
    stage.ticks(16);
    let before = stage.state_versions();
    stage.ticks(5);
    assert_eq!(stage.state_versions(), before, "an idle poll writes nothing");
}

#[test]
fn every_feed_has_its_own_hours() {
    let stage = Stage::with_feeds(&[Feed::Alerts, Feed::Machines]);
    stage.machines(|machines| machines.put(Machine::new("m1", at(0))));
    stage.pull(Feed::Machines);
    stage.pass(minutes(60));
    stage.pull(Feed::Machines);
    assert_eq!(last(&stage, Feed::Machines, 2), [(Some(60), 1), (Some(60), 0)]);
    assert_eq!(last(&stage, Feed::Alerts, 1), [(None, 0)]);
    let unknown = detail(stage.app.ports.store.as_ref(), harness::HOME.parse().unwrap(), stage.now());
    assert!(block_on(unknown).unwrap().is_none());
}

#[test]
fn an_item_of_the_version_before_is_read_and_gets_its_history() {
    let stage = Stage::connected();
    stage.ticks(16);
    let tenant: shared::tenant::TenantId = TENANT.parse().unwrap();
    let key = shared::ports::store::Key::new(tenant.partition(), "alerts#progress");
    let store = &stage.app.ports.store;
    let mut item = block_on(store.get(&key)).unwrap().unwrap();
    for new in ["history", "known_from"] {
        item.value.as_object_mut().unwrap().remove(new).unwrap();
    }
    let expect = shared::ports::store::Expect::Version(item.version);
    block_on(store.commit(vec![shared::ports::store::Write::Put { key, value: item.value, expect }])).unwrap();
    stage.ticks(20);
    assert_eq!(last(&stage, Feed::Alerts, 1), [(Some(15), 0)]);
}
