//! Batch frames: several messages in one frame, for clients that ask for them.

use crate::frame::{self, Opcode};

/// What stands before the first message of a batch.
pub const BATCH_HEAD: &[u8] = b"{\"type\":\"batch\",\"messages\":[";

/// What stands behind the last message of a batch.
pub const BATCH_TAIL: &[u8] = b"]}";

/// Bytes of JSON in a batch of `count` messages that are `bytes` long together.
pub const fn batch_len(count: usize, bytes: usize) -> usize {
    BATCH_HEAD.len() + bytes + count.saturating_sub(1) + BATCH_TAIL.len()
}

/// Appends one whole text frame: the batch of these messages, each the JSON of a message frame
/// ([`frame::payload`] of it) and taken as it is.
///
/// `bodies` is walked twice, first for the length. Allocates at most once, for `out`.
pub fn batch<'a>(out: &mut Vec<u8>, bodies: impl Iterator<Item = &'a [u8]> + Clone) {
    let (count, bytes) =
        bodies.clone().fold((0, 0), |(count, bytes), body| (count + 1, bytes + body.len()));
    let len = batch_len(count, bytes);
    let header = frame::header(Opcode::Text, len);
    out.reserve(header.len() + len);
    out.extend_from_slice(&header);
    out.extend_from_slice(BATCH_HEAD);
    for (at, body) in bodies.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(body);
    }
    out.extend_from_slice(BATCH_TAIL);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Deleted;
    use crate::v1::{Message, message};

    #[test]
    fn a_batch_is_one_frame_and_holds_each_message_byte_for_byte() {
        for (count, pad) in [(0, 0), (1, 0), (2, 0), (10, 100), (700, 100)] {
            let payload = format!("\"{}\"", "x".repeat(pad));
            let frames: Vec<_> = (0..count)
                .map(|offset| Message {
                    channel: "BTC.trade",
                    offset,
                    prev: 0,
                    ts: 7,
                    payload: payload.as_bytes(),
                    // One of three is a deletion.
                    deleted: (offset % 3 == 1).then_some(Deleted::Purge),
                })
                .map(|sample| message(&sample))
                .collect();
            let mut out = b"before".to_vec();
            batch(&mut out, frames.iter().map(|frame| frame::payload(frame)));
            let framed = out.strip_prefix(b"before").unwrap();
            let body = frame::payload(framed);
            let mut plain = Vec::new();
            frame::write(&mut plain, Opcode::Text, body);
            assert_eq!(plain, framed, "one frame and nothing else");
            let bytes = frames.iter().map(|frame| frame::payload(frame).len()).sum();
            assert_eq!(body.len(), batch_len(frames.len(), bytes));
            let want: Vec<Value> = frames
                .iter()
                .map(|frame| serde_json::from_slice(frame::payload(frame)).unwrap())
                .collect();
            let got: Value = serde_json::from_slice(body).unwrap();
            assert_eq!(got, json!({"type": "batch", "messages": want}));
        }
    }
}
