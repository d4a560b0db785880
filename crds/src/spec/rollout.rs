//! How pods are replaced.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// How fast pods hand over their clients: to the pods that replace them, and whenever a pod stops.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Longest time in which one pod hands over its clients, such as 10m; 1s to 1h. A pod with more clients than
    /// connectionsPerMinute allows in that time hands them over faster. terminationGracePeriodSeconds follows, so that a
    /// change replaces the pods. Default 10m.
    #[serde(default = "default_drain")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message(
        "rollout.drain must be 1s to 1h: few platforms wait for a pod longer"
    ))]
    pub drain: String,
    /// Clients that are asked to reconnect in one minute while pods are replaced, one pod after the other; a pod that stops
    /// for another reason keeps this pace, too. At most disruption.connectionsPerMinute. Default 6000.
    #[serde(default = "default_pace")]
    #[schemars(range(min = 60, max = 10_000_000))]
    pub connections_per_minute: i32,
}

fn default_drain() -> String {
    "10m".to_owned()
}
fn default_pace() -> i32 {
    6_000
}

impl Default for Rollout {
    fn default() -> Self {
        Self { drain: default_drain(), connections_per_minute: default_pace() }
    }
}
