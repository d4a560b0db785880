//! The gateway's pods.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::placement::{PodSecurity, Toleration, TopologySpread};

/// The gateway's pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Image of the gateway. Default: the one that this operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[^\\\\s]+$')").message(
        "pod.image must be an image reference without spaces, such as registry.example.com/wsgateway/gateway:0.1.0"
    ))]
    pub image: Option<String>,
    /// When the image is pulled: Always, IfNotPresent or Never. Default: what Kubernetes does for the image's tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets with which the image is pulled (at most 16).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<SecretName>,
    /// CPU and memory of the gateway's container. What is absent derives from capacity (memory request = 64 MiB + 12 KiB
    /// per connection + 32 B per subscription that they may hold + 4 KiB per event stream and long-poll +
    /// outboxPerConnection for a tenth of the connections, of at least 64 and at most 4096 of them + 1.5 x history.bytes;
    /// memory limit = twice that; CPU request 250m; no CPU limit). A memory limit moves what waits for slow clients and
    /// the history inside; one that is too little for the rest is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Labels that a node must have, such as disktype: ssd. Default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    #[x_kube(validation = Rule::new(crate::cel::LABELS).message(
        "pod.nodeSelector must be Kubernetes labels, such as kubernetes.io/arch: amd64"
    ))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate (at most 32). Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Affinity of the pods, as in a pod's spec: nodeAffinity, podAffinity, podAntiAffinity; at most 16 KiB. What
    /// Kubernetes does not know there makes the WsGateway not Ready. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::affinity")]
    pub affinity: Option<Value>,
    /// Over which nodes the pods are spread (at most 8). Default: zones, and in each the nodes, both as a preference. An
    /// empty list: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a.topologyKey == b.topologyKey))").message(
        "pod.topologySpread names a topologyKey twice: drop one"
    ))]
    pub topology_spread: Option<Vec<TopologySpread>>,
    /// PriorityClass of the pods, such as system-cluster-critical. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::priority_class")]
    pub priority_class_name: Option<String>,
    /// Labels of the pods besides the operator's, such as team: trading. Default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::labels")]
    #[x_kube(
        validation = Rule::new(crate::cel::LABELS).message("pod.labels must be Kubernetes labels, such as team: trading"),
        validation = Rule::new(crate::cel::labels_not_reserved()).message(
            "pod.labels cannot set the labels by which the gateway's pods are found (app.kubernetes.io/name, instance, \
             component and managed-by, pod-template-hash) nor wsgateway.dev/...: use names of your own, such as team"
        )
    )]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods, such as sidecar.istio.io/inject: "false". Default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::annotations")]
    #[x_kube(
        validation = Rule::new(crate::cel::ANNOTATIONS).message(
            "pod.annotations must have Kubernetes names, such as sidecar.istio.io/inject"
        ),
        validation = Rule::new("self.all(k, !k.startsWith('wsgateway.dev/'))").message(
            "pod.annotations cannot set wsgateway.dev/..., which the operator writes: use names of your own"
        )
    )]
    pub annotations: BTreeMap<String, String>,
    /// ServiceAccount of the pods. Default: one of their own without any right. Its token is not mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::service_account")]
    pub service_account_name: Option<String>,
    /// As whom the gateway runs. Default: the user of the image, or the one that the platform assigns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurity>,
    /// A part of a pod template (metadata.labels, metadata.annotations, spec), merged last, as kubectl patch
    /// --type=strategic does: lists of containers, volumes, env, ports and volumeMounts by their key; null and
    /// $patch: delete remove, $patch: replace replaces; at most 32 KiB. What the operator relies on is refused: labels
    /// by which it finds pods, its volumes, ports and resources of the container gateway. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::pod_template")]
    pub overrides: Option<Value>,
}

/// When the image is pulled.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePullPolicy {
    /// Insist.
    Always,
    /// When the node has none.
    IfNotPresent,
    /// Do without.
    Never,
}

impl ImagePullPolicy {
    /// The name that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Name of a Secret in the namespace of the WsGateway.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// CPU and memory of a container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || \
     quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)"
).message(
    "pod.resources.requests must not exceed pod.resources.limits of the same name: lower the request or raise the limit"
))]
pub struct Resources {
    /// Amounts that the node must have free, such as cpu: 500m, memory: 1Gi.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::amounts")]
    pub requests: BTreeMap<String, IntOrString>,
    /// Amounts that the container must not exceed, such as memory: 2Gi.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::amounts")]
    pub limits: BTreeMap<String, IntOrString>,
}
