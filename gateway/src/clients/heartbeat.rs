//! Heartbeat policy of a shard: when an idle connection is pinged, and how long its pong may wait to be read.
//!
//! Pure: ticks and microseconds of the shard's clock in, decisions out. Pings of many connections leave in one burst and
//! their pongs are read in few wake-ups, because a wake-up costs as much as several pongs. Bursts are spread evenly over
//! the interval by the connections' serials.

use std::time::Duration;

/// Longest slot, in ticks of 100 ms: longer ones save nothing more and make the bursts larger.
const LONGEST_SLOT: u32 = 10;

/// Pings sent in one turn: deliveries wait for no burst, and what the kernel touches for so many connections is still in
/// the core's cache when their pongs are read. 64 cost more.
const PINGS_PER_TURN: u32 = 32;

/// Pongs worth waiting for; fewer cost less than the wait.
const WORTH_WAITING: u32 = 4;

/// Shortest and longest wait for pongs (µs): stragglers are waited for longer. Commands of other clients wait as long;
/// deliveries and new connections end the wait.
const WAIT_US: (u64, u64) = (500, 2_000);

/// Time after the last ping of a burst in which pongs are waited for (µs). Those of distant clients are read one by one.
const WINDOW_US: u64 = 40_000;

/// When connections are pinged, in ticks. The same for all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    interval: u32,
    timeout: u32,
    /// A connection's slot comes round twice per interval. Once would ping clients that have just sent something, or
    /// let everybody who was heard in one second be pinged in one second for ever.
    round: u32,
    slot: u32,
}

impl Heartbeat {
    /// Pings after at most `interval` ticks of silence, answered within `timeout` ticks.
    pub(crate) fn new(interval: u32, timeout: u32) -> Self {
        let round = (interval / 2).max(1);
        // Slots that divide the round: an idle connection is pinged exactly once per interval.
        let slot = (1..=LONGEST_SLOT).rev().find(|slot| round.is_multiple_of(*slot)).unwrap_or(1);
        Self { interval, timeout, round, slot }
    }

    /// Tick of the next ping to a connection that was heard last at `heard`: the last time that its slot comes round
    /// before the interval of silence is over.
    pub(crate) fn ping_at(&self, heard: u32, serial: u32) -> u32 {
        let phase = serial % (self.round / self.slot) * self.slot;
        let latest = heard.saturating_add(self.interval);
        latest - latest.saturating_sub(phase) % self.round
    }

    /// Ticks after which a client that has given no sign of life is gone.
    pub(crate) fn longest_silence(&self) -> u32 {
        self.interval.saturating_add(self.timeout)
    }

    /// Ticks that an answer to a ping may take.
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout
    }
}

/// The pings of a burst and the pongs that are still to come.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    sent_in_turn: u32,
    awaited: u32,
    last_us: u64,
}

impl Pings {
    /// A turn begins.
    pub(crate) fn next_turn(&mut self) {
        self.sent_in_turn = 0;
    }

    /// A ping left at `now_us`.
    pub(crate) fn ping(&mut self, now_us: u64) {
        if now_us > self.last_us + WINDOW_US {
            self.awaited = 0; // those of earlier bursts are no longer waited for
        }
        self.sent_in_turn += 1;
        self.awaited += 1;
        self.last_us = now_us;
    }

    /// A pong arrived.
    pub(crate) fn pong(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
    }

    /// Whether the turn has sent its share of pings.
    pub(crate) fn is_enough(&self) -> bool {
        self.sent_in_turn >= PINGS_PER_TURN
    }

    /// Time that sockets may be left alone from `now_us` on, so that pongs arrive together. `idle` is the time until
    /// something else is to be done.
    pub(crate) fn wait(&self, now_us: u64, idle: Duration) -> Option<Duration> {
        let since_us = now_us.saturating_sub(self.last_us);
        let wait = Duration::from_micros(since_us.clamp(WAIT_US.0, WAIT_US.1));
        (self.awaited >= WORTH_WAITING && since_us < WINDOW_US && idle >= wait).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Intervals from the shortest of tests to the longest that the configuration allows, in ticks.
    const INTERVALS: [u32; 11] = [1, 2, 3, 10, 25, 50, 101, 250, 300, 599, 36_000];

    #[test]
    fn a_silent_client_is_pinged_within_the_interval_and_not_before_half_of_it() {
        for interval in INTERVALS {
            let heartbeat = Heartbeat::new(interval, 1);
            for (heard, serial) in (0..500).flat_map(|heard| [0, 7, u32::MAX].map(|s| (heard, s))) {
                let silence = heartbeat.ping_at(heard, serial) - heard;
                assert!(silence <= interval, "{silence} of {interval}");
                assert!(silence >= interval / 2, "{silence} of {interval}");
            }
        }
    }

    #[test]
    fn an_idle_client_is_pinged_once_per_interval_however_late_its_pong_is() {
        let heartbeat = Heartbeat::new(250, 100);
        for (serial, late) in (0..100).flat_map(|serial| [0, 1, 99].map(|late| (serial, late))) {
            let mut pinged = heartbeat.ping_at(1_000, serial);
            for _ in 0..10 {
                let next = heartbeat.ping_at(pinged + late, serial);
                assert_eq!(next - pinged, 250);
                pinged = next;
            }
        }
    }

    #[test]
    fn pings_are_spread_evenly_over_slots_even_if_all_clients_were_heard_at_once() {
        let heartbeat = Heartbeat::new(250, 100);
        let mut slots = std::collections::BTreeMap::new();
        for serial in 0..10_000 {
            *slots.entry(heartbeat.ping_at(77, serial)).or_insert(0) += 1;
        }
        assert_eq!(slots.len(), 25, "{slots:?}");
        assert!(slots.values().all(|count| *count == 400), "{slots:?}");
        assert!(slots.keys().all(|tick| tick % 5 == 0), "{slots:?}");
    }

    #[test]
    fn a_turn_sends_few_pings_and_the_next_one_goes_on() {
        let mut burst = Pings::default();
        for _ in 0..PINGS_PER_TURN {
            assert!(!burst.is_enough());
            burst.ping(5);
        }
        assert!(burst.is_enough());
        burst.next_turn();
        assert!(!burst.is_enough());
    }

    #[test]
    fn sockets_are_left_alone_only_while_enough_pongs_are_due_and_nothing_else_is() {
        let (mut burst, idle) = (Pings::default(), Duration::from_millis(100));
        assert_eq!(burst.wait(0, idle), None, "nobody was pinged");
        (0..WORTH_WAITING).for_each(|_| burst.ping(1_000));
        let [short, long] = [WAIT_US.0, WAIT_US.1].map(Duration::from_micros);
        assert_eq!(burst.wait(1_000, idle), Some(short));
        assert_eq!(burst.wait(1_000 + WINDOW_US - 1, idle), Some(long));
        assert_eq!(burst.wait(1_000, short / 2), None, "something is due before");
        assert_eq!(burst.wait(1_000, Duration::ZERO), None, "there is work");
        assert_eq!(burst.wait(1_000 + WINDOW_US, idle), None, "the rest is far away or dead");
        burst.pong();
        assert_eq!(burst.wait(1_000, idle), None, "too few are left");
    }

    #[test]
    fn pongs_that_never_came_are_not_waited_for_with_the_next_burst() {
        let (mut burst, idle) = (Pings::default(), Duration::from_millis(100));
        (0..1_000).for_each(|_| burst.ping(0));
        let later = WINDOW_US + 1;
        burst.ping(later);
        assert_eq!(burst.wait(later, idle), None);
    }
}
