//! Outbox: what a client's socket did not take yet, as references to shared frames.
//!
//! There is one only while something waits. How much may wait is [`super::slow`]'s judgement; here is the order, the
//! count of bytes, and conflation: of a `Latest` channel only the newest message needs to wait, and it says which
//! offsets before it are gone. What must hold: a frame that was begun is finished, and per channel the order stays.

mod entry;
pub(crate) mod memory;

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, Write};
use std::sync::Arc;

use bytes::Bytes;

use entry::Entry;
pub(crate) use entry::Latest;
use memory::{Charge, Meter, Shared};

use crate::encode::Skipped;

/// Slices handed to one vectored write; the kernel takes up to 1,024, a cache line holds four.
const SLICES: usize = 64;

/// Bytes handed to one vectored write, or the first frame: about what a socket takes at once, since whatever is handed
/// over is not conflated any more.
const WRITE: usize = 16 << 10;

/// What conflation leaves of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The newest message, and the one that survived before: it moves to the front, so that a channel with more
    /// messages than the client can read still gets some through.
    Survivor,
    /// The newest message alone: the last resort.
    Newest,
}

/// A frame as it is queued: shared with other outboxes, or this one's own.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub bytes: Bytes,
    /// Present if other outboxes may hold the same memory, which is then charged once for all of them.
    pub shared: Option<Shared>,
}

impl From<Bytes> for Frame {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, shared: None }
    }
}

/// Frames in order; the first may be half sent.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: VecDeque<Entry>,
    bytes: usize,
    /// Bytes of frames that nobody shares.
    own: usize,
    /// Bytes that were encrypted and wait before all frames, with whoever encrypted them.
    encrypted: usize,
    /// What the shard is charged for this outbox alone.
    charge: Charge,
    started: bool,
    /// Whether the client reads events.
    events: bool,
    /// `Latest` messages added since the last conflation.
    fresh: usize,
    /// Tick at which the pressure began.
    pressed_since: Option<u32>,
    /// Bytes that may wait here even if the bound is lower by now.
    granted: u32,
    /// Whether a timer will look at the pressure.
    pub timer: bool,
}

impl Outbox {
    /// An empty outbox whose memory is charged to this meter; `events`: of an event stream.
    pub(crate) fn new(meter: &Meter, events: bool) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            own: 0,
            encrypted: 0,
            charge: Charge::new(meter),
            started: false,
            events,
            fresh: 0,
            pressed_since: None,
            granted: 0,
            timer: false,
        }
    }

    /// What waits for this client (bytes): every frame in full, and what each costs besides.
    pub(crate) fn cost(&self) -> usize {
        self.bytes + self.encrypted + self.frames.len() * size_of::<Entry>()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.encrypted == 0
    }

    /// So many bytes wait encrypted.
    pub(crate) fn set_encrypted(&mut self, bytes: usize) {
        self.encrypted = bytes;
        self.settle_charge();
    }

    /// Frames that wait.
    pub(crate) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Tick at which the pressure began, if there is any.
    pub(crate) fn pressed_since(&self) -> Option<u32> {
        self.pressed_since
    }

    /// Lets so many bytes wait here, as long as something does, whatever the bound is from now on.
    pub(crate) fn grant(&mut self, bytes: usize) {
        self.granted = self.granted.max(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Bytes that may wait here in any case.
    pub(crate) fn granted(&self) -> usize {
        self.granted as usize
    }

    /// Notes the pressure.
    pub(crate) fn press(&mut self, now: u32) {
        self.pressed_since.get_or_insert(now);
    }

    /// The pressure is over.
    pub(crate) fn relieve(&mut self) {
        self.pressed_since = None;
    }

    /// Adds a frame behind the others.
    pub(crate) fn push(&mut self, frame: impl Into<Frame>) {
        self.add(frame.into(), None, None);
    }

    fn add(&mut self, frame: Frame, latest: Option<Latest>, skipped: Option<Skipped>) {
        let Frame { bytes, shared } = frame;
        self.bytes += bytes.len();
        self.own += if shared.is_some() { 0 } else { bytes.len() };
        self.frames.push_back(Entry { frame: bytes, shared, latest, skipped });
        self.settle_charge();
    }

    /// Charges what this outbox holds alone.
    fn settle_charge(&mut self) {
        let entries = self.frames.capacity() * size_of::<Entry>();
        self.charge.set(self.own + self.encrypted + entries);
    }

    /// Counts everything anew, after frames were dropped.
    fn recount(&mut self) {
        self.bytes = self.frames.iter().map(|entry| entry.frame.len()).sum();
        let own = self.frames.iter().filter(|entry| entry.shared.is_none());
        self.own = own.map(|entry| entry.frame.len()).sum();
        self.settle_charge();
    }

    /// Adds a message of a `Latest` channel, whose frame for this client is `frame`; it has replaced `skipped` already.
    pub(crate) fn push_latest(
        &mut self,
        frame: impl Into<Frame>,
        latest: Latest,
        skipped: Option<Skipped>,
    ) {
        self.fresh += 1;
        self.add(frame.into(), Some(latest), skipped);
    }

    /// Adds the rest of a frame whose beginning the socket has taken. It must be the first.
    pub(crate) fn push_rest(&mut self, rest: impl Into<Frame>) {
        debug_assert!(self.frames.is_empty(), "only the first frame can be half sent");
        self.started = true;
        self.push(rest);
    }

    /// Whether conflation pays: enough has come that a walk over everything costs little per message.
    pub(crate) fn is_worth_conflating(&self) -> bool {
        self.fresh > 0 && self.fresh * 4 >= self.frames.len()
    }

    /// Drops messages of `Latest` channels that newer ones replace. Returns how many are gone.
    pub(crate) fn conflate(&mut self, keep: Keep) -> u64 {
        self.fresh = 0;
        // What was begun is not to be touched.
        let begun = usize::from(self.started);
        let mut channels: HashMap<Arc<str>, Channel> = HashMap::new();
        for (place, entry) in self.frames.iter().enumerate().skip(begun) {
            let Some(latest) = &entry.latest else { continue };
            let channel = channels.entry(Arc::clone(&latest.channel)).or_default();
            channel.newest = place;
            if keep == Keep::Survivor && entry.skipped.is_some() {
                channel.survivor.get_or_insert(place);
            }
        }
        for (place, entry) in self.frames.iter_mut().enumerate().skip(begun) {
            let Some(latest) = &entry.latest else { continue };
            let Some(channel) = channels.get_mut(&latest.channel) else { continue };
            if place == channel.newest {
                entry.skipped = Skipped::join(channel.gone, entry.skipped);
            } else if Some(place) != channel.survivor {
                let before = Skipped::join(channel.gone, entry.skipped);
                channel.gone = Some(Skipped::with(before, latest.offset));
                entry.frame.clear();
            }
        }
        let before = self.frames.len();
        let mut place = 0;
        self.frames.retain(|entry| {
            place += 1;
            place <= begun || !entry.frame.is_empty()
        });
        self.recount();
        (before - self.frames.len()) as u64
    }

    /// Drops everything but a frame that was begun: cutting that one would break the stream of frames.
    pub(crate) fn keep_started(&mut self) {
        self.frames.truncate(usize::from(self.started));
        self.recount();
    }

    /// Writes as much as the socket takes.
    ///
    /// # Errors
    /// Any error of the socket but `WouldBlock`.
    pub(crate) fn write_to(&mut self, mut socket: impl Write) -> io::Result<()> {
        while !self.frames.is_empty() {
            let count = self.settle();
            let mut slices = [IoSlice::new(&[]); SLICES];
            for (slice, entry) in slices.iter_mut().zip(&self.frames).take(count) {
                *slice = IoSlice::new(&entry.frame);
            }
            match socket.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Chooses the frames of the next write and puts the gaps that they must tell of in front of them. Such a
    /// message is not replaced any more: its gap may be on its way.
    fn settle(&mut self) -> usize {
        let (mut count, mut bytes, events) = (0, 0, self.events);
        for entry in self.frames.iter_mut().take(SLICES) {
            if bytes >= WRITE {
                break;
            }
            let (before, shared) = (entry.frame.len(), entry.shared.is_some());
            entry.tell_gap(events);
            self.bytes += entry.frame.len() - before;
            // A frame with a gap in front of it is a copy.
            self.own += match entry.shared {
                None if shared => entry.frame.len(),
                None => entry.frame.len() - before,
                Some(_) => 0,
            };
            bytes += entry.frame.len();
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.frames.front_mut() {
            let own = first.shared.is_none();
            if written < first.frame.len() {
                self.started |= written > 0;
                let _sent = first.frame.split_to(written);
                self.own -= if own { written } else { 0 };
                break;
            }
            let sent = first.frame.len();
            written -= sent;
            self.own -= if own { sent } else { 0 };
            self.started = false;
            self.frames.pop_front();
        }
        self.settle_charge();
    }
}

/// What a conflation knows of a channel.
#[derive(Debug, Default)]
struct Channel {
    newest: usize,
    survivor: Option<usize>,
    /// Messages dropped behind the survivor.
    gone: Option<Skipped>,
}

#[cfg(test)]
mod tests;
