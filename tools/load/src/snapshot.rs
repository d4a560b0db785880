//! What workers say, from a thread or another process: the same values either way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wsgateway_client::{Counters, bounded};

use crate::latency::Counts;
use crate::simulate::crowd::CrowdTotals;

/// What a worker is told after its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// The stream has not confirmed the messages of the run with the numbers from `from` to `to`: clients need not have them.
    Unstored {
        /// First.
        from: u64,
        /// Last.
        to: u64,
    },
    /// The end; so many messages were published, which clients may wait for.
    Finish {
        /// Messages, if this run publishes.
        published: u64,
    },
    /// How many of 100 traders may be there.
    Pace {
        /// Of 100.
        percent: u8,
    },
}

/// The server's clock against ours.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Skew {
    /// How far it is ahead; negative: behind.
    pub ahead_ms: f64,
    /// How wrong that may be, either way.
    pub error_ms: f64,
}

/// Sums since the start, over the clients of a worker or of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Connections whose handshake is not over.
    pub connecting: u64,
    /// Connections that are open.
    pub connected: u64,
    /// Handshakes that succeeded.
    pub opened: u64,
    /// Subscriptions after a connection had ended.
    pub reconnects: u64,
    /// Data messages.
    pub messages: u64,
    /// Those of the own publisher.
    pub ours: u64,
    /// Bytes received.
    pub bytes: u64,
    /// Messages that did not come.
    pub lost: i64,
    /// Messages that came again.
    pub twice: u64,
    /// Messages that came after later ones.
    pub out_of_order: u64,
    /// Losses that the server reported itself.
    pub gaps_reported: u64,
    /// Messages that arrived before the time that they carry.
    pub early: u64,
    /// Messages without latency, since their time is more than ten minutes from ours.
    #[serde(default)]
    pub misdated: u64,
    /// Messages whose time lies well before that of an earlier one: a clock was set back.
    #[serde(default)]
    pub set_back: u64,
    /// Ends of connections, by close code.
    pub closes: BTreeMap<String, u64>,
    /// What went wrong, by kind.
    pub errors: BTreeMap<String, u64>,
}

impl Totals {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        self.connecting += other.connecting;
        self.connected += other.connected;
        self.opened += other.opened;
        self.reconnects += other.reconnects;
        self.messages += other.messages;
        self.ours += other.ours;
        self.bytes += other.bytes;
        self.lost = self.lost.saturating_add(other.lost);
        self.twice += other.twice;
        self.out_of_order += other.out_of_order;
        self.gaps_reported += other.gaps_reported;
        self.early += other.early;
        self.misdated += other.misdated;
        self.set_back += other.set_back;
        other.closes.iter().for_each(|(kind, count)| bounded(&mut self.closes, kind, *count));
        other.errors.iter().for_each(|(kind, count)| bounded(&mut self.errors, kind, *count));
    }

    /// Errors of all kinds.
    #[must_use]
    pub fn errors_in_all(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl From<&Counters> for Totals {
    /// Losses by the offsets of `wsgateway.v1`: each hole counts once, since it does not say how much is missing.
    fn from(counters: &Counters) -> Self {
        let mut totals = Self {
            connecting: counters.connecting,
            connected: counters.connected,
            opened: counters.opened,
            messages: counters.messages,
            bytes: counters.bytes,
            lost: i64::try_from(counters.gaps).unwrap_or(i64::MAX),
            twice: counters.duplicates,
            out_of_order: counters.out_of_order,
            gaps_reported: counters.admitted_gaps,
            ..Self::default()
        };
        let mut errors = |kind: &str, count: u64| {
            if count > 0 {
                bounded(&mut totals.errors, kind, count);
            }
        };
        counters.failures.iter().for_each(|(kind, count)| errors(kind, *count));
        for (status, count) in &counters.refused {
            errors(&format!("refused with {status}"), *count);
        }
        for (code, count) in &counters.closes {
            if !IN_ORDER.contains(code) {
                errors(&format!("closed with {code}"), *count);
            }
        }
        for (code, count) in &counters.error_codes {
            errors(&format!("error {code}"), *count);
        }
        let named = counters.error_codes.values().sum();
        errors("error", counters.errors.saturating_sub(named));
        errors("channel rejected", counters.rejected);
        errors("message not readable", counters.malformed);
        errors("protocol violation", counters.violations);
        errors("message contradicts another", counters.inconsistent);
        for (code, count) in &counters.closes {
            bounded(&mut totals.closes, &code.to_string(), *count);
        }
        totals
    }
}

/// Close codes by which nothing went wrong: the end, and the wish to move to another pod.
const IN_ORDER: [u16; 2] = [1000, 1012];

/// What a worker says again and again.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its number.
    pub worker: u32,
    /// Its target's number.
    pub target: u32,
    /// Sums since the start.
    pub totals: Totals,
    /// Its traders.
    #[serde(default)]
    pub crowd: Option<CrowdTotals>,
    /// Latencies since the last snapshot.
    pub latency: Counts,
    /// The server's clock.
    pub skew: Option<Skew>,
    /// How long the worker itself was held up at most since the last snapshot (ms).
    pub lag_ms: f64,
    /// The latest failure of a connection.
    pub last_error: Option<String>,
    /// Why it cannot go on.
    pub failure: Option<String>,
    /// Whether this is its last one.
    pub finished: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_kind_and_a_clean_end_is_none() {
        let counters = Counters {
            failures: [("connection refused", 2)].into(),
            refused: [(503, 3)].into(),
            closes: [(1000, 5), (1012, 1), (1006, 4)].into(),
            error_codes: [("rate_limited".to_owned(), 1)].into(),
            errors: 2,
            gaps: 7,
            ..Counters::default()
        };
        let mut totals = Totals::from(&counters);
        totals.add(&Totals::from(&counters));
        let errors: Vec<_> = totals.errors.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
        let wanted = [
            ("closed with 1006", 8),
            ("connection refused", 4),
            ("error", 2),
            ("error rate_limited", 2),
            ("refused with 503", 6),
        ];
        assert_eq!(errors, wanted);
        assert_eq!((totals.lost, totals.errors_in_all(), totals.closes["1000"]), (14, 22, 10));
    }
}
