//! `muster demo`: the whole machine at work against a simulated Microsoft, with the trouble that real tenants give.
//!
//! One hour passes in a few seconds: simulator and handlers share a clock that the demo moves. Everything between them
//! is real, down to the HTTP on loopback.

mod crash;
mod verdict;
mod world;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp, ToSpan, Unit};
use shared::{
    App,
    clock::Clock,
    config::Config,
    http::Client,
    ports::{Ports, vault::Stage},
    secret::Secret,
    tenant::{Feed, connect, list::list},
};
use simulator::Simulator;
use tokio::net::TcpListener;

use crate::{Failure, serve, tenants, vault, worker::Worker};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// Virtual minutes of the story, one tick each.
const MINUTES: u32 = 60;
/// Seconds between ticks once the demo goes on in real time.
const LIVE_TICK: u32 = 10;

/// Tells the story; with `once` ends after it, otherwise keeps serving.
///
/// # Errors
/// When a ledger does not balance or the lake does not hold exactly what the tenants have.
pub async fn run(once: bool) -> Result<(), Failure> {
    let began = std::time::Instant::now();
    let start = story_start()?;
    let simulator = Simulator::new(1, start);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Failure::failed)?;
    let origin = format!("http://{}", listener.local_addr().map_err(Failure::failed)?);
    tokio::spawn(simulator::serve::serve(simulator.clone(), listener));

    let data = std::env::temp_dir().join(format!("muster-demo-{}-{}", start.as_second(), std::process::id()));
    let clock = Clock::manual(start);
    let mut ports = embedded::open(&data, &clock).map_err(Failure::failed)?;
    let dying = crash::DyingLake::over(ports.lake.clone());
    ports.lake = dying.clone();
    let app = app(ports, &origin, clock.clone())?;

    eprintln!("A simulated Microsoft answers on {origin}; one hour passes in a few seconds.\n");
    world::build(&simulator, start);
    connect_tenants(&app).await?;
    tell(&app, &simulator, &dying, start).await?;

    let views = list(app.ports.store.as_ref(), app.clock.now()).await.map_err(Failure::failed)?;
    println!("{}", tenants::table(&views));
    let lake = data.join("lake");
    println!("The lake: {}   ({:.1} s)", lake.display(), began.elapsed().as_secs_f64());
    verdict::check(&views, &lake, &simulator)?;
    println!("Every ledger balances, and the lake holds each version of each alert exactly once.");
    if once { Ok(()) } else { go_on(simulator, &data, &origin).await }
}

/// An hour and a bit ago, so that the story ends about now.
fn story_start() -> Result<Timestamp, Failure> {
    let rounded = Timestamp::now().round(Unit::Minute).map_err(Failure::failed)?;
    rounded.checked_sub((i64::from(MINUTES) + 5).minutes()).map_err(Failure::failed)
}

fn app(ports: Ports, origin: &str, clock: Clock) -> Result<App, Failure> {
    let config = Config::from_lookup(|name| {
        matches!(name, "MUSTER_LOGIN_URL" | "MUSTER_DEFENDER_URL").then(|| origin.to_owned())
    })
    .map_err(Failure::failed)?;
    let http = Client::network(config.trusted_origins()).map_err(Failure::failed)?;
    Ok(App::new(Arc::new(config), ports, http, clock))
}

async fn connect_tenants(app: &App) -> Result<(), Failure> {
    vault::ensure_signing_key(app).await?;
    let entry = Secret::new(world::application_entry());
    app.ports.vault.put("muster/app", "demo-1", &entry, &[Stage::Current], None).await.map_err(Failure::failed)?;
    for tenant in world::TENANTS {
        let new = connect::NewConnection {
            tenant_id: tenant.id.parse().map_err(Failure::Failed)?,
            account: tenant.name.to_owned(),
            feeds: vec![Feed::Alerts],
            region: None,
        };
        connect::connect(app, &new).await.map_err(Failure::failed)?;
    }
    Ok(())
}

/// Minute by minute: what happens in the tenants, then one tick of ours.
async fn tell(app: &App, simulator: &Simulator, dying: &crash::DyingLake, start: Timestamp) -> Result<(), Failure> {
    let bar = ProgressBar::new(u64::from(MINUTES));
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} min  {msg}").map_err(Failure::failed)?;
    bar.set_style(style);
    let worker = Worker::new(app.clone());
    for minute in 0..MINUTES {
        let now = start + MINUTE * i32::try_from(minute + 1).unwrap_or(i32::MAX);
        simulator.set_now(now);
        app.clock.advance(MINUTE);
        for line in world::happen(simulator, minute, now) {
            bar.suspend(|| eprintln!("{:>4} min  {line}", minute));
        }
        if minute == world::CRASH_MINUTE {
            dying.arm();
        }
        serve::fire(app, now, 60).await;
        while drain(&worker, dying).await? > 0 {}
        bar.set_message(format!("{} requests to Microsoft", simulator.log().len()));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let refusals = simulator.refusals();
    if refusals.is_empty() { Ok(()) } else { Err(Failure::failed(format!("the simulator did not know: {refusals:?}"))) }
}

/// Drains the queue; a worker that dies on the way is dropped where it stands.
async fn drain(worker: &Worker, dying: &crash::DyingLake) -> Result<usize, Failure> {
    tokio::select! {
        drained = worker.drain(10) => drained.map_err(Failure::failed),
        () = dying.death() => {
            eprintln!("          a worker died between putting an object and committing it");
            Ok(1)
        }
    }
}

/// The demo in real time: new alerts now and then, pulled every few seconds, until interrupted.
async fn go_on(simulator: Simulator, data: &Path, origin: &str) -> Result<(), Failure> {
    simulator.follow_real_clock();
    let live = app(embedded::open(data, &Clock::System).map_err(Failure::failed)?, origin, Clock::System)?;
    let stopping = Arc::new(AtomicBool::new(false));
    let tasks = serve::start(&live, LIVE_TICK, &stopping);
    println!("\nThe tenants go on in real time, pulled every {LIVE_TICK} s. Look around:");
    println!("  alerts as they arrive   ls -ltr {}/lake/alerts/*/*", data.display());
    println!(
        "  one event               find {}/lake/alerts -name '*.gz' | tail -1 | xargs zcat | head -1",
        data.display()
    );
    println!("  the tenants             muster tenants --data {}", data.display());
    println!("  what Microsoft was asked  curl {origin}/_simulator/log");
    println!("Stop with Ctrl-C.");
    let mut beat = tokio::time::interval(Duration::from_secs(u64::from(LIVE_TICK)));
    let mut number = 0;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                number += 1;
                world::trickle(&simulator, number, Timestamp::now());
                let views = list(live.ports.store.as_ref(), Timestamp::now()).await.map_err(Failure::failed)?;
                let delivered: u64 = views.iter().map(|view| view.ledger.delivered).sum();
                eprintln!("{} alerts delivered so far", delivered);
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    stopping.store(true, std::sync::atomic::Ordering::SeqCst);
    drop(tasks);
    Ok(())
}
