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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_clock_that_was_set_moves_no_time_and_is_known() {
        const HOUR_NS: u64 = 3_600_000_000_000;
        for set_by in [-2_i64, 2] {
            let true_now = system_ns();
            let clock = Clock {
                unix_ns: true_now.saturating_add_signed(-set_by * HOUR_NS as i64),
                ..Clock::start()
            };
            let (before, after) = (clock.now_ns(), clock.now_ns());
            assert!(before <= after && after - before < HOUR_NS / 60);
            let error = clock.jump_ns() - set_by * HOUR_NS as i64;
            assert!(error.unsigned_abs() < HOUR_NS / 60, "{error}");
        }
    }
}
