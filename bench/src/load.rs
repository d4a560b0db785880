//! The load, the same for the floor and for the gateway: one channel, one payload.

/// The channel (and subject) that every connection is subscribed to.
pub(crate) const CHANNEL: &str = "bench.price";

/// A payload of `bytes` bytes of JSON, shaped like a price.
pub(crate) fn payload(bytes: usize) -> Vec<u8> {
    let (head, tail) =
        (r#"{"type":"price:update","tokenId":"BTC","price":67123.45,"filler":""#, r#""}"#);
    let filler = bytes.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", "x".repeat(filler)).into_bytes()
}

/// What connection `number` subscribes to: three patterns, one of which is shared by all.
pub(crate) fn channels(number: usize) -> [String; 3] {
    [CHANNEL.to_owned(), format!("T{}.trade", number % 500), "*.volume".to_owned()]
}
