//! What is held while a frame or a message is unfinished.
//!
//! One box per connection, there only as long as it is needed. Control frames may come between
//! the fragments of a message, so each has a buffer of its own.

use super::header::{FrameHeader, MAX_HEADER};
use super::rules::{self, Unfinished};
use super::{Done, Form, Limits, Violation};
use crate::frame::{self, Opcode};

/// The frame whose payload is being read.
#[derive(Debug)]
struct Current {
    header: FrameHeader,
    /// Payload bytes read so far.
    read: u64,
}

/// A message whose last byte has not come.
#[derive(Debug)]
struct Message {
    form: Form,
    fragments: u32,
    data: Vec<u8>,
    /// Bytes of `data` known to be whole characters (plain text only).
    checked: usize,
}

/// What the last event borrowed, to be given back before the next one is read.
#[derive(Debug, Default, PartialEq, Eq)]
enum Lent {
    #[default]
    Nothing,
    Control,
    Message,
}

/// State of an unfinished frame or message.
#[derive(Debug, Default)]
pub(super) struct Partial {
    header: [u8; MAX_HEADER],
    header_len: u8,
    lent: Lent,
    current: Option<Current>,
    message: Option<Message>,
    control: Vec<u8>,
}

impl Partial {
    /// A frame's header is complete and its payload is not.
    pub(super) fn in_frame(&self) -> bool {
        self.current.is_some()
    }

    /// A frame's header has begun.
    pub(super) fn in_header(&self) -> bool {
        self.header_len > 0
    }

    pub(super) fn control(&self) -> &[u8] {
        &self.control
    }

    pub(super) fn message(&self) -> &[u8] {
        self.message.as_ref().map_or(&[], |message| &message.data)
    }

    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        let message = self.message.as_ref()?;
        Some(Unfinished { bytes: message.data.len(), fragments: message.fragments })
    }

    pub(super) fn buffered(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.data.capacity());
        usize::from(self.header_len) + self.control.capacity() + message
    }

    /// Frees what the last event borrowed; true when nothing is left to hold.
    pub(super) fn release(&mut self) -> bool {
        match std::mem::take(&mut self.lent) {
            Lent::Nothing => {}
            Lent::Control => self.control = Vec::new(),
            Lent::Message => self.message = None,
        }
        !self.in_header() && !self.in_frame() && self.message.is_none()
    }

    /// Adds `rest` to the header begun before, up to its end. Slow and rare: byte by byte.
    pub(super) fn header(
        &mut self,
        rest: &[u8],
        pos: &mut usize,
        parse: impl Fn(&[u8]) -> Result<Option<(FrameHeader, usize)>, Violation>,
    ) -> Result<Option<FrameHeader>, Violation> {
        for byte in rest {
            let Some(place) = self.header.get_mut(usize::from(self.header_len)) else { break };
            *place = *byte;
            self.header_len += 1;
            *pos += 1;
            let known = self.header.get(..usize::from(self.header_len)).unwrap_or_default();
            if let Some((header, _)) = parse(known)? {
                self.header_len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Makes a frame the current one. It passed [`rules::data_frame`] if it is a data frame.
    pub(super) fn begin(&mut self, header: FrameHeader) {
        self.current = Some(Current { header, read: 0 });
        if header.opcode.is_control() {
            // At most 125 bytes.
            self.control.reserve_exact(usize::try_from(header.len).unwrap_or_default());
            return;
        }
        let message = self.message.get_or_insert_with(|| Message {
            form: header.form(),
            fragments: 0,
            data: Vec::new(),
            checked: 0,
        });
        message.fragments = message.fragments.saturating_add(1);
    }

    /// Takes what there is of the current frame's payload; says so when an event is complete.
    pub(super) fn payload(
        &mut self,
        input: &mut [u8],
        pos: &mut usize,
        limits: &Limits,
    ) -> Result<Option<Done>, Violation> {
        let Some(current) = self.current.as_mut() else { return Ok(None) };
        let header = current.header;
        let left = header.len - current.read;
        let here = input.get_mut(*pos..).unwrap_or_default();
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(here.len());
        let piece = here.get_mut(..taken).unwrap_or_default();
        frame::mask(piece, header.key, (current.read & 3) as usize);
        *pos += taken;
        current.read += taken as u64;
        let ended = current.read == header.len;
        if ended {
            self.current = None;
        }
        if header.opcode.is_control() {
            self.control.extend_from_slice(piece);
            if ended {
                self.lent = Lent::Control;
            }
            return Ok(ended.then_some(Done::Control(header.form())));
        }
        let Some(message) = self.message.as_mut() else { return Ok(None) };
        message.push(piece, limits);
        message.check()?;
        if !(ended && header.fin) {
            return Ok(None);
        }
        self.lent = Lent::Message;
        Ok(Some(Done::Message(message.form)))
    }
}

impl Message {
    /// Appends; the buffer doubles with what came, and never beyond the limit.
    fn push(&mut self, piece: &[u8], limits: &Limits) {
        let needed = self.data.len() + piece.len();
        if needed > self.data.capacity() {
            let capacity = needed.max(self.data.capacity() * 2);
            let capacity = capacity.min(limits.message_bytes).max(needed);
            self.data.reserve_exact(capacity - self.data.len());
        }
        self.data.extend_from_slice(piece);
    }

    /// Fails as soon as text cannot become valid. A character may be cut by any boundary: its
    /// first bytes, three at most, are looked at again with the next piece.
    fn check(&mut self) -> Result<(), Violation> {
        if self.form != (Form { opcode: Opcode::Text, deflated: false }) {
            return Ok(());
        }
        let unchecked = self.data.get(self.checked..).unwrap_or_default();
        match std::str::from_utf8(unchecked) {
            Ok(_) => self.checked = self.data.len(),
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(rules::NOT_UTF8),
        }
        Ok(())
    }
}
