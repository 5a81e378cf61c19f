//! Two hundred tenants that are polled while the one application they all approved gets another credential.

use std::collections::BTreeSet;

use futures::executor::block_on;
use harness::{ALERT_ROLE, CLIENT, Stage, at, minutes, rotate, seconds};
use shared::{
    ports::vault::Stage::Current,
    tenant::{Ability, Feed},
};
use simulator::Tenant;

const CROWD: usize = 200;

/// Tenants of the stage's application, connected, beside the first one.
fn crowd(stage: &Stage, size: usize) {
    for number in 1..size {
        let id = format!("c0000000-0000-4000-8000-{number:012}");
        let tenant = Tenant::new(&id, &format!("Customer {number}")).consented(CLIENT, &[ALERT_ROLE], at(-10_000));
        stage.world(|world| world.add_tenant(tenant));
        stage.connect_tenant(&id, "Contoso").unwrap();
    }
}

/// One tick of every tenant. Each must have asked Defender, and be well.
fn poll(stage: &Stage) -> usize {
    let before = stage.defender_calls().len();
    block_on(local::serve::fire(&stage.app, Feed::Alerts, stage.now(), 1));
    stage.drain();
    let asked = stage.defender_calls().len() - before;
    let tenants = stage.tenants();
    for view in &tenants {
        let status = view.capabilities[&Feed::Alerts].status;
        assert_eq!(status, Ability::Ok, "{}: {} was not polled", stage.now(), view.tenant_id);
    }
    assert!(asked >= tenants.len(), "{}: {asked} of {}", stage.now(), tenants.len());
    tenants.len()
}

/// Every token is short, so that each poll has to ask for one with whatever the vault names.
fn rotates_under_load(stage: Stage) {
    let stage = stage.with_short_tokens();
    // An entry that was stored by hand is seen by everybody after half a minute.
    stage.pass(seconds(60));
    crowd(&stage, CROWD);
    let before = block_on(stage.app.ports.vault.read("muster/app", Current, None)).unwrap().id;
    stage.begin("rotated");
    let (mut polls, mut polled_at) = (0, stage.now());
    let mut versions = BTreeSet::new();
    stage
        .drive(rotate(&stage.app, "rotated"), |stage| {
            if stage.now().duration_since(polled_at) >= seconds(10) {
                polled_at = stage.now();
                polls += poll(stage);
            }
        })
        .unwrap();
    for _ in 0..4 {
        stage.pass(seconds(10));
        polls += poll(&stage);
        versions.insert(block_on(stage.app.ports.vault.read("muster/app", Current, None)).unwrap().id);
    }
    assert!(polls >= 10 * CROWD, "{polls}");
    assert_eq!((versions.contains(&before), versions.len()), (false, 1), "{versions:?}");
    let log = stage.simulator.log();
    let is_new = |entry: &&simulator::Entry| entry.target.contains(harness::HOME) && entry.status == 401;
    // Unless nothing was new to Entra, some replica had not heard of it when it was first tried.
    let flaps = log.iter().filter(is_new).count();
    assert_eq!(flaps > 0, stage.graph_calls("addPassword") + stage.graph_calls("addKey") > 0, "{flaps}");
    let refused = log.iter().filter(|entry| entry.target.contains("/token") && entry.status == 401);
    // Whatever Entra refused on the way was a credential under test, in the home tenant; no customer's poll met it.
    assert!(refused.clone().all(|entry| entry.target.contains(harness::HOME)), "{:?}", refused.collect::<Vec<_>>());
}

#[test]
fn a_secret_is_renewed_and_two_hundred_tenants_do_not_notice() {
    rotates_under_load(Stage::rotating());
}

#[test]
fn a_certificate_is_renewed_and_two_hundred_tenants_do_not_notice() {
    rotates_under_load(Stage::certified(2030));
}

#[test]
fn a_federated_entry_goes_round_and_two_hundred_tenants_do_not_notice() {
    let (stage, _issuer) = Stage::federated();
    stage.connect(harness::TENANT).unwrap();
    rotates_under_load(stage);
}

#[test]
fn a_warm_process_asks_for_a_token_every_55_minutes_and_tenant() {
    let stage = Stage::rotating();
    crowd(&stage, 5);
    poll(&stage);
    let tokens = || stage.simulator.log().iter().filter(|entry| entry.target.contains("/token")).count();
    let (before, hours) = (tokens(), 11);
    for _ in 0..hours * 12 {
        stage.pass(minutes(5));
        poll(&stage);
    }
    // A token lives an hour and is renewed five minutes early.
    assert_eq!(tokens() - before, 5 * 12);
}
