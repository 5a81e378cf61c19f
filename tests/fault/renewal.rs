//! Renewal links under faults: whoever dies, stalls or meets an outage while a new credential is saved, and whoever else
//! has the letter presses too. What is current works, one credential was saved, and the trail tells of it once.

use std::{cell::RefCell, rc::Rc};

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use futures::{FutureExt, executor::block_on, future::LocalBoxFuture};
use harness::{ALERT_ROLE, Stage, TENANT, at, minutes, seconds};
use serde_json::json;
use shared::{
    App,
    audit::{Action, Actor},
    consent::connect::{NewConnection, connect_own},
    credential::renewal,
    ports::vault::Stage::{Current, Previous},
    secret::Secret,
    tenant::{Feed, State},
};
use simulator::{Application, ClientSecret, Tenant};

use crate::chaos::{self, CrashPoint, Fate};

const OWN: &str = "a0000000-0000-4000-8000-0000000000ee";
const OLD: &str = "canary-old-own-secret-5d1b";
const NEW: &str = "canary-new-own-secret-7c40";
const FORM: [(&str, &str); 3] = [("kind", "client_secret"), ("client_secret", NEW), ("ends", "2027-11-01")];

fn entry() -> String {
    format!("muster/tenants/{TENANT}")
}

/// A tenant whose own application's secret has ended and been replaced in Entra; and the link by which we are told.
fn scene() -> (Stage, String) {
    let stage = Stage::new();
    let secret = |key_id: &str, value: &str, end| ClientSecret {
        key_id: format!("a0000000-0000-4000-8000-0000000000{key_id}"),
        value: value.to_owned(),
        start: at(-1000),
        end,
        usable_from: None,
    };
    stage.world(|world| {
        world.add_application(Application {
            client_id: OWN.to_owned(),
            home_tenant_id: TENANT.to_owned(),
            secrets: vec![secret("0a", OLD, at(30)), secret("0b", NEW, at(1_000_000))],
            roles: vec![ALERT_ROLE.to_owned()],
            ..Application::default()
        });
        world.add_tenant(Tenant::new(TENANT, "Contoso").consented(OWN, &[ALERT_ROLE], at(-1000)));
    });
    let tenant_id = TENANT.parse().expect("a constant");
    let feeds = vec![Feed::Alerts];
    let new = NewConnection { tenant_id, account: "Contoso".to_owned(), feeds, region: None, storage: None };
    let entry = json!({"client_id": OWN, "credential": {"kind": "client_secret", "value": OLD}});
    let entry = Secret::new(entry.to_string());
    block_on(connect_own(&stage.app, &new, &entry, &Actor::CommandLine)).expect("it works");
    stage.ticks(2);
    stage.pass(minutes(100));
    stage.ticks(2);
    assert_eq!(stage.view().state, State::CredentialFault);
    let made = block_on(renewal::make(&stage.app, tenant_id, &Actor::CommandLine)).expect("it is the tenant's own");
    stage.sent(&made.link);
    (stage, made.link.to_string())
}

type Answer = Rc<RefCell<Option<ApiGatewayV2httpResponse>>>;

fn answered<'a>(app: &'a App, event: ApiGatewayV2httpRequest, answer: &Answer) -> LocalBoxFuture<'a, ()> {
    let place = answer.clone();
    async move { *place.borrow_mut() = Some(console::handle(app, event, minutes(10)).await) }.boxed_local()
}

/// A renewal with the crash, stall or outage at one point of it. Whether the second person was told to wait; `None` when the
/// renewal ended before the point.
pub fn renewal(point: CrashPoint) -> Option<bool> {
    let (stage, link) = scene();
    let fate = Fate::new(1, point);
    let app = chaos::app(&stage, &fate);
    let mut first = stage.visitor();
    let (event, answer) = (first.form(&link, &FORM), Answer::default());
    let place = answer.clone();
    let mut work = async { *place.borrow_mut() = Some(console::handle(&app, event, minutes(10)).await) }.boxed_local();
    let done = chaos::run_alone(&fate, &mut work);

    let mut second = stage.visitor().post_form(&link, &FORM);
    let waited = second.status == 409;
    if waited {
        assert!(second.heading().contains("being saved"), "{point:?}: {}", second.body);
        stage.pass(minutes(2));
        second = stage.visitor().post_form(&link, &FORM);
    }
    assert!(matches!(second.status, 200 | 410), "{point:?}: {} {}", second.status, second.body);
    if !done && !fate.is_dead() {
        fate.wake_up();
        assert!(chaos::run_alone(&fate, &mut work), "{point:?}");
    }
    drop(work);
    let first = answer.take().map(|response| first.receive(response).status);
    assert!(first != Some(200) || second.status != 200, "{point:?}: both were told that theirs is saved");

    stage.pass(minutes(100));
    stage.ticks(2);
    assert_eq!(stage.view().state, State::Active, "{point:?}");
    let stored = block_on(stage.app.ports.vault.read(&entry(), Current, None)).expect("it is there");
    assert!(stored.value.expose().contains(NEW), "{point:?}");
    assert_eq!(stage.visitor().get(&link).status, 410, "{point:?}");
    stage.check();
    let told = stage.trail().into_iter().filter(|entry| entry.action == Action::CredentialRenewed);
    let told: Vec<(Actor, bool)> = told.map(|entry| (entry.actor, entry.detail.contains(OWN))).collect();
    assert_eq!(told, [(Actor::LinkHolder, true)], "{point:?}");
    fate.came_true().then_some(waited)
}

/// A renewal that stands still at one point while somebody else is at work, and then goes on, or dies so many steps later.
/// False when the point was not reached.
fn overtaken(point: u32, dies: Option<u32>, meanwhile: impl FnOnce(&Stage)) -> (Stage, bool) {
    let (stage, link) = scene();
    let fate = Fate::new(1, CrashPoint::Stall(point));
    let app = chaos::app(&stage, &fate);
    let (event, answer) = (stage.visitor().form(&link, &FORM), Answer::default());
    let mut work = answered(&app, event, &answer);
    let stood_still = !chaos::run_alone(&fate, &mut work);
    if stood_still {
        meanwhile(&stage);
        dies.map_or_else(|| fate.wake_up(), |steps| fate.wake_up_to_die(steps));
        assert!(chaos::run_alone(&fate, &mut work) || fate.is_dead(), "point {point}");
    }
    drop(work);
    if let Some(response) = answer.take() {
        stage.visitor().receive(response);
    }
    (stage, stood_still)
}

/// An operator stores another credential: that one is what somebody meant last, at once or from the next check on. False
/// when the point was not reached.
pub fn overwrites_nobody(point: u32) -> bool {
    for dies in [None].into_iter().chain((1..16).map(Some)) {
        let credential = json!({"kind": "client_secret", "value": NEW});
        let by_hand = json!({"client_id": OWN, "home_tenant_id": TENANT, "credential": credential});
        let (stage, stood_still) = overtaken(point, dies, |stage| {
            let by_hand = Secret::new(by_hand.to_string());
            stage.pass(seconds(1));
            block_on(stage.app.ports.vault.put(&entry(), "by-hand", &by_hand, &[Current], None)).expect("it is taken");
            stage.pass(seconds(1));
        });
        if !stood_still {
            return false;
        }
        let checks = if dies.is_some() { 2 } else { 1 };
        for _ in 0..checks {
            stage.pass(minutes(3));
            stage.check();
        }
        let current = block_on(stage.app.ports.vault.read(&entry(), Current, None)).expect("it is there").id;
        assert_eq!(current, "by-hand", "point {point}, died after {dies:?}");
        // The trail tells of what was current until then, and not of what was taken back.
        let labels = block_on(stage.app.ports.vault.describe(&entry())).expect("it is there");
        let previous = labels.version(Previous).expect("there were two at least");
        let was_taken_back = labels.created[previous] > labels.created["by-hand"];
        let told = stage.trail().into_iter().filter(|entry| entry.action == Action::CredentialRenewed).count();
        assert!(told <= usize::from(!was_taken_back), "point {point}, died after {dies:?}: {told}");
    }
    true
}

/// An operator asks for a link, which must not take the place of what is kept of the saving: what becomes current is in the
/// trail once, at once or from the next check on. False when the point was not reached.
pub fn is_told_of_beside_an_operator(point: u32) -> bool {
    for dies in [None].into_iter().chain((1..16).map(Some)) {
        let (stage, stood_still) = overtaken(point, dies, |stage| {
            let tenant = TENANT.parse().expect("a constant");
            // Where somebody is at it they are told to wait.
            let _link = block_on(renewal::make(&stage.app, tenant, &Actor::CommandLine));
        });
        if !stood_still {
            return false;
        }
        stage.pass(minutes(3));
        stage.check();
        let current = block_on(stage.app.ports.vault.read(&entry(), Current, None)).expect("it is there").value;
        let told = stage.trail().into_iter().filter(|entry| entry.action == Action::CredentialRenewed).count();
        assert_eq!(told, usize::from(current.expose().contains(NEW)), "point {point}, died after {dies:?}");
    }
    true
}

/// An operator removes the tenant: it stays so, and nothing of it is kept. False when the point was not reached.
pub fn brings_nobody_back(point: u32) -> bool {
    let (stage, stood_still) = overtaken(point, None, |stage| drop(stage.remove().expect("nobody else is at it")));
    if !stood_still {
        return false;
    }
    assert_eq!(stage.view().state, State::Removed, "point {point}");
    let left = block_on(stage.app.ports.vault.list("muster/tenants/")).expect("the vault answers");
    assert_eq!(left, Vec::<String>::new(), "point {point}");
    true
}
