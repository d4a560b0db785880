//! How much of everything.

use std::path::PathBuf;
use std::time::Duration;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The operator's program.
    pub operator: PathBuf,
    /// WsGateways.
    pub gateways: usize,
    /// Pods of each.
    pub pods: usize,
    /// Namespaces that they are spread over.
    pub namespaces: usize,
    /// How many are changed, in each of several ways.
    pub changed: usize,
    /// Seconds between two reconciliations of one that is at rest.
    pub resync: u32,
    /// Reconciliations of each, on average, over which the steady state is counted.
    pub rounds: u32,
    /// Hostile WsGateways.
    pub hostile: usize,
    /// How many of those exist at a time.
    pub batch: usize,
    /// How long each batch is watched once all have been told: a hot loop shows in this time.
    pub watch: Duration,
    /// Where the generator of hostile ones begins.
    pub seed: u64,
    /// Longest wait for anything.
    pub limit: Duration,
}

/// Every such one is broken in the round with broken ones.
pub const BROKEN_EVERY: usize = 10;

impl Plan {
    /// Whether a WsGateway of this number is broken in the round with broken ones.
    #[must_use]
    pub fn is_broken(number: usize) -> bool {
        number % BROKEN_EVERY == BROKEN_EVERY / 2
    }
}
