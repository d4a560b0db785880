//! Which frames may say that they are compressed (RFC 7692 section 6).

use super::*;

const AGREED: Limits = Limits { deflate: true, ..LIMITS };

fn deflated(opcode: Opcode, data: &[u8]) -> Owned {
    Owned::Deflated(opcode, data.into())
}

#[test]
fn a_compressed_message_comes_out_whole_and_as_it_is() {
    let (text, binary) = (Opcode::Text, Opcode::Binary);
    for (name, bytes, want) in [
        ("text", masked(&[(0xC1, b"\xF2\xFF")]), vec![deflated(text, b"\xF2\xFF")]),
        ("binary", masked(&[(0xC2, b"\x00")]), vec![deflated(binary, b"\x00")]),
        ("no data at all", masked(&[(0xC1, b"")]), vec![deflated(text, b"")]),
        (
            "the first of three fragments speaks for all",
            masked(&[(0x41, b"\xF2"), (0x00, b""), (0x80, b"\xFF")]),
            vec![deflated(text, b"\xF2\xFF")],
        ),
        (
            "a ping between fragments",
            masked(&[(0x42, b"a"), (0x89, b"?"), (0x80, b"b")]),
            vec![Owned::Ping(b"?".into()), deflated(binary, b"ab")],
        ),
        (
            "plain and compressed in turn",
            masked(&[(0x81, b"a"), (0xC1, b"b"), (0x01, b"c"), (0x80, b"d"), (0xC1, b"e")]),
            vec![text_of("a"), deflated(text, b"b"), text_of("cd"), deflated(text, b"e")],
        ),
    ] {
        assert_eq!(decode_within(&AGREED, Role::Server, [&bytes[..]]), want, "{name}");
        let slow = decode_within(&AGREED, Role::Server, bytes.chunks(1));
        assert_eq!(slow, want, "{name}, byte by byte");
    }
}

fn text_of(text: &str) -> Owned {
    Owned::Text(text.into())
}

#[test]
fn a_frame_that_may_not_be_compressed_ends_with_1002() {
    for (name, limits, bytes) in [
        ("text, not agreed on", LIMITS, raw(0xC1, b"x")),
        ("binary, not agreed on", LIMITS, raw(0xC2, b"x")),
        ("a first fragment, not agreed on", LIMITS, raw(0x41, b"x")),
        ("RSV2", AGREED, raw(0xA1, b"x")),
        ("RSV3", AGREED, raw(0x91, b"x")),
        ("RSV1 and RSV2", AGREED, raw(0xE1, b"x")),
        ("all three", AGREED, raw(0xF1, b"x")),
        ("ping", AGREED, raw(0xC9, b"x")),
        ("pong", AGREED, raw(0xCA, b"x")),
        ("close", AGREED, raw(0xC8, b"\x03\xE8")),
        ("a reserved opcode", AGREED, raw(0xC3, b"x")),
        ("a continuation of nothing", AGREED, raw(0xC0, b"x")),
        ("a last fragment", AGREED, masked(&[(0x41, b"a"), (0xC0, b"b")])),
        ("a middle fragment", AGREED, masked(&[(0x41, b"a"), (0x40, b"b")])),
        ("a fragment of a plain message", AGREED, masked(&[(0x01, b"a"), (0xC0, b"b")])),
        ("a message inside a message", AGREED, masked(&[(0x01, b"a"), (0xC1, b"b")])),
    ] {
        let whole = decode_within(&limits, Role::Server, [&bytes[..]]);
        assert_eq!(whole, [Owned::Failed(1002)], "{name}");
        assert_eq!(decode_within(&limits, Role::Server, bytes.chunks(1)), whole, "{name}");
    }
}

#[test]
fn a_compressed_message_is_measured_as_it_comes() {
    for (name, bytes) in [
        ("one frame", raw(0xC1, &[0; 1_001])),
        ("fragments", masked(&[(0x41, &[0; 999]), (0x80, &[0; 2])])),
        ("too many fragments", [raw(0x41, b""), raw(0x00, b"").repeat(8)].concat()),
    ] {
        let events = decode_within(&AGREED, Role::Server, [&bytes[..]]);
        assert_eq!(events, [Owned::Failed(1009)], "{name}");
    }
}
