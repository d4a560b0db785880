//! Drain: every connection is told to reconnect elsewhere, one after the other, evenly over a window, so that the
//! other pods never meet them all at once and nobody waits without data.

use std::time::Duration;

use crate::clients::Clients;
use crate::clients::wheel::Timer;

/// A drain under way.
#[derive(Debug)]
pub(super) struct Drain {
    waiting: Vec<Timer>,
    total: usize,
    started_us: u64,
    window_us: u64,
    pub reason: &'static str,
}

impl Drain {
    /// Begins to drain everybody who is there, in random order.
    pub(super) fn new(clients: &Clients, window: Duration, reason: &'static str) -> Self {
        let mut waiting: Vec<Timer> = clients
            .open()
            .map(|(conn, connection)| Timer { conn, serial: connection.serial })
            .collect();
        fastrand::shuffle(&mut waiting);
        let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let total = waiting.len();
        Self { waiting, total, started_us: clients.clock.now_us, window_us, reason }
    }

    /// The next connection whose time has come by `now_us`.
    pub(super) fn next(&mut self, now_us: u64) -> Option<Timer> {
        let told = self.total - self.waiting.len();
        if told >= self.target(now_us) { None } else { self.waiting.pop() }
    }

    /// Connections that should have been told by `now_us`.
    fn target(&self, now_us: u64) -> usize {
        let elapsed = now_us.saturating_sub(self.started_us);
        if elapsed >= self.window_us {
            return self.total;
        }
        (self.total as u128 * u128::from(elapsed) / u128::from(self.window_us)) as usize + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_told_evenly_over_the_window_and_all_of_them_by_its_end() {
        let waiting: Vec<Timer> = (0..100).map(|conn| Timer { conn, serial: conn }).collect();
        let (total, window_us) = (waiting.len(), 1_000_000);
        let mut drain = Drain { waiting, total, started_us: 5_000, window_us, reason: "restart" };
        let mut told = |now_us: u64| std::iter::from_fn(|| drain.next(now_us)).count();
        assert_eq!(told(5_000), 1, "at once: the first");
        assert_eq!(told(505_000), 50);
        assert_eq!(told(505_000), 0);
        assert_eq!(told(1_005_000), 49);
        assert_eq!(told(u64::MAX), 0);
    }
}
