//! Rules that span frames, and from payload to event.

use super::header::FrameHeader;
use super::{CloseFrame, Event, Form, Limits, Violation};
use crate::frame::Opcode;

pub(crate) const NOT_UTF8: Violation =
    Violation { close_code: 1007, reason: "text is not valid UTF-8" };
pub(crate) const TOO_BIG: Violation =
    Violation { close_code: 1009, reason: "the message is larger than the limit" };
const TOO_MANY_FRAGMENTS: Violation =
    Violation { close_code: 1009, reason: "the message has more fragments than the limit" };
const NOTHING_TO_CONTINUE: Violation =
    Violation { close_code: 1002, reason: "a continuation frame without a message" };
const UNFINISHED: Violation =
    Violation { close_code: 1002, reason: "a new message before the last one ended" };
const SHORT_CLOSE: Violation = Violation { close_code: 1002, reason: "a close frame of one byte" };
const BAD_CODE: Violation =
    Violation { close_code: 1002, reason: "a close code that may not be sent" };
const BAD_REASON: Violation =
    Violation { close_code: 1007, reason: "a close reason is not valid UTF-8" };

/// What a message has so far: bytes and fragments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unfinished {
    pub(super) bytes: usize,
    pub(super) fragments: u32,
}

/// Checks a data frame by its header alone, so that nothing is held for what is refused.
pub(super) fn data_frame(
    header: &FrameHeader,
    unfinished: Option<Unfinished>,
    limits: &Limits,
) -> Result<(), Violation> {
    let (held, fragments) = match (unfinished, header.opcode) {
        (None, Opcode::Continuation) => return Err(NOTHING_TO_CONTINUE),
        (None, _) => (0, 0),
        (Some(message), Opcode::Continuation) => (message.bytes, message.fragments),
        (Some(_), _) => return Err(UNFINISHED),
    };
    let left = limits.message_bytes.saturating_sub(held) as u64;
    if header.len > left {
        return Err(TOO_BIG);
    }
    let fragmented = !header.fin || header.opcode == Opcode::Continuation;
    if fragmented && fragments >= limits.fragments {
        return Err(TOO_MANY_FRAGMENTS);
    }
    Ok(())
}

/// The event of a complete payload. `form` is that of the frame that began the message.
pub(super) fn event(form: Form, payload: &[u8]) -> Result<Event<'_>, Violation> {
    Ok(match form.opcode {
        opcode if form.deflated => Event::Deflated(opcode, payload),
        Opcode::Text => Event::Text(std::str::from_utf8(payload).map_err(|_| NOT_UTF8)?),
        Opcode::Binary => Event::Binary(payload),
        Opcode::Ping => Event::Ping(payload),
        Opcode::Pong => Event::Pong(payload),
        Opcode::Close => Event::Close(close_frame(payload)?),
        Opcode::Continuation => return Err(NOTHING_TO_CONTINUE),
    })
}

fn close_frame(payload: &[u8]) -> Result<Option<CloseFrame<'_>>, Violation> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (code, reason) = payload.split_first_chunk().ok_or(SHORT_CLOSE)?;
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(BAD_CODE);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| BAD_REASON)?;
    Ok(Some(CloseFrame { code, reason }))
}

/// Close codes allowed on the wire: the assigned ones, and the ranges for libraries (3000) and
/// applications (4000). RFC 6455 section 7.4 and the IANA registry of close codes.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
