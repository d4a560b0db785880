//! Drain: connections are told to reconnect elsewhere, one after the other, evenly over a window, so that the
//! other pods never meet them all at once and nobody waits without data. All of them when the pod stops; some of them when
//! it goes on without them.

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
        Self::of(waiting, clients.clock.now_us, window, reason)
    }

    /// Begins to drain these, the last one first.
    pub(super) fn of(
        waiting: Vec<Timer>,
        now_us: u64,
        window: Duration,
        reason: &'static str,
    ) -> Self {
        let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let total = waiting.len();
        Self { waiting, total, started_us: now_us, window_us, reason }
    }

    /// Those whose time has not come yet.
    pub(super) fn rest(self) -> Vec<Timer> {
        self.waiting
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

/// What it takes to move a connection, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// It looks back: elsewhere it would begin anew.
    pub catching_up: bool,
    pub subscriptions: usize,
    /// Tick of its last sign of life, or anything if nobody is to be preferred.
    pub heard: u32,
}

/// So many of the connections that it takes least to move.
pub(super) fn cheapest(mut all: Vec<(Cost, Timer)>, count: usize) -> Vec<Timer> {
    if count < all.len() {
        all.select_nth_unstable_by_key(count, |(cost, _)| *cost);
        all.truncate(count);
    }
    all.into_iter().map(|(_, timer)| timer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_look_back_go_last_and_the_least_subscribed_and_longest_idle_first() {
        let cost = |catching_up, subscriptions, heard| Cost { catching_up, subscriptions, heard };
        let costs = [cost(true, 0, 0), cost(false, 2, 1), cost(false, 1, 9), cost(false, 1, 3)];
        let first = |count| {
            let all = costs.iter().zip(0..).map(|(cost, n)| (*cost, Timer { conn: n, serial: n }));
            let mut chosen: Vec<u32> =
                cheapest(all.collect(), count).iter().map(|timer| timer.conn).collect();
            chosen.sort_unstable();
            chosen
        };
        assert!(first(0).is_empty());
        assert_eq!(first(1), [3]);
        assert_eq!(first(2), [2, 3]);
        assert_eq!(first(3), [1, 2, 3]);
        assert_eq!(first(9), [0, 1, 2, 3]);
    }

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
