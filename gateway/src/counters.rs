//! What a shard tells the world: numbers that it alone writes, once per turn, and anybody may read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Close codes that are counted by name; everything else is "other".
pub(crate) const CLOSE_CODES: [u16; 13] =
    [1000, 1001, 1002, 1003, 1006, 1007, 1008, 1009, 1012, 1013, 4008, 4009, 4011];

/// Upper bounds of how long clients were away that resume (ms); the last count is of those beyond.
pub(crate) const AWAY_MS: [i64; 9] = [100, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 120_000];

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
            /// Clients that resumed, by [`AWAY_MS`]: from the first message that they had missed until they came.
            pub away: [u64; AWAY_MS.len() + 1],
        }

        /// The published copy of a shard's tally.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($name: AtomicU64,)*
            peak_latency_ms: AtomicU64,
            closed: [AtomicU64; CLOSE_CODES.len() + 1],
            away: [AtomicU64; AWAY_MS.len() + 1],
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
                let closed = self.closed.iter().zip(totals.closed);
                for (published, value) in closed.chain(self.away.iter().zip(totals.away)) {
                    published.store(value, Relaxed);
                }
            }

            /// The tally as last published.
            pub(crate) fn totals(&self) -> Totals {
                let mut totals = Totals { $($name: self.$name.load(Relaxed),)* ..Totals::default() };
                totals.peak_latency_ms = self.peak_latency_ms.load(Relaxed);
                let closed = totals.closed.iter_mut().zip(&self.closed);
                for (value, published) in closed.chain(totals.away.iter_mut().zip(&self.away)) {
                    *value = published.load(Relaxed);
                }
                totals
            }
        }

        impl std::iter::Sum for Totals {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self::default(), |mut sum, one| {
                    $(sum.$name += one.$name;)*
                    sum.peak_latency_ms = sum.peak_latency_ms.max(one.peak_latency_ms);
                    let closed = sum.closed.iter_mut().zip(one.closed);
                    for (value, more) in closed.chain(sum.away.iter_mut().zip(one.away)) {
                        *value += more;
                    }
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
    /// Messages taken from the inbox.
    messages,
    /// Messages that were written to somebody, and the sum of their times from the stream to the last write (ms).
    timed,
    latency_ms,
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
        self.timed += 1;
        self.latency_ms += ms;
        self.peak_latency_ms = self.peak_latency_ms.max(ms);
    }

    /// Mean of those times (ms); 0 before the first.
    pub(crate) fn mean_latency_ms(&self) -> f64 {
        self.latency_ms as f64 / self.timed.max(1) as f64
    }

    /// Counts a resume, if it was one.
    pub(crate) fn count_resume(&mut self, recovered: Option<bool>) {
        self.resumes_recovered += u64::from(recovered == Some(true));
        self.resumes_with_gap += u64::from(recovered == Some(false));
    }

    /// Counts how long a client was away that has resumed (ms).
    pub(crate) fn count_away(&mut self, ms: i64) {
        let place = AWAY_MS.iter().position(|bound| ms <= *bound).unwrap_or(AWAY_MS.len());
        if let Some(count) = self.away.get_mut(place) {
            *count += 1;
        }
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
    /// Connections held or on their way.
    pub(crate) fn load(&self) -> u64 {
        self.connections.load(Relaxed)
            + self.expected.load(Relaxed).saturating_sub(self.adopted.load(Relaxed))
    }

    /// Notes how long a turn took (µs), without the waiting.
    pub(crate) fn turn(&self, us: u64) {
        self.longest_turn_us.fetch_max(us, Relaxed);
    }

    /// The longest turn since this was last asked (µs).
    pub(crate) fn take_longest_turn_us(&self) -> u64 {
        self.longest_turn_us.swap(0, Relaxed)
    }

    /// One more connection is on its way to this shard.
    pub(crate) fn expect_one(&self) {
        self.expected.fetch_add(1, Relaxed);
    }
}
