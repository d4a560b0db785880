//! From a compressed payload to a message, never beyond a limit.

use flate2::{Decompress, FlushDecompress, Status};

use super::{KEEP, TAIL};
use crate::decoder::{Event, Violation, rules};
use crate::frame::Opcode;

const BROKEN: Violation =
    Violation { close_code: 1007, reason: "the compressed message cannot be inflated" };
const NOT_DATA: Violation =
    Violation { close_code: 1002, reason: "only text and binary messages are compressed" };

/// An empty final block. Fed after a message it ends the stream there and then, unless the
/// message broke off inside a block.
const FINAL: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// First room for what comes out: JSON shrinks to a fourth or so.
const USUAL_RATIO: usize = 4;
const LEAST_ROOM: usize = 256;

/// Inflates messages, each on its own. One per thread, about 50 KiB.
#[derive(Debug)]
pub struct Inflater {
    stream: Decompress,
    message: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Inflater {
    /// An inflater that holds nothing yet.
    pub fn new() -> Self {
        Self { stream: Decompress::new(false), message: Vec::new() }
    }

    /// The message of an [`Event::Deflated`]: [`Event::Text`] or [`Event::Binary`].
    ///
    /// `limit` bounds the message in bytes, and with it the memory that is held meanwhile.
    ///
    /// # Errors
    /// 1009 when the message is larger than `limit`; 1007 when the data is no sequence of whole
    /// deflate blocks, or text is not UTF-8; 1002 for an opcode that no message begins with.
    pub fn message(
        &mut self,
        opcode: Opcode,
        data: &[u8],
        limit: usize,
    ) -> Result<Event<'_>, Violation> {
        if !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(NOT_DATA);
        }
        self.release();
        self.message.clear();
        self.inflate(data, limit)?;
        Ok(match opcode {
            Opcode::Text => {
                Event::Text(std::str::from_utf8(&self.message).map_err(|_| rules::NOT_UTF8)?)
            }
            _ => Event::Binary(&self.message),
        })
    }

    /// Gives back the memory of a large message, which the next one would do as well. To be
    /// called when the event has been treated and it is not known when the next one comes.
    pub fn release(&mut self) {
        if self.message.capacity() > KEEP {
            self.message = Vec::new();
        }
    }

    /// Bytes held for the last message.
    pub fn buffered(&self) -> usize {
        self.message.capacity()
    }

    /// RFC 7692 section 7.2.2: the data, then the four bytes that its sender left out.
    fn inflate(&mut self, data: &[u8], limit: usize) -> Result<(), Violation> {
        // Strictly this is no block at all, but what a compressor that was flushed twice yields.
        if data.is_empty() {
            return Ok(());
        }
        self.stream.reset(false);
        let room = data.len().saturating_mul(USUAL_RATIO).max(LEAST_ROOM);
        self.grow(room, limit);
        let mut ended = false;
        for part in [data, &TAIL] {
            ended = self.feed(part, ended, limit)?;
        }
        if ended || self.feed(&FINAL, false, limit)? { Ok(()) } else { Err(BROKEN) }
    }

    /// Inflates all of `part`; says whether its last byte ended a final block.
    ///
    /// A sender may end a stream inside a message (BFINAL set, section 7.2.3.4): what follows
    /// from the next byte on is another one.
    fn feed(&mut self, part: &[u8], mut ended: bool, limit: usize) -> Result<bool, Violation> {
        let mut rest = part;
        // All may have been read, and more be about to come out than there was room for.
        while !rest.is_empty() || (!ended && self.is_full()) {
            if ended {
                self.stream.reset(false);
            }
            let (came, went) = (self.stream.total_in(), self.stream.total_out());
            ended = self.step(rest, limit)? == Status::StreamEnd;
            let used = usize::try_from(self.stream.total_in() - came).unwrap_or(usize::MAX);
            if used == 0 && !ended && self.stream.total_out() == went {
                return if rest.is_empty() { Ok(false) } else { Err(BROKEN) };
            }
            rest = rest.get(used..).unwrap_or_default();
        }
        Ok(ended)
    }

    /// Inflates as far as the room goes.
    fn step(&mut self, input: &[u8], limit: usize) -> Result<Status, Violation> {
        if self.is_full() {
            self.grow(self.message.capacity().saturating_mul(2), limit);
        }
        if self.message.len() < limit {
            let status =
                self.stream.decompress_vec(input, &mut self.message, FlushDecompress::None);
            // The room may be that of an earlier message with a higher limit.
            return match self.message.len() > limit {
                true => Err(rules::TOO_BIG),
                false => status.map_err(|_| BROKEN),
            };
        }
        // Nothing more may come out: whether anything does is tried with one byte elsewhere.
        let (mut probe, went) = ([0], self.stream.total_out());
        let status = self.stream.decompress(input, &mut probe, FlushDecompress::None);
        if self.stream.total_out() > went {
            return Err(rules::TOO_BIG);
        }
        status.map_err(|_| BROKEN)
    }

    fn is_full(&self) -> bool {
        self.message.len() == self.message.capacity()
    }

    /// Makes room for `wanted` bytes in all, but for no more than the limit.
    fn grow(&mut self, wanted: usize, limit: usize) {
        let wanted = wanted.min(limit);
        self.message.reserve_exact(wanted.saturating_sub(self.message.len()));
    }
}
