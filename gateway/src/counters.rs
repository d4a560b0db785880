//! What a shard tells the world: numbers that it alone writes, once per turn, and anybody may read.

mod buckets;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) use buckets::Buckets;
use buckets::Published;

/// Close codes that are counted by name; everything else is "other".
pub(crate) const CLOSE_CODES: [u16; 17] = [
    1000, 1001, 1002, 1003, 1006, 1007, 1008, 1009, 1012, 1013, 4004, 4008, 4009, 4010, 4011, 4012,
    4013,
];

/// Upper bounds of how long clients were away that resume (ms).
pub(crate) const AWAY_MS: [u64; 9] = [100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 120_000];

/// Upper bounds of the time from the stream's storing a message to its last write (ms, as the stream's clock has it).
pub(crate) const LATENCY_MS: [u64; 14] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000];

/// Upper bounds of the time of a turn (µs).
pub(crate) const TURN_US: [u64; 10] =
    [100, 500, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// Clients that resumed, by [`AWAY_MS`].
type Away = Buckets<{ AWAY_MS.len() + 1 }>;
/// Messages, by [`LATENCY_MS`].
pub(crate) type Latency = Buckets<{ LATENCY_MS.len() + 1 }>;
/// Turns, by [`TURN_US`].
pub(crate) type Turns = Buckets<{ TURN_US.len() + 1 }>;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One shard's own tally, plain integers in its own cache lines.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Totals {
            $($(#[$doc])* pub $name: u64,)*
            /// Longest time from the stream's storing a message to its last write (ms).
            pub peak_latency_ms: u64,
            /// Connections ended, by [`CLOSE_CODES`]; the last one is every other code.
            pub closed: [u64; CLOSE_CODES.len() + 1],
            /// Messages that were written to somebody: from the stream's storing them to their last write.
            pub latency: Latency,
            /// Clients that resumed: from the first message that they had missed until they came.
            pub away: Away,
        }

        /// The published copy of a shard's tally.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)*
            peak_latency_ms: AtomicU64,
            closed: [AtomicU64; CLOSE_CODES.len() + 1],
            latency: Published<{ LATENCY_MS.len() + 1 }>,
            away: Published<{ AWAY_MS.len() + 1 }>,
            /// Turns without the waiting; entered by the shard.
            turns: Published<{ TURN_US.len() + 1 }>,
            /// Longest turn since somebody last asked (µs).
            longest_turn_us: AtomicU64,
            /// Connections given to the shard (written by the hub).
            expected: AtomicU64,
        }

        impl Counters {
            /// Publishes the tally.
            pub(crate) fn publish(&self, totals: &Totals) {
                $(self.$name.store(totals.$name, Relaxed);)*
                self.peak_latency_ms.store(totals.peak_latency_ms, Relaxed);
                for (published, value) in self.closed.iter().zip(totals.closed) {
                    published.store(value, Relaxed);
                }
                self.latency.store(&totals.latency);
                self.away.store(&totals.away);
            }

            /// The tally as last published.
            pub(crate) fn totals(&self) -> Totals {
                let mut totals = Totals { $($name: self.$name.load(Relaxed),)* ..Totals::default() };
                totals.peak_latency_ms = self.peak_latency_ms.load(Relaxed);
                for (value, published) in totals.closed.iter_mut().zip(&self.closed) {
                    *value = published.load(Relaxed);
                }
                (totals.latency, totals.away) = (self.latency.load(), self.away.load());
                totals
            }
        }

        impl std::iter::Sum for Totals {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self::default(), |mut sum, one| {
                    $(sum.$name += one.$name;)*
                    sum.peak_latency_ms = sum.peak_latency_ms.max(one.peak_latency_ms);
                    for (value, more) in sum.closed.iter_mut().zip(one.closed) {
                        *value += more;
                    }
                    sum.latency.add(&one.latency);
                    sum.away.add(&one.away);
                    sum
                })
            }
        }
    };
}

counters! {
    /// Connections held.
    connections,
    /// Connections ever adopted.
    adopted,
    /// Subscriptions held.
    subscriptions,
    /// Frames handed to sockets or outboxes, one per message and receiver.
    deliveries,
    /// Bytes of those frames.
    delivered_bytes,
    /// Write system calls for deliveries.
    writes,
    /// Frames that held several messages.
    batches,
    /// Messages that a newer one of their channel replaced, for slow clients.
    conflated,
    /// Messages that a newer one of their channel replaced within the interval of `maxRate`, for each client.
    rate_conflated,
    /// Channels of which the newest message waits for the end of that interval.
    rate_waiting,
    /// Messages taken from the inbox.
    messages,
    /// Commands taken from clients.
    commands,
    /// Commands answered with an error.
    command_errors,
    /// Bytes waiting in outboxes.
    outbox_bytes,
    /// Memory that they hold: what waits for several clients counts once per shard.
    outbox_memory,
    /// Memory of messages that clients have begun and not ended.
    unfinished_bytes,
    /// Connections with an outbox.
    outboxes,
    /// Clients that look back at this moment.
    replays,
    /// Messages sent from the history or looked up.
    replayed,
    /// Resumes after which nothing is missing.
    resumes_recovered,
    /// Resumes that were told of a gap.
    resumes_with_gap,
    /// Lookups of older messages that failed.
    lookups_failed,
    /// Clients that were asked to go elsewhere.
    sent_away,
}

impl Totals {
    /// Enters the time (ms) from the stream's storing a message to its last write.
    pub(crate) fn time(&mut self, ms: u64) {
        self.latency.enter(&LATENCY_MS, ms);
        self.peak_latency_ms = self.peak_latency_ms.max(ms);
    }

    /// Mean of those times (ms); 0 before the first.
    pub(crate) fn mean_latency_ms(&self) -> f64 {
        self.latency.sum as f64 / self.latency.count().max(1) as f64
    }

    /// Counts a resume, if it was one.
    pub(crate) fn count_resume(&mut self, recovered: Option<bool>) {
        self.resumes_recovered += u64::from(recovered == Some(true));
        self.resumes_with_gap += u64::from(recovered == Some(false));
    }

    /// Counts how long a client was away that has resumed (ms).
    pub(crate) fn count_away(&mut self, ms: i64) {
        self.away.enter(&AWAY_MS, u64::try_from(ms).unwrap_or(0));
    }

    /// Counts the end of a connection.
    pub(crate) fn count_close(&mut self, code: u16) {
        let place =
            CLOSE_CODES.iter().position(|known| *known == code).unwrap_or(CLOSE_CODES.len());
        if let Some(count) = self.closed.get_mut(place) {
            *count += 1;
        }
    }

    /// Connections ended because the client read too slowly.
    pub(crate) fn slow_consumers(&self) -> u64 {
        let place = CLOSE_CODES.iter().position(|code| *code == 4008);
        place.and_then(|place| self.closed.get(place)).copied().unwrap_or(0)
    }
}

impl Counters {
    /// Frames handed to sockets or outboxes, as last published.
    pub(crate) fn deliveries(&self) -> u64 {
        self.deliveries.load(Relaxed)
    }

    /// Messages taken from the inbox, as last published.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// Connections held or on their way.
    pub(crate) fn load(&self) -> u64 {
        self.connections.load(Relaxed)
            + self.expected.load(Relaxed).saturating_sub(self.adopted.load(Relaxed))
    }

    /// Notes how long a turn took (µs), without the waiting.
    pub(crate) fn turn(&self, us: u64) {
        self.longest_turn_us.fetch_max(us, Relaxed);
        self.turns.enter(&TURN_US, us);
    }

    /// The longest turn since this was last asked (µs).
    pub(crate) fn take_longest_turn_us(&self) -> u64 {
        self.longest_turn_us.swap(0, Relaxed)
    }

    /// All turns (µs).
    pub(crate) fn turns(&self) -> Turns {
        self.turns.load()
    }

    /// One more connection is on its way to this shard.
    pub(crate) fn expect_one(&self) {
        self.expected.fetch_add(1, Relaxed);
    }
}
