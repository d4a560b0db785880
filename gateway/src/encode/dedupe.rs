//! Repetitions: messages whose nonce was on the same channel a moment ago.
//!
//! In: every message of a channel whose rule asks for it, in stream order, with the time at which the stream stored it.
//! Out: whether it is a repetition. What must hold: the answer depends on the messages of the window alone, by the
//! stream's own time and order, so that every pod which has read that window gives the same one; a message is dropped
//! only for an earlier one on the same channel, so that nobody who gets one misses its content; memory is bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Messages remembered (about 150 bytes each for a UUID): half a minute at 2,000 a second.
pub(super) const MESSAGES: usize = 65_536;

/// What was there a moment ago.
#[derive(Debug)]
pub(super) struct Dedupe {
    /// Oldest first; a nonce that is repeated stands here once for each time.
    order: VecDeque<Arc<str>>,
    /// The newest message of each nonce.
    newest: HashMap<Arc<str>, Newest>,
    /// Messages seen.
    seen: u64,
    bound: usize,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    /// Its number among those seen.
    number: u64,
    /// When the stream stored it (Unix ms).
    ts: i64,
}

impl Dedupe {
    pub(super) fn new(bound: usize) -> Self {
        Self { order: VecDeque::new(), newest: HashMap::new(), seen: 0, bound: bound.max(1) }
    }

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.newest.clear();
    }

    /// Takes note of a message, stored at `ts` (Unix ms); says whether its nonce was on this channel within `window`
    /// (ms) before. Every repetition begins the window anew: what was dropped counts like what was not.
    pub(super) fn is_repetition(
        &mut self,
        channel: &str,
        nonce: &str,
        ts: i64,
        window: i64,
    ) -> bool {
        if self.order.len() >= self.bound {
            self.forget_oldest();
        }
        // Channels hold no control characters.
        let key: Arc<str> = [channel, "\0", nonce].concat().into();
        self.seen += 1;
        self.order.push_back(Arc::clone(&key));
        let before = self.newest.insert(key, Newest { number: self.seen, ts });
        before.is_some_and(|before| ts.saturating_sub(before.ts) <= window)
    }

    fn forget_oldest(&mut self) {
        let number = self.seen + 1 - self.order.len() as u64;
        let Some(key) = self.order.pop_front() else { return };
        if self.newest.get(&key).is_some_and(|newest| newest.number == number) {
            self.newest.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nonce_is_a_repetition_within_its_window_on_its_channel() {
        let mut dedupe = Dedupe::new(100);
        let mut seen = |channel, nonce, ts| dedupe.is_repetition(channel, nonce, ts, 1_000);
        assert!(!seen("a", "1", 0));
        assert!(seen("a", "1", 1_000));
        assert!(!seen("b", "1", 1_000), "another channel");
        assert!(!seen("a", "2", 1_000), "another nonce");
        assert!(seen("a", "1", 2_000), "a repetition begins the window anew");
        assert!(!seen("a", "1", 3_001), "later than the window");
        assert!(seen("a", "1", 2_900), "a clock that was set back");
    }

    #[test]
    fn a_channel_and_a_nonce_cannot_be_mistaken_for_another_pair() {
        let mut dedupe = Dedupe::new(100);
        assert!(!dedupe.is_repetition("a", "b\0c", 0, 1));
        assert!(!dedupe.is_repetition("ab", "c", 0, 1));
        assert!(!dedupe.is_repetition("a.b", "c", 0, 1));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_are_forgotten_first() {
        let mut dedupe = Dedupe::new(1_000);
        for n in 0..100_000_u32 {
            assert!(!dedupe.is_repetition("a", &n.to_string(), 0, 1));
            assert!(dedupe.order.len() <= 1_000 && dedupe.newest.len() <= 1_000);
        }
        assert!(dedupe.is_repetition("a", "99001", 0, 1));
        assert!(!dedupe.is_repetition("a", "98000", 0, 1));
        dedupe.clear();
        assert!(!dedupe.is_repetition("a", "99999", 0, 1));
    }

    #[test]
    fn a_nonce_that_is_repeated_without_end_takes_one_place_in_the_map() {
        let mut dedupe = Dedupe::new(10);
        for n in 0..100 {
            assert_eq!(dedupe.is_repetition("a", "same", n, 1), n > 0);
        }
        assert_eq!((dedupe.order.len(), dedupe.newest.len()), (10, 1));
    }

    proptest! {
        /// A pod that starts later has seen less: once it has read a whole window, it answers as the others do.
        #[test]
        fn every_pod_that_has_read_the_window_gives_the_same_answer(
            stream in prop::collection::vec((0..4_u8, 0..6_u8, 0..30_i64), 1..200),
            bound in 1..40_usize,
            late in 0..100_usize,
        ) {
            const WINDOW: i64 = 100;
            let mut ts = 0;
            let mut messages = Vec::new();
            for (channel, nonce, pause) in stream {
                ts += pause;
                messages.push((channel.to_string(), nonce.to_string(), ts));
            }
            let (mut early, mut late_pod) = (Dedupe::new(bound), Dedupe::new(bound));
            let start = messages.get(late).map(|(_, _, ts)| *ts);
            for (place, (channel, nonce, ts)) in messages.iter().enumerate() {
                let one = early.is_repetition(channel, nonce, *ts, WINDOW);
                if place < late {
                    continue;
                }
                let other = late_pod.is_repetition(channel, nonce, *ts, WINDOW);
                prop_assert!(!other || one, "what one drops for a message, all drop that have read it");
                let whole_window = start.is_some_and(|start| *ts > start + WINDOW);
                if whole_window || place >= late + bound {
                    prop_assert_eq!(one, other);
                }
            }
        }
    }
}
