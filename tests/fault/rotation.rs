//! Rotations that are cut short anywhere, driven by two at once, checked meanwhile and hindered by Graph, while tenants
//! are polled. The current credential always works, nothing of ours survives its use, nothing else is ever removed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use futures::{FutureExt, executor::block_on, future::BoxFuture};
use harness::{CLIENT, HOME, LOOK_ALIKE, SECRET, Stage, minutes, rotate, seconds, step};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::json;
use shared::{App, credential::rotation::Pace, ports::vault::Stage as Label};
use simulator::{ClientSecret, CredentialPropagation, Fault, Route};

use crate::chaos::{self, CrashPoint, Fate};

const MOMENT: SignedDuration = SignedDuration::from_millis(100);
const BETWEEN_POLLS: SignedDuration = SignedDuration::from_secs(10);

/// What a history came to; equal for equal seeds.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    rotated: usize,
    deaths: usize,
    polls: usize,
    requests: usize,
}

pub struct Rotations {
    stage: Stage,
    rng: SmallRng,
    polled_at: Timestamp,
    versions: usize,
    /// Secrets that somebody made by hand. Those that no entry names are nobody's to remove.
    by_hand: BTreeSet<String>,
    foreign: BTreeSet<String>,
    summary: Summary,
}

type Driver = (Fate, BoxFuture<'static, ()>);

fn rotation(app: App, version: String) -> BoxFuture<'static, ()> {
    async move {
        let _goes_on_another_time = rotate(&app, &version).await;
    }
    .boxed()
}

fn check(app: App) -> BoxFuture<'static, ()> {
    async move {
        let event = json!({"check": "credentials", "scheduled_time": app.clock.now()});
        let pace = Pace::new(Duration::from_secs(890), |_, _| {});
        let _goes_on_another_time = credential_rotation::handle(&app, event, &pace).await;
    }
    .boxed()
}

impl Rotations {
    fn new(seed: u64) -> Self {
        Self::of(seed, Stage::rotating().with_short_tokens())
    }

    fn of(seed: u64, stage: Stage) -> Self {
        Self {
            polled_at: stage.now(),
            stage,
            rng: SmallRng::seed_from_u64(seed),
            versions: 1,
            by_hand: BTreeSet::from([harness::HAND_MADE.to_owned()]),
            foreign: BTreeSet::from([LOOK_ALIKE.to_owned()]),
            summary: Summary { rotated: 0, deaths: 0, polls: 0, requests: 0 },
        }
    }

    /// One fixed rotation with the crash or stall at one point of its driver. It has something to clear away of every
    /// sort: an orphan of the rotation before it, and the adopted secret. False when the driver ended before the point.
    pub fn scripted(point: CrashPoint) -> bool {
        let mut story = Self::new(1);
        let stage = &story.stage;
        stage.rotate("v2");
        stage.days(2);
        stage.begin("v3");
        stage.world(|world| {
            world.script(Route::GraphAddPassword, [Fault::Broken { after: 0 }]);
            world.script(Route::GraphRemovePassword, vec![Fault::Status(403); 3]);
        });
        stage.step("createSecret", "v3").expect_err("its answer is lost");
        stage.drive(rotate(&stage.app, "v3"), |_| {}).expect("nothing is in the way");
        stage.world(simulator::World::clear_scripts);
        stage.days(2);
        assert_eq!(stage.at_entra().len(), 5, "another's, the adopted one, two of ours and an orphan");
        stage.begin("v4");
        let fate = Fate::new(1, point);
        let (app, outcome) = (chaos::app(stage, &fate), Arc::new(Mutex::new(None)));
        let told = outcome.clone();
        let mut doomed = async move {
            let result = rotate(&app, "v4").await.map_err(|error| error.to_string());
            *told.lock().expect("nobody panics") = Some(result);
        }
        .boxed();
        let done = story.drive(&fate, &mut doomed);
        story.must_work();
        // Secrets Manager begins again, with somebody else.
        let (app, now) = (story.stage.app.clone(), Fate::new(2, CrashPoint::Never));
        for _ in 0..3 {
            story.drive(&now, &mut rotation(app.clone(), "v4".to_owned()));
        }
        if !done && !fate.is_dead() {
            fate.wake_up();
            story.drive(&fate, &mut doomed);
            // Whoever was only slow finds everything done.
            assert_eq!(*outcome.lock().expect("nobody panics"), Some(Ok(())), "{point:?}");
        }
        drop(doomed);
        story.must_work();
        story.stage.days(2);
        story.stage.check();
        let described = block_on(story.stage.app.ports.vault.describe("muster/app")).expect("it is there");
        assert_eq!((described.version(Label::Current), described.version(Label::Previous)), (Some("v4"), Some("v3")));
        assert_eq!(story.stage.at_entra(), &story.labelled() | &story.foreign);
        fate.came_true()
    }

    /// As [`Rotations::of_a_certificate`]; a valid one signs for the new one, and an older one is to be taken away.
    pub fn certified(point: CrashPoint) -> bool {
        let stage = Stage::certified(2030).with_short_tokens();
        stage.rotate("v2");
        stage.days(2);
        Self::of_a_certificate(stage, "v2", point)
    }

    /// As [`Rotations::of_a_certificate`]; the last one has ended, so the whole collection of keys is replaced.
    pub fn with_an_ended_certificate(point: CrashPoint) -> bool {
        let stage = Stage::rotating().with_short_tokens();
        stage.store_certificate(2026, "ended");
        Self::of_a_certificate(stage, "ended", point)
    }

    /// One rotation with the crash, stall or outage at one point of its driver. False when the driver ended before the point.
    fn of_a_certificate(stage: Stage, before: &str, point: CrashPoint) -> bool {
        let mut story = Self::of(1, stage);
        story.stage.begin("v3");
        let fate = Fate::new(1, point);
        let mut doomed = rotation(chaos::app(&story.stage, &fate), "v3".to_owned());
        let done = story.drive(&fate, &mut doomed);
        story.must_work();
        let (app, now) = (story.stage.app.clone(), Fate::new(2, CrashPoint::Never));
        for _ in 0..2 {
            story.drive(&now, &mut rotation(app.clone(), "v3".to_owned()));
        }
        if !done && !fate.is_dead() {
            fate.wake_up();
            story.drive(&fate, &mut doomed);
        }
        drop(doomed);
        story.must_work();
        story.stage.days(2);
        let report = story.stage.check();
        assert_eq!(report.findings, [], "{point:?}");
        let described = block_on(story.stage.app.ports.vault.describe("muster/app")).expect("it is there");
        assert_eq!((described.version(Label::Current), described.version(Label::Previous)), (Some("v3"), Some(before)));
        assert_eq!(story.stage.certificates_at_entra().len(), 2, "{point:?}: what two labels name, once");
        fate.came_true()
    }

    /// The daily check stands still at one point while a rotation begins and gets as far as between Graph's answer and
    /// the vault; then the check goes on, and after it the rotation. False when the check ended before the point.
    pub fn check_beside_a_rotation(point: u32) -> bool {
        let mut story = Self::new(1);
        story.stage.world(|world| {
            let at_once = SignedDuration::ZERO;
            world.credential_propagation = CredentialPropagation { least: at_once, most: at_once };
        });
        story.stage.days(2);
        let looking = Fate::new(1, CrashPoint::Stall(point));
        let mut check = check(chaos::app(&story.stage, &looking));
        let done = story.drive(&looking, &mut check);
        story.stage.begin("v2");
        let before = story.stage.at_entra();
        let (fate, mut driver) = (1..)
            .find_map(|step| {
                let fate = Fate::new(2, CrashPoint::Stall(step));
                let mut driver = rotation(chaos::app(&story.stage, &fate), "v2".to_owned());
                story.drive(&fate, &mut driver);
                (story.stage.at_entra() != before).then_some((fate, driver))
            })
            .expect("a rotation makes a secret");
        assert!(story.stage.entry(Label::Pending).is_none(), "it is between Graph's answer and the vault");
        if !done {
            looking.wake_up();
            story.drive(&looking, &mut check);
        }
        fate.wake_up();
        story.drive(&fate, &mut driver);
        story.must_work();
        let described = block_on(story.stage.app.ports.vault.describe("muster/app")).expect("it is there");
        assert_eq!(described.version(Label::Current), Some("v2"), "the check took the new secret away: {point}");
        looking.came_true()
    }

    /// Runs one driver until it is done, dead or stalled, while time passes and the tenant is polled.
    fn drive(&mut self, fate: &Fate, driver: &mut BoxFuture<'_, ()>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if driver.as_mut().poll(&mut context).is_ready() {
                return true;
            }
            if fate.is_dead() || fate.is_stalled() {
                return false;
            }
            self.moment();
        }
    }

    fn moment(&mut self) {
        self.stage.pass(MOMENT);
        if self.stage.now().duration_since(self.polled_at) >= BETWEEN_POLLS {
            self.poll();
        }
    }

    fn poll(&mut self) {
        self.polled_at = self.stage.now();
        self.stage.assert_polls();
        self.summary.polls += 1;
    }

    /// The current credential opens the door, unless it has ended; and the tenant's poll goes through.
    fn must_work(&mut self) {
        self.stage.pass(seconds(3));
        self.poll();
        let entry = self.stage.entry(Label::Current).expect("there is always a current one");
        let home = HOME.parse().expect("a constant");
        let audience = self.stage.app.config.graph_audience();
        let token = block_on(self.stage.app.tokens.by_credential(home, &entry.application, audience));
        let is_over = entry.expires_at.is_some_and(|end| end <= self.stage.now());
        assert!(token.is_ok() || is_over, "{}: {token:?}", self.stage.now());
        let all = self.stage.at_entra();
        assert!(self.foreign.is_subset(&all), "{}: {:?} of {all:?}", self.stage.now(), self.foreign);
    }

    /// The key ids that some label's entry names.
    fn labelled(&self) -> BTreeSet<String> {
        let labels = [Label::Current, Label::Previous, Label::Pending];
        labels.into_iter().map(|label| self.stage.key_id(label)).filter(|key_id| !key_id.is_empty()).collect()
    }

    pub fn random(seed: u64) -> Summary {
        let mut story = Self::new(seed);
        for _ in 0..story.rng.random_range(6..24) {
            story.happen();
            story.must_work();
        }
        story.converge();
        story.summary.requests = story.stage.simulator.log().len();
        story.summary
    }

    fn happen(&mut self) {
        match self.rng.random_range(0..10) {
            0..=3 => self.rotation(),
            4 => {
                let fate = self.fate();
                let driver = check(chaos::app(&self.stage, &fate));
                self.run(vec![(fate, driver)]);
            }
            5..=6 => self.hinder(),
            7 => self.by_hand(),
            _ => {
                let pause = *[minutes(2), minutes(20), minutes(300), minutes(30 * 60), minutes(60 * 24 * 60)]
                    .choose(&mut self.rng)
                    .expect("not empty");
                // Nobody can do anything for a vault that nobody looks after until its secrets have ended.
                let end = self.stage.entry(Label::Current).and_then(|entry| entry.expires_at);
                if end.is_none_or(|end| self.stage.now() + pause * 2 < end) {
                    self.stage.pass(pause);
                }
            }
        }
    }

    fn fate(&mut self) -> Fate {
        let point = match self.rng.random_range(0..10) {
            0..=3 => CrashPoint::At(self.rng.random_range(1..120)),
            4..=5 => CrashPoint::Stall(self.rng.random_range(1..120)),
            _ => CrashPoint::Never,
        };
        Fate::new(self.rng.random(), point)
    }

    /// A rotation is begun, or the open one taken up, by one driver or two, and perhaps the daily check comes by.
    fn rotation(&mut self) {
        let open = block_on(self.stage.app.ports.vault.describe("muster/app")).expect("it is there");
        let version = match open.open_rotation() {
            Some(version) => version.to_owned(),
            None => {
                self.versions += 1;
                let version = format!("r{}", self.versions);
                self.stage.begin(&version);
                version
            }
        };
        let mut drivers = Vec::new();
        for _ in 0..self.rng.random_range(1..3) {
            let fate = self.fate();
            drivers.push((fate.clone(), rotation(chaos::app(&self.stage, &fate), version.clone())));
        }
        if self.rng.random_bool(0.4) {
            let fate = self.fate();
            drivers.push((fate.clone(), check(chaos::app(&self.stage, &fate))));
        }
        self.run(drivers);
    }

    /// Runs drivers step by step in an order that the seed chooses, until each is done or dead. Time passes meanwhile.
    fn run(&mut self, mut drivers: Vec<Driver>) {
        let mut context = Context::from_waker(Waker::noop());
        while !drivers.is_empty() {
            self.moment();
            let awake: Vec<usize> = (0..drivers.len()).filter(|n| !drivers[*n].0.is_stalled()).collect();
            let Some(&n) = awake.choose(&mut self.rng) else {
                drivers.iter().for_each(|(fate, _)| fate.wake_up());
                continue;
            };
            let (fate, driver) = &mut drivers[n];
            let done = driver.as_mut().poll(&mut context).is_ready();
            if done || fate.is_dead() {
                self.summary.deaths += usize::from(fate.is_dead());
                drop(drivers.swap_remove(n));
            }
        }
    }

    /// Graph gets into trouble; Entra and Defender do not, so that every failed poll would be our doing.
    fn hinder(&mut self) {
        let route = *[Route::GraphRead, Route::GraphAddPassword, Route::GraphAddPassword, Route::GraphRemovePassword]
            .choose(&mut self.rng)
            .expect("not empty");
        let fault = match self.rng.random_range(0..8) {
            0..=2 => Fault::Broken { after: self.rng.random_range(0..60) },
            3 => Fault::Status(409),
            4 => Fault::Status(403),
            5 => Fault::Status(503),
            6 => Fault::Truncated { after: self.rng.random_range(0..200) },
            _ => Fault::Throttled { seconds: self.rng.random_range(1..90), header: true, words: false },
        };
        self.stage.world(|world| world.script(route, [fault]));
    }

    /// Somebody makes a secret in the portal and stores it, with its key id or without.
    fn by_hand(&mut self) {
        self.versions += 1;
        let (key_id, value) =
            (format!("b0000000-0000-4000-8000-{:012}", self.versions), format!("by-hand-{}", self.versions));
        let (start, end) = (self.stage.now() - minutes(1), self.stage.now() + minutes(5 * 365 * 24 * 60));
        self.stage.world(|world| {
            let secret = ClientSecret { key_id: key_id.clone(), value: value.clone(), start, end, usable_from: None };
            world.application(CLIENT).expect("it is there").secrets.push(secret);
        });
        let mut credential = json!({"kind": "client_secret", "value": value});
        if self.rng.random_bool(0.5) {
            credential["key_id"] = json!(key_id);
            self.by_hand.insert(key_id);
        } else {
            self.foreign.insert(key_id);
        }
        self.stage.store_application(&credential, &format!("hand{}", self.versions));
    }

    /// Peace: Graph is well, nobody dies, and the host looks after its credentials for some days.
    fn converge(&mut self) {
        self.stage.world(simulator::World::clear_scripts);
        for _ in 0..4 {
            self.stage.days(1);
            let machine = self.stage.machine();
            let daily = async move { local::rotate::daily(&machine).await }.boxed();
            self.run(vec![(Fate::new(0, CrashPoint::Never), daily)]);
            self.must_work();
        }
        let described = block_on(self.stage.app.ports.vault.describe("muster/app")).expect("it is there");
        assert_eq!(described.open_rotation(), None);
        self.summary.rotated = self.stage.graph_calls("addPassword");
        let ours = |all: BTreeSet<String>| &(&all - &self.by_hand) - &self.foreign;
        assert_eq!(ours(self.stage.at_entra()), ours(self.labelled()), "what we made is what a label names");
        // And as it stands, the next rotation simply works.
        self.versions += 1;
        let version = format!("r{}", self.versions);
        self.stage.begin(&version);
        for name in harness::STEPS {
            let done = self.stage.drive(step(&self.stage.app, name, &version), |_| {});
            assert!(done.is_ok(), "{name}: {done:?}");
        }
        self.must_work();
        assert!(!format!("{:?} {:?}", self.stage.app, self.stage.view()).contains(SECRET));
    }
}
