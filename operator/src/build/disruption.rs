//! Voluntary disruptions, one pod at a time: a node drain moves connections in steps, and is never blocked for ever.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wsgateway_crds::ValidGateway;

use super::meta::{child_name, label_selector, metadata};

pub(super) fn build(gateway: &ValidGateway) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(gateway, child_name(&gateway.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(label_selector(&gateway.name)),
            // A pod that does not serve anyway must not hold up a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
