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

/// Name of all that is neither a Service nor a ConfigMap.
pub(crate) fn child_name(gateway: &str) -> String {
    format!("{gateway}-gateway")
}

/// Name of the HorizontalPodAutoscaler that KEDA makes. The one that it would choose could be too long for it.
pub(crate) fn keda_name(gateway: &str) -> String {
    format!("{gateway}-keda")
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

/// On the ConfigMap of a restart part, and on the pods and ReplicaSets that mount it: its version.
pub(crate) const CONFIG_LABEL: &str = "wsgateway.dev/config";

/// On pods and ReplicaSets: the hash of their pod template, as it was built here.
pub(crate) const TEMPLATE_LABEL: &str = "wsgateway.dev/template";
/// On pods that the Service for clients is to find: key and value. Pods have it from their template, and lose it while they
/// hand clients over.
pub(crate) const ACCEPTS: (&str, &str) = ("wsgateway.dev/accepts", "clients");
/// On the Service for clients: it is limited to those.
pub(crate) const SELECTS_ACCEPTING: &str = "wsgateway.dev/selects-accepting";
/// On the Service for clients, during a rollout: the template of the pods that it is limited to.
pub(crate) const SERVES_ONLY: &str = "wsgateway.dev/serves-only";

/// Name of the ConfigMap with a version of the restart part.
pub(super) fn config_name(gateway: &str, version: &str) -> String {
    format!("{gateway}-config-{version}")
}

/// Name of the ConfigMap with the live part.
pub(super) fn live_name(gateway: &str) -> String {
    format!("{gateway}-live")
}

/// Which version of the restart part a ConfigMap of this name holds, if it holds one. That of earlier operators had none,
/// which is the empty one here.
pub(crate) fn config_version<'a>(gateway: &str, name: &'a str) -> Option<&'a str> {
    let rest = name.strip_prefix(gateway)?.strip_prefix("-config")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('-') }
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

pub(crate) fn labels(gateway: &str) -> BTreeMap<String, String> {
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
        owner_references: Some(vec![owner_of(gateway)]),
        ..ObjectMeta::default()
    }
}

/// The WsGateway as the controller of an object.
pub(crate) fn owner_of(gateway: &ValidGateway) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "WsGateway".to_owned(),
        name: gateway.name.clone(),
        uid: gateway.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

pub(super) fn labels_of<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Annotations, if there are any.
pub(super) fn some(annotations: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!annotations.is_empty()).then(|| annotations.clone())
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

    #[test]
    fn a_configuration_is_told_from_other_config_maps_by_its_name() {
        assert_eq!(config_version("a", &config_name("a", "0123abcd")), Some("0123abcd"));
        assert_eq!(config_version("a", "a-config"), Some(""), "of an earlier operator");
        for name in ["a", "a-live", "ab-config", "b-config-0123abcd", "a-configuration"] {
            assert_eq!(config_version("a", name), None, "{name}");
        }
    }
}
