//! The header of a frame (RFC 6455 section 5.2), refused at the first byte that breaks a rule.

use super::{Form, Violation};
use crate::frame::{Opcode, Role};

/// Longest header: two bytes, a 64-bit length, a mask key.
pub(super) const MAX_HEADER: usize = 14;

const FIN: u8 = 0x80;
/// RSV1: this message is compressed (RFC 7692 section 6).
const DEFLATED: u8 = 0x40;
/// RSV2 and RSV3, of which no extension spoken here makes use.
const RESERVED: u8 = 0x30;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) deflated: bool,
    /// All zero when the frame is not masked.
    pub(super) key: [u8; 4],
    pub(super) len: u64,
}

const fn protocol(reason: &'static str) -> Violation {
    Violation { close_code: 1002, reason }
}

impl FrameHeader {
    pub(super) const fn form(&self) -> Form {
        Form { opcode: self.opcode, deflated: self.deflated }
    }

    /// Reads the header at the start of `bytes`, and its length; `None` when it is incomplete.
    /// `deflate`: the handshake allows compressed messages.
    pub(super) fn parse(
        bytes: &[u8],
        role: Role,
        deflate: bool,
    ) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(protocol("a reserved bit is set"));
        }
        let fin = first & FIN != 0;
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(protocol("the opcode is reserved"))?;
        let deflated = first & DEFLATED != 0;
        if deflated && !deflate {
            return Err(protocol("a compressed message, and compression was not agreed on"));
        }
        if deflated && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(protocol("only the first frame of a message says that it is compressed"));
        }
        if opcode.is_control() && !fin {
            return Err(protocol("a control frame is fragmented"));
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & MASKED != 0;
        match (role, masked) {
            (Role::Server, false) => return Err(protocol("a client frame is not masked")),
            (Role::Client, true) => return Err(protocol("a server frame is masked")),
            _ => {}
        }
        let short = second & !MASKED;
        if opcode.is_control() && short >= LENGTH_16 {
            return Err(protocol("a control frame is longer than 125 bytes"));
        }
        let Some((len, used)) = length(bytes, short)? else { return Ok(None) };
        if !masked {
            return Ok(Some((Self { fin, opcode, deflated, key: [0; 4], len }, used)));
        }
        let Some(&key) = bytes.get(used..).and_then(<[u8]>::first_chunk) else { return Ok(None) };
        Ok(Some((Self { fin, opcode, deflated, key, len }, used + key.len())))
    }
}

/// The payload length and where the length field ends.
fn length(bytes: &[u8], short: u8) -> Result<Option<(u64, usize)>, Violation> {
    let rest = bytes.get(2..).unwrap_or_default();
    let (len, used, least) = match short {
        LENGTH_16 => {
            let Some(&wide) = rest.first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(wide)), 4, u64::from(LENGTH_16))
        }
        LENGTH_64 => {
            let Some(&wide) = rest.first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(wide), 10, u64::from(u16::MAX) + 1)
        }
        short => (u64::from(short), 2, 0),
    };
    if len > i64::MAX as u64 {
        return Err(protocol("the top bit of a length is set"));
    }
    if len < least {
        return Err(protocol("a length is not in its shortest form"));
    }
    Ok(Some((len, used)))
}
