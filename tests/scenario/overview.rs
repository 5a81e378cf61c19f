//! All tenants together: what stands first, and the numbers of the whole service.

use futures::executor::block_on;
use harness::{ALERT_ROLE, CLIENT, Stage, TENANT, at, minutes};
use shared::{
    audit::Actor,
    tenant::{
        Ability, Feed, State, account,
        change::{Change, change},
        glance::{Urgency, by_account, glance},
        overview::overview,
    },
};
use simulator::{Fault, Tenant};

fn tenant(n: usize) -> String {
    format!("a0000000-0000-4000-8000-0000000001{n:02}")
}

/// Four tenants of three accounts, and an account without any: one fine, one throttled, one that took its approval back, one
/// paused.
fn stage() -> Stage {
    let stage = Stage::connected();
    for (n, account) in [(1, "Fabrikam"), (2, "Fabrikam"), (3, "Adatum")] {
        let new = Tenant::new(&tenant(n), "Other").consented(CLIENT, &[ALERT_ROLE], at(-9_000));
        stage.world(|world| world.add_tenant(new));
        stage.connect_tenant(&tenant(n), account).unwrap();
    }
    block_on(account::create(stage.app.ports.store.as_ref(), "Empty", stage.now(), &Actor::CommandLine)).unwrap();
    let pause = Change { paused: Some(true), ..Change::default() };
    block_on(change(&stage.app, tenant(3).parse().unwrap(), &pause, &Actor::CommandLine)).unwrap();
    stage.walk_through(5);
    stage.world(|world| world.tenant(&tenant(1)).unwrap().consents.clear());
    stage.pass(minutes(90));
    stage.tick();
    stage
}

#[test]
fn the_worst_account_stands_first_and_says_what_to_do() {
    let stage = stage();
    let store = stage.app.ports.store.as_ref();
    let glances = block_on(glance(store, stage.now())).unwrap();
    let accounts = by_account(block_on(account::list(store)).unwrap(), glances);
    let seen: Vec<_> = accounts
        .iter()
        .map(|account| {
            let urgencies: Vec<Urgency> = account.tenants.iter().map(|tenant| tenant.urgency()).collect();
            (account.account.as_str(), account.id.is_some(), urgencies)
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("Fabrikam", true, vec![Urgency::Stopped, Urgency::Fine]),
            ("Adatum", true, vec![Urgency::Paused]),
            ("Contoso", true, vec![Urgency::Fine]),
            ("Empty", true, vec![]),
        ]
    );
    let worst = accounts[0].tenants[0].worst.as_ref().unwrap();
    assert!(worst.capability.next_step.contains("approve the application again"), "{worst:?}");
}

#[test]
fn the_overview_counts_states_needs_and_freshness() {
    let stage = stage();
    stage.script([Fault::Throttled { seconds: 600, header: true, words: true }]);
    stage.tick();
    let told = block_on(overview(stage.app.ports.store.as_ref(), stage.now())).unwrap();
    assert_eq!((told.tenants, told.paused, told.throttled, told.failing), (4, 1, 1, 0));
    assert_eq!(told.states.into_iter().collect::<Vec<_>>(), [(State::Active, 3), (State::NeedsConsent, 1)]);
    let needs: Vec<_> = told.needs.iter().map(|need| (need.feed, need.status, need.tenants)).collect();
    assert_eq!(needs, [(Feed::Alerts, Ability::RoleMissing, 1)]);
    // Those who paused, or whose customer must act first, are not waited for.
    assert_eq!(told.freshness.tenants, 2);
    let ages = (told.freshness.p50_seconds.unwrap(), told.freshness.p99_seconds.unwrap());
    assert!(ages.0 <= ages.1 && ages.1 < 16 * 60, "{ages:?}");
    stage.pass(minutes(60));
    let later = block_on(overview(stage.app.ports.store.as_ref(), stage.now())).unwrap();
    assert_eq!(later.freshness.p99_seconds, Some(ages.1 + 3600));
    assert_eq!(later.throttled, 0, "nobody waits any more");
    assert!(!stage.tenants().iter().any(|view| view.tenant_id.to_string() == TENANT && view.paused));
}
