//! The last sequence of each channel, in bounded memory.
//!
//! Publishers choose the channels, so the map is bounded: two generations of half the bound each; a channel that was
//! quiet for a whole generation is forgotten, and its next message says `prev: 0`, which promises nothing.

use std::collections::HashMap;

/// Channels remembered (about 100 bytes each): more than a stream of 100,000 messages can name.
pub(super) const CHANNELS: usize = 262_144;

#[derive(Debug)]
pub(super) struct Previous {
    young: HashMap<Box<str>, u64>,
    old: HashMap<Box<str>, u64>,
    generation: usize,
}

impl Previous {
    pub(super) fn new(bound: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), generation: (bound / 2).max(1) }
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    /// Remembers the channel's newest sequence and returns the one before it, 0 if none is known.
    pub(super) fn replace(&mut self, channel: &str, sequence: u64) -> u64 {
        if let Some(last) = self.young.get_mut(channel) {
            return std::mem::replace(last, sequence);
        }
        let previous = self.old.remove(channel).unwrap_or(0);
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(channel.into(), sequence);
        previous
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_of_a_channel_has_no_previous() {
        let mut previous = Previous::new(8);
        assert_eq!(previous.replace("a", 5), 0);
        assert_eq!(previous.replace("a", 9), 5);
    }

    #[test]
    fn a_busy_channel_survives_a_million_strangers_in_bounded_memory() {
        let mut previous = Previous::new(1_000);
        for n in 1..=1_000_000u64 {
            previous.replace(&n.to_string(), n);
            if n % 100 == 0 {
                let last = if n == 100 { 0 } else { n - 100 };
                assert_eq!(previous.replace("busy", n), last);
            }
            assert!(previous.young.len() + previous.old.len() <= 1_000);
        }
    }
}
