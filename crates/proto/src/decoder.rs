//! Frames in: a byte stream becomes messages and control frames (RFC 6455 sections 5 and 7.4).
//!
//! In: whatever a read returned, in a buffer that the caller reuses. Out: events that borrow from
//! that buffer, or from the decoder when a frame came in pieces. The caller owns the decoder, one
//! per connection; a message is held only while it is unfinished, in one box that is given back
//! when it ends.
//!
//! What must hold: any cut of the stream into reads yields the same events; nothing is held that
//! the limits forbid, and memory grows with the bytes that came, never with a length that was
//! only announced; after a violation or a close frame nothing is read any more.

mod header;
mod partial;
pub(crate) mod rules;

use thiserror::Error;

use crate::frame::{self, Opcode, Role};
use header::FrameHeader;
use partial::Partial;

/// What one connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message in bytes, all fragments together. A compressed one is measured as it
    /// comes; the inflater measures what becomes of it.
    pub message_bytes: usize,
    /// Most frames in one fragmented message.
    pub fragments: u32,
    /// The handshake agreed on permessage-deflate: messages may come compressed (RFC 7692).
    pub deflate: bool,
}

/// What a peer sent. Borrows from the input or from the decoder: use it before the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A whole message, text or binary as the opcode says, still compressed: give it to an
    /// [`Inflater`](crate::deflate::Inflater). Comes only where [`Limits::deflate`] is set.
    Deflated(Opcode, &'a [u8]),
    /// Answer it with a pong of the same payload.
    Ping(&'a [u8]),
    /// An answer to a ping, or a sign of life unasked.
    Pong(&'a [u8]),
    /// The peer's last frame; what follows it is dropped unread.
    Close(Option<CloseFrame<'a>>),
}

impl Event<'_> {
    /// Whether it is a message, and not a control frame.
    pub const fn is_message(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_) | Self::Deflated(..))
    }
}

/// Why a peer closes (RFC 6455 section 5.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseFrame<'a> {
    /// One of the codes that may appear on the wire.
    pub code: u16,
    /// Text for a log, at most 123 bytes.
    pub reason: &'a str,
}

/// A peer broke the protocol or a limit: close the connection with this code and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{reason} (close code {close_code})")]
pub struct Violation {
    /// 1002 (protocol), 1007 (not UTF-8) or 1009 (too big).
    pub close_code: u16,
    /// What was wrong, fit for a close frame.
    pub reason: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// A close frame came: the rest of the stream means nothing.
    Closed,
    Failed,
}

const FAILED_BEFORE: Violation =
    Violation { close_code: 1002, reason: "the stream has broken the protocol before" };

/// Where the payload of a finished event lies.
enum Done {
    /// At this place of the input, already unmasked.
    InPlace(Form, std::ops::Range<usize>),
    /// A control frame that came in pieces.
    Control(Form),
    /// A message that came in pieces.
    Message(Form),
}

/// What the first frame of an event says about all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    opcode: Opcode,
    deflated: bool,
}

/// Decoder of one direction of one connection.
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    phase: Phase,
    role: Role,
}

impl Decoder {
    /// A decoder at the start of a stream, on the side that `role` names.
    pub const fn new(role: Role) -> Self {
        Self { partial: None, phase: Phase::Open, role }
    }

    /// Reads on in `input` from `*pos`, unmasking in place, up to the end of the next event.
    /// `None` when all input is consumed: then read more.
    ///
    /// A message whose only frame lies complete in `input` is handed out in place, uncopied.
    ///
    /// # Errors
    /// A [`Violation`]. The stream is beyond repair then: every later call fails as well.
    pub fn next<'d>(
        &'d mut self,
        input: &'d mut [u8],
        pos: &mut usize,
        limits: &Limits,
    ) -> Result<Option<Event<'d>>, Violation> {
        match self.phase {
            Phase::Open => {}
            Phase::Failed => {
                self.partial = None;
                return Err(FAILED_BEFORE);
            }
            Phase::Closed => {
                self.partial = None;
                *pos = input.len();
                return Ok(None);
            }
        }
        let advanced = self.advance(input, pos, limits);
        let event = advanced.and_then(|done| match done {
            None => Ok(None),
            Some(Done::InPlace(form, range)) => {
                rules::event(form, input.get(range).unwrap_or_default()).map(Some)
            }
            Some(Done::Control(form)) => {
                let control = self.partial.as_deref().map_or(&[][..], Partial::control);
                rules::event(form, control).map(Some)
            }
            Some(Done::Message(form)) => {
                let message = self.partial.as_deref().map_or(&[][..], Partial::message);
                rules::event(form, message).map(Some)
            }
        });
        match event {
            Ok(Some(Event::Close(_))) => self.phase = Phase::Closed,
            Err(_) => self.phase = Phase::Failed,
            Ok(_) => {}
        }
        event
    }

    /// Whether a message or frame has begun and not ended, empty fragments included.
    pub fn is_unfinished(&mut self) -> bool {
        self.release();
        self.partial.is_some()
    }

    /// Bytes held for an unfinished message or frame.
    pub fn buffered(&self) -> usize {
        self.partial.as_deref().map_or(0, Partial::buffered)
    }

    /// Reads up to the end of one event and says where it lies.
    fn advance(
        &mut self,
        input: &mut [u8],
        pos: &mut usize,
        limits: &Limits,
    ) -> Result<Option<Done>, Violation> {
        self.release();
        while *pos < input.len() {
            let done = match self.partial.as_deref_mut().filter(|partial| partial.in_frame()) {
                Some(partial) => partial.payload(input, pos, limits)?,
                None => match self.header(input, pos, limits)? {
                    Some(header) => self.begin(header, input, pos, limits)?,
                    None => None,
                },
            };
            if done.is_some() {
                return Ok(done);
            }
        }
        Ok(None)
    }

    /// Gives back what the event of the last call borrowed.
    fn release(&mut self) {
        if let Some(partial) = self.partial.as_deref_mut()
            && partial.release()
        {
            self.partial = None;
        }
    }

    /// Reads a frame header; what there is of an incomplete one is kept.
    fn header(
        &mut self,
        input: &[u8],
        pos: &mut usize,
        limits: &Limits,
    ) -> Result<Option<FrameHeader>, Violation> {
        let parse = |bytes: &[u8]| FrameHeader::parse(bytes, self.role, limits.deflate);
        let rest = input.get(*pos..).unwrap_or_default();
        if let Some(partial) = self.partial.as_deref_mut().filter(|p| p.in_header()) {
            return partial.header(rest, pos, parse);
        }
        if let Some((header, used)) = parse(rest)? {
            *pos += used;
            return Ok(Some(header));
        }
        self.partial.get_or_insert_default().header(rest, pos, parse)
    }

    /// Starts a frame: hands it out in place if that can be done, else makes it the current one.
    fn begin(
        &mut self,
        header: FrameHeader,
        input: &mut [u8],
        pos: &mut usize,
        limits: &Limits,
    ) -> Result<Option<Done>, Violation> {
        if !header.opcode.is_control() {
            let unfinished = self.partial.as_deref().and_then(Partial::unfinished);
            rules::data_frame(&header, unfinished, limits)?;
        }
        let whole_event =
            header.opcode.is_control() || (header.fin && header.opcode != Opcode::Continuation);
        if whole_event
            && let Ok(len) = usize::try_from(header.len)
            && let Some(end) = pos.checked_add(len)
            && let Some(payload) = input.get_mut(*pos..end)
        {
            frame::mask(payload, header.key, 0);
            let range = *pos..end;
            *pos = end;
            return Ok(Some(Done::InPlace(header.form(), range)));
        }
        let partial = self.partial.get_or_insert_default();
        partial.begin(header);
        // An empty last fragment ends its message although no input may be left.
        partial.payload(input, pos, limits)
    }
}

#[cfg(test)]
mod tests;
