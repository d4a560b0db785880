//! Voluntary disruptions, one pod at a time: a node drain moves connections in steps, and is never blocked for ever.
//!
//! A pod that is being deleted does not count once another one is ready in its place, though it still hands its clients over,
//! and cannot be told to be slower. So no other one may be evicted meanwhile.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wsgateway_crds::ValidGateway;

use super::meta::{child_name, label_selector, metadata};

pub(super) fn build(gateway: &ValidGateway) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(gateway, child_name(&gateway.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(max_unavailable(false)),
            selector: Some(label_selector(&gateway.name)),
            // A pod that does not serve anyway must not hold up a drain.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

/// On a budget: it allows no evictions for now.
pub(crate) const HOLDS_EVICTIONS: &str = "wsgateway.dev/holds-evictions";

/// Pods that may be unavailable: one, as long as evictions are not held.
pub(crate) fn max_unavailable(is_held: bool) -> IntOrString {
    IntOrString::Int(if is_held { 0 } else { 1 })
}
