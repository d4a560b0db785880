//! What the pods keep for clients that come back.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What every pod keeps in memory of the stream, for clients that come back and for those who ask for last values. What
/// is older is looked up in the stream, as far as that still has it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// Most messages. Read from the stream before a pod is ready. Default 100000.
    #[serde(default = "default_messages")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub messages: i32,
    /// Most bytes of messages, such as 64Mi; 1Mi to 2Gi. Last values of channels without a newer message get half as
    /// much besides. The memory of a pod follows. Default 64Mi, or what pod.resources.limits.memory leaves of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::size")]
    #[x_kube(validation = Rule::new(
        "quantity(self).compareTo(quantity('1Mi')) >= 0 && quantity(self).compareTo(quantity('2Gi')) <= 0"
    ).message("history.bytes must be 1Mi to 2Gi: what is older is looked up in the stream"))]
    pub bytes: Option<String>,
    /// Messages older than this are dropped, but for the last one of each channel, such as 5m; 1s to 24h. Default 5m.
    #[serde(default = "default_age")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message(
        "history.age must be 1s to 24h: clients that a rollout cuts off are back within a minute, and what is older is \
         looked up in the stream"
    ))]
    pub age: String,
}

fn default_messages() -> i32 {
    100_000
}
fn default_age() -> String {
    "5m".to_owned()
}

impl Default for History {
    fn default() -> Self {
        Self { messages: default_messages(), bytes: None, age: default_age() }
    }
}
