//! What clients may be put to.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Bounds for whatever moves clients: rollouts, pods that are not needed any more, and rebalancing. They never happen at the
/// same time.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Disruption {
    /// Clients that are asked to reconnect in one minute, for whatever reason; nothing may be faster. Default
    /// rollout.connectionsPerMinute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 10_000_000))]
    pub connections_per_minute: Option<i32>,
    /// Stops moving clients when they come back with gaps, or are refused: more than 1 % of them, and at least 10. A rollout
    /// first replaces one pod and waits for its clients. The annotation wsgateway.dev/continue with another value than before,
    /// or another pod template, goes on. Default true.
    #[serde(default = "default_halt")]
    pub halt_on_loss: bool,
    /// How often a client may be moved in an hour by scale-down and rebalance: rebalancing leaves connections alone that are
    /// younger than an hour divided by this, and pods that are not needed any more stay while as many moves began within the
    /// last hour, rollouts included; 1 to 60. Absent: any number of times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub max_per_client_per_hour: Option<i32>,
}

fn default_halt() -> bool {
    true
}

impl Default for Disruption {
    fn default() -> Self {
        Self {
            connections_per_minute: None,
            halt_on_loss: default_halt(),
            max_per_client_per_hour: None,
        }
    }
}
