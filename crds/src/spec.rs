//! The parts of the specification, one file per part that has rules of its own.

mod autoscaling;
mod capacity;
mod channels;
mod listener;
mod monitoring;
mod pod;
mod stream;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

pub use autoscaling::Autoscaling;
pub use capacity::{Capacity, CommandRate, RateLimits, SlowConsumer};
pub use channels::{ChannelRule, Channels, Delivery};
pub use listener::{Heartbeat, Listener};
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
