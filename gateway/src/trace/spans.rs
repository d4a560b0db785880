//! The spans of one message: received, encoded, and first written by each shard.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wsgateway_traces::TraceContext;
use wsgateway_traces::opentelemetry::trace::{SpanId, SpanKind, Status};
use wsgateway_traces::opentelemetry::{InstrumentationScope, KeyValue};
use wsgateway_traces::opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::Active;
use crate::encode::Message;

/// Longest name in an attribute, in bytes: a subject may have 64 KiB.
const LONGEST: usize = 256;

/// A traced message that has been read.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    active: Arc<Active>,
    /// The publisher's.
    context: TraceContext,
    at: SystemTime,
}

/// A traced message that has been encoded: what its shards need for their spans.
#[derive(Debug)]
pub(crate) struct Trace {
    active: Arc<Active>,
    /// Of the span in which it was received.
    context: TraceContext,
    encoded_at: SystemTime,
}

/// How a shard has dealt with a traced message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write<'a> {
    pub shard: usize,
    pub channel: &'a str,
    pub offset: u64,
    /// Connections that it was due to.
    pub receivers: usize,
    pub marked_at: SystemTime,
    pub ended_at: SystemTime,
    pub outcome: &'static str,
}

impl Received {
    pub(super) fn new(active: Arc<Active>, context: TraceContext, at: SystemTime) -> Self {
        Self { active, context, at }
    }

    /// The message has just been encoded for a channel.
    pub(crate) fn encoded(&self, message: &Message, channel: &str) -> Arc<Trace> {
        let now = SystemTime::now();
        let context = TraceContext { span_id: fresh_id(), ..self.context };
        let stored = u64::try_from(message.timestamp).unwrap_or_default();
        // The stream's clock may be ahead of ours.
        let stored = (UNIX_EPOCH + Duration::from_millis(stored)).min(self.at);
        let attributes = vec![
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("messaging.operation.type", "receive"),
            KeyValue::new("messaging.destination.name", short(&message.subject)),
            offset(message.sequence),
            KeyValue::new("messaging.message.body.size", integer(message.payload.len())),
        ];
        let receive =
            Span { name: "receive", kind: SpanKind::Consumer, start: stored, end: self.at };
        self.active.sink.send(SpanData {
            span_context: self.context.span(context.span_id),
            parent_span_is_remote: true,
            ..receive.data(self.context, attributes)
        });
        let encode = Span { name: "encode", kind: SpanKind::Internal, start: self.at, end: now };
        let attributes =
            vec![KeyValue::new("wsgateway.channel", short(channel)), offset(message.sequence)];
        self.active.sink.send(encode.data(context, attributes));
        Arc::new(Trace { active: Arc::clone(&self.active), context, encoded_at: now })
    }
}

impl Trace {
    /// A shard has written the message to its first client, or has no client that takes it now.
    pub(super) fn written(&self, write: &Write<'_>) {
        let (start, end) = (self.encoded_at, write.ended_at.max(self.encoded_at));
        let waited = write.marked_at.duration_since(start).unwrap_or_default();
        let attributes = vec![
            KeyValue::new("wsgateway.shard", integer(write.shard)),
            KeyValue::new("wsgateway.channel", short(write.channel)),
            offset(write.offset),
            KeyValue::new("wsgateway.receivers", integer(write.receivers)),
            KeyValue::new("wsgateway.inbox.us", integer(waited.as_micros())),
            KeyValue::new("wsgateway.outcome", write.outcome),
        ];
        let span = Span { name: "write", kind: SpanKind::Producer, start, end };
        self.active.sink.send(span.data(self.context, attributes));
    }
}

/// What differs between spans besides their attributes.
struct Span {
    name: &'static str,
    kind: SpanKind,
    start: SystemTime,
    end: SystemTime,
}

impl Span {
    /// The span as a child of another one.
    fn data(self, parent: TraceContext, attributes: Vec<KeyValue>) -> SpanData {
        SpanData {
            span_context: parent.span(fresh_id()),
            parent_span_id: parent.span_id,
            parent_span_is_remote: false,
            span_kind: self.kind,
            name: Cow::Borrowed(self.name),
            start_time: self.start,
            end_time: self.end,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("wsgateway").build(),
        }
    }
}

/// Ids are random and not 0.
fn fresh_id() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

fn offset(offset: u64) -> KeyValue {
    KeyValue::new("wsgateway.offset", integer(offset))
}

fn integer(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

fn short(name: &str) -> String {
    name[..name.floor_char_boundary(LONGEST)].to_owned()
}
