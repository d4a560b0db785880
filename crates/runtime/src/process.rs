//! The process's own numbers, under the names that every Prometheus client library gives them.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use rustix::time::{ClockId, clock_gettime};

use crate::descriptors;

/// CPU time, memory, descriptors, threads and start of this process, read when a scrape asks. CPU time has fractions of a
/// second, without which the use of an idle process cannot be told.
#[derive(Debug)]
pub struct ProcessCollector {
    cpu: Counter,
    start: Gauge,
    gauges: Vec<(Gauge, Read)>,
}

type Read = fn(&Facts) -> f64;

struct Facts {
    /// /proc/self/status.
    status: String,
}

const GAUGES: [(&str, &str, Read); 5] = [
    ("process_open_fds", "Number of open file descriptors.", |_| descriptors::open() as f64),
    ("process_max_fds", "Maximum number of open file descriptors.", |_| {
        descriptors::limit() as f64
    }),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes.", |facts| {
        facts.number("VmSize:") * 1024.0
    }),
    ("process_resident_memory_bytes", "Resident memory size in bytes.", |facts| {
        facts.number("VmRSS:") * 1024.0
    }),
    ("process_threads", "Number of OS threads in the process.", |facts| facts.number("Threads:")),
];

impl Facts {
    fn read() -> Self {
        Self { status: std::fs::read_to_string("/proc/self/status").unwrap_or_default() }
    }

    /// The number behind a key, such as `VmRSS:     1234 kB`; 0 without that line.
    fn number(&self, key: &str) -> f64 {
        let line = self.status.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_default()
    }
}

impl ProcessCollector {
    /// A collector for this process.
    ///
    /// # Errors
    /// Never, unless the name of a metric is wrong.
    pub fn new() -> prometheus::Result<Self> {
        let mut gauges = Vec::new();
        for (name, help, read) in GAUGES {
            gauges.push((Gauge::new(name, help)?, read));
        }
        let help = "Start time of the process since unix epoch in seconds.";
        let start = Gauge::new("process_start_time_seconds", help)?;
        start.set(started().unwrap_or_default());
        let help = "Total user and system CPU time spent in seconds.";
        Ok(Self { cpu: Counter::new("process_cpu_seconds_total", help)?, start, gauges })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        gauges.chain(self.cpu.desc()).chain(self.start.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let facts = Facts::read();
        // Two scrapes at once may both add: a counter that is ahead waits for the clock.
        self.cpu.inc_by((cpu_seconds() - self.cpu.get()).max(0.0));
        let mut families = self.cpu.collect();
        families.extend(self.start.collect());
        for (gauge, read) in &self.gauges {
            gauge.set(read(&facts));
            families.extend(gauge.collect());
        }
        families
    }
}

/// CPU time of all threads so far (s).
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// When the process started (s since 1970).
fn started() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + start_ticks(&stat)? / TICKS_PER_SECOND)
}

/// Clock ticks a second in /proc, the same on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Ticks from boot to the start: the 20th field behind the name, which may itself hold spaces and parentheses.
fn start_ticks(stat: &str) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_ticks(stat), Some(4711.0));
    }

    #[test]
    fn every_number_is_there_and_cpu_time_only_grows() {
        let collector = ProcessCollector::new().unwrap();
        let families = collector.collect();
        assert_eq!(families.len(), collector.desc().len());
        for family in &families {
            let metric = &family.get_metric()[0];
            let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
            assert!(value > 0.0, "{family:?}");
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(collector.start.get() < now + 1.0);
        let before = collector.cpu.get();
        collector.collect();
        assert!(collector.cpu.get() >= before);
    }
}
