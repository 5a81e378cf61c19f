//! A large inventory, read whole and then once more unchanged. In a process of its own, so that what the alerts took is
//! not counted again.

use std::{fmt, path::Path, process::Command};

use jiff::SignedDuration;
use shared::{
    App,
    clock::Clock,
    machine::progress::MachineFeed,
    record::Progress,
    tenant::{Feed, TenantId},
};

use crate::{
    Failed,
    counting::Taken,
    machine,
    measure::{self, Meter, Used},
    microsoft::{LARGE_TENANT, MACHINES, Microsoft, start_time},
    report::{megabytes, per_alert},
    take_in,
};

/// What makes this program the one that reads the inventory.
pub const ARGUMENT: &str = "--inventory";
const MEMORY_BUDGET: u64 = 64 << 20;

/// Runs the measurement in a child, which prints it. Tells whether it is within its budget.
pub fn measure() -> Result<bool, Failed> {
    Ok(Command::new(std::env::current_exe()?).arg(ARGUMENT).status()?.success())
}

/// The child's side.
pub async fn run(data: &Path) -> Result<bool, Failed> {
    let mut microsoft = Microsoft::start()?;
    let clock = Clock::manual(start_time()?);
    let (host, counts) = machine(data, &microsoft, clock)?;
    let app = &host.app;
    take_in(app, LARGE_TENANT, vec![Feed::Machines]).await?;
    let before = measure::memory("VmRSS")?;
    let mut runs = Vec::new();
    for _ in 0..2 {
        microsoft.advance_an_hour()?;
        app.clock.advance(SignedDuration::from_hours(1));
        microsoft.log()?;
        counts.reset();
        measure::forget_peak()?;
        let meter = Meter::start()?;
        local::serve::fire(app, Feed::Machines, app.clock.now(), 3600).await;
        let worker = local::worker::Worker::new(host.clone(), Feed::Machines);
        while worker.drain(10).await? > 0 {}
        let used = meter.stop()?;
        let peak = measure::memory("VmHWM")?;
        runs.push(Run { used, peak, written: counts.taken(), calls: microsoft.log()?.len(), feed: feed(app).await? });
    }
    let report = Report { before, runs };
    println!("{report}");
    Ok(report.within_budget())
}

async fn feed(app: &App) -> Result<MachineFeed, Failed> {
    let tenant: TenantId = LARGE_TENANT.parse()?;
    Ok(MachineFeed::load(app.ports.store.as_ref(), tenant).await?.map(|(feed, _)| feed).unwrap_or_default())
}

#[derive(Debug)]
struct Run {
    used: Used,
    peak: u64,
    written: Taken,
    calls: usize,
    feed: MachineFeed,
}

#[derive(Debug)]
struct Report {
    before: u64,
    runs: Vec<Run>,
}

impl Report {
    fn within_budget(&self) -> bool {
        let [first, second] = self.runs.as_slice() else { return false };
        let all = first.feed.ledger.delivered == u64::from(MACHINES) && second.feed.complete_runs == 2;
        // The one write is the watermark's.
        let quiet = (second.written.objects, second.written.state_writes) == (0, 1);
        all && quiet && self.runs.iter().all(|run| run.peak <= MEMORY_BUDGET)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "An inventory of {MACHINES} machines, then once more unchanged")?;
        for run in &self.runs {
            let Run { used, peak, written, calls, .. } = run;
            let over = if *peak <= MEMORY_BUDGET { "" } else { "   OVER" };
            writeln!(
                f,
                "  {:>6.2} s, {:.0} µs of CPU a machine, {calls} calls; {} objects, {}, {} state write(s); peak memory {} ({} \
                 before)   budget {}{over}",
                used.wall.as_secs_f64(),
                per_alert(used.cpu, u64::from(MACHINES)),
                written.objects,
                megabytes(written.bytes),
                written.state_writes,
                megabytes(*peak),
                megabytes(self.before),
                megabytes(MEMORY_BUDGET),
            )?;
        }
        write!(
            f,
            "  everything delivered once, the second run quiet: {}",
            if self.within_budget() { "yes" } else { "NO   OVER" }
        )
    }
}
