//! What a message of NATS is to us: subjects are bytes and become text that a client can name, some headers say that a
//! channel has no value any more.

use std::borrow::Cow;
use std::fmt::Write as _;

use wsgateway_nats::wire::Headers;
use wsgateway_proto::Deleted;

/// The text of a subject: itself if it is UTF-8; otherwise every byte that is not is written as `%` and two hexadecimal
/// digits, and so is `%` itself (ADR 0013).
pub(super) fn channel_text(subject: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(subject) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(subject.len() + 16);
    for chunk in subject.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Cow::Owned(text)
}

/// Whether the message says that its channel has no value any more, and why.
pub(super) fn deleted(headers: Headers<'_>) -> Option<Deleted> {
    if headers.is_empty() {
        return None; // as for nearly every message
    }
    Deleted::from_headers(headers.last("Nats-Marker-Reason"), headers.last("KV-Operation"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn utf8_is_as_it_is_and_other_bytes_are_percent_encoded() {
        assert_eq!(channel_text(b"a.b%"), "a.b%");
        assert_eq!(channel_text("a.\u{e9}".as_bytes()), "a.\u{e9}");
        assert_eq!(channel_text(b"t.a\xff"), "t.a%FF");
        assert_eq!(channel_text(b"t.\xc3(%\xff"), "t.%C3(%25%FF");
    }

    proptest! {
        #[test]
        fn subjects_that_are_not_utf8_stay_apart(
            one in proptest::collection::vec(any::<u8>(), 1..12),
            other in proptest::collection::vec(any::<u8>(), 1..12),
        ) {
            let odd = |bytes: &[u8]| std::str::from_utf8(bytes).is_err();
            if odd(&one) && odd(&other) && one != other {
                prop_assert_ne!(channel_text(&one), channel_text(&other));
            }
            prop_assert_eq!(channel_text(&one).matches('.').count(), one.iter().filter(|b| **b == b'.').count());
        }
    }
}
