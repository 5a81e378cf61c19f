//! The consent under faults: a crash and a stall at every step of a walk, and two walks at once in every order.

use std::{cell::RefCell, rc::Rc};

use futures::{FutureExt, future::LocalBoxFuture};
use harness::{ADMIN, Page, Stage, TENANT, Visitor, at};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use shared::{
    App,
    tenant::{Feed, State},
};
use simulator::Alert;

use crate::chaos::{self, CrashPoint, Fate};

/// How a walk ended.
enum Walk<'a> {
    Done(Page),
    /// The worker died or stalled over one of the requests; the person waits.
    Stuck(LocalBoxFuture<'a, ()>),
}

/// One request, answered by a worker under this fate. `Err` when no answer comes.
fn request<'a>(
    visitor: &mut Visitor<'_>,
    app: &'a App,
    fate: &Fate,
    method: &str,
    url: &str,
) -> Result<Page, LocalBoxFuture<'a, ()>> {
    let answer = Rc::new(RefCell::new(None));
    let event = visitor.event(method, url);
    let place = answer.clone();
    let mut work =
        async move { *place.borrow_mut() = Some(consent_callback::handle(app, event, harness::minutes(10)).await) }
            .boxed_local();
    if !chaos::run_alone(fate, &mut work) {
        return Err(work);
    }
    let response = answer.borrow_mut().take().expect("a handler that is done has answered");
    Ok(visitor.receive(response))
}

/// The whole walk of Contoso's administrator.
fn walk<'a>(stage: &Stage, link: &str, app: &'a App, fate: &Fate) -> Walk<'a> {
    let mut admin = stage.visitor();
    let mut steps = || -> Result<Page, LocalBoxFuture<'a, ()>> {
        let page = request(&mut admin, app, fate, "GET", link)?;
        let page = request(&mut admin, app, fate, "POST", page.action())?;
        let back = stage.simulator.approve(&page.location, ADMIN);
        let page = request(&mut admin, app, fate, "GET", &back)?;
        let back = admin.sign_in(&page.location, ADMIN);
        request(&mut admin, app, fate, "GET", &back)
    };
    match steps() {
        Ok(page) => Walk::Done(page),
        Err(work) => Walk::Stuck(work),
    }
}

fn scene() -> (Stage, String) {
    let stage = Stage::unapproved();
    stage.put(Alert::new("da1", at(-30)));
    let link = stage.invite("Contoso");
    (stage, link)
}

/// Whatever happened: one connection, one piece of evidence, every alert once.
fn verdict(stage: &Stage) {
    stage.ticks(2);
    let tenants = stage.tenants();
    assert_eq!(tenants.len(), 1);
    assert_eq!((tenants[0].state, tenants[0].account.as_str()), (State::Active, "Contoso"));
    assert_eq!(tenants[0].claimed_at, None);
    assert_eq!(stage.consents(TENANT).len(), 1, "one approval, one piece of evidence");
    assert_eq!(stage.ids(), ["da1"]);
    stage.assert_exactly_once();
}

#[test]
fn a_crash_at_every_point_of_a_consent_leaves_the_way_open() {
    for point in 1.. {
        let (stage, link) = scene();
        let fate = Fate::new(1, CrashPoint::At(point));
        let app = chaos::app(&stage, &fate);
        match walk(&stage, &link, &app, &fate) {
            Walk::Done(page) => assert_eq!(page.status, 200),
            Walk::Stuck(work) => {
                drop(work);
                // The person begins again. Was the tenant bound before the answer got lost, the link says so.
                let bound = !stage.tenants().is_empty();
                let mut again = stage.visitor();
                let status = if bound { again.get(&link).status } else { again.consent(&link, ADMIN).status };
                assert_eq!(status, if bound { 410 } else { 200 }, "point {point}");
            }
        }
        verdict(&stage);
        if !fate.came_true() {
            assert!(point > 30, "only {point} points: the walk no longer reaches what it is about");
            return;
        }
    }
}

#[test]
fn an_outage_at_every_point_of_a_consent_gets_a_page_and_leaves_the_way_open() {
    for point in 1.. {
        let (stage, link) = scene();
        let fate = Fate::new(1, CrashPoint::Fail(point));
        let app = chaos::app(&stage, &fate);
        let mut admin = stage.visitor();
        let mut ask = |method: &str, url: &str| match request(&mut admin, &app, &fate, method, url) {
            Ok(page) => page,
            Err(_) => panic!("nobody dies of an outage"),
        };
        let mut page = ask("GET", &link);
        for leg in 0..3 {
            let url = match leg {
                0 if page.status == 200 => page.action().to_owned(),
                1 if page.status == 302 => stage.simulator.approve(&page.location, ADMIN),
                2 if page.status == 302 => stage.visitor().sign_in(&page.location, ADMIN),
                _ => break,
            };
            page = ask(if leg == 0 { "POST" } else { "GET" }, &url);
        }
        assert!(matches!(page.status, 200 | 400 | 503) && !page.heading().is_empty(), "point {point}: {}", page.status);
        let bound = stage.tenants().iter().any(|tenant| tenant.claimed_at.is_none());
        if page.status != 200 {
            let mut again = stage.visitor();
            let status = if bound { again.get(&link).status } else { again.consent(&link, ADMIN).status };
            assert_eq!(status, if bound { 410 } else { 200 }, "point {point}");
        }
        verdict(&stage);
        if !fate.came_true() {
            assert!(point > 30, "only {point} points");
            return;
        }
    }
}

#[test]
fn a_worker_that_is_only_slow_binds_nothing_after_another_did() {
    for point in 1.. {
        let (stage, link) = scene();
        let fate = Fate::new(1, CrashPoint::Stall(point));
        let app = chaos::app(&stage, &fate);
        if let Walk::Stuck(mut slow) = walk(&stage, &link, &app, &fate) {
            let bound = !stage.tenants().is_empty();
            if !bound {
                assert_eq!(stage.visitor().consent(&link, ADMIN).status, 200, "point {point}");
            }
            let evidence = stage.consents(TENANT);
            fate.wake_up();
            assert!(chaos::run_alone(&fate, &mut slow));
            assert_eq!(stage.consents(TENANT), evidence, "point {point}");
        }
        verdict(&stage);
        if !fate.came_true() {
            return;
        }
    }
}

#[test]
fn what_a_slow_pull_found_before_does_not_undo_a_fresh_approval() {
    for point in 1.. {
        let (stage, link) = scene();
        stage.visitor().consent(&link, ADMIN);
        stage.drain();
        stage.tenant(|tenant| tenant.withdraw(harness::CLIENT));
        stage.pass(harness::minutes(90));
        futures::executor::block_on(local::serve::fire(&stage.app, Feed::Alerts, stage.now(), 60));
        let fate = Fate::new(1, CrashPoint::Stall(point));
        let worker = local::worker::Worker::new(chaos::machine(&stage, &fate), Feed::Alerts);
        let mut slow = async { worker.drain(10).await.map(|_| ()).expect("the queue answers") }.boxed_local();
        if !chaos::run_alone(&fate, &mut slow) {
            let page = stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
            assert_eq!((page.status, page.heading()), (200, "Connected"), "point {point}");
            fate.wake_up();
            assert!(chaos::run_alone(&fate, &mut slow));
            stage.drain();
            stage.ticks(2);
            assert_eq!(stage.tenants()[0].state, State::Active, "point {point}");
        }
        if !fate.came_true() {
            assert!(point > 8, "only {point} points");
            return;
        }
    }
}

#[test]
fn of_two_accounts_that_bind_one_tenant_at_once_one_does() {
    for seed in 0..200 {
        let (stage, link) = scene();
        let other = stage.invite("Fabrikam");
        let mut rng = SmallRng::seed_from_u64(seed);
        let apps: Vec<(Fate, App)> = (0..2)
            .map(|_| {
                let point =
                    if rng.random_bool(0.3) { CrashPoint::At(rng.random_range(1..40)) } else { CrashPoint::Never };
                let fate = Fate::new(rng.random(), point);
                let app = chaos::app(&stage, &fate);
                (fate, app)
            })
            .collect();
        let pages = Rc::new(RefCell::new(Vec::new()));
        let mut workers = Vec::new();
        for ((fate, app), link) in apps.iter().zip([&link, &other]) {
            let mut admin = stage.visitor();
            let sign_in = admin.reach_sign_in(link, ADMIN);
            let event = admin.event("GET", &admin.sign_in(&sign_in, ADMIN));
            let pages = pages.clone();
            let work = async move {
                let status = consent_callback::handle(app, event, harness::minutes(10)).await.status_code;
                pages.borrow_mut().push(status);
            };
            workers.push((fate.clone(), work.boxed_local()));
        }
        chaos::run(&mut rng, workers);
        let connected = pages.borrow().iter().filter(|status| **status == 200).count();
        assert!(connected <= 1, "seed {seed}: both were told that they are connected");
        let alive = apps.iter().all(|(fate, _)| !fate.is_dead());
        assert!(!alive || connected == 1, "seed {seed}: nobody died, and nobody is connected");
        let tenants = stage.tenants();
        assert!(tenants.len() <= 1, "seed {seed}");
        assert!(connected == 0 || tenants[0].claimed_at.is_none(), "seed {seed}");
        assert!(stage.consents(TENANT).len() <= 1, "seed {seed}");
    }
}
