//! Two hundred tenants that are polled while what they are polled with is exchanged, by every kind of credential.

use std::collections::BTreeSet;

use futures::{executor::block_on, future::join_all};
use harness::{ALERT_ROLE, CLIENT, Issuer, Stage, at, minutes, rotate_entry, seconds};
use serde_json::{Value, json};
use shared::{
    audit::Actor,
    consent::connect::{NewConnection, connect_own},
    ports::vault::Stage::Current,
    secret::Secret,
    tenant::{Ability, Feed},
};
use simulator::{Application, Certificate, CredentialPropagation, Tenant};

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

/// A tenant that comes by an application of its own, which may renew itself. Its entry of the vault.
fn own(stage: &Stage, number: usize, credential: impl FnOnce(&mut Application) -> Value) -> String {
    let [tenant, client_id] = ["d", "e"].map(|kind| format!("{kind}0000000-0000-4000-8000-{number:012}"));
    let mut application = Application {
        client_id: client_id.clone(),
        home_tenant_id: tenant.clone(),
        roles: vec![ALERT_ROLE.to_owned()],
        ..Application::default()
    };
    let credential = credential(&mut application);
    let roles = [ALERT_ROLE, "Application.ReadWrite.OwnedBy"];
    stage.world(|world| {
        world.add_application(application);
        world.registration(&client_id).owners.push(client_id.clone());
        world.add_tenant(Tenant::new(&tenant, "Fabrikam").consented(&client_id, &roles, at(-10_000)));
    });
    let feeds = vec![Feed::Alerts];
    let tenant_id = tenant.parse().unwrap();
    let new = NewConnection { tenant_id, account: "Fabrikam".to_owned(), feeds, region: None, storage: None };
    let entry = Secret::new(json!({"client_id": client_id, "credential": credential}).to_string());
    block_on(connect_own(&stage.app, &new, &entry, &Actor::CommandLine)).unwrap();
    format!("muster/tenants/{tenant}")
}

fn own_by_certificate(stage: &Stage, number: usize) -> String {
    own(stage, number, |application| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let made = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let key_id = format!("f0000000-0000-4000-8000-{number:012}");
        application.certificates.push(Certificate { key_id, der: made.der().to_vec(), usable_from: None });
        json!({"kind": "certificate", "certificate_pem": made.pem(), "private_key_pem": key.serialize_pem()})
    })
}

fn own_by_the_platform(stage: &Stage, number: usize, issuer: &Issuer) -> String {
    own(stage, number, |application| {
        application.federated.push(issuer.trusted());
        json!({"kind": "federated"})
    })
}

fn refusals(stage: &Stage) -> usize {
    let log = stage.simulator.log();
    log.iter().filter(|entry| entry.target.contains("/token") && entry.status == 401).count()
}

/// One tick of every tenant. Each must have asked Defender, and be well; and Entra must have refused none of them.
fn poll(stage: &Stage) -> usize {
    let (before, refused) = (stage.defender_calls().len(), refusals(stage));
    block_on(local::serve::fire(&stage.app, Feed::Alerts, stage.now(), 1));
    stage.drain();
    let asked = stage.defender_calls().len() - before;
    let tenants = stage.tenants();
    for view in &tenants {
        let status = view.capabilities[&Feed::Alerts].status;
        assert_eq!(status, Ability::Ok, "{}: {} was not polled", stage.now(), view.tenant_id);
    }
    assert!(asked >= tenants.len(), "{}: {asked} of {}", stage.now(), tenants.len());
    assert_eq!(refusals(stage), refused, "{}: a poll met the rotation", stage.now());
    tenants.len()
}

fn current(stage: &Stage, entry: &str) -> String {
    block_on(stage.app.ports.vault.read(entry, Current, None)).unwrap().id
}

/// Rotates these entries at the same moment. Every token is short, so that each poll has to ask for one with whatever the
/// vault names; and Entra's replicas take three times as long as they were measured to (MICROSOFT 5.5).
fn rotate_under_load(stage: Stage, entries: &[&str]) {
    let stage = stage.with_short_tokens();
    let slow = CredentialPropagation { least: seconds(54), most: seconds(54) };
    stage.world(|world| world.credential_propagation = slow);
    // An entry that was stored by hand is seen by everybody after half a minute.
    stage.pass(seconds(60));
    let others = stage.tenants().len();
    crowd(&stage, CROWD + 1 - others);
    entries.iter().for_each(|entry| stage.begin_of(entry, "rotated"));
    let (mut polls, mut polled_at, refused) = (0, stage.now(), refusals(&stage));
    let rotations = join_all(entries.iter().map(|entry| rotate_entry(&stage.app, entry, "rotated")));
    let rotated = stage.drive(rotations, |stage| {
        if stage.now().duration_since(polled_at) >= seconds(10) {
            polled_at = stage.now();
            polls += poll(stage);
        }
    });
    rotated.into_iter().for_each(|rotated| rotated.unwrap());
    // Unless nothing was new to Entra, some replica had not heard of it when it was first tried: by the rotation, not by a poll.
    let is_new = stage.graph_calls("addPassword") + stage.graph_calls("addKey") > 0;
    assert_eq!(refusals(&stage) > refused, is_new);
    for _ in 0..4 {
        stage.pass(seconds(10));
        polls += poll(&stage);
        let current: BTreeSet<String> = entries.iter().map(|entry| current(&stage, entry)).collect();
        assert_eq!(current, BTreeSet::from(["rotated".to_owned()]));
    }
    assert!(polls >= 10 * CROWD, "{polls}");
}

#[test]
fn a_secret_is_renewed_and_two_hundred_tenants_do_not_notice() {
    rotate_under_load(Stage::rotating(), &["muster/app"]);
}

#[test]
fn a_certificate_is_renewed_and_two_hundred_tenants_do_not_notice() {
    rotate_under_load(Stage::certified(2030), &["muster/app"]);
}

#[test]
fn a_federated_entry_goes_round_and_two_hundred_tenants_do_not_notice() {
    let (stage, _issuer) = Stage::federated();
    stage.connect(harness::TENANT).unwrap();
    rotate_under_load(stage, &["muster/app"]);
}

#[test]
fn all_three_kinds_are_renewed_at_the_same_moment_and_two_hundred_tenants_do_not_notice() {
    let (stage, issuer) = Stage::rotating().on_a_platform_with_identity();
    let own = (0..20).map(|number| match number % 2 {
        0 => own_by_certificate(&stage, number),
        _ => own_by_the_platform(&stage, number, &issuer),
    });
    let own: Vec<String> = own.collect();
    let entries: Vec<&str> = own.iter().map(String::as_str).chain(["muster/app"]).collect();
    rotate_under_load(stage, &entries);
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
