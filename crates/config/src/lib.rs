//! `GatewayConfig`: the whole contract between operator and gateway, as one file.
//!
//! The operator renders it into a ConfigMap, `wsgw render` prints it, the gateway reads it. Nothing else passes
//! between the two programs but the gateway's admin port. Unknown keys are errors that carry the field's path;
//! [`GatewayConfig::parse`] returns only configurations that can run.

mod duration;
mod error;
mod gateway;
mod stream;
pub mod yaml;

pub use duration::Millis;
pub use error::ConfigError;
pub use gateway::{
    Admin, Capacity, Channels, CommandRate, Drain, GatewayConfig, Heartbeat, JetStreamSource,
    Listener, MemorySource, Source, Warmup,
};
pub use stream::{Compression, Storage, StreamConfig};
