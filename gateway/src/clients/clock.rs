//! Clock: a shard's time, read a few times a turn and never per delivery.

use std::time::{Duration, Instant};

/// Resolution of heartbeats and deadlines: coarse, so that many are due at once.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A span in ticks, at least one.
pub(crate) fn ticks(span: Duration) -> u32 {
    u32::try_from(span.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX).max(1)
}

/// The first tick that begins no earlier than `at`.
pub(crate) fn tick_at(at: Duration) -> u32 {
    u32::try_from(at.as_micros().div_ceil(TICK.as_micros())).unwrap_or(u32::MAX)
}

/// The time since a shard began.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// In microseconds.
    pub now_us: u64,
    /// In ticks.
    pub tick: u32,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), now_us: 0, tick: 0 }
    }

    /// Reads the time.
    pub(crate) fn update(&mut self) {
        self.now_us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.tick = u32::try_from(self.now_us / TICK.as_micros() as u64).unwrap_or(u32::MAX);
    }

    /// The time until a tick begins.
    pub(crate) fn until(&self, tick: u32) -> Duration {
        let tick_us = u64::from(tick) * TICK.as_micros() as u64;
        Duration::from_micros(tick_us.saturating_sub(self.now_us))
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(crate) fn advance(&mut self, time: Duration) {
        self.start -= time;
    }
}
