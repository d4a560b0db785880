use k8s_openapi::api::core::v1::Service;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn service(name: &str, gateway: &str, change: &Value) -> Service {
    let mut object = json!({ "metadata": { "name": name, "namespace": "trading", "uid": name,
        "labels": { "app.kubernetes.io/managed-by": "wsgateway-operator", "app.kubernetes.io/instance": gateway },
        "ownerReferences": [owner("WsGateway", gateway, "1")] } });
    for (key, value) in change.as_object().into_iter().flatten() {
        object["metadata"][key] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({ "apiVersion": "wsgateway.dev/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": true })
}

fn key(name: &str) -> Name {
    Name::new("trading", name)
}

fn names(inventory: &Inventory, gateway: &str) -> Vec<String> {
    inventory.of(&key(gateway)).into_iter().map(|(_, name, _)| name).collect()
}

fn apply(inventory: &Inventory, event: &Event<Service>) -> Vec<Name> {
    let mut touched: Vec<Name> = inventory.apply(Kind::Service, event).into_iter().collect();
    touched.sort_by(|one, other| one.name.cmp(&other.name));
    touched
}

#[test]
fn objects_are_found_by_the_wsgateway_that_their_labels_name() {
    let inventory = Inventory::default();
    let event = Event::Apply(service("odin", "odin", &json!({})));
    assert_eq!(apply(&inventory, &event), [key("odin")]);
    assert!(apply(&inventory, &event).is_empty(), "nothing changed");
    assert_eq!(names(&inventory, "odin"), ["odin"]);
    assert!(inventory.get(&key("odin"), Kind::ConfigMap, "odin").is_none());
    assert!(names(&inventory, "other").is_empty());
}

#[test]
fn an_object_whose_labels_are_changed_wakes_its_owner_too() {
    let inventory = Inventory::default();
    apply(&inventory, &Event::Apply(service("odin", "odin", &json!({}))));
    let owners = json!({ "ownerReferences": [owner("WsGateway", "odin", "1")] });
    let stolen = service("odin", "other", &owners);
    assert_eq!(apply(&inventory, &Event::Apply(stolen)), [key("odin"), key("other")]);
    assert!(names(&inventory, "odin").is_empty());
    let unlabelled = json!({ "labels": {}, "ownerReferences": [owner("WsGateway", "odin", "1")] });
    let event = Event::Apply(service("odin", "other", &unlabelled));
    assert_eq!(apply(&inventory, &event), [key("odin"), key("other")]);
    assert!(names(&inventory, "other").is_empty());
}

#[test]
fn a_list_forgets_what_is_gone_of_its_kind_only() {
    let inventory = Inventory::default();
    for name in ["a", "b"] {
        apply(&inventory, &Event::Apply(service(name, "odin", &json!({}))));
    }
    let map = Event::Apply(service("m", "odin", &json!({})));
    inventory.apply(Kind::ConfigMap, &map);
    assert!(inventory.listed().borrow().is_empty());

    apply(&inventory, &Event::Init);
    apply(&inventory, &Event::InitApply(service("b", "odin", &json!({}))));
    assert_eq!(apply(&inventory, &Event::InitDone), [key("odin")]);
    assert!(inventory.listed().borrow().contains(&Kind::Service));
    assert_eq!(names(&inventory, "odin"), ["m", "b"]);
    apply(&inventory, &Event::Delete(service("b", "odin", &json!({}))));
    inventory.forget(Kind::ConfigMap);
    assert!(names(&inventory, "odin").is_empty());
}

#[test]
fn what_is_known_of_a_namespace_can_be_deleted_from_it_and_from_no_other() {
    let inventory = Inventory::default();
    for (name, namespace) in [("a", "trading"), ("b", "trading"), ("a", "other")] {
        let change = json!({ "namespace": namespace });
        apply(&inventory, &Event::Apply(service(name, "odin", &change)));
    }
    for metadata in inventory.known(Kind::Service, "trading") {
        let gone = Service { metadata, ..Service::default() };
        assert_eq!(apply(&inventory, &Event::Delete(gone)), [key("odin")]);
    }
    assert!(names(&inventory, "odin").is_empty());
    assert_eq!(inventory.of(&Name::new("other", "odin")).len(), 1);
    assert!(inventory.known(Kind::ConfigMap, "other").is_empty());
}

#[rstest]
#[case::ours(json!({}), Claim::Ours)]
#[case::orphan(json!({ "ownerReferences": [] }), Claim::Orphan)]
#[case::earlier(json!({ "ownerReferences": [owner("WsGateway", "odin", "0")] }), Claim::Predecessor)]
#[case::sibling(json!({ "ownerReferences": [owner("WsGateway", "other", "2")] }), Claim::Sibling)]
#[case::foreign(json!({ "ownerReferences": [owner("Thing", "odin", "0")] }), Claim::Foreign)]
#[case::unlabelled(json!({ "ownerReferences": [], "labels": {} }), Claim::Foreign)]
#[case::of_another_instance(
    json!({ "ownerReferences": [], "labels": { "app.kubernetes.io/managed-by": "wsgateway-operator",
        "app.kubernetes.io/instance": "other" } }),
    Claim::Foreign
)]
fn an_object_is_claimed_by_owner_or_by_label(#[case] change: Value, #[case] expected: Claim) {
    let object = service("odin", "odin", &change);
    assert_eq!(claim(&Entry::of(&object.metadata, &key("odin")), "odin", "1"), expected);
}

#[test]
fn a_change_of_the_status_leaves_the_fingerprint_and_any_other_does_not() {
    let fields = |manager: &str, subresource: Option<&str>, time: &str| {
        json!({ "manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1",
            "fieldsV1": { "f:x": {} }, "apiVersion": "v1", "subresource": subresource })
    };
    let print = |fields: &[Value]| {
        let change = json!({ "managedFields": fields });
        fingerprint(&service("odin", "odin", &change).metadata)
    };
    let ours = fields("wsgateway-operator", None, "2026-01-01T00:00:00Z");
    let status = |time| fields("kube-controller-manager", Some("status"), time);
    let before = print(&[ours.clone(), status("2026-01-01T00:00:01Z")]);
    assert_eq!(before, print(&[ours.clone(), status("2026-01-01T00:00:09Z")]));
    let theirs = fields("kubectl", None, "2026-01-01T00:00:09Z");
    assert_ne!(before, print(&[ours, theirs]));
}
