//! WsGateways that a generator makes to do harm, and what became of them: each is refused by the API server with a message
//! or has a condition, and none costs the operator more than a few writes.

mod base;
pub mod generate;
mod parts;
mod run;
mod values;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use run::run;

/// What became of hostile WsGateways.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hostile {
    /// Where the generator began.
    pub seed: u64,
    /// How many there were.
    pub made: usize,
    /// Those that the API server refused, by the code of its answer.
    pub refused: BTreeMap<u16, usize>,
    /// Those that it took.
    pub accepted: usize,
    /// What the condition Ready of those said in the end, by its reason.
    pub reasons: BTreeMap<String, usize>,
    /// Refused without a message, with an error of the server, or not answered: number, kind and answer.
    pub unanswered: Vec<String>,
    /// Accepted, and without a condition or a message in time: number, kind and what is known.
    pub silent: Vec<String>,
    /// Accepted, and still there long after they were deleted: number and kind.
    pub undeleted: Vec<String>,
    /// By the kind of harm: how many were made, and how many of those were accepted.
    pub kinds: BTreeMap<String, (usize, usize)>,
    /// Reconciliations of the operator.
    pub reconciles: u64,
    /// Writes of the operator, carried out and refused, without those of the Lease.
    pub writes: u64,
    /// The most for one of them.
    pub most_writes: u64,
    /// Which one that was.
    pub most_written: String,
    /// Lines of the operator's log that report a panic.
    pub panics: Vec<String>,
    /// Whether a sound WsGateway was as specified afterwards.
    pub sound_afterwards: bool,
    /// The most resident memory of the operator (bytes).
    pub memory_peak: u64,
    /// Resident memory in the end (bytes).
    pub memory: u64,
}

/// The most writes for one WsGateway, carried out or refused, from its creation to its end: the first time everything is
/// written, and what is refused is tried again less and less often, once a minute in the end.
pub const MOST_WRITES: u64 = 60;

impl Hostile {
    /// Whether each was answered, and the operator took no harm.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        self.unanswered.is_empty()
            && self.silent.is_empty()
            && self.undeleted.is_empty()
            && self.panics.is_empty()
            && self.most_writes <= MOST_WRITES
            && self.sound_afterwards
    }
}
