//! What clients may take of a gateway: places, memory and time.

use serde::{Deserialize, Serialize};

use super::Source;
use crate::{ConfigError, Millis};

/// Liveness of idle connections: a WebSocket ping after `interval` of silence, then `timeout` for any sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Heartbeat {
    /// Silence from a client after which it is pinged (ms).
    pub interval: Millis,
    /// Silence after that ping that ends the connection with 4011 (ms).
    pub timeout: Millis,
}

/// Limits of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Capacity {
    /// Most connections; the next upgrade is answered 503 with Retry-After.
    pub connections: u32,
    /// Most event streams and long-polls among them; 0 = a quarter, at least 1.
    pub fallback_connections: u32,
    /// Most connections of one user, on all pods together; 0 = any number. Users are those of tokens: see
    /// [`Jwt::user_claim`](super::Jwt::user_claim).
    #[serde(skip_serializing_if = "is_zero")]
    pub connections_per_user: u32,
    /// What happens to a connection above it.
    #[serde(skip_serializing_if = "AboveLimit::is_usual")]
    pub above_connections_per_user: AboveLimit,
    /// Most subscriptions of one connection.
    pub subscriptions_per_connection: u32,
    /// Most bytes waiting for one client that reads slowly; one that reaches it is closed with 4008. From half of it
    /// on the client is under pressure: see [`SlowConsumer`] and [`Delivery`](super::Delivery).
    pub outbox_bytes_per_connection: u32,
    /// Most bytes waiting for all slow clients of the process together.
    pub outbox_bytes_total: u64,
    /// Largest message accepted from a client (bytes); beyond it the client is closed with 1009.
    pub command_bytes: u32,
    /// Above this share of the container's CPU limit new clients are answered 503 with Retry-After (percent); 0 = never.
    pub reject_above_cpu_percent: u32,
    /// Above this share replays and lookups of older messages wait (percent); 0 = never.
    pub pause_above_cpu_percent: u32,
    /// Above this share of the container's memory limit new clients are answered 503 with Retry-After (percent); 0 = never.
    pub reject_above_memory_percent: u32,
    /// Threads that hold connections; 0 = one per CPU of the container's quota, as far as there are connections for
    /// them.
    pub shards: u16,
}

/// What happens to a connection above the limit of its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AboveLimit {
    /// It is refused with 429; where two pods have let one in each in the same instant, the later one is closed with 4010.
    #[default]
    RejectNew,
    /// It is let in, and the user's oldest is closed with 4010.
    CloseOldest,
}

impl AboveLimit {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Memory that the names of channels and patterns may cost a pod, per connection (bytes): eight unusual channels for
/// each, and any number of usual ones, since a name is held once however many are subscribed to it.
pub const NAME_BYTES_PER_CONNECTION: u64 = 2 << 10;

/// A small pod still bears a few thousand names.
const LEAST_NAME_BYTES: u64 = 4 << 20;

/// Memory that messages which clients have begun to send and not ended may hold in a pod, per connection (bytes). An idle
/// connection holds none: most commands come in one piece.
const UNFINISHED_BYTES_PER_CONNECTION: u64 = 512;

/// A small pod still bears some dozens of the largest commands on their way.
const LEAST_UNFINISHED_BYTES: u64 = 4 << 20;

/// Event streams and long-polls are one connection in so many, unless configured.
const FALLBACK_SHARE: u32 = 4;

impl Capacity {
    /// Most event streams and long-polls.
    pub fn fallbacks(&self) -> u32 {
        match self.fallback_connections {
            0 => self.connections.div_ceil(FALLBACK_SHARE),
            count => count.min(self.connections),
        }
    }

    /// Most bytes that messages which have begun and not ended may hold.
    pub fn unfinished_bytes(&self) -> u64 {
        let share = u64::from(self.connections) * UNFINISHED_BYTES_PER_CONNECTION;
        share.max(LEAST_UNFINISHED_BYTES)
    }

    /// Most bytes that the names of channels and patterns which clients are subscribed to may cost.
    pub fn name_bytes(&self) -> u64 {
        (u64::from(self.connections) * NAME_BYTES_PER_CONNECTION).max(LEAST_NAME_BYTES)
    }
}

/// Commands accepted from one connection (generic cell rate); beyond it the client is closed with 4009.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CommandRate {
    /// Sustained commands a second.
    pub per_second: u32,
    /// Commands that may arrive at once.
    pub burst: u32,
}

/// Largest limit of [`SourceRate`].
pub const MAX_SOURCE_RATE: u32 = 100_000_000;

/// How fast this process takes messages from its stream; what is beyond waits there (generic cell rate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceRate {
    /// Messages a second; 0 = unlimited.
    pub messages_per_second: u32,
    /// Deliveries a second, one for each message and client, that the messages may cause; 0 = unlimited.
    pub deliveries_per_second: u32,
}

impl SourceRate {
    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self, source: &Source) -> Result<(), ConfigError> {
        for (path, rate) in [
            ("sourceRate.messagesPerSecond", self.messages_per_second),
            ("sourceRate.deliveriesPerSecond", self.deliveries_per_second),
        ] {
            let problem = match (rate, source) {
                (0, _) | (..=MAX_SOURCE_RATE, Source::JetStream(_)) => continue,
                (..=MAX_SOURCE_RATE, Source::Redis(_) | Source::Memory(_)) => {
                    "needs source.jetStream: a source that keeps no messages cannot let them wait, and would lose them; \
                     leave it out, or use JetStream"
                        .to_owned()
                }
                (more, _) => format!("must be 0 to {MAX_SOURCE_RATE} a second; got {more}"),
            };
            return Err(ConfigError::value(path, problem));
        }
        Ok(())
    }
}

/// Patience with clients that read slowly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SlowConsumer {
    /// Time that a client may have more than half of `capacity.outboxBytesPerConnection` waiting before it is closed
    /// with 4008 (ms).
    pub grace: Millis,
}

/// What is kept in memory of the stream, for clients that come back and for those who ask for last values. It is read
/// from the stream before the gateway is ready. What is older is looked up in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct History {
    /// Most messages.
    pub messages: u64,
    /// Most bytes of messages; last values of quiet channels get half as much besides.
    pub bytes: u64,
    /// Messages older than this are not kept, but for the last one of each channel (ms).
    pub age: Millis,
}

/// How connections are handed over on SIGTERM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// Longest time over which connections are told to reconnect elsewhere, evenly spread (ms). It must fit the pod's
    /// grace period.
    pub window: Millis,
    /// Connections told in a minute, so that few of them take less time than `window`; more than fit into it are told
    /// faster. 0: `window`, however few they are.
    pub connections_per_minute: u32,
}

impl Drain {
    /// The time over which so many connections are told.
    pub fn window_for(&self, connections: u64) -> Millis {
        match self.connections_per_minute {
            0 => self.window,
            pace => self.window.min(Millis(connections.saturating_mul(60_000) / u64::from(pace))),
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval: Millis::from_secs(25), timeout: Millis::from_secs(10) }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            connections: 10_000,
            fallback_connections: 0,
            connections_per_user: 0,
            above_connections_per_user: AboveLimit::default(),
            subscriptions_per_connection: 128,
            outbox_bytes_per_connection: 256 << 10,
            // 1,000 clients at their limit: a tenth of the default capacity stalls before the pod protects itself.
            outbox_bytes_total: 256 << 20,
            command_bytes: 64 << 10,
            // Who writes this file decides: what is not written acts on nobody.
            reject_above_cpu_percent: 0,
            pause_above_cpu_percent: 0,
            reject_above_memory_percent: 0,
            shards: 0,
        }
    }
}

impl Default for CommandRate {
    fn default() -> Self {
        Self { per_second: 10, burst: 100 }
    }
}

impl Default for SlowConsumer {
    fn default() -> Self {
        // Long enough for a phone that changes cells, short enough that stalled clients do not pile up.
        Self { grace: Millis::from_secs(5) }
    }
}

impl Default for History {
    fn default() -> Self {
        // Clients that a rollout or a tunnel cut off are back within a minute.
        Self { messages: 100_000, bytes: 64 << 20, age: Millis::from_secs(300) }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { window: Millis::from_secs(20), connections_per_minute: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_are_handed_over_in_less_time_than_many_and_all_within_the_window() {
        let drain = Drain { window: Millis::from_secs(60), connections_per_minute: 600 };
        for (connections, seconds) in [(0, 0), (10, 1), (300, 30), (600, 60), (u64::MAX, 60)] {
            assert_eq!(drain.window_for(connections), Millis::from_secs(seconds), "{connections}");
        }
        let without = Drain { connections_per_minute: 0, ..drain };
        assert_eq!(without.window_for(1), Millis::from_secs(60));
    }
}
