//! The gateway's configuration and the rules that make it runnable.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{ConfigError, Millis, yaml};

mod channels;
mod check;
mod jetstream;
mod protocols;
mod redis;

pub use channels::{
    Channels, Delivery, MAX_BATCH_WINDOW, MAX_DEDUPE_WINDOW, MAX_RULES, MAX_TYPE_BYTES, Rule,
    is_message_type,
};
pub use jetstream::{JetStreamSource, NatsAuth, NatsTls, NatsUser};
pub use protocols::{MAX_INITIAL_CHANNELS, MAX_SYMBOLS, Odin, Protocol, Symbols};
pub use redis::{RedisServer, RedisSource};

/// Everything a gateway process needs to know, rendered from one `WsGateway`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayConfig {
    /// `namespace/name` of the WsGateway, for logs and the console page.
    pub name: String,
    /// Where messages come from.
    pub source: Source,
    /// How subjects become channels, and how their messages are treated.
    #[serde(default)]
    pub channels: Channels,
    /// The port that clients see.
    #[serde(default)]
    pub listener: Listener,
    /// What odin.v1 clients get.
    #[serde(default)]
    pub odin: Odin,
    /// What symbols.v1 clients get.
    #[serde(default)]
    pub symbols: Symbols,
    /// The port that Kubernetes, Prometheus and the operator see.
    #[serde(default)]
    pub admin: Admin,
    /// Liveness of idle connections.
    #[serde(default)]
    pub heartbeat: Heartbeat,
    /// Limits of this process.
    #[serde(default)]
    pub capacity: Capacity,
    /// Commands accepted from one connection.
    #[serde(default)]
    pub command_rate: CommandRate,
    /// Patience with clients that read slowly.
    #[serde(default)]
    pub slow_consumer: SlowConsumer,
    /// What is kept in memory for clients that come back.
    #[serde(default)]
    pub history: History,
    /// How connections are handed over on SIGTERM.
    #[serde(default)]
    pub drain: Drain,
}

/// Where messages come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SourceFile", into = "SourceFile")]
pub enum Source {
    /// A NATS JetStream stream, read by one consumer of this process.
    JetStream(JetStreamSource),
    /// Redis Pub/Sub channels, read by one connection of this process.
    Redis(RedisSource),
    /// Messages published inside this process: `wsgw dev`, tests, benches.
    Memory(MemorySource),
}

/// [`Source`] as it stands in the file: one key, since YAML libraries write enums as tags.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jet_stream: Option<JetStreamSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redis: Option<RedisSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<MemorySource>,
}

impl TryFrom<SourceFile> for Source {
    type Error = &'static str;

    fn try_from(file: SourceFile) -> Result<Self, Self::Error> {
        match (file.jet_stream, file.redis, file.memory) {
            (Some(source), None, None) => Ok(Self::JetStream(source)),
            (None, Some(source), None) => Ok(Self::Redis(source)),
            (None, None, Some(source)) => Ok(Self::Memory(source)),
            _ => Err("must hold exactly one of jetStream, redis, memory"),
        }
    }
}

impl From<Source> for SourceFile {
    fn from(source: Source) -> Self {
        let none = Self { jet_stream: None, redis: None, memory: None };
        match source {
            Source::JetStream(source) => Self { jet_stream: Some(source), ..none },
            Source::Redis(source) => Self { redis: Some(source), ..none },
            Source::Memory(source) => Self { memory: Some(source), ..none },
        }
    }
}

/// The in-process source; it has nothing to configure yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemorySource {}

/// The port that clients see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Address to bind. `::`, the default, is every address, of IPv4 too; on a host without IPv6 it is `0.0.0.0`.
    #[serde(default = "any_address")]
    pub address: IpAddr,
    /// Port to bind; 0 picks a free one, which is logged.
    #[serde(default = "listener_port")]
    pub port: u16,
    /// Path of the WebSocket endpoint.
    #[serde(default = "listener_path")]
    pub path: String,
    /// Protocols that clients may name in `Sec-WebSocket-Protocol`.
    #[serde(default = "all_protocols")]
    pub protocols: Vec<Protocol>,
    /// What is spoken with clients that name none.
    #[serde(default)]
    pub default_protocol: Protocol,
    /// Whether clients that offer permessage-deflate get it.
    #[serde(default = "yes")]
    pub compression: bool,
    /// Whether clients may come by event stream, at `/sse`.
    #[serde(default = "yes")]
    pub event_source: bool,
    /// Whether clients may come by long-poll, at `/poll`.
    #[serde(default = "yes")]
    pub long_poll: bool,
    /// Time for which an HTTP connection is kept between two requests (ms). Longer than proxies keep theirs, or they send
    /// a request into a connection that is just being closed.
    #[serde(default = "keep_alive")]
    pub keep_alive: Millis,
    /// Whether the console page, `/health` and `/stats` are served to clients. The admin port has the last two in any
    /// case.
    #[serde(default = "yes")]
    pub status_pages: bool,
}

/// The port that Kubernetes, Prometheus and the operator see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admin {
    /// Address to bind, as [`Listener::address`].
    #[serde(default = "any_address")]
    pub address: IpAddr,
    /// Port to bind; 0 picks a free one, which is logged.
    #[serde(default = "admin_port")]
    pub port: u16,
}

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
    /// Most event streams and long-polls among them, which take several times the memory; 0 = a quarter, at least 1.
    pub fallback_connections: u32,
    /// Most subscriptions of one connection.
    pub subscriptions_per_connection: u32,
    /// Most bytes waiting for one client that reads slowly; one that reaches it is closed with 4008. From half of it
    /// on the client is under pressure: see [`SlowConsumer`] and [`Delivery`].
    pub outbox_bytes_per_connection: u32,
    /// Most bytes waiting for all slow clients of the process together.
    pub outbox_bytes_total: u64,
    /// Largest message accepted from a client (bytes); beyond it the client is closed with 1009.
    pub command_bytes: u32,
    /// Threads that hold connections; 0 = one per CPU of the container's quota, as far as there are connections for
    /// them.
    pub shards: u16,
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

impl Capacity {
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
    /// Time over which connections are told to reconnect elsewhere, evenly spread (ms). It must fit the pod's
    /// grace period.
    pub window: Millis,
}

fn any_address() -> IpAddr {
    Ipv6Addr::UNSPECIFIED.into()
}
fn listener_port() -> u16 {
    8080
}
fn listener_path() -> String {
    "/ws".to_owned()
}
fn all_protocols() -> Vec<Protocol> {
    Protocol::ALL.to_vec()
}
fn keep_alive() -> Millis {
    // Load balancers and proxies keep theirs for up to 60 s.
    Millis::from_secs(75)
}
fn admin_port() -> u16 {
    9090
}
fn yes() -> bool {
    true
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: any_address(),
            port: listener_port(),
            path: listener_path(),
            protocols: all_protocols(),
            default_protocol: Protocol::default(),
            compression: yes(),
            event_source: yes(),
            long_poll: yes(),
            keep_alive: keep_alive(),
            status_pages: yes(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: any_address(), port: admin_port() }
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
            subscriptions_per_connection: 128,
            outbox_bytes_per_connection: 256 << 10,
            // 1,000 clients at their limit: a tenth of the default capacity stalls before the pod protects itself.
            outbox_bytes_total: 256 << 20,
            command_bytes: 64 << 10,
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
        Self { window: Millis::from_secs(20) }
    }
}

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
}

impl GatewayConfig {
    /// A configuration with every default, for a given name and source.
    pub fn new(name: impl Into<String>, source: Source) -> Self {
        Self {
            name: name.into(),
            source,
            channels: Channels::default(),
            listener: Listener::default(),
            odin: Odin::default(),
            symbols: Symbols::default(),
            admin: Admin::default(),
            heartbeat: Heartbeat::default(),
            capacity: Capacity::default(),
            command_rate: CommandRate::default(),
            slow_consumer: SlowConsumer::default(),
            history: History::default(),
            drain: Drain::default(),
        }
    }

    /// Reads and checks a configuration file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = yaml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    /// The file's text, as [`GatewayConfig::parse`] reads it.
    pub fn render(&self) -> Result<String, ConfigError> {
        yaml::to_string(self)
    }
}
