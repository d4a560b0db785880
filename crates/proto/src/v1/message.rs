//! The data push: encoded once for all clients, in one allocation of exactly its size.

mod json;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::deleted::Deleted;
use crate::escape;
use crate::frame::{self, Opcode};

/// One message of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Subject without the gateway's prefix.
    pub channel: &'a str,
    /// Its sequence in the stream.
    pub offset: u64,
    /// The sequence of the message before it on the same subject; 0 for the first.
    pub prev: u64,
    /// When the stream stored it, Unix ms.
    pub ts: i64,
    /// What the publisher sent, as it is. A deletion's is not sent.
    pub payload: &'a [u8],
    /// Why the channel has no value any more; `None` for a value.
    pub deleted: Option<Deleted>,
}

/// One complete server frame: header, envelope, payload.
///
/// `data` is the payload itself, byte for byte, if it is UTF-8 and JSON (nested up to
/// 512 levels), else a base64 string with `"encoding":"base64"`. A deletion has `deleted` instead.
pub fn message(message: &Message<'_>) -> Bytes {
    message_parts(message).0
}

/// The same, and where in it the data begins: from there on (`"data":…}`,
/// `"encoding":"base64","data":"…"}` or `"deleted":"…"}`) the frames of other protocols are made.
pub fn message_parts(message: &Message<'_>) -> (Bytes, usize) {
    let (mut offset, mut prev, mut ts) = Default::default();
    let parts: [&[u8]; 8] = [
        b"{\"type\":\"message\",\"channel\":\"",
        b"\",\"offset\":",
        itoa::Buffer::format(&mut offset, message.offset).as_bytes(),
        b",\"prev\":",
        itoa::Buffer::format(&mut prev, message.prev).as_bytes(),
        b",\"ts\":",
        itoa::Buffer::format(&mut ts, message.ts).as_bytes(),
        b",",
    ];
    let [open, rest @ ..] = parts;
    let data = Data::of(message);
    let (before, data_len, after) = data.parts();
    let envelope =
        parts.iter().map(|part| part.len()).sum::<usize>() + escape::len(message.channel);
    let header = frame::header(Opcode::Text, envelope + before.len() + data_len + after.len());
    let size = header.len() + envelope + before.len() + data_len + after.len();

    let mut out = Vec::with_capacity(size);
    out.extend_from_slice(&header);
    out.extend_from_slice(open);
    escape::push(&mut out, message.channel);
    for part in rest {
        out.extend_from_slice(part);
    }
    let data_at = out.len();
    out.extend_from_slice(before);
    match data {
        Data::Raw(bytes) => out.extend_from_slice(bytes),
        Data::Base64(bytes) => push_base64(&mut out, bytes, data_len),
        Data::Deleted(why) => out.extend_from_slice(why.as_bytes()),
    }
    out.extend_from_slice(after);
    debug_assert_eq!(out.len(), size, "an exact size turns into Bytes without a second allocation");
    (Bytes::from(out), data_at)
}

/// What a message ends with.
enum Data<'a> {
    /// JSON, as it is.
    Raw(&'a [u8]),
    /// Anything else.
    Base64(&'a [u8]),
    /// Why there is none.
    Deleted(&'static str),
}

impl<'a> Data<'a> {
    fn of(message: &Message<'a>) -> Self {
        match message.deleted {
            Some(deleted) => Self::Deleted(deleted.as_str()),
            None if json::is_json(message.payload) => Self::Raw(message.payload),
            None => Self::Base64(message.payload),
        }
    }

    /// What stands before it, its length, and what stands after it.
    fn parts(&self) -> (&'static [u8], usize, &'static [u8]) {
        match self {
            Self::Raw(bytes) => (b"\"data\":", bytes.len(), b"}"),
            Self::Base64(bytes) => {
                (b"\"encoding\":\"base64\",\"data\":\"", base64_len(bytes), b"\"}")
            }
            Self::Deleted(why) => (b"\"deleted\":\"", why.len(), b"\"}"),
        }
    }
}

/// Appends one whole server frame: a message marked as the last value of its channel. `body` is the JSON of a frame
/// that [`message`] made.
pub fn snapshot(out: &mut Vec<u8>, body: &[u8]) {
    let (head, rest) = (SNAPSHOT, body.strip_prefix(MESSAGE).unwrap_or(body));
    let header = frame::header(Opcode::Text, head.len() + rest.len());
    out.reserve(header.len() + head.len() + rest.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(head);
    out.extend_from_slice(rest);
}

/// What every message begins with.
const MESSAGE: &[u8] = b"{\"type\":\"message\",";

/// The same for a snapshot.
const SNAPSHOT: &[u8] = b"{\"type\":\"message\",\"snapshot\":true,";

const fn base64_len(payload: &[u8]) -> usize {
    payload.len().div_ceil(3) * 4
}

fn push_base64(out: &mut Vec<u8>, payload: &[u8], len: usize) {
    let start = out.len();
    out.resize(start + len, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    let written = STANDARD.encode_slice(payload, room);
    debug_assert_eq!(written.ok(), Some(len));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::decoder::{Decoder, Event, Limits};
    use crate::frame::Role;

    fn text(message_: &Message<'_>) -> String {
        let mut frame = message(message_).to_vec();
        let (mut decoder, mut pos) = (Decoder::new(Role::Client), 0);
        let limits = Limits { message_bytes: 1 << 24, fragments: 1, deflate: false };
        let text = match decoder.next(&mut frame, &mut pos, &limits) {
            Ok(Some(Event::Text(text))) => text.to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(pos, frame.len(), "exactly one frame");
        text
    }

    fn sample<'a>(channel: &'a str, payload: &'a [u8]) -> Message<'a> {
        Message {
            channel,
            offset: 18_735,
            prev: 18_702,
            ts: 1_640_995_200_000,
            payload,
            deleted: None,
        }
    }

    #[test]
    fn json_goes_out_as_it_came_in() {
        assert_eq!(
            text(&sample("BTC.trade", b"{\"price\": 1.50 }")),
            r#"{"type":"message","channel":"BTC.trade","offset":18735,"prev":18702,"ts":1640995200000,"data":{"price": 1.50 }}"#
        );
    }

    #[test]
    fn a_deletion_says_why_and_has_no_data() {
        for deleted in Deleted::ALL {
            let message = Message { deleted: Some(deleted), ..sample("a", b"{\"old\":1}") };
            let why = deleted.as_str();
            assert_eq!(
                text(&message),
                format!(
                    r#"{{"type":"message","channel":"a","offset":18735,"prev":18702,"ts":1640995200000,"deleted":"{why}"}}"#
                )
            );
        }
    }

    #[test]
    fn a_snapshot_is_the_message_with_a_mark() {
        let mut out = b"before".to_vec();
        snapshot(&mut out, frame::payload(&message(&sample("a", b"1"))));
        assert_eq!(
            std::str::from_utf8(frame::payload(&out[6..])).unwrap(),
            r#"{"type":"message","snapshot":true,"channel":"a","offset":18735,"prev":18702,"ts":1640995200000,"data":1}"#
        );
    }

    #[test]
    fn anything_else_goes_out_as_base64() {
        for payload in [&b""[..], b"\xFF", b"hello", b"{\"a\":1", b"\"\xFF\"", b"{} {}"] {
            let got: Value = serde_json::from_str(&text(&sample("BTC", payload))).unwrap();
            assert_eq!(got["encoding"], "base64");
            assert_eq!(got["data"], STANDARD.encode(payload), "{payload:?}");
        }
    }

    #[test]
    fn the_extremes_of_the_numbers_fit() {
        let message = Message { offset: u64::MAX, prev: 0, ts: i64::MIN, ..sample("c", b"null") };
        let got: Value = serde_json::from_str(&text(&message)).unwrap();
        assert_eq!(got["offset"], json!(u64::MAX));
        assert_eq!(got["ts"], json!(i64::MIN));
        assert_eq!(got["data"], Value::Null);
    }

    proptest! {
        #[test]
        fn every_channel_and_payload_makes_one_readable_frame(
            channel: String,
            payload: Vec<u8>,
            pad in 0..70_000usize,
        ) {
            let padded = serde_json::to_vec(&" ".repeat(pad)).unwrap();
            for payload in [&payload, &padded] {
                let got: Value = serde_json::from_str(&text(&sample(&channel, payload))).unwrap();
                prop_assert_eq!(&got["channel"], &json!(channel));
                let want = match serde_json::from_slice::<Value>(payload) {
                    Ok(value) => value,
                    Err(_) => json!(STANDARD.encode(payload)),
                };
                prop_assert_eq!(&got["data"], &want);
            }
        }
    }
}
