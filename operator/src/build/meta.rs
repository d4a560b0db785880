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

pub(super) fn config_name(gateway: &str) -> String {
    format!("{gateway}-config")
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
