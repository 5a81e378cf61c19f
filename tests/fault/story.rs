//! What happens to the tenants and to the workers in one run, and what must be true in the end.

use std::collections::BTreeMap;

use embedded::Machine;
use futures::{FutureExt, executor::block_on, future::BoxFuture};
use harness::{ALERT_ROLE, CLIENT, Stage, TENANT, at, minutes, seconds, stamp};
use jiff::{SignedDuration, Timestamp};
use local::worker::Worker;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::json;
use shared::tenant::{Feed, list::list};
use simulator::{Alert, Fault, Route, Tenant};

use crate::chaos::{self, CrashPoint, Fate};

const OTHER: &str = "a0000000-0000-4000-8000-0000000000bb";
const TENANTS: [&str; 2] = [TENANT, OTHER];

/// What a story came to; equal for equal seeds.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    pub delivered: usize,
    pub quarantined: usize,
    pub deaths: usize,
    pub requests: usize,
}

/// Handles messages until the queue is empty.
fn worker(machine: Machine) -> BoxFuture<'static, ()> {
    let worker = Worker::new(machine, Feed::Alerts);
    async move { while worker.drain(2).await.expect("the queue answers") > 0 {} }.boxed()
}

pub struct Story {
    stage: Stage,
    rng: SmallRng,
    alerts: u32,
    deaths: usize,
    verbose: bool,
}

impl Story {
    pub fn random(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let page_size = ["3", "6", "20", "1000"].choose(&mut rng).expect("not empty").to_owned();
        let stage = Stage::with(&[("MUSTER_PAGE_SIZE", page_size), ("MUSTER_FIRST_LOOK_DAYS", "1")]);
        stage.world(|world| {
            world.add_tenant(Tenant::new(OTHER, "Fabrikam").consented(CLIENT, &[ALERT_ROLE], at(-10_000)));
        });
        let mut story = Self { stage, rng, alerts: 0, deaths: 0, verbose: false };
        for _ in 0..story.rng.random_range(0..12) {
            let past = minutes(story.rng.random_range(1..1400));
            story.put(at(0) - past);
        }
        for tenant in TENANTS {
            story.stage.connect(tenant).expect("the tenants have approved");
        }
        story
    }

    pub fn tell_verbosely(mut self) -> String {
        self.verbose = true;
        format!("{:?}", self.tell())
    }

    pub fn tell(mut self) -> Summary {
        for _ in 0..self.rng.random_range(10..60) {
            self.happen();
        }
        self.converge();
        self.verdict()
    }

    /// One fixed story with the crash or stall at one point of the worker's pull. False when the pull ended before.
    pub fn scripted(point: CrashPoint) -> bool {
        let stage = Stage::with(&[("MUSTER_PAGE_SIZE", "4")]);
        stage.put(Alert::new("da-past", at(-100)));
        stage.connect(TENANT).expect("the tenant has approved");
        for n in 0..5 {
            stage.put(Alert::new(&format!("da{n}"), at(0) + seconds(5 * n)));
        }
        stage.put(Alert::new("da-broken", at(0) + seconds(3)).without("lastUpdateTime"));
        stage.pass(minutes(1));
        let fate = Fate::new(1, point);
        let mut doomed = worker(chaos::machine(&stage, &fate));
        let mut story = Self { stage, rng: SmallRng::seed_from_u64(1), alerts: 0, deaths: 0, verbose: false };
        block_on(local::serve::fire(&story.stage.app, Feed::Alerts, story.stage.now(), 60));
        let done = chaos::run_alone(&fate, &mut doomed);
        // The next tick finds another worker.
        story.stage.pass(minutes(1));
        block_on(local::serve::fire(&story.stage.app, Feed::Alerts, story.stage.now(), 60));
        story.work(vec![Fate::new(2, CrashPoint::Never)]);
        if !done && !fate.is_dead() {
            fate.wake_up();
            chaos::run_alone(&fate, &mut doomed);
        }
        drop(doomed);
        story.converge();
        story.verdict();
        fate.came_true()
    }

    /// A worker stalls in the middle of a pass while messages for its tenant keep coming. Returns the requests that the
    /// other workers of its process made meanwhile, and what was delivered in the end.
    pub fn slow_tenant() -> (usize, Vec<String>) {
        let stage = Stage::with(&[("MUSTER_FIRST_LOOK_DAYS", "0")]);
        stage.connect(TENANT).expect("the tenant has approved");
        stage.put(Alert::new("da1", at(0) + seconds(30)));
        let fate = Fate::new(1, CrashPoint::Stall(16));
        let shared = Worker::new(chaos::machine(&stage, &fate), Feed::Alerts);
        let tick = || {
            stage.pass(minutes(1));
            block_on(local::serve::fire(&stage.app, Feed::Alerts, stage.now(), 60));
        };
        tick();
        let slow = shared.clone();
        let mut slow = async move { slow.drain(1).await.map(|_| ()).expect("the queue answers") }.boxed();
        assert!(!chaos::run_alone(&fate, &mut slow), "the pass is under way");
        stage.simulator.clear_log();
        // The others are not stalled: only the slow one's steps are counted out.
        fate.wake_up();
        for _ in 0..3 {
            tick();
            block_on(shared.drain(1)).expect("the queue answers");
        }
        let meanwhile = stage.simulator.log().len();
        chaos::run_alone(&fate, &mut slow);
        stage.ticks(2);
        (meanwhile, stage.ids())
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("{}  {}", self.stage.now(), what());
        }
    }

    fn put(&mut self, updated: Timestamp) {
        let id = format!("da{:03}", self.alerts);
        self.alerts += 1;
        let tenant = *TENANTS.choose(&mut self.rng).expect("not empty");
        let mut alert = Alert::new(&id, updated);
        match self.rng.random_range(0..12) {
            0 => alert = alert.without("lastUpdateTime"),
            1 => alert = alert.visible_from(updated + minutes(self.rng.random_range(0..60))),
            2 => alert = alert.visible_from(updated + minutes(self.rng.random_range(60..2000))),
            _ => {}
        }
        self.say(|| format!("{tenant} gets {id} at {}", stamp(updated)));
        self.stage.world(|world| world.tenant(tenant).expect("a tenant").alerts.put(alert));
    }

    fn update(&mut self, when: Timestamp) {
        let tenant = *TENANTS.choose(&mut self.rng).expect("not empty");
        let between = self.rng.random_bool(0.3);
        let rng = &mut self.rng;
        let change = |fields: &mut serde_json::Map<String, serde_json::Value>| {
            fields.insert("status".to_owned(), json!("InProgress"));
        };
        let updated = self.stage.world(|world| {
            let alerts = &mut world.tenant(tenant).expect("a tenant").alerts;
            let sound: Vec<String> = alerts
                .ids()
                .into_iter()
                .filter(|id| {
                    alerts
                        .get(id)
                        .is_some_and(|alert| alert.fields.contains_key("lastUpdateTime") && alert.last_update < when)
                })
                .collect();
            let id = sound.choose(rng)?.clone();
            if between {
                // While somebody pages.
                let id = id.clone();
                alerts.between_requests(move |alerts| {
                    if alerts.get(&id).is_some_and(|alert| alert.last_update < when) {
                        alerts.update(&id, when, change);
                    }
                });
            } else {
                alerts.update(&id, when, change);
            }
            Some(id)
        });
        self.say(|| format!("{tenant} updates {updated:?}, between requests: {between}"));
    }

    fn happen(&mut self) {
        let now = self.stage.now();
        match self.rng.random_range(0..10) {
            0..=2 => {
                let crowd = if self.rng.random_bool(0.2) { self.rng.random_range(2..9) } else { 1 };
                let when = now + SignedDuration::from_nanos(self.rng.random_range(0..600_000_000) * 100);
                for _ in 0..crowd {
                    self.put(when);
                }
            }
            3..=4 => {
                let soon = self.rng.random_range(0..60);
                self.update(now + seconds(soon));
            }
            5 => {
                let route = *[Route::Alerts, Route::Alerts, Route::Token, Route::Alert]
                    .choose(&mut self.rng)
                    .expect("not empty");
                let fault = match self.rng.random_range(0..6) {
                    0 => Fault::Throttled { seconds: self.rng.random_range(1..200), header: true, words: false },
                    1 => Fault::Html(502),
                    2 if route == Route::Alerts => Fault::Truncated { after: self.rng.random_range(0..3000) },
                    3 if route == Route::Alerts => Fault::ExpiredToken,
                    4 if route == Route::Alerts => Fault::Broken { after: self.rng.random_range(0..3000) },
                    _ => Fault::Status(503),
                };
                self.say(|| format!("{route:?} will answer {fault:?}"));
                self.stage.world(|world| world.script(route, [fault]));
            }
            6 if self.rng.random_bool(0.4) => {
                let tenant = *TENANTS.choose(&mut self.rng).expect("not empty");
                let id = format!("da{:03}", self.rng.random_range(0..=self.alerts));
                let expanded = self.rng.random_bool(0.7);
                self.say(|| format!("{tenant}: {id} fails every request it is in, with evidence only: {expanded}"));
                self.stage.world(|world| {
                    let alerts = &mut world.tenant(tenant).expect("a tenant").alerts;
                    if expanded { alerts.poison.insert(id) } else { alerts.unanswerable.insert(id) }
                });
            }
            6 => {
                // Time goes by and nobody pulls.
                let pause = minutes(self.rng.random_range(1..300));
                self.say(|| format!("nothing happens for {pause:#}"));
                self.stage.pass(pause);
            }
            _ => self.tick(),
        }
    }

    /// A tick, perhaps twice, and workers of whom some die.
    fn tick(&mut self) {
        self.stage.pass(minutes(1));
        for _ in 0..self.rng.random_range(1..3) {
            block_on(local::serve::fire(&self.stage.app, Feed::Alerts, self.stage.now(), 60));
        }
        let fates: Vec<Fate> = (0..self.rng.random_range(1..4))
            .map(|_| {
                let point = match self.rng.random_range(0..10) {
                    0..=2 => CrashPoint::At(self.rng.random_range(1..60)),
                    3 => CrashPoint::Stall(self.rng.random_range(1..60)),
                    _ => CrashPoint::Never,
                };
                Fate::new(self.rng.random(), point)
            })
            .collect();
        self.work(fates);
    }

    fn work(&mut self, fates: Vec<Fate>) {
        let workers: Vec<(Fate, BoxFuture<'_, ()>)> =
            fates.iter().map(|fate| (fate.clone(), worker(chaos::machine(&self.stage, fate)))).collect();
        chaos::run(&mut self.rng, workers);
        let deaths = fates.iter().filter(|fate| fate.is_dead()).count();
        self.deaths += deaths;
        self.say(|| format!("{} workers, {deaths} died", fates.len()));
    }

    /// Peace: no faults, no deaths, and as much time as the deepest look needs.
    fn converge(&mut self) {
        self.say(|| "peace".to_owned());
        self.stage.world(|world| {
            world.clear_scripts();
            for tenant in TENANTS {
                if let Some(tenant) = world.tenant(tenant) {
                    tenant.alerts.poison.clear();
                    tenant.alerts.unanswerable.clear();
                }
            }
        });
        self.stage.ticks(8);
        // Everything late has become visible by then, and a daily look comes by twice.
        for _ in 0..2 {
            self.stage.pass(minutes(24 * 60));
            self.stage.ticks(3);
        }
        for _ in 0..200 {
            let views =
                block_on(list(self.stage.app.ports.store.as_ref(), self.stage.now())).expect("the store answers");
            if views.iter().all(|view| !view.backlog) {
                return;
            }
            // Parked and failed walks are tried again hourly.
            self.stage.pass(minutes(20));
            self.stage.ticks(1);
        }
        panic!("the backlog never ends");
    }

    fn verdict(self) -> Summary {
        let events = self.stage.events();
        let mut versions: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        let mut uids = std::collections::BTreeSet::new();
        for event in &events {
            let text = |pointer: &str| event.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
            assert!(uids.insert(text("/metadata/uid")), "a version twice: {}", text("/finding_info/uid"));
            versions
                .entry((text("/metadata/tenant_uid"), text("/finding_info/uid")))
                .or_default()
                .push(text("/metadata/original_time"));
        }
        let views = block_on(list(self.stage.app.ports.store.as_ref(), self.stage.now())).expect("the store answers");
        for view in &views {
            let tenant = view.tenant_id.to_string();
            let lines = events.iter().filter(|event| event["metadata"]["tenant_uid"] == tenant.as_str()).count() as u64;
            assert!(view.ledger.balances(), "{tenant}: {:?}", view.ledger);
            assert_eq!(view.ledger.delivered, lines, "{tenant}: {:?}", view.ledger);
            self.stage.world(|world| {
                let alerts = &world.tenant(&tenant).expect("a tenant").alerts;
                for id in alerts.ids() {
                    let Some(alert) = alerts.get(&id).filter(|alert| alert.fields.contains_key("lastUpdateTime"))
                    else {
                        continue;
                    };
                    let delivered = versions.get(&(tenant.clone(), id.clone()));
                    let latest = stamp(alert.last_update);
                    assert!(
                        delivered.is_some_and(|times| times.contains(&latest)),
                        "{tenant}: {id} of {latest} is missing, delivered are {delivered:?}"
                    );
                }
            });
        }
        let quarantined = self.stage.quarantined().len();
        assert_eq!(quarantined as u64, views.iter().map(|view| view.ledger.quarantined).sum::<u64>());
        assert_eq!(
            block_on(self.stage.deliveries.alerts.dead_letters()).expect("the queue answers"),
            Vec::<String>::new()
        );
        Summary {
            delivered: events.len(),
            quarantined,
            deaths: self.deaths,
            requests: self.stage.simulator.log().len(),
        }
    }
}
