//! What this container may use and does use: CPU and memory, from its own cgroup (v1 and v2) and from /proc.

pub(crate) mod cgroup;

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cgroup::Cgroup;

/// Spans shorter than this say nothing about CPU use: the kernel counts in ticks of 10 ms.
const LEAST_SPAN: Duration = Duration::from_secs(1);

/// Clock ticks a second in /proc, the same on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// A limit above this is "no limit": cgroup v1 says so with a number near the largest.
const UNLIMITED: u64 = 1 << 60;

/// Use of memory and CPU at one instant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Memory that counts against the limit and cannot be taken back; without a limit, resident memory of this process
    /// (bytes).
    pub memory: u64,
    /// What the container may use, or the machine has (bytes).
    pub memory_limit: u64,
    /// CPUs that the container may use, with fractions.
    pub cpu_limit: f64,
    /// CPU time since the last sample, in percent of what the container may use.
    pub cpu_percent: f64,
}

/// Remembers the last sample, since CPU use is a difference.
#[derive(Debug)]
pub(crate) struct Sampler {
    last: Mutex<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    cpu_seconds: f64,
    percent: f64,
}

impl Sampler {
    pub(crate) fn new() -> Self {
        Self {
            last: Mutex::new(Sample {
                at: Instant::now(),
                cpu_seconds: cpu_seconds(),
                percent: 0.0,
            }),
        }
    }

    /// Use now; CPU over the time since the last sample that is at least a second old.
    pub(crate) fn sample(&self) -> Usage {
        let cgroup = Cgroup::new(cgroup::ROOT.into());
        let cpu_limit = cgroup.cpus().unwrap_or_else(|| whole_cpus() as f64);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let span = last.at.elapsed();
        if span >= LEAST_SPAN {
            let used = cpu_seconds();
            let percent = (used - last.cpu_seconds) / span.as_secs_f64() / cpu_limit * 100.0;
            *last = Sample { at: Instant::now(), cpu_seconds: used, percent };
        }
        let memory = cgroup.memory();
        let (memory, memory_limit) = memory.unwrap_or_else(|| (resident(), memory_total()));
        Usage { memory, memory_limit, cpu_limit, cpu_percent: last.percent }
    }
}

/// Whole CPUs that the container's quota allows, at least one.
pub(crate) fn whole_cpus() -> usize {
    // The standard library reads the quota of both cgroup versions, and the affinity mask.
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `50000 100000` is half a CPU; `max 100000` is no limit.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

/// Memory of the machine.
fn memory_total() -> u64 {
    fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| parse_kib(&text, "MemTotal:"))
        .unwrap_or(u64::MAX)
}

fn resident() -> u64 {
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| parse_kib(&text, "VmRSS:"))
        .unwrap_or(0)
}

/// The value of a line such as `VmRSS:     1234 kB`, in bytes.
fn parse_kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

fn cpu_seconds() -> f64 {
    fs::read_to_string("/proc/self/stat")
        .ok()
        .and_then(|text| parse_cpu_ticks(&text))
        .unwrap_or(0.0)
        / TICKS_PER_SECOND
}

/// User and system ticks: the 12th and 13th field behind the name, which may itself hold spaces and parentheses.
fn parse_cpu_ticks(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_read_as_cpus() {
        assert_eq!(parse_cpu_max("50000 100000\n"), Some(0.5));
        assert_eq!(parse_cpu_max("max 100000\n"), None);
    }

    #[test]
    fn cpu_ticks_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0 1 0 99";
        assert_eq!(parse_cpu_ticks(stat), Some(150.0));
    }

    #[test]
    fn this_process_uses_memory_and_has_a_limit() {
        let usage = Sampler::new().sample();
        assert!(usage.memory > 1 << 20, "{usage:?}");
        assert!(usage.memory_limit > usage.memory, "{usage:?}");
        assert!(usage.cpu_limit > 0.0, "{usage:?}");
    }
}
