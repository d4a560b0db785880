//! How clients reach the gateway.

use std::collections::BTreeMap;

use wsgateway_config::Millis;

/// How clients reach the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidExpose {
    /// The Service, which is there in any case.
    pub service: ValidService,
    /// An Ingress in front of it.
    pub ingress: Option<ValidIngress>,
    /// An HTTPRoute in front of it.
    pub route: Option<ValidRoute>,
}

/// The Service of the clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidService {
    /// Type, as Kubernetes names it.
    pub kind: &'static str,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Class of the load balancer, of a Service that has one.
    pub load_balancer_class: Option<String>,
    /// Who forwards what comes from outside, of a Service that is reached from there.
    pub external_traffic_policy: Option<&'static str>,
    /// One address family or two.
    pub ip_family_policy: Option<&'static str>,
    /// Address families: at most two, none twice.
    pub ip_families: Vec<&'static str>,
}

/// An Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidIngress {
    /// IngressClass, or the cluster's default.
    pub class: Option<String>,
    /// Host names; none: all.
    pub hosts: Vec<String>,
    /// What paths begin with.
    pub path: String,
    /// Secret with the certificate.
    pub tls_secret: Option<String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An HTTPRoute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidRoute {
    /// Gateways that it hangs on: at least one.
    pub parents: Vec<ValidParent>,
    /// Host names; none: those of the listener.
    pub hosts: Vec<String>,
    /// What paths begin with.
    pub path: String,
    /// Longest time of a request, and 0 for no limit, if the Gateway takes one.
    pub request_timeout: Option<Millis>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A Gateway of the Gateway API, or one listener of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidParent {
    /// Name of the Gateway.
    pub name: String,
    /// Its namespace, if it is another one.
    pub namespace: Option<String>,
    /// Name of the listener.
    pub section: Option<String>,
    /// Port of the listener.
    pub port: Option<u16>,
}
