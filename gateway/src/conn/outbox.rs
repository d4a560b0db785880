//! Outbox: what a client's socket did not take yet, as references to shared frames.
//!
//! There is one only while something waits. How much may wait is [`super::slow`]'s judgement; here is the order, the
//! count of bytes, and conflation: of a `Latest` channel only the newest message needs to wait, and it says which
//! offsets before it are gone. What must hold: a frame that was begun is finished, and per channel the order stays.

mod entry;

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, Write};
use std::sync::Arc;

use bytes::Bytes;

use crate::encode::Delivery;
use entry::{Entry, Skipped};

/// Slices handed to one vectored write; the kernel takes up to 1,024, a cache line holds four.
const SLICES: usize = 64;

/// Frames in order; the first may be half sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Entry>,
    bytes: usize,
    started: bool,
    /// `Latest` messages added since the last conflation.
    fresh: usize,
    /// Tick at which the pressure began.
    pressed_since: Option<u32>,
}

impl Outbox {
    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames that wait.
    pub(crate) fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Tick at which the pressure began, if there is any.
    pub(crate) fn pressed_since(&self) -> Option<u32> {
        self.pressed_since
    }

    /// Notes the pressure; true when it is new.
    pub(crate) fn press(&mut self, now: u32) -> bool {
        let new = self.pressed_since.is_none();
        self.pressed_since.get_or_insert(now);
        new
    }

    /// The pressure is over.
    pub(crate) fn relieve(&mut self) {
        self.pressed_since = None;
    }

    /// Adds a frame behind the others.
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(Entry { frame, latest: None, skipped: None });
    }

    /// Adds a message of a `Latest` channel, whose frame for this client is `frame`.
    pub(crate) fn push_latest(&mut self, frame: Bytes, delivery: Arc<Delivery>) {
        self.bytes += frame.len();
        self.fresh += 1;
        self.frames.push_back(Entry { frame, latest: Some(delivery), skipped: None });
    }

    /// Adds the rest of a frame whose beginning the socket has taken. It must be the first.
    pub(crate) fn push_rest(&mut self, rest: Bytes) {
        debug_assert!(self.frames.is_empty(), "only the first frame can be half sent");
        self.started = true;
        self.push(rest);
    }

    /// Whether conflation pays: enough has come that a walk over everything costs little per message.
    pub(crate) fn is_worth_conflating(&self) -> bool {
        self.fresh * 4 >= self.frames.len().max(1)
    }

    /// Keeps only the newest message of every `Latest` channel. Returns how many are gone.
    pub(crate) fn conflate(&mut self) -> u64 {
        if std::mem::take(&mut self.fresh) == 0 {
            return 0;
        }
        let mut newest: HashMap<&str, &mut Option<Skipped>> = HashMap::new();
        let begun = usize::from(self.started);
        // From the newest to the oldest; what was begun is not to be touched.
        for entry in self.frames.iter_mut().skip(begun).rev() {
            let Some(delivery) = entry.latest.as_deref() else { continue };
            match newest.get_mut(&*delivery.channel) {
                None => {
                    newest.insert(&delivery.channel, &mut entry.skipped);
                }
                Some(skipped) => {
                    let gone = Skipped::with(entry.skipped.take(), delivery.offset);
                    **skipped = Some(gone.before(skipped.take()));
                    entry.frame.clear();
                }
            }
        }
        let before = self.frames.len();
        let mut place = 0;
        self.frames.retain(|entry| {
            place += 1;
            place <= begun || !entry.frame.is_empty()
        });
        self.bytes = self.frames.iter().map(|entry| entry.frame.len()).sum();
        (before - self.frames.len()) as u64
    }

    /// Drops everything but a frame that was begun: cutting that one would break the stream of frames. Returns the
    /// bytes given back.
    pub(crate) fn keep_started(&mut self) -> usize {
        let before = self.bytes;
        self.frames.truncate(usize::from(self.started));
        self.bytes = self.frames.iter().map(|entry| entry.frame.len()).sum();
        before - self.bytes
    }

    /// Writes as much as the socket takes; the outbox is empty when [`Outbox::bytes`] says 0.
    ///
    /// # Errors
    /// Any error of the socket but `WouldBlock`.
    pub(crate) fn write_to(&mut self, mut socket: impl Write) -> io::Result<()> {
        while !self.frames.is_empty() {
            self.tell_gaps();
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, entry) in slices.iter_mut().zip(&self.frames) {
                *slice = IoSlice::new(&entry.frame);
                count += 1;
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

    /// Puts the gap that a message must tell of in front of it, for those that are about to leave. From then on the
    /// range is settled: such a message is not replaced any more.
    fn tell_gaps(&mut self) {
        for entry in self.frames.iter_mut().take(SLICES) {
            let before = entry.frame.len();
            entry.tell_gap();
            self.bytes += entry.frame.len() - before;
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.frames.front_mut() {
            if written < first.frame.len() {
                self.started |= written > 0;
                let _sent = first.frame.split_to(written);
                return;
            }
            written -= first.frame.len();
            self.started = false;
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
