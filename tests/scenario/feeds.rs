//! Tenants with several feeds: each is proven for itself, refused in its own words, and shown for itself; and what one
//! refuses takes no other down.

use harness::{ADMIN, ALERT_ROLE, CLIENT, MACHINE_ROLE, Stage, TENANT, at, minutes};
use serde_json::json;
use shared::{
    cloud::Region,
    tenant::{
        Ability,
        Feed::{self, Alerts, Machines, Telemetry},
        State,
    },
};
use simulator::{
    Alert, Application, EmptyInventory, Exporter, Fault, Machine, Route, StorageAccount, StorageRole, Tenant,
};

const ACCOUNT: &str = "contosologs1";
const QUEUE: &str = "muster-hints";
const STORAGE: Option<&str> = Some("contosologs1/muster-hints");

fn account() -> StorageAccount {
    StorageAccount::new(ACCOUNT, TENANT)
}

/// As the setup makes it, before the first event.
fn ready() -> StorageAccount {
    account()
        .with_container(Exporter::CONTAINER)
        .with_queue(QUEUE)
        .with_role(CLIENT, StorageRole::BlobDataReader)
        .with_role(CLIENT, StorageRole::QueueDataMessageProcessor)
}

/// The tenant has approved everything; its storage is this.
fn stage_with(storage: StorageAccount) -> Stage {
    let stage = Stage::with_storage(&[]);
    stage.approves(&[ALERT_ROLE, MACHINE_ROLE]);
    stage.world(|world| world.add_storage(storage));
    stage
}

fn filled(stage: &Stage) {
    stage.world(|world| {
        if let Some(storage) = world.storage(ACCOUNT) {
            storage.append(Exporter::CONTAINER, "tenantId=x/y=2026/m=11/d=22/h=11/m=00/PT1H.json", "{}\r\n");
        }
    });
}

/// The lines that say what is missing, each under its feed.
fn missing(stage: &Stage, feeds: &[Feed], storage: Option<&str>) -> Vec<String> {
    let error = stage.connect_feeds(feeds, storage).err().unwrap_or_default();
    assert!(!error.is_empty(), "nothing is missing");
    assert_eq!(stage.tenants().len(), 0, "nothing is bound");
    error.lines().map(str::to_owned).collect()
}

#[test]
fn a_tenant_with_all_feeds_is_proven_by_one_real_call_of_each() {
    let stage = stage_with(ready());
    filled(&stage);
    stage.connect_feeds(&Feed::ALL, STORAGE).unwrap();
    let view = stage.view();
    assert_eq!(view.state, State::Active);
    for feed in Feed::ALL {
        assert_eq!(stage.capability_of(feed).status, Ability::Ok, "{feed:?}");
    }
    let asked: Vec<String> = stage.simulator.log().into_iter().map(|entry| entry.target).collect();
    for call in ["/api/alerts?", "/api/machines?$top=1", "comp=list", "PT1H.json", "peekonly=true"] {
        assert!(asked.iter().any(|target| target.contains(call)), "{call}: {asked:#?}");
    }
    stage.world(|world| {
        let queue = world.storage(ACCOUNT).and_then(|storage| storage.queue(QUEUE)).expect("the queue");
        assert!(queue.is_empty(), "a probe was left behind");
    });
}

#[test]
fn pain_09_what_is_missing_is_named_feed_by_feed_each_with_its_remedy() {
    let stage = stage_with(account().with_container(Exporter::CONTAINER).with_queue(QUEUE));
    filled(&stage);
    stage.approves(&[ALERT_ROLE]);
    let lines = missing(&stage, &Feed::ALL, STORAGE);
    let said = |feed: &str, word: &str| lines.iter().any(|line| line.starts_with(feed) && line.contains(word));
    assert!(said("machines: ", MACHINE_ROLE), "{lines:#?}");
    for word in ["list blobs", "peek at messages", "delete messages"] {
        assert!(said("telemetry: ", word), "{word}: {lines:#?}");
    }
    assert!(!said("alerts", ""), "alerts work: {lines:#?}");
    // One thing that keeps two feeds from working is said once.
    stage.tenant(|tenant| tenant.conditional_access_blocks = true);
    let lines = missing(&stage, &[Alerts, Machines], None);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("alerts, machines: ") && lines[0].contains("Conditional Access"), "{lines:#?}");
}

#[test]
fn pain_20_storage_that_lists_and_then_refuses_is_found_out_at_the_door() {
    type Story = (fn() -> StorageAccount, &'static [&'static str]);
    let stories: [Story; 4] = [
        // Contributor lists, and reads nothing.
        (|| ready_without_blob_role().with_role(CLIENT, StorageRole::Contributor), &["we may not read blobs"]),
        (ready_without_blob_role, &["we may not list blobs"]),
        // Who may peek may not delete by that.
        (
            || ready_without_queue_role().with_role(CLIENT, StorageRole::QueueDataReader),
            &["we may not delete messages"],
        ),
        (ready_without_queue_role, &["we may not peek at messages", "we may not delete messages"]),
    ];
    for (storage, words) in stories {
        let stage = stage_with(storage());
        filled(&stage);
        let lines = missing(&stage, &[Alerts, Telemetry], STORAGE);
        for word in words {
            assert!(lines.iter().any(|line| line.contains(word)), "{word}: {lines:#?}");
        }
        assert!(lines.iter().all(|line| line.starts_with("telemetry: ")), "{lines:#?}");
    }
    let stage = stage_with(ready());
    filled(&stage);
    stage.world(|world| world.storage(ACCOUNT).expect("the account").firewall = true);
    let lines = missing(&stage, &[Alerts, Telemetry], STORAGE);
    assert!(lines.iter().all(|line| line.contains("firewall")), "{lines:#?}");
    assert_eq!(lines.len(), 1, "one wall, one line: {lines:#?}");
}

fn ready_without_blob_role() -> StorageAccount {
    account()
        .with_container(Exporter::CONTAINER)
        .with_queue(QUEUE)
        .with_role(CLIENT, StorageRole::QueueDataMessageProcessor)
}

fn ready_without_queue_role() -> StorageAccount {
    account().with_container(Exporter::CONTAINER).with_queue(QUEUE).with_role(CLIENT, StorageRole::BlobDataReader)
}

#[test]
fn an_export_that_has_not_begun_is_let_in_and_said() {
    let rights = |storage: StorageAccount| {
        storage.with_role(CLIENT, StorageRole::BlobDataReader).with_role(CLIENT, StorageRole::QueueDataMessageProcessor)
    };
    for (storage, word) in [
        (rights(account()), "stream DeviceNetworkEvents"),
        (rights(account().with_queue(QUEUE)), "stream DeviceNetworkEvents"),
        (ready(), "still empty"),
    ] {
        let stage = stage_with(storage);
        stage.connect_feeds(&[Alerts, Telemetry], STORAGE).unwrap();
        let capability = stage.capability_of(Telemetry);
        assert_eq!(capability.status, Ability::NotConfigured, "{capability:?}");
        assert!(capability.next_step.contains(word), "{capability:?}");
        assert_eq!(stage.view().state, State::Active);
    }
    // Alone, too, telemetry is enough to be connected with.
    let stage = stage_with(ready());
    stage.connect_feeds(&[Telemetry], STORAGE).unwrap();
    assert_eq!(stage.view().state, State::Active);
}

#[test]
fn a_connected_tenant_gets_more_feeds_and_keeps_what_it_has() {
    let stage = stage_with(ready());
    stage.put(Alert::new("da-old", at(-60)));
    stage.connect(TENANT).unwrap();
    stage.walk_through(10);
    let before = stage.view();
    stage.pass(minutes(1));
    stage.connect_feeds(&[Machines], None).unwrap();
    stage.connect_feeds(&[Telemetry], STORAGE).unwrap();
    let after = stage.view();
    assert_eq!(after.capabilities.keys().copied().collect::<Vec<_>>(), Feed::ALL);
    assert_eq!((after.watermark, after.ledger), (before.watermark, before.ledger));
    assert_eq!((after.connected_at, after.backlog), (before.connected_at, false));
    assert_eq!(after.capabilities[&Alerts], before.capabilities[&Alerts]);
    assert_eq!(after.storage.as_ref().map(|storage| storage.account_name.as_str()), Some(ACCOUNT));
    // Where the telemetry lies is known now.
    stage.connect_feeds(&Feed::ALL, None).unwrap();
    assert_eq!(stage.view().storage, after.storage);
    stage.tick();
    stage.assert_exactly_once();
}

#[test]
fn what_cannot_be_added_leaves_the_tenant_as_it_was() {
    let stage = stage_with(account());
    stage.approves(&[ALERT_ROLE]);
    stage.connect(TENANT).unwrap();
    let before = stage.state_versions();
    let error = stage.connect_feeds(&[Machines], None).unwrap_err();
    assert!(error.starts_with("machines: ") && error.contains(MACHINE_ROLE), "{error}");
    let error = stage.connect_feeds(&[Alerts, Telemetry], STORAGE).unwrap_err();
    assert!(error.lines().all(|line| line.starts_with("telemetry: ")), "{error}");
    assert_eq!(stage.state_versions(), before);
}

#[test]
fn storage_and_telemetry_are_asked_for_together() {
    let stage = stage_with(ready());
    let error = stage.connect_feeds(&[Alerts], STORAGE).unwrap_err();
    assert!(error.contains("--feeds telemetry"), "{error}");
    let error = stage.connect_feeds(&[Alerts, Telemetry], None).unwrap_err();
    assert!(error.contains("--storage ACCOUNT/QUEUE"), "{error}");
    let error = stage.invite_for("Contoso", &[Alerts, Telemetry]).unwrap_err();
    assert!(error.contains("muster connect TENANT_ID") && error.contains("--storage ACCOUNT/QUEUE"), "{error}");
    assert_eq!(stage.tenants().len(), 0);
}

#[test]
fn a_404_of_defenders_own_is_an_empty_inventory_and_no_other_is() {
    for empty in [EmptyInventory::NotFound, EmptyInventory::EmptyList] {
        let stage = Stage::new();
        stage.approves(&[ALERT_ROLE, MACHINE_ROLE]);
        stage.machines(|machines| machines.empty = empty);
        stage.connect_feeds(&[Machines], None).unwrap();
    }
    let stage = Stage::new();
    stage.approves(&[ALERT_ROLE, MACHINE_ROLE]);
    stage.script_machines([Fault::Html(404)]);
    let lines = missing(&stage, &[Alerts, Machines], None);
    assert!(lines.len() == 1 && lines[0].contains("/api/machines"), "{lines:#?}");
}

#[test]
fn pain_09_a_missing_role_of_machines_leaves_the_tenant_active_and_says_what_to_do() {
    let stage = Stage::with_feeds(&[Alerts, Machines]);
    stage.machines(|machines| machines.put(Machine::new("m1", at(-5))));
    stage.ticks(2);
    stage.pull(Machines);
    stage.approves(&[ALERT_ROLE]);
    stage.pass(minutes(90));
    for _ in 0..3 {
        stage.tick();
        stage.pull(Machines);
        let capability = stage.capability_of(Machines);
        assert_eq!((stage.view().state, stage.capability().status), (State::Active, Ability::Ok));
        assert_eq!(capability.status, Ability::RoleMissing);
        assert!(capability.next_step.contains(MACHINE_ROLE) && !capability.next_step.contains(ALERT_ROLE));
    }
    // The other way round as well.
    stage.approves(&[MACHINE_ROLE]);
    stage.connect_feeds(&[Machines], None).unwrap();
    stage.pass(minutes(90));
    stage.tick();
    assert_eq!((stage.view().state, stage.capability().status), (State::Active, Ability::RoleMissing));
    assert!(stage.capability().next_step.contains(ALERT_ROLE));
    // With neither the tenant needs its administrator.
    stage.approves(&[]);
    stage.pass(minutes(90));
    stage.pull(Machines);
    assert_eq!(stage.view().state, State::NeedsConsent);
}

#[test]
fn a_token_refused_is_the_whole_tenants_and_one_feed_that_comes_back_ends_it() {
    let stage = Stage::with_feeds(&[Alerts, Machines]);
    stage.ticks(2);
    stage.tenant(|tenant| tenant.conditional_access_blocks = true);
    stage.pass(minutes(90));
    stage.tick();
    assert_eq!(stage.view().state, State::Blocked);
    stage.pull(Machines);
    assert_eq!(stage.capability_of(Machines).status, Ability::Failing);
    stage.tenant(|tenant| tenant.conditional_access_blocks = false);
    // The operator need not wait for the daily look, and names one feed only.
    stage.connect_feeds(&[Alerts], None).unwrap();
    assert_eq!(stage.view().state, State::Active);
    stage.pass(minutes(5));
    stage.pull(Machines);
    assert_eq!(stage.capability_of(Machines).status, Ability::Ok);
}

#[test]
fn pain_14_an_invited_tenant_is_in_with_the_first_role_and_waits_for_the_second() {
    let stage = Stage::unapproved();
    let link = stage.invite_for("Contoso", &[Alerts, Machines]).unwrap();
    let page = stage.visitor().get(&link);
    assert!(page.body.contains(ALERT_ROLE) && page.body.contains(MACHINE_ROLE), "{}", page.body);
    // Of the two roles the application asks for, one has been spread so far.
    let page = stage.visitor().consent(&link, ADMIN);
    assert_eq!((page.status, page.heading()), (200, "Connected"));
    stage.drain();
    let waiting = stage.capability_of(Machines);
    assert_eq!((stage.view().state, stage.capability().status), (State::Active, Ability::Ok));
    assert!(waiting.next_step.contains("still spreading"), "{waiting:?}");
    stage.machines(|machines| machines.put(Machine::new("m1", at(-5))));
    stage.ticks(20);
    assert!(stage.capability_of(Machines).next_step.contains("still spreading"));
    stage.tenant(|tenant| tenant.consents[0].roles.push(MACHINE_ROLE.to_owned()));
    stage.tick();
    assert_eq!(stage.capability_of(Machines).status, Ability::Ok);
    assert_eq!(stage.view().feeds[&Machines].machines, Some(1), "and the first inventory is in");
    let asked = stage.machine_calls().len();
    stage.ticks(10);
    assert_eq!(stage.machine_calls().len(), asked, "what works has its own tick");
    assert_eq!(stage.view().consent.unwrap().roles, [ALERT_ROLE, MACHINE_ROLE]);
}

#[test]
fn pain_14_a_second_role_that_never_comes_is_named_after_the_hour() {
    let stage = Stage::unapproved();
    let link = stage.invite_for("Contoso", &[Alerts, Machines]).unwrap();
    stage.visitor().consent(&link, ADMIN);
    stage.ticks(61);
    let named = stage.capability_of(Machines);
    assert_eq!((stage.view().state, named.status), (State::Active, Ability::RoleMissing));
    assert!(named.next_step.contains(MACHINE_ROLE), "{named:?}");
}

/// Invited for machines alone; their role lags the consent by so many minutes.
fn invited_for_machines(lag: i64) -> Stage {
    let stage = Stage::unapproved();
    stage.world(|world| {
        world.application(CLIENT).unwrap().roles = vec![MACHINE_ROLE.to_owned()];
        world.consent_propagation.roles = minutes(lag);
    });
    let link = stage.invite_for("Contoso", &[Machines]).unwrap();
    stage.visitor().consent(&link, ADMIN);
    stage.machines(|machines| machines.put(Machine::new("m1", at(-5))));
    assert_eq!(stage.view().state, State::Propagating);
    stage
}

#[test]
fn pain_14_a_tenant_of_machines_alone_need_not_wait_for_their_own_slow_tick() {
    let stage = invited_for_machines(20);
    stage.ticks(19);
    assert_eq!(stage.view().state, State::Propagating);
    stage.ticks(2);
    let view = stage.view();
    assert_eq!((view.state, view.claimed_at), (State::Active, None));
    assert_eq!(view.feeds[&Machines].machines, Some(1));
    let never = invited_for_machines(100_000);
    never.ticks(61);
    let named = never.capability_of(Machines);
    assert_eq!((never.view().state, named.status), (State::NeedsConsent, Ability::RoleMissing));
    assert!(named.next_step.contains(MACHINE_ROLE), "{named:?}");
}

const OWN: &str = "a0000000-0000-4000-8000-0000000000ee";

/// The tenant has an application of its own with these roles, and we have its secret.
fn lends_its_own_application(stage: &Stage, roles: &[&str]) {
    stage.world(|world| {
        world.add_application(Application {
            client_id: OWN.to_owned(),
            home_tenant_id: TENANT.to_owned(),
            ..harness::application()
        });
    });
    let consents = Tenant::new(TENANT, "").consented(OWN, roles, at(-10_000)).consents;
    stage.tenant(|tenant| {
        tenant.consents.retain(|consent| consent.client_id != OWN);
        tenant.consents.extend(consents);
    });
    stage.store_own_application(OWN);
}

#[test]
fn another_application_must_be_let_in_by_every_feed_that_works() {
    let stage = Stage::with_feeds(&[Alerts, Machines]);
    stage.tick();
    lends_its_own_application(&stage, &[ALERT_ROLE]);
    let before = stage.state_versions();
    let error = stage.connect_feeds(&[Alerts], None).unwrap_err();
    assert!(error.starts_with("machines: ") && error.contains(MACHINE_ROLE), "{error}");
    assert_eq!(stage.state_versions(), before);
    lends_its_own_application(&stage, &[ALERT_ROLE, MACHINE_ROLE]);
    stage.connect_feeds(&[Alerts], None).unwrap();
    // Both are the new one's now, whatever becomes of the old one.
    stage.tenant(|tenant| tenant.consents.retain(|consent| consent.client_id == OWN));
    stage.pass(minutes(90));
    stage.tick();
    stage.pull(Machines);
    assert_eq!((stage.capability().status, stage.capability_of(Machines).status), (Ability::Ok, Ability::Ok));
}

#[test]
fn another_region_must_be_right_for_every_feed_that_works() {
    let stage = Stage::connected();
    stage.approves(&[ALERT_ROLE, MACHINE_ROLE]);
    stage.script([Fault::Html(404)]);
    let before = stage.state_versions();
    let error = stage.connect_in(Region::Eu, &[Machines]).unwrap_err();
    assert!(error.starts_with("alerts: "), "{error}");
    assert_eq!(stage.state_versions(), before);
    stage.connect_in(Region::Eu, &[Machines]).unwrap();
}

#[test]
fn an_invitation_leaves_a_tenant_the_application_of_its_own() {
    let stage = Stage::unapproved();
    lends_its_own_application(&stage, &[ALERT_ROLE, MACHINE_ROLE]);
    stage.connect_feeds(&[Alerts, Machines], None).unwrap();
    let link = stage.invite_for("Contoso", &[Alerts]).unwrap();
    let page = stage.visitor().consent(&link, ADMIN);
    assert_eq!((page.status, page.heading()), (200, "Connected"));
    stage.pass(minutes(90));
    stage.tick();
    stage.pull(Machines);
    assert_eq!((stage.capability().status, stage.capability_of(Machines).status), (Ability::Ok, Ability::Ok));
}

#[test]
fn one_throttled_feed_delays_no_other() {
    let stage = Stage::with_feeds(&[Alerts, Machines]);
    stage.world(|world| {
        world.script(Route::Machines, [Fault::Throttled { seconds: 300, header: true, words: false }]);
    });
    stage.pull(Machines);
    stage.put(Alert::new("da1", stage.now()));
    stage.tick();
    assert_eq!(stage.ids(), ["da1"]);
    assert_eq!((stage.view().state, stage.capability_of(Machines).status), (State::Active, Ability::Throttled));
}

#[test]
fn operators_see_every_feed_for_itself() {
    let stage = stage_with(ready());
    stage.machines(|machines| machines.put(Machine::new("m1", at(-5))));
    stage.connect_feeds(&Feed::ALL, STORAGE).unwrap();
    stage.tick();
    stage.pull(Machines);
    let view = serde_json::to_value(stage.view()).unwrap();
    assert_eq!(view["storage"], json!({"account_name": ACCOUNT, "queue_name": QUEUE}));
    let keys = |feed: &str| view["feeds"][feed].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys("alerts"), ["freshness_seconds", "ledger", "watermark"]);
    assert_eq!(keys("machines"), ["freshness_seconds", "ledger", "machines", "watermark"]);
    assert_eq!(view["feeds"]["machines"]["machines"], 1);
    assert_eq!(view["feeds"]["machines"]["ledger"]["delivered"], 1);
    for top in ["watermark", "freshness_seconds", "ledger"] {
        assert_eq!(view[top], view["feeds"]["alerts"][top], "{top}");
    }
    let without_alerts = Stage::new();
    without_alerts.approves(&[MACHINE_ROLE]);
    without_alerts.machines(|machines| machines.put(Machine::new("m1", at(-5))));
    without_alerts.connect_feeds(&[Machines], None).unwrap();
    without_alerts.pull(Machines);
    assert_eq!(without_alerts.view().ledger.delivered, 1, "the first feed there is");
}
