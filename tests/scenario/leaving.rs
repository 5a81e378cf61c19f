//! A tenant leaves, and perhaps comes back: it stops at once, keeps nothing that works, and gets nothing twice.

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use harness::{ADMIN, CLIENT, Stage, TENANT, minutes};
use serde_json::{Value, json};
use shared::{
    App,
    audit::{Action, Actor},
    consent::connect::{NewConnection, connect},
    ports::{
        Unavailable,
        store::{Item, Key, Store, StoreError, Write},
        vault::{RECOVERY, Stage as Label, VaultError},
    },
    tenant::{
        Feed, State,
        remove::{Outcome, RemoveError},
    },
};

const OWN: &str = "muster/tenants/a0000000-0000-4000-8000-0000000000aa";

fn is_there(stage: &Stage, name: &str) -> bool {
    match block_on(stage.app.ports.vault.read(name, Label::Current, None)) {
        Ok(_) => true,
        Err(VaultError::NotFound(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_removed_tenant_stops_at_once_and_keeps_what_a_return_needs() {
    let stage = Stage::with_everything();
    let consents = stage.consents(TENANT);
    let removed = serde_json::to_value(stage.remove().unwrap()).unwrap();
    assert_eq!((&removed["tenant_id"], &removed["account"]), (&json!(TENANT), &json!("Contoso")));
    assert_eq!(removed["outcome"], "removed");
    assert_eq!(removed["removed"]["feeds"], json!(["alerts", "machines", "telemetry"]));
    assert_eq!((&removed["removed"]["secret"], &removed["removed"]["state_items"]), (&Value::Null, &json!(3)));
    assert!(removed["kept"].as_array().is_some_and(|kept| kept.len() > 2));
    assert_eq!(
        removed["microsoft_link"],
        "https://entra.microsoft.com/#view/Microsoft_AAD_IAM/StartboardApplicationsMenuBlade/~/AppAppsPreview"
    );
    assert!(removed["microsoft_step"].as_str().is_some_and(|step| step.contains(CLIENT)), "{removed}");

    let view = stage.view();
    assert_eq!((view.state, view.feeds.len(), view.storage, view.watermark), (State::Removed, 0, None, None));
    assert_eq!(stage.consents(TENANT), consents);
    let known = ["alerts#progress", "alerts#seen#", "machines#progress", "telemetry#"];
    let partition = stage.partition();
    assert!(partition.iter().all(|sort| known.iter().any(|known| sort.starts_with(known))), "{partition:?}");
    assert!(stage.snapshots().iter().all(|key| key.contains(TENANT)));
    let (objects, versions) = (stage.lake.objects(), stage.state_versions());
    stage.simulator.clear_log();
    stage.hours(2);
    assert_eq!(stage.simulator.log().len(), 0, "nobody is asked anything");
    assert_eq!((stage.lake.objects(), stage.state_versions()), (objects, versions));
}

#[test]
fn a_tenant_that_comes_back_begins_anew_and_gets_nothing_twice() {
    let stage = Stage::with_everything();
    stage.hours(1);
    stage.assert_everything_once(20);
    stage.remove().unwrap();
    stage.pass(minutes(600));
    stage.more_of_everything(2);
    stage.connect_everything().unwrap();
    let view = stage.view();
    assert!(view.backlog, "the first look is due again");
    assert_eq!((view.state, view.connected_at, view.ledger.delivered), (State::Active, stage.now(), 0));
    stage.hours(3);
    stage.assert_everything_once(30);
    for feed in Feed::ALL {
        let ledger = stage.feed_view(feed).ledger;
        assert!(ledger.balances() && ledger.delivered > 0, "{feed:?} {ledger:?}");
    }
    assert!(!stage.view().backlog);
    stage.more_of_everything(3);
    stage.hours(3);
    stage.assert_everything_once(40);
}

#[test]
fn a_machine_that_went_while_the_tenant_was_away_is_reported_as_gone() {
    let stage = Stage::with_everything();
    stage.hours(1);
    stage.remove().unwrap();
    stage.machines(|machines| machines.remove("m0-1"));
    stage.connect_everything().unwrap();
    stage.hours(4);
    stage.assert_everything_once(20);
    assert!(stage.machine_news().contains(&("m0-1".to_owned(), "Removed".to_owned())));
}

#[test]
fn a_feed_that_comes_back_later_than_its_tenant_begins_anew_too() {
    let stage = Stage::with_everything();
    stage.hours(1);
    stage.remove().unwrap();
    stage.connect_feeds(&[Feed::Machines], None).unwrap();
    stage.hours(1);
    stage.more_of_everything(2);
    stage.connect_everything().unwrap();
    assert!(stage.view().backlog, "the alerts' first look");
    stage.hours(3);
    stage.assert_everything_once(30);
}

#[test]
fn removing_again_finds_nothing_left_and_a_stranger_is_unknown() {
    let stage = Stage::connected();
    assert_eq!(stage.remove().unwrap().outcome, Outcome::Removed);
    let versions = stage.state_versions();
    let again = stage.remove().unwrap();
    assert_eq!((again.outcome, again.removed.feeds, again.removed.state_items), (Outcome::NothingLeft, vec![], 0));
    assert_eq!(stage.state_versions(), versions);
    assert_eq!(stage.actions().iter().filter(|action| **action == Action::Removed).count(), 1);
    assert!(matches!(Stage::new().remove(), Err(RemoveError::Unknown(_))));
}

#[test]
fn the_secret_of_a_tenants_own_application_goes_with_it_and_comes_back_with_it() {
    let stage = Stage::new();
    stage.store_own_application(CLIENT);
    stage.connect_as("Contoso").unwrap();
    stage.pass(minutes(1));
    let secret = stage.remove().unwrap().removed.secret.unwrap();
    assert_eq!((secret.name.as_str(), secret.recoverable_until), (OWN, stage.now() + RECOVERY));
    assert!(!is_there(&stage, OWN));
    stage.pass(minutes(29 * 24 * 60));
    let again = stage.remove().unwrap();
    assert_eq!((again.outcome, again.removed.secret), (Outcome::NothingLeft, Some(secret)));
    // Microsoft does not let us in: it stays as it was.
    stage.approves(&[]);
    stage.connect_as("Contoso").unwrap_err();
    assert!(!is_there(&stage, OWN), "what is not connected keeps no secret");
    stage.approves(&[harness::ALERT_ROLE]);
    stage.connect_as("Contoso").unwrap();
    assert!(is_there(&stage, OWN));
    stage.simulator.clear_log();
    stage.tick();
    assert_eq!(stage.view().state, State::Active);
    let trail = stage.actions();
    assert_eq!(
        trail,
        [Action::Connected, Action::Removed, Action::SecretRemoved, Action::Connected, Action::SecretRestored]
    );
    // Too late: the provider's own application takes its place.
    stage.remove().unwrap();
    stage.pass(minutes(31 * 24 * 60));
    stage.connect_as("Contoso").unwrap();
    assert!(!is_there(&stage, OWN));
}

#[test]
fn an_invitation_for_this_very_tenant_ends_with_it_and_any_other_stays() {
    let stage = Stage::unapproved();
    let first = stage.invite("Contoso");
    assert_eq!(stage.visitor().consent(&first, ADMIN).status, 200);
    let for_it = stage.invite_expecting("Contoso", Some(TENANT));
    let for_anybody = stage.invite("Contoso");
    let from_another = stage.invite_expecting("Fabrikam", Some(TENANT));
    assert_eq!(stage.remove().unwrap().removed.invitations, 1);
    assert_eq!(stage.visitor().get(&for_it).status, 410);
    assert_eq!(stage.visitor().get(&for_anybody).status, 200);
    // Whoever is removed blocks nobody.
    assert_eq!(stage.visitor().consent(&from_another, ADMIN).status, 200);
    let view = stage.view();
    assert_eq!((view.account.as_str(), view.state), ("Fabrikam", State::Active));
    assert_eq!(stage.consents(TENANT).len(), 2, "the evidence of both");
    assert_eq!(stage.remove().unwrap().account, "Fabrikam");
    assert!(stage.actions().contains(&Action::Consented));
}

#[test]
fn a_pass_that_was_under_way_delivers_nothing_after_the_removal() {
    let stage = Stage::with_everything();
    for feed in Feed::ALL {
        block_on(local::serve::fire(&stage.app, feed, stage.now(), 60));
    }
    stage.remove().unwrap();
    let objects = stage.lake.objects();
    stage.simulator.clear_log();
    stage.drain();
    assert_eq!((stage.lake.objects(), stage.simulator.log().len()), (objects, 0));
}

/// A store whose next transaction goes wrong for whoever asks for it.
#[derive(Debug)]
struct Trouble {
    store: Arc<dyn Store>,
    next: Mutex<Option<Mishap>>,
}

#[derive(Debug)]
enum Mishap {
    /// It is carried out, and nobody is told.
    AnswerLost,
    /// Somebody else is a moment earlier.
    Meanwhile(Box<App>, NewConnection),
}

#[async_trait::async_trait]
impl Store for Trouble {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.store.get(key).await
    }

    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<(Key, Item)>, StoreError> {
        self.store.query(partition, prefix).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let mishap = self.next.lock().unwrap().take();
        match mishap {
            None => self.store.commit(writes).await,
            Some(Mishap::AnswerLost) => {
                self.store.commit(writes).await?;
                Err(Unavailable::new("DynamoDB", "no answer").into())
            }
            Some(Mishap::Meanwhile(app, new)) => {
                connect(&app, &new, &Actor::CommandLine).await.unwrap();
                self.store.commit(writes).await
            }
        }
    }
}

/// A tenant with an application of its own that was removed, and is brought back over this mishap.
fn brought_back_over(mishap: impl FnOnce(&Stage, &NewConnection) -> Mishap) -> Stage {
    let stage = Stage::new();
    stage.store_own_application(CLIENT);
    stage.connect_as("Contoso").unwrap();
    stage.remove().unwrap();
    assert!(!is_there(&stage, OWN));
    let new = NewConnection {
        tenant_id: TENANT.parse().unwrap(),
        account: "Contoso".to_owned(),
        feeds: vec![Feed::Alerts],
        region: None,
        storage: None,
    };
    let next = Mutex::new(Some(mishap(&stage, &new)));
    let mut app = stage.app.clone();
    app.ports.store = Arc::new(Trouble { store: stage.app.ports.store.clone(), next });
    block_on(connect(&app, &new, &Actor::CommandLine)).unwrap_err();
    stage
}

#[test]
fn a_tenant_whose_binding_got_no_answer_keeps_the_secret_that_it_lives_by() {
    let stage = brought_back_over(|_, _| Mishap::AnswerLost);
    assert_eq!(stage.view().state, State::Active);
    assert!(is_there(&stage, OWN));
}

#[test]
fn of_two_who_bring_a_tenant_back_the_later_takes_nothing_away() {
    let stage = brought_back_over(|stage, new| Mishap::Meanwhile(Box::new(stage.app.clone()), new.clone()));
    assert_eq!(stage.view().state, State::Active);
    assert!(is_there(&stage, OWN));
}
