//! The autoscaler. It scales the WsGateway, not the Deployment: so `kubectl get wsgw` shows what is wanted, and the
//! operator shrinks the fleet its own way.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec,
    MetricTarget, PodsMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use wsgateway_config::Millis;
use wsgateway_crds::{GROUP, VERSION, ValidGateway, ValidMetricsSource};

use super::meta::{child_name, metadata};

/// Client connections of one pod, and its CPU use, as gateways report them to the operator and to Prometheus.
pub(super) const CONNECTIONS: &str = "wsgateway_connections";
pub(super) const CPU: &str = "wsgateway_cpu_percent";
/// In one period as many pods may come as there are, or so many: clients that find no room wait for them.
const PERIOD_SECONDS: i32 = 15;
const AT_LEAST: i32 = 4;

/// None where KEDA makes one.
pub(super) fn build(gateway: &ValidGateway) -> Option<HorizontalPodAutoscaler> {
    let bounds = gateway.autoscaling.as_ref()?;
    if matches!(bounds.source, ValidMetricsSource::Keda { .. }) {
        return None;
    }
    let connections = metric(CONNECTIONS, gateway.derived.target_connections.to_string());
    let cpu = bounds.cpu_percent.map(|percent| metric(CPU, percent.to_string()));
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
            metrics: Some(std::iter::once(connections).chain(cpu).collect()),
            behavior: Some(behavior(bounds.stabilization)),
        }),
        ..HorizontalPodAutoscaler::default()
    })
}

/// The average of all pods that is aimed at.
fn metric(name: &str, average: String) -> MetricSpec {
    MetricSpec {
        type_: "Pods".to_owned(),
        pods: Some(PodsMetricSource {
            metric: MetricIdentifier { name: name.to_owned(), selector: None },
            target: MetricTarget {
                type_: "AverageValue".to_owned(),
                average_value: Some(Quantity(average)),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}

/// Up at once; down only after a while, and then all the way: the operator takes one pod after the other.
pub(super) fn behavior(stabilization: Millis) -> HorizontalPodAutoscalerBehavior {
    let policy = |type_: &str, value| HPAScalingPolicy {
        type_: type_.to_owned(),
        value,
        period_seconds: PERIOD_SECONDS,
    };
    let rules = |seconds, policies| HPAScalingRules {
        stabilization_window_seconds: Some(seconds),
        select_policy: Some("Max".to_owned()),
        policies: Some(policies),
        ..HPAScalingRules::default()
    };
    let seconds = i32::try_from(stabilization.0.div_ceil(1_000)).unwrap_or(i32::MAX);
    HorizontalPodAutoscalerBehavior {
        scale_up: Some(rules(0, vec![policy("Percent", 100), policy("Pods", AT_LEAST)])),
        scale_down: Some(rules(seconds, vec![policy("Percent", 100)])),
    }
}
