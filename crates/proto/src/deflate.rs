//! permessage-deflate (RFC 7692), without context takeover in either direction.
//!
//! In: a payload, or the payload of a compressed message as [`crate::decoder`] hands it out. Out:
//! a whole frame, or a message. No message leans on one before it, so one [`Deflater`] and one
//! [`Inflater`] serve every connection of a thread, and a compressed frame can be sent to all
//! clients that negotiated compression.
//!
//! What must hold: nothing is held beyond the limit given, however much a few bytes inflate to,
//! and one large message does not keep its memory for ever.

mod inflate;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::frame::{self, Opcode};

pub use inflate::Inflater;

/// What a client of ours offers in `Sec-WebSocket-Extensions`.
pub const OFFER: &str = RESPONSE;

/// What a server of ours answers in `Sec-WebSocket-Extensions` to an offer that it takes.
pub const RESPONSE: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The answer to an offer that names the server's window: RFC 7692 section 7.1.2.1 wants it named
/// in the answer as well.
pub const RESPONSE_WINDOW: &str = "permessage-deflate; server_no_context_takeover; \
                                   client_no_context_takeover; server_max_window_bits=15";

/// What a flushed message ends with, and what is not sent (RFC 7692 section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Buffers up to here stay for the next message; larger ones are given back. Commands are at most
/// 64 KiB unless configured otherwise, and a batch is far below.
const KEEP: usize = 64 << 10;

/// Speed matters: a message is compressed once for all clients, but on the way to all of them.
const LEVEL: u32 = 1;

/// Room for what gets no smaller: fixed codes have nine bits at most, and blocks a few bytes.
const fn worst(len: usize) -> usize {
    len + len / 8 + 64
}

/// Compresses messages, each on its own. One per thread, about 300 KiB.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
    body: Vec<u8>,
}

impl Default for Deflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Deflater {
    /// Allocates all that it needs for messages below 64 KiB.
    pub fn new() -> Self {
        Self { stream: Compress::new(Compression::new(LEVEL), false), body: Vec::new() }
    }

    /// Appends one whole text message as one compressed unmasked frame, if that is smaller than
    /// the plain one; else appends nothing and returns false.
    pub fn message(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        self.frame(Opcode::Text, payload, out)
    }

    /// Like [`Self::message`], for text or binary as `opcode` says. Anything else is not
    /// compressed.
    pub fn frame(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) -> bool {
        if !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return false;
        }
        let body = self.body(payload);
        let pays = body.is_some();
        if let Some(body) = body {
            let header = frame::deflated_header(opcode, body.len());
            out.reserve(header.len() + body.len());
            out.extend_from_slice(&header);
            out.extend_from_slice(body);
        }
        self.body.clear();
        self.body.shrink_to(KEEP);
        pays
    }

    /// The payload compressed, or `None` when that is no smaller.
    fn body(&mut self, payload: &[u8]) -> Option<&[u8]> {
        self.stream.reset();
        self.body.clear();
        // More than pays: a stream of zlib-rs 0.6 that ran out of room is not whole again after a
        // reset, and panics some messages later.
        self.body.reserve_exact(worst(payload.len()));
        let status = self.stream.compress_vec(payload, &mut self.body, FlushCompress::Sync);
        let whole = matches!(status, Ok(Status::Ok))
            && self.stream.total_in() == payload.len() as u64
            && self.body.len() < self.body.capacity();
        if !whole {
            self.stream = Compress::new(Compression::new(LEVEL), false);
            return None;
        }
        self.body.strip_suffix(&TAIL).filter(|body| body.len() < payload.len())
    }
}

#[cfg(test)]
mod tests;
