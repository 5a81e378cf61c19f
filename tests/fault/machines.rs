//! The inventory under fire: whatever dies, whoever replays the lake's events has the machines that Microsoft has.

use embedded::Machine as Host;
use futures::{FutureExt, executor::block_on, future::BoxFuture};
use harness::{Stage, TENANT, at, minutes};
use local::worker::Worker;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::json;
use shared::{
    machine::accept::accept,
    tenant::{Feed, TenantId},
};
use simulator::{Alert, Fault, Machine, Machines, NextLinks, PastTheEnd, Route};

use crate::chaos::{self, CrashPoint, Fate};

const OTHER: &str = "a0000000-0000-4000-8000-0000000000bb";
const TENANTS: [&str; 2] = [TENANT, OTHER];

/// What a story came to; equal for equal seeds.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    pub events: usize,
    pub deaths: usize,
    pub requests: usize,
}

/// Handles messages of one feed until its queue is empty.
fn worker(host: Host, feed: Feed) -> BoxFuture<'static, ()> {
    let worker = Worker::new(host, feed);
    // A queue that fails is asked again at the next tick.
    async move { while worker.drain(2).await.unwrap_or(0) > 0 {} }.boxed()
}

pub struct Inventory {
    stage: Stage,
    rng: SmallRng,
    machines: u32,
    deaths: usize,
    stalls: usize,
}

impl Inventory {
    pub fn random(seed: u64) -> Summary {
        let stage = Stage::with(&[("MUSTER_FIRST_LOOK_DAYS", "0")]);
        let mut story = Self::on(stage, seed);
        let crowd = if story.rng.random_bool(0.3) { story.rng.random_range(10..40) } else { 3 };
        for tenant in TENANTS {
            story.stage.give_machines(tenant);
            let page_size = *[1, 2, 3, 7, 50].choose(&mut story.rng).expect("not empty");
            let links = if story.rng.random_bool(0.5) { NextLinks::Always } else { NextLinks::Never };
            let past_the_end =
                *[PastTheEnd::EmptyList, PastTheEnd::NotFound].choose(&mut story.rng).expect("not empty");
            story.change(tenant, |machines| {
                (machines.page_size, machines.next_links) = (page_size, links);
                machines.past_the_end = past_the_end;
            });
            for _ in 0..crowd {
                story.put(tenant);
            }
        }
        for _ in 0..story.rng.random_range(10..50) {
            story.happen();
        }
        story.converge();
        story.verdict()
    }

    fn on(stage: Stage, seed: u64) -> Self {
        Self { stage, rng: SmallRng::seed_from_u64(seed), machines: 0, deaths: 0, stalls: 0 }
    }

    /// One fixed story with the crash, stall or failure at one point of the worker's run. False when the run ended before.
    pub fn scripted(point: CrashPoint) -> bool {
        let stage = Stage::with_machines();
        stage.put_machines(["m1", "m2", "m3", "m4", "m5"]);
        stage.machines(|machines| machines.page_size = 2);
        stage.run_machines();
        stage.machines(|machines| machines.remove("m4"));
        stage.run_machines();
        // Now it is time to ask for m4; one more has changed, one is new, one is broken, and the list is interrupted.
        stage.machines(|machines| {
            machines.update("m2", |fields| {
                fields.insert("riskScore".to_owned(), json!("new"));
            });
            machines.put(Machine::new("m6", at(0)));
            let mut broken = Machine::new("m7", at(0));
            broken.raw = Some("7".to_owned());
            machines.put(broken);
        });
        stage.script_machines([
            Fault::Normal,
            Fault::Normal,
            Fault::Throttled { seconds: 60, header: true, words: false },
        ]);
        stage.run_machines();
        let fate = Fate::new(1, point);
        stage.pass(minutes(60));
        let mut doomed = worker(chaos::machine(&stage, &fate), Feed::Machines);
        block_on(local::serve::fire(&stage.app, Feed::Machines, stage.now(), 60));
        let done = chaos::run_alone(&fate, &mut doomed);
        let mut story = Self::on(stage, 1);
        // The next tick finds another worker.
        story.stage.pass(minutes(60));
        block_on(local::serve::fire(&story.stage.app, Feed::Machines, story.stage.now(), 60));
        story.work(vec![(Fate::new(2, CrashPoint::Never), Feed::Machines)]);
        if !done && !fate.is_dead() {
            story.stalls += 1;
            fate.wake_up();
            chaos::run_alone(&fate, &mut doomed);
        }
        drop(doomed);
        story.converge();
        story.stage.assert_inventory(TENANT);
        story.assert_tidy(TENANT);
        fate.came_true()
    }

    fn change<R>(&self, tenant: &str, change: impl FnOnce(&mut Machines) -> R) -> R {
        self.stage.world(|world| change(&mut world.tenant(tenant).expect("a tenant").machines))
    }

    fn put(&mut self, tenant: &str) {
        // In no order, so that some push others onto the next page.
        let id = format!("{:04x}{:04}", self.rng.random_range(0..0xFFFF_u32), self.machines);
        self.machines += 1;
        self.change(tenant, |machines| machines.put(Machine::new(&id, at(0))));
    }

    fn any(&mut self, tenant: &str) -> Option<String> {
        let ids = self.change(tenant, |machines| machines.ids());
        ids.choose(&mut self.rng).cloned()
    }

    fn happen(&mut self) {
        let tenant = *TENANTS.choose(&mut self.rng).expect("not empty");
        let Some(id) = self.any(tenant) else { return self.put(tenant) };
        let Some(other) = self.any(tenant) else { return };
        let now = self.stage.now();
        match self.rng.random_range(0..14) {
            0..=1 => self.put(tenant),
            2..=3 => {
                let (name, value) =
                    *[("riskScore", 1), ("riskScore", 2), ("lastSeen", 3)].choose(&mut self.rng).expect("some");
                self.change(tenant, |machines| {
                    machines.update(&id, |fields| {
                        fields.insert(name.to_owned(), json!(value));
                    });
                });
            }
            4 => self.change(tenant, |machines| machines.remove(&id)),
            // Whom no list has ever shown, nobody can know.
            5 if self.stage.machine_news().iter().any(|(known, _)| *known == id) => self.change(tenant, |machines| {
                if !machines.unlisted.remove(&id) {
                    machines.unlisted.insert(id);
                }
            }),
            6 if id != other => self.change(tenant, |machines| {
                machines.update(&id, |fields| {
                    fields.insert("mergedIntoMachineId".to_owned(), json!(other));
                });
            }),
            7 => self.change(tenant, |machines| {
                machines.between_requests(move |machines| {
                    machines.remove(&id);
                    machines.put(Machine::new(&format!("0{id}"), now));
                });
            }),
            8 => {
                let route = *[Route::Machines, Route::Machine, Route::Token].choose(&mut self.rng).expect("some");
                let fault = match self.rng.random_range(0..6) {
                    0 => Fault::Throttled { seconds: self.rng.random_range(1..4_000), header: true, words: false },
                    1 => Fault::Html(404),
                    2 if route == Route::Machines => Fault::Truncated { after: self.rng.random_range(0..3_000) },
                    3 if route != Route::Token => Fault::ExpiredToken,
                    4 if route == Route::Machines => Fault::Broken { after: self.rng.random_range(0..3_000) },
                    _ => Fault::Status(503),
                };
                let times = self.rng.random_range(1..4);
                self.stage.world(|world| world.script(route, vec![fault; times]));
            }
            9 => {
                // An alert of the same tenant changes its connection at the same time.
                let alert = Alert::new(&format!("da{}", self.machines), now);
                self.stage.world(|world| world.tenant(tenant).expect("a tenant").alerts.put(alert));
                self.stage.world(|world| world.script(Route::Alerts, [Fault::Status(503), Fault::Status(503)]));
            }
            _ => self.tick(),
        }
    }

    /// A tick of both feeds, perhaps twice, and workers of whom some die.
    fn tick(&mut self) {
        self.stage.pass(minutes(*[10, 60, 60, 60, 61].choose(&mut self.rng).expect("some")));
        for _ in 0..self.rng.random_range(1..3) {
            for feed in [Feed::Machines, Feed::Alerts] {
                block_on(local::serve::fire(&self.stage.app, feed, self.stage.now(), 60));
            }
        }
        let mut fates: Vec<(Fate, Feed)> = (0..self.rng.random_range(1..4))
            .map(|_| {
                let point = match self.rng.random_range(0..10) {
                    0..=2 => CrashPoint::At(self.rng.random_range(1..70)),
                    3 => CrashPoint::Stall(self.rng.random_range(1..70)),
                    4 => CrashPoint::Fail(self.rng.random_range(1..70)),
                    _ => CrashPoint::Never,
                };
                self.stalls += usize::from(matches!(point, CrashPoint::Stall(_)));
                (Fate::new(self.rng.random(), point), Feed::Machines)
            })
            .collect();
        fates.push((Fate::new(self.rng.random(), CrashPoint::Never), Feed::Alerts));
        self.work(fates);
    }

    fn work(&mut self, fates: Vec<(Fate, Feed)>) {
        let workers: Vec<(Fate, BoxFuture<'_, ()>)> =
            fates.iter().map(|(fate, feed)| (fate.clone(), worker(chaos::machine(&self.stage, fate), *feed))).collect();
        chaos::run(&mut self.rng, workers);
        self.deaths += fates.iter().filter(|(fate, _)| fate.is_dead()).count();
    }

    /// Peace: no faults, no deaths, an operator who accepts what is held back, and runs until everybody had a turn.
    fn converge(&mut self) {
        self.stage.world(|world| world.clear_scripts());
        for _ in 0..24 {
            self.stage.pass(minutes(70));
            self.stage.pull(Feed::Machines);
            for tenant in TENANTS {
                let tenant: TenantId = tenant.parse().expect("a tenant id");
                block_on(accept(&self.stage.app, tenant, &shared::audit::Actor::CommandLine))
                    .expect("nobody else writes");
            }
        }
    }

    fn verdict(self) -> Summary {
        for tenant in TENANTS {
            self.stage.assert_inventory(tenant);
            self.assert_tidy(tenant);
        }
        // Five deaths over one message make a dead letter of it. Nothing else may send one back.
        let heard = self.stage.heard();
        let failed =
            heard.lines().find(|line| line.contains("a message failed") && !line.contains("an outage of the story"));
        assert_eq!(failed, None);
        Summary {
            events: self.stage.machine_events().len(),
            deaths: self.deaths,
            requests: self.stage.simulator.log().len(),
        }
    }

    /// The state names what there is, and the lake keeps little that it does not name: at most what a worker has put there
    /// that was taken for dead.
    fn assert_tidy(&self, tenant: &str) {
        let feed = self.stage.machine_feed_of(tenant);
        assert_eq!((&feed.intent, &feed.run, &feed.held), (&None, &None, &None));
        let there: Vec<String> = self.stage.snapshots().into_iter().filter(|key| key.contains(tenant)).collect();
        let named: Vec<&String> = feed.segments.iter().chain(&feed.superseded).collect();
        assert!(feed.segments.iter().all(|key| there.contains(key)), "{feed:?} {there:?}");
        let orphans = there.iter().filter(|key| !named.contains(key)).count();
        assert!(orphans <= self.stalls, "{orphans} orphans after {} stalls: {there:?} {feed:?}", self.stalls);
    }
}
