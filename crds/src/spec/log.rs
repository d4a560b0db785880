//! What the gateways log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How severe an event is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Something is broken and needs somebody.
    Error,
    /// Something is wrong and may heal.
    Warn,
    /// Changes of state, and statistics every minute.
    #[default]
    Info,
    /// Every connection that ends early, and each step of the source.
    Debug,
}

impl From<LogLevel> for wsgateway_config::LogLevel {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
        }
    }
}
