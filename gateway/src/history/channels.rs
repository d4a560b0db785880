//! Channels: where each channel's messages are in the ring, and its last value, which outlives the ring.
//!
//! Publishers choose the channels, so everything here is bounded: a channel without a message in the ring is *quiet*,
//! and of too many quiet ones, or too many bytes, those with the oldest messages are forgotten. That order is the
//! stream's own, so every pod keeps the same ones.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::cost;
use super::interest::Interest;
use crate::encode::Delivery;

/// Quiet channels remembered: as many as the encoder knows `prev` of.
pub(crate) const MAX_QUIET: usize = 262_144;

/// What is known of the channels of a stream.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_name: HashMap<Arc<str>, Channel>,
    /// The newest message of each, value or deletion, in stream order. Quiet channels come first: theirs are older than
    /// everything in the ring.
    lasts: BTreeMap<u64, Arc<Delivery>>,
    /// Channels that are quiet, and the bytes of their newest messages.
    quiet_count: usize,
    quiet_bytes: usize,
    /// Channels that are not known may have had messages up to here.
    forgotten: u64,
    /// Channels that are not known may have their last value at or before this offset; 0: none has.
    unknown_until: u64,
    /// The newest message of a channel that was forgotten.
    evicted: u64,
}

#[derive(Debug)]
struct Channel {
    /// Offsets of its messages in the ring, in order.
    offsets: VecDeque<u64>,
    /// Its newest message: the last value, or its deletion.
    last: Arc<Delivery>,
    /// It may have had messages up to here that are not in the ring.
    dropped: u64,
}

impl Channels {
    /// Nothing is known of anything up to `forgotten`.
    pub(super) fn new(forgotten: u64) -> Self {
        Self { forgotten, unknown_until: forgotten, ..Self::default() }
    }

    /// A message has come into the ring.
    pub(super) fn push(&mut self, delivery: &Arc<Delivery>) {
        self.lasts.insert(delivery.offset, Arc::clone(delivery));
        if let Some(channel) = self.by_name.get_mut(&delivery.channel) {
            if channel.offsets.is_empty() {
                self.quiet_count -= 1;
                self.quiet_bytes -= cost(&channel.last);
            }
            channel.offsets.push_back(delivery.offset);
            self.lasts.remove(&channel.last.offset);
            channel.last = Arc::clone(delivery);
            return;
        }
        let channel = Channel {
            offsets: VecDeque::from([delivery.offset]),
            last: Arc::clone(delivery),
            dropped: self.forgotten,
        };
        self.by_name.insert(Arc::clone(&delivery.channel), channel);
    }

    /// The newest message of a channel from before the ring. What is known of the channel already is at least as new.
    pub(super) fn seed(&mut self, delivery: &Arc<Delivery>, quiet_bytes: usize) {
        // One that would be forgotten at once is no news.
        if self.by_name.contains_key(&delivery.channel) || self.is_forgotten(delivery.offset) {
            return;
        }
        let (offsets, last) = (VecDeque::new(), Arc::clone(delivery));
        let channel = Channel { offsets, last, dropped: self.forgotten };
        self.by_name.insert(Arc::clone(&delivery.channel), channel);
        self.lasts.insert(delivery.offset, Arc::clone(delivery));
        self.add_quiet(delivery);
        self.trim(quiet_bytes, usize::MAX);
    }

    /// Every channel whose newest message is behind `offset` has been seeded, or is in the ring.
    pub(super) fn seeded(&mut self, offset: u64) {
        self.unknown_until = self.unknown_until.min(offset.max(self.evicted));
    }

    /// The oldest message has left the ring.
    pub(super) fn evict(&mut self, delivery: &Arc<Delivery>) {
        let Some(channel) = self.by_name.get_mut(&delivery.channel) else { return };
        channel.offsets.pop_front();
        channel.dropped = delivery.offset;
        // A channel that was busy once does not keep the room for it.
        if channel.offsets.capacity() > 4 * channel.offsets.len() + 16 {
            channel.offsets.shrink_to(2 * channel.offsets.len());
        }
        if channel.offsets.is_empty() {
            self.add_quiet(delivery);
        }
    }

    fn add_quiet(&mut self, delivery: &Arc<Delivery>) {
        self.quiet_count += 1;
        self.quiet_bytes += cost(delivery);
    }

    /// Forgets quiet channels that are too many, `most` of them; true when there may be more.
    pub(super) fn trim(&mut self, quiet_bytes: usize, most: usize) -> bool {
        for _ in 0..most {
            if self.quiet_count <= MAX_QUIET && self.quiet_bytes <= quiet_bytes {
                return false;
            }
            self.forget_one();
        }
        true
    }

    /// Whether a quiet channel with this newest message would have been forgotten by now.
    fn is_forgotten(&self, offset: u64) -> bool {
        offset <= self.evicted
    }

    fn forget_one(&mut self) {
        // While something is quiet, the oldest of all is.
        let Some((offset, last)) = self.lasts.pop_first() else {
            (self.quiet_count, self.quiet_bytes) = (0, 0); // unreachable while the sums are right
            return;
        };
        self.quiet_count -= 1;
        self.quiet_bytes -= cost(&last);
        self.by_name.remove(&last.channel);
        self.evicted = self.evicted.max(offset);
        self.forgotten = self.forgotten.max(offset);
        self.unknown_until = self.unknown_until.max(offset);
    }

    /// Last values of the interest at or before this offset may be missing here; 0: none is.
    pub(super) fn unknown_until(&self, interest: &Interest) -> u64 {
        let known = |channel: &str| self.by_name.contains_key(channel);
        let all = interest.wildcards().is_empty() && interest.exact().iter().all(|c| known(c));
        if all { 0 } else { self.unknown_until }
    }

    /// Whether the channel's newest message is known.
    pub(super) fn knows(&self, channel: &str) -> bool {
        self.by_name.contains_key(channel)
    }

    /// Up to which offset the channel may have had messages that are not in the ring.
    pub(super) fn dropped(&self, channel: &str) -> u64 {
        self.by_name.get(channel).map_or(self.forgotten, |channel| channel.dropped)
    }

    /// The same for every channel that `matches` says yes to.
    pub(super) fn dropped_of(&self, matches: impl Fn(&str) -> bool) -> u64 {
        let known = self.by_name.iter().filter(|(name, _)| matches(name));
        known.map(|(_, channel)| channel.dropped).max().unwrap_or(0).max(self.forgotten)
    }

    /// Offsets of the channel's messages in the ring behind `after`, in order.
    pub(super) fn offsets(&self, channel: &str, after: u64) -> impl Iterator<Item = u64> {
        let offsets = self.by_name.get(channel).map(|channel| &channel.offsets);
        let start = offsets.map_or(0, |offsets| offsets.partition_point(|offset| *offset <= after));
        offsets.into_iter().flat_map(move |offsets| offsets.range(start..)).copied()
    }

    /// The channel's last value, unless it was deleted.
    pub(super) fn last(&self, channel: &str) -> Option<&Arc<Delivery>> {
        let last = self.by_name.get(channel).map(|channel| &channel.last);
        last.filter(|last| last.deleted.is_none())
    }

    /// The newest message of each channel, between `after` (excluded) and `until` (included), in stream order.
    /// Some are deletions.
    pub(super) fn lasts(&self, after: u64, until: u64) -> impl Iterator<Item = &Arc<Delivery>> {
        let range = (Bound::Excluded(after), Bound::Included(until.max(after)));
        let some = (after < until).then(|| self.lasts.range(range));
        some.into_iter().flatten().map(|(_, last)| last)
    }

    /// Channels known.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Bytes of last values outside the ring.
    pub(super) fn bytes(&self) -> usize {
        self.quiet_bytes
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_config::Channels as Config;

    use super::*;
    use crate::encode::{Encoder, Message};

    #[test]
    fn a_channel_that_was_busy_once_gives_its_room_back() {
        let mut encoder = Encoder::new(&Config { strip_prefix: String::new(), rules: Vec::new() });
        let (mut channels, payload) = (Channels::new(0), bytes::Bytes::new());
        let deliveries: Vec<_> = (1..=10_000)
            .map(|sequence| {
                let (subject, payload) = ("a".into(), payload.clone());
                encoder.encode(&Message {
                    subject,
                    sequence,
                    timestamp: 0,
                    payload,
                    deleted: None,
                    trace: None,
                })
            })
            .collect();
        deliveries.iter().for_each(|delivery| channels.push(delivery));
        deliveries.iter().for_each(|delivery| channels.evict(delivery));
        let channel = channels.by_name.get("a").unwrap();
        assert!(channel.offsets.is_empty() && channel.offsets.capacity() <= 32);
        assert_eq!((channels.lasts.len(), channels.dropped("a")), (1, 10_000));
    }
}
