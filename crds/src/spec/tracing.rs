//! Traces of messages.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Traces of messages whose publishers ask for them with a sampled `traceparent` header.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// Base address of an OTLP/HTTP receiver, such as http://collector.monitoring:4318. Spans are posted to v1/traces
    /// below it.
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new(
        "self.matches('^https?://([A-Za-z0-9._~-]+|\\\\[[0-9A-Fa-f:.]+\\\\])(:[1-9][0-9]{0,4})?(/[A-Za-z0-9._~/:-]*)?$')"
    ).message(
        "tracing.endpoint is the base address of an OTLP/HTTP receiver: write http:// or https://, a host and a port, such \
         as http://collector.monitoring:4318; user and password belong into tracing.headersSecret"
    ))]
    pub endpoint: String,
    /// Most messages that one pod traces in a second (1 to 1000); others are delivered without a trace. Default 10.
    #[serde(default = "default_max_per_second")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_per_second: i32,
    /// Secret with headers of the requests to the receiver, as name=value pairs separated by commas, such as
    /// Authorization=Bearer%20abc. Pods read it when they start. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers_secret: Option<HeadersSecret>,
}

/// A key of a Secret in the namespace of the WsGateway.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeadersSecret {
    /// Name of the Secret.
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: String,
    /// Key of the headers in it. Default headers.
    #[serde(default = "default_key")]
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub key: String,
}

fn default_max_per_second() -> i32 {
    10
}

fn default_key() -> String {
    "headers".to_owned()
}
