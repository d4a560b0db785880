//! How clients are spread over the pods again.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Moves clients from pods that have many to pods that have few, as after new pods have come: connections are long, and stay
/// where they are of themselves. A pod takes no new clients while it hands some over; those with the fewest subscriptions go
/// first, and none that is catching up.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rebalance {
    /// When it happens. Default Auto.
    #[serde(default)]
    pub mode: RebalanceMode,
    /// How far the clients of a pod may be above the mean of all pods, in percent of the mean, 5 to 500. Default 20.
    #[serde(default = "default_tolerance")]
    #[schemars(range(min = 5, max = 500))]
    pub tolerance_percent: i32,
    /// With fewer clients on all pods together nothing is moved. Default 1000.
    #[serde(default = "default_min_connections")]
    #[schemars(range(min = 0, max = 10_000_000))]
    pub min_connections: i32,
    /// Clients that are asked to reconnect in one minute. Default, and most, disruption.connectionsPerMinute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 10_000_000))]
    pub connections_per_minute: Option<i32>,
}

/// When clients are spread over the pods again.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RebalanceMode {
    /// Whenever a pod is too far above the mean.
    #[default]
    Auto,
    /// Once, whenever the annotation wsgateway.dev/rebalance-at gets another value, such as the time.
    Manual,
    /// Never. Written "Off", in quotation marks: without them YAML takes it for a boolean.
    Off,
}

fn default_tolerance() -> i32 {
    20
}
fn default_min_connections() -> i32 {
    1_000
}

impl Default for Rebalance {
    fn default() -> Self {
        Self {
            mode: RebalanceMode::default(),
            tolerance_percent: default_tolerance(),
            min_connections: default_min_connections(),
            connections_per_minute: None,
        }
    }
}
