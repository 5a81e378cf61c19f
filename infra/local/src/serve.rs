//! `muster serve`: the schedules, the pullers and the web server of one machine.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use embedded::Machine;
use jiff::{Timestamp, Unit};
use shared::{
    App,
    ports::PerFeed,
    tenant::{Feed, dispatch::Tick},
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout},
};

use crate::{Failure, rotate, tenants, vault, web, worker::Worker};

/// Pulls of each feed at the same time. Each mostly waits for Microsoft; a slow tenant takes one place of these.
const WORKERS: PerFeed<usize> = PerFeed { alerts: 16, machines: 4, telemetry: 4 };
/// An inventory changes slowly, and reading it is many calls: it is pulled at every so many ticks.
const TICKS_BETWEEN_INVENTORIES: u64 = 60;
/// How soon a worker without work looks again.
const IDLE: Duration = Duration::from_millis(200);
/// How long a server runs before its first daily work.
const SETTLED: Duration = Duration::from_secs(600);
/// What a pass may still take when we are asked to stop. A pass cut off then is finished by the next start.
const FAREWELL: Duration = Duration::from_secs(20);

/// Serves until interrupted.
///
/// # Errors
/// When the address is taken or the vault fails.
pub async fn run(machine: Machine, data: &Path, listen: SocketAddr, tick: u32) -> Result<(), Failure> {
    let app = &machine.app;
    vault::ensure_signing_key(app).await?;
    let listener = TcpListener::bind(listen).await.map_err(|cause| Failure::failed(format!("{listen}: {cause}")))?;
    let address = listener.local_addr().map_err(Failure::failed)?;
    let machines = Duration::from_secs(u64::from(tick) * TICKS_BETWEEN_INVENTORIES);
    eprintln!(
        "muster serves on http://{address}, pulls every {tick} s (machines every {}), and fills {}",
        tenants::age(machines.as_secs()),
        data.join("lake").display()
    );
    match &app.config.public_url {
        Some(url) => eprintln!(
            "the console is at {url}, and invitations lead there; the application's redirect URIs are {url}consent/callback \
             and {url}login/callback"
        ),
        None => eprintln!("the console and invitations need MUSTER_PUBLIC_URL, the origin that people's browsers see"),
    }
    let stopping = Arc::new(AtomicBool::new(false));
    let mut tasks = start(&machine, tick, &stopping);
    let mut web = tokio::spawn(web::serve(app.clone(), listener));
    let housekeeping = tokio::spawn(housekeeping(machine.clone(), data.to_owned()));
    let ended = tokio::select! {
        () = interrupted() => None,
        // None of them ends by itself: this is a defect, and half a server is worse than none.
        ended = tasks.join_next() => ended,
        ended = &mut web => Some(ended),
    };
    web.abort();
    housekeeping.abort();
    if let Some(ended) = ended {
        let how = ended.err().map_or_else(|| "without a word".to_owned(), |error| error.to_string());
        return Err(Failure::failed(format!(
            "a worker or the scheduler ended ({how}); please report it and start again"
        )));
    }
    eprintln!("stopping; pulls under way may finish");
    stopping.store(true, Ordering::SeqCst);
    let _late_passes_are_resumed_later = timeout(FAREWELL, async { while tasks.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Once a day, what has outlived its use, and the credentials.
async fn housekeeping(machine: Machine, data: PathBuf) {
    // Not at once: whoever starts a server to look around has not asked for a new secret.
    let mut days = interval_at(Instant::now() + SETTLED, Duration::from_secs(24 * 3600));
    loop {
        days.tick().await;
        if let Err(error) = embedded::forget_expired(&data, machine.app.clock.now()) {
            tracing::warn!(%error, "old state stays another day");
        }
        rotate::daily(&machine).await;
    }
}

/// Starts the scheduler and the workers.
pub fn start(machine: &Machine, tick: u32, stopping: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(schedule(machine.app.clone(), tick, stopping.clone()));
    for feed in Feed::ALL {
        let worker = Worker::new(machine.clone(), feed);
        for _ in 0..*feed.of(&WORKERS) {
            tasks.spawn(work(worker.clone(), stopping.clone()));
        }
    }
    tasks
}

async fn schedule(app: App, tick: u32, stopping: Arc<AtomicBool>) {
    let mut ticks = interval(Duration::from_secs(u64::from(tick)));
    // After a suspended laptop wakes up, one tick makes all the missed ones good.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for number in 0_u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopped(&stopping) => return,
        }
        for feed in due_feeds(number) {
            fire(&app, feed, app.clock.now(), tick).await;
        }
    }
}

/// Until we are asked to stop, which must not wait for the next tick.
async fn stopped(stopping: &AtomicBool) {
    while !stopping.load(Ordering::SeqCst) {
        sleep(IDLE).await;
    }
}

/// The feeds whose turn it is at this tick, counted from the start.
fn due_feeds(tick: u64) -> impl Iterator<Item = Feed> {
    let inventories = tick.is_multiple_of(TICKS_BETWEEN_INVENTORIES);
    Feed::ALL.into_iter().filter(move |feed| *feed != Feed::Machines || inventories)
}

/// One scheduled moment of a feed, in whole seconds as the cloud's scheduler gives it.
pub async fn fire(app: &App, feed: Feed, now: Timestamp, every_seconds: u32) {
    let scheduled_time =
        now.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc)).unwrap_or(now);
    let tick = Tick { feed, scheduled_time, every_seconds };
    if let Err(error) = pull_dispatch::handle(app, tick).await {
        tracing::error!(feed = feed.name(), %error, "a tick was not dispatched; the next one makes it good");
    }
}

async fn work(worker: Worker, stopping: Arc<AtomicBool>) {
    while !stopping.load(Ordering::SeqCst) {
        match worker.drain(1).await {
            Ok(0) => sleep(IDLE).await,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "the queue does not answer");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn interrupted() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be caught");
            let _stopped = tokio::signal::ctrl_c().await;
            return;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tick_is_every_feeds_and_machines_then_wait_for_the_sixtieth() {
        let due = |tick| due_feeds(tick).collect::<Vec<_>>();
        assert_eq!(due(0), Feed::ALL);
        for tick in [1, 2, 59, 61, 119] {
            assert_eq!(due(tick), [Feed::Alerts, Feed::Telemetry], "tick {tick}");
        }
        assert_eq!((due(60), due(120)), (Feed::ALL.to_vec(), Feed::ALL.to_vec()));
    }
}
