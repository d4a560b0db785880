//! The machine that measures: what figures depend on. Neither host name nor paths.

use serde::{Deserialize, Serialize};

/// The machine that something was measured on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory (GiB).
    pub memory_gib: u64,
    /// Version of the kernel.
    pub kernel: String,
    /// `net.ipv4.tcp_congestion_control`
    pub congestion_control: String,
    /// Server on one core, everything else on another.
    pub pinned: bool,
}

impl Machine {
    /// The one that this runs on.
    pub fn of_this(pinned: bool) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let (info, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Self {
            cpu: model.map_or("unknown", |(_, name)| name).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kib.unwrap_or(0).div_ceil(1 << 20),
            // The version without the builder's own marks.
            kernel: read("/proc/sys/kernel/osrelease").split(['-', '\n']).take(1).collect(),
            congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_owned(),
            pinned,
        }
    }

    /// In one phrase.
    pub fn text(&self) -> String {
        let place = match self.pinned {
            true => "server on one core, NATS and clients on another",
            false => "not pinned",
        };
        format!(
            "{}, {} cores, {} GiB, Linux {}, TCP {}, loopback; {place}",
            self.cpu, self.cores, self.memory_gib, self.kernel, self.congestion_control
        )
    }
}
