//! Compressed frames in, plain frames out: in every division, and never beyond a limit.

use flate2::{Compress, Compression, FlushCompress};

use crate::deflate::{Fault, Inflating, agreed};

const LIMIT: usize = 1 << 20;

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 1024);
    let mut stream = Compress::new(Compression::new(6), false);
    stream.compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - 4);
    out
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ ..126 => out.push(short as u8),
        long @ ..65_536 => {
            out.push(126);
            out.extend((long as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(payload);
    out
}

/// What comes out when these bytes come in parts of this size.
fn read(bytes: &[u8], part: usize) -> Result<Vec<u8>, Fault> {
    let (mut inflating, mut out) = (Inflating::new(LIMIT), Vec::new());
    for part in bytes.chunks(part) {
        inflating.take(part, &mut out)?;
    }
    Ok(out)
}

#[test]
fn frames_come_out_plain_wherever_reads_end() {
    let text = r#"{"type":"message","channel":"BTC.price"}"#.repeat(3000);
    let whole = deflated(text.as_bytes());
    let (first, rest) = whole.split_at(whole.len() / 2);
    let (second, third) = rest.split_at(3);
    let fed = [
        frame(0x81, b"plain"),
        frame(0xc1, &whole),
        frame(0xc2, &deflated(b"short")),
        frame(0x41, first),
        frame(0x89, b"ping"), // between two fragments
        frame(0x00, second),
        frame(0x00, b""),
        frame(0x80, third),
        frame(0x01, b"plain in "),
        frame(0x80, b"two"),
        frame(0xc1, b""),
        frame(0x88, &[0x03, 0xe8]),
    ]
    .concat();
    let want = [
        frame(0x81, b"plain"),
        frame(0x81, text.as_bytes()),
        frame(0x82, b"short"),
        frame(0x89, b"ping"),
        frame(0x81, text.as_bytes()),
        frame(0x01, b"plain in "),
        frame(0x80, b"two"),
        frame(0x81, b""),
        frame(0x88, &[0x03, 0xe8]),
    ]
    .concat();
    for part in [1, 2, 7, 100, fed.len()] {
        assert!(read(&fed, part).unwrap() == want, "{part}");
    }
}

#[test]
fn a_message_may_have_several_streams() {
    // RFC 7692 section 7.2.3.4 and 7.2.3.5: a final block, and two blocks.
    let ends = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    assert_eq!(read(&frame(0xc1, &ends), 3).unwrap(), frame(0x81, b"Hello"));
    let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(read(&frame(0xc1, &two), 3).unwrap(), frame(0x81, b"Hello"));
}

#[test]
fn a_message_is_as_large_as_the_limit_and_no_larger() {
    let at = vec![b'a'; LIMIT];
    assert!(read(&frame(0xc1, &deflated(&at)), 1000).unwrap() == frame(0x81, &at));
    let bomb = deflated(&vec![b'a'; LIMIT + 1]);
    assert_eq!(read(&frame(0xc1, &bomb), 1000), Err(Fault::TooBig(LIMIT)));
    // Of what is announced nothing is held.
    let announced = [0xc1, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    assert_eq!(read(&announced, 1), Err(Fault::TooBig(LIMIT)));
    let half = vec![0; LIMIT / 2 + 1];
    let halves = [frame(0x41, &half), frame(0x80, &half)].concat();
    assert_eq!(read(&halves, 4096), Err(Fault::TooBig(LIMIT)));
}

#[test]
fn what_is_not_deflate_or_breaks_off_is_broken() {
    let good = deflated(b"a message that is long enough to be cut");
    for bytes in [&[0xff; 40][..], b"{\"type\":\"pong\"}", &good[..good.len() / 2]] {
        assert_eq!(read(&frame(0xc1, bytes), 5), Err(Fault::Broken), "{bytes:?}");
    }
    for _ in 0..2_000 {
        let bytes: Vec<u8> = (0..fastrand::usize(1..200)).map(|_| fastrand::u8(..)).collect();
        let _ = read(&frame(0xc1, &bytes), 50);
        let _ = read(&bytes, 50);
    }
}

#[test]
fn frames_of_a_compressed_message_in_no_order_are_refused() {
    let part = frame(0x41, &deflated(b"a"));
    for next in [frame(0x81, b"b"), frame(0xc1, b"b"), frame(0xc0, b"b"), frame(0xa0, b"b")] {
        assert_eq!(read(&[part.clone(), next].concat(), 3), Err(Fault::Order));
    }
    assert_eq!(read(&[0xc1, 0x81, 0, 0, 0, 0, 0], 3), Err(Fault::Order), "masked");
    // What is not compressed is left to what reads it.
    let odd = [frame(0xc9, b"ping"), frame(0x83, b"reserved"), frame(0x80, b"nothing begun")];
    assert_eq!(read(&odd.concat(), 3).unwrap(), odd.concat());
}

#[test]
fn only_what_was_offered_is_agreed_to() {
    let answer = |text: &'static str| agreed([text].into_iter());
    assert_eq!(agreed(std::iter::empty()), Some(false));
    assert_eq!(answer(""), Some(false));
    for good in [
        "permessage-deflate; server_no_context_takeover",
        "permessage-deflate;client_no_context_takeover;server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=\"9\"",
    ] {
        assert_eq!(answer(good), Some(true), "{good}");
    }
    for bad in [
        "permessage-deflate",
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=15",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=09",
        "permessage-deflate; server_no_context_takeover; mystery",
        "permessage-deflate; server_no_context_takeover, permessage-deflate; server_no_context_takeover",
        "x-webkit-deflate-frame",
    ] {
        assert_eq!(answer(bad), None, "{bad}");
    }
}
