//! The kinds of objects that are made for a WsGateway. One list for applying, watching, repairing and pruning.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{ApiResource, GroupVersionKind};

/// A kind of objects, in the order in which they are applied: each finds what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    ServiceAccount,
    ConfigMap,
    Service,
    PodDisruptionBudget,
    Deployment,
    HorizontalPodAutoscaler,
    ServiceMonitor,
}

impl Kind {
    /// Kinds that every cluster knows.
    pub(crate) const BUILT_IN: [Self; 6] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
    ];
    /// Kinds that a cluster may know: clients are served without them, and their trouble holds nothing else up.
    pub(crate) const OPTIONAL: [Self; 1] = [Self::ServiceMonitor];

    /// As Kubernetes names it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Deployment => "Deployment",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::ServiceMonitor => "ServiceMonitor",
        }
    }

    /// How to reach it, without asking the cluster.
    pub(crate) fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
            Self::ServiceMonitor => ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor"),
                "servicemonitors",
            ),
        }
    }

    pub(crate) fn is_optional(self) -> bool {
        Self::OPTIONAL.contains(&self)
    }

    /// Whether the objects after it are of no use without it.
    pub(crate) fn is_needed_by_pods(self) -> bool {
        matches!(self, Self::ServiceAccount | Self::ConfigMap)
    }

    /// Whether an object that is not wanted any more is deleted. Pods of an older template still read their ConfigMap.
    pub(crate) fn is_pruned(self) -> bool {
        self != Self::ConfigMap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_reached_by_its_name() {
        for kind in Kind::BUILT_IN.into_iter().chain(Kind::OPTIONAL) {
            let resource = kind.resource();
            assert_eq!(resource.kind, kind.as_str());
            assert_eq!(resource.plural, format!("{}s", kind.as_str().to_lowercase()));
        }
    }
}
