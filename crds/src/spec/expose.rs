//! How clients reach the gateway from outside of the cluster.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How clients reach the gateway: by its Service, and by an Ingress or an HTTPRoute in front of it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Expose {
    /// The Service of the clients. It has the name of the WsGateway.
    #[serde(default)]
    pub service: ExposeService,
    /// An Ingress (networking.k8s.io/v1) that leads to the Service. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<ExposeIngress>,
    /// An HTTPRoute (gateway.networking.k8s.io/v1) that leads to the Service. The condition ExposeReady is False
    /// while the cluster does not know the kind. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_route: Option<ExposeHttpRoute>,
}

/// The Service of the clients.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'").message(
        "expose.service.loadBalancerClass needs type LoadBalancer: set it, or drop the class"
    ),
    validation = Rule::new("!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'").message(
        "expose.service.externalTrafficPolicy needs type LoadBalancer or NodePort: set one, or drop the policy"
    ),
    validation = Rule::new(
        "!has(self.ipFamilies) || self.ipFamilies.size() < 2 || (has(self.ipFamilyPolicy) && self.ipFamilyPolicy != 'SingleStack')"
    ).message(
        "expose.service.ipFamilies names two families: set ipFamilyPolicy PreferDualStack or RequireDualStack, or drop one"
    )
)]
pub struct ExposeService {
    /// ClusterIP: reached within the cluster, and by an Ingress or an HTTPRoute. LoadBalancer: the platform puts one in
    /// front. NodePort: a port of every node. Default ClusterIP.
    #[serde(default, rename = "type")]
    pub kind: ServiceType,
    /// Annotations of the Service, by which platforms configure load balancers and health checks. Default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::annotations")]
    #[x_kube(validation = Rule::new(crate::cel::ANNOTATIONS).message(
        "expose.service.annotations must have Kubernetes names, such as cloud.google.com/backend-config"
    ))]
    pub annotations: BTreeMap<String, String>,
    /// Which implementation of load balancers serves this one, such as service.k8s.aws/nlb. It cannot change later.
    /// Default: the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expose::load_balancer_class")]
    pub load_balancer_class: Option<String>,
    /// Cluster: any node forwards. Local: only nodes with a pod of the gateway, which keeps the address of the client.
    /// Default: Cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// SingleStack, PreferDualStack or RequireDualStack. Default: SingleStack, in the cluster's first family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,
    /// Address families, the first one first: IPv4, IPv6. The first cannot change later. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(b, a == b))").message(
        "expose.service.ipFamilies names a family twice"
    ))]
    pub ip_families: Vec<IpFamily>,
}

/// Who can reach a Service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// The cluster.
    #[default]
    ClusterIP,
    /// Whoever reaches a load balancer.
    LoadBalancer,
    /// Whoever reaches a node.
    NodePort,
}

impl ServiceType {
    /// The name that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::LoadBalancer => "LoadBalancer",
            Self::NodePort => "NodePort",
        }
    }
}

/// Which nodes forward what comes from outside.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalTrafficPolicy {
    /// All.
    Cluster,
    /// Those with a pod.
    Local,
}

impl ExternalTrafficPolicy {
    /// The name that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Local => "Local",
        }
    }
}

/// One address family or two.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamilyPolicy {
    /// One.
    #[serde(rename = "SingleStack")]
    Single,
    /// Two if the cluster has them.
    #[serde(rename = "PreferDualStack")]
    PreferDual,
    /// Two.
    #[serde(rename = "RequireDualStack")]
    RequireDual,
}

impl IpFamilyPolicy {
    /// The name that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "SingleStack",
            Self::PreferDual => "PreferDualStack",
            Self::RequireDual => "RequireDualStack",
        }
    }
}

/// An address family.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamily {
    /// Version 4.
    IPv4,
    /// Version 6.
    IPv6,
}

impl IpFamily {
    /// The name that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }
}

/// An Ingress that leads to the Service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExposeIngress {
    /// IngressClass, such as nginx or alb. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expose::ingress_class")]
    pub class_name: Option<String>,
    /// Host names, such as ws.example.com or *.example.com (at most 16). Default: every host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::expose::hosts")]
    pub hosts: Vec<String>,
    /// What paths of requests begin with. Default /, which also holds the event stream, the long-poll and the console.
    #[serde(default = "root")]
    #[schemars(schema_with = "crate::schema::expose::route_path")]
    pub path: String,
    /// Secret of type kubernetes.io/tls with the certificate for the hosts. Default: no TLS, or the controller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expose::tls_secret")]
    pub tls_secret: Option<String>,
    /// Annotations of the Ingress, by which controllers are configured: see docs/ingress.md for the timeouts that long
    /// connections need. Default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::annotations")]
    #[x_kube(validation = Rule::new(crate::cel::ANNOTATIONS).message(
        "expose.ingress.annotations must have Kubernetes names, such as nginx.ingress.kubernetes.io/proxy-read-timeout"
    ))]
    pub annotations: BTreeMap<String, String>,
}

/// An HTTPRoute that leads to the Service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExposeHttpRoute {
    /// Gateways that the route hangs on (1 to 8).
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<ParentRef>,
    /// Host names, such as ws.example.com or *.example.com (at most 16). Default: those of the Gateway's listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::expose::hosts")]
    pub hostnames: Vec<String>,
    /// What paths of requests begin with. Default /, which also holds the event stream, the long-poll and the console.
    #[serde(default = "root")]
    #[schemars(schema_with = "crate::schema::expose::route_path")]
    pub path: String,
    /// Longest time of a request, such as 24h, or 0 for no limit, at most 24h. Envoy cuts event streams and long-polls
    /// off after 15s without it. Needs Gateway API 1.2 or later. Default: what the Gateway does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::duration_or_zero")]
    #[x_kube(validation = Rule::new("self == '0' || duration(self) <= duration('24h')").message(
        "expose.httpRoute.requestTimeout must be at most 24h, or 0 for no limit"
    ))]
    pub request_timeout: Option<String>,
    /// Annotations of the HTTPRoute. Default none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::annotations")]
    #[x_kube(validation = Rule::new(crate::cel::ANNOTATIONS).message(
        "expose.httpRoute.annotations must have Kubernetes names, such as example.com/owner"
    ))]
    pub annotations: BTreeMap<String, String>,
}

/// A Gateway of the Gateway API.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Name of the Gateway.
    #[schemars(schema_with = "crate::schema::expose::gateway_name")]
    pub name: String,
    /// Namespace of the Gateway, which must allow routes of this one. Default: that of the WsGateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expose::namespace_name")]
    pub namespace: Option<String>,
    /// Name of the Gateway's listener. Default: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::expose::section_name")]
    pub section_name: Option<String>,
    /// Port of the Gateway's listener. Default: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

fn root() -> String {
    "/".to_owned()
}
