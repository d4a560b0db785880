//! The table of text: what is UTF-8 and what is not, whole and over fragments, refused as early as it can be told.
//! RFC 6455, section 8.1; RFC 3629.

use anyhow::Result;

use super::table::{Case, binary, check, echo, fails, good, pong, text};
use super::wire::{BEGIN, BINARY, END, MORE, PING, TEXT, frame, head, wordy};

/// The first and last characters of every length, their neighbours, and what is no character but may be sent.
const VALID: [&[u8]; 22] = [
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xe1\x80\x80",
    b"\xec\xbf\xbf",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbb\xbf",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf0\x9f\xbf\xbe",
    b"\xf0\x9f\xbf\xbf",
    b"\xf3\xbf\xbf\xbf",
    b"\xf4\x8f\xbf\xbe",
    b"\xf4\x8f\xbf\xbf",
    "κόσμε".as_bytes(),
    "日本語 — ½ €".as_bytes(),
    "👩\u{200d}🚀🏳\u{fe0f}\u{200d}🌈".as_bytes(),
];

/// What can never become valid, whatever follows.
const INVALID: [&[u8]; 34] = [
    b"\x80",
    b"\xbf",
    b"\x80\xbf\x80\xbf",
    b"\xc0",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xc2\x41",
    b"\xdf\xdf\xbf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xe1\x80\x41",
    b"\xe2\x28\xa1",
    b"\xed\xa0\x80",
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf0\x90\x41",
    b"\xf0\x9f\x92\x41",
    b"\xf4\x90\x80\x80",
    b"\xf4\xbf\xbf\xbf",
    b"\xf5",
    b"\xf5\x80\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    b"\xf8\x88\x80\x80\x80",
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xfe",
    b"\xff",
    b"\xfe\xfe\xff\xff",
];

/// What is the beginning of a character and not the end of one.
const CUT: [&[u8]; 9] = [
    b"\xc2",
    b"\xdf",
    b"\xe0",
    b"\xe0\xa0",
    b"\xef\xbf",
    b"\xf0",
    b"\xf0\x90",
    b"\xf0\x9f\x92",
    b"\xf4\x8f\xbf",
];

/// Bytes with text before and behind.
fn within(bytes: &[u8]) -> Vec<u8> {
    [b"before ", bytes, b" behind"].concat()
}

/// One fragment for each byte.
fn byte_fragments(bytes: &[u8]) -> Vec<u8> {
    let last = bytes.len().saturating_sub(1);
    let first = |place: usize| {
        (if place == 0 { BEGIN } else { MORE }) | (if place == last { END } else { 0 })
    };
    bytes.iter().enumerate().flat_map(|(place, byte)| frame(first(place), [*byte])).collect()
}

#[test]
fn valid_text_comes_back_wherever_it_is_cut() -> Result<()> {
    let cases: Vec<Case> = VALID
        .iter()
        .flat_map(|bytes| {
            let name = bytes.escape_ascii();
            let (around, pinged) = (within(bytes), [frame(BEGIN, &bytes[..1]), frame(PING, "p")]);
            [
                echo(format!("{name}"), TEXT, bytes),
                echo(format!("{name} within text"), TEXT, &around),
                good(format!("{name} byte by byte"), [byte_fragments(bytes)], [text(bytes)]),
                good(
                    format!("{name} within, byte by byte"),
                    [byte_fragments(&around)],
                    [text(&around)],
                ),
                good(
                    format!("{name} with a ping inside"),
                    [pinged.concat(), frame(END, &bytes[1..])],
                    [pong("p"), text(bytes)],
                ),
            ]
        })
        .collect();
    check("", &cases)
}

#[test]
fn what_is_no_utf_8_is_refused_whole_and_in_fragments_without_waiting_for_the_end() -> Result<()> {
    let cases: Vec<Case> = INVALID
        .iter()
        .flat_map(|bytes| {
            let name = bytes.escape_ascii();
            let around = within(bytes);
            let claimed = [head(TEXT, 100_000), frame(TEXT, &around)[6..].to_vec()].concat();
            let (split, rest) = around.split_at(around.len() / 2);
            [
                fails(format!("{name}"), [frame(TEXT, bytes)], [], 1007),
                fails(format!("{name} within text"), [frame(TEXT, &around)], [], 1007),
                fails(format!("{name} in two"), [frame(BEGIN, split), frame(END, rest)], [], 1007),
                fails(format!("{name} byte by byte"), [byte_fragments(&around)], [], 1007),
                // The message has no end: it is refused without one.
                fails(format!("{name}, more to follow"), [frame(BEGIN, &around)], [], 1007),
                fails(
                    format!("{name} in the middle"),
                    [frame(BEGIN, "a"), frame(MORE, &around)],
                    [],
                    1007,
                ),
                // Nor has the frame.
                fails(format!("{name}, frame unfinished"), [claimed], [], 1007),
                echo(format!("{name} as binary"), BINARY, bytes),
            ]
        })
        .collect();
    check("", &cases)
}

#[test]
fn a_character_may_be_cut_by_a_fragment_and_not_by_the_end() -> Result<()> {
    let cases: Vec<Case> = CUT
        .iter()
        .flat_map(|bytes| {
            let name = bytes.escape_ascii();
            [
                fails(
                    format!("{name} at the end"),
                    [frame(TEXT, [b"a", *bytes].concat())],
                    [],
                    1007,
                ),
                fails(
                    format!("{name} at the end, byte by byte"),
                    [byte_fragments(bytes)],
                    [],
                    1007,
                ),
                fails(
                    format!("{name}, then a letter"),
                    [frame(BEGIN, bytes), frame(END, "a")],
                    [],
                    1007,
                ),
                fails(
                    format!("{name}, then nothing"),
                    [frame(BEGIN, bytes), frame(END, "")],
                    [],
                    1007,
                ),
            ]
        })
        .collect();
    check("", &cases)
}

#[test]
fn long_text_is_checked_to_its_last_byte() -> Result<()> {
    let mut cases = Vec::new();
    for length in [1_000, 65_535, 65_536, 200_000] {
        let mut payload = wordy(length);
        cases.push(echo(format!("{length} good bytes"), TEXT, &payload));
        payload[length - 1] = 0xc3;
        cases.push(fails(
            format!("{length} bytes, the last cut"),
            [frame(TEXT, &payload)],
            [],
            1007,
        ));
        cases.push(good(
            format!("{length} bytes, the last completed"),
            [frame(BEGIN, &payload), frame(END, [0xbc])],
            [text([&payload[..], &[0xbc]].concat())],
        ));
        cases.push(good(format!("{length} binary"), [frame(BINARY, &payload)], [binary(&payload)]));
    }
    check("", &cases)
}
