//! What this process has used, from `/proc/self`.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::Failed;

/// `USER_HZ`, which Linux fixes at 100 for what it shows to programs.
const TICKS_PER_SECOND: u64 = 100;

#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub wall: Duration,
    /// User and system time of all threads.
    pub cpu: Duration,
}

#[derive(Debug)]
pub struct Meter {
    began: Instant,
    cpu: Duration,
}

impl Meter {
    pub fn start() -> Result<Self, Failed> {
        Ok(Self { cpu: cpu()?, began: Instant::now() })
    }

    pub fn stop(self) -> Result<Used, Failed> {
        Ok(Used { wall: self.began.elapsed(), cpu: cpu()?.saturating_sub(self.cpu) })
    }
}

/// Fields 14 and 15 of proc(5)'s `stat`, counted from behind the name, which may hold anything.
fn cpu() -> Result<Duration, Failed> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// A line of `/proc/self/status`, in bytes.
pub fn memory(name: &str) -> Result<u64, Failed> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).ok_or_else(|| format!("no {name}"))?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

/// Makes `VmHWM` begin anew (proc(5), `clear_refs`).
pub fn forget_peak() -> Result<(), Failed> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}
