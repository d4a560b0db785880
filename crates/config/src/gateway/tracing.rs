//! Traces of messages.

use serde::{Deserialize, Serialize};

use crate::{ConfigError, OtlpEndpoint};

/// Most traces that a gateway records in a second.
pub const MAX_TRACES_PER_SECOND: u32 = 1_000;

/// Traces of messages whose publishers ask for them. Without an endpoint there are none, and no header is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tracing {
    /// Base address of an OTLP/HTTP receiver, such as `http://collector.monitoring:4318`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Most messages that are traced in a second; others are delivered without a trace.
    pub max_per_second: u32,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { endpoint: None, max_per_second: 10 }
    }
}

impl Tracing {
    /// Whether nothing is traced; then the file says nothing of it, either.
    pub fn is_off(&self) -> bool {
        self.endpoint.is_none()
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(endpoint) = &self.endpoint {
            OtlpEndpoint::parse(endpoint)
                .map_err(|error| ConfigError::value("tracing.endpoint", error.to_string()))?;
        }
        if !(1..=MAX_TRACES_PER_SECOND).contains(&self.max_per_second) {
            return Err(ConfigError::value(
                "tracing.maxPerSecond",
                format!("must be 1 to {MAX_TRACES_PER_SECOND}; got {}", self.max_per_second),
            ));
        }
        Ok(())
    }
}
