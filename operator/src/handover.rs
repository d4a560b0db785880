//! One autoscaler for another: the one that is not wanted any more is gone before the other comes, so that two never write the
//! number of pods (pure). That number stands in the WsGateway, and stays.
//!
//! KEDA refuses to scale what has an autoscaler already, and removes a finalizer of its own from its ScaledObject; what it has
//! made of that goes with it. Whether it is gone the watches say, and each end wakes the WsGateway.

use crate::build::{Desired, keda_name};
use crate::inventory::{Claim, Entry, claim};
use crate::kinds::Kind;

/// What is left of an autoscaler that is not wanted any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Ours to delete, and not deleted yet.
    pub(crate) is_to_delete: bool,
}

/// What is left of those that are not wanted. `gateway`: name and unique id of the WsGateway.
pub(crate) fn leaving(
    existing: &[(Kind, String, Entry)],
    desired: &[Desired],
    gateway: (&str, &str),
) -> Vec<Leaving> {
    let is_wanted = |kind: Kind, name: &str| {
        desired.iter().any(|desired| desired.kind == kind && desired.name == name)
    };
    let is_keda = desired.iter().any(|desired| desired.kind == Kind::ScaledObject);
    let mut found = Vec::new();
    for (kind, name, entry) in existing {
        let is_ours = claim(entry, gateway.0, gateway.1).is_ours();
        let is_of_keda = *kind == Kind::HorizontalPodAutoscaler
            && *name == keda_name(gateway.0)
            && claim(entry, gateway.0, gateway.1) == Claim::Foreign;
        if kind.is_autoscaler() && !is_wanted(*kind, name) && (is_ours || (is_of_keda && !is_keda))
        {
            let is_to_delete = is_ours && !entry.is_ending;
            found.push(Leaving { kind: *kind, name: name.clone(), is_to_delete });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;
    use serde_json::{Value, json};

    use super::*;
    use crate::wake::Name;

    fn existing(kind: Kind, name: &str, controller: &Value, more: &Value) -> (Kind, String, Entry) {
        let mut metadata = json!({
            "name": name, "namespace": "trading",
            "labels": { "app.kubernetes.io/managed-by": "wsgateway-operator", "app.kubernetes.io/name": "wsgateway",
                "app.kubernetes.io/component": "gateway", "app.kubernetes.io/instance": "odin" },
            "ownerReferences": [controller],
        });
        if let (Some(metadata), Some(more)) = (metadata.as_object_mut(), more.as_object()) {
            metadata.extend(more.clone());
        }
        let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
        (kind, name.to_owned(), Entry::of(&metadata, &Name::new("trading", "odin")))
    }

    fn ours(kind: Kind, more: &Value) -> (Kind, String, Entry) {
        let controller = json!({ "apiVersion": "wsgateway.dev/v1alpha1", "kind": "WsGateway", "name": "odin",
            "uid": "7", "controller": true });
        existing(kind, "odin-gateway", &controller, more)
    }

    /// As KEDA makes it: with the labels of its ScaledObject.
    fn of_keda() -> (Kind, String, Entry) {
        let controller = json!({ "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "odin-gateway",
            "uid": "8", "controller": true });
        existing(Kind::HorizontalPodAutoscaler, "odin-keda", &controller, &json!({}))
    }

    fn left(existing: &[(Kind, String, Entry)], wanted: Option<Kind>) -> Vec<(Kind, bool)> {
        let desired: Vec<Desired> = wanted
            .into_iter()
            .map(|kind| Desired { kind, name: "odin-gateway".to_owned(), object: json!({}) })
            .collect();
        let left = leaving(existing, &desired, ("odin", "7"));
        left.into_iter().map(|left| (left.kind, left.is_to_delete)).collect()
    }

    const OURS: Kind = Kind::HorizontalPodAutoscaler;
    const KEDA: Kind = Kind::ScaledObject;

    #[test]
    fn what_is_wanted_stays_and_what_is_not_is_deleted_once() {
        let there = [ours(OURS, &json!({}))];
        assert_eq!(left(&there, Some(OURS)), []);
        assert_eq!(left(&there, Some(KEDA)), [(OURS, true)]);
        assert_eq!(left(&there, None), [(OURS, true)]);
        let ending = json!({ "deletionTimestamp": "2026-11-29T12:00:00Z" });
        assert_eq!(left(&[ours(KEDA, &ending)], Some(OURS)), [(KEDA, false)]);
        assert_eq!(left(&[ours(Kind::Service, &json!({}))], Some(OURS)), []);
    }

    #[test]
    fn what_keda_makes_is_keda_s_and_waited_for_only_when_another_is_to_come() {
        let there = [ours(KEDA, &json!({})), of_keda()];
        assert_eq!(left(&there, Some(KEDA)), []);
        assert_eq!(left(&there, Some(OURS)), [(KEDA, true), (OURS, false)]);
        assert_eq!(left(&[of_keda()], Some(OURS)), [(OURS, false)]);
    }

    #[test]
    fn somebody_else_s_autoscaler_is_not_waited_for() {
        let controller = json!({ "apiVersion": "example.com/v1", "kind": "Scaler", "name": "x", "uid": "9",
            "controller": true });
        let theirs = existing(OURS, "theirs", &controller, &json!({}));
        assert_eq!(left(&[theirs], Some(KEDA)), []);
    }
}
