//! Leaving under fire: whoever dies while a tenant is removed, and whoever was pulling it meanwhile, a second removal
//! completes the first, and a return gets everything once.

use futures::{FutureExt, executor::block_on, future::BoxFuture};
use harness::{CLIENT, Stage, TENANT, minutes};
use local::worker::Worker;
use shared::{
    App,
    alert::progress::AlertFeed,
    audit::{Action, Actor},
    record::Progress,
    telemetry::progress::TelemetryFeed,
    tenant::{Feed, State, remove::remove},
};

use crate::chaos::{self, CrashPoint, Fate};

/// Lines that a stage's export has at the end of these stories.
const LINES: usize = 20;

/// Handles messages of a feed until its queue is empty.
fn worker(stage: &Stage, fate: &Fate, feed: Feed) -> BoxFuture<'static, ()> {
    let worker = Worker::new(chaos::machine(stage, fate), feed);
    // A queue that fails is asked again at the next tick.
    async move { while worker.drain(2).await.unwrap_or(0) > 0 {} }.boxed()
}

/// A tick of this feed, whose worker meets its fate. What is left of it, if it is neither done nor dead.
fn doomed_tick(stage: &Stage, fate: &Fate, feed: Feed) -> Option<BoxFuture<'static, ()>> {
    stage.pass(minutes(61));
    block_on(local::serve::fire(&stage.app, feed, stage.now(), 60));
    let mut doomed = worker(stage, fate, feed);
    let done = chaos::run_alone(fate, &mut doomed);
    (!done && !fate.is_dead()).then_some(doomed)
}

fn come_back(stage: &Stage) {
    stage.connect_everything().expect("the tenant has approved");
    stage.hours(3);
    stage.assert_everything_once(LINES);
    assert_eq!(stage.view().state, State::Active);
}

fn assert_gone(stage: &Stage) {
    assert_eq!(stage.view().state, State::Removed);
    let known = ["alerts#progress", "alerts#seen#", "machines#progress", "telemetry#"];
    let partition = stage.partition();
    assert!(partition.iter().all(|sort| known.iter().any(|known| sort.starts_with(known))), "{partition:?}");
    assert_eq!(stage.machine_feed().superseded, Vec::<String>::new());
    let secrets = block_on(stage.app.ports.vault.list("muster/tenants/")).expect("the vault answers");
    assert_eq!(secrets, Vec::<String>::new());
    let trail = stage.actions();
    let count = |action: Action| trail.iter().filter(|done| **done == action).count();
    assert_eq!((count(Action::Removed), count(Action::SecretRemoved)), (1, 1), "{trail:?}");
}

/// A removal with the crash or failure at one point, while of each feed somebody has left an intent open. False when the
/// removal ended before.
pub fn removal(point: CrashPoint) -> bool {
    let stage = Stage::with_everything();
    stage.store_own_application(CLIENT);
    stage.connect_everything().expect("its own application is approved too");
    for (feed, step) in Feed::ALL.into_iter().zip(steps_that_leave_intents()) {
        doomed_tick(&stage, &Fate::new(1, CrashPoint::At(step)), feed);
    }
    let fate = Fate::new(1, point);
    let app = chaos::app(&stage, &fate);
    let mut doomed = removing(&app);
    chaos::run_alone(&fate, &mut doomed);
    drop(doomed);
    stage.remove().expect("nobody else is at it");
    assert_gone(&stage);
    come_back(&stage);
    fate.came_true()
}

fn removing(app: &App) -> BoxFuture<'_, ()> {
    // A failing platform is reported, and asked again by whoever removes again.
    async move { drop(remove(app, TENANT.parse().expect("a constant"), &Actor::CommandLine).await) }.boxed()
}

/// As [`removal`], and nobody removes it again: the return finds what is left.
pub fn removal_cut_short(point: CrashPoint) -> bool {
    let stage = Stage::with_everything();
    let fate = Fate::new(1, point);
    let app = chaos::app(&stage, &fate);
    let mut doomed = removing(&app);
    chaos::run_alone(&fate, &mut doomed);
    drop(doomed);
    come_back(&stage);
    fate.came_true()
}

/// Whether a worker that died at this step left an intent of this feed open.
fn leaves_an_intent(feed: Feed, step: u32) -> bool {
    let stage = Stage::with_everything();
    doomed_tick(&stage, &Fate::new(1, CrashPoint::At(step)), feed);
    let (store, tenant) = (stage.app.ports.store.as_ref(), TENANT.parse().expect("a constant"));
    match feed {
        Feed::Alerts => {
            let feed = block_on(AlertFeed::load(store, tenant)).expect("the store answers");
            feed.is_some_and(|(feed, _)| feed.intent.is_some())
        }
        Feed::Machines => stage.machine_feed().intent.is_some(),
        Feed::Telemetry => {
            let feed = block_on(TelemetryFeed::load(store, tenant)).expect("the store answers");
            feed.is_some_and(|(feed, _)| feed.intent.is_some())
        }
    }
}

fn steps_that_leave_intents() -> [u32; 3] {
    static STEPS: std::sync::OnceLock<[u32; 3]> = std::sync::OnceLock::new();
    *STEPS.get_or_init(|| {
        Feed::ALL.map(|feed| {
            let leaves = |step: &u32| leaves_an_intent(feed, *step);
            // The object is in the lake by the last of them, and nobody has said so.
            let steps = (1..500).skip_while(|step| !leaves(step)).take_while(leaves);
            steps.last().expect("a pass that has news writes an intent")
        })
    })
}

/// The tenant is removed while a worker stands still at one point of a pass; `back`: and is back before that goes on. False
/// when the pass ended before.
pub fn removal_under_a_pull(feed: Feed, point: CrashPoint, back: bool) -> bool {
    let stage = Stage::with_everything();
    let fate = Fate::new(1, point);
    let slow = doomed_tick(&stage, &fate, feed);
    stage.remove().expect("a stopped worker writes nothing");
    if back {
        stage.connect_everything().expect("the tenant has approved");
    }
    if let Some(mut slow) = slow {
        fate.wake_up();
        chaos::run_alone(&fate, &mut slow);
    }
    if !back {
        assert_eq!(stage.view().state, State::Removed);
    }
    come_back(&stage);
    fate.came_true()
}
