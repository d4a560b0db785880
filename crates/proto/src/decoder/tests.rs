//! Rules of the decoder: one table each. Beside this file: compressed messages, large messages,
//! and properties over any cut and any bytes.

mod deflate;
mod large;
mod properties;

use super::*;

const LIMITS: Limits = Limits { message_bytes: 1_000, fragments: 8, deflate: false };
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An event that owns what it says, to be compared across calls.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Deflated(Opcode, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Failed(u16),
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into()),
            Event::Binary(bytes) => Self::Binary(bytes.into()),
            Event::Deflated(opcode, bytes) => Self::Deflated(opcode, bytes.into()),
            Event::Ping(bytes) => Self::Ping(bytes.into()),
            Event::Pong(bytes) => Self::Pong(bytes.into()),
            Event::Close(close) => Self::Close(close.map(|c| (c.code, c.reason.into()))),
        }
    }
}

/// Feeds the pieces one after the other; ends at the first violation.
fn decode<'a>(role: Role, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Owned> {
    decode_within(&LIMITS, role, pieces)
}

fn decode_within<'a>(
    limits: &Limits,
    role: Role,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Owned> {
    let mut decoder = Decoder::new(role);
    let mut events = Vec::new();
    for piece in pieces {
        let mut input = piece.to_vec();
        let mut pos = 0;
        loop {
            match decoder.next(&mut input, &mut pos, limits) {
                Ok(Some(event)) => events.push(event.into()),
                Ok(None) => break,
                Err(violation) => {
                    events.push(Owned::Failed(violation.close_code));
                    return events;
                }
            }
        }
        assert_eq!(pos, piece.len(), "all input is consumed");
        let most = limits.message_bytes + frame::MAX_CONTROL_PAYLOAD + header::MAX_HEADER;
        assert!(decoder.buffered() <= most, "{} bytes are held", decoder.buffered());
    }
    events
}

/// A raw frame of a client: first byte as given, masked, length in the shortest form.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write_masked(&mut out, Opcode::Text, payload, KEY);
    out[0] = first;
    out
}

fn masked(frames: &[(u8, &[u8])]) -> Vec<u8> {
    frames.iter().flat_map(|(first, payload)| raw(*first, payload)).collect()
}

fn text(text: &str) -> Owned {
    Owned::Text(text.into())
}

#[test]
fn an_idle_decoder_takes_at_most_40_bytes() {
    assert!(size_of::<Decoder>() <= 40);
    assert_eq!(size_of::<Decoder>(), 16, "say so in the crate's header when this changes");
}

#[test]
fn what_the_rfc_allows_is_understood() {
    let long = "x".repeat(1_000);
    for (name, bytes, want) in [
        ("text", masked(&[(0x81, b"Hello")]), vec![text("Hello")]),
        ("empty text", masked(&[(0x81, b"")]), vec![text("")]),
        ("binary", masked(&[(0x82, &[0, 255])]), vec![Owned::Binary(vec![0, 255])]),
        ("text at the limit", masked(&[(0x81, long.as_bytes())]), vec![text(&long)]),
        ("two fragments", masked(&[(0x01, b"Hel"), (0x80, b"lo")]), vec![text("Hello")]),
        (
            "empty fragments",
            masked(&[(0x01, b""), (0x00, b""), (0x00, b"a"), (0x80, b"")]),
            vec![text("a")],
        ),
        (
            "a ping between fragments",
            masked(&[(0x01, b"Hel"), (0x89, b"?"), (0x80, b"lo")]),
            vec![Owned::Ping(b"?".into()), text("Hello")],
        ),
        (
            "a character over three fragments",
            masked(&[(0x01, b"\xE2"), (0x00, b"\x82"), (0x80, b"\xAC")]),
            vec![text("€")],
        ),
        ("an empty ping", masked(&[(0x89, b"")]), vec![Owned::Ping(vec![])]),
        ("a full ping", masked(&[(0x89, &[1; 125])]), vec![Owned::Ping(vec![1; 125])]),
        ("a pong unasked", masked(&[(0x8A, b"x")]), vec![Owned::Pong(b"x".into())]),
        ("close without a code", masked(&[(0x88, b"")]), vec![Owned::Close(None)]),
        (
            "close with a reason",
            masked(&[(0x88, b"\x03\xE8bye")]),
            vec![Owned::Close(Some((1000, "bye".into())))],
        ),
        (
            "nothing after a close",
            masked(&[(0x88, b""), (0x81, b"late"), (0xFF, b"garbage")]),
            vec![Owned::Close(None)],
        ),
        (
            "messages one after the other",
            masked(&[(0x81, b"a"), (0x01, b"b"), (0x80, b"c"), (0x81, b"d")]),
            vec![text("a"), text("bc"), text("d")],
        ),
    ] {
        assert_eq!(decode(Role::Server, [&bytes[..]]), want, "{name}");
        assert_eq!(decode(Role::Server, bytes.chunks(1)), want, "{name}, byte by byte");
    }
}

#[test]
fn what_the_rfc_forbids_ends_with_the_right_code() {
    let unmasked = b"\x81\x05Hello".to_vec();
    for (name, bytes, code) in [
        ("reserved bit 1", raw(0xC1, b"x"), 1002),
        ("reserved bit 2", raw(0xA1, b"x"), 1002),
        ("reserved bit 3", raw(0x91, b"x"), 1002),
        ("reserved data opcode", raw(0x83, b"x"), 1002),
        ("reserved control opcode", raw(0x8B, b"x"), 1002),
        ("unmasked", unmasked, 1002),
        ("fragmented ping", raw(0x09, b"x"), 1002),
        ("fragmented close", raw(0x08, b""), 1002),
        ("long ping", raw(0x89, &[0; 126]), 1002),
        ("16-bit length of 125", b"\x81\xFE\x00\x7D".to_vec(), 1002),
        ("64-bit length of 65535", b"\x81\xFF\0\0\0\0\0\0\xFF\xFF".to_vec(), 1002),
        ("top bit of a length", b"\x81\xFF\x80\0\0\0\0\0\0\0".to_vec(), 1002),
        ("continuation of nothing", raw(0x80, b"x"), 1002),
        ("continuation after the end", masked(&[(0x01, b""), (0x80, b""), (0x80, b"")]), 1002),
        ("text inside a message", masked(&[(0x01, b"a"), (0x81, b"b")]), 1002),
        ("binary inside a message", masked(&[(0x01, b"a"), (0x02, b"b")]), 1002),
        ("close of one byte", raw(0x88, b"\x03"), 1002),
        ("close reason not UTF-8", raw(0x88, b"\x03\xE8\xFF"), 1007),
        ("text not UTF-8", raw(0x81, b"a\xFF"), 1007),
        ("overlong", raw(0x81, b"\xC0\x80"), 1007),
        ("surrogate", raw(0x81, b"\xED\xA0\x80"), 1007),
        ("text ends inside a character", raw(0x81, b"\xE2\x82"), 1007),
        ("fragments end inside a character", masked(&[(0x01, b"\xE2"), (0x80, b"\x82")]), 1007),
        ("one byte too many", raw(0x81, &[b'x'; 1_001]), 1009),
        ("too big over fragments", masked(&[(0x01, &[b'x'; 999]), (0x80, b"xx")]), 1009),
        ("too many fragments", [raw(0x01, b""), raw(0x00, b"").repeat(8)].concat(), 1009),
    ] {
        let whole = decode(Role::Server, [&bytes[..]]);
        assert_eq!(whole.last(), Some(&Owned::Failed(code)), "{name}: {whole:?}");
        assert_eq!(decode(Role::Server, bytes.chunks(1)), whole, "{name}, byte by byte");
    }
    assert_eq!(decode(Role::Client, [&raw(0x81, b"x")[..]]), [Owned::Failed(1002)]);
}

#[test]
fn only_assigned_and_private_close_codes_are_taken() {
    let good = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    for code in 0..=u16::MAX {
        let want = match good(code) {
            true => Owned::Close(Some((code, String::new()))),
            false => Owned::Failed(1002),
        };
        let bytes = raw(0x88, &code.to_be_bytes());
        assert_eq!(decode(Role::Server, [&bytes[..]]), [want], "{code}");
    }
}

#[test]
fn too_big_is_known_from_the_header_and_nothing_is_held_for_it() {
    let mut decoder = Decoder::new(Role::Server);
    let mut header = b"\x81\xFF\0\0\0\x01\0\0\0\0keys".to_vec();
    let violation = decoder.next(&mut header, &mut 0, &LIMITS).unwrap_err();
    assert_eq!((violation.close_code, decoder.buffered()), (1009, 0));
}

#[test]
fn broken_text_fails_at_the_piece_that_breaks_it() {
    let mut frame = raw(0x01, b"abc\xFFdef");
    frame.truncate(frame.len() - 3);
    assert_eq!(decode(Role::Server, [&frame[..]]), [Owned::Failed(1007)]);
}

#[test]
fn an_announced_length_allocates_nothing() {
    let mut decoder = Decoder::new(Role::Server);
    let mut header = b"\x81\xFE\x03\xE8keysx".to_vec();
    assert_eq!(decoder.next(&mut header, &mut 0, &LIMITS), Ok(None));
    assert!(decoder.buffered() <= 8, "{} bytes for one", decoder.buffered());
}

#[test]
fn a_whole_frame_is_handed_out_in_place_and_an_ended_message_is_given_back() {
    let mut decoder = Decoder::new(Role::Server);
    let mut whole = raw(0x81, b"in place");
    let place = whole[6..].as_ptr();
    let Ok(Some(Event::Text(text))) = decoder.next(&mut whole, &mut 0, &LIMITS) else {
        panic!("no text")
    };
    assert_eq!((text, text.as_ptr()), ("in place", place));
    assert!(decoder.partial.is_none());

    let (mut first, mut second) = (raw(0x01, b"in "), raw(0x80, b"pieces"));
    assert_eq!(decoder.next(&mut first, &mut 0, &LIMITS), Ok(None));
    assert!(decoder.buffered() >= 3);
    let mut pos = 0;
    let event = decoder.next(&mut second, &mut pos, &LIMITS);
    assert_eq!(event, Ok(Some(Event::Text("in pieces"))));
    assert_eq!(decoder.next(&mut second, &mut pos, &LIMITS), Ok(None));
    assert!(decoder.partial.is_none());
}

#[test]
fn after_a_violation_every_call_fails() {
    let mut decoder = Decoder::new(Role::Server);
    assert!(decoder.next(&mut raw(0x80, b"x"), &mut 0, &LIMITS).is_err());
    assert!(decoder.next(&mut raw(0x81, b"x"), &mut 0, &LIMITS).is_err());
}
