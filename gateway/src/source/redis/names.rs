//! Redis channels as subjects: `channel:trade:AAPL` is `channel.trade.AAPL`.
//!
//! A Redis channel is any bytes; a subject is tokens between dots that a client can name. So `:` separates tokens as `.`
//! does, and what no token may hold is percent-encoded. Nothing is unnameable, and no two channels that differ in
//! more than `:` against `.` get the same subject.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Stands for a token that holds nothing (`a::b` is `a.%.b`): a percent sign is followed by two digits elsewhere.
const EMPTY: &str = "%";

/// The subject of a Redis channel.
pub(super) fn subject(channel: &[u8]) -> Box<str> {
    let text = escaped(channel);
    let mut subject = String::with_capacity(text.len());
    for (at, token) in text.split([':', '.']).enumerate() {
        if at > 0 {
            subject.push('.');
        }
        subject.push_str(if token.is_empty() { EMPTY } else { token });
    }
    subject.into_boxed_str()
}

/// With everything encoded that no token may hold.
fn escaped(channel: &[u8]) -> Cow<'_, str> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>' | '%');
    if let Ok(text) = std::str::from_utf8(channel)
        && !text.contains(odd)
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(channel.len() + 16);
    for chunk in channel.utf8_chunks() {
        for c in chunk.valid().chars() {
            if odd(c) {
                encode(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                text.push(c);
            }
        }
        encode(&mut text, chunk.invalid());
    }
    Cow::Owned(text)
}

fn encode(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "%{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wsgateway_proto::channel::{self, Kind};

    use super::*;

    #[test]
    fn colons_become_dots_and_odd_bytes_stay_nameable() {
        for (channel, expected) in [
            (&b"channel:trade:AAPL"[..], "channel.trade.AAPL"),
            (b"prices.BTC", "prices.BTC"),
            (b"channel:trade:BRK.B", "channel.trade.BRK.B"),
            ("kurs:münze:价格".as_bytes(), "kurs.münze.价格"),
            (b"", "%"),
            (b":", "%.%"),
            (b"a::b", "a.%.b"),
            (b":a:", "%.a.%"),
            (b"a b\tc", "a%20b%09c"),
            ("a\u{a0}b\u{2028}".as_bytes(), "a%C2%A0b%E2%80%A8"),
            (b"*:>:a*", "%2A.%3E.a%2A"),
            (b"100%", "100%25"),
            (b"%", "%25"),
            (b"\0\r\n", "%00%0D%0A"),
            (b"\xff:a\xc3", "%FF.a%C3"),
        ] {
            assert_eq!(&*subject(channel), expected, "{}", channel.escape_ascii());
        }
    }

    /// The way back, as far as there is one: dots come from either separator.
    fn decode(subject: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, token) in subject.split('.').enumerate() {
            if at > 0 {
                bytes.push(b'.');
            }
            let mut rest = if token == EMPTY { "" } else { token };
            while let Some((before, after)) = rest.split_once('%') {
                bytes.extend(before.as_bytes());
                bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
                rest = &after[2..];
            }
            bytes.extend(rest.as_bytes());
        }
        bytes
    }

    proptest! {
        #[test]
        fn every_channel_can_be_subscribed_to_by_its_name(bytes: Vec<u8>) {
            // Three bytes for one at most: within the longest name of a subscription.
            prop_assume!(bytes.len() <= channel::MAX_BYTES / 3);
            let subject = subject(&bytes);
            prop_assume!(subject.split('.').count() <= channel::MAX_TOKENS);
            prop_assert_eq!(channel::validate(&subject), Ok(Kind::Exact));
            prop_assert!(channel::matches(">", &subject));
        }

        #[test]
        fn no_two_channels_share_a_name_but_for_their_separators(bytes: Vec<u8>) {
            let separators = |byte: &u8| if *byte == b':' { b'.' } else { *byte };
            let expected: Vec<u8> = bytes.iter().map(separators).collect();
            prop_assert_eq!(decode(&subject(&bytes)), expected);
        }
    }
}
