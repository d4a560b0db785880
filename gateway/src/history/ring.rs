//! Ring: the recent messages of one stream, in stream order, bounded in number, bytes and age.
//!
//! A pure structure: time comes in as a parameter. What must hold: every message of the stream behind `floor` and up to
//! `position` is here, except those in `holes`, which the stream has discarded before they were read.

use std::collections::VecDeque;
use std::sync::Arc;

use super::channels::{Channels, Last};
use super::interest::Interest;
use super::{Chunk, cost};
use crate::encode::Delivery;

/// Ranges that were never read; more of them make the ring forget what is before the oldest.
const MAX_HOLES: usize = 64;

/// Messages looked at for one chunk: bounds the time that the lock is held (a match costs about 50 ns).
const MAX_LOOKED_AT: usize = 2_048;

/// Most messages in one chunk.
const MAX_CHUNK: usize = 256;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub messages: usize,
    /// Of the messages in the ring; last values outside it get half as much besides.
    pub bytes: usize,
    pub age_ms: i64,
}

#[derive(Debug)]
pub(super) struct Ring {
    bounds: Bounds,
    messages: VecDeque<Arc<Delivery>>,
    bytes: usize,
    /// Offset of the last message that left the ring, or of the last one before it began.
    floor: u64,
    position: u64,
    holes: VecDeque<(u64, u64)>,
    channels: Channels,
}

impl Ring {
    /// An empty ring that begins behind `floor`.
    pub(super) fn new(bounds: Bounds, floor: u64) -> Self {
        Self {
            bounds,
            messages: VecDeque::new(),
            bytes: 0,
            floor,
            position: floor,
            holes: VecDeque::new(),
            channels: Channels::new(floor),
        }
    }

    /// Adds the next message of the stream and drops what is beyond the bounds.
    pub(super) fn push(&mut self, delivery: &Arc<Delivery>, now_ms: i64) {
        if delivery.offset <= self.position && self.position > 0 {
            return; // never happens: the source hands everything on once, in order
        }
        self.position = delivery.offset;
        self.bytes += cost(delivery);
        self.messages.push_back(Arc::clone(delivery));
        self.channels.push(delivery);
        let oldest = now_ms.saturating_sub(self.bounds.age_ms);
        while let Some(first) = self.messages.front()
            && (self.messages.len() > self.bounds.messages
                || self.bytes > self.bounds.bytes
                || first.ts < oldest)
        {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some(first) = self.messages.pop_front() else { return };
        self.bytes -= cost(&first);
        self.floor = first.offset;
        self.channels.evict(&first, self.bounds.bytes / 2);
        while self.holes.front().is_some_and(|(_, to)| *to <= self.floor) {
            self.holes.pop_front();
        }
    }

    /// The stream has nothing up to here that was not pushed or lost.
    pub(super) fn advance(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// These offsets were discarded before anybody here could read them.
    pub(super) fn lost(&mut self, from: u64, to: u64) {
        match self.holes.back_mut() {
            Some((_, end)) if *end + 1 == from => *end = to,
            _ => self.holes.push_back((from, to)),
        }
        self.position = self.position.max(to);
        if self.holes.len() > MAX_HOLES
            && let Some((_, end)) = self.holes.pop_front()
        {
            while self.messages.front().is_some_and(|first| first.offset <= end) {
                self.evict();
            }
            self.floor = self.floor.max(end);
            self.channels.forget_until(end);
        }
    }

    /// Ranges behind `after` that were never read.
    pub(super) fn holes(&self, after: u64) -> impl Iterator<Item = (u64, u64)> {
        let clip =
            move |(from, to): &(u64, u64)| (to > &after).then_some(((*from).max(after + 1), *to));
        self.holes.iter().filter_map(clip)
    }

    /// Whether everything behind `after` that matters to the interest is here (holes aside).
    pub(super) fn reaches(&self, interest: &Interest, after: u64) -> bool {
        if after >= self.floor {
            return true;
        }
        let exact = interest.exact().iter().all(|channel| self.channels.dropped(channel) <= after);
        exact
            && (interest.wildcards().is_empty()
                || self.channels.dropped_of(|channel| interest.covers(channel)) <= after)
    }

    /// The next messages of the interest behind `after` and up to `until`, at most `bytes` of them or one.
    pub(super) fn read(&self, interest: &Interest, after: u64, until: u64, bytes: usize) -> Chunk {
        let until = until.min(self.position);
        let mut chunk = Chunk { messages: Vec::new(), cursor: after.max(until) };
        let mut left = bytes;
        let mut take = |delivery: &Arc<Delivery>, chunk: &mut Chunk| {
            let fits = chunk.messages.is_empty()
                || (delivery.frame.len() <= left && chunk.messages.len() < MAX_CHUNK);
            if fits {
                left = left.saturating_sub(delivery.frame.len());
                chunk.messages.push(Arc::clone(delivery));
                chunk.cursor = delivery.offset;
            }
            fits
        };
        if interest.wildcards().is_empty() {
            let mut offsets = self.offsets(interest, after, until);
            offsets.sort_unstable();
            let all = offsets.len() <= MAX_CHUNK;
            for offset in offsets.into_iter().take(MAX_CHUNK) {
                if let Some(delivery) = self.get(offset)
                    && !take(delivery, &mut chunk)
                {
                    return chunk;
                }
            }
            if all {
                chunk.cursor = after.max(until);
            }
            return chunk;
        }
        let start = self.place(after + 1);
        for (count, delivery) in self.messages.range(start..).enumerate() {
            if delivery.offset > until {
                break;
            }
            if count >= MAX_LOOKED_AT {
                chunk.cursor = delivery.offset - 1;
                return chunk;
            }
            if interest.covers(&delivery.channel) && !take(delivery, &mut chunk) {
                return chunk;
            }
        }
        chunk.cursor = after.max(until);
        chunk
    }

    /// The first offsets of each channel in a range, at least the first [`MAX_CHUNK`] of all.
    fn offsets(&self, interest: &Interest, after: u64, until: u64) -> Vec<u64> {
        let mut all = Vec::new();
        for channel in interest.exact() {
            let offsets = self.channels.offsets(channel, after);
            all.extend(offsets.take_while(|offset| *offset <= until).take(MAX_CHUNK + 1));
        }
        all
    }

    /// The message at an offset.
    pub(super) fn get(&self, offset: u64) -> Option<&Arc<Delivery>> {
        self.messages.get(self.place(offset)).filter(|delivery| delivery.offset == offset)
    }

    /// Where the first message at or behind an offset is.
    fn place(&self, offset: u64) -> usize {
        // Without holes the offsets are dense, and the place is known.
        let dense =
            self.messages.front().map_or(0, |first| offset.saturating_sub(first.offset) as usize);
        match self.messages.get(dense) {
            Some(delivery) if delivery.offset == offset => dense,
            _ => self.messages.partition_point(|delivery| delivery.offset < offset),
        }
    }

    /// The last value at or before `until` of each channel of the interest, in stream order.
    pub(super) fn snapshot(&self, interest: &Interest, until: u64) -> Vec<Arc<Delivery>> {
        let mut values: Vec<Arc<Delivery>> = Vec::new();
        let mut keep = |last: Last<'_>| {
            let found = match last {
                Last::Here(delivery) => Some(delivery),
                Last::InRing(offset) => self.get(offset),
                Last::Unknown => None,
            };
            values.extend(found.cloned());
        };
        for channel in interest.exact() {
            if !interest.wildcards().iter().any(|p| wsgateway_proto::channel::matches(p, channel)) {
                keep(self.channels.last(channel, until));
            }
        }
        if !interest.wildcards().is_empty() {
            let wanted = |channel: &str| {
                interest.wildcards().iter().any(|p| wsgateway_proto::channel::matches(p, channel))
            };
            self.channels.last_of(until, wanted).for_each(keep);
        }
        values.sort_unstable_by_key(|delivery| delivery.offset);
        values
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Messages, their bytes with those of last values, and channels.
    pub(super) fn size(&self) -> (usize, usize, usize) {
        (self.messages.len(), self.bytes + self.channels.bytes(), self.channels.len())
    }
}

#[cfg(test)]
mod tests;
