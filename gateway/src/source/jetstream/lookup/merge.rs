//! Merge: several filtered reads of one stream, put together in its order. A pure structure.

use std::collections::VecDeque;

use crate::encode::Message;
use crate::history::archive::{BLOCK, BLOCK_BYTES};

/// Reads of one stream, each by a filter of its own.
#[derive(Debug)]
pub(super) struct Merge {
    reads: Vec<Read>,
    /// The last sequence that matters.
    last: u64,
    /// Everything up to here has been taken.
    at: u64,
    taken: Vec<Message>,
    bytes: usize,
}

/// One filter's read.
#[derive(Debug)]
struct Read {
    held: VecDeque<Message>,
    next: u64,
    /// Nothing more of it up to `last`.
    done: bool,
}

impl Merge {
    /// So many reads of the sequences `from` to `last`.
    pub(super) fn new(reads: usize, from: u64, last: u64) -> Self {
        let read = || Read { held: VecDeque::new(), next: from, done: from > last };
        let at = from.saturating_sub(1);
        let reads = std::iter::repeat_with(read).take(reads).collect();
        Self { reads, last, at, taken: Vec::new(), bytes: 0 }
    }

    /// The reads that must go on, and from which sequence.
    pub(super) fn wanted(&self) -> Vec<(usize, u64)> {
        let wanted = self.reads.iter().enumerate().filter(|(_, read)| read.is_wanted());
        wanted.map(|(place, read)| (place, read.next)).collect()
    }

    /// A read has gone on: its next messages, in order. None: there are no more.
    pub(super) fn feed(&mut self, read: usize, messages: Vec<Message>) {
        let Some(read) = self.reads.get_mut(read) else { return };
        read.done = messages.is_empty();
        let next = read.next;
        for message in messages.into_iter().filter(|message| message.sequence >= next) {
            if message.sequence > self.last {
                read.done = true;
                break;
            }
            read.next = message.sequence + 1;
            read.held.push_back(message);
        }
        read.done |= read.next > self.last;
    }

    /// Takes what is next in the stream's order; true when that is enough, or all.
    pub(super) fn take(&mut self) -> bool {
        while self.taken.len() < BLOCK as usize && self.bytes < BLOCK_BYTES {
            if self.reads.iter().any(Read::is_wanted) {
                return false;
            }
            let heads = self.reads.iter_mut().filter(|read| !read.held.is_empty());
            let first = heads.min_by_key(|read| read.held.front().map(|message| message.sequence));
            let Some(message) = first.and_then(|read| read.held.pop_front()) else {
                self.at = self.at.max(self.last);
                return true;
            };
            // Two filters may match the same.
            if message.sequence > self.at {
                self.at = message.sequence;
                self.bytes += message.payload.len();
                self.taken.push(message);
            }
        }
        true
    }

    /// What was taken, and the sequence up to which that is everything.
    pub(super) fn finish(self) -> (Vec<Message>, u64) {
        (self.taken, self.at)
    }
}

impl Read {
    fn is_wanted(&self) -> bool {
        !self.done && self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(sequence: u64) -> Message {
        let (subject, payload) = ("a".into(), bytes::Bytes::from_static(b"1"));
        Message { subject, sequence, timestamp: 0, payload, deleted: None, trace: None }
    }

    proptest! {
        /// Filters that may overlap, read in batches of any size, against all that they match.
        #[test]
        fn what_is_taken_is_everything_up_to_where_it_ends_in_order_and_once(
            matched in proptest::collection::vec(proptest::collection::btree_set(1..900u64, 0..400), 1..5),
            (from, last) in (1..500u64, 1..900u64),
            batch in 1..300usize,
        ) {
            let mut merge = Merge::new(matched.len(), from, last);
            while !merge.take() {
                for (read, next) in merge.wanted() {
                    let rest = matched[read].range(next..).take(batch);
                    merge.feed(read, rest.map(|n| message(*n)).collect());
                }
            }
            let (messages, to) = merge.finish();
            let all: std::collections::BTreeSet<u64> = matched.into_iter().flatten().collect();
            let want: Vec<u64> = all.into_iter().filter(|n| (from..=to.min(last)).contains(n)).collect();
            prop_assert_eq!(messages.iter().map(|m| m.sequence).collect::<Vec<_>>(), want);
            prop_assert!(to == last.max(from - 1) || messages.len() == BLOCK as usize);
        }
    }
}
