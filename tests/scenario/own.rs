//! A tenant that brings an application of its own: tried for real before it is saved, and every mistake beside its field.

use std::collections::BTreeMap;

use futures::executor::block_on;
use harness::{ADMIN, ALERT_ROLE, CLIENT, MACHINE_ROLE, SECRET, Stage, TENANT, at, minutes};
use serde_json::{Value, json};
use shared::{
    audit::{Action, Actor},
    consent::connect::{ConnectError, NewConnection, connect_own},
    credential::status,
    ports::vault::{Stage as Label, VaultError},
    secret::Secret,
    tenant::{Connection, Feed, State},
};
use simulator::{Alert, Application, ClientSecret, StorageRole, Tenant};

pub const OWN: &str = "a0000000-0000-4000-8000-0000000000ee";
pub const OWN_SECRET: &str = "canary-own-secret-77c2";
const NAME: &str = "muster/tenants/a0000000-0000-4000-8000-0000000000aa";

/// The tenant's own application, approved there for these roles.
pub fn stage(roles: &[&str]) -> Stage {
    let stage = Stage::new();
    stage.world(|world| {
        world.add_application(Application {
            client_id: OWN.to_owned(),
            home_tenant_id: TENANT.to_owned(),
            name: "Contoso's".to_owned(),
            secrets: vec![ClientSecret {
                key_id: "a0000000-0000-4000-8000-00000000000e".to_owned(),
                value: OWN_SECRET.to_owned(),
                start: at(-100_000),
                end: at(1_000_000),
                usable_from: None,
            }],
            roles: vec![ALERT_ROLE.to_owned(), MACHINE_ROLE.to_owned()],
            ..Application::default()
        });
        world.add_tenant(Tenant::new(TENANT, "Contoso").consented(OWN, roles, at(-10_000)));
    });
    stage
}

pub fn new(feeds: &[Feed]) -> NewConnection {
    NewConnection {
        tenant_id: TENANT.parse().unwrap(),
        account: "Contoso".to_owned(),
        feeds: feeds.to_vec(),
        region: None,
        storage: None,
    }
}

pub fn operator() -> Actor {
    Actor::Operator { oid: ADMIN.to_owned(), name: "Olga Operator".to_owned() }
}

pub fn give(stage: &Stage, new: &NewConnection, client_id: &str, secret: &str) -> Result<Connection, ConnectError> {
    let credential = json!({"kind": "client_secret", "value": secret, "expires_at": "2026-12-10T00:00:00Z"});
    let application = json!({"client_id": client_id, "credential": credential}).to_string();
    block_on(connect_own(&stage.app, new, &Secret::new(application), &operator()))
}

/// What is missing, by field.
fn missing(error: ConnectError) -> Vec<(Value, String)> {
    let text = error.to_string();
    assert!(!text.contains(OWN_SECRET) && !text.contains("muster vault put"), "{text}");
    let ConnectError::NotProven { missing, .. } = error else { panic!("{error}") };
    let missing = missing.iter().map(|one| serde_json::to_value(one).unwrap());
    missing.map(|one| (one["field"].clone(), one["detail"].as_str().unwrap().to_owned())).collect()
}

pub fn stored(stage: &Stage) -> Option<String> {
    match block_on(stage.app.ports.vault.read(NAME, Label::Current, None)) {
        Ok(version) => Some(version.value.expose().clone()),
        Err(VaultError::NotFound(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_application_that_works_is_saved_and_used_and_told_of() {
    let stage = stage(&[ALERT_ROLE]);
    let connection = give(&stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap();
    assert_eq!(connection.state, State::Active);
    let entry: Value = serde_json::from_str(&stored(&stage).unwrap()).unwrap();
    assert_eq!((&entry["client_id"], &entry["home_tenant_id"]), (&json!(OWN), &json!(TENANT)));
    stage.put(Alert::new("da1", at(0)));
    stage.tick();
    assert_eq!(stage.ids(), ["da1"]);
    assert_eq!(stage.actions(), [Action::Connected, Action::CredentialStored]);
    let view = serde_json::to_value(stage.view()).unwrap();
    assert_eq!(
        view["credential"],
        json!({"application": "own", "kind": "client_secret", "expires_at": "2026-12-10T00:00:00Z", "checked_at": "2026-11-22T12:00:00Z"})
    );
    let pressing = block_on(status::pressing(stage.app.ports.store.as_ref(), stage.now())).unwrap();
    assert_eq!(pressing.len(), 1, "it ends within 30 days");
    stage.remove().unwrap();
    assert_eq!(stage.view().credential, None);
    let known = block_on(status::all(stage.app.ports.store.as_ref())).unwrap();
    assert_eq!(known, BTreeMap::new());
}

#[test]
fn every_mistake_is_told_beside_its_field_and_nothing_is_kept() {
    let stage = stage(&[ALERT_ROLE]);
    let alerts = new(&[Feed::Alerts]);
    let stranger =
        NewConnection { tenant_id: "a0000000-0000-4000-8000-0000000000ff".parse().unwrap(), ..alerts.clone() };
    for (error, field, words) in [
        (give(&stage, &alerts, OWN, "wrong"), "credential", "7000215"),
        (give(&stage, &alerts, OWN, OWN), "credential", "the secret's ID"),
        (give(&stage, &alerts, "a0000000-0000-4000-8000-0000000000dd", OWN_SECRET), "client_id", "700016"),
        (give(&stage, &alerts, "Muster", OWN_SECRET), "client_id", "a GUID"),
        (give(&stage, &stranger, OWN, OWN_SECRET), "tenant_id", "90002"),
        (give(&stage, &new(&[Feed::Alerts, Feed::Machines]), OWN, OWN_SECRET), "feeds", MACHINE_ROLE),
        (give(&stage, &new(&[]), OWN, OWN_SECRET), "feeds", "at least one"),
        (give(&stage, &new(&[Feed::Telemetry]), OWN, OWN_SECRET), "storage.account_name", "storage account"),
    ] {
        let missing = missing(error.unwrap_err());
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].0 == field && missing[0].1.contains(words), "{field} {words}: {missing:?}");
    }
    let both = missing(give(&stage, &new(&[]), "Muster", "").unwrap_err());
    assert_eq!(both.len(), 3, "all at once: {both:?}");
    assert_eq!((stored(&stage), stage.tenants().len(), stage.actions()), (None, 0, Vec::<Action>::new()));
    stage.world(|world| world.application(OWN).unwrap().secrets[0].end = at(-1));
    let expired = missing(give(&stage, &alerts, OWN, OWN_SECRET).unwrap_err());
    assert!(expired[0].1.contains("has expired"), "{expired:?}");
}

#[test]
fn a_storage_account_that_is_wrong_is_told_beside_its_field() {
    let stage = Stage::with_storage(&[]);
    let new = NewConnection { storage: Some("contosologs/hints".parse().unwrap()), ..new(&[Feed::Telemetry]) };
    stage.storage(|account| account.firewall = true);
    let shut = missing(give(&stage, &new, CLIENT, SECRET).unwrap_err());
    assert_eq!(shut.len(), 1, "whatever is tried: {shut:?}");
    assert!(shut[0].0 == "storage.account_name" && shut[0].1.contains("firewall"), "{shut:?}");
    stage.storage(|account| account.firewall = false);
    stage.storage(|account| {
        account.unassign(CLIENT, StorageRole::BlobDataReader);
        account.unassign(CLIENT, StorageRole::QueueDataMessageProcessor);
    });
    let refused = missing(give(&stage, &new, CLIENT, SECRET).unwrap_err());
    let fields: Vec<&str> = refused.iter().filter_map(|(field, _)| field.as_str()).collect();
    assert!(fields.contains(&"storage.account_name") && fields.contains(&"storage.queue_name"), "{refused:?}");
}

#[test]
fn what_works_now_goes_on_when_the_new_one_does_not_and_changes_over_when_it_does() {
    let stage = stage(&[ALERT_ROLE]);
    stage.world(|world| {
        let both = Tenant::new(TENANT, "Contoso").consented(OWN, &[ALERT_ROLE], at(-10_000));
        world.add_tenant(both.consented(CLIENT, &[ALERT_ROLE, MACHINE_ROLE], at(-10_000)));
    });
    stage.connect_feeds(&[Feed::Alerts, Feed::Machines], None).unwrap();
    let before = stage.state_versions();
    let refused = missing(give(&stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap_err());
    assert!(refused[0].1.contains(MACHINE_ROLE), "its machines would stop: {refused:?}");
    assert_eq!((stored(&stage), stage.state_versions()), (None, before));
    stage.world(|world| {
        let both = Tenant::new(TENANT, "").consented(OWN, &[ALERT_ROLE, MACHINE_ROLE], at(-10_000));
        world.tenant(TENANT).unwrap().consents = both.consents;
    });
    give(&stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap();
    // Another version replaces it; what is refused does not, whatever else the vault holds that Entra would take.
    give(&stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap();
    let first = stored(&stage);
    assert!(give(&stage, &new(&[Feed::Alerts]), OWN, "worse").is_err());
    assert_eq!(stored(&stage), first);
    stage.put(Alert::new("da1", at(0)));
    stage.pass(minutes(90));
    stage.tick();
    assert_eq!(stage.ids(), ["da1"]);
}

#[test]
fn a_secret_that_waits_for_its_deletion_is_replaced_when_the_tenant_returns_with_another() {
    let stage = stage(&[ALERT_ROLE]);
    give(&stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap();
    stage.pass(minutes(1));
    stage.remove().unwrap();
    assert!(give(&stage, &new(&[Feed::Alerts]), OWN, "wrong").is_err());
    assert_eq!(stored(&stage), None, "still on its way out");
    stage.pass(minutes(1));
    stage.world(|world| world.application(OWN).unwrap().secrets[0].value = "canary-newer-secret-1a".to_owned());
    give(&stage, &new(&[Feed::Alerts]), OWN, "canary-newer-secret-1a").unwrap();
    assert!(stored(&stage).unwrap().contains("canary-newer-secret-1a"));
    let back = [Action::Connected, Action::SecretRestored, Action::CredentialStored];
    assert_eq!(stage.actions().split_at(4).1, back);
    stage.tick();
    assert_eq!(stage.view().state, State::Active);
}

#[test]
fn a_tenant_of_another_account_is_not_taken_over_and_keeps_its_secret() {
    let stage = stage(&[ALERT_ROLE]);
    give(&stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap();
    let before = stored(&stage);
    let other = NewConnection { account: "Fabrikam".to_owned(), ..new(&[Feed::Alerts]) };
    let error = give(&stage, &other, OWN, OWN_SECRET).unwrap_err();
    assert!(matches!(&error, ConnectError::BoundElsewhere(account) if account == "Contoso"), "{error}");
    assert_eq!(stored(&stage), before);
}

#[test]
fn the_daily_check_tells_of_every_entry_and_forgets_those_that_are_gone() {
    let stage = stage(&[ALERT_ROLE]);
    give(&stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap();
    stage.days(1);
    stage.check();
    let known = || block_on(status::all(stage.app.ports.store.as_ref())).unwrap();
    let names: Vec<String> = known().into_keys().collect();
    assert_eq!(names, ["app", &status::own(TENANT.parse().unwrap())]);
    assert!(
        known()
            .values()
            .all(|status| status.checked_at >= at(24 * 60) && status.kind.as_deref() == Some("client_secret"))
    );
    stage.world(|world| world.application(OWN).unwrap().secrets.clear());
    stage.days(1);
    stage.check();
    let warned = known()[&names[1]].warnings.clone();
    assert!(warned.values().any(|text| text.contains("7000215")), "{warned:?}");
    assert!(warned.values().all(|text| !text.contains("vault put")), "it is the customer's: {warned:?}");
    // The status of a secret that somebody has taken away by hand goes with it.
    block_on(stage.app.ports.vault.remove(NAME)).unwrap();
    stage.days(1);
    stage.check();
    assert_eq!(known().into_keys().collect::<Vec<_>>(), ["app"]);
    assert_eq!(stage.view().credential, None);
}
