//! The autoscaler. It scales the WsGateway, not the Deployment: so `kubectl get wsgw` shows what is wanted, and the
//! operator shrinks the fleet its own way.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec,
    MetricIdentifier, MetricSpec, MetricTarget, PodsMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use wsgateway_crds::{GROUP, VERSION, ValidGateway};

use super::meta::{child_name, metadata};

/// Client connections of one pod, as the gateway exports them.
const METRIC: &str = "wsgateway_connections";

pub(super) fn build(gateway: &ValidGateway) -> Option<HorizontalPodAutoscaler> {
    let bounds = gateway.autoscaling?;
    let connections = MetricSpec {
        type_: "Pods".to_owned(),
        pods: Some(PodsMetricSource {
            metric: MetricIdentifier { name: METRIC.to_owned(), selector: None },
            target: MetricTarget {
                type_: "AverageValue".to_owned(),
                average_value: Some(Quantity(gateway.derived.target_connections.to_string())),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    };
    Some(HorizontalPodAutoscaler {
        metadata: metadata(gateway, child_name(&gateway.name)),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(format!("{GROUP}/{VERSION}")),
                kind: "WsGateway".to_owned(),
                name: gateway.name.clone(),
            },
            min_replicas: Some(bounds.min),
            max_replicas: bounds.max,
            metrics: Some(vec![connections]),
            ..HorizontalPodAutoscalerSpec::default()
        }),
        ..HorizontalPodAutoscaler::default()
    })
}
