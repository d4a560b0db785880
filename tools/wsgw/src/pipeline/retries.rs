//! Messages that are to be sent again, and subjects that no stream takes. Pure: time is a parameter.
//!
//! A message without a stream is looked up before it is sent again, each subject once however many messages it has. All
//! are sent again together, in their order.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgateway_market::Message;

/// Pause before messages are sent again.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// How long a subject that no stream takes is dropped before streams are asked again.
pub(super) const MUTED: Duration = Duration::from_secs(5);

/// What the lookup of a subject has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No stream takes it.
    Nothing,
    /// One takes it; it had no leader, perhaps.
    Stream,
    /// Nobody knows.
    Unknown,
}

/// What waits for another attempt; at most what was in flight at once.
pub(super) struct Retries {
    waiting: Vec<Waiting>,
    not_before: Instant,
    /// Messages whose time has come, in their order.
    due: VecDeque<Message>,
    /// Until when subjects are dropped.
    muted: HashMap<Arc<str>, Instant>,
}

struct Waiting {
    message: Message,
    /// Whether its stream must be looked up first.
    needs_lookup: bool,
}

impl Retries {
    pub(super) fn new(now: Instant) -> Self {
        Self { waiting: Vec::new(), not_before: now, due: VecDeque::new(), muted: HashMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.due.is_empty()
    }

    /// Keeps a message that has failed.
    pub(super) fn add(&mut self, message: Message, needs_lookup: bool, now: Instant) {
        self.waiting.push(Waiting { message, needs_lookup });
        self.not_before = now + PAUSE;
    }

    /// The next subject to look up.
    pub(super) fn to_look_up(&self) -> Option<&Arc<str>> {
        let waiting = self.waiting.iter().find(|waiting| waiting.needs_lookup);
        waiting.map(|waiting| &waiting.message.subject)
    }

    /// Takes in the result of a lookup; returns how many messages are given up.
    pub(super) fn looked_up(&mut self, subject: &Arc<str>, found: Found, now: Instant) -> usize {
        let before = self.waiting.len();
        match found {
            Found::Nothing => {
                self.waiting.retain(|waiting| waiting.message.subject != *subject);
                self.muted.retain(|_, until| now < *until);
                self.muted.insert(Arc::clone(subject), now + MUTED);
            }
            Found::Stream => {
                for waiting in &mut self.waiting {
                    waiting.needs_lookup &= waiting.message.subject != *subject;
                }
            }
            // Whoever does not answer now is not asked for every other subject as well.
            Found::Unknown => {
                for waiting in &mut self.waiting {
                    waiting.needs_lookup = false;
                }
            }
        }
        before - self.waiting.len()
    }

    /// Whether messages of a subject are dropped now.
    pub(super) fn is_muted(&mut self, subject: &str, now: Instant) -> bool {
        let Some(until) = self.muted.get(subject) else { return false };
        let is_muted = now < *until;
        if !is_muted {
            self.muted.remove(subject);
        }
        is_muted
    }

    /// Makes everything due when its time has come and nothing is left to look up.
    pub(super) fn gather(&mut self, now: Instant) {
        let must_wait = now < self.not_before || self.to_look_up().is_some();
        if !self.due.is_empty() || must_wait {
            return;
        }
        self.waiting.sort_unstable_by_key(|waiting| waiting.message.number);
        self.due.extend(self.waiting.drain(..).map(|waiting| waiting.message));
    }

    /// The next message to send again.
    pub(super) fn pop(&mut self) -> Option<Message> {
        self.due.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64, subject: &str) -> Message {
        let nonce = format!("run-{number}");
        Message { subject: subject.into(), payload: bytes::Bytes::new(), nonce, number }
    }

    fn all_due(retries: &mut Retries, now: Instant) -> Vec<u64> {
        retries.gather(now);
        std::iter::from_fn(|| retries.pop()).map(|message| message.number).collect()
    }

    #[test]
    fn messages_are_sent_again_in_their_order_after_the_last_failure() {
        let start = Instant::now();
        let mut retries = Retries::new(start);
        for number in [3, 1, 2] {
            retries.add(message(number, "a"), false, start);
        }
        assert_eq!(all_due(&mut retries, start + PAUSE / 2), [0; 0]);
        retries.add(message(4, "a"), false, start + PAUSE / 2);
        assert_eq!(all_due(&mut retries, start + PAUSE), [0; 0]);
        assert_eq!(all_due(&mut retries, start + PAUSE * 3 / 2), [1, 2, 3, 4]);
        assert!(retries.is_empty());
    }

    #[test]
    fn a_lookup_decides_over_all_messages_of_its_subject() {
        for (found, dropped, left) in [
            (Found::Nothing, 2, vec![3]),
            (Found::Stream, 0, vec![1, 2, 3]),
            (Found::Unknown, 0, vec![1, 2, 3]),
        ] {
            let now = Instant::now();
            let mut retries = Retries::new(now);
            for (number, subject) in [(1, "a"), (2, "a"), (3, "b")] {
                retries.add(message(number, subject), subject == "a", now);
            }
            let later = now + PAUSE;
            assert_eq!(all_due(&mut retries, later), [0; 0], "{found:?}");
            let subject = Arc::clone(retries.to_look_up().unwrap());
            assert_eq!((&*subject, retries.looked_up(&subject, found, later)), ("a", dropped));
            assert_eq!(retries.to_look_up(), None, "{found:?}");
            assert_eq!(all_due(&mut retries, later), left, "{found:?}");
        }
    }

    #[test]
    fn a_lookup_without_an_answer_is_not_repeated_for_other_subjects() {
        let now = Instant::now();
        for (found, next) in [(Found::Stream, Some("b")), (Found::Unknown, None)] {
            let mut retries = Retries::new(now);
            retries.add(message(1, "a"), true, now);
            retries.add(message(2, "b"), true, now);
            retries.looked_up(&"a".into(), found, now);
            assert_eq!(retries.to_look_up().map(|subject| &**subject), next, "{found:?}");
        }
    }

    #[test]
    fn a_subject_without_a_stream_is_muted_for_a_while_and_then_forgotten() {
        let start = Instant::now();
        let mut retries = Retries::new(start);
        for subject in ["a", "b"] {
            retries.looked_up(&subject.into(), Found::Nothing, start);
        }
        assert!(retries.is_muted("a", start) && !retries.is_muted("c", start));
        let end = start + MUTED;
        assert!(!retries.is_muted("a", end) && !retries.muted.contains_key("a"));
        retries.looked_up(&"d".into(), Found::Nothing, end);
        assert_eq!(retries.muted.len(), 1, "subjects that are published no more");
    }
}
