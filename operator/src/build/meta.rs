//! Names, labels and owners of all objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::ObjectMeta;
use wsgateway_crds::{GROUP, VERSION, ValidGateway};

/// Value of `app.kubernetes.io/managed-by` on all that we make.
pub(crate) const MANAGED_BY: &str = "wsgateway-operator";

/// Name of all that is neither a Service nor the ConfigMap.
pub(crate) fn child_name(gateway: &str) -> String {
    format!("{gateway}-gateway")
}

/// On the ConfigMap of a restart part, and on the pods and ReplicaSets that mount it: its version.
pub(crate) const CONFIG_LABEL: &str = "wsgateway.dev/config";

/// Name of the ConfigMap with a version of the restart part.
pub(super) fn config_name(gateway: &str, version: &str) -> String {
    format!("{gateway}-config-{version}")
}

/// Name of the ConfigMap with the live part.
pub(super) fn live_name(gateway: &str) -> String {
    format!("{gateway}-live")
}

/// Whether a ConfigMap of this name holds some version of the restart part; earlier operators had one without a version.
pub(crate) fn is_config_name(gateway: &str, name: &str) -> bool {
    let rest = name.strip_prefix(gateway).and_then(|rest| rest.strip_prefix("-config"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether an object of this name is one that is made for a WsGateway.
pub(crate) fn is_child_name(gateway: &str, name: &str) -> bool {
    let names =
        [gateway.to_owned(), format!("{gateway}-admin"), live_name(gateway), child_name(gateway)];
    names.iter().any(|child| child == name) || is_config_name(gateway, name)
}

/// Labels by which the pods are found. A Deployment's selector cannot change: neither can these.
pub(super) fn selector(gateway: &str) -> BTreeMap<String, String> {
    labels_of([
        ("app.kubernetes.io/name", "wsgateway"),
        ("app.kubernetes.io/instance", gateway),
        ("app.kubernetes.io/component", "gateway"),
    ])
}

/// The same, as text for the scale subresource and for lists.
pub(crate) fn selector_text(gateway: &str) -> String {
    let pairs: Vec<String> =
        selector(gateway).iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

pub(super) fn label_selector(gateway: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(selector(gateway)), ..LabelSelector::default() }
}

pub(super) fn labels(gateway: &str) -> BTreeMap<String, String> {
    let mut labels = selector(gateway);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned());
    labels
}

/// Metadata of an object that goes when its WsGateway goes.
pub(super) fn metadata(gateway: &ValidGateway, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(gateway.namespace.clone()),
        labels: Some(labels(&gateway.name)),
        owner_references: Some(vec![OwnerReference {
            api_version: format!("{GROUP}/{VERSION}"),
            kind: "WsGateway".to_owned(),
            name: gateway.name.clone(),
            uid: gateway.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

pub(super) fn labels_of<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Annotations, if there are any.
pub(super) fn some(annotations: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!annotations.is_empty()).then(|| annotations.clone())
}
