//! Scaling on connections.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Scale on connections, and on CPU if asked for, through a HorizontalPodAutoscaler or KEDA.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message(
    "autoscaling.minReplicas must not exceed autoscaling.maxReplicas: raise maxReplicas or lower minReplicas"
), validation = Rule::new("!has(self.schedule) || self.schedule.all(s, s.minReplicas <= self.maxReplicas)").message(
    "autoscaling.schedule: minReplicas must not exceed autoscaling.maxReplicas: raise maxReplicas or lower minReplicas"
), validation = Rule::new("!has(self.metricsSource) || self.metricsSource != 'Keda' || has(self.keda)").message(
    "autoscaling.metricsSource Keda needs autoscaling.keda.prometheusAddress: write the address of the Prometheus that \
     reads the gateways, such as http://prometheus.monitoring:9090"
))]
pub struct Autoscaling {
    /// Where the autoscaler gets its numbers. Operator: from the operator. Adapter: from a metrics adapter of yours, such as
    /// prometheus-adapter. Keda: from Prometheus through KEDA, by a ScaledObject instead of a HorizontalPodAutoscaler.
    /// Default Operator.
    #[serde(default)]
    pub metrics_source: MetricsSource,
    /// For metricsSource Keda.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keda: Option<Keda>,
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
    /// Average CPU use of a pod that the autoscaler aims at besides, in percent of its CPU limit, or of its node if it has
    /// none; whichever asks for more pods counts. Absent: only connections count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_percent: Option<i32>,
    /// How pods go that are not needed any more.
    #[serde(default)]
    pub scale_down: ScaleDown,
    /// Times from which on another number of pods is the least, instead of minReplicas, until the time of another entry comes:
    /// capacity before the crowd comes, and less at night.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub schedule: Vec<ScheduleEntry>,
}

/// Where the autoscaler gets its numbers.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsSource {
    /// From the operator.
    #[default]
    Operator,
    /// From a metrics adapter.
    Adapter,
    /// From Prometheus, through KEDA.
    Keda,
}

/// What KEDA needs to know.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Keda {
    /// Address of the Prometheus that reads the gateways, as KEDA reaches it, such as http://prometheus.monitoring:9090. Its
    /// targets must have the labels namespace and pod, as those of a ServiceMonitor have.
    #[schemars(schema_with = "crate::schema::prometheus_address")]
    pub prometheus_address: String,
}

/// A time, again and again.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleEntry {
    /// When: minute, hour, day of month, month and day of week, such as '45 8 * * 1-5'.
    #[schemars(length(min = 9, max = 128))]
    pub cron: String,
    /// Time zone of these, by its name, such as America/New_York. Default Etc/UTC.
    #[serde(default = "default_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// Fewest pods from then on; at most maxReplicas.
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
}

fn default_zone() -> String {
    "Etc/UTC".to_owned()
}

/// How pods go that are not needed any more: the one with the fewest clients first, once it has handed them over.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScaleDown {
    /// How long the autoscaler has had to want fewer pods before it asks for them, such as 10m; 1s to 1h. Default 5m.
    #[serde(default = "default_stabilization")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message(
        "autoscaling.scaleDown.stabilization must be 1s to 1h"
    ))]
    pub stabilization: String,
    /// Clients that are asked to reconnect in one minute. Default, and most, disruption.connectionsPerMinute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 10_000_000))]
    pub connections_per_minute: Option<i32>,
}

impl Default for ScaleDown {
    fn default() -> Self {
        Self { stabilization: default_stabilization(), connections_per_minute: None }
    }
}

fn default_stabilization() -> String {
    "5m".to_owned()
}

fn default_min() -> i32 {
    2
}
