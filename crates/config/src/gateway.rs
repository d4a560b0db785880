//! The gateway's configuration and the rules that make it runnable.

use serde::{Deserialize, Serialize};

use crate::{ConfigError, yaml};

mod auth;
mod channels;
mod check;
mod disconnect;
mod entry;
mod jetstream;
mod limits;
mod load;
mod log;
mod parts;
mod ports;
mod protocols;
mod redis;
mod source;
mod tracing;

pub use auth::{
    Algorithm, Anonymous, Auth, ChannelRule, JWKS_REFRESH, JWT_LEEWAY, JWT_LIFETIME, Jwks, Jwt,
    KeyFile, MAX_ANONYMOUS_CHANNELS, MAX_CHANNEL_RULES, MAX_CLAIM_BYTES, MAX_CONDITIONS,
    MAX_KEY_FILES, is_cookie_name, is_rule_template,
};
pub use channels::{
    Channels, Delivery, MAX_BATCH_WINDOW, MAX_CHANNEL_RATE, MAX_DEDUPE_WINDOW, MAX_RULES,
    MAX_TYPE_BYTES, Rule, is_message_type,
};
pub use disconnect::{Disconnect, MAX_DISCONNECT_NAME_BYTES, MAX_DISCONNECTS};
pub use entry::{
    AcceptRate, Accepts, ForwardedHeader, HOST_HINT, MAX_ACCEPTS, MAX_NETWORKS, MAX_ORIGIN_BYTES,
    MAX_ORIGINS, ORIGIN_HINT, ProxyProtocol, is_host_pattern, is_origin_pattern,
};
pub use jetstream::{JetStreamSource, NatsAuth, NatsTls, NatsUser};
pub use limits::{
    AboveLimit, Capacity, CommandRate, Drain, Heartbeat, History, MAX_SOURCE_RATE,
    NAME_BYTES_PER_CONNECTION, SlowConsumer, SourceRate,
};
pub use load::Loaded;
pub use log::{Log, LogLevel};
pub use parts::{Change, Parts};
pub use ports::{Admin, Listener, ListenerTls};
pub use protocols::{MAX_INITIAL_CHANNELS, MAX_SYMBOLS, Odin, Protocol, Symbols};
pub use redis::{RedisServer, RedisSource};
pub use source::{MemorySource, Source};
pub use tracing::{MAX_TRACES_PER_SECOND, Tracing};

/// Everything a gateway process needs to know, rendered from one `WsGateway`. A running gateway takes up changes of its
/// live part, see [`GatewayConfig::change_to`].
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
    /// Who clients are, and what they may hear. Absent: everybody may hear everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Whose connections are ended, and who is kept out for a while. Clients who show no token have no name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disconnects: Vec<Disconnect>,
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
    /// How many connections may come.
    #[serde(default)]
    pub accepts: Accepts,
    /// Commands accepted from one connection.
    #[serde(default)]
    pub command_rate: CommandRate,
    /// How fast messages are taken from the stream.
    #[serde(default, skip_serializing_if = "SourceRate::is_unlimited")]
    pub source_rate: SourceRate,
    /// Patience with clients that read slowly.
    #[serde(default)]
    pub slow_consumer: SlowConsumer,
    /// What is kept in memory for clients that come back.
    #[serde(default)]
    pub history: History,
    /// How connections are handed over on SIGTERM.
    #[serde(default)]
    pub drain: Drain,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
    /// Traces of messages.
    #[serde(default, skip_serializing_if = "Tracing::is_off")]
    pub tracing: Tracing,
}

impl GatewayConfig {
    /// A configuration with every default, for a given name and source.
    pub fn new(name: impl Into<String>, source: Source) -> Self {
        Self {
            name: name.into(),
            source,
            channels: Channels::default(),
            listener: Listener::default(),
            auth: None,
            disconnects: Vec::new(),
            odin: Odin::default(),
            symbols: Symbols::default(),
            admin: Admin::default(),
            heartbeat: Heartbeat::default(),
            capacity: Capacity::default(),
            accepts: Accepts::default(),
            command_rate: CommandRate::default(),
            source_rate: SourceRate::default(),
            slow_consumer: SlowConsumer::default(),
            history: History::default(),
            drain: Drain::default(),
            log: Log::default(),
            tracing: Tracing::default(),
        }
    }

    /// Reads and checks one file with everything, and refuses keys that are unknown; [`GatewayConfig::load`] does not.
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
