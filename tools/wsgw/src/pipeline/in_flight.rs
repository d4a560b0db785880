//! Messages that wait for their confirmation, by the number of their attempt. Pure: time is a parameter.
//!
//! Numbers go up by one with each attempt and are never used again, so that an answer that comes too late finds nothing.
//! The oldest message alone has a timeout: those behind it were sent later.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A ring of messages, from the oldest that waits to the newest.
pub(super) struct InFlight<T> {
    most: usize,
    /// The number of the first slot, or of the next message when there is none.
    first: u64,
    /// The first one is never empty.
    slots: VecDeque<Slot<T>>,
}

struct Slot<T> {
    since: Instant,
    /// None once it was answered.
    message: Option<T>,
}

impl<T> InFlight<T> {
    /// For at most so many messages from the oldest to the newest.
    pub(super) fn new(most: usize) -> Self {
        Self { most, first: 0, slots: VecDeque::new() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.slots.len() < self.most
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The number that the next message gets.
    pub(super) fn next_number(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(super) fn add(&mut self, message: T, now: Instant) {
        self.slots.push_back(Slot { since: now, message: Some(message) });
    }

    /// The message of an attempt, which waits no longer; None when it does not wait.
    pub(super) fn take(&mut self, number: u64) -> Option<T> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let message = self.slots.get_mut(at)?.message.take()?;
        while self.slots.front().is_some_and(|slot| slot.message.is_none()) {
            self.slots.pop_front();
            self.first += 1;
        }
        Some(message)
    }

    /// The oldest message, if it has waited for `timeout`.
    pub(super) fn expired(&mut self, now: Instant, timeout: Duration) -> Option<T> {
        let is_late = self.oldest().is_some_and(|since| now.duration_since(since) >= timeout);
        is_late.then(|| self.take(self.first)).flatten()
    }

    /// When the oldest message was sent.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.slots.front().map(|slot| slot.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    /// Messages are their own numbers.
    fn filled(count: u64, now: Instant) -> InFlight<u64> {
        let mut ring = InFlight::new(4);
        for _ in 0..count {
            ring.add(ring.next_number(), now);
        }
        ring
    }

    #[test]
    fn each_message_is_taken_once_in_whatever_order() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            let mut ring = filled(3, Instant::now());
            for number in order {
                assert_eq!(ring.take(number), Some(number), "{order:?}");
                assert_eq!(ring.take(number), None, "{order:?}");
            }
            assert!(ring.is_empty() && ring.next_number() == 3, "{order:?}");
        }
    }

    #[test]
    fn numbers_that_were_never_given_are_nobodys() {
        let mut ring = filled(2, Instant::now());
        ring.take(0);
        for number in [0, 2, 3, u64::MAX] {
            assert_eq!(ring.take(number), None, "{number}");
        }
        assert_eq!(ring.take(1), Some(1));
    }

    #[test]
    fn room_is_bounded_from_the_oldest_to_the_newest() {
        let mut ring = filled(4, Instant::now());
        assert!(!ring.has_room());
        ring.take(2);
        assert!(!ring.has_room(), "the oldest still waits");
        ring.take(0);
        assert!(ring.has_room());
        ring.take(1);
        ring.add(4, Instant::now());
        assert_eq!((ring.take(4), ring.take(3), ring.is_empty()), (Some(4), Some(3), true));
    }

    #[test]
    fn what_is_not_answered_expires_oldest_first() {
        let start = Instant::now();
        let mut ring = filled(3, start);
        let later = start + Duration::from_secs(1);
        ring.add(3, later);
        ring.take(1);
        assert_eq!(ring.oldest(), Some(start));
        assert_eq!(ring.expired(later, TIMEOUT), None);
        let end = start + TIMEOUT;
        assert_eq!(ring.expired(end, TIMEOUT), Some(0));
        assert_eq!(ring.expired(end, TIMEOUT), Some(2));
        assert_eq!(ring.expired(end, TIMEOUT), None);
        assert_eq!((ring.oldest(), ring.take(0)), (Some(later), None));
        assert_eq!(ring.expired(later + TIMEOUT, TIMEOUT), Some(3));
        assert!(ring.is_empty() && ring.oldest().is_none());
    }
}
