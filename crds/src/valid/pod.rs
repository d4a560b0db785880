//! The pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, PodSecurityContext, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{ImagePullPolicy, Overrides};

/// The pods.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidPod {
    /// Image, or the operator's default.
    pub image: Option<String>,
    /// When it is pulled, or Kubernetes' default.
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets to pull it with.
    pub image_pull_secrets: Vec<String>,
    /// What is given of requests and limits; the rest is derived.
    pub resources: ValidResources,
    /// Labels that nodes must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    pub tolerations: Vec<Toleration>,
    /// Affinity.
    pub affinity: Option<Affinity>,
    /// Spread without the selector, or the operator's default.
    pub spread: Option<Vec<TopologySpreadConstraint>>,
    /// PriorityClass.
    pub priority_class: Option<String>,
    /// Labels; none that is reserved.
    pub labels: BTreeMap<String, String>,
    /// Annotations; none that is reserved.
    pub annotations: BTreeMap<String, String>,
    /// ServiceAccount, or the operator's own.
    pub service_account: Option<String>,
    /// What is given of the security context: user, group and fsGroup.
    pub security: PodSecurityContext,
    /// What is merged into the template at last.
    pub overrides: Option<Overrides>,
}

/// Requests and limits given by hand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidResources {
    /// Requests by resource.
    pub requests: BTreeMap<String, Quantity>,
    /// Limits by resource.
    pub limits: BTreeMap<String, Quantity>,
    /// Bytes of memory in `requests`; at most those of `limits`.
    pub memory_request: Option<u64>,
    /// Bytes of memory in `limits`.
    pub memory_limit: Option<u64>,
}
