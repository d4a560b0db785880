//! `GatewayConfig`: the whole contract between operator and gateway, as one file.
//!
//! The operator renders it into a ConfigMap, `wsgw render` prints it, the gateway reads it. Nothing else passes
//! between the two programs but the gateway's admin port. Unknown keys are errors that carry the field's path;
//! [`GatewayConfig::parse`] returns only configurations that can run.

mod duration;
mod error;
mod gateway;
mod pattern;
mod stream;
pub mod yaml;

pub use duration::Millis;
pub use error::ConfigError;
pub use gateway::{
    Admin, Capacity, Channels, CommandRate, Delivery, Drain, GatewayConfig, Heartbeat, History,
    JetStreamSource, Listener, MAX_BATCH_WINDOW, MAX_DEDUPE_WINDOW, MAX_INITIAL_CHANNELS,
    MAX_RULES, MAX_SYMBOLS, MAX_TYPE_BYTES, MemorySource, NAME_BYTES_PER_CONNECTION, NatsAuth,
    NatsTls, NatsUser, Odin, Protocol, RedisServer, RedisSource, Rule, SlowConsumer, Source,
    Symbols, is_message_type,
};
pub use pattern::{MAX_PATTERN_BYTES, covers, is_pattern, is_template};
pub use stream::{Compression, Storage, StreamConfig};
