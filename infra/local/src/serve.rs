//! `muster serve`: the schedules, the pullers and the web server of one machine.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::{Timestamp, Unit};
use shared::{
    App,
    tenant::{Feed, dispatch::Tick},
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{Failure, rotate, vault, worker::Worker};

/// Pulls at the same time. Each mostly waits for Microsoft; a slow tenant takes one place of these.
const WORKERS: usize = 16;
/// How soon a worker without work looks again.
const IDLE: Duration = Duration::from_millis(200);
/// What a pass may still take when we are asked to stop. A pass cut off then is finished by the next start.
const FAREWELL: Duration = Duration::from_secs(20);

/// Serves until interrupted.
///
/// # Errors
/// When the address is taken or the vault fails.
pub async fn run(app: App, data: &Path, listen: SocketAddr, tick: u32) -> Result<(), Failure> {
    vault::ensure_signing_key(&app).await?;
    let listener = TcpListener::bind(listen).await.map_err(|cause| Failure::failed(format!("{listen}: {cause}")))?;
    let address = listener.local_addr().map_err(Failure::failed)?;
    eprintln!("muster serves on http://{address}, pulls every {tick} s, and fills {}", data.join("lake").display());
    let stopping = Arc::new(AtomicBool::new(false));
    let mut tasks = start(&app, tick, &stopping);
    let web = tokio::spawn(web(listener));
    let housekeeping = tokio::spawn(housekeeping(app.clone(), data.to_owned()));
    let ended = tokio::select! {
        () = interrupted() => None,
        // None of them ends by itself: this is a defect, and half a server is worse than none.
        ended = tasks.join_next() => ended,
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
async fn housekeeping(app: App, data: PathBuf) {
    let mut days = interval(Duration::from_secs(24 * 3600));
    loop {
        days.tick().await;
        if let Err(error) = embedded::forget_expired(&data, app.clock.now()) {
            tracing::warn!(%error, "old state stays another day");
        }
        rotate::daily(&app).await;
    }
}

/// Starts the scheduler and the workers.
pub fn start(app: &App, tick: u32, stopping: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(schedule(app.clone(), tick, stopping.clone()));
    let worker = Worker::new(app.clone());
    for _ in 0..WORKERS {
        tasks.spawn(work(worker.clone(), stopping.clone()));
    }
    tasks
}

async fn schedule(app: App, tick: u32, stopping: Arc<AtomicBool>) {
    let mut ticks = interval(Duration::from_secs(u64::from(tick)));
    // After a suspended laptop wakes up, one tick makes all the missed ones good.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        fire(&app, app.clock.now(), tick).await;
    }
}

/// One scheduled moment, in whole seconds as the cloud's scheduler gives it.
pub async fn fire(app: &App, now: Timestamp, every_seconds: u32) {
    let scheduled_time =
        now.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc)).unwrap_or(now);
    let tick = Tick { feed: Feed::Alerts, scheduled_time, every_seconds };
    if let Err(error) = pull_dispatch::handle(app, tick).await {
        tracing::error!(%error, "a tick was not dispatched; the next one makes it good");
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

async fn web(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file handles: give the others time to finish.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        tokio::spawn(async move {
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
            if let Err(error) = serving.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match (request.method().as_str(), request.uri().path()) {
        ("GET" | "HEAD", "/api/health") => (StatusCode::OK, r#"{"status":"ok"}"#),
        _ => (StatusCode::NOT_FOUND, r#"{"type":"about:blank","title":"Not Found","status":404}"#),
    };
    let content_type = if status == StatusCode::OK { "application/json" } else { "application/problem+json" };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(content_type));
    Ok(response)
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
