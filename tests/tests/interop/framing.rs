//! The table of frames: lengths, pings and pongs, reserved bits, opcodes, masks, fragmentation. RFC 6455, section 5.

use anyhow::Result;

use super::table::{Case, binary, check, echo, fails, good, pong, text};
use super::wire::{
    BEGIN, BEGIN_BINARY, BINARY, CLOSE, END, MORE, PING, PONG, TEXT, fragments, frame, head, wordy,
};

/// Around every change of the length field's form, and of the buffers behind it.
const LENGTHS: [usize; 16] =
    [0, 1, 2, 3, 4, 7, 8, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537];

#[test]
fn messages_of_every_length_form_come_back_in_the_shortest_form() -> Result<()> {
    let cases: Vec<Case> = LENGTHS
        .iter()
        .flat_map(|length| {
            let payload = wordy(*length);
            [
                echo(format!("text of {length}"), TEXT, &payload),
                echo(format!("binary of {length}"), BINARY, &payload),
                good(
                    format!("{length}, twice in a row"),
                    [frame(TEXT, &payload), frame(BINARY, &payload)],
                    [text(&payload), binary(&payload)],
                ),
            ]
        })
        .collect();
    check("", &cases)
}

#[test]
fn pings_are_answered_with_their_payload_and_pongs_with_nothing() -> Result<()> {
    let hello = || frame(TEXT, "hello");
    let mut cases = vec![
        good(
            "a ping of bytes that are no text",
            [frame(PING, b"\x00\xff\xfe")],
            [pong(b"\x00\xff\xfe")],
        ),
        good("a pong unasked", [frame(PONG, "")], []),
        good("a pong with a payload", [frame(PONG, "unasked"), hello()], [text("hello")]),
        good("a pong, then a ping", [frame(PONG, "a"), frame(PING, "b")], [pong("b")]),
        good(
            "ten pings in order",
            (0..10).map(|n| frame(PING, [n; 3])).collect::<Vec<_>>(),
            (0..10).map(|n| pong([n; 3])).collect::<Vec<_>>(),
        ),
        good("a ping behind a message", [hello(), frame(PING, "p")], [text("hello"), pong("p")]),
        fails("a ping of 126 bytes", [frame(PING, [0; 126])], [], 1002),
        fails("a pong of 126 bytes", [frame(PONG, [0; 126])], [], 1002),
        fails("a ping of 65,536 bytes", [frame(PING, [0; 65_536])], [], 1002),
        fails("a ping in fragments", [frame(PING & !END, "a"), frame(END, "b")], [], 1002),
        fails("a pong in fragments", [frame(PONG & !END, "a"), frame(END, "b")], [], 1002),
        fails("a close frame in fragments", [frame(CLOSE & !END, b"\x03\xe8")], [], 1002),
    ];
    for length in [0, 1, 2, 124, 125] {
        let payload = vec![0xfe; length];
        cases.push(good(format!("ping of {length}"), [frame(PING, &payload)], [pong(&payload)]));
    }
    check("", &cases)
}

#[test]
fn reserved_bits_and_opcodes_end_the_connection_behind_the_answers_before_them() -> Result<()> {
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        let reserved = bits << 4;
        for (kind, first) in [("text", TEXT), ("binary", BINARY), ("ping", PING), ("close", CLOSE)]
        {
            let broken = frame(first | reserved, b"\x03\xe8");
            cases.push(fails(format!("{kind} with bits {bits}"), [broken.clone()], [], 1002));
            let sent = [frame(TEXT, "before"), broken, frame(PING, "behind")];
            let name = format!("{kind} with bits {bits} between others");
            cases.push(fails(name, sent, [text("before")], 1002));
        }
        let sent = [frame(BEGIN, "a"), frame(END | reserved, "b")];
        cases.push(fails(format!("a continuation with bits {bits}"), sent, [], 1002));
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        for payload in ["", "data"] {
            for first in [END | opcode, opcode] {
                let name = format!("first byte {first:#04x}, payload {payload:?}");
                cases.push(fails(name.clone(), [frame(first, payload)], [], 1002));
                let sent = [frame(PING, "p"), frame(first, payload), frame(TEXT, "behind")];
                cases.push(fails(format!("{name}, between others"), sent, [pong("p")], 1002));
            }
        }
    }
    check("", &cases)
}

#[test]
fn a_broken_head_is_refused_before_its_frame_is_there() -> Result<()> {
    let unmasked = |first: u8, payload: &[u8]| [&[first, payload.len() as u8], payload].concat();
    let long = |marker: u8, length: &[u8]| [&[TEXT, 0x80 | marker], length, &[0; 4]].concat();
    check(
        "",
        &[
            fails("an unmasked text", [unmasked(TEXT, b"hello")], [], 1002),
            fails("an unmasked empty text", [unmasked(TEXT, b"")], [], 1002),
            fails("an unmasked ping", [unmasked(PING, b"p")], [], 1002),
            fails("an unmasked close", [unmasked(CLOSE, b"\x03\xe8")], [], 1002),
            fails(
                "unmasked behind masked",
                [frame(TEXT, "a"), unmasked(TEXT, b"b")],
                [text("a")],
                1002,
            ),
            fails("a reserved bit alone", [vec![TEXT | 0x20]], [], 1002),
            fails("a reserved opcode alone", [vec![0x83]], [], 1002),
            fails("an unmasked length alone", [vec![TEXT, 5]], [], 1002),
            fails("0 in 16 bits", [long(126, &[0, 0])], [], 1002),
            fails("125 in 16 bits", [long(126, &[0, 125])], [], 1002),
            fails("0 in 64 bits", [long(127, &[0; 8])], [], 1002),
            fails("65,535 in 64 bits", [long(127, &65_535_u64.to_be_bytes())], [], 1002),
            fails("2^63", [head(TEXT, 1 << 63)], [], 1002),
            fails("2^64 - 1", [head(TEXT, u64::MAX)], [], 1002),
            fails("2^63 - 1", [head(TEXT, (1 << 63) - 1)], [], 1009),
            fails("16 MiB and a byte", [head(BINARY, (16 << 20) + 1)], [], 1009),
            fails("an HTTP request", [b"GET / HTTP/1.1\r\n\r\n".to_vec()], [], 1002),
        ],
    )
}

#[test]
fn messages_are_put_together_from_their_fragments_and_control_frames_come_between() -> Result<()> {
    let hello = [frame(BEGIN, "hel"), frame(MORE, "lo "), frame(END, "world")].concat();
    let around = |between: Vec<u8>| vec![frame(BEGIN, "hel"), between, frame(END, "lo")];
    let mut cases = vec![
        good("three fragments", [hello.clone()], [text("hello world")]),
        good("binary", [frame(BEGIN_BINARY, [0]), frame(END, [255])], [binary([0, 255])]),
        good(
            "empty fragments only",
            [frame(BEGIN, ""), frame(MORE, ""), frame(END, "")],
            [text("")],
        ),
        good("an empty first", [frame(BEGIN, ""), frame(END, "a")], [text("a")]),
        good("an empty last", [frame(BEGIN, "a"), frame(END, "")], [text("a")]),
        good(
            "an empty middle",
            [frame(BEGIN, "a"), frame(MORE, ""), frame(END, "b")],
            [text("ab")],
        ),
        good("a ping between", around(frame(PING, "p")), [pong("p"), text("hello")]),
        good("a pong between", around(frame(PONG, "p")), [text("hello")]),
        good("a full ping between", around(frame(PING, [7; 125])), [pong([7; 125]), text("hello")]),
        good(
            "three pings between",
            around(
                [frame(PING, "a"), frame(PONG, "x"), frame(PING, ""), frame(PING, "b")].concat(),
            ),
            [pong("a"), pong(""), pong("b"), text("hello")],
        ),
        good(
            "messages one after the other",
            [hello.clone(), frame(TEXT, "x"), hello.clone(), frame(BINARY, "y")],
            [text("hello world"), text("x"), text("hello world"), binary("y")],
        ),
        fails("nothing to continue", [frame(END, "a")], [], 1002),
        fails("nothing to continue, not the last", [frame(MORE, "a")], [], 1002),
        fails("empty, nothing to continue", [frame(END, "")], [], 1002),
        fails("behind a whole message", [frame(TEXT, "a"), frame(END, "b")], [text("a")], 1002),
        fails(
            "behind a message in fragments",
            [hello.clone(), frame(END, "b")],
            [text("hello world")],
            1002,
        ),
        fails("text in text", around(frame(TEXT, "x")), [], 1002),
        fails("binary in text", around(frame(BINARY, "x")), [], 1002),
        fails("a second beginning", around(frame(BEGIN, "x")), [], 1002),
        fails(
            "a ping, then a second beginning",
            around([frame(PING, "p"), frame(BEGIN, "x")].concat()),
            [pong("p")],
            1002,
        ),
    ];
    for size in [1, 2, 125, 126, 127, 1_000, 65_535, 65_536] {
        let payload = wordy((size * 3 + 1).min(150_000));
        let sent = [fragments(BINARY, &payload, size), fragments(TEXT, &payload, size)];
        cases.push(good(format!("fragments of {size}"), sent, [binary(&payload), text(&payload)]));
    }
    check("", &cases)
}
