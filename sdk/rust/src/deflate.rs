//! permessage-deflate (RFC 7692) below the WebSocket: frames as a server sends them in, frames without compression out (pure).
//!
//! Messages lean on none before them (`server_no_context_takeover`), so one window serves all. Only what is compressed is
//! looked at; whether everything else keeps to RFC 6455 is judged behind this. What must hold: neither what comes in nor what it
//! inflates to is held beyond the limit, and a large message does not keep its memory.

use flate2::{Decompress, FlushDecompress, Status};

/// What is asked for in `Sec-WebSocket-Extensions`.
pub(crate) const OFFER: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// What the sender of a message leaves out (RFC 7692 section 7.2.1), and an empty final block: it ends the stream, unless the
/// message broke off inside a block.
const TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 0x01, 0, 0, 0xff, 0xff];
/// Buffers up to here stay for the next message.
const KEEP: usize = 64 << 10;
/// Least room that a step of inflating is given.
const ROOM: usize = 4 << 10;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Fault {
    /// More than the limit, compressed or inflated.
    #[error("a compressed message of more than {0} bytes")]
    TooBig(usize),
    #[error("a compressed message that cannot be inflated")]
    Broken,
    #[error("frames of a compressed message that are in no order")]
    Order,
}

/// Whether an answer agrees to [`OFFER`]; `None` if it agrees to anything else.
pub(crate) fn agreed<'a>(lines: impl Iterator<Item = &'a str>) -> Option<bool> {
    let mut agreed = false;
    for extension in lines.flat_map(|line| line.split(',')).map(str::trim) {
        if extension.is_empty() {
            continue;
        }
        let mut parts = extension.split(';').map(str::trim);
        let is_first = !std::mem::replace(&mut agreed, true);
        if !is_first || parts.next() != Some("permessage-deflate") {
            return None;
        }
        let (mut server, mut client, mut window) = (0, 0, 0);
        for part in parts {
            match part.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                None if part == "server_no_context_takeover" => server += 1,
                None if part == "client_no_context_takeover" => client += 1,
                // Any window can be read. The client's may not be named: it was not offered.
                Some(("server_max_window_bits", bits)) if is_window(bits) => window += 1,
                _ => return None,
            }
        }
        // Without the first, messages would lean on those before.
        if server != 1 || client > 1 || window > 1 {
            return None;
        }
    }
    Some(agreed)
}

fn is_window(bits: &str) -> bool {
    let bits = bits.strip_prefix('"').and_then(|bits| bits.strip_suffix('"')).unwrap_or(bits);
    ["8", "9", "10", "11", "12", "13", "14", "15"].contains(&bits)
}

/// A header of a frame without mask: the first two bytes, and the length's.
#[derive(Debug, Default)]
struct Header {
    bytes: Vec<u8>,
}

impl Header {
    /// Takes bytes until it is whole; says how many.
    fn take(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        while let Some(byte) = input.get(used).filter(|_| self.length().is_none()) {
            self.bytes.push(*byte);
            used += 1;
        }
        used
    }

    fn first(&self) -> u8 {
        self.bytes.first().copied().unwrap_or_default()
    }

    /// Bytes behind the header, with the mask that a server must not send; none while it is incomplete.
    fn length(&self) -> Option<u64> {
        let second = *self.bytes.get(1)?;
        let mask = if second & MASKED == 0 { 0 } else { 4 };
        let (size, short) = match second & !MASKED {
            126 => (2, None),
            127 => (8, None),
            short => (0, Some(u64::from(short))),
        };
        let long = self.bytes.get(2..2 + size)?;
        let long = long.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        Some(short.unwrap_or(long).saturating_add(mask))
    }
}

/// What the bytes of a frame are for.
#[derive(Clone, Copy, Debug, Default)]
enum Payload {
    #[default]
    Plain,
    Compressed {
        last: bool,
    },
}

/// Turns frames of a server into frames without compression. About 50 KiB, most of it the window.
#[derive(Debug)]
pub(crate) struct Inflating {
    limit: usize,
    header: Header,
    payload: Payload,
    /// Bytes of the frame that are still to come; none between frames.
    left: Option<u64>,
    /// Opcode of the compressed message that has begun.
    opcode: Option<u8>,
    /// That message, as it came.
    compressed: Vec<u8>,
    message: Vec<u8>,
    stream: Decompress,
}

impl Inflating {
    /// Messages have at most `limit` bytes, compressed and inflated.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            header: Header::default(),
            payload: Payload::default(),
            left: None,
            opcode: None,
            compressed: Vec::new(),
            message: Vec::new(),
            stream: Decompress::new(false),
        }
    }

    /// Takes what has come, and appends what is to be read instead.
    pub(crate) fn take(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        while !input.is_empty() || self.left == Some(0) {
            let Some(left) = self.left else {
                let used = self.header.take(input);
                input = input.get(used..).unwrap_or_default();
                if let Some(length) = self.header.length() {
                    self.begin(length, out)?;
                    self.left = Some(length);
                }
                continue;
            };
            let used = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            let (now, later) = input.split_at(used);
            match self.payload {
                Payload::Plain => out.extend_from_slice(now),
                Payload::Compressed { .. } => self.compressed.extend_from_slice(now),
            }
            input = later;
            self.left = Some(left - used as u64).filter(|left| *left > 0);
            if self.left.is_none() {
                self.header.bytes.clear();
                if let Payload::Compressed { last: true } = self.payload {
                    self.finish(out)?;
                }
            }
        }
        Ok(())
    }

    /// Decides what a frame is for, once its header is whole.
    fn begin(&mut self, length: u64, out: &mut Vec<u8>) -> Result<(), Fault> {
        let (first, opcode) = (self.header.first(), self.header.first() & OPCODE);
        let is_masked = self.header.bytes.get(1).is_some_and(|second| second & MASKED != 0);
        let begins = matches!(opcode, 1 | 2) && first & RSV1 != 0;
        let continues = opcode == 0 && self.opcode.is_some();
        if !begins && !continues {
            if matches!(opcode, 1 | 2) && self.opcode.is_some() {
                return Err(Fault::Order);
            }
            self.payload = Payload::Plain;
            out.extend_from_slice(&self.header.bytes);
            return Ok(());
        }
        let other_bits = if begins { 0x30 } else { 0x70 };
        if first & other_bits != 0 || is_masked || (begins && self.opcode.is_some()) {
            return Err(Fault::Order);
        }
        let room = self.limit.saturating_sub(self.compressed.len());
        if usize::try_from(length).map_or(true, |length| length > room) {
            return Err(Fault::TooBig(self.limit));
        }
        if begins {
            self.opcode = Some(opcode);
        }
        self.payload = Payload::Compressed { last: first & FIN != 0 };
        Ok(())
    }

    /// A compressed message is whole: appends it as one frame.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let opcode = self.opcode.take().unwrap_or_default();
        if !self.compressed.is_empty() {
            self.compressed.extend_from_slice(&TAIL);
            self.inflate()?;
        }
        out.push(FIN | opcode);
        let length = self.message.len();
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..126), _) => out.push(short),
            (_, Ok(long)) => {
                out.push(126);
                out.extend_from_slice(&long.to_be_bytes());
            }
            _ => {
                out.push(127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(&self.message);
        for buffer in [&mut self.compressed, &mut self.message] {
            buffer.clear();
            buffer.shrink_to(KEEP);
        }
        Ok(())
    }

    fn inflate(&mut self) -> Result<(), Fault> {
        let mut rest = self.compressed.as_slice();
        self.stream.reset(false);
        loop {
            if self.message.len() > self.limit {
                return Err(Fault::TooBig(self.limit));
            }
            if self.message.len() == self.message.capacity() {
                // Doubles, but for the limit and the byte that shows that there is more.
                let room = self.message.len().max(ROOM);
                self.message.reserve_exact(room.min(self.limit + 1 - self.message.len()));
            }
            let (taken, given) = (self.stream.total_in(), self.stream.total_out());
            let step = self.stream.decompress_vec(rest, &mut self.message, FlushDecompress::None);
            let status = step.map_err(|_| Fault::Broken)?;
            let used = usize::try_from(self.stream.total_in() - taken).unwrap_or(usize::MAX);
            rest = rest.get(used..).unwrap_or_default();
            match status {
                Status::StreamEnd if rest.is_empty() => break,
                // A sender may end a stream inside of a message (section 7.2.3.4): another one follows.
                Status::StreamEnd => self.stream.reset(false),
                _ if used == 0 && self.stream.total_out() == given => return Err(Fault::Broken),
                _ => {}
            }
        }
        if self.message.len() > self.limit { Err(Fault::TooBig(self.limit)) } else { Ok(()) }
    }
}
