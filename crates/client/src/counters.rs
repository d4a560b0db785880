//! What all connections of a swarm have seen, in sum.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// Kinds that are told apart where a server chooses their names.
pub const MOST_KINDS: usize = 32;

/// Counts one of a kind whose name is not ours: cut, and in a map of at most [`MOST_KINDS`] and `other`.
pub fn bounded(kinds: &mut BTreeMap<String, u64>, kind: &str, count: u64) {
    let kind: String = kind.chars().filter(|c| !c.is_control()).take(64).collect();
    let known = kinds.contains_key(&kind) || kinds.len() < MOST_KINDS;
    *kinds.entry(if known { kind } else { "other".to_owned() }).or_default() += count;
}

/// Sums over a swarm. Handed to every condition that a caller waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Connections whose handshake is not over.
    pub connecting: u64,
    /// Connections open now.
    pub connected: u64,
    /// Handshakes that succeeded.
    pub opened: u64,
    /// Handshakes refused, by HTTP status.
    pub refused: BTreeMap<u16, u64>,
    /// Connections that failed before their handshake was answered.
    pub failed: u64,
    /// The same by kind, such as `connection refused`.
    pub failures: BTreeMap<&'static str, u64>,
    /// Data messages.
    pub messages: u64,
    /// `batch` frames; each of their messages counts as one of `messages`.
    pub batches: u64,
    /// Messages that came compressed.
    pub deflated: u64,
    /// Bytes received, as on the wire, handshakes excluded.
    pub bytes: u64,
    /// `subscription_ack` and `unsubscription_ack` pushes.
    pub acks: u64,
    /// Channels rejected by them.
    pub rejected: u64,
    /// `error` pushes.
    pub errors: u64,
    /// The same by code; beyond [`MOST_KINDS`] codes the rest counts as `other`.
    pub error_codes: BTreeMap<String, u64>,
    /// `gap` pushes: losses that the server admits.
    pub admitted_gaps: u64,
    /// `reconnect` pushes.
    pub reconnects: u64,
    /// Texts that are none of the above, such as `connection:established` and `pong`.
    pub other: u64,
    /// Data messages whose envelope could not be read.
    pub malformed: u64,
    /// Pings received.
    pub pings: u64,
    /// Data messages that came before.
    pub duplicates: u64,
    /// Data messages that came after later ones.
    pub out_of_order: u64,
    /// Data messages before which others of their channel are missing.
    pub gaps: u64,
    /// Data messages that contradict earlier ones or an acknowledgement.
    pub inconsistent: u64,
    /// Data messages whose payload's own number is not the last one's plus one.
    pub number_gaps: u64,
    /// Ends of open connections, by close code; 1005: none given, 1006: without a close frame.
    pub closes: BTreeMap<u16, u64>,
    /// Connections that broke the WebSocket protocol.
    pub violations: u64,
}

impl Counters {
    pub(crate) fn failed(&mut self, kind: &'static str) {
        self.failed += 1;
        *self.failures.entry(kind).or_default() += 1;
    }

    /// Handshakes refused, whatever the status.
    pub fn refused_in_all(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Open connections that ended, whatever the code.
    pub fn closed(&self) -> u64 {
        self.closes.values().sum()
    }

    /// Nothing was lost, repeated, reordered or garbled.
    pub fn is_faultless(&self) -> bool {
        [
            self.duplicates,
            self.out_of_order,
            self.gaps,
            self.admitted_gaps,
            self.inconsistent,
            self.number_gaps,
            self.malformed,
            self.violations,
        ]
        .iter()
        .all(|count| *count == 0)
    }
}

/// One line of what is not zero, for a log or a failed test.
impl fmt::Display for Counters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} connected, {} messages", self.connected, self.messages)?;
        for (name, count) in [
            ("connecting", self.connecting),
            ("failed", self.failed),
            ("acks", self.acks),
            ("rejected", self.rejected),
            ("errors", self.errors),
            ("admitted gaps", self.admitted_gaps),
            ("reconnects", self.reconnects),
            ("malformed", self.malformed),
            ("duplicates", self.duplicates),
            ("out of order", self.out_of_order),
            ("gaps", self.gaps),
            ("inconsistent", self.inconsistent),
            ("number gaps", self.number_gaps),
            ("violations", self.violations),
        ] {
            if count > 0 {
                write!(out, ", {count} {name}")?;
            }
        }
        for (status, count) in &self.refused {
            write!(out, ", {count} refused with {status}")?;
        }
        for (code, count) in &self.closes {
            write!(out, ", {count} closed with {code}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_that_a_server_names_are_bounded() {
        let mut kinds = BTreeMap::new();
        for number in 0..1_000 {
            bounded(&mut kinds, &format!("{number:0100}"), 1);
        }
        bounded(&mut kinds, &"x\u{1b}".repeat(1_000), 5);
        assert_eq!(kinds.len(), 2);
        assert_eq!(kinds.values().sum::<u64>(), 1_005);
        for number in 0..1_000 {
            bounded(&mut kinds, &number.to_string(), 1);
        }
        assert_eq!(kinds.len(), MOST_KINDS + 1);
        assert!(kinds.keys().all(|kind| kind.len() <= 64));
    }
}
