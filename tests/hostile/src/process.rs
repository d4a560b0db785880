//! What the kernel knows of a process and of its sockets, and where processes run.

use std::fs;
use std::process::{Command, Stdio};

use rustix::thread::{CpuSet, sched_setaffinity};

/// Clock ticks a second in /proc.
const TICKS: u64 = 100;

/// Bytes of a page on the machines that this runs on.
const PAGE: u64 = 4_096;

/// Resident memory of a process (bytes); 0 when it has ended.
pub fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// CPU time of a process (ms), to 10 ms.
pub fn cpu_ms(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything. User and system time are fields 14 and 15; the first one here is 3.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks * 1_000 / TICKS
}

/// Buffers of all TCP sockets of the machine, both ends (bytes).
pub fn socket_buffers() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"));
    let pages = line.and_then(|line| line.split(" mem ").nth(1)?.trim().parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE
}

/// Keeps this process, and those that it starts, to the first core; None when there is one core or no taskset for the
/// gateway. Else the core for the gateway.
pub fn settle_on_first_core() -> Option<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).status();
    if cores < 2 || !taskset.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first).ok().map(|()| 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_cpu_time() {
        let pid = std::process::id();
        assert!(resident(pid) > 1 << 20);
        while cpu_ms(pid) == 0 {
            std::hint::spin_loop();
        }
        assert_eq!((resident(u32::MAX), cpu_ms(u32::MAX)), (0, 0));
    }
}
