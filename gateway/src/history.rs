//! History: what the stream held a moment ago, shared by everything in this process that looks back.
//!
//! In: every message, from the source, before any shard has it. Out: the messages of some channels in a range of
//! offsets, and the last value of every channel. The source alone writes; shards and requests read, a chunk at a time,
//! under one lock that is held for microseconds. What is older than the ring is looked up by the [`archive`].

pub(crate) mod archive;
mod channels;
mod interest;
mod ring;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::encode::Delivery;
pub(crate) use archive::{Archive, Block};
pub(crate) use channels::MAX_QUIET;
pub(crate) use interest::Interest;
pub(crate) use ring::Bounds;
use ring::Ring;

/// Memory that a message costs besides its frame: the delivery, its channel's name, its places in the ring.
const OVERHEAD: usize = 192;

/// Bytes that a message counts for.
pub(crate) fn cost(delivery: &Arc<Delivery>) -> usize {
    delivery.frame.len() + OVERHEAD
}

/// Some messages of an interest, in stream order.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub messages: Vec<Arc<Delivery>>,
    /// There are no others up to here.
    pub cursor: u64,
}

/// What follows a cursor.
#[derive(Debug)]
pub(crate) enum Found {
    /// Messages, or none up to the chunk's cursor.
    Messages(Chunk),
    /// Everything up to here is gone: the stream discarded it before it was read.
    Gone(u64),
}

/// How far back the ring can serve an interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Everything behind the cursor is in the ring, or is known to be gone; this is the first range that is.
    Ring { hole: Option<(u64, u64)> },
    /// Something may be older than the ring: see the archive.
    Older,
}

/// Numbers for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub messages: usize,
    pub bytes: usize,
    pub channels: usize,
}

/// Everything that a reader of the past needs.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// What is in memory.
    pub history: History,
    /// What is older.
    pub archive: Archive,
}

/// Handle to the history of this process. Clones see the same.
#[derive(Clone, Debug)]
pub(crate) struct History {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    epoch: Arc<str>,
    ring: Ring,
}

impl History {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let state = State { epoch: "".into(), ring: Ring::new(bounds, 0) };
        Self { shared: Arc::new(Shared { state: Mutex::new(state) }) }
    }

    /// Another stream, or another life of it: nothing up to `floor` will be here.
    pub(crate) fn reset(&self, epoch: &Arc<str>, floor: u64) {
        let mut state = self.state();
        state.epoch = Arc::clone(epoch);
        state.ring = Ring::new(state.ring.bounds(), floor);
    }

    /// The next message.
    pub(crate) fn push(&self, delivery: &Arc<Delivery>, now_ms: i64) {
        self.state().ring.push(delivery, now_ms);
    }

    /// The stream has been read up to here.
    pub(crate) fn advance(&self, position: u64) {
        self.state().ring.advance(position);
    }

    /// These offsets were discarded before they were read.
    pub(crate) fn lost(&self, from: u64, to: u64) {
        self.state().ring.lost(from, to);
    }

    /// The newest message of a channel from before everything that was pushed, a value or a deletion. Never replaces what
    /// is known of its channel, and finds no place when the bounds leave none. They come in any order. Ignored when the
    /// history is another stream's by now.
    pub(crate) fn seed(&self, epoch: &Arc<str>, delivery: &Arc<Delivery>) {
        let mut state = self.state();
        if state.epoch == *epoch {
            state.ring.seed(delivery);
        }
    }

    /// Every channel whose newest message is behind `offset` has been seeded or pushed; 0: every channel of the stream.
    pub(crate) fn seeded(&self, epoch: &Arc<str>, offset: u64) {
        let mut state = self.state();
        if state.epoch == *epoch {
            state.ring.seeded(offset);
        }
    }

    /// The stream's identity, and the last offset read.
    pub(crate) fn now(&self) -> (Arc<str>, u64) {
        let state = self.state();
        (Arc::clone(&state.epoch), state.ring.position())
    }

    /// A look at the history of this stream; `None` when it is another one's by now.
    pub(crate) fn view(&self, epoch: &Arc<str>) -> Option<View<'_>> {
        let state = self.state();
        (state.epoch == *epoch).then_some(View { state })
    }

    /// How much is kept.
    pub(crate) fn bounds(&self) -> Bounds {
        self.state().ring.bounds()
    }

    /// Keeps so much from now on. What is beyond is dropped in parts, so that nobody waits long for the lock.
    pub(crate) fn set_bounds(&self, bounds: Bounds, now_ms: i64) {
        self.state().ring.set_bounds(bounds);
        while self.state().ring.trim(now_ms) {}
    }

    pub(crate) fn size(&self) -> Size {
        let (messages, bytes, channels) = self.state().ring.size();
        Size { messages, bytes, channels }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The history while nobody writes to it: for microseconds.
#[derive(Debug)]
pub(crate) struct View<'a> {
    state: MutexGuard<'a, State>,
}

impl View<'_> {
    /// Where what follows `after` is to be found.
    pub(crate) fn reach(&self, interest: &Interest, after: u64) -> Reach {
        let ring = &self.state.ring;
        match ring.reaches(interest, after) {
            true => Reach::Ring { hole: ring.hole(after) },
            false => Reach::Older,
        }
    }

    /// What comes next behind `after`, at or before `until`: about `bytes` of messages, or the end of a range that is
    /// gone. `None` when the ring does not reach back to `after` any more.
    pub(crate) fn read(
        &self,
        interest: &Interest,
        after: u64,
        until: u64,
        bytes: usize,
    ) -> Option<Found> {
        let ring = &self.state.ring;
        if !ring.reaches(interest, after) {
            return None;
        }
        Some(match ring.hole(after).filter(|(from, _)| *from <= until) {
            Some((from, to)) if from == after + 1 => Found::Gone(to.min(until)),
            hole => {
                let until = hole.map_or(until, |(from, _)| from - 1);
                Found::Messages(ring.read(interest, after, until, bytes))
            }
        })
    }

    /// The next last values behind `after` and at or before `until`, in stream order: about `bytes` of them. A channel that
    /// has spoken since has none.
    pub(crate) fn values(
        &self,
        interest: &Interest,
        after: u64,
        until: u64,
        bytes: usize,
    ) -> Chunk {
        self.state.ring.values(interest, after, until, bytes)
    }

    /// The first range behind `after` that is gone: the stream discarded it before it was read.
    pub(crate) fn hole(&self, after: u64) -> Option<(u64, u64)> {
        self.state.ring.hole(after)
    }

    /// Last values of the interest at or before this offset may be missing here, and are to be looked up; 0: none is.
    pub(crate) fn unknown_until(&self, interest: &Interest) -> u64 {
        self.state.ring.unknown_until(interest)
    }

    /// Whether the channel's newest message is known: then what was looked up of it is older, or the same.
    pub(crate) fn knows(&self, channel: &str) -> bool {
        self.state.ring.knows(channel)
    }

    /// The message at an offset, if the ring has it.
    pub(crate) fn get(&self, offset: u64) -> Option<Arc<Delivery>> {
        self.state.ring.get(offset).cloned()
    }

    /// Offset of the last message that was stored before a time (Unix ms), as far as the ring goes back.
    pub(crate) fn offset_before(&self, ts: i64) -> u64 {
        self.state.ring.offset_before(ts)
    }

    /// Offsets up to here may be missing in the ring, and nobody knows which.
    pub(crate) fn floor(&self) -> u64 {
        self.state.ring.floor()
    }
}
