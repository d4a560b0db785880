//! The table of endings: close frames, their codes and reasons, and what comes behind them. RFC 6455, sections 5.5.1
//! and 7.4.

use anyhow::Result;

use super::table::{Case, check, closed, fails, pong, text};
use super::wire::{BEGIN, CLOSE, END, MORE, PING, PONG, TEXT, close, frame};

/// Codes that may stand in a close frame: assigned ones, and those of libraries and applications.
const VALID: [u16; 20] = [
    1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000,
    4001, 4998, 4999, 3500,
];

/// Codes that may not.
const INVALID: [u16; 23] = [
    0, 1, 125, 500, 998, 999, 1004, 1005, 1006, 1015, 1016, 1017, 1099, 1100, 1999, 2000, 2500,
    2998, 2999, 5000, 5001, 32_767, 65_535,
];

#[test]
fn a_close_frame_gets_its_code_back_and_ends_everything() -> Result<()> {
    let bye = || close(1000, "");
    let mut cases = vec![
        closed("no code", [frame(CLOSE, "")], [], 1000),
        closed("text before it", [frame(TEXT, "a"), bye()], [text("a")], 1000),
        closed("a ping before it", [frame(PING, "a"), bye()], [pong("a")], 1000),
        closed("text behind it", [bye(), frame(TEXT, "late")], [], 1000),
        closed("a ping behind it", [bye(), frame(PING, "late")], [], 1000),
        closed("a pong behind it", [bye(), frame(PONG, "late")], [], 1000),
        closed("twice", [bye(), close(3000, "")], [], 1000),
        closed("nonsense behind it", [bye(), vec![0xff; 100]], [], 1000),
        closed("an unmasked frame behind it", [bye(), vec![TEXT, 1, b'a']], [], 1000),
        closed("inside a message", [frame(BEGIN, "a"), bye(), frame(END, "b")], [], 1000),
        closed(
            "inside a message, with a ping",
            [frame(BEGIN, "a"), frame(MORE, "b"), frame(PING, "p"), close(1001, "")],
            [pong("p")],
            1001,
        ),
        fails("one byte", [frame(CLOSE, [3])], [], 1002),
        fails("126 bytes", [close(1000, [b'x'; 124])], [], 1002),
        fails("65,536 bytes", [close(1000, vec![b'x'; 65_534])], [], 1002),
        fails("one byte, behind text", [frame(TEXT, "a"), frame(CLOSE, [3])], [text("a")], 1002),
    ];
    for length in [0, 1, 2, 121, 122, 123] {
        let reason = vec![b'x'; length];
        cases.push(closed(format!("{length} bytes of reason"), [close(1000, reason)], [], 1000));
    }
    for (name, reason) in [("two bytes", "é"), ("three", "€"), ("four", "🚀"), ("zero", "\0")]
    {
        cases.push(closed(format!("characters of {name}"), [close(4000, reason)], [], 4000));
    }
    check("", &cases)
}

#[test]
fn every_code_that_may_be_sent_is_taken_and_every_other_one_refused() -> Result<()> {
    let valid = VALID.iter().flat_map(|code| {
        ["", "because"]
            .map(|reason| closed(format!("{code} {reason:?}"), [close(*code, reason)], [], *code))
    });
    let invalid = INVALID.iter().flat_map(|code| {
        ["", "because"]
            .map(|reason| fails(format!("{code} {reason:?}"), [close(*code, reason)], [], 1002))
    });
    check("", &valid.chain(invalid).collect::<Vec<Case>>())
}

#[test]
fn a_reason_is_utf_8() -> Result<()> {
    let broken: [&[u8]; 8] = [
        b"\xff",
        b"\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"fine, then \xfe",
        b"cut \xe2\x82",
        b"cut \xf0",
    ];
    let cases = broken
        .map(|reason| fails(format!("{}", reason.escape_ascii()), [close(1000, reason)], [], 1007));
    check("", &cases)
}
