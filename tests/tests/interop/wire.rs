//! Frames as bytes, made and read by hand: a client that can send anything and takes nothing but the shortest form.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
pub(super) use harness::{frame, head};

use super::peers::SOON;

/// What is left out at the end of a compressed message.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// First bytes of frames: flags and opcode.
pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8a;
/// Added: this message is compressed.
pub(super) const DEFLATED: u8 = 0x40;
/// First bytes of fragments: the first of a text or binary message, one in the middle, the last.
pub(super) const BEGIN: u8 = 0x01;
pub(super) const BEGIN_BINARY: u8 = 0x02;
pub(super) const MORE: u8 = 0x00;
pub(super) const END: u8 = 0x80;

/// A masked close frame.
pub(super) fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

/// A message in fragments of a size, the last of them shorter; `first` is what the only frame would begin with.
pub(super) fn fragments(first: u8, payload: &[u8], size: usize) -> Vec<u8> {
    let count = payload.len().div_ceil(size);
    if count < 2 {
        return frame(first, payload);
    }
    let mut bytes = Vec::with_capacity(payload.len() + count * 14);
    for (place, piece) in payload.chunks(size).enumerate() {
        let opcode = if place == 0 { first & !END } else { MORE };
        let fin = if place + 1 == count { END } else { 0 };
        bytes.extend(frame(opcode | fin, piece));
    }
    bytes
}

/// Payload of a compressed frame, at level 0 to 9.
pub(super) fn deflated(message: &[u8], level: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 8 + 1_024);
    let done = Compress::new(Compression::new(level), false).compress_vec(
        message,
        &mut out,
        FlushCompress::Sync,
    );
    assert!(done.is_ok() && out.ends_with(&TAIL), "{} bytes out of {}", out.len(), message.len());
    out.truncate(out.len() - TAIL.len());
    out
}

/// The message in such a payload, which is expected to have at most `most` bytes.
fn inflated(payload: &[u8], most: usize) -> Result<Vec<u8>> {
    let whole = [payload, &TAIL].concat();
    let mut out = Vec::with_capacity(most + 1);
    let mut stream = Decompress::new(false);
    stream.decompress_vec(&whole, &mut out, FlushDecompress::Sync)?;
    ensure!(stream.total_in() == whole.len() as u64, "it inflates to more than {most} bytes");
    Ok(out)
}

/// Text that deflate makes smaller; different at every place.
pub(super) fn wordy(length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 12);
    for n in 0..length.div_ceil(12) {
        text.extend_from_slice(format!("word {n:06},").as_bytes());
    }
    text.truncate(length);
    text
}

/// Numbers that look random and are the same at every run.
pub(super) fn random(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

/// Bytes that deflate cannot make smaller.
pub(super) fn noise(length: usize) -> Vec<u8> {
    random(length as u64).take(length).map(|number| (number >> 24) as u8).collect()
}

/// A frame from the server: final, unmasked, its length in the shortest form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Whether this is a message in one frame, compressed as `compressed` says, with this payload.
    pub(super) fn is(&self, first: u8, payload: &[u8], compressed: bool) -> Result<bool> {
        if !compressed {
            return Ok(self.first == first && self.payload == payload);
        }
        let fits = self.first == first | DEFLATED && self.payload.len() < payload.len();
        Ok(fits && inflated(&self.payload, payload.len())? == payload)
    }
}

/// An upgraded connection.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    /// Values of the answer's `Sec-WebSocket-Extensions` lines.
    pub extensions: Vec<String>,
}

impl Connection {
    /// Upgrades with further header lines, each with its line end.
    pub(super) fn open(address: SocketAddr, headers: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        let mut connection = Self { stream: BufReader::new(stream), extensions: Vec::new() };
        // Key and answer of RFC 6455, section 1.3.
        connection.write(
            format!(
                "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 {headers}\r\n"
            )
            .as_bytes(),
        )?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(connection.byte().context("no answer to the upgrade")?);
        }
        let head = String::from_utf8(head)?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "no upgrade: {head}");
        ensure!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "wrong accept key: {head}");
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let named = lines.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"));
        connection.extensions = named.map(|(_, value)| value.to_owned()).collect();
        Ok(connection)
    }

    /// Writes bytes in one piece.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Writes pieces of these sizes, each in a segment of its own as far as the kernel goes along. A server that hangs
    /// up before it has read all of it is no error here: what it said first is judged.
    pub(super) fn write_in(&mut self, bytes: &[u8], mut sizes: impl Iterator<Item = usize>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
            if self.write(piece).is_err() {
                return;
            }
            rest = more;
        }
    }

    /// The next frame, or None at the end of the stream.
    pub(super) fn frame(&mut self) -> Result<Option<Frame>> {
        let mut first = [0];
        loop {
            match self.stream.read(&mut first) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("neither a frame nor the end"),
            }
        }
        ensure!(first[0] & 0x80 != 0, "a fragment: {:#04x}", first[0]);
        let (length, least) = match self.byte()? {
            short @ 0..=125 => (u64::from(short), 0),
            126 => (u64::from(u16::from_be_bytes(self.bytes()?)), 126),
            127 => (u64::from_be_bytes(self.bytes()?), 1 << 16),
            _ => bail!("a masked frame"),
        };
        ensure!(length >= least, "length {length} is not in its shortest form");
        let mut payload = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut payload)?;
        Ok(Some(Frame { first: first[0], payload }))
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.bytes::<1>()?[0])
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The server has closed its half: hang up, so that it need not wait.
    pub(super) fn hang_up(&self) {
        // It may have hung up altogether already.
        drop(self.stream.get_ref().shutdown(Shutdown::Both));
    }
}
