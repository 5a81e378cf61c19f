//! What was measured, beside its budget.

use std::{fmt, time::Duration};

use crate::{counting::Taken, floor::Floor, measure::Used};

const RATIO_BUDGET: f64 = 2.0;
const MEMORY_BUDGET: u64 = 64 << 20;

#[derive(Debug)]
pub struct Report {
    pub delivered: u64,
    pub pull: Used,
    /// Resident memory before the pull.
    pub before: u64,
    /// The most during the pull.
    pub peak: u64,
    pub written: Taken,
    pub calls: usize,
    pub floor: Floor,
    pub idle: Taken,
    pub idle_calls: Vec<String>,
}

impl Report {
    fn ratio(&self) -> f64 {
        let ours = per_alert(self.pull.cpu, self.delivered);
        ours / per_alert(self.floor.parse + self.floor.gzip, self.floor.alerts)
    }

    /// Calls that the idle poll made: to Defender, to anyone else.
    fn idle_calls(&self) -> (usize, usize) {
        let defender = self.idle_calls.iter().filter(|target| target.starts_with("/api/")).count();
        (defender, self.idle_calls.len() - defender)
    }

    fn idle_is_idle(&self) -> bool {
        let Taken { objects, state_writes, vault_reads, .. } = self.idle;
        self.idle_calls() == (1, 0) && [objects, state_writes, vault_reads] == [0; 3]
    }

    pub fn within_budget(&self) -> bool {
        self.ratio() <= RATIO_BUDGET && self.peak <= MEMORY_BUDGET && self.idle_is_idle()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pull, written, floor, idle, .. } = self;
        let over = |fits: bool| if fits { "" } else { "   OVER" };
        writeln!(f, "One page as large as Microsoft sends them, over HTTP on loopback, into an empty data folder")?;
        writeln!(f, "  alerts        {} delivered, {} received with evidence", self.delivered, floor.alerts)?;
        writeln!(
            f,
            "  received      {} in {} answers, of which {} with evidence",
            megabytes(floor.bytes_received),
            self.calls,
            megabytes(floor.bytes_parsed)
        )?;
        writeln!(
            f,
            "  written       {} objects, {} ({} before compression); {} state transactions",
            written.objects,
            megabytes(written.bytes),
            megabytes(floor.bytes_sent),
            written.state_writes
        )?;
        writeln!(f, "  wall time     {:.2} s", pull.wall.as_secs_f64())?;
        writeln!(f, "  CPU           {:.0} µs an alert", per_alert(pull.cpu, self.delivered))?;
        writeln!(
            f,
            "  floor         {:.0} µs an alert (parse once {:.0}, gzip once {:.0})",
            per_alert(floor.parse + floor.gzip, floor.alerts),
            per_alert(floor.parse, floor.alerts),
            per_alert(floor.gzip, floor.alerts)
        )?;
        let ratio = self.ratio();
        writeln!(f, "  ours / floor  {ratio:.2}   budget {RATIO_BUDGET:.0}{}", over(ratio <= RATIO_BUDGET))?;
        writeln!(
            f,
            "  peak memory   {} ({} before)   budget {}{}",
            megabytes(self.peak),
            megabytes(self.before),
            megabytes(MEMORY_BUDGET),
            over(self.peak <= MEMORY_BUDGET)
        )?;
        writeln!(f, "A second pull of the unchanged world")?;
        let (defender, others) = self.idle_calls();
        write!(
            f,
            "  {defender} Defender call(s), {others} token call(s), {} vault read(s), {} state write(s), {} object(s)   \
             budget 1, 0, 0, 0, 0{}",
            idle.vault_reads,
            idle.state_writes,
            idle.objects,
            over(self.idle_is_idle())
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and times far below 2^52")]
pub fn per_alert(time: Duration, alerts: u64) -> f64 {
    time.as_micros() as f64 / alerts.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / f64::from(1 << 20))
}
