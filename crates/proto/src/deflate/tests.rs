//! The examples and rules of RFC 7692, bounds of memory, and another implementation's opinion.

mod oracle;

use proptest::prelude::*;

use super::*;
use crate::decoder::{Decoder, Event, Limits, Violation};
use crate::frame::Role;

const LIMIT: usize = 10_000;

fn inflated(data: &[u8]) -> Result<Vec<u8>, u16> {
    match Inflater::new().message(Opcode::Binary, data, LIMIT) {
        Ok(Event::Binary(bytes)) => Ok(bytes.to_vec()),
        Ok(other) => panic!("{other:?}"),
        Err(violation) => Err(violation.close_code),
    }
}

/// A body of its own, whatever its size, with the tail cut.
fn compressed(payload: &[u8], level: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() * 2 + 100);
    let mut stream = Compress::new(Compression::new(level), false);
    stream.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    out.strip_suffix(&TAIL).expect("a flush ends with the tail").to_vec()
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3_are_read() {
    for (name, data, want) in [
        ("7.2.3.1 one block", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], "Hello"),
        (
            "7.2.3.3 without compression",
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            "Hello",
        ),
        ("7.2.3.4 BFINAL set", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], "Hello"),
        (
            "7.2.3.5 two blocks",
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
            "Hello",
        ),
        ("7.2.3.6 an empty block", &[0x00], ""),
    ] {
        assert_eq!(inflated(data).as_deref(), Ok(want.as_bytes()), "{name}");
    }
}

#[test]
fn a_message_is_not_read_with_the_help_of_the_one_before() {
    // Section 7.2.3.2: "Hello" as a reference into the message before it.
    let mut inflater = Inflater::new();
    let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflater.message(Opcode::Text, &first, LIMIT), Ok(Event::Text("Hello")));
    let leaning = inflater.message(Opcode::Text, &[0xf2, 0x00, 0x11, 0x00, 0x00], LIMIT);
    assert_eq!(leaning.map_err(|violation| violation.close_code), Err(1007));
    assert_eq!(inflater.message(Opcode::Text, &first, LIMIT), Ok(Event::Text("Hello")));
}

#[test]
fn blocks_of_every_kind_may_follow_one_another() {
    let stored = &[0x00, 0x01, 0x00, 0xfe, 0xff, b'a'][..];
    let stored_final = &[0x01, 0x01, 0x00, 0xfe, 0xff, b'b'];
    let fixed_final = &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let empty = &[0x00][..];
    for (name, blocks, want) in [
        ("stored twice", &[stored, stored, empty][..], "aa"),
        ("final ones between", &[stored_final, stored_final, stored, empty], "bba"),
        ("final, of another kind each", &[fixed_final, stored_final, empty], "Hellob"),
        ("an empty final one at the end", &[stored, &[0x01]], "a"),
        ("nothing, finally", &[&[0x01]], ""),
        ("no block at all, from a compressor that had nothing to flush", &[&[]], ""),
    ] {
        assert_eq!(inflated(&blocks.concat()).as_deref(), Ok(want.as_bytes()), "{name}");
    }
}

#[test]
fn what_is_no_sequence_of_whole_blocks_ends_with_1007() {
    let whole = compressed(b"a message that is long enough to be cut anywhere, anywhere", 6);
    for cut in 1..whole.len() {
        assert_eq!(inflated(&whole[..cut]), Err(1007), "cut after {cut} bytes");
    }
    for (name, data) in [
        ("a reserved kind of block", &[0x06][..]),
        ("a stored block whose length is wrong", &[0x00, 0x05, 0x00, 0x00, 0x00]),
        ("a reference to before the start", &[0xf2, 0x00, 0x11, 0x00, 0x00]),
        (
            "the tail was left on",
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00, 0x00, 0xff, 0xff],
        ),
        ("BFINAL without the byte after it", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]),
        ("garbage after a final block", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xff]),
        ("garbage after the last block", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x07]),
        ("text", b"Hello, this is plain text"),
    ] {
        assert_eq!(inflated(data), Err(1007), "{name}");
    }
}

#[test]
fn text_must_be_utf_8_once_it_is_inflated_and_binary_may_be_anything() {
    let data = compressed(b"a\xFFb", 1);
    let text = Inflater::new().message(Opcode::Text, &data, LIMIT).map(|_| ());
    assert_eq!(text.map_err(|violation| violation.close_code), Err(1007));
    assert_eq!(inflated(&data).as_deref(), Ok(&b"a\xFFb"[..]));
    let data = compressed("a€".as_bytes(), 1);
    assert_eq!(Inflater::new().message(Opcode::Text, &data, 4), Ok(Event::Text("a€")));
    for opcode in [Opcode::Continuation, Opcode::Close, Opcode::Ping, Opcode::Pong] {
        let refused = Inflater::new().message(opcode, &data, LIMIT).map(|_| ());
        assert_eq!(refused.map_err(|violation| violation.close_code), Err(1002), "{opcode:?}");
    }
}

#[test]
fn a_bomb_is_refused_at_the_limit_and_holds_no_more_than_that() {
    let zeros = vec![0; 20 << 20];
    let bomb = compressed(&zeros, 9);
    assert!(bomb.len() < 25_000, "{} bytes", bomb.len());
    for limit in [0, 1, 1_000, 64 << 10, 1 << 20] {
        let mut inflater = Inflater::new();
        let refused = inflater.message(Opcode::Binary, &bomb, limit).map(|_| ());
        assert_eq!(refused.map_err(|violation| violation.close_code), Err(1009), "{limit}");
        assert!(inflater.buffered() <= limit, "{} bytes for {limit}", inflater.buffered());
    }
    let mut inflater = Inflater::new();
    let whole = inflater.message(Opcode::Binary, &bomb, zeros.len());
    assert_eq!(whole, Ok(Event::Binary(&zeros)), "exactly the limit is allowed");
    let refused = inflater.message(Opcode::Binary, &bomb, zeros.len() - 1).map(|_| ());
    assert_eq!(refused.map_err(|violation| violation.close_code), Err(1009));
}

#[test]
fn the_verdict_is_the_same_whatever_room_an_earlier_message_left() {
    // Breaks off while 9,987 bytes come out: broken, but too big first.
    let data = [
        0xec, 0xc1, 0x31, 0x01, 0x00, 0x00, 0x00, 0xc2, 0xa0, 0xf5, 0x4f, 0x6d, 0x0d, 0x0f, 0xa0,
        0x57, 0x00, 0x00, 0x05, 0x00, 0xfa, 0xff, 0x76,
    ];
    let mut inflater = Inflater::new();
    for large in [0, 9_000, 60_000] {
        let earlier = compressed(&vec![0; large], 1);
        assert!(inflater.message(Opcode::Binary, &earlier, usize::MAX).is_ok());
        for (limit, code) in [(9_856, 1009), (9_986, 1009), (9_987, 1007), (20_000, 1007)] {
            let refused = inflater.message(Opcode::Binary, &data, limit).map(|_| ());
            let refused = refused.map_err(|violation| violation.close_code);
            assert_eq!(refused, Err(code), "limit {limit} after {large} bytes");
        }
    }
}

#[test]
fn memory_follows_what_came_out_and_is_given_back() {
    let mut inflater = Inflater::new();
    let small = compressed(b"small", 1);
    let event = inflater.message(Opcode::Binary, &small, usize::MAX);
    assert_eq!(event, Ok(Event::Binary(b"small")));
    assert!(inflater.buffered() <= 256, "{} bytes for five", inflater.buffered());
    let large = vec![7; 1 << 20];
    let event = inflater.message(Opcode::Binary, &compressed(&large, 1), usize::MAX);
    assert_eq!(event, Ok(Event::Binary(&large)));
    assert!(inflater.buffered() <= 2 * large.len());
    inflater.release();
    assert_eq!(inflater.buffered(), 0);
    assert!(inflater.message(Opcode::Binary, &compressed(&large, 1), usize::MAX).is_ok());
    assert!(inflater.message(Opcode::Binary, &small, usize::MAX).is_ok());
    assert!(inflater.buffered() <= 256, "the next message gives it back as well");

    let mut deflater = Deflater::new();
    assert!(deflater.message(&large, &mut Vec::new()));
    assert!(deflater.body.capacity() <= KEEP);
    let noise: Vec<u8> =
        (0..1 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let _ = deflater.message(&noise, &mut Vec::new());
    assert!(deflater.body.capacity() <= KEEP, "also when it did not pay");
}

#[test]
fn a_frame_is_written_only_if_it_is_smaller() {
    let mut deflater = Deflater::new();
    let mut out = b"before".to_vec();
    for payload in [&b""[..], b"x", b"{}", b"0123456789", &[0xE2, 0x82, 0xAC]] {
        assert!(!deflater.message(payload, &mut out), "{payload:?}");
        assert_eq!(out, b"before");
    }
    for opcode in [Opcode::Continuation, Opcode::Close, Opcode::Ping, Opcode::Pong] {
        assert!(!deflater.frame(opcode, &[b'x'; 100], &mut out), "{opcode:?}");
        assert_eq!(out, b"before");
    }
    for len in [100, 125, 126, 1_000, 65_535, 65_536, 1 << 20] {
        let payload = vec![b'x'; len];
        out.truncate(6);
        assert!(deflater.message(&payload, &mut out), "{len}");
        assert!(out.len() < 6 + len);
        assert_eq!(&out[..6], b"before");
        let mut plain = Vec::new();
        frame::write(&mut plain, Opcode::Text, frame::payload(&out[6..]));
        plain[0] |= 0x40;
        assert_eq!(plain, &out[6..], "one frame, RSV1 set, and nothing else");
    }
}

/// Sends a payload as a server does and reads it as a client does.
fn round_trip(deflater: &mut Deflater, inflater: &mut Inflater, opcode: Opcode, payload: &[u8]) {
    let mut out = Vec::new();
    if !deflater.frame(opcode, payload, &mut out) {
        assert!(out.is_empty());
        return;
    }
    let mut plain = Vec::new();
    frame::write(&mut plain, opcode, payload);
    assert!(out.len() < plain.len());
    let limits = Limits { message_bytes: payload.len(), fragments: 1, deflate: true };
    let (mut decoder, mut pos) = (Decoder::new(Role::Client), 0);
    let event = decoder.next(&mut out, &mut pos, &limits);
    let Ok(Some(Event::Deflated(of, data))) = event else { panic!("{event:?}") };
    assert_eq!(of, opcode);
    let message = inflater.message(of, data, payload.len());
    match opcode {
        Opcode::Text => assert_eq!(message, Ok(Event::Text(std::str::from_utf8(payload).unwrap()))),
        _ => assert_eq!(message, Ok(Event::Binary(payload))),
    }
}

/// Payloads that compress in different ways: words, noise, runs, and mixtures.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400),
        "[a-d]{0,40}".prop_map(String::into_bytes),
        (any::<u8>(), 0..40_000usize).prop_map(|(byte, count)| vec![byte; count]),
        ("[a-z]{1,8}", 0..200usize).prop_map(|(word, times)| word.repeat(times).into_bytes()),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn whatever_is_deflated_is_inflated_by_us_and_by_another(
        payloads in prop::collection::vec(payload(), 1..4),
    ) {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        for payload in &payloads {
            round_trip(&mut deflater, &mut inflater, Opcode::Binary, payload);
            let text = String::from_utf8_lossy(payload);
            round_trip(&mut deflater, &mut inflater, Opcode::Text, text.as_bytes());
            let mut out = Vec::new();
            if deflater.message(payload, &mut out) {
                let theirs = oracle::inflate(frame::payload(&out), payload.len());
                prop_assert_eq!(theirs.as_ref(), Some(payload));
            }
        }
    }

    #[test]
    fn whatever_another_deflates_is_inflated(
        pieces in prop::collection::vec((payload(), 0..=10u8, any::<bool>()), 0..4),
    ) {
        let want: Vec<u8> = pieces.iter().flat_map(|(payload, ..)| payload.clone()).collect();
        let data = oracle::deflate(&pieces);
        let mut inflater = Inflater::new();
        let event = inflater.message(Opcode::Binary, &data, want.len());
        prop_assert_eq!(event, Ok(Event::Binary(&want)));
        prop_assert!(inflater.buffered() <= want.len());
        if !want.is_empty() {
            let refused = inflater.message(Opcode::Binary, &data, want.len() - 1).map(|_| ());
            prop_assert_eq!(refused.map_err(|violation| violation.close_code), Err(1009));
        }
    }

    #[test]
    fn any_data_is_inflated_within_the_limit_or_refused(
        data in prop::collection::vec(any::<u8>(), 0..300),
        limit in 0..2_000usize,
    ) {
        check_any(&data, limit)?;
    }

    #[test]
    fn good_data_with_one_bad_byte_is_inflated_within_the_limit_or_refused(
        payload in payload(),
        level in 0..=9u32,
        at: prop::sample::Index,
        flip: u8,
        limit in 0..50_000usize,
    ) {
        let mut data = compressed(&payload, level);
        let at = at.index(data.len());
        data[at] ^= flip;
        check_any(&data, limit)?;
    }
}

fn check_any(data: &[u8], limit: usize) -> Result<(), TestCaseError> {
    let mut inflater = Inflater::new();
    let ours = match inflater.message(Opcode::Binary, data, limit) {
        Ok(Event::Binary(bytes)) => Ok(bytes.to_vec()),
        Ok(other) => Err(TestCaseError::fail(format!("{other:?}")))?,
        Err(Violation { close_code, .. }) => Err(close_code),
    };
    prop_assert!(inflater.buffered() <= limit);
    prop_assert!(matches!(&ours, Ok(_) | Err(1007 | 1009)), "{:?}", ours);
    // The two differ in which incomplete codes they put up with, so one may refuse alone.
    if let (Ok(ours), Some(theirs)) = (ours, oracle::inflate(data, limit)) {
        prop_assert_eq!(ours, theirs);
    }
    Ok(())
}

#[test]
fn messages_that_do_not_get_smaller_spoil_nothing_for_those_behind_them() {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    })
    .take(1 << 20)
    .collect();
    let text: String = (0..100_000).map(|n| format!("word {n},")).collect();
    for length in [1, 1_000, 60_000, 70_000, 1 << 20] {
        let mut deflater = Deflater::new();
        for _ in 0..100_000 / length + 2 {
            assert!(!deflater.frame(Opcode::Binary, &noise[..length], &mut Vec::new()), "{length}");
        }
        let (mut after, mut fresh) = (Vec::new(), Vec::new());
        assert!(deflater.message(text.as_bytes(), &mut after), "{length}");
        assert!(Deflater::new().message(text.as_bytes(), &mut fresh));
        assert!(after == fresh, "behind {length} bytes of noise");
    }
}
