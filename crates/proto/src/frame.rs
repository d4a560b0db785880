//! Frames out: headers, masking, close frames (RFC 6455 section 5).
//!
//! Payloads in, bytes for a socket out, appended to the caller's buffer. No state. Every frame
//! written here is final (FIN set) and its length is in the shortest form.

use std::ops::Deref;

/// Longest payload of a control frame (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Longest reason of a close frame: a control payload less the two bytes of the code.
const MAX_CLOSE_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

const FIN: u8 = 0x80;
/// RSV1: the message is compressed (RFC 7692 section 6).
const DEFLATED: u8 = 0x40;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// Kind of a frame (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message begun before.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The last frame of its sender.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or comes unasked.
    Pong = 0xA,
}

impl Opcode {
    /// The opcode with these four bits; `None` for the reserved ones.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    /// Close, ping and pong: short, never fragmented, allowed between fragments.
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Which side of the connection this end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reads masked frames, writes unmasked ones.
    Server,
    /// Reads unmasked frames, writes masked ones.
    Client,
}

/// Header of a final unmasked frame, at most 10 bytes, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; 10],
    len: u8,
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The header that stands before an unmasked payload of `len` bytes.
pub const fn header(opcode: Opcode, len: usize) -> Header {
    let mut bytes = [0; 10];
    bytes[0] = FIN | opcode as u8;
    let used = if len < LENGTH_16 as usize {
        bytes[1] = len as u8;
        2
    } else if len <= u16::MAX as usize {
        bytes[1] = LENGTH_16;
        bytes[2] = (len >> 8) as u8;
        bytes[3] = len as u8;
        4
    } else {
        bytes[1] = LENGTH_64;
        let wide = (len as u64).to_be_bytes();
        let mut at = 0;
        while at < wide.len() {
            bytes[2 + at] = wide[at];
            at += 1;
        }
        10
    };
    Header { bytes, len: used }
}

/// The header of a compressed message that fits one unmasked frame (RSV1 set).
pub(crate) const fn deflated_header(opcode: Opcode, len: usize) -> Header {
    let mut header = header(opcode, len);
    header.bytes[0] |= DEFLATED;
    header
}

/// Appends one complete unmasked frame, as a server sends it.
pub fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let header = header(opcode, payload.len());
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}

/// Appends one complete frame masked with `key`, as a client sends it.
///
/// The key must be unpredictable to whoever chose the payload (RFC 6455 section 10.3) wherever
/// an intermediary may look at the bytes; in a test any key does.
pub fn write_masked(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    let mut header = header(opcode, payload.len());
    header.bytes[1] |= MASKED;
    out.reserve(header.len() + key.len() + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key, 0);
}

/// The payload of one whole unmasked frame that was written by this crate, plain or compressed.
///
/// What is no such frame yields what lies behind its header, or nothing.
pub fn payload(frame: &[u8]) -> &[u8] {
    let header_len = match frame.get(1) {
        Some(&LENGTH_16) => 4,
        Some(&LENGTH_64) => 10,
        _ => 2,
    };
    frame.get(header_len..).unwrap_or_default()
}

/// The frames of a buffer of whole unmasked frames that were written by this crate, each with its payload. Ends at the
/// first bytes that are none.
pub fn split(mut frames: &[u8]) -> impl Iterator<Item = (Opcode, &[u8])> {
    std::iter::from_fn(move || {
        let (&[first, length], rest) = frames.split_first_chunk()?;
        let (len, rest) = match length {
            LENGTH_16 => {
                let (len, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*len)), rest)
            }
            LENGTH_64 => {
                let (len, rest) = rest.split_first_chunk()?;
                (usize::try_from(u64::from_be_bytes(*len)).ok()?, rest)
            }
            len => (usize::from(len), rest),
        };
        let (payload, rest) = rest.split_at_checked(len)?;
        frames = rest;
        Some((Opcode::from_bits(first & 0x0f)?, payload))
    })
}

/// Appends an unmasked close frame; the reason is cut at 123 bytes on a character boundary.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let (payload, len) = close_payload(code, reason);
    write(out, Opcode::Close, &payload[..len]);
}

/// Appends a masked close frame; the reason is cut as in [`close`].
pub fn close_masked(out: &mut Vec<u8>, code: u16, reason: &str, key: [u8; 4]) {
    let (payload, len) = close_payload(code, reason);
    write_masked(out, Opcode::Close, &payload[..len], key);
}

fn close_payload(code: u16, reason: &str) -> ([u8; MAX_CONTROL_PAYLOAD], usize) {
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(MAX_CLOSE_REASON)];
    let mut payload = [0; MAX_CONTROL_PAYLOAD];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason);
    (payload, 2 + reason.len())
}

/// Masks or unmasks `bytes`, which begin `offset` bytes into their frame's payload.
///
/// Works on eight bytes at a time, which the compiler widens further.
pub fn mask(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let key: [u8; 8] = std::array::from_fn(|at| key[(offset + at) & 3]);
    let wide = u64::from_ne_bytes(key);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_uses_the_shortest_length_form() {
        for (len, want) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(&*header(Opcode::Text, len), want, "{len}");
        }
    }

    #[test]
    fn the_examples_of_rfc_6455_section_5_7_come_out() {
        let mut out = Vec::new();
        write(&mut out, Opcode::Text, b"Hello");
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        out.clear();
        write_masked(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(out, masked);
        out.clear();
        write(&mut out, Opcode::Binary, &[7; 256]);
        assert_eq!(out[..5], [0x82, 0x7E, 0x01, 0x00, 7]);
    }

    #[test]
    fn every_opcode_survives_its_bits_and_the_reserved_ones_are_none() {
        for bits in 0..=15 {
            match Opcode::from_bits(bits) {
                Some(opcode) => assert_eq!(opcode as u8, bits),
                None => assert!(matches!(bits, 3..=7 | 11..=15), "{bits}"),
            }
        }
    }

    #[test]
    fn a_close_reason_is_cut_at_123_bytes_between_characters() {
        for (reason, kept) in [
            (String::new(), 0),
            ("drain".to_owned(), 5),
            ("x".repeat(123), 123),
            ("x".repeat(124), 123),
            ("é".repeat(62), 122),
            (format!("{}€", "x".repeat(121)), 121),
        ] {
            let mut out = Vec::new();
            close(&mut out, 1012, &reason);
            assert_eq!(out[..4], [0x88, 2 + kept as u8, 0x03, 0xF4], "{reason}");
            assert_eq!(&out[4..], &reason.as_bytes()[..kept]);
        }
    }

    proptest::proptest! {
        #[test]
        fn masking_in_pieces_and_twice_gives_the_payload_back(
            payload: Vec<u8>, key: [u8; 4], cut: proptest::sample::Index,
        ) {
            let cut = cut.index(payload.len() + 1);
            let by_byte: Vec<u8> =
                payload.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
            let mut masked = payload.clone();
            mask(&mut masked[..cut], key, 0);
            mask(&mut masked[cut..], key, cut);
            proptest::prop_assert_eq!(&masked, &by_byte);
            mask(&mut masked, key, 0);
            proptest::prop_assert_eq!(masked, payload);
        }
    }
}
