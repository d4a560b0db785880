//! The sequence of an odin.v1 connection: how far it has counted, and which message each of the last numbers was.
//!
//! It has two sizes: room for the first few messages, then its full size at once. A client that has had a message or two
//! holds tens of bytes, and no delivery after the seventeenth allocates. It holds offsets, never messages:
//! what a client asks for again is looked up in the history. What must hold: a number stands for the message that carried it,
//! or is out of reach; never for another message.

/// Numbers that can be asked for again. The earlier server kept 100 messages of each client; offsets are so much smaller
/// that ten times as many cost 4 KiB.
pub(crate) const REACH: usize = 1_024;

/// Numbers that there is room for at first.
const FIRST: usize = 16;

/// Offsets are kept relative to a base, in four bytes. A message further away than this from the base moves it, and
/// everything before is out of reach: billions of messages between two of one client.
const HALF: u64 = 1 << 31;

/// How far a connection has counted, and what.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// Number of the last message, from 1.
    last: u64,
    /// Messages before it whose offsets are known, itself included.
    known: u64,
    base: u64,
    /// The offset of number `n` stands at `(n - 1) % REACH`; as many as have been counted, up to [`REACH`].
    offsets: Vec<u32>,
}

impl Sequence {
    pub(crate) fn new() -> Self {
        Self { last: 0, known: 0, base: 0, offsets: Vec::new() }
    }

    /// Number of the last message; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The oldest number within reach; one beyond the last when there is none.
    pub(crate) fn oldest(&self) -> u64 {
        self.last + 1 - self.known
    }

    /// Counts a message; returns its number.
    pub(crate) fn count(&mut self, offset: u64) -> u64 {
        self.last += 1;
        let relative = offset.checked_sub(self.base).and_then(|far| u32::try_from(far).ok());
        let relative = relative.filter(|_| self.known > 0).unwrap_or_else(|| {
            self.known = 0;
            self.base = offset.saturating_sub(HALF);
            // At most HALF, which fits.
            (offset - self.base) as u32
        });
        match self.offsets.get_mut(place(self.last)) {
            Some(place) => *place = relative,
            None => {
                match self.offsets.len() {
                    0 => self.offsets.reserve_exact(FIRST),
                    FIRST => self.offsets.reserve_exact(REACH - FIRST),
                    _ => {}
                }
                self.offsets.push(relative);
            }
        }
        self.known = (self.known + 1).min(REACH as u64);
        self.last
    }

    /// The offset of the message with a number; `None` when it is out of reach.
    pub(crate) fn offset(&self, number: u64) -> Option<u64> {
        let reached = (self.oldest()..=self.last).contains(&number);
        let relative = self.offsets.get(place(number)).filter(|_| reached)?;
        Some(self.base + u64::from(*relative))
    }
}

/// Where the offset of a number stands.
fn place(number: u64) -> usize {
    (number.wrapping_sub(1) % REACH as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_count_from_one_without_holes() {
        let mut sequence = Sequence::new();
        assert_eq!((sequence.oldest(), sequence.last()), (1, 0));
        assert_eq!((0..5).map(|n| sequence.count(100 + n)).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(sequence.offset(5), Some(104));
        assert_eq!(sequence.offset(1), Some(100));
        assert_eq!((sequence.offset(0), sequence.offset(6)), (None, None));
    }

    #[test]
    fn the_oldest_number_goes_out_of_reach_with_each_new_one() {
        let mut sequence = Sequence::new();
        for n in 1..=5_000 {
            assert_eq!(sequence.count(n * 10), n);
        }
        let oldest = 5_000 - REACH as u64 + 1;
        assert_eq!(sequence.oldest(), oldest);
        assert_eq!(sequence.offset(oldest), Some(oldest * 10));
        assert_eq!(sequence.offset(oldest - 1), None);
        assert_eq!(sequence.offset(u64::MAX), None);
    }

    #[test]
    fn a_leap_over_billions_of_messages_puts_what_was_before_out_of_reach() {
        let mut sequence = Sequence::new();
        sequence.count(7);
        sequence.count(8 + (1 << 33));
        sequence.count(9);
        assert_eq!([1, 2, 3].map(|number| sequence.offset(number)), [None, None, Some(9)]);
        assert_eq!(sequence.last(), 3);
    }

    #[test]
    fn a_sequence_grows_with_its_messages_to_four_kibibytes_and_no_further() {
        let mut sequence = Sequence::new();
        let held = |sequence: &Sequence| size_of::<Sequence>() + 4 * sequence.offsets.capacity();
        for n in 0..FIRST as u64 {
            sequence.count(n);
        }
        assert!(held(&sequence) <= 128, "{}", held(&sequence));
        for n in 0..5_000 {
            sequence.count(n);
        }
        assert!(held(&sequence) <= (4 << 10) + 64, "{}", held(&sequence));
    }

    proptest! {
        #[test]
        fn a_number_stands_for_its_message_or_is_out_of_reach(
            offsets in prop::collection::vec(
                prop_oneof![1..3_000_u64, any::<u64>(), (1_u64 << 31) - 5..(1_u64 << 31) + 5],
                1..3_000,
            ),
        ) {
            let mut sequence = Sequence::new();
            for (place, offset) in offsets.iter().enumerate() {
                prop_assert_eq!(sequence.count(*offset), place as u64 + 1);
            }
            for (place, offset) in offsets.iter().enumerate() {
                let found = sequence.offset(place as u64 + 1);
                prop_assert!(found.is_none_or(|found| found == *offset));
            }
            prop_assert_eq!(sequence.offset(offsets.len() as u64), offsets.last().copied());
        }
    }
}
