//! The envelope of a data message, read without parsing JSON.
//!
//! The gateway writes the fields of `message` in one order without spaces, so a scan finds them
//! in tens of nanoseconds. Text that does not look so is no data message to this module.

/// What stands before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The channel as written, JSON escapes included: good for telling channels apart.
    pub channel: &'a str,
    /// Sequence in the stream.
    pub offset: u64,
    /// Sequence of the message before it on its channel; 0 for the first.
    pub prev: u64,
    /// When the stream stored it, Unix ms.
    pub ts: i64,
    /// Everything after `ts`: encoding and payload, with the closing brace.
    pub rest: &'a str,
}

/// How every data message begins.
const START: &str = "{\"type\":\"message\",\"channel\":\"";

/// Whether a push is a data message, well formed or not.
pub fn is_message(text: &str) -> bool {
    text.starts_with(&START[..START.len() - 12])
}

/// Reads the envelope of a data message; `None` for any other text.
pub fn scan(text: &str) -> Option<Envelope<'_>> {
    let text = text.strip_prefix(START)?;
    let (channel, text) = text.split_at(end_of_string(text)?);
    let (offset, text) = unsigned(text.strip_prefix("\",\"offset\":")?)?;
    let (prev, text) = unsigned(text.strip_prefix(",\"prev\":")?)?;
    let (ts, rest) = signed(text.strip_prefix(",\"ts\":")?)?;
    rest.starts_with(',').then_some(Envelope { channel, offset, prev, ts, rest })
}

/// The first number in `text` that a field of this name has, at any depth: made for payloads of
/// our own publishers, not for hostile ones. `quoted` is the name in quotes with its colon.
pub fn number_after(text: &str, quoted: &str) -> Option<u64> {
    let at = text.find(quoted)? + quoted.len();
    Some(unsigned(text.get(at..)?.trim_start())?.0)
}

fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unsigned(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

fn signed(text: &str) -> Option<(i64, &str)> {
    let skip = usize::from(text.starts_with('-'));
    let end = text.bytes().skip(skip).position(|byte| !byte.is_ascii_digit())? + skip;
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wsgateway_proto::v1;

    use super::*;

    /// The JSON of a data message as the gateway writes it.
    fn written(channel: &str, offset: u64, prev: u64, ts: i64, payload: &[u8]) -> String {
        let frame = v1::message(&v1::Message { channel, offset, prev, ts, payload, deleted: None });
        let start = frame.iter().position(|byte| *byte == b'{').unwrap();
        String::from_utf8(frame[start..].to_vec()).unwrap()
    }

    #[test]
    fn other_pushes_are_no_messages() {
        for text in ["", "{}", r#"{"type":"pong","ts":1}"#, r#"{"type":"message"}"#, "not json"] {
            assert_eq!(scan(text), None, "{text}");
        }
        assert!(is_message(r#"{"type":"message","#));
        assert!(!is_message(r#"{"type":"pong","ts":1}"#));
    }

    #[test]
    fn numbers_of_a_payload_are_found_by_name() {
        let text = r#","data":{"nn":1,"n": 42,"t":7}}"#;
        assert_eq!(number_after(text, "\"n\":"), Some(42));
        assert_eq!(number_after(text, "\"t\":"), Some(7));
        assert_eq!(number_after(text, "\"x\":"), None);
    }

    proptest! {
        #[test]
        fn what_the_gateway_writes_is_read_back(
            channel: String, offset: u64, prev: u64, ts: i64, payload: Vec<u8>,
        ) {
            let text = written(&channel, offset, prev, ts, &payload);
            prop_assert!(is_message(&text));
            let got = scan(&text).unwrap();
            prop_assert_eq!((got.offset, got.prev, got.ts), (offset, prev, ts));
            let name: String = serde_json::from_str(&format!("\"{}\"", got.channel)).unwrap();
            prop_assert_eq!(name, channel);
        }

        #[test]
        fn any_text_is_read_or_not(text: String, tail: String) {
            scan(&text);
            scan(&format!("{START}{tail}"));
            number_after(&text, "\"n\":");
        }
    }
}
