//! Telemetry under fire: whatever dies, the lake holds what Defender's exporter has written, each record once for a blob.

use embedded::Machine as Host;
use futures::{FutureExt, executor::block_on, future::BoxFuture};
use harness::{HINTS, Stage, line, minutes};
use local::worker::Worker;
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::json;
use shared::tenant::Feed;
use simulator::{Exporter, Fault, Habits, LineEnd, Route};

use crate::chaos::{self, CrashPoint, Fate};

/// What a story came to; equal for equal seeds.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    pub deliveries: usize,
    pub deaths: usize,
    pub requests: usize,
}

/// Handles messages of the feed until its queue is empty.
fn worker(host: Host) -> BoxFuture<'static, ()> {
    let worker = Worker::new(host, Feed::Telemetry);
    // A queue that fails is asked again at the next tick.
    async move { while worker.drain(2).await.unwrap_or(0) > 0 {} }.boxed()
}

pub struct Export {
    stage: Stage,
    rng: SmallRng,
    exporter: Exporter,
    deaths: usize,
    stalls: usize,
    failures: usize,
}

impl Export {
    pub fn random(seed: u64) -> Summary {
        let stage = Stage::with_telemetry();
        let mut rng = SmallRng::seed_from_u64(seed);
        let habits = Habits {
            line_end: if rng.random_bool(0.5) { LineEnd::CrLf } else { LineEnd::Lf },
            lines_per_minute: 0..=rng.random_range(1..6),
            repeats: *[30, 300].choose(&mut rng).expect("some"),
            repeats_across_blobs: 50,
            partial_lines: *[50, 500].choose(&mut rng).expect("some"),
            damaged_lines: *[0, 30].choose(&mut rng).expect("some"),
            second_events: 300,
            expired_hints: 200,
            ..Habits::default()
        };
        let exporter = stage.exporter(seed).with_habits(habits);
        let mut story = Self { stage, rng, exporter, deaths: 0, stalls: 0, failures: 0 };
        for _ in 0..story.rng.random_range(10..60) {
            story.happen();
        }
        story.converge();
        story.verdict()
    }

    /// One fixed story with the crash, stall or failure at one point of the worker's run. False when the run ended before.
    pub fn scripted(point: CrashPoint) -> bool {
        let stage = Stage::with_telemetry();
        let habits = Habits { lines_per_minute: 0..=1, repeats: 200, damaged_lines: 100, ..Habits::default() };
        let mut exporter = stage.exporter(7).with_habits(habits);
        // Three hours of which one pass has seen two; so it folds marks, meets repeats, and registers a third blob.
        stage.pass(minutes(100));
        stage.export(&mut exporter);
        stage.pull(Feed::Telemetry);
        stage.pass(minutes(50));
        stage.export(&mut exporter);
        stage.storage(|storage| storage.queue(HINTS).expect("the queue").put_raw("{}"));
        let fate = Fate::new(1, point);
        let mut doomed = worker(chaos::machine(&stage, &fate));
        block_on(local::serve::fire(&stage.app, Feed::Telemetry, stage.now(), 60));
        let done = chaos::run_alone(&fate, &mut doomed);
        let rng = SmallRng::seed_from_u64(1);
        let mut story = Self { stage, rng, exporter, deaths: 0, stalls: 0, failures: 0 };
        // The next tick finds another worker.
        story.stage.pass(minutes(1));
        block_on(local::serve::fire(&story.stage.app, Feed::Telemetry, story.stage.now(), 60));
        story.work(&[Fate::new(2, CrashPoint::Never)]);
        if !done && !fate.is_dead() {
            story.stalls += 1;
            fate.wake_up();
            chaos::run_alone(&fate, &mut doomed);
        }
        drop(doomed);
        story.converge();
        story.verdict();
        fate.came_true()
    }

    fn happen(&mut self) {
        match self.rng.random_range(0..12) {
            0 => {
                let route = [Route::Blob, Route::BlobList, Route::QueueReceive, Route::QueueDelete, Route::Token];
                let route = *route.choose(&mut self.rng).expect("some");
                let fault = match self.rng.random_range(0..7) {
                    0 => Fault::Throttled { seconds: self.rng.random_range(1..300), header: true, words: false },
                    1 => Fault::Html(502),
                    2 if route != Route::Token => Fault::Truncated { after: self.rng.random_range(0..5_000) },
                    3 if route != Route::Token => Fault::ExpiredToken,
                    4 if route == Route::Blob => Fault::Broken { after: self.rng.random_range(0..5_000) },
                    _ => Fault::Status(503),
                };
                let times = self.rng.random_range(1..4);
                self.stage.world(|world| world.script(route, vec![fault; times]));
            }
            1 => {
                let text = *["", "{}", "bm90IGpzb24="].choose(&mut self.rng).expect("some");
                self.stage.storage(|storage| storage.queue(HINTS).expect("the queue").put_raw(text));
            }
            2 => self.stage.pass(minutes(60)),
            // Long enough for blobs to be done, and woken by what is backfilled.
            3 if self.rng.random_bool(0.2) => {
                self.stage.export(&mut self.exporter);
                for _ in 0..26 {
                    self.stage.pass(minutes(60));
                    self.tick();
                }
            }
            _ => self.tick(),
        }
    }

    /// More is exported, a tick, perhaps twice, and workers of whom some die.
    fn tick(&mut self) {
        self.stage.pass(minutes(*[1, 1, 5, 20].choose(&mut self.rng).expect("some")));
        self.stage.export(&mut self.exporter);
        for _ in 0..self.rng.random_range(1..3) {
            block_on(local::serve::fire(&self.stage.app, Feed::Telemetry, self.stage.now(), 60));
        }
        let fates: Vec<Fate> = (0..self.rng.random_range(1..4))
            .map(|_| {
                let point = match self.rng.random_range(0..10) {
                    0..=2 => CrashPoint::At(self.rng.random_range(1..60)),
                    3 => CrashPoint::Stall(self.rng.random_range(1..60)),
                    4 => CrashPoint::Fail(self.rng.random_range(1..60)),
                    _ => CrashPoint::Never,
                };
                self.stalls += usize::from(matches!(point, CrashPoint::Stall(_)));
                self.failures += usize::from(matches!(point, CrashPoint::Fail(_)));
                Fate::new(self.rng.random(), point)
            })
            .collect();
        self.work(&fates);
    }

    fn work(&mut self, fates: &[Fate]) {
        let workers: Vec<(Fate, BoxFuture<'_, ()>)> =
            fates.iter().map(|fate| (fate.clone(), worker(chaos::machine(&self.stage, fate)))).collect();
        chaos::run(&mut self.rng, workers);
        self.deaths += fates.iter().filter(|fate| fate.is_dead()).count();
    }

    /// Peace: no faults, no deaths, the exporter's last lines, and passes until everything had its turn.
    fn converge(&mut self) {
        self.stage.world(|world| world.clear_scripts());
        self.stage.finish_export(&mut self.exporter);
        for _ in 0..16 {
            self.stage.pass(minutes(61));
            self.stage.pull(Feed::Telemetry);
        }
    }

    fn verdict(self) -> Summary {
        let dead = block_on(self.stage.deliveries.telemetry.dead_letters()).expect("the queue answers");
        // Five deliveries without an answer make a dead letter, and never fewer.
        assert!(dead.len() * 5 <= self.deaths + self.stalls + self.failures, "{dead:?}");
        self.stage.lake_equals(self.exporter.ledger());
        self.stage.assert_telemetry_tidy(self.stalls);
        Summary {
            deliveries: self.stage.network_events().len(),
            deaths: self.deaths,
            requests: self.stage.simulator.log().len(),
        }
    }
}

/// A blob is replaced in the very moment in which a worker reads it: what both hold comes once, and nothing is lost.
pub fn replaced_under_way(point: u32) -> bool {
    let stage = Stage::with_telemetry();
    let blob = "tenantId=x/y=2026/PT1H.json".replace('x', harness::TENANT);
    let text = |reports: std::ops::Range<u64>| -> String { reports.map(|n| line(n, &json!({})) + "\n").collect() };
    stage.append(&blob, text(0..5));
    stage.drain_telemetry();
    stage.append(&blob, text(5..9));
    stage.pass(minutes(1));
    let fate = Fate::new(1, CrashPoint::Stall(point));
    let mut worker = worker(chaos::machine(&stage, &fate));
    block_on(local::serve::fire(&stage.app, Feed::Telemetry, stage.now(), 60));
    let done = chaos::run_alone(&fate, &mut worker);
    stage.pass(minutes(1));
    stage.storage(|storage| storage.replace(Exporter::CONTAINER, &blob, text(3..12)));
    if !done {
        fate.wake_up();
        chaos::run_alone(&fate, &mut worker);
    }
    for _ in 0..4 {
        stage.pass(minutes(61));
        stage.pull(Feed::Telemetry);
    }
    let records = stage.records();
    assert!(records.values().all(|count| *count == 1), "{records:?}");
    // What stood only in the first, and nobody had read when it went, nobody can have.
    assert!(records.len() == 12, "{} records", records.len());
    assert!(stage.feed_view(Feed::Telemetry).ledger.balances());
    !done
}
