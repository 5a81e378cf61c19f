//! Ports and transport of one worker that may stall between any two steps, or die at one of them.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use embedded::{Deliveries, Delivery, Machine, Rotations};
use futures::{FutureExt, future::BoxFuture};
use harness::{SimulatorTransport, Stage};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use shared::{
    App,
    http::{Client, HttpError, InProcess, Request, Response},
    ports::{
        PerFeed, Ports, Unavailable,
        lake::{Lake, Put},
        queue::{Outgoing, Queue},
        store::{Item, Key, Store, StoreError, Write},
        vault::{Description, Stage as Label, Vault, VaultError, Version},
    },
    secret::Secret,
};

/// What happens to a worker, counted in steps: one before and one after every call it makes to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    Never,
    At(u32),
    /// Stops there until everybody else is done, then goes on as if nothing had happened.
    Stall(u32),
    /// The platform or the network fails there, once: before the call at an odd point, after it has been carried out at
    /// an even one.
    Fail(u32),
}

#[derive(Debug)]
struct State {
    rng: SmallRng,
    steps: u32,
    point: CrashPoint,
    dead: bool,
    stalled: bool,
}

/// The fate of one worker, shared by all its ports.
#[derive(Clone)]
pub struct Fate(Arc<Mutex<State>>);

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fate")
    }
}

impl Fate {
    pub fn new(seed: u64, point: CrashPoint) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(State { rng, steps: 0, point, dead: false, stalled: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Whether the point was reached at all.
    pub fn came_true(&self) -> bool {
        let state = self.state();
        match state.point {
            CrashPoint::Never => false,
            CrashPoint::At(point) | CrashPoint::Stall(point) | CrashPoint::Fail(point) => state.steps >= point,
        }
    }

    pub fn is_stalled(&self) -> bool {
        self.state().stalled
    }

    pub fn wake_up(&self) {
        self.state().stalled = false;
    }

    /// Goes on, and dies after so many more steps.
    pub fn wake_up_to_die(&self, steps: u32) {
        let mut state = self.state();
        state.stalled = false;
        state.point = CrashPoint::At(state.steps + steps);
    }

    /// Whether the call fails here.
    async fn step(&self) -> bool {
        let (pauses, fails) = {
            let mut state = self.state();
            state.steps += 1;
            match state.point {
                CrashPoint::At(point) if point == state.steps => state.dead = true,
                CrashPoint::Stall(point) if point == state.steps => state.stalled = true,
                _ => {}
            }
            (state.rng.random_range(0..3), state.point == CrashPoint::Fail(state.steps))
        };
        for _ in 0..pauses {
            Pause(false).await;
        }
        while self.is_dead() || self.is_stalled() {
            Pause(false).await;
        }
        fails
    }

    async fn around<T, E: From<Outage>>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        if self.step().await {
            return Err(Outage.into());
        }
        let result = call.await;
        if self.step().await { Err(Outage.into()) } else { result }
    }
}

/// What a caller sees of a failure, whatever became of its call.
struct Outage;

impl From<Outage> for Unavailable {
    fn from(_: Outage) -> Self {
        Self::new("port", "an outage of the story")
    }
}

impl From<Outage> for StoreError {
    fn from(outage: Outage) -> Self {
        Self::Unavailable(outage.into())
    }
}

impl From<Outage> for VaultError {
    fn from(outage: Outage) -> Self {
        Self::Unavailable(outage.into())
    }
}

impl From<Outage> for HttpError {
    fn from(_: Outage) -> Self {
        Self::Broken("an outage of the story".to_owned())
    }
}

/// Gives the others a turn.
struct Pause(bool);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[derive(Debug)]
struct Chaotic<P: ?Sized> {
    fate: Fate,
    port: Arc<P>,
}

#[async_trait]
impl Store for Chaotic<dyn Store> {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.fate.around(self.port.get(key)).await
    }

    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<(Key, Item)>, StoreError> {
        self.fate.around(self.port.query(partition, prefix)).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.fate.around(self.port.commit(writes)).await
    }
}

#[async_trait]
impl Queue for Chaotic<dyn Queue> {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Unavailable> {
        self.fate.around(self.port.send(messages)).await
    }
}

#[async_trait]
impl Deliveries for Chaotic<dyn Deliveries> {
    async fn receive(&self, max: usize, visibility: SignedDuration) -> Result<Vec<Delivery>, Unavailable> {
        self.fate.around(self.port.receive(max, visibility)).await
    }

    async fn delete(&self, receipt: &str) -> Result<(), Unavailable> {
        self.fate.around(self.port.delete(receipt)).await
    }

    async fn dead_letters(&self) -> Result<Vec<String>, Unavailable> {
        self.fate.around(self.port.dead_letters()).await
    }
}

#[async_trait]
impl Lake for Chaotic<dyn Lake> {
    async fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<Put, Unavailable> {
        self.fate.around(self.port.put_new(key, bytes)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.fate.around(self.port.get(key)).await
    }

    async fn remove(&self, key: &str) -> Result<(), Unavailable> {
        self.fate.around(self.port.remove(key)).await
    }
}

#[async_trait]
impl Vault for Chaotic<dyn Vault> {
    async fn read(&self, name: &str, stage: Label, version: Option<&str>) -> Result<Version, VaultError> {
        self.fate.around(self.port.read(name, stage, version)).await
    }

    async fn put(
        &self,
        name: &str,
        version: &str,
        value: &Secret<String>,
        stages: &[Label],
        rotation_token: Option<&str>,
    ) -> Result<(), VaultError> {
        self.fate.around(self.port.put(name, version, value, stages, rotation_token)).await
    }

    async fn promote(&self, name: &str, to: &str, from: &str) -> Result<(), VaultError> {
        self.fate.around(self.port.promote(name, to, from)).await
    }

    async fn describe(&self, name: &str) -> Result<Description, VaultError> {
        self.fate.around(self.port.describe(name)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, VaultError> {
        self.fate.around(self.port.list(prefix)).await
    }

    async fn remove(&self, name: &str) -> Result<Option<Timestamp>, VaultError> {
        self.fate.around(self.port.remove(name)).await
    }

    async fn restore(&self, name: &str) -> Result<bool, VaultError> {
        self.fate.around(self.port.restore(name)).await
    }
}

#[async_trait]
impl Rotations for Chaotic<dyn Rotations> {
    async fn begin(&self, name: &str, version: &str) -> Result<(), VaultError> {
        self.fate.around(self.port.begin(name, version)).await
    }

    async fn cancel(&self, name: &str, version: &str) -> Result<(), VaultError> {
        self.fate.around(self.port.cancel(name, version)).await
    }
}

struct ChaoticTransport {
    fate: Fate,
    transport: SimulatorTransport,
}

impl InProcess for ChaoticTransport {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, HttpError>> {
        Box::pin(self.fate.around(async { self.transport.send(request).await }))
    }
}

/// The app of a process of its own, cold, under this fate.
pub fn app(stage: &Stage, fate: &Fate) -> App {
    let ports = &stage.app.ports;
    let queue =
        |port: &Arc<dyn Queue>| -> Arc<dyn Queue> { Arc::new(Chaotic { fate: fate.clone(), port: port.clone() }) };
    let ports = Ports {
        store: Arc::new(Chaotic { fate: fate.clone(), port: ports.store.clone() }),
        vault: Arc::new(Chaotic { fate: fate.clone(), port: ports.vault.clone() }),
        lake: Arc::new(Chaotic { fate: fate.clone(), port: ports.lake.clone() }),
        queues: PerFeed {
            alerts: queue(&ports.queues.alerts),
            machines: queue(&ports.queues.machines),
            telemetry: queue(&ports.queues.telemetry),
        },
        identity: ports.identity.clone(),
    };
    let transport = SimulatorTransport {
        simulator: stage.simulator.clone(),
        clock: stage.app.clock.clone(),
        origins: stage.origins.clone(),
    };
    let transport = Arc::new(ChaoticTransport { fate: fate.clone(), transport });
    let config = stage.app.config.clone();
    let http = Client::in_process(transport, config.trusted_origins());
    App::new(config, ports, http, stage.app.clock.clone())
}

/// As [`app`], with the host's hands under the same fate.
pub fn machine(stage: &Stage, fate: &Fate) -> Machine {
    let deliveries = |port: &Arc<dyn Deliveries>| -> Arc<dyn Deliveries> {
        Arc::new(Chaotic { fate: fate.clone(), port: port.clone() })
    };
    Machine {
        app: app(stage, fate),
        deliveries: PerFeed {
            alerts: deliveries(&stage.deliveries.alerts),
            machines: deliveries(&stage.deliveries.machines),
            telemetry: deliveries(&stage.deliveries.telemetry),
        },
        rotations: Arc::new(Chaotic { fate: fate.clone(), port: stage.rotations.clone() }),
    }
}

/// Runs one worker alone until it is done, dead or stalled. True when it is done.
pub fn run_alone(fate: &Fate, worker: &mut (impl Future<Output = ()> + Unpin)) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if worker.poll_unpin(&mut context).is_ready() {
            return true;
        }
        if fate.is_dead() || fate.is_stalled() {
            return false;
        }
    }
}

/// Runs workers step by step in an order that `rng` chooses, until each is done or dead.
pub fn run(rng: &mut SmallRng, mut workers: Vec<(Fate, impl Future<Output = ()> + Unpin)>) {
    let mut context = Context::from_waker(Waker::noop());
    while !workers.is_empty() {
        let awake: Vec<usize> = (0..workers.len()).filter(|n| !workers[*n].0.is_stalled()).collect();
        let Some(&n) = awake.choose(rng) else {
            workers.iter().for_each(|(fate, _)| fate.wake_up());
            continue;
        };
        let (fate, worker) = &mut workers[n];
        if worker.poll_unpin(&mut context).is_ready() || fate.is_dead() {
            // Dropped where it stands: nothing after this point is ever run.
            drop(workers.swap_remove(n));
        }
    }
}
