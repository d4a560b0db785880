//! What the process logs.

use serde::{Deserialize, Serialize};

/// What the process logs. The environment variable `RUST_LOG` comes before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Log {
    /// The least severe events that are logged.
    pub level: LogLevel,
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

impl LogLevel {
    /// The name, as in the file and in a log filter.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}
