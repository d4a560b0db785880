//! The table of permessage-deflate: what is agreed on, sizes and fragments, and what may not be sent. RFC 7692.

use anyhow::{Result, ensure};

use super::servers;
use super::table::{Case, binary, check, closed, either, fails, good, pong, small, text};
use super::wire::{
    BEGIN, BINARY, CLOSE, Connection, DEFLATED, END, MORE, PING, TEXT, close, deflated, fragments,
    frame, noise, wordy,
};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const WIDE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                    server_max_window_bits=15";

/// Offers, and what is answered: the first that can be kept, or nothing.
const OFFERS: [(&str, Option<&str>); 34] = [
    ("permessage-deflate", Some(ANSWER)),
    ("permessage-deflate; client_max_window_bits", Some(ANSWER)),
    ("permessage-deflate; client_max_window_bits=8", Some(ANSWER)),
    ("permessage-deflate; client_max_window_bits=15", Some(ANSWER)),
    ("permessage-deflate; client_max_window_bits=\"10\"", Some(ANSWER)),
    ("permessage-deflate; server_no_context_takeover", Some(ANSWER)),
    ("permessage-deflate; client_no_context_takeover", Some(ANSWER)),
    ("permessage-deflate;server_no_context_takeover;client_no_context_takeover", Some(ANSWER)),
    ("permessage-deflate ; server_no_context_takeover ; client_max_window_bits", Some(ANSWER)),
    ("permessage-deflate; server_max_window_bits=15", Some(WIDE)),
    ("permessage-deflate; server_max_window_bits=15; client_max_window_bits=9", Some(WIDE)),
    ("permessage-deflate; server_max_window_bits=14", None),
    ("permessage-deflate; server_max_window_bits=10", None),
    ("permessage-deflate; server_max_window_bits=8", None),
    ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(ANSWER)),
    (
        "permessage-deflate; server_max_window_bits=9, permessage-deflate; server_max_window_bits=15",
        Some(WIDE),
    ),
    ("permessage-deflate, permessage-deflate; server_max_window_bits=15", Some(ANSWER)),
    ("permessage-deflate; server_max_window_bits", None),
    ("permessage-deflate; server_max_window_bits=7", None),
    ("permessage-deflate; server_max_window_bits=16", None),
    ("permessage-deflate; server_max_window_bits=015", None),
    ("permessage-deflate; client_max_window_bits=7", None),
    ("permessage-deflate; client_max_window_bits=16", None),
    ("permessage-deflate; client_max_window_bits=x", None),
    ("permessage-deflate; server_no_context_takeover=1", None),
    ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
    ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
    ("permessage-deflate; unknown", None),
    ("permessage-deflate; unknown=1, permessage-deflate", Some(ANSWER)),
    ("x-webkit-deflate-frame", None),
    ("permessage-bzip2", None),
    ("permessage-bzip2, permessage-deflate", Some(ANSWER)),
    ("permessage-deflates", None),
    ("", None),
];

fn offer(value: &str) -> String {
    format!("Sec-WebSocket-Extensions: {value}\r\n")
}

/// A compressed message in one frame.
fn packed(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(first | DEFLATED, deflated(payload.as_ref(), 6))
}

#[test]
fn the_first_offer_that_can_be_kept_is_answered_and_kept() -> Result<()> {
    let server = servers::echo()?;
    let long = wordy(2_000);
    for (value, answer) in OFFERS {
        let mut connection = Connection::open(server.client_addr, &offer(value))?;
        let agreed = &connection.extensions;
        ensure!(*agreed == Vec::from_iter(answer.map(str::to_owned)), "{value:?}: {agreed:?}");
        connection.write(&frame(TEXT, &long))?;
        let back = connection.frame()?;
        let kept =
            back.as_ref().map(|frame| frame.is(TEXT, &long, answer.is_some())).transpose()?;
        ensure!(
            kept == Some(true),
            "{value:?}: not {}compressed",
            if answer.is_some() { "" } else { "un" }
        );
    }
    let lines =
        offer("permessage-deflate; server_max_window_bits=9") + &offer("permessage-deflate");
    let connection = Connection::open(server.client_addr, &lines)?;
    ensure!(connection.extensions == [ANSWER], "two lines: {:?}", connection.extensions);
    let connection = Connection::open(server.client_addr, "")?;
    ensure!(connection.extensions.is_empty(), "nothing offered: {:?}", connection.extensions);
    Ok(())
}

#[test]
fn a_compressed_message_is_a_message_in_any_cut_and_at_any_level() -> Result<()> {
    let hello: [(&str, &[u8]); 5] = [
        ("one block", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]),
        ("stored", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]),
        ("a final block", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]),
        (
            "two blocks",
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        ),
        (
            "an empty block behind",
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00],
        ),
    ];
    let mut cases = Vec::new();
    for (name, data) in hello {
        cases.push(good(name, [frame(TEXT | DEFLATED, data)], [text("Hello")]));
        for size in 1..data.len() {
            let sent = [fragments(TEXT | DEFLATED, data, size)];
            cases.push(good(format!("{name}, in fragments of {size}"), sent, [text("Hello")]));
        }
    }
    let long = wordy(5_000);
    for level in 0..=9 {
        let sent = [frame(TEXT | DEFLATED, deflated(&long, level))];
        cases.push(good(format!("level {level}"), sent, [small(&long)]));
    }
    check(OFFER, &cases)
}

#[test]
fn plain_and_compressed_messages_stand_behind_one_another_and_lean_on_nothing() -> Result<()> {
    let (long, [begin, rest]) = (wordy(5_000), halves(&deflated(&wordy(5_000), 6)));
    let cases = [
        good("empty", [packed(TEXT, "")], [text("")]),
        good("empty, as one byte", [frame(TEXT | DEFLATED, [0])], [text("")]),
        good("nothing at all", [frame(TEXT | DEFLATED, "")], [text("")]),
        good("plain", [frame(TEXT, "plain")], [text("plain")]),
        good("plain in fragments", [frame(BEGIN, "pl"), frame(END, "ain")], [text("plain")]),
        good("binary that is no text", [packed(BINARY, b"\x00\xff")], [binary(b"\x00\xff")]),
        good("noise stays as it is", [packed(BINARY, noise(3_000))], [binary(noise(3_000))]),
        good(
            "plain, compressed, plain",
            [frame(TEXT, "a"), packed(TEXT, "b"), packed(BINARY, "c"), frame(TEXT, "d")],
            [text("a"), text("b"), binary("c"), text("d")],
        ),
        good(
            "the same twice: nothing leans on the one before",
            [packed(TEXT, &long), packed(TEXT, &long)],
            [small(&long), small(&long)],
        ),
        good(
            "noise, then text, many times",
            (0..40)
                .flat_map(|_| [packed(BINARY, noise(4_000)), packed(TEXT, &long)])
                .collect::<Vec<_>>(),
            (0..40).flat_map(|_| [binary(noise(4_000)), small(&long)]).collect::<Vec<_>>(),
        ),
        good(
            "a ping between its fragments",
            [frame(BEGIN | DEFLATED, begin), frame(PING, "p"), frame(END, rest)],
            [pong("p"), small(&long)],
        ),
    ];
    check(OFFER, &cases)
}

fn halves(bytes: &[u8]) -> [Vec<u8>; 2] {
    let (begin, rest) = bytes.split_at(bytes.len() / 2);
    [begin.to_vec(), rest.to_vec()]
}

#[test]
fn only_the_first_frame_of_a_message_says_that_it_is_compressed() -> Result<()> {
    let cases = [
        fails("a compressed ping", [frame(PING | DEFLATED, "")], [], 1002),
        fails("a compressed close", [frame(CLOSE | DEFLATED, b"\x03\xe8")], [], 1002),
        fails(
            "a bit on a continuation",
            [frame(BEGIN | DEFLATED, [0xf2]), frame(END | DEFLATED, [0x48])],
            [],
            1002,
        ),
        fails(
            "a bit on the middle",
            [frame(BEGIN | DEFLATED, [0xf2]), frame(MORE | DEFLATED, [0x48])],
            [],
            1002,
        ),
        fails(
            "a bit only behind the first",
            [frame(BEGIN, "a"), frame(END | DEFLATED, "b")],
            [],
            1002,
        ),
        fails("the second reserved bit", [frame(TEXT | 0x60, [0])], [], 1002),
        fails("the third reserved bit", [frame(TEXT | 0x50, [0])], [], 1002),
        fails("the second bit without the first", [frame(TEXT | 0x20, "a")], [], 1002),
        fails("a compressed reserved opcode", [frame(0x83 | DEFLATED, [0])], [], 1002),
        closed(
            "closed inside a message",
            [frame(BEGIN | DEFLATED, [0xf2]), close(1000, "")],
            [],
            1000,
        ),
    ];
    check(OFFER, &cases)?;
    check("", &[fails("compressed, and not agreed on", [packed(TEXT, "a")], [], 1002)])?;
    let narrow = offer("permessage-deflate; server_max_window_bits=9");
    check(&narrow, &[fails("compressed, and declined", [packed(TEXT, "a")], [], 1002)])
}

#[test]
fn what_cannot_be_inflated_ends_the_connection() -> Result<()> {
    let bomb = deflated(&vec![b' '; (16 << 20) + 1], 9);
    let cut = deflated(&wordy(1_000), 6)[..100].to_vec();
    let mut cases = vec![
        fails("no deflate data", [frame(TEXT | DEFLATED, [0xff; 10])], [], 1007),
        fails("broken off", [frame(TEXT | DEFLATED, &cut)], [], 1007),
        fails("broken off, binary", [frame(BINARY | DEFLATED, &cut)], [], 1007),
        fails(
            "leaning on nothing",
            [frame(TEXT | DEFLATED, [0xf2, 0x00, 0x11, 0x00, 0x00])],
            [],
            1007,
        ),
        fails(
            "leaning on the one before",
            [packed(TEXT, "Hello"), frame(TEXT | DEFLATED, [0xf2, 0x00, 0x11, 0x00, 0x00])],
            [text("Hello")],
            1007,
        ),
        fails("text that is no UTF-8", [packed(TEXT, b"a\xffb")], [], 1007),
        fails("text cut in a character", [packed(TEXT, b"a\xe2\x82")], [], 1007),
        fails("a byte above the limit", [frame(BINARY | DEFLATED, &bomb)], [], 1009),
        fails("the same in fragments", [fragments(BINARY | DEFLATED, &bomb, 1_000)], [], 1009),
        fails(
            "broken, behind a good one",
            [packed(TEXT, "a"), frame(TEXT | DEFLATED, [0xff; 3])],
            [text("a")],
            1007,
        ),
    ];
    for bad in [&b"\xc0\xaf"[..], b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xfe"] {
        cases.push(fails(format!("{}", bad.escape_ascii()), [packed(TEXT, bad)], [], 1007));
    }
    check(OFFER, &cases)
}

/// Many messages of one size, each other than the one before, with a mixture of fragment sizes.
fn many(size: usize, count: usize) -> Vec<Case> {
    let messages: Vec<Vec<u8>> = (0..count)
        .map(|n| [format!("{n:05}").as_bytes(), &wordy(size)].concat()[..size].to_vec())
        .collect();
    [usize::MAX, 64, 256, 1_024, 4_096, 32_768]
        .into_iter()
        .filter(|fragment| *fragment == usize::MAX || (size / 200..size).contains(fragment))
        .map(|fragment| {
            let sent = messages.iter().enumerate().map(|(n, message)| match n % 2 {
                0 => fragments(TEXT | DEFLATED, &deflated(message, 6), fragment),
                _ => fragments(BINARY | DEFLATED, &deflated(message, 1), fragment),
            });
            let answers = messages
                .iter()
                .enumerate()
                .map(|(n, message)| either(if n % 2 == 0 { TEXT } else { BINARY }, message));
            let name = format!("{count} messages of {size} in fragments of {fragment}");
            good(name, sent.collect::<Vec<_>>(), answers.collect::<Vec<_>>())
        })
        .collect()
}

#[test]
fn many_messages_of_every_size_come_back_under_every_kind_of_offer() -> Result<()> {
    let sizes = [0, 16, 64, 256, 1_024, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072];
    let offers = [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=15; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9, permessage-deflate",
    ];
    for (place, value) in offers.into_iter().enumerate() {
        // Every offer sees a third of the sizes, all offers together every size.
        let cases: Vec<Case> = sizes
            .into_iter()
            .skip(place % 3)
            .step_by(3)
            .flat_map(|size| many(size, (200_000 / (size + 100)).clamp(2, 200)))
            .collect();
        check(&offer(value), &cases)?;
    }
    Ok(())
}
