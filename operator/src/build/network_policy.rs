//! Who may connect to the gateways: clients from everywhere or as the WsGateway says, and to the admin port the operator and those who monitor.
//!
//! The kubelet's probes come from the pod's own node, which a policy never keeps out.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wsgateway_crds::{ADMIN_PORT, ValidGateway};

use super::meta::{child_name, label_selector, labels_of, metadata};

/// The label that every namespace has of its own.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Who comes to the admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkRules {
    /// Where the operator's pods are.
    pub(crate) operator_namespace: String,
    /// Labels of the namespaces that monitor; none: nobody but the operator comes.
    pub(crate) monitoring: BTreeMap<String, String>,
}

/// Without rules there is no policy.
pub(super) fn build(gateway: &ValidGateway, rules: Option<&NetworkRules>) -> Option<NetworkPolicy> {
    let rules = rules?;
    let clients =
        NetworkPolicyIngressRule { from: clients(gateway), ports: Some(vec![port(gateway.port)]) };
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(selecting(labels_of([(
            NAMESPACE_NAME,
            &rules.operator_namespace,
        )]))),
        // As the chart labels the operator's pods.
        pod_selector: Some(selecting(labels_of([
            ("app.kubernetes.io/component", "operator"),
            ("app.kubernetes.io/part-of", "wsgateway"),
        ]))),
        ..NetworkPolicyPeer::default()
    };
    let monitoring = (!rules.monitoring.is_empty()).then(|| NetworkPolicyPeer {
        namespace_selector: Some(selecting(rules.monitoring.clone())),
        ..NetworkPolicyPeer::default()
    });
    let admin = NetworkPolicyIngressRule {
        from: Some([Some(operator), monitoring].into_iter().flatten().collect()),
        ports: Some(vec![port(ADMIN_PORT)]),
    };
    Some(NetworkPolicy {
        metadata: metadata(gateway, child_name(&gateway.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(label_selector(&gateway.name)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![clients, admin]),
            egress: None,
        }),
    })
}

/// `None`: everybody.
fn clients(gateway: &ValidGateway) -> Option<Vec<NetworkPolicyPeer>> {
    let network = &gateway.network;
    let networks = network.client_networks.iter().map(|cidr| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.clone(), except: None }),
        ..NetworkPolicyPeer::default()
    });
    let named = LabelSelectorRequirement {
        key: NAMESPACE_NAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(network.client_namespaces.clone()),
    };
    let namespaces = (!network.client_namespaces.is_empty()).then(|| NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector {
            match_expressions: Some(vec![named]),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    });
    let peers: Vec<NetworkPolicyPeer> = networks.chain(namespaces).collect();
    (!peers.is_empty()).then_some(peers)
}

fn selecting(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}

fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number.into())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}
