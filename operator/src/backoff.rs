//! How long to wait after failures: per WsGateway, since the runtime's error policy has no memory of its own, and per
//! watch, so that each comes back by itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// An API server that is back should not wait for us: a watch costs it one request, and of reconciliations only a few go on
/// at a time.
const LONGEST_FOR_A_SERVER: Duration = Duration::from_secs(8);

/// Failures in a row of each WsGateway; an entry lives from the first failure to the next success or the end.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: Mutex<HashMap<(String, String), u32>>,
}

impl Backoff {
    /// Counts a failure and says how long to wait; `jitter` is 0 to 1.
    pub(crate) fn failed(&self, namespace: &str, name: &str, jitter: f64) -> Duration {
        self.count(namespace, name, LONGEST, jitter)
    }

    /// The same for a failure of the API server itself, which may be over at any moment: a reconciliation consists of many
    /// requests, each of which may meet it.
    pub(crate) fn server_failed(&self, namespace: &str, name: &str, jitter: f64) -> Duration {
        self.count(namespace, name, LONGEST_FOR_A_SERVER, jitter)
    }

    fn count(&self, namespace: &str, name: &str, longest: Duration, jitter: f64) -> Duration {
        let mut failures = self.lock();
        let count = failures.entry((namespace.to_owned(), name.to_owned())).or_default();
        let wait = delay(*count, longest, jitter);
        *count = count.saturating_add(1);
        wait
    }

    /// Failures in a row.
    pub(crate) fn failures(&self, namespace: &str, name: &str) -> u32 {
        let key = (namespace.to_owned(), name.to_owned());
        self.lock().get(&key).copied().unwrap_or_default()
    }

    /// Forgets the failures.
    pub(crate) fn succeeded(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), u32>> {
        // Valid after any panic: each change is one operation.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Doubles from a second to `longest`, over the upper half by `jitter`, so that a fleet does not return at once.
fn delay(failures: u32, longest: Duration, jitter: f64) -> Duration {
    let full = FIRST.saturating_mul(1 << failures.min(16)).min(longest);
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// Pauses of one watch.
#[derive(Debug, Default)]
pub(crate) struct WatchBackoff {
    failures: u32,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = delay(self.failures, LONGEST_FOR_A_SERVER, fastrand::f64());
        self.failures = self.failures.saturating_add(1);
        Some(wait)
    }
}

impl kube::runtime::utils::Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_minute_and_start_anew_after_a_success() {
        let backoff = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.failed("a", "b", 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.failed("a", "other", 0.0), FIRST / 2);
        assert_eq!(backoff.failures("a", "b"), 8);
        assert_eq!(backoff.server_failed("a", "b", 1.0), LONGEST_FOR_A_SERVER);
        backoff.succeeded("a", "b");
        assert_eq!(backoff.failures("a", "b"), 0);
        assert_eq!(backoff.failed("a", "b", 1.0), FIRST);
    }
}
