//! The kinds of objects that are made for a WsGateway. One list for applying, watching, repairing and pruning.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
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
    /// Of KEDA, which makes a HorizontalPodAutoscaler of it.
    ScaledObject,
    NetworkPolicy,
    Ingress,
    HttpRoute,
    ServiceMonitor,
}

/// What an object is for: trouble with it is told by one condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// Clients are not served as specified without it.
    Gateway,
    /// It leads clients from outside to the gateways.
    Exposure,
    Monitoring,
    /// It scales the pods.
    Scaling,
}

impl Kind {
    /// Kinds that every cluster knows.
    pub(crate) const BUILT_IN: [Self; 8] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
        Self::NetworkPolicy,
        Self::Ingress,
    ];
    /// Kinds that a cluster may know.
    pub(crate) const OPTIONAL: [Self; 3] =
        [Self::ScaledObject, Self::HttpRoute, Self::ServiceMonitor];

    /// As Kubernetes names it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Deployment => "Deployment",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::ScaledObject => "ScaledObject",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
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
            Self::ScaledObject => ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"),
                "scaledobjects",
            ),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::Ingress => ApiResource::erase::<Ingress>(&()),
            Self::HttpRoute => ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"),
                "httproutes",
            ),
            Self::ServiceMonitor => ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor"),
                "servicemonitors",
            ),
        }
    }

    /// What it is for. Trouble with what is not for the gateway itself holds nothing else up.
    pub(crate) fn concern(self) -> Concern {
        match self {
            Self::Ingress | Self::HttpRoute => Concern::Exposure,
            Self::ServiceMonitor => Concern::Monitoring,
            Self::ScaledObject => Concern::Scaling,
            _ => Concern::Gateway,
        }
    }

    /// Whether the objects after it are of no use without it.
    pub(crate) fn is_needed_by_pods(self) -> bool {
        matches!(self, Self::ServiceAccount | Self::ConfigMap)
    }

    /// Whether it writes the number of pods: two of them would fight.
    pub(crate) fn is_autoscaler(self) -> bool {
        matches!(self, Self::HorizontalPodAutoscaler | Self::ScaledObject)
    }

    /// Whether an object that is not wanted any more is deleted here. Pods of an older template still read their ConfigMap:
    /// `configs.rs` looks at who does.
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
            let singular = kind.as_str().to_lowercase();
            let plural = match singular.strip_suffix('y') {
                Some(stem) => format!("{stem}ies"),
                None if singular.ends_with('s') => format!("{singular}es"),
                None => format!("{singular}s"),
            };
            assert_eq!(resource.plural, plural);
        }
    }
}
