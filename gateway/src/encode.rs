//! Encode: one message of the stream becomes one frame that every subscriber shares.
//!
//! In: subject, sequence, time, payload. Out: a [`Delivery`]. Owns `prev`, the sequence of the message before it on
//! the same channel.

mod dedupe;
mod previous;
mod rules;
mod skipped;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use wsgateway_config::Channels;
use wsgateway_proto::deflate::Deflater;
use wsgateway_proto::{Deleted, frame, odin, v1};

use dedupe::Dedupe;
use previous::Previous;
pub(crate) use rules::{Rules, Treatment};
use skipped::Before;
pub(crate) use skipped::Skipped;

use crate::trace::{Received, Trace};

/// Bodies shorter than this are not compressed: a dictionary of nothing saves a third at best, for the price of
/// several writes.
pub(crate) const MIN_DEFLATE: usize = 512;

/// One message as the source read it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// NATS subject.
    pub subject: Box<str>,
    /// Stream sequence.
    pub sequence: u64,
    /// When the stream stored it (Unix ms).
    pub timestamp: i64,
    /// The publisher's bytes; of a deletion they mean nothing.
    pub payload: Bytes,
    /// Why the channel has no value any more; `None` for a value.
    pub deleted: Option<Deleted>,
    /// What it is traced by, if its publisher asks for that.
    pub trace: Option<Box<Received>>,
}

/// One message, ready to send to anybody who subscribed.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Channel to match subscriptions against.
    pub channel: Arc<str>,
    /// Stream sequence.
    pub offset: u64,
    /// When the stream stored it (Unix ms).
    pub ts: i64,
    /// The whole WebSocket frame, `wsgateway.v1`; the `gap` that is to be reported before it stands in front.
    pub frame: Bytes,
    /// What the channel's rule asks for.
    pub treatment: Treatment,
    /// Why the channel has no value any more; `None` for a value.
    pub deleted: Option<Deleted>,
    /// What its shards need for their spans; `None` for nearly every message.
    pub trace: Option<Arc<Trace>>,
    /// Messages of the channel that it replaces; `None` for nearly every message.
    before: Option<Box<Before>>,
    /// Where in the frame the data begins.
    data_at: u32,
    /// What the channel's rule calls it for odin.v1 clients.
    message_type: Option<Arc<str>>,
    /// Whether odin.v1 clients get the payload's fields beside `seq`, as its channel's rule says.
    flat: bool,
    /// What odin.v1 clients share of their frames, made when the first of them is due.
    odin_head: OnceLock<Box<[u8]>>,
    /// The compressed frame, made when the first client asks for it; `None` inside when that does not pay.
    deflated: OnceLock<Option<Bytes>>,
}

impl Delivery {
    /// The JSON inside the frame.
    pub(crate) fn body(&self) -> &[u8] {
        frame::payload(self.frame.get(self.gap_len()..).unwrap_or_default())
    }

    /// The rest of the JSON from `"data":` (or what stands before it or for it) to the closing brace: the same in all protocols.
    pub(crate) fn tail(&self) -> &[u8] {
        self.frame.get(self.data_at as usize..).unwrap_or_default()
    }

    /// What stands between `seq` and the data in the frames of odin.v1 clients. Made at most once, whoever asks.
    pub(crate) fn odin_head(&self) -> &[u8] {
        self.odin_head.get_or_init(|| {
            // What is no JSON has no type either.
            let payload = self.tail().strip_prefix(b"\"data\":");
            let payload = payload.and_then(|payload| payload.strip_suffix(b"}"));
            let own = match self.deleted {
                Some(_) => Some(odin::DELETED_TYPE),
                None => payload.and_then(odin::message_type),
            };
            odin::head(&odin::Head {
                ts: self.ts,
                kind: own.or(self.message_type.as_deref()).unwrap_or(odin::DEFAULT_TYPE),
                channel: &self.channel,
                offset: self.offset,
            })
        })
    }

    /// What comes after that: the data, or, if the channel's rule says so, the payload's own fields.
    pub(crate) fn odin_tail(&self) -> &[u8] {
        let flat = self.flat.then(|| odin::flat(self.tail())).flatten();
        flat.unwrap_or_else(|| self.tail())
    }

    /// The frame for clients that take compressed ones, as far as [`Delivery::deflated`] has made it.
    pub(crate) fn twin(&self) -> &Bytes {
        self.deflated.get().and_then(Option::as_ref).unwrap_or(&self.frame)
    }

    /// The frame for clients that take compressed ones. Compresses at most once, whoever asks.
    pub(crate) fn deflated(&self, deflater: &mut Deflater) -> &Bytes {
        self.deflated.get_or_init(|| {
            let body = self.body();
            let mut twin = Vec::new();
            let pays = body.len() >= MIN_DEFLATE && deflater.message(body, &mut twin);
            pays.then(|| self.behind_gap(twin))
        });
        self.twin()
    }
}

/// Turns messages into deliveries, in stream order.
#[derive(Debug)]
pub(crate) struct Encoder {
    envelope: Envelope,
    previous: Previous,
    /// Present once a rule asks for it.
    dedupe: Option<Dedupe>,
}

/// What makes a message a delivery, whatever came before it. Clones do the same.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    strip_prefix: Arc<str>,
    rules: Rules,
}

impl Encoder {
    pub(crate) fn new(channels: &Channels) -> Self {
        let envelope = Envelope {
            strip_prefix: channels.strip_prefix.as_str().into(),
            rules: Rules::new(&channels.rules),
        };
        Self { envelope, previous: Previous::new(previous::CHANNELS), dedupe: None }
    }

    /// What encodes messages out of order: those that are looked up.
    pub(crate) fn envelope(&self) -> Envelope {
        self.envelope.clone()
    }

    /// The rules, to replace them.
    pub(crate) fn rules(&self) -> Rules {
        self.envelope.rules.clone()
    }

    /// Forgets every channel: the stream is another one now.
    pub(crate) fn reset(&mut self) {
        self.previous.clear();
        if let Some(dedupe) = &mut self.dedupe {
            dedupe.clear();
        }
    }

    /// Whether the next message repeats an earlier one, as far as the channel's rule asks: then it is not to be
    /// encoded. Asked once for every message, in stream order.
    pub(crate) fn is_repetition(&mut self, message: &Message) -> bool {
        let channel = self.envelope.channel(message);
        let Some(window) = self.envelope.rules.dedupe_ms(channel) else {
            self.dedupe = None;
            return false;
        };
        // The payload of a deletion says nothing.
        if window == 0 || message.deleted.is_some() {
            return false;
        }
        let dedupe = self.dedupe.get_or_insert_with(|| Dedupe::new(dedupe::MESSAGES));
        let nonce = odin::nonce(&message.payload);
        nonce.is_some_and(|nonce| dedupe.is_repetition(channel, nonce, message.timestamp, window))
    }

    /// Encodes the next message once for all its receivers.
    pub(crate) fn encode(&mut self, message: &Message) -> Arc<Delivery> {
        let prev = self.previous.replace(self.envelope.channel(message), message.sequence);
        self.envelope.encode(message, prev)
    }
}

impl Envelope {
    /// What subjects lose to become channels.
    pub(crate) fn prefix(&self) -> &str {
        &self.strip_prefix
    }

    /// The channel of a message.
    pub(crate) fn channel<'a>(&self, message: &'a Message) -> &'a str {
        self.channel_of(&message.subject)
    }

    /// The channel of a subject.
    pub(crate) fn channel_of<'a>(&self, subject: &'a str) -> &'a str {
        channel_of(subject, &self.strip_prefix)
    }

    /// Encodes a message; `prev` is the sequence of the one before it on its channel, 0 if that is not known.
    pub(crate) fn encode(&self, message: &Message, prev: u64) -> Arc<Delivery> {
        let channel = self.channel(message);
        let (frame, data_at) = v1::message_parts(&v1::Message {
            channel,
            offset: message.sequence,
            prev,
            ts: message.timestamp,
            payload: &message.payload,
            deleted: message.deleted,
        });
        let ruling = self.rules.of(channel);
        Arc::new(Delivery {
            channel: channel.into(),
            offset: message.sequence,
            ts: message.timestamp,
            frame,
            treatment: ruling.treatment,
            deleted: message.deleted,
            before: None,
            trace: message.trace.as_ref().map(|received| received.encoded(message, channel)),
            // A header and a channel of at most 64 KiB stand before it.
            data_at: u32::try_from(data_at).unwrap_or(u32::MAX),
            message_type: ruling.message_type,
            flat: ruling.flat,
            odin_head: OnceLock::new(),
            deflated: OnceLock::new(),
        })
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
    use proptest::prelude::*;

    use super::*;

    fn encoder(strip_prefix: &str) -> Encoder {
        Encoder::new(&Channels { strip_prefix: strip_prefix.to_owned(), rules: Vec::new() })
    }

    fn message(subject: &str, sequence: u64) -> Message {
        let payload = Bytes::from_static(b"{\"price\":1}");
        Message {
            subject: subject.into(),
            sequence,
            timestamp: 1_640_995_200_000,
            payload,
            deleted: None,
            trace: None,
        }
    }

    fn json(delivery: &Delivery) -> String {
        // Two header bytes for payloads under 126 bytes.
        String::from_utf8(delivery.frame[2..].to_vec()).unwrap()
    }

    #[test]
    fn a_message_carries_its_channel_offset_time_and_the_sequence_before_it_on_that_channel() {
        let mut encoder = encoder("odin.token.");
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
    fn a_deletion_is_told_apart_in_every_protocol_and_is_never_a_repetition() {
        let rule = wsgateway_config::Rule {
            r#match: ">".to_owned(),
            dedupe_window: wsgateway_config::Millis(1_000),
            message_type: Some("trade:executed".to_owned()),
            ..wsgateway_config::Rule::default()
        };
        let channels = Channels { strip_prefix: String::new(), rules: vec![rule] };
        let mut encoder = Encoder::new(&channels);
        let payload = Bytes::from_static(b"{\"type\":\"price:update\",\"nonce\":1}");
        let value = Message { payload, ..message("a", 7) };
        let deletion = Message { sequence: 8, deleted: Some(Deleted::Purge), ..value.clone() };
        assert!(!encoder.is_repetition(&value) && !encoder.is_repetition(&deletion));
        encoder.encode(&value);
        let delivery = encoder.encode(&deletion);
        assert_eq!(
            json(&delivery),
            r#"{"type":"message","channel":"a","offset":8,"prev":7,"ts":1640995200000,"deleted":"Purge"}"#
        );
        let mut frame = Vec::new();
        odin::frame(&mut frame, 1, delivery.odin_head(), delivery.tail());
        assert_eq!(
            std::str::from_utf8(frame::payload(&frame)).unwrap(),
            r#"{"seq":1,"ts":1640995200000,"type":"channel:deleted","priority":1,"channel":"a","offset":8,"deleted":"Purge"}"#
        );
    }

    proptest! {
        /// Subjects may hold anything but white space; a channel may be as long as a subject.
        #[test]
        fn every_channel_is_readable_in_every_protocol(
            pieces in prop::collection::vec(
                prop_oneof![
                    any::<String>(),
                    "[\u{0}-\u{1f}\"\\\\/\u{7f}-\u{9f}\u{2028}\u{feff}]{1,8}",
                ],
                1..6,
            ),
            length in prop_oneof![1..200_usize, 60_000..65_536_usize],
            deleted in prop::option::of(prop::sample::select(&Deleted::ALL[..])),
        ) {
            let piece = pieces.concat() + "x";
            let mut channel = piece.repeat(length / piece.len() + 1);
            channel.truncate(channel.floor_char_boundary(length.max(piece.len())));
            let delivery = encoder("").encode(&Message { deleted, ..message(&channel, 7) });
            let (mut odin_frame, mut batch, mut last, mut gap) = <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
            odin::frame(&mut odin_frame, 1, delivery.odin_head(), delivery.tail());
            v1::batch(&mut batch, [delivery.body(), delivery.body()].into_iter());
            v1::snapshot(&mut last, delivery.body());
            v1::gap(&mut gap, &delivery.channel, 1, 2, "retention");
            let read = |frame: &[u8]| -> serde_json::Value {
                serde_json::from_slice(frame::payload(frame)).unwrap()
            };
            let batch = read(&batch);
            let all = [read(&delivery.frame), batch["messages"][1].clone(), read(&odin_frame), read(&last), read(&gap)];
            for push in &all {
                prop_assert_eq!(push["channel"].as_str(), Some(channel.as_str()));
            }
            for push in &all[..4] {
                prop_assert_eq!(push["deleted"].as_str(), deleted.map(Deleted::as_str));
                prop_assert_eq!(push.get("data").is_none(), deleted.is_some());
            }
            // An event stream has one line for each line of its data.
            prop_assert!(!delivery.body().iter().any(|byte| *byte == b'\n' || *byte == b'\r'));
        }
    }

    #[test]
    fn after_a_reset_no_channel_has_a_previous_message() {
        let mut encoder = encoder("");
        encoder.encode(&message("a", 3));
        encoder.reset();
        assert!(json(&encoder.encode(&message("a", 4))).contains(r#""prev":0"#));
    }
}
