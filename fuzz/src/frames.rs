//! Any stream, either role, in any cut.

use wsgateway_proto::decoder::{Decoder, Event, Limits};
use wsgateway_proto::frame::{self, Opcode, Role};

/// Small, so that input soon goes beyond it, and above the lengths that fit one byte.
const MESSAGE_BYTES: usize = 200;

/// Held beside a message: a control frame and a header that came in pieces.
const BESIDE: usize = frame::MAX_CONTROL_PAYLOAD + 14;

/// An event that owns what it says.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Frame(Opcode, Vec<u8>),
    Deflated(Opcode, Vec<u8>),
    Close(Option<(u16, String)>),
    Refused(u16),
}

/// The first byte chooses role, compression and the sizes of the reads; the rest is the stream.
///
/// The stream must be read alike whole and in pieces, within the limits, and what was read must
/// survive being written and read again.
pub fn frames(data: &[u8]) {
    let (flags, stream) = crate::split(data);
    let role = if flags & 1 == 0 { Role::Server } else { Role::Client };
    let limits = Limits { message_bytes: MESSAGE_BYTES, fragments: 16, deflate: flags & 2 != 0 };
    let whole = read(role, &limits, &mut stream.to_vec(), usize::MAX);
    let pieces = read(role, &limits, &mut stream.to_vec(), usize::from(flags >> 2) + 1);
    assert_eq!(whole, pieces, "another cut, other events");
    for event in &whole {
        let mut out = Vec::new();
        if write(role, &mut out, event) {
            let again = read(role, &limits, &mut out, usize::MAX);
            assert_eq!(again, std::slice::from_ref(event), "written and read again");
        }
    }
}

fn read(role: Role, limits: &Limits, stream: &mut [u8], size: usize) -> Vec<Seen> {
    let (mut decoder, mut seen) = (Decoder::new(role), Vec::new());
    for piece in stream.chunks_mut(size) {
        let mut pos = 0;
        loop {
            seen.push(match decoder.next(piece, &mut pos, limits) {
                Ok(None) => break,
                Ok(Some(Event::Text(text))) => Seen::Frame(Opcode::Text, text.into()),
                Ok(Some(Event::Binary(bytes))) => Seen::Frame(Opcode::Binary, bytes.into()),
                Ok(Some(Event::Ping(bytes))) => Seen::Frame(Opcode::Ping, bytes.into()),
                Ok(Some(Event::Pong(bytes))) => Seen::Frame(Opcode::Pong, bytes.into()),
                Ok(Some(Event::Deflated(opcode, data))) => Seen::Deflated(opcode, data.into()),
                Ok(Some(Event::Close(close))) => {
                    Seen::Close(close.map(|close| (close.code, close.reason.into())))
                }
                Err(violation) => {
                    assert!(matches!(violation.close_code, 1002 | 1007 | 1009), "{violation}");
                    seen.push(Seen::Refused(violation.close_code));
                    return seen;
                }
            });
        }
        assert_eq!(pos, piece.len(), "all input is consumed");
        if let Some(Seen::Frame(_, payload) | Seen::Deflated(_, payload)) = seen.last() {
            assert!(payload.len() <= limits.message_bytes, "a message beyond the limit");
        }
        let held = decoder.buffered();
        assert!(held <= limits.message_bytes + BESIDE, "{held} bytes are held");
    }
    seen
}

/// Writes an event as the peer of `role` does; false for what is no frame.
fn write(role: Role, out: &mut Vec<u8>, event: &Seen) -> bool {
    let key = [1, 2, 3, 4];
    match (event, role) {
        (Seen::Frame(opcode, payload) | Seen::Deflated(opcode, payload), Role::Server) => {
            frame::write_masked(out, *opcode, payload, key);
        }
        (Seen::Frame(opcode, payload) | Seen::Deflated(opcode, payload), Role::Client) => {
            frame::write(out, *opcode, payload);
            assert_eq!(frame::payload(out), payload);
        }
        (Seen::Close(Some((code, reason))), Role::Server) => {
            frame::close_masked(out, *code, reason, key);
        }
        (Seen::Close(Some((code, reason))), Role::Client) => frame::close(out, *code, reason),
        (Seen::Close(None) | Seen::Refused(_), _) => return false,
    }
    if let (Seen::Deflated(..), Some(first)) = (event, out.first_mut()) {
        *first |= 0x40;
    }
    true
}
