//! The load that is asked about (pure).

use serde::Serialize;

use super::SizeError;
use crate::cli::SizeArgs;

/// The largest batch that the benchmark measures; larger ones are calculated as this one.
const LARGEST_BATCH: f64 = 10.0;
/// A good start: more make a lost pod a larger event, fewer need more memory together.
const CAPACITY: u32 = 10_000;
/// Fewer save no memory that matters.
const LEAST_CAPACITY: u32 = 1_000;
/// How long a phone keeps a connection, in seconds: screens go dark, networks change. Assumed.
const PHONE_SECONDS: f64 = 600.0;
/// The same of a browser on a desk. Assumed.
const DESK_SECONDS: f64 = 3_600.0;

/// A load, at its peak. All numbers are finite and within the bounds of the flags.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Load {
    pub(crate) connections: u32,
    pub(crate) channels_per_client: u32,
    /// A second and client.
    pub(crate) messages: f64,
    /// A second, to the stream.
    pub(crate) published: f64,
    pub(crate) payload_bytes: u32,
    pub(crate) mobile_percent: u8,
    pub(crate) surge_percent: u8,
    /// 0: every message leaves at once.
    pub(crate) batch_window_ms: u64,
    pub(crate) compression: bool,
    pub(crate) connections_per_pod: u32,
    pub(crate) average_percent: u8,
}

impl Load {
    /// # Errors
    /// When clients would get more than is published.
    pub(crate) fn new(args: &SizeArgs) -> Result<Self, SizeError> {
        let (messages, published) = (args.messages, args.published.unwrap_or(args.messages));
        if published < messages {
            return Err(SizeError::Unpublished { messages, published });
        }
        let window = args.batch_window.unwrap_or_default().as_millis();
        Ok(Self {
            connections: args.connections,
            channels_per_client: args.channels,
            messages,
            published,
            payload_bytes: args.payload,
            mobile_percent: args.mobile,
            surge_percent: args.surge,
            batch_window_ms: u64::try_from(window).unwrap_or(u64::MAX),
            compression: !args.no_compression,
            connections_per_pod: args
                .connections_per_pod
                .unwrap_or_else(|| capacity(args.connections)),
            average_percent: args.average,
        })
    }

    pub(crate) fn clients(&self) -> f64 {
        f64::from(self.connections)
    }

    /// Messages a second to all clients.
    pub(crate) fn deliveries(&self) -> f64 {
        self.clients() * self.messages
    }

    /// Messages that leave together.
    pub(crate) fn batch(&self) -> f64 {
        (self.messages * self.batch_window_ms as f64 / 1_000.0).clamp(1.0, LARGEST_BATCH)
    }

    /// How much of what a batch of [`LARGEST_BATCH`] saves this one saves: from 0 to 1. What is shared by a batch, such as the
    /// system call and the headers, falls with 1 ÷ size.
    pub(crate) fn batch_share(&self) -> f64 {
        (1.0 - 1.0 / self.batch()) / (1.0 - 1.0 / LARGEST_BATCH)
    }

    /// New connections a second on an ordinary day.
    pub(crate) fn arrivals(&self) -> f64 {
        let phones = f64::from(self.mobile_percent) / 100.0;
        self.clients() * (phones / PHONE_SECONDS + (1.0 - phones) / DESK_SECONDS)
    }

    /// New connections in the worst second.
    pub(crate) fn surge(&self) -> f64 {
        self.arrivals() + self.clients() * f64::from(self.surge_percent) / 100.0
    }

    /// How long the stream keeps messages, in seconds: longer than clients are away. A phone may be in a tunnel or a lift.
    pub(crate) fn max_age(&self) -> u64 {
        if self.mobile_percent > 0 { 300 } else { 30 }
    }
}

/// Capacity of a pod, unless specified: one of two pods holds all of a few clients, at 80 %.
fn capacity(connections: u32) -> u32 {
    let all = u64::from(connections) * 5 / 4;
    let all = u32::try_from(all.next_multiple_of(100)).unwrap_or(CAPACITY);
    all.clamp(LEAST_CAPACITY, CAPACITY)
}
