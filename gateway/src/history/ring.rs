//! Ring: the recent messages of one stream, in stream order, bounded in number, bytes and age.
//!
//! A pure structure: time comes in as a parameter. What must hold: every message of the stream behind `floor` and up to
//! `position` is here, except those in `holes`, which the stream has discarded before they were read, and of what is
//! before `lost_until` it is not known what was discarded.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use super::channels::Channels;
use super::interest::Interest;
use super::{Chunk, cost};
use crate::encode::Delivery;

/// Comparisons of a channel with a pattern for one chunk: bounds the time that the lock is held (each takes about 50 ns).
const MAX_COMPARED: usize = 4_096;

/// Most messages in one chunk.
const MAX_CHUNK: usize = 256;

/// Messages and last values dropped in one go, about half a millisecond under the lock: more are dropped at once only after
/// the bounds were lowered, or when a silent stream's messages have grown too old together.
const MAX_TRIMMED: usize = 4_096;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub messages: usize,
    /// Of the messages in the ring; last values outside it get half as much besides.
    pub bytes: usize,
    pub age_ms: i64,
}

impl Bounds {
    /// Bytes of last values outside the ring.
    pub(crate) fn quiet_bytes(&self) -> usize {
        self.bytes / 2
    }
}

#[derive(Debug)]
pub(super) struct Ring {
    bounds: Bounds,
    messages: VecDeque<Arc<Delivery>>,
    bytes: usize,
    /// Offset of the last message that left the ring, or of the last one before it began.
    floor: u64,
    position: u64,
    /// Ranges that were never read, in order and apart from each other.
    holes: VecDeque<(u64, u64)>,
    /// End of the last range that was never read and is not among `holes` any more.
    lost_until: u64,
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
            lost_until: 0,
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
        self.trim(now_ms);
    }

    /// How much is kept.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Keeps so much from now on; see [`Ring::trim`] for what is beyond.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Drops some of what is beyond the bounds; true when there may be more.
    pub(super) fn trim(&mut self, now_ms: i64) -> bool {
        let oldest = now_ms.saturating_sub(self.bounds.age_ms);
        for _ in 0..MAX_TRIMMED {
            let is_beyond = self.messages.front().is_some_and(|first| {
                self.messages.len() > self.bounds.messages
                    || self.bytes > self.bounds.bytes
                    || first.ts < oldest
            });
            if !is_beyond {
                return self.channels.trim(self.bounds.quiet_bytes(), MAX_TRIMMED);
            }
            self.evict();
        }
        true
    }

    fn evict(&mut self) {
        let Some(first) = self.messages.pop_front() else { return };
        self.bytes -= cost(&first);
        self.floor = first.offset;
        self.channels.evict(&first);
        while let Some((_, to)) = self.holes.front().filter(|(_, to)| *to <= self.floor) {
            self.lost_until = self.lost_until.max(*to);
            self.holes.pop_front();
        }
    }

    /// The stream has nothing up to here that was not pushed or lost.
    pub(super) fn advance(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// These offsets were discarded before anybody here could read them.
    pub(super) fn lost(&mut self, from: u64, to: u64) {
        let from = from.max(self.position + 1);
        if from > to {
            return;
        }
        match self.holes.back_mut() {
            Some((_, end)) if *end + 1 == from => *end = to,
            _ => self.holes.push_back((from, to)),
        }
        self.position = to;
        // Between two of them is a message, as a rule one that is here: the bound is for rules that drop repetitions.
        if self.holes.len() > self.bounds.messages + 1
            && let Some((_, to)) = self.holes.pop_front()
        {
            self.lost_until = to;
        }
    }

    /// The first range behind `after` that was never read.
    pub(super) fn hole(&self, after: u64) -> Option<(u64, u64)> {
        let place = self.holes.partition_point(|(_, to)| *to <= after);
        self.holes.get(place).map(|(from, to)| ((*from).max(after + 1), *to))
    }

    /// A channel's newest message from before the ring: see [`Channels::seed`].
    pub(super) fn seed(&mut self, delivery: &Arc<Delivery>) {
        if delivery.offset <= self.floor {
            self.channels.seed(delivery, self.bounds.quiet_bytes());
        }
    }

    /// See [`Channels::seeded`].
    pub(super) fn seeded(&mut self, offset: u64) {
        self.channels.seeded(offset);
    }

    /// See [`Channels::unknown_until`].
    pub(super) fn unknown_until(&self, interest: &Interest) -> u64 {
        self.channels.unknown_until(interest)
    }

    /// See [`Channels::knows`].
    pub(super) fn knows(&self, channel: &str) -> bool {
        self.channels.knows(channel)
    }

    /// Whether everything behind `after` that matters to the interest is here (holes aside). Where finding out would
    /// take long, the answer is no.
    pub(super) fn reaches(&self, interest: &Interest, after: u64) -> bool {
        if after >= self.floor {
            return after >= self.lost_until;
        }
        let few = || self.channels.len() * interest.wildcards().len() <= MAX_COMPARED;
        after >= self.lost_until
            && interest.exact().iter().all(|channel| self.channels.dropped(channel) <= after)
            && (interest.wildcards().is_empty()
                || few() && self.channels.dropped_of(|channel| interest.covers(channel)) <= after)
    }

    /// The next messages of the interest behind `after` and up to `until`, at most `bytes` of them or one.
    pub(super) fn read(&self, interest: &Interest, after: u64, until: u64, bytes: usize) -> Chunk {
        let until = until.min(self.position);
        match interest.wildcards().is_empty() {
            true => chunk(self.exact(interest, after, until), (after, until), bytes),
            false => {
                let start = self.place(after + 1);
                let messages = self.messages.range(start..);
                chunk(seen(interest, messages, |_| true), (after, until), bytes)
            }
        }
    }

    /// The next last values behind `after` and at or before `until`, in stream order, as [`Ring::read`] gives messages.
    /// A channel that has spoken since has none.
    pub(super) fn values(
        &self,
        interest: &Interest,
        after: u64,
        until: u64,
        bytes: usize,
    ) -> Chunk {
        if !interest.wildcards().is_empty() {
            let lasts = self.channels.lasts(after, until);
            let value = |last: &Delivery| last.deleted.is_none();
            return chunk(seen(interest, lasts, value), (after, until), bytes);
        }
        let lasts = interest.exact().iter().filter_map(|channel| self.channels.last(channel));
        let mut lasts: Vec<_> = lasts.filter(|last| after < last.offset).collect();
        lasts.sort_unstable_by_key(|last| last.offset);
        chunk(lasts.into_iter().map(Seen::Wanted), (after, until), bytes)
    }

    /// The messages of the exact channels behind `after`, in stream order.
    fn exact<'a>(
        &'a self,
        interest: &'a Interest,
        after: u64,
        until: u64,
    ) -> impl Iterator<Item = Seen<'a>> {
        let channels = interest.exact().iter();
        let mut rests: Vec<_> =
            channels.map(|channel| self.channels.offsets(channel, after)).collect();
        let mut next: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::with_capacity(rests.len());
        for (place, rest) in rests.iter_mut().enumerate() {
            next.extend(rest.next().map(|offset| Reverse((offset, place))));
        }
        std::iter::from_fn(move || {
            let Reverse((offset, place)) = next.pop().filter(|next| next.0.0 <= until)?;
            let rest = rests.get_mut(place).and_then(Iterator::next);
            next.extend(rest.map(|offset| Reverse((offset, place))));
            self.get(offset).map(Seen::Wanted)
        })
    }

    /// The message at an offset.
    pub(super) fn get(&self, offset: u64) -> Option<&Arc<Delivery>> {
        self.messages.get(self.place(offset)).filter(|delivery| delivery.offset == offset)
    }

    /// Offset of the last message that was stored before a time (Unix ms), or the last one that is not here any more.
    pub(super) fn offset_before(&self, ts: i64) -> u64 {
        let place = self.messages.partition_point(|message| message.ts < ts);
        let last = place.checked_sub(1).and_then(|place| self.messages.get(place));
        last.map_or(self.floor, |message| message.offset)
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

    /// From here on everything is here, or known to be gone.
    pub(super) fn floor(&self) -> u64 {
        self.floor.max(self.lost_until)
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Messages, their bytes with those of last values, and channels.
    pub(super) fn size(&self) -> (usize, usize, usize) {
        (self.messages.len(), self.bytes + self.channels.bytes(), self.channels.len())
    }
}

/// A message on the way to a chunk.
enum Seen<'a> {
    Wanted(&'a Arc<Delivery>),
    /// Not of the interest.
    Other,
    /// Enough has been looked at: go on with this offset.
    Enough(u64),
}

/// Tells messages of the interest from others, as many as may be looked at in one go.
fn seen<'a>(
    interest: &'a Interest,
    messages: impl Iterator<Item = &'a Arc<Delivery>>,
    wanted: impl Fn(&Delivery) -> bool,
) -> impl Iterator<Item = Seen<'a>> {
    let most = (MAX_COMPARED / interest.len().max(1)).max(16);
    messages.enumerate().map(move |(count, delivery)| match delivery {
        delivery if count >= most => Seen::Enough(delivery.offset),
        delivery if !wanted(delivery) => Seen::Other,
        delivery if interest.covers(&delivery.channel) => Seen::Wanted(delivery),
        _ => Seen::Other,
    })
}

/// Takes what comes behind `after` up to `until`, as far as it fits into `bytes` (or one message).
fn chunk<'a>(
    messages: impl Iterator<Item = Seen<'a>>,
    (after, until): (u64, u64),
    bytes: usize,
) -> Chunk {
    let mut chunk = Chunk { messages: Vec::new(), cursor: after };
    let mut left = bytes;
    for seen in messages {
        let delivery = match seen {
            Seen::Other => continue,
            Seen::Enough(offset) => {
                chunk.cursor = (offset - 1).min(until).max(after);
                return chunk;
            }
            Seen::Wanted(delivery) if delivery.offset > until => break,
            Seen::Wanted(delivery) => delivery,
        };
        let len = delivery.frame.len();
        if !chunk.messages.is_empty() && (len > left || chunk.messages.len() >= MAX_CHUNK) {
            return chunk;
        }
        left = left.saturating_sub(len);
        chunk.messages.push(Arc::clone(delivery));
        chunk.cursor = delivery.offset;
    }
    chunk.cursor = after.max(until);
    chunk
}

#[cfg(test)]
mod tests;
