use proptest::prelude::*;

use super::*;

fn text(text: &str) -> Item {
    Item::Text(Bytes::copy_from_slice(text.as_bytes()))
}

/// Everything that is said in `bytes`, which come in pieces of `step`.
fn said(bytes: &[u8], longest: u32, step: usize) -> Result<Vec<Reply>, Garbled> {
    let (mut decoder, mut buffer) = (Decoder::new(longest), BytesMut::new());
    let mut replies = Vec::new();
    for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        while let Some(reply) = decoder.next(&mut buffer)? {
            replies.push(reply);
        }
        assert!(buffer.len() <= longest as usize + LONGEST_LINE, "{} bytes held", buffer.len());
    }
    Ok(replies)
}

const SESSION: &[u8] = b"+OK\r\n-WRONGPASS invalid\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n\
    *3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n*4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\nc1\r\n$4\r\n\r\n\r\n\r\n\
    *2\r\n$4\r\npong\r\n$-1\r\n";

#[test]
fn a_session_is_read_however_it_is_cut() {
    let expected = [
        Reply::Single(text("OK")),
        Reply::Error("WRONGPASS invalid".into()),
        Reply::List(vec![text("subscribe"), text("c"), Item::Number(1)]),
        Reply::List(vec![text("message"), text("c"), text("")]),
        Reply::List(vec![text("pmessage"), text("c*"), text("c1"), text("\r\n\r\n")]),
        Reply::List(vec![text("pong"), text("")]),
    ];
    for step in 1..=SESSION.len() {
        assert_eq!(said(SESSION, 64, step).unwrap(), expected, "in pieces of {step}");
    }
}

#[test]
fn a_string_that_is_too_large_is_passed_over_and_what_follows_is_read() {
    let mut bytes = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$100000\r\n".to_vec();
    bytes.extend([b'x'; 100_000]);
    bytes.extend(b"\r\n*3\r\n$7\r\nmessage\r\n$17\r\n12345678901234567\r\n$1\r\n1\r\n+OK\r\n");
    let expected = [
        Reply::List(vec![text("message"), text("c"), Item::TooLarge(100_000)]),
        Reply::List(vec![text("message"), Item::TooLarge(17), text("1")]),
        Reply::Single(text("OK")),
    ];
    for step in [1, 2, 7, 4096, bytes.len()] {
        assert_eq!(said(&bytes, 16, step).unwrap(), expected, "in pieces of {step}");
    }
}

#[test]
fn what_is_no_resp2_is_refused() {
    let endless = [b'+'; LONGEST_LINE + 1];
    for (bytes, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], Garbled::Kind('H')),
        (b"%1\r\n", Garbled::Kind('%')),
        (b"\r\n", Garbled::Number),
        (b"*x\r\n", Garbled::Number),
        (b"*-1\r\n", Garbled::List),
        (b"*0\r\n", Garbled::List),
        (b"*9\r\n", Garbled::List),
        (b"*2\r\n*1\r\n", Garbled::List),
        (b"*2\r\n-ERR\r\n", Garbled::List),
        (b"$-2\r\n", Garbled::Number),
        (b"$99999999999999999999\r\n", Garbled::Number),
        (b"$1\r\nab\r\n", Garbled::Number),
        (b":1.5\r\n", Garbled::Number),
        (&endless, Garbled::Line),
    ] {
        assert_eq!(said(bytes, 64, 1), Err(expected), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_length_that_no_memory_holds_costs_none() {
    let bytes = format!("${}\r\nabc", i64::MAX);
    assert_eq!(
        said(bytes.as_bytes(), 64, 1).unwrap(),
        [Reply::Single(Item::TooLarge(i64::MAX as u64))]
    );
}

#[test]
fn a_command_is_a_list_of_strings() {
    assert_eq!(
        command(&[b"PSUBSCRIBE", b"a b\r\n"]),
        b"*2\r\n$10\r\nPSUBSCRIBE\r\n$5\r\na b\r\n\r\n"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_hold_more_than_it_may(bytes: Vec<u8>, step in 1..64usize) {
        drop(said(&bytes, 16, step));
    }

    #[test]
    fn nearly_right_bytes_do_not_either(cut in 0..SESSION.len(), byte: u8, step in 1..64usize) {
        let mut bytes = SESSION.to_vec();
        bytes[cut] = byte;
        drop(said(&bytes, 16, step));
    }
}
