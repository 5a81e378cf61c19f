//! One large append blob, drained over real HTTP, beside the least that anyone could do: read it, compress what is sent. In
//! a process of its own, so that what others took is not counted again.

use std::{fmt, fs, io::Write as _, path::Path, process::Command, time::Duration};

use flate2::{Compression, write::GzEncoder};
use jiff::SignedDuration;
use shared::{
    App,
    clock::Clock,
    http::Request,
    record::{Ledger, Progress, read_object},
    telemetry::progress::TelemetryFeed,
    tenant::{Feed, TenantId},
};
use simulator::Exporter;
use url::Url;

use crate::{
    Failed, floor, machine,
    measure::{self, Meter, Used},
    microsoft::{ACCOUNT, BLOB, LINES, Microsoft, QUEUE, TENANT, start_time},
    report::megabytes,
    take_in_with,
};

/// What makes this program the one that drains.
pub const ARGUMENT: &str = "--telemetry";
const MEMORY_BUDGET: u64 = 64 << 20;
/// Bytes of JSON lines in a second of CPU.
const SPEED_BUDGET: f64 = 25e6;
const MAX_TICKS: usize = 20;

/// Runs the measurement in a child, which prints it. Tells whether it is within its budget.
pub fn measure() -> Result<bool, Failed> {
    Ok(Command::new(std::env::current_exe()?).arg(ARGUMENT).status()?.success())
}

/// The child's side.
pub async fn run(data: &Path) -> Result<bool, Failed> {
    let mut microsoft = Microsoft::start()?;
    let clock = Clock::manual(start_time()?);
    let (host, _) = machine(data, &microsoft, clock)?;
    let app = &host.app;
    take_in_with(app, TENANT, vec![Feed::Telemetry], Some(format!("{ACCOUNT}/{QUEUE}").parse()?)).await?;
    microsoft.export()?;
    let before = measure::memory("VmRSS")?;
    measure::forget_peak()?;
    let worker = local::worker::Worker::new(host.clone(), Feed::Telemetry);
    let meter = Meter::start()?;
    for _ in 0..MAX_TICKS {
        microsoft.advance_a_minute()?;
        app.clock.advance(SignedDuration::from_mins(1));
        local::serve::fire(app, Feed::Telemetry, app.clock.now(), 60).await;
        while worker.drain(10).await? > 0 {}
        if feed(app).await?.ledger.fetched >= LINES {
            break;
        }
    }
    let used = meter.stop()?;
    let peak = measure::memory("VmHWM")?;
    let feed = feed(app).await?;
    let floor = Floor::measure(app, &microsoft.origin, data).await?;
    let report = Report { before, peak, used, bytes: feed.bytes, ledger: feed.ledger, floor };
    println!("{report}");
    Ok(report.within_budget())
}

async fn feed(app: &App) -> Result<TelemetryFeed, Failed> {
    let tenant: TenantId = TENANT.parse()?;
    Ok(TelemetryFeed::load(app.ports.store.as_ref(), tenant).await?.map(|(feed, _)| feed).unwrap_or_default())
}

/// What nobody can do without.
#[derive(Debug)]
struct Floor {
    read: Duration,
    gzip: Duration,
}

impl Floor {
    /// Reads the same blob through the same client, and compresses the same lines at the same level.
    async fn measure(app: &App, origin: &str, data: &Path) -> Result<Self, Failed> {
        let token =
            app.tokens.storage(TENANT.parse()?, &shared::microsoft::tokens::ApplicationName::App, false).await?;
        let url = Url::parse(&format!("{origin}/storage/{ACCOUNT}/blob/{}/{BLOB}", Exporter::CONTAINER))?;
        let mut request = Request::get(url);
        request.headers = vec![("x-ms-version".into(), "2025-11-05".to_owned())];
        request.bearer = Some(token.bearer.clone());
        let meter = Meter::start()?;
        let mut answer = app.http.send(request).await?;
        while answer.body.chunk().await?.is_some() {}
        let read = meter.stop()?.cpu;

        let mut objects = Vec::new();
        floor::objects_under(&data.join("lake").join("telemetry"), &mut objects)?;
        let mut gzip = Duration::ZERO;
        for object in objects {
            let mut lines = String::new();
            read_object(&fs::read(object)?, |line| {
                lines.push_str(line);
                lines.push('\n');
                Ok(())
            })?;
            let meter = Meter::start()?;
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(lines.as_bytes())?;
            encoder.finish()?;
            gzip += meter.stop()?.cpu;
        }
        Ok(Self { read, gzip })
    }
}

#[derive(Debug)]
struct Report {
    before: u64,
    peak: u64,
    used: Used,
    bytes: u64,
    ledger: Ledger,
    floor: Floor,
}

impl Report {
    fn speed(&self) -> f64 {
        self.bytes as f64 / self.used.cpu.as_secs_f64()
    }

    fn within_budget(&self) -> bool {
        let all = self.ledger.fetched == LINES && self.ledger.delivered == LINES && self.ledger.balances();
        all && self.speed() >= SPEED_BUDGET && self.peak <= MEMORY_BUDGET
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let floor = self.floor.read + self.floor.gzip;
        writeln!(f, "An append blob of {}, {} lines", megabytes(self.bytes), self.ledger.fetched)?;
        writeln!(
            f,
            "  {:.1} MB/s of CPU   budget at least {:.0}{}; {:.2} s on the wall, {:.2} s of CPU, {:.2} × the floor (read {:.2} s + gzip {:.2} s)",
            self.speed() / 1e6,
            SPEED_BUDGET / 1e6,
            if self.speed() >= SPEED_BUDGET { "" } else { "   OVER" },
            self.used.wall.as_secs_f64(),
            self.used.cpu.as_secs_f64(),
            self.used.cpu.as_secs_f64() / floor.as_secs_f64(),
            self.floor.read.as_secs_f64(),
            self.floor.gzip.as_secs_f64(),
        )?;
        writeln!(
            f,
            "  peak memory {} ({} before)   budget {}{}",
            megabytes(self.peak),
            megabytes(self.before),
            megabytes(MEMORY_BUDGET),
            if self.peak <= MEMORY_BUDGET { "" } else { "   OVER" },
        )?;
        write!(
            f,
            "  everything delivered once: {}",
            if self.within_budget() { "yes" } else { "NO, or over a budget   OVER" }
        )
    }
}
