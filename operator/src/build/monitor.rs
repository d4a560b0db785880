//! What the Prometheus operator is told, where there is one.

use kube::core::DynamicObject;
use serde_json::json;
use wsgateway_crds::{ServiceMonitorMode, ValidGateway};

use super::meta::{child_name, metadata, selector};
use super::services::ADMIN;
use crate::kinds::Kind;

/// `known`: the cluster has the kind.
pub(super) fn build(gateway: &ValidGateway, known: bool) -> Option<DynamicObject> {
    if gateway.monitoring.service_monitor == ServiceMonitorMode::Never || !known {
        return None;
    }
    let mut metadata = metadata(gateway, child_name(&gateway.name));
    let mut labels = gateway.monitoring.labels.clone();
    labels.extend(metadata.labels.take().unwrap_or_default());
    metadata.labels = Some(labels);
    let mut monitor = DynamicObject::new("", &Kind::ServiceMonitor.resource()).data(json!({
        "spec": {
            "namespaceSelector": { "matchNames": [gateway.namespace] },
            "selector": { "matchLabels": selector(&gateway.name) },
            "endpoints": [{ "port": ADMIN, "path": "/metrics", "interval": gateway.monitoring.interval,
                // Boards and alerts are about WsGateways, whatever their Services are called.
                "relabelings": [{ "action": "replace", "targetLabel": "gateway", "replacement": gateway.name }],
            }],
        }
    }));
    monitor.metadata = metadata;
    Some(monitor)
}
