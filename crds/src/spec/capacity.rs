//! What one pod holds, and what one client may take of it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::entry::AcceptRate;

/// What one pod holds. The rest derives from it: admission, the autoscaler's target, memory, outboxes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.fallbacksPerPod) || self.fallbacksPerPod <= self.connectionsPerPod").message(
    "capacity.fallbacksPerPod must not exceed capacity.connectionsPerPod, of which it is a part: lower it, or raise \
     connectionsPerPod"
))]
#[x_kube(validation = Rule::new(
    "self.pauseAboveCpuPercent == 0 || self.rejectAboveCpuPercent <= self.pauseAboveCpuPercent"
).message(
    "capacity.rejectAboveCpuPercent must not exceed capacity.pauseAboveCpuPercent: new clients are refused before those \
     who are connected wait; lower it, or raise pauseAboveCpuPercent"
))]
pub struct Capacity {
    /// Most client connections of one pod; the next is answered 503 with Retry-After. Default 10000.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_pod: i32,
    /// Most event streams and long-polls among them; the next is answered 503 with Retry-After. Each is counted with
    /// 4 KiB of memory besides that of a connection. Default a quarter of connectionsPerPod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub fallbacks_per_pod: Option<i32>,
    /// Most connections of one user, on all pods together; 0 = any number. Users are those of tokens, by
    /// auth.jwt.userClaim; clients without a token are not counted. Pods report connections to each other over NATS, so
    /// that the limit holds within a tenth of a second; with Redis as a source, or while NATS is away, it holds in each
    /// pod. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000))]
    pub connections_per_user: i32,
    /// What happens to a connection above connectionsPerUser: RejectNew (it is answered 429) or CloseOldest (it is let in,
    /// and the user's oldest is closed with 4010). Default RejectNew.
    #[serde(default)]
    pub above_connections_per_user: AboveLimit,
    /// Most subscriptions of one connection; those beyond it are rejected one by one. Each takes 32 bytes of memory.
    /// Default 128.
    #[serde(default = "default_subscriptions")]
    #[schemars(range(min = 1, max = 10_000))]
    pub subscriptions_per_connection: i32,
    /// Most bytes that wait in a pod for one client that reads slowly, such as 256Ki; 32Ki to 256Mi, and at least three
    /// times stream.maxMessageSize, so that one message (a third larger when it is no JSON) fits half of it. From half
    /// of it on a client is under pressure: channels with delivery Latest skip to their newest message, and after
    /// slowConsumer.grace the client is closed with 4008. One that reaches the whole is closed at once. The memory of a
    /// pod follows: a tenth of its connections may have this much waiting. Default 256Ki.
    #[serde(default = "default_outbox")]
    #[schemars(schema_with = "crate::schema::size")]
    #[x_kube(validation = Rule::new(
        "quantity(self).compareTo(quantity('32Ki')) >= 0 && quantity(self).compareTo(quantity('256Mi')) <= 0"
    ).message(
        "capacity.outboxPerConnection must be 32Ki to 256Mi: less is gone in one hiccup of a phone's network"
    ))]
    pub outbox_per_connection: String,
    /// Most connections of one address to one pod; the next is answered 429. Of IPv6 the first 64 bits count. Without
    /// listener.trustedProxies every client of a proxy has the proxy's address. 0 = unlimited. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub connections_per_address: i32,
    /// Share of the CPU limit of a pod, in percent, above which it answers new clients 503 with Retry-After, until it uses less
    /// again; 0 means never. A pod without a CPU limit has no such guard. Default 75.
    #[serde(default = "default_reject_cpu")]
    #[schemars(range(min = 0, max = 100))]
    pub reject_above_cpu_percent: i32,
    /// Share of the CPU limit of a pod, in percent, above which replays and lookups of older messages go slowly, so that live
    /// messages come in time; 0 means never. Default 80.
    #[serde(default = "default_pause_cpu")]
    #[schemars(range(min = 0, max = 100))]
    pub pause_above_cpu_percent: i32,
    /// Share of the memory limit of a pod, in percent, above which it answers new clients 503 with Retry-After; 0 means never.
    /// Files that the kernel can drop do not count. Default 90.
    #[serde(default = "default_reject_memory")]
    #[schemars(range(min = 0, max = 100))]
    pub reject_above_memory_percent: i32,
}

/// What happens to a connection above the limit of its user.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AboveLimit {
    /// It is refused.
    #[default]
    RejectNew,
    /// The user's oldest is closed.
    CloseOldest,
}

/// What becomes of clients that read slowly.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SlowConsumer {
    /// Time that a client may have more than half of capacity.outboxPerConnection waiting before it is closed with 4008,
    /// such as 5s; 100ms to 1m. Default 5s.
    #[serde(default = "default_grace")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('1m')").message(
        "slowConsumer.grace must be 100ms to 1m: without any a client is closed for one burst, and for longer \
         breaks raise capacity.outboxPerConnection"
    ))]
    pub grace: String,
}

/// How fast clients may ask for something, and how fast a pod takes messages from its stream.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RateLimits {
    /// Commands and pings of one connection; beyond it the connection is closed with 4009.
    #[serde(default)]
    pub commands_per_connection: CommandRate,
    /// Connections that come to one pod: WebSockets, event streams, and connections with long-polls. Those beyond it are
    /// answered 429 with Retry-After.
    #[serde(default)]
    pub accepts: AcceptRate,
    /// The same of one address; of IPv6 the first 64 bits count. Without listener.trustedProxies every client of a proxy has
    /// the proxy's address.
    #[serde(default)]
    pub accepts_per_address: AcceptRate,
    /// Networks whose addresses have no limit of their own, as 192.0.2.0/24: those of offices and providers that many clients
    /// share (at most 256). Counts for acceptsPerAddress and capacity.connectionsPerAddress. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::entry_networks")]
    pub exempt_networks: Vec<String>,
    /// Messages that each pod takes from its stream. What is beyond waits in the stream and counts as lag; what the limits of
    /// the stream (maxAge, maxMessages, maxBytes) discard meanwhile, clients are told of by gaps. Not for redis, which keeps
    /// nothing.
    #[serde(default)]
    pub stream_messages: StreamRate,
    /// Deliveries of each pod: messages times the clients that they go to. A pod beyond it takes its messages from the stream
    /// more slowly, and nothing is dropped; see streamMessages.
    #[serde(default)]
    pub deliveries: StreamRate,
}

/// How much a pod does in a second with what its stream brings.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StreamRate {
    /// So many a second; a tenth of that at once. 0 = unlimited. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000_000))]
    pub per_second: i32,
}

/// Commands and pings of one connection.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CommandRate {
    /// Commands a second that one client may send all the time. Default 10.
    #[serde(default = "default_per_second")]
    #[schemars(range(min = 1, max = 10_000))]
    pub per_second: i32,
    /// Commands that one client may send at once after a while of silence. Default 100.
    #[serde(default = "default_burst")]
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: i32,
}

fn default_connections() -> i32 {
    10_000
}
fn default_subscriptions() -> i32 {
    128
}
fn default_outbox() -> String {
    "256Ki".to_owned()
}
fn default_reject_cpu() -> i32 {
    75
}
fn default_pause_cpu() -> i32 {
    80
}
fn default_reject_memory() -> i32 {
    90
}
fn default_grace() -> String {
    "5s".to_owned()
}
fn default_per_second() -> i32 {
    10
}
fn default_burst() -> i32 {
    100
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            connections_per_pod: default_connections(),
            fallbacks_per_pod: None,
            connections_per_user: 0,
            above_connections_per_user: AboveLimit::default(),
            subscriptions_per_connection: default_subscriptions(),
            outbox_per_connection: default_outbox(),
            connections_per_address: 0,
            reject_above_cpu_percent: default_reject_cpu(),
            pause_above_cpu_percent: default_pause_cpu(),
            reject_above_memory_percent: default_reject_memory(),
        }
    }
}

impl Default for SlowConsumer {
    fn default() -> Self {
        Self { grace: default_grace() }
    }
}

impl Default for CommandRate {
    fn default() -> Self {
        Self { per_second: default_per_second(), burst: default_burst() }
    }
}
