//! What a limit of open files allows: pure.

use crate::http::{PENDING, RESERVE};

/// Descriptors besides connections and the reserve: threads' epoll instances, the source, files, scrapes, logs.
const OTHERS: u64 = 128;

/// Fewest places for connections that are not upgraded yet: a share of all descriptors within these bounds, since an
/// upgrade takes milliseconds.
const LEAST_PENDING: u64 = 16;
const MOST_LEAST_PENDING: u64 = 512;
const PENDING_SHARE: u64 = 8;

/// The limit of open files that a gateway of so many connections asks for.
pub fn descriptors(connections: u32) -> u64 {
    Budget::new(u64::MAX, connections).wanted
}

/// How many of each may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Connections admitted, event streams and long-polls among them: at least 1.
    pub connections: u32,
    /// HTTP connections besides.
    pub pending: usize,
    /// The limit that would have been enough.
    pub wanted: u64,
}

impl Budget {
    /// As many connections as are wanted, or as a limit of open files allows.
    pub(crate) fn new(limit: u64, connections: u32) -> Self {
        let most = u64::from(connections);
        let pending = PENDING as u64;
        let fixed = OTHERS + RESERVE as u64;
        let wanted = fixed + pending + most;
        if wanted <= limit {
            return Self { connections, pending: PENDING, wanted };
        }
        // Who is served comes before who is about to be: first there are fewer places for pending connections, then fewer
        // connections.
        let left = limit.saturating_sub(fixed);
        let least = (limit / PENDING_SHARE).clamp(LEAST_PENDING, MOST_LEAST_PENDING);
        let pending = left.saturating_sub(most).clamp(least, pending);
        let connections = most.min(left.saturating_sub(pending)).max(1);
        Self {
            connections: u32::try_from(connections).unwrap_or(u32::MAX),
            pending: pending as usize,
            wanted,
        }
    }

    /// Of the connections wanted so many may be event streams and long-polls: the same share of those that there are.
    pub(crate) fn share(&self, fallbacks: u32, wanted: u32) -> u32 {
        let share = u64::from(fallbacks) * u64::from(self.connections) / u64::from(wanted.max(1));
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        share.max(1).min(fallbacks)
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
        let budget = Budget::new(u64::MAX, 10_000);
        assert_eq!((budget.connections, budget.pending), (10_000, PENDING));
        assert_eq!(Budget::new(budget.wanted, 10_000), budget);
    }

    #[test]
    fn whatever_the_limit_all_that_may_be_open_fits_it() {
        for limit in [400, 1_024, 4_096, 10_000, 14_000] {
            let budget = Budget::new(limit, 10_000);
            let all =
                u64::from(budget.connections) + budget.pending as u64 + OTHERS + RESERVE as u64;
            assert!(all <= limit, "{budget:?} of {limit}");
            let is_used = budget.connections == 10_000 || all == limit;
            assert!(is_used, "{budget:?} wastes {limit}");
        }
    }

    #[test]
    fn connections_come_before_places_for_pending_ones() {
        let budget = Budget::new(11_000, 10_000);
        assert_eq!((budget.connections, budget.pending), (10_000, 856));
        let budget = Budget::new(10_000, 10_000);
        assert_eq!((budget.connections, budget.pending), (9_344, 512));
    }

    #[test]
    fn event_streams_and_polls_keep_their_share_of_the_connections_that_there_are() {
        let share = |limit, fallbacks| Budget::new(limit, 10_000).share(fallbacks, 10_000);
        assert_eq!([share(u64::MAX, 2_500), share(u64::MAX, 0)], [2_500, 0]);
        assert_eq!([share(10_000, 2_500), share(64, 2_500), share(64, 0)], [2_336, 1, 0]);
    }

    #[test]
    fn a_limit_that_is_far_too_low_still_leaves_one_connection() {
        let budget = Budget::new(64, 10_000);
        assert_eq!((budget.connections, budget.pending), (1, 16));
    }
}
