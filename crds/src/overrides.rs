//! A part of a pod template, merged into ours: a strategic merge as `kubectl patch --type=strategic` does it, for the
//! lists that a pod template has ([ADR 0029](../../docs/adr/0029-overrides-come-last.md)).
//!
//! In: a value that `check::overrides` has passed. Out: a template. Pure.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

/// Says what to do with the object that it is in.
pub(crate) const DIRECTIVE: &str = "$patch";
/// Removes an item of a keyed list.
pub(crate) const DELETE: &str = "delete";
/// Replaces an object instead of merging into it.
pub(crate) const REPLACE: &str = "replace";

/// Lists of a pod template whose items have a key: `patchMergeKey` of Kubernetes' API. All other lists are replaced.
const KEYS: [(&str, &str); 12] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("resourceClaims", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("env", "name"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
];

/// The field by which items of a list are the same, if it is a keyed one.
pub(crate) fn key_of(list: &str) -> Option<&'static str> {
    KEYS.iter().find(|(name, _)| *name == list).map(|(_, key)| *key)
}

/// A part of a pod template that may be merged into the operator's. Only [`crate::validate`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct Overrides(Value);

impl Overrides {
    pub(crate) fn new(checked: Value) -> Self {
        Self(checked)
    }

    /// The template with the overrides merged into it.
    ///
    /// # Errors
    /// When the result is no pod template, which the checks rule out.
    pub fn apply(&self, template: &PodTemplateSpec) -> Result<PodTemplateSpec, serde_json::Error> {
        let mut merged = serde_json::to_value(template)?;
        merge(&mut merged, &self.0);
        serde_json::from_value(merged)
    }
}

/// Merges a patch into a value. Into `Null` it yields what the patch says by itself.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() || directive(patch) == Some(REPLACE) {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        match (value, key_of(name)) {
            _ if name == DIRECTIVE => {}
            (Value::Null, _) => {
                fields.remove(name);
            }
            (Value::Array(items), Some(key)) => {
                let list = fields.entry(name.as_str()).or_insert(Value::Null);
                merge_list(list, items, key);
            }
            _ => merge(fields.entry(name.as_str()).or_insert(Value::Null), value),
        }
    }
}

fn merge_list(target: &mut Value, patch: &[Value], key: &str) {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    let Value::Array(list) = target else { return };
    for item in patch {
        let same = |known: &Value| known.get(key).is_some() && known.get(key) == item.get(key);
        let at = list.iter().position(same);
        let delete = item.as_object().and_then(directive) == Some(DELETE);
        match at {
            Some(at) if delete => drop(list.remove(at)),
            Some(at) => merge(&mut list[at], item),
            None if delete => {}
            None => {
                let mut new = Value::Null;
                merge(&mut new, item);
                list.push(new);
            }
        }
    }
}

fn directive(fields: &Map<String, Value>) -> Option<&str> {
    fields.get(DIRECTIVE)?.as_str()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn merged(mut target: Value, patch: &Value) -> Value {
        merge(&mut target, patch);
        target
    }

    #[rstest]
    #[case::a_field_is_set(json!({ "spec": { "a": 1 } }), json!({ "spec": { "b": 2 } }), json!({ "spec": { "a": 1, "b": 2 } }))]
    #[case::a_field_is_changed(json!({ "a": { "b": 1, "c": 1 } }), json!({ "a": { "b": 2 } }), json!({ "a": { "b": 2, "c": 1 } }))]
    #[case::null_removes(json!({ "a": { "b": 1, "c": 1 } }), json!({ "a": { "b": null } }), json!({ "a": { "c": 1 } }))]
    #[case::null_of_what_is_not_there(json!({ "a": 1 }), json!({ "b": null, "c": { "d": null } }), json!({ "a": 1, "c": {} }))]
    #[case::an_object_is_replaced(json!({ "probe": { "httpGet": 1 } }), json!({ "probe": { "$patch": "replace", "exec": 2 } }),
        json!({ "probe": { "exec": 2 } }))]
    #[case::other_lists_are_replaced(json!({ "args": ["a", "b"] }), json!({ "args": ["c"] }), json!({ "args": ["c"] }))]
    #[case::items_are_merged_by_key(
        json!({ "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "1" }] }),
        json!({ "env": [{ "name": "B", "value": "2" }, { "name": "C", "value": "3" }] }),
        json!({ "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }, { "name": "C", "value": "3" }] }))]
    #[case::an_item_is_deleted(
        json!({ "volumes": [{ "name": "a" }, { "name": "b" }] }),
        json!({ "volumes": [{ "name": "a", "$patch": "delete" }, { "name": "c", "$patch": "delete" }] }),
        json!({ "volumes": [{ "name": "b" }] }))]
    #[case::an_item_is_replaced(
        json!({ "volumes": [{ "name": "a", "emptyDir": {} }] }),
        json!({ "volumes": [{ "name": "a", "$patch": "replace", "secret": { "secretName": "s" } }] }),
        json!({ "volumes": [{ "name": "a", "secret": { "secretName": "s" } }] }))]
    #[case::keys_may_be_numbers(
        json!({ "ports": [{ "containerPort": 80, "name": "a" }] }),
        json!({ "ports": [{ "containerPort": 80, "name": "b" }, { "containerPort": 81 }] }),
        json!({ "ports": [{ "containerPort": 80, "name": "b" }, { "containerPort": 81 }] }))]
    #[case::lists_within_items(
        json!({ "containers": [{ "name": "gateway", "env": [{ "name": "A", "value": "1" }], "image": "i" }] }),
        json!({ "containers": [{ "name": "gateway", "env": [{ "name": "B", "value": "2" }] }, { "name": "proxy", "env": null }] }),
        json!({ "containers": [
            { "name": "gateway", "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }], "image": "i" },
            { "name": "proxy" }] }))]
    #[case::a_keyed_list_that_was_not_there(json!({}), json!({ "hostAliases": [{ "ip": "::1", "hostnames": ["a"] }] }),
        json!({ "hostAliases": [{ "ip": "::1", "hostnames": ["a"] }] }))]
    #[case::labels_that_are_called_as_a_list(json!({ "labels": { "env": "a" } }), json!({ "labels": { "env": "b", "ports": "c" } }),
        json!({ "labels": { "env": "b", "ports": "c" } }))]
    fn a_patch_is_merged(#[case] target: Value, #[case] patch: Value, #[case] expected: Value) {
        assert_eq!(merged(target.clone(), &patch), expected);
        assert_eq!(merged(merged(target, &patch), &patch), expected, "twice");
    }

    #[test]
    fn every_key_is_a_field_of_the_items_that_kubernetes_knows() {
        for (list, key) in KEYS {
            let value = if key == "containerPort" { json!(1) } else { json!("x") };
            let item = json!({ key: value });
            let spec = if ["env", "ports", "volumeMounts", "volumeDevices"].contains(&list) {
                json!({ "containers": [{ "name": "c", list: [item] }] })
            } else {
                json!({ list: [item] })
            };
            let template: PodTemplateSpec =
                serde_json::from_value(json!({ "spec": spec })).expect("a template");
            let text = serde_json::to_string(&template).expect("JSON");
            assert!(text.contains(&format!("\"{list}\":[{{")), "{list}: {text}");
            assert!(text.contains(&format!("\"{key}\":")), "{list}: {text}");
        }
    }

    #[test]
    fn an_empty_patch_changes_no_template() {
        let template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": { "labels": { "a": "b" } },
            "spec": { "containers": [{ "name": "gateway", "resources": { "limits": { "memory": "1Gi" } } }] }
        }))
        .expect("a template");
        let same = Overrides::new(json!({})).apply(&template).expect("a template");
        assert_eq!(same, template);
    }
}
