//! Wide: filters that matched too many subjects a moment ago. NATS makes a list of all of them for each question.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Filters remembered.
const MOST: usize = 128;

/// How long: channels come and go.
const LIFETIME: Duration = Duration::from_secs(30);

/// Filters that are not asked for again for a while.
#[derive(Debug, Default)]
pub(super) struct Wide {
    filters: Mutex<VecDeque<(String, Instant)>>,
}

impl Wide {
    /// Whether a filter matched too much.
    pub(super) fn knows(&self, filter: &str, now: Instant) -> bool {
        let mut filters = self.filters();
        let old = |then: &Instant| now.saturating_duration_since(*then) > LIFETIME;
        while filters.front().is_some_and(|(_, then)| old(then)) {
            filters.pop_front();
        }
        filters.iter().any(|(known, _)| known == filter)
    }

    /// Remembers that it does.
    pub(super) fn add(&self, filter: String, now: Instant) {
        let mut filters = self.filters();
        if filters.len() >= MOST {
            filters.pop_front();
        }
        filters.push_back((filter, now));
    }

    fn filters(&self) -> MutexGuard<'_, VecDeque<(String, Instant)>> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_remembered_for_a_while_and_not_too_many_are() {
        let (wide, start) = (Wide::default(), Instant::now());
        wide.add("a.>".to_owned(), start);
        assert!(wide.knows("a.>", start + LIFETIME) && !wide.knows("a.*", start));
        assert!(!wide.knows("a.>", start + LIFETIME * 2));
        for n in 0..=MOST {
            wide.add(n.to_string(), start);
        }
        assert!(!wide.knows("0", start) && wide.knows("1", start));
    }
}
