//! What became of each message of the own publisher (pure).
//!
//! Messages are sent in order and settled in any. What the stream did not take, or did not confirm, is kept by its number, so
//! that clients that do not have it are not said to have lost it.

use std::collections::BTreeSet;

use crate::report::Published;

/// Ranges of numbers that are kept. An outage is one range; more of them need failures that come and go a thousand times.
const MOST_RANGES: usize = 1_000;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The stream has it.
    Stored,
    /// The stream has answered that it does not take it, or nobody takes the subject.
    Refused,
    /// No answer in time. It may be stored.
    Unconfirmed,
    /// There was no connection to send it or to hear of it. It may be stored.
    Disconnected,
}

/// The account of a publisher.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    published: Published,
    waiting: BTreeSet<u64>,
    /// First and last numbers, in order, with at least one number between two of them.
    unstored: Vec<(u64, u64)>,
}

impl Outcomes {
    /// Message `number` is on its way.
    pub fn sent(&mut self, number: u64) {
        self.published.due += 1;
        self.waiting.insert(number);
    }

    /// It has an outcome; a second one changes nothing.
    pub fn settled(&mut self, number: u64, outcome: Outcome) {
        if !self.waiting.remove(&number) {
            return;
        }
        let published = &mut self.published;
        let counter = match outcome {
            Outcome::Stored => {
                published.stored += 1;
                return;
            }
            Outcome::Refused => &mut published.refused,
            Outcome::Unconfirmed => &mut published.unconfirmed,
            Outcome::Disconnected => &mut published.disconnected,
        };
        *counter += 1;
        published.failed += 1;
        self.keep(number);
    }

    /// Nobody waits for confirmations any more.
    pub fn end(&mut self) {
        while let Some(number) = self.waiting.first().copied() {
            self.settled(number, Outcome::Unconfirmed);
        }
    }

    /// Whether messages have no outcome yet.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sums so far.
    #[must_use]
    pub fn published(&self) -> Published {
        self.published
    }

    /// The first and last numbers of messages that clients need not have.
    #[must_use]
    pub fn unstored(&self) -> &[(u64, u64)] {
        &self.unstored
    }

    fn keep(&mut self, number: u64) {
        let at = self.unstored.partition_point(|(from, _)| *from < number);
        let next = self.unstored.get(at).filter(|(from, _)| *from == number + 1).copied();
        let before = at.checked_sub(1).and_then(|before| self.unstored.get(before));
        let before = before.filter(|(_, to)| to + 1 == number).copied();
        let joined = (before.map_or(number, |(from, _)| from), next.map_or(number, |(_, to)| to));
        let first = at - usize::from(before.is_some());
        let after = at + usize::from(next.is_some());
        if first == after && self.unstored.len() >= MOST_RANGES {
            self.published.unkept += 1;
        } else {
            self.unstored.splice(first..after, [joined]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_one_outcome_and_what_is_not_stored_is_kept_by_its_number() {
        let mut outcomes = Outcomes::default();
        (0..10).for_each(|number| outcomes.sent(number));
        for (number, outcome) in [
            (3, Outcome::Refused),
            (0, Outcome::Stored),
            (5, Outcome::Unconfirmed),
            (4, Outcome::Disconnected),
            (4, Outcome::Stored),
            (7, Outcome::Refused),
            (6, Outcome::Stored),
            (99, Outcome::Refused),
        ] {
            outcomes.settled(number, outcome);
        }
        assert!(outcomes.waits());
        assert_eq!(outcomes.unstored(), [(3, 5), (7, 7)]);
        outcomes.end();
        let Published { due, stored, failed, refused, unconfirmed, disconnected, unkept } =
            outcomes.published();
        assert_eq!((due, stored, failed), (10, 2, 8));
        assert_eq!((refused, unconfirmed, disconnected, unkept), (2, 5, 1, 0));
        assert_eq!(outcomes.unstored(), [(1, 5), (7, 9)]);
    }

    #[test]
    fn failures_that_come_and_go_do_not_grow_the_account_and_are_said() {
        let mut outcomes = Outcomes::default();
        for number in 0..10_000 {
            outcomes.sent(number);
            let failed = number % 2 == 1;
            outcomes.settled(number, if failed { Outcome::Refused } else { Outcome::Stored });
        }
        assert_eq!(outcomes.unstored().len(), MOST_RANGES);
        let published = outcomes.published();
        assert_eq!((published.refused, published.unkept), (5_000, 4_000));
    }
}
