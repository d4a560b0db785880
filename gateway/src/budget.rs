//! What a limit of open files allows: pure.

use crate::http::{PENDING, RESERVE};

/// Descriptors besides connections and the reserve: threads' epoll instances, the source, files, scrapes, logs.
const OTHERS: u64 = 128;

/// Descriptors of an event stream or long-poll besides its connection: both ends of its pair of sockets.
const PAIR: u64 = 2;

/// Fewest places for connections that are not upgraded yet: a share of all descriptors within these bounds, since an
/// upgrade takes milliseconds.
const LEAST_PENDING: u64 = 16;
const MOST_LEAST_PENDING: u64 = 512;
const PENDING_SHARE: u64 = 8;

/// The share of the descriptors that event streams and long-polls keep, however many connections are wanted.
const PAIRS_SHARE: u64 = 16;

/// How many of each may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Connections admitted: at least 1.
    pub connections: u32,
    /// Event streams and long-polls among them: at least 1.
    pub fallbacks: u32,
    /// HTTP connections besides.
    pub pending: usize,
    /// The limit that would have been enough.
    pub wanted: u64,
}

impl Budget {
    /// As many connections as are wanted, or as a limit of open files allows.
    pub(crate) fn new(limit: u64, connections: u32, fallbacks: u32) -> Self {
        let (most, pairs) = (u64::from(connections), u64::from(fallbacks) * PAIR);
        let pending = PENDING as u64;
        let fixed = OTHERS + RESERVE as u64;
        let wanted = fixed + pending + most + pairs;
        if wanted <= limit {
            return Self { connections, fallbacks, pending: PENDING, wanted };
        }
        // Who is served comes before who is about to be: first there are fewer places for pending connections, then
        // fewer event streams and long-polls, then fewer connections.
        let left = limit.saturating_sub(fixed);
        let least = (limit / PENDING_SHARE).clamp(LEAST_PENDING, MOST_LEAST_PENDING);
        let pending = left.saturating_sub(most + pairs).clamp(least, pending);
        let left = left.saturating_sub(pending);
        let spare = left.saturating_sub(most).max(left / PAIRS_SHARE);
        let fallbacks = u64::from(fallbacks).min((spare / PAIR).max(1));
        let connections = most.min(left.saturating_sub(fallbacks * PAIR)).max(1);
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            connections: count(connections),
            fallbacks: count(fallbacks),
            pending: pending as usize,
            wanted,
        }
    }

    /// Says so if there are fewer than wanted.
    pub(crate) fn report(&self, limit: u64, wanted: u32) {
        if self.connections < wanted {
            tracing::error!(
                limit,
                wanted = self.wanted,
                connections = self.connections,
                "the limit of open files allows fewer connections than capacity.connectionsPerPod: raise the limit of \
                 the container, or lower the capacity"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_descriptors_change_nothing() {
        let budget = Budget::new(u64::MAX, 10_000, 2_500);
        assert_eq!(
            (budget.connections, budget.fallbacks, budget.pending),
            (10_000, 2_500, PENDING)
        );
        assert_eq!(Budget::new(budget.wanted, 10_000, 2_500), budget);
    }

    #[test]
    fn whatever_the_limit_all_that_may_be_open_fits_it() {
        for limit in [400, 1_024, 4_096, 10_000, 19_000] {
            let budget = Budget::new(limit, 10_000, 2_500);
            let open = u64::from(budget.connections) + PAIR * u64::from(budget.fallbacks);
            let all = open + budget.pending as u64 + OTHERS + RESERVE as u64;
            assert!(all <= limit, "{budget:?} of {limit}");
            let is_used = budget.connections == 10_000 || all + 10 > limit;
            assert!(is_used, "{budget:?} wastes {limit}");
        }
    }

    #[test]
    fn connections_come_before_places_for_pending_ones_and_these_before_event_streams() {
        let budget = Budget::new(13_000, 10_000, 1_000);
        assert_eq!((budget.connections, budget.fallbacks, budget.pending), (10_000, 1_000, 856));
        let budget = Budget::new(12_000, 10_000, 2_500);
        assert_eq!((budget.connections, budget.fallbacks, budget.pending), (10_000, 672, 512));
        let budget = Budget::new(10_000, 10_000, 2_500);
        assert_eq!((budget.connections, budget.fallbacks, budget.pending), (8_760, 292, 512));
    }

    #[test]
    fn a_limit_that_is_far_too_low_still_leaves_one_connection() {
        let budget = Budget::new(64, 10_000, 1);
        assert_eq!((budget.connections, budget.fallbacks, budget.pending), (1, 1, 16));
    }
}
