//! What a payload says of itself: its type, and the nonce that tells a repetition.
//!
//! Looked at only where somebody needs it, once per message. What is no JSON object, or names a field twice, says
//! nothing.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Message types that a publisher may choose for a payload. `connection:established` is a type of the same family, but
/// only ever a gateway's own: a publisher that says it is not believed.
const TYPES: [&str; 6] = [
    "price:update",
    "trade:executed",
    "volume:update",
    "batch:update",
    "market:stats",
    "heartbeat",
];

/// Longest nonce that is remembered, as written in the payload (bytes); a UUID has 38. A message with a longer one is
/// never taken for a repetition.
pub const MAX_NONCE: usize = 128;

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    nonce: Option<&'a RawValue>,
}

fn fields(payload: &[u8]) -> Option<Fields<'_>> {
    // A list would be taken for the fields in order.
    let object = payload.trim_ascii_start().starts_with(b"{");
    let text = std::str::from_utf8(payload).ok().filter(|_| object)?;
    serde_json::from_str(text).ok()
}

/// The payload's own `type`, if it is one of the message types of this protocol.
pub fn message_type(payload: &[u8]) -> Option<&'static str> {
    let kind = fields(payload)?.kind?.get();
    let kind = kind.strip_prefix('"')?.strip_suffix('"')?;
    TYPES.into_iter().find(|known| *known == kind)
}

/// The payload's `nonce` as it is written there: a string that is not empty, or a number.
pub fn nonce(payload: &[u8]) -> Option<&str> {
    let nonce = fields(payload)?.nonce?.get();
    let scalar = nonce.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    (scalar && nonce != "\"\"" && nonce.len() <= MAX_NONCE).then_some(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_of_the_protocol_are_known_and_no_others() {
        for (payload, want) in [
            (r#"{"type":"price:update","price":1}"#, Some("price:update")),
            (r#" { "a" : [{}], "type" : "trade:executed" } "#, Some("trade:executed")),
            (r#"{"type":"volume:update"}"#, Some("volume:update")),
            (r#"{"type":"batch:update"}"#, Some("batch:update")),
            (r#"{"type":"market:stats"}"#, Some("market:stats")),
            (r#"{"type":"heartbeat"}"#, Some("heartbeat")),
            (r#"{"type":"connection:established"}"#, None),
            (r#"{"type":"trade"}"#, None),
            (r#"{"type":"PRICE:UPDATE"}"#, None),
            (r#"{"data":{"type":"price:update"}}"#, None),
            (r#"{"type":["price:update"]}"#, None),
            (r#"{"type":"price:update","type":"trade:executed"}"#, None),
            (r#"["price:update","x"]"#, None),
            (r#"{"type":"price:update""#, None),
            (r#""price:update""#, None),
            ("", None),
        ] {
            assert_eq!(message_type(payload.as_bytes()), want, "{payload}");
        }
        assert_eq!(message_type(b"{\"type\":\"price:update\",\"a\":\"\xFF\"}"), None);
    }

    #[test]
    fn a_nonce_is_a_short_string_or_a_number() {
        let long = format!(r#"{{"nonce":"{}"}}"#, "x".repeat(MAX_NONCE - 1));
        let longest = format!(r#"{{"nonce":"{}"}}"#, "x".repeat(MAX_NONCE - 2));
        assert_eq!(nonce(longest.as_bytes()).map(str::len), Some(MAX_NONCE));
        for (payload, want) in [
            (r#"{"nonce":"a-1","price":1}"#, Some(r#""a-1""#)),
            (r#"{"price":1,"nonce": 17 }"#, Some("17")),
            (r#"{"nonce":""}"#, None),
            (r#"{"nonce":null}"#, None),
            (r#"{"nonce":true}"#, None),
            (r#"{"nonce":{"a":1}}"#, None),
            (r#"{"data":{"nonce":"a"}}"#, None),
            (r#"{"nonce":"a","nonce":"b"}"#, None),
            ("not JSON", None),
            (&long, None),
        ] {
            assert_eq!(nonce(payload.as_bytes()), want, "{payload}");
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let deep = format!(r#"{{"x":{}{}"#, "[".repeat(1 << 20), "]".repeat(1 << 20));
        let whole = format!(r#"{deep},"type":"price:update","nonce":"n"}}"#);
        // Either is fine, as long as it ends.
        let _ = (message_type(whole.as_bytes()), nonce(deep.as_bytes()));
    }
}
