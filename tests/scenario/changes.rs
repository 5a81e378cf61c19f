//! What operators change of a tenant that is in: feeds, region, storage, a pause, the account; and what they set going.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use async_trait::async_trait;
use futures::executor::block_on;
use harness::{ADMIN, ALERT_ROLE, CLIENT, MACHINE_ROLE, Stage, TENANT, at, minutes, seconds};
use shared::{
    App,
    audit::{Action, Actor},
    cloud::Region,
    ports::store::{Item, Key, Store, StoreError, Write},
    tenant::{
        self, Ability, Connection,
        Feed::{self, Alerts, Machines, Telemetry},
        State, TenantId,
        change::{Change, ChangeError, change},
        confirm::confirm,
        pull_now::{Pulled, pull_now},
    },
};
use simulator::{Alert, Exporter, Fault, GroupMembershipClaims, Machine, StorageAccount, StorageRole};

fn id() -> TenantId {
    TENANT.parse().unwrap()
}

fn by() -> Actor {
    Actor::Script { id: "s".to_owned(), name: "nightly".to_owned() }
}

fn set(stage: &Stage, what: Change) -> Result<Connection, ChangeError> {
    block_on(change(&stage.app, id(), &what, &by()))
}

fn feeds(feeds: &[Feed]) -> Change {
    Change { feeds: Some(feeds.to_vec()), ..Change::default() }
}

fn pause(paused: bool) -> Change {
    Change { paused: Some(paused), ..Change::default() }
}

fn account(name: &str) -> Change {
    Change { account: Some(name.to_owned()), ..Change::default() }
}

fn connection(stage: &Stage) -> Connection {
    block_on(tenant::load(stage.app.ports.store.as_ref(), id())).unwrap().unwrap().connection
}

fn refused(done: Result<Connection, ChangeError>, words: &str) {
    assert!(matches!(&done, Err(ChangeError::Refused(told)) if told.contains(words)), "{words}: {done:?}");
}

/// What the trail says since it had so many entries.
fn deeds(stage: &Stage, since: usize) -> Vec<(Action, String)> {
    let trail = stage.trail();
    let new = &trail[since..];
    assert!(new.iter().all(|entry| entry.actor == by() && entry.tenant_id.is_none_or(|tenant| tenant == id())));
    new.iter().map(|entry| (entry.action, entry.detail.clone())).collect()
}

fn deed(action: Action, detail: &str) -> (Action, String) {
    (action, detail.to_owned())
}

/// A storage account as the setup makes it.
fn add_storage(stage: &Stage, name: &str) {
    stage.world(|world| {
        let storage = StorageAccount::new(name, TENANT).with_container(Exporter::CONTAINER).with_queue("hints");
        world.add_storage(
            storage
                .with_role(CLIENT, StorageRole::BlobDataReader)
                .with_role(CLIENT, StorageRole::QueueDataMessageProcessor),
        );
    });
}

#[test]
fn a_feed_is_added_once_it_is_proven_and_what_is_missing_is_told() {
    let stage = Stage::connected();
    let before = stage.trail().len();
    let missing = set(&stage, feeds(&[Alerts, Machines])).unwrap_err();
    assert!(matches!(missing, ChangeError::NotProven(_)), "{missing:?}");
    assert!(missing.to_string().contains("Machine.Read.All"), "{missing}");
    assert_eq!((connection(&stage).feeds.len(), deeds(&stage, before)), (1, vec![]), "nothing is changed");
    stage.approves(&[ALERT_ROLE, MACHINE_ROLE]);
    let changed = set(&stage, feeds(&[Machines, Alerts, Alerts])).unwrap();
    assert_eq!(changed, connection(&stage));
    assert_eq!(stage.capability_of(Machines).status, Ability::Ok);
    assert_eq!(deeds(&stage, before), [deed(Action::Changed, "Added machines.")]);
    set(&stage, feeds(&[Alerts, Machines])).unwrap();
    assert_eq!(deeds(&stage, before).len(), 1, "what is so already is no change");
}

#[test]
fn a_feed_that_is_taken_away_keeps_its_progress_and_goes_on_there_when_it_comes_back() {
    let stage = Stage::with_feeds(&[Alerts, Machines]);
    stage.put(Alert::new("da1", at(0) + seconds(10)));
    stage.walk_through(3);
    assert_eq!(stage.ids(), ["da1"]);
    let before = stage.trail().len();
    set(&stage, feeds(&[Machines])).unwrap();
    assert_eq!(deeds(&stage, before), [deed(Action::Changed, "Took alerts away.")]);
    stage.simulator.clear_log();
    stage.put(Alert::new("da2", stage.now()));
    stage.ticks(3);
    assert_eq!(stage.defender_calls().len(), 0, "nobody asks for its alerts");
    refused(set(&stage, feeds(&[])), "at least one feed must remain");
    set(&stage, feeds(&[Alerts, Machines])).unwrap();
    stage.walk_through(3);
    assert_eq!(stage.ids(), ["da1", "da2"], "no hole, nothing twice");
    stage.assert_exactly_once();
}

#[test]
fn the_state_is_that_of_the_feeds_that_remain() {
    let stage = Stage::with_feeds(&[Alerts, Machines]);
    stage.approves(&[MACHINE_ROLE]);
    stage.pass(minutes(90));
    stage.tick();
    assert_eq!((stage.view().state, stage.capability().status), (State::Active, Ability::RoleMissing));
    set(&stage, feeds(&[Alerts])).unwrap();
    assert_eq!(stage.view().state, State::NeedsConsent);
    set(&stage, feeds(&[Machines])).unwrap();
    assert_eq!(stage.view().state, State::Active);
}

#[test]
fn storage_is_proven_before_telemetry_is_read_there_and_never_moved_untried() {
    let stage = Stage::with_storage(&[]);
    for name in ["contosologs1", "contosologs2"] {
        stage.world(|world| world.add_storage(StorageAccount::new(name, TENANT)));
    }
    stage.connect(TENANT).unwrap();
    refused(set(&stage, feeds(&[Alerts, Telemetry])), "lies in a storage account");
    let storage = |name: &str| Some(format!("{name}/hints").parse().unwrap());
    refused(set(&stage, Change { storage: storage("contosologs1"), ..Change::default() }), "not to have");
    let with = |name: &str| Change { storage: storage(name), ..feeds(&[Alerts, Telemetry]) };
    let missing = set(&stage, with("contosologs1")).unwrap_err();
    assert!(matches!(missing, ChangeError::NotProven(_)) && missing.to_string().contains("contosologs1"), "{missing}");
    add_storage(&stage, "contosologs1");
    let before = stage.trail().len();
    set(&stage, with("contosologs1")).unwrap();
    assert_eq!(
        deeds(&stage, before),
        [deed(Action::Changed, "Added telemetry. Telemetry lies in contosologs1/hints now.")]
    );
    let elsewhere = Change { storage: storage("contosologs2"), ..Change::default() };
    assert!(matches!(set(&stage, elsewhere.clone()), Err(ChangeError::NotProven(_))));
    assert_eq!(connection(&stage).storage, storage("contosologs1"), "it stays where it was");
    add_storage(&stage, "contosologs2");
    assert_eq!(set(&stage, elsewhere).unwrap().storage, storage("contosologs2"));
}

#[test]
fn a_paused_tenant_is_not_asked_and_a_resumed_one_is_whole_again() {
    let stage = Stage::connected();
    stage.walk_through(3);
    let before = stage.trail().len();
    set(&stage, pause(true)).unwrap();
    stage.simulator.clear_log();
    stage.put(Alert::new("da1", stage.now()));
    stage.ticks(30);
    assert_eq!((stage.defender_calls().len(), stage.view().paused), (0, true));
    set(&stage, pause(false)).unwrap();
    stage.tick();
    assert_eq!(stage.ids(), ["da1"]);
    assert_eq!(deeds(&stage, before), [deed(Action::Paused, ""), deed(Action::Resumed, "")]);
}

#[test]
fn a_tenant_moves_to_another_account_with_its_evidence_and_loses_nothing() {
    let stage = Stage::unapproved();
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    stage.walk_through(3);
    let (before, since) = (stage.view(), stage.trail().len());
    set(&stage, account("Fabrikam")).unwrap();
    assert_eq!(deeds(&stage, since), [deed(Action::AccountCreated, ""), deed(Action::Moved, "From Contoso.")]);
    let after = stage.view();
    assert_eq!((after.account.as_str(), after.watermark, after.ledger), ("Fabrikam", before.watermark, before.ledger));
    assert!(before.consent.is_some() && after.consent == before.consent, "the evidence is the tenant's");
    assert!(stage.connect_as("Contoso").is_err());
    stage.connect_as("Fabrikam").unwrap();
    // In another case it is the same account.
    let since = stage.trail().len();
    set(&stage, account("fabriKAM")).unwrap();
    assert_eq!(deeds(&stage, since), []);
    refused(set(&stage, account(" ")), "needs a name");
}

#[test]
fn what_is_only_claimed_is_neither_moved_nor_changed_but_may_be_paused() {
    let stage = unvouched();
    refused(set(&stage, account("Fabrikam")), "confirm the tenant first");
    refused(set(&stage, feeds(&[Alerts, Machines])), "confirm the tenant first");
    set(&stage, pause(true)).unwrap();
    let stage = Stage::unapproved();
    stage.tenant(|tenant| tenant.licence = simulator::Licence::AccountInactive);
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    assert!(connection(&stage).claimed_at.is_some());
    refused(set(&stage, account("Fabrikam")), "not proven yet");
    assert_eq!(stage.view().account, "Contoso");
}

#[test]
fn nobody_changes_what_is_not_here() {
    let stage = Stage::new();
    assert!(matches!(set(&stage, pause(true)), Err(ChangeError::Unknown(_))));
    assert!(matches!(block_on(pull_now(&stage.app, id(), &by())), Err(ChangeError::Unknown(_))));
    assert!(matches!(block_on(confirm(&stage.app, id(), None, &by())), Err(ChangeError::Unknown(_))));
    assert_eq!(stage.trail(), []);
}

/// Somebody else writes first, so many times.
#[derive(Debug)]
struct Contended {
    store: Arc<dyn Store>,
    conflicts: AtomicUsize,
}

#[async_trait]
impl Store for Contended {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.store.get(key).await
    }

    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<(Key, Item)>, StoreError> {
        self.store.query(partition, prefix).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let lost = self.conflicts.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        if lost { Err(StoreError::Conflict) } else { self.store.commit(writes).await }
    }
}

fn contended(stage: &Stage, conflicts: usize) -> App {
    let store = stage.app.ports.store.clone();
    let mut app = stage.app.clone();
    app.ports.store = Arc::new(Contended { store, conflicts: conflicts.into() });
    app
}

#[test]
fn who_loses_to_a_pull_tries_again_without_another_proof_and_gives_up_in_words() {
    let stage = Stage::with_feeds(&[Alerts]);
    stage.simulator.clear_log();
    let changed = block_on(change(&contended(&stage, 3), id(), &feeds(&[Alerts, Machines]), &by())).unwrap();
    assert_eq!(changed.feeds.len(), 2);
    assert_eq!(stage.defender_calls().len(), 1, "what is proven is proven");
    let busy = block_on(change(&contended(&stage, 9), id(), &pause(true), &by())).unwrap_err();
    assert!(matches!(busy, ChangeError::Busy) && busy.to_string().contains("try again"), "{busy}");
    assert!(!stage.view().paused);
}

/// Somebody signed in, and nothing says that they are an administrator.
fn unvouched() -> Stage {
    let stage = Stage::unapproved();
    stage.world(|world| world.registration(CLIENT).group_membership_claims = GroupMembershipClaims::None);
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    assert_eq!(stage.view().state, State::Confirming);
    stage
}

#[test]
fn an_operator_confirms_who_signed_in_and_the_data_flows_at_once() {
    let stage = unvouched();
    stage.put(Alert::new("da1", stage.now() - minutes(10)));
    let since = stage.trail().len();
    let confirmed = block_on(confirm(&stage.app, id(), None, &by())).unwrap();
    assert_eq!((confirmed.state, confirmed.claimed_at), (State::Active, None));
    assert!(confirmed.consents[0].vouched_at.is_some());
    stage.drain();
    assert_eq!(stage.ids(), ["da1"]);
    assert_eq!(deeds(&stage, since), [deed(Action::Confirmed, "Vouched for Ada <b>Admin</b>.")]);
    refused(block_on(confirm(&stage.app, id(), None, &by())), "connected already");
}

#[test]
fn an_operator_vouches_for_the_person_they_have_seen_and_for_nobody_who_came_since() {
    let stage = unvouched();
    let seen = stage.view().consent.unwrap().oid;
    let other = "a0000000-0000-4000-8000-0000000ad222";
    stage.tenant(|tenant| tenant.users.push(Stage::admin(other)));
    stage.visitor().consent(&stage.invite("Fabrikam"), other);
    refused(block_on(confirm(&stage.app, id(), Some(&seen), &by())), "somebody else has signed in since");
    let view = stage.view();
    assert_eq!(
        (view.state, view.account.as_str()),
        (State::Confirming, "Fabrikam"),
        "the last claim stands, unconfirmed"
    );
    assert!(block_on(confirm(&stage.app, id(), Some(other), &by())).is_ok());
}

#[test]
fn what_is_not_proven_is_not_confirmed() {
    let stage = unvouched();
    stage.tenant(|tenant| tenant.consents.clear());
    let missing = block_on(confirm(&stage.app, id(), None, &by())).unwrap_err();
    assert!(matches!(missing, ChangeError::NotProven(_)), "{missing:?}");
    assert_eq!(stage.view().state, State::Confirming);
}

fn pulled(stage: &Stage) -> Pulled {
    let pulled = block_on(pull_now(&stage.app, id(), &by())).unwrap();
    stage.drain();
    pulled
}

#[test]
fn a_pull_now_asks_every_feed_that_is_due_and_says_why_the_others_are_not() {
    let stage = Stage::with_feeds(&[Alerts, Machines]);
    stage.walk_through(3);
    stage.pass(seconds(20));
    stage.put(Alert::new("da1", stage.now() - seconds(5)));
    stage.machines(|machines| machines.put(Machine::new("m1", at(0))));
    let since = stage.trail().len();
    assert_eq!(pulled(&stage), Pulled { feeds: vec![Alerts, Machines], passed_by: vec![] });
    assert_eq!((stage.ids(), stage.feed_view(Machines).machines), (vec!["da1".to_owned()], Some(1)));
    assert_eq!(deeds(&stage, since), [deed(Action::PulledNow, "Asked for alerts and machines.")]);

    stage.script([Fault::Throttled { seconds: 600, header: true, words: true }]);
    stage.tick();
    let again = pulled(&stage);
    assert_eq!((again.feeds.as_slice(), again.passed_by[0].feed), (&[Machines][..], Alerts));
    assert!(again.passed_by[0].reason.starts_with("Not asked before 2026-11-22 12:"), "{again:?}");
    assert!(again.passed_by[0].reason.contains("Microsoft asked us to wait"), "{again:?}");

    set(&stage, pause(true)).unwrap();
    let since = stage.trail().len();
    let none = pulled(&stage);
    assert!(none.feeds.is_empty() && none.passed_by.iter().all(|feed| feed.reason.contains("paused")), "{none:?}");
    assert_eq!(deeds(&stage, since), [], "nothing was done");
}

#[test]
fn a_tenant_that_waits_for_an_operators_word_is_not_pulled() {
    let stage = unvouched();
    let none = pulled(&stage);
    assert!(none.feeds.is_empty() && none.passed_by[0].reason.contains("confirm the tenant first"), "{none:?}");
}

#[test]
fn another_region_is_proven_by_the_feeds_that_work_before_anything_moves_there() {
    let stage = Stage::with_feeds(&[Alerts, Machines]);
    let region = |region: Option<Region>| Change { region: Some(region), ..Change::default() };
    let since = stage.trail().len();
    stage.script([Fault::Html(404)]);
    let missing = set(&stage, region(Some(Region::Eu))).unwrap_err();
    assert!(missing.to_string().starts_with("alerts: "), "{missing}");
    assert_eq!((connection(&stage).region, deeds(&stage, since)), (None, vec![]));
    assert_eq!(set(&stage, region(Some(Region::Eu))).unwrap().region, Some(Region::Eu));
    assert_eq!(stage.view().region, Some(Region::Eu));
    stage.pass(seconds(1));
    assert_eq!(set(&stage, region(None)).unwrap().region, None);
    let said = ["The region is eu now.", "The region is none in particular now."];
    assert_eq!(deeds(&stage, since), said.map(|words| deed(Action::Changed, words)));
}
