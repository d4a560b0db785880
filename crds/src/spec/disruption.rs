//! What clients may be put to.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Bounds for whatever moves clients: rollouts, pods that are not needed any more, and rebalancing. They never happen at the
/// same time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Clients that are asked to reconnect in one minute, for whatever reason; nothing may be faster. Default
    /// rollout.connectionsPerMinute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 10_000_000))]
    pub connections_per_minute: Option<i32>,
}
