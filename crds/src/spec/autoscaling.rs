//! Scaling on connections.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Scale on connections, through a HorizontalPodAutoscaler on the metric wsgateway_connections.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message(
    "autoscaling.minReplicas must not exceed autoscaling.maxReplicas: raise maxReplicas or lower minReplicas"
))]
pub struct Autoscaling {
    /// Fewest pods. Default 2, so that one may go without an outage.
    #[serde(default = "default_min")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// Most pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// Average connections of a pod that the autoscaler aims at. Default 80 % of capacity.connectionsPerPod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub target_connections_per_pod: Option<i32>,
}

fn default_min() -> i32 {
    2
}
