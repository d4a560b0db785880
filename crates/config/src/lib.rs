//! `GatewayConfig`: the whole contract between operator and gateway, as one file.
//!
//! The operator renders it into a ConfigMap, `wsgw render` prints it, the gateway reads it. Nothing else passes
//! between the two programs but the gateway's admin port. It has a live part, which a running gateway takes up, and a
//! restart part ([`GatewayConfig::parts`]). Errors carry the field's path; only configurations that can run are returned.

mod duration;
mod error;
mod fingerprint;
mod gateway;
mod network;
mod otlp;
mod pattern;
mod shed;
mod stream;
pub mod yaml;

pub use duration::Millis;
pub use error::ConfigError;
pub use fingerprint::fingerprint;
pub use gateway::{
    AboveLimit, AcceptRate, Accepts, Admin, Algorithm, Anonymous, Auth, Capacity, Change,
    ChannelRule, Channels, CommandRate, Delivery, Disconnect, Drain, ForwardedHeader,
    GatewayConfig, HOST_HINT, Heartbeat, History, JWKS_REFRESH, JWT_LEEWAY, JWT_LIFETIME,
    JetStreamSource, Jwks, Jwt, KeyFile, Listener, ListenerTls, Loaded, Log, LogLevel, MAX_ACCEPTS,
    MAX_ANONYMOUS_CHANNELS, MAX_BATCH_WINDOW, MAX_CHANNEL_RATE, MAX_CHANNEL_RULES, MAX_CLAIM_BYTES,
    MAX_CONDITIONS, MAX_DEDUPE_WINDOW, MAX_DISCONNECT_NAME_BYTES, MAX_DISCONNECTS,
    MAX_INITIAL_CHANNELS, MAX_KEY_FILES, MAX_NETWORKS, MAX_ORIGIN_BYTES, MAX_ORIGINS, MAX_RULES,
    MAX_SOURCE_RATE, MAX_SYMBOLS, MAX_TRACES_PER_SECOND, MAX_TYPE_BYTES, MemorySource,
    NAME_BYTES_PER_CONNECTION, NatsAuth, NatsTls, NatsUser, ORIGIN_HINT, Odin, Parts, Protocol,
    ProxyProtocol, RedisServer, RedisSource, Rule, SlowConsumer, Source, SourceRate, Symbols,
    Tracing, is_cookie_name, is_host_pattern, is_message_type, is_origin_pattern, is_rule_template,
};
pub use network::{BadNetwork, Network};
pub use otlp::{BadEndpoint, MAX_ENDPOINT_BYTES, OtlpEndpoint};
pub use pattern::{MAX_PATTERN_BYTES, covers, is_pattern, is_template};
pub use shed::{Shed, ShedReason};
pub use stream::{Compression, Storage, StreamConfig};
