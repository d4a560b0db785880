//! The parts of the specification, one file per part that has rules of its own.

mod autoscaling;
mod monitoring;
mod pod;
mod stream;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

pub use autoscaling::Autoscaling;
pub use monitoring::{Monitoring, ServiceMonitorMode};
pub use pod::{ImagePullPolicy, Pod, Resources, SecretName};
pub use stream::{AdoptionPolicy, Compression, DeletionPolicy, Storage, Stream};

/// The NATS servers that hold the stream.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Nats {
    /// Addresses of servers of one NATS cluster, as nats://host:port (1 to 16). NATS 2.10 or later with JetStream.
    #[schemars(schema_with = "crate::schema::servers")]
    pub servers: Vec<String>,
}

/// How subjects become channels.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Channels {
    /// Beginning of a subject that is left out of its channel's name: with odin.token. the subject odin.token.BTC.price
    /// is the channel BTC.price. Ends with a dot. Subjects that do not begin with it keep their full name. Default
    /// empty: a channel is named as its subject.
    #[serde(default)]
    #[schemars(length(max = 255))]
    #[x_kube(validation = Rule::new(r"self == '' || self.matches('^[^\\s.*>$][^\\s.*>]*(\\.[^\\s.*>]+)*\\.$')").message(
        "channels.stripPrefix must be whole tokens without wildcards and end with a dot, such as odin.token."
    ))]
    pub strip_prefix: String,
}

/// The port that clients see.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Path of the WebSocket endpoint. Default /ws. The paths /, /health and /stats are the gateway's own.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^/[-A-Za-z0-9._~/]*$') && !(self in ['/', '/health', '/stats'])").message(
        "listener.path must begin with / and be none of the gateway's own paths /, /health and /stats: use /ws, for \
         example"
    ))]
    pub path: String,
    /// Port of the gateway's pods and of its Service, above 1023 since the pods have no privileges, and not 9090, where
    /// metrics and probes are. Default 8080.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("self != 9090").message(
        "listener.port 9090 is the gateway's admin port: choose another, such as 8080"
    ))]
    pub port: i32,
}

/// What one pod holds. The rest derives from it: admission, the autoscaler's target, memory, outboxes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Most client connections of one pod; the next is answered 503 with Retry-After. Default 10000.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_pod: i32,
}

fn default_path() -> String {
    "/ws".to_owned()
}
fn default_port() -> i32 {
    8080
}
fn default_connections() -> i32 {
    10_000
}

impl Default for Listener {
    fn default() -> Self {
        Self { path: default_path(), port: default_port() }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self { connections_per_pod: default_connections() }
    }
}
