//! The load of a container's cgroup (v1 and v2), in percent of its limits.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::{LEAST_SPAN, UNLIMITED, parse_cpu_max};

/// Where a container finds its own cgroup.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// Use at one instant, in percent of a limit; None where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// CPU time since the sample before.
    pub cpu_percent: Option<f64>,
    /// Memory that cannot be taken back: without files that the kernel may drop.
    pub memory_percent: Option<f64>,
}

/// Reads a cgroup, and remembers the CPU time of the last sample.
#[derive(Debug)]
pub(crate) struct Cgroup {
    root: PathBuf,
    last: Option<(Instant, f64)>,
    cpu_percent: Option<f64>,
}

impl Cgroup {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, last: None, cpu_percent: None }
    }

    /// Load now; that of the CPU over at least a second, and unknown at first.
    pub(crate) fn sample(&mut self, now: Instant) -> Load {
        let percent = |(used, limit): (u64, u64)| used as f64 / limit as f64 * 100.0;
        Load { cpu_percent: self.cpu(now), memory_percent: self.memory().map(percent) }
    }

    fn cpu(&mut self, now: Instant) -> Option<f64> {
        let (Some(limit), Some(used)) = (self.cpus(), self.cpu_seconds()) else {
            (self.last, self.cpu_percent) = (None, None);
            return None;
        };
        match self.last {
            Some((at, before)) => {
                let span = now.saturating_duration_since(at);
                // A timer may be early by a little.
                if span >= LEAST_SPAN.mul_f64(0.9) {
                    let percent = (used - before).max(0.0) / span.as_secs_f64() / limit * 100.0;
                    (self.last, self.cpu_percent) = (Some((now, used)), Some(percent));
                }
            }
            None => self.last = Some((now, used)),
        }
        self.cpu_percent
    }

    /// CPUs of the quota.
    pub(super) fn cpus(&self) -> Option<f64> {
        let v1 = || {
            let quota = self.number("cpu/cpu.cfs_quota_us")?;
            (quota > 0.0).then_some(quota / self.number("cpu/cpu.cfs_period_us")?)
        };
        let quota = match self.read("cpu.max") {
            Some(text) => parse_cpu_max(&text),
            None => v1(),
        };
        quota.filter(|cpus| cpus.is_finite() && *cpus > 0.0)
    }

    fn cpu_seconds(&self) -> Option<f64> {
        let v2 = || Some(field(&self.read("cpu.stat")?, "usage_usec")? / 1e6);
        v2().or_else(|| Some(self.number("cpuacct/cpuacct.usage")? / 1e9))
    }

    /// Memory that counts against a limit, without files that the kernel may drop, and the limit (bytes); None where there is
    /// no limit. Resident memory of the process is another number: it has code that is charged to whoever read it first, and
    /// no socket buffers.
    pub(super) fn memory(&self) -> Option<(u64, u64)> {
        let (limit, used, stat, name) = match self.read("memory.max") {
            Some(limit) => (limit, "memory.current", "memory.stat", "inactive_file"),
            None => (
                self.read("memory/memory.limit_in_bytes")?,
                "memory/memory.usage_in_bytes",
                "memory/memory.stat",
                "total_inactive_file",
            ),
        };
        // "max", or a number near the largest.
        let limit: u64 =
            limit.trim().parse::<u64>().ok().filter(|limit| (1..UNLIMITED).contains(limit))?;
        let files = self.read(stat).and_then(|text| field(&text, name)).unwrap_or(0.0);
        Some(((self.number(used)? - files).max(0.0) as u64, limit))
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root.join(name)).ok()
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.read(name)?.trim().parse().ok()
    }
}

/// The number of a line such as `usage_usec 1234`.
fn field(text: &str, name: &str) -> Option<f64> {
    let mut fields = text.lines().filter_map(|line| line.split_once(' '));
    fields.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    /// A folder that is deleted with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(files: &[(&str, &str)]) -> Self {
            let name = format!("wsgateway-cgroup-{}-{}", std::process::id(), fastrand::u64(..));
            let scratch = Self(std::env::temp_dir().join(name));
            files.iter().for_each(|(name, text)| scratch.write(name, text));
            scratch
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    /// The load before and after a second in which half a second of CPU time was used.
    fn loads(scratch: &Scratch, (cpu, used): (&str, &str)) -> [Load; 2] {
        let (mut cgroup, now) = (Cgroup::new(scratch.0.clone()), Instant::now());
        let first = cgroup.sample(now);
        scratch.write(cpu, used);
        [first, cgroup.sample(now + Duration::from_secs(1))]
    }

    #[test]
    fn version_2_is_read() {
        let scratch = Scratch::new(&[
            ("cpu.max", "100000 100000\n"),
            ("cpu.stat", "usage_usec 1000000\nuser_usec 1\n"),
            ("memory.max", "1000\n"),
            ("memory.current", "950\n"),
            ("memory.stat", "anon 5\ninactive_file 50\n"),
        ]);
        let [first, second] = loads(&scratch, ("cpu.stat", "usage_usec 1500000\n"));
        assert_eq!(first, Load { cpu_percent: None, memory_percent: Some(90.0) });
        assert_eq!(second, Load { cpu_percent: Some(50.0), memory_percent: Some(90.0) });
        assert_eq!(Cgroup::new(scratch.0.clone()).memory(), Some((900, 1_000)));
    }

    #[test]
    fn version_1_is_read() {
        let scratch = Scratch::new(&[
            ("cpu/cpu.cfs_quota_us", "50000\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("cpuacct/cpuacct.usage", "1000000000\n"),
            ("memory/memory.limit_in_bytes", "1000\n"),
            ("memory/memory.usage_in_bytes", "500\n"),
            ("memory/memory.stat", "inactive_file 1\ntotal_inactive_file 100\n"),
        ]);
        let [_, second] = loads(&scratch, ("cpuacct/cpuacct.usage", "1500000000\n"));
        assert_eq!(second, Load { cpu_percent: Some(100.0), memory_percent: Some(40.0) });
    }

    #[test]
    fn without_limits_there_is_no_load() {
        let v2 = [("cpu.max", "max 100000\n"), ("memory.max", "max\n"), ("memory.current", "1\n")];
        let v1 = [
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.usage_in_bytes", "1\n"),
        ];
        let odd = [("cpu.max", "words"), ("memory.max", "0"), ("cpu.stat", "usage_usec x\n")];
        for files in [&v2[..], &v1[..], &odd[..], &[]] {
            let [first, second] = loads(&Scratch::new(files), ("cpu.stat", "usage_usec 9\n"));
            assert_eq!((first, second), (Load::default(), Load::default()), "{files:?}");
        }
    }
}
