//! The data push: `{"seq":n,"ts":…,"type":…,"priority":1,"channel":…,"offset":…,"data":…}`.
//!
//! `seq` is the connection's own, everything behind it is the same for all clients. So the part between the two is made
//! once per message ([`head`]), the payload is that of the `wsgateway.v1` frame, and a connection's frame is put
//! together in the buffer that it is sent from ([`frame`]), without an allocation and without a look at the payload.

use crate::escape;
use crate::frame::{self, Opcode};

/// `priority` of every data push. The earlier server had 0 (critical: never dropped, left out on the wire), 1 (high:
/// deliver or disconnect) and 2 (normal: dropped for slow clients); what it sent from its stream was 1, and so is what a
/// gateway does with every message of this protocol.
pub const PRIORITY: u8 = 1;

/// `type` of a message that says nothing of itself and has no rule: the earlier server said so for everything.
pub const DEFAULT_TYPE: &str = "price:update";

/// `type` of a deletion: clients of the earlier server pass over types that they do not know, and would look for a
/// price in anything else.
pub const DELETED_TYPE: &str = "channel:deleted";

const BEFORE_SEQ: &[u8] = b"{\"seq\":";

/// What a data push says besides `seq` and `data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// When the stream stored it, Unix ms.
    pub ts: i64,
    /// What clients switch on; as [`super::message_type`] or a channel rule say.
    pub kind: &'a str,
    /// Subject without the gateway's prefix.
    pub channel: &'a str,
    /// Its sequence in the stream.
    pub offset: u64,
}

/// The JSON between the digits of `seq` and the data: made once per message, one allocation.
pub fn head(head: &Head<'_>) -> Box<[u8]> {
    let (mut offset, mut ts, mut priority) = Default::default();
    let parts: [&[u8]; 6] = [
        b",\"ts\":",
        itoa::Buffer::format(&mut ts, head.ts).as_bytes(),
        b",\"type\":\"",
        b"\",\"priority\":",
        itoa::Buffer::format(&mut priority, PRIORITY).as_bytes(),
        b",\"channel\":\"",
    ];
    let offset = itoa::Buffer::format(&mut offset, head.offset).as_bytes();
    let ends: [&[u8]; 3] = [b"\",\"offset\":", offset, b","];
    let size = parts.iter().chain(&ends).map(|part| part.len()).sum::<usize>()
        + escape::len(head.kind)
        + escape::len(head.channel);
    let mut out = Vec::with_capacity(size);
    for part in &parts[..3] {
        out.extend_from_slice(part);
    }
    escape::push(&mut out, head.kind);
    for part in &parts[3..] {
        out.extend_from_slice(part);
    }
    escape::push(&mut out, head.channel);
    for part in ends {
        out.extend_from_slice(part);
    }
    out.into_boxed_slice()
}

/// Bytes of the frame that [`frame`] appends.
pub fn frame_len(seq: u64, head: &[u8], tail: &[u8]) -> usize {
    let body = body_len(digits(seq), head, tail);
    frame::header(Opcode::Text, body).len() + body
}

/// Appends one whole server frame: the message with this `head` as the `seq`-th of its connection. `tail` is the rest of
/// the object from `"data":` (or what stands before it) to the closing brace, as in the `wsgateway.v1` frame.
pub fn frame(out: &mut Vec<u8>, seq: u64, head: &[u8], tail: &[u8]) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(seq).as_bytes();
    let header = frame::header(Opcode::Text, body_len(digits.len(), head, tail));
    for part in [&*header, BEFORE_SEQ, digits, head, tail] {
        out.extend_from_slice(part);
    }
}

/// The fields of a payload with its closing brace, for a message without `data`; `None` for what is no JSON object or has no
/// field. `tail` is as in [`frame`], and what stands in it is valid JSON.
pub fn flat(tail: &[u8]) -> Option<&[u8]> {
    let payload = tail.strip_prefix(b"\"data\":")?.strip_suffix(b"}")?;
    let fields = payload.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    (fields.first() != Some(&b'}')).then_some(fields)
}

fn body_len(digits: usize, head: &[u8], tail: &[u8]) -> usize {
    BEFORE_SEQ.len() + digits + head.len() + tail.len()
}

fn digits(seq: u64) -> usize {
    seq.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::v1;

    const HEAD: Head<'_> =
        Head { ts: 1_640_995_200_000, kind: "price:update", channel: "BTC.price", offset: 18_735 };

    /// The frame, and that it is exactly one text frame of the length foretold.
    fn body(seq: u64, head: &[u8], tail: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        frame(&mut out, seq, head, tail);
        let framed = out.strip_prefix(b"before").unwrap();
        assert_eq!(framed.len(), frame_len(seq, head, tail));
        let body = frame::payload(framed);
        let mut plain = Vec::new();
        frame::write(&mut plain, Opcode::Text, body);
        assert_eq!(plain, framed, "one frame with the right header, and nothing else");
        body.to_vec()
    }

    #[test]
    fn a_flat_message_has_the_fields_of_its_payload_and_those_count() {
        for (payload, want) in [
            (r#"{"type":"a","data":[1]}"#, Some(json!({ "seq": 7, "type": "a", "data": [1] }))),
            (" { \"price\" : 1 } ", Some(json!({ "seq": 7, "type": "price:update", "price": 1 }))),
            (r#"{"{":"}"}"#, Some(json!({ "seq": 7, "type": "price:update", "{": "}" }))),
            ("{}", None),
            ("{ \n}", None),
            ("[1]", None),
            ("\"{}\"", None),
            ("null", None),
        ] {
            let tail = format!("\"data\":{payload}}}");
            let Some(want) = want else {
                assert_eq!(flat(tail.as_bytes()), None, "{payload}");
                continue;
            };
            let got = body(7, &head(&HEAD), flat(tail.as_bytes()).unwrap());
            let got: Value = serde_json::from_slice(&got).unwrap();
            for (name, value) in want.as_object().unwrap() {
                assert_eq!(&got[name], value, "{payload}");
            }
            assert_eq!((&got["channel"], &got["offset"]), (&json!("BTC.price"), &json!(18_735)));
        }
        for tail in
            [&b"\"deleted\":\"Purge\"}"[..], b"\"encoding\":\"base64\",\"data\":\"e30=\"}", b""]
        {
            assert_eq!(flat(tail), None);
        }
    }

    #[test]
    fn a_message_looks_as_the_earlier_server_sent_it_with_channel_and_offset_beside() {
        let head = head(&HEAD);
        assert_eq!(
            String::from_utf8(body(7, &head, br#""data":{"price": 1.50 }}"#)).unwrap(),
            r#"{"seq":7,"ts":1640995200000,"type":"price:update","priority":1,"channel":"BTC.price","offset":18735,"data":{"price": 1.50 }}"#
        );
    }

    #[test]
    fn names_that_need_it_are_escaped() {
        let head = head(&Head { kind: "a\"b", channel: "m\\n\u{1}ü", ..HEAD });
        let got: Value = serde_json::from_slice(&body(1, &head, br#""data":1}"#)).unwrap();
        assert_eq!((&got["type"], &got["channel"]), (&json!("a\"b"), &json!("m\\n\u{1}ü")));
    }

    #[test]
    fn the_header_is_right_at_every_boundary_of_digits_and_of_lengths() {
        let head = head(&Head { ts: 0, kind: "a", channel: "b", offset: 1 });
        let mut seqs = vec![0, 1, u64::MAX];
        seqs.extend((1..20).map(|n| 10_u64.pow(n)).flat_map(|power| [power - 1, power]));
        for seq in seqs {
            assert_eq!(digits(seq), seq.to_string().len(), "{seq}");
            for length in [125, 126, 127, 65_535, 65_536, 65_537] {
                let around = body_len(digits(seq), &head, br#""data":""}"#);
                let tail = format!(r#""data":"{}"}}"#, "x".repeat(length - around));
                let body = body(seq, &head, tail.as_bytes());
                assert_eq!(body.len(), length);
                let got: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(got["seq"], json!(seq));
            }
        }
    }

    proptest! {
        #[test]
        fn every_seq_head_and_tail_make_one_readable_frame(
            seq: u64, ts: i64, offset: u64, kind: String, channel: String, payload: Vec<u8>,
            pad in 0..70_000_usize,
        ) {
            let head = head(&Head { ts, kind: &kind, channel: &channel, offset });
            let padded = serde_json::to_vec(&" ".repeat(pad)).unwrap();
            for payload in [&payload, &padded] {
                let (frame, data_at) = v1::message_parts(
                    &v1::Message { channel: &channel, offset, prev: 0, ts, payload, deleted: None }
                );
                let tail = &frame[data_at..];
                let got: Value = serde_json::from_slice(&body(seq, &head, tail)).unwrap();
                let same: Value = serde_json::from_slice(frame::payload(&frame)).unwrap();
                prop_assert_eq!(&got["seq"], &json!(seq));
                prop_assert_eq!(&got["type"], &json!(kind));
                for field in ["ts", "channel", "offset", "data", "encoding"] {
                    prop_assert_eq!(&got[field], &same[field]);
                }
            }
        }
    }
}
