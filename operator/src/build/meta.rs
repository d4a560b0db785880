//! Names, labels and owners of all objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::ObjectMeta;
use wsgateway_crds::{GROUP, VERSION, ValidGateway};

/// Value of `app.kubernetes.io/managed-by` on all that we make.
pub(crate) const MANAGED_BY: &str = "wsgateway-operator";
/// The label that says so.
pub(crate) const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The label with the name of the WsGateway.
pub(crate) const INSTANCE: &str = "app.kubernetes.io/instance";
/// What all gateway pods have, of whichever WsGateway.
pub(crate) const POD_LABELS: &str =
    "app.kubernetes.io/managed-by=wsgateway-operator,app.kubernetes.io/component=gateway";

/// Name of the Deployment, ServiceAccount, HorizontalPodAutoscaler, PodDisruptionBudget and ServiceMonitor.
pub(crate) fn child_name(gateway: &str) -> String {
    format!("{gateway}-gateway")
}

/// Name of the Service for metrics, which must not be that of the Service for clients of another WsGateway: of one that is
/// called GATEWAY-admin, say. `is_taken` says whether a WsGateway of this namespace has a name.
pub(crate) fn admin_name(gateway: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let plain = format!("{gateway}-admin");
    if !is_taken(&plain) {
        return plain;
    }
    // FNV-1a, of which 24 bits fit: a WsGateway has that name only on purpose.
    let hash = gateway
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{plain}-{:06x}", hash & 0x00ff_ffff)
}

pub(super) fn config_name(gateway: &str) -> String {
    format!("{gateway}-config")
}

/// Labels by which the pods are found. A Deployment's selector cannot change: neither can these.
pub(super) fn selector(gateway: &str) -> BTreeMap<String, String> {
    labels_of([
        ("app.kubernetes.io/name", "wsgateway"),
        (INSTANCE, gateway),
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
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_for_metrics_yields_to_the_wsgateway_of_its_name() {
        let existing = ["odin", "odin-admin"];
        let name = |gateway: &str| admin_name(gateway, |name| existing.contains(&name));
        assert_eq!(name("odin"), "odin-admin-b08791");
        assert_eq!(name("odin-admin"), "odin-admin-admin");
        let longest = "a".repeat(50);
        assert_eq!(admin_name(&longest, |_| true).len(), 63);
    }
}
