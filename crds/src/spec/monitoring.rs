//! What Prometheus sees.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What Prometheus sees.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether a ServiceMonitor is made. Auto: if the cluster knows that kind, also when it learns it later. Always: the
    /// condition MonitoringReady is False without it. Never: none. Default Auto.
    #[serde(default)]
    pub service_monitor: ServiceMonitorMode,
    /// Time between two scrapes, such as 15s; at least 1s. Default 15s.
    #[serde(default = "default_interval")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("monitoring.interval must be at least 1s"))]
    pub interval: String,
    /// Labels of the ServiceMonitor, for a Prometheus that selects by them. Default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    #[x_kube(validation = Rule::new(crate::cel::LABELS).message(
        "monitoring.labels must be Kubernetes labels, such as release: prometheus"
    ))]
    pub labels: BTreeMap<String, String>,
}

/// Whether a ServiceMonitor is made.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceMonitorMode {
    /// If the cluster knows the kind.
    #[default]
    Auto,
    /// Insist.
    Always,
    /// Do without.
    Never,
}

fn default_interval() -> String {
    "15s".to_owned()
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            service_monitor: ServiceMonitorMode::Auto,
            interval: default_interval(),
            labels: BTreeMap::new(),
        }
    }
}
