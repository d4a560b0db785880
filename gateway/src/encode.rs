//! Encode: one message of the stream becomes one frame that every subscriber shares.
//!
//! In: subject, sequence, time, payload. Out: a [`Delivery`]. Owns `prev`, the sequence of the message before it on
//! the same channel.

mod previous;

use std::sync::Arc;

use bytes::Bytes;
use wsgateway_proto::v1;

use previous::Previous;

/// One message as the source read it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// NATS subject.
    pub subject: Box<str>,
    /// Stream sequence.
    pub sequence: u64,
    /// When the stream stored it (Unix ms).
    pub timestamp: i64,
    /// The publisher's bytes.
    pub payload: Bytes,
}

/// One message, ready to send to anybody who subscribed.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Channel to match subscriptions against.
    pub channel: Box<str>,
    /// Stream sequence.
    pub offset: u64,
    /// The whole WebSocket frame, `wsgateway.v1`.
    pub frame: Bytes,
}

/// Turns messages into deliveries, in stream order.
#[derive(Debug)]
pub(crate) struct Encoder {
    strip_prefix: String,
    previous: Previous,
}

impl Encoder {
    pub(crate) fn new(strip_prefix: &str) -> Self {
        Self { strip_prefix: strip_prefix.to_owned(), previous: Previous::new(previous::CHANNELS) }
    }

    /// Forgets every channel: the stream is another one now.
    pub(crate) fn reset(&mut self) {
        self.previous.clear();
    }

    /// Takes note of a message that is not delivered, so that the next one's `prev` is right.
    pub(crate) fn note(&mut self, subject: &str, sequence: u64) {
        let channel = channel_of(subject, &self.strip_prefix);
        self.previous.replace(channel, sequence);
    }

    /// Encodes a message once for all its receivers.
    pub(crate) fn encode(&mut self, message: &Message) -> Arc<Delivery> {
        let channel = channel_of(&message.subject, &self.strip_prefix);
        let prev = self.previous.replace(channel, message.sequence);
        let frame = v1::message(&v1::Message {
            channel,
            offset: message.sequence,
            prev,
            ts: message.timestamp,
            payload: &message.payload,
        });
        Arc::new(Delivery { channel: channel.into(), offset: message.sequence, frame })
    }
}

/// The channel of a subject: without the prefix if it has it, else the subject itself.
fn channel_of<'a>(subject: &'a str, strip_prefix: &str) -> &'a str {
    match subject.strip_prefix(strip_prefix) {
        Some(channel) if !channel.is_empty() => channel,
        _ => subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str, sequence: u64) -> Message {
        let payload = Bytes::from_static(b"{\"price\":1}");
        Message { subject: subject.into(), sequence, timestamp: 1_640_995_200_000, payload }
    }

    fn json(delivery: &Delivery) -> String {
        // Two header bytes for payloads under 126 bytes.
        String::from_utf8(delivery.frame[2..].to_vec()).unwrap()
    }

    #[test]
    fn a_message_carries_its_channel_offset_time_and_the_sequence_before_it_on_that_channel() {
        let mut encoder = Encoder::new("odin.token.");
        encoder.encode(&message("odin.token.BTC.trade", 7));
        encoder.encode(&message("odin.token.ETH.trade", 8));
        let delivery = encoder.encode(&message("odin.token.BTC.trade", 9));
        assert_eq!(
            json(&delivery),
            r#"{"type":"message","channel":"BTC.trade","offset":9,"prev":7,"ts":1640995200000,"data":{"price":1}}"#
        );
    }

    #[test]
    fn a_subject_without_the_prefix_keeps_its_name() {
        assert_eq!(channel_of("odin.global.trending", "odin.token."), "odin.global.trending");
        assert_eq!(channel_of("odin.token.", "odin.token."), "odin.token.");
    }

    #[test]
    fn noted_messages_count_for_prev() {
        let mut encoder = Encoder::new("");
        encoder.note("a", 3);
        assert!(json(&encoder.encode(&message("a", 4))).contains(r#""prev":3"#));
    }
}
