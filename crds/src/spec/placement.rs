//! Where the gateway's pods may run, and as whom.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A taint that the pods tolerate, as in a pod's `tolerations`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.key) || self.operator == 'Exists'").message(
        "pod.tolerations[]: without key, operator must be Exists, which tolerates every taint: name a key, or set the operator"
    ),
    validation = Rule::new("self.operator != 'Exists' || !has(self.value) || self.value == ''").message(
        "pod.tolerations[]: operator Exists takes any value: drop value, or use operator Equal"
    ),
    validation = Rule::new("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')").message(
        "pod.tolerations[].tolerationSeconds needs effect NoExecute, the only one that evicts: set it, or drop the seconds"
    )
)]
pub struct Toleration {
    /// Key of the taint, such as dedicated. Absent: every taint; operator is Exists then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub key: Option<String>,
    /// Equal: the taint has this value. Exists: it has any. Default Equal.
    #[serde(default)]
    pub operator: TolerationOperator,
    /// Value of the taint. Default empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// Effect of the taint: NoSchedule, PreferNoSchedule or NoExecute. Absent: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// Seconds for which a running pod tolerates a taint with effect NoExecute. Absent: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub toleration_seconds: Option<i64>,
}

/// How the value of a taint is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TolerationOperator {
    /// The value is the same.
    #[default]
    Equal,
    /// Any value.
    Exists,
}

impl TolerationOperator {
    /// The name that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::Exists => "Exists",
        }
    }
}

/// What a taint does to pods that do not tolerate it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintEffect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away if they can.
    PreferNoSchedule,
    /// Running pods are evicted.
    NoExecute,
}

impl TaintEffect {
    /// The name that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// Over which nodes the pods are spread. The operator adds the selector of the gateway's pods and compares only pods of
/// the same template, so that a rollout does not skew the result.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'").message(
    "pod.topologySpread[].minDomains needs whenUnsatisfiable DoNotSchedule: set that, or drop minDomains"
))]
pub struct TopologySpread {
    /// Label of nodes whose values are the domains, such as topology.kubernetes.io/zone.
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
    /// Most pods by which two domains may differ. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: i32,
    /// What happens to a pod for which there is no such node. ScheduleAnyway: it runs elsewhere. DoNotSchedule: it
    /// waits. Default ScheduleAnyway.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,
    /// Fewest domains that must exist. Default: no such demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_domains: Option<i32>,
}

/// What happens to a pod that cannot be spread as wanted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenUnsatisfiable {
    /// It runs where it can.
    #[default]
    ScheduleAnyway,
    /// It waits.
    DoNotSchedule,
}

impl WhenUnsatisfiable {
    /// The name that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScheduleAnyway => "ScheduleAnyway",
            Self::DoNotSchedule => "DoNotSchedule",
        }
    }
}

/// As whom the gateway runs. It never runs as root, never with more privileges than it starts with, and with the
/// runtime's seccomp profile.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurity {
    /// User ID of the gateway's process, for an image whose user is root or a name, such as 65532; at least 1. Absent:
    /// the user of the image, or the one that the platform assigns (OpenShift).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub run_as_user: Option<i64>,
    /// Group ID of the gateway's process, such as 65532. Absent: as runAsUser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_group: Option<i64>,
    /// Group ID that owns volumes, for volumes of pod.overrides. Absent: none, or the one that the platform assigns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub fs_group: Option<i64>,
}

fn one() -> i32 {
    1
}
