//! The clock of a run: Unix time that never jumps.

use std::time::{Instant, SystemTime};

/// Unix time, read once and then counted by the monotonic clock: a system clock that is set during a run moves no latency.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    unix_ns: u64,
}

impl Clock {
    /// A clock that is right now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), unix_ns: system_ns() }
    }

    /// Unix time (ns).
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.unix_ns.saturating_add(self.elapsed_ns())
    }

    /// Since the start (ns).
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// How far the system's clock is ahead of this one (ns): what it was set by since the start.
    #[must_use]
    pub fn jump_ns(&self) -> i64 {
        i64::try_from(i128::from(system_ns()) - i128::from(self.now_ns())).unwrap_or(i64::MAX)
    }
}

fn system_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
