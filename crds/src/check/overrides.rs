//! Rules of `pod.overrides`: a part of a pod template that Kubernetes understands, and that leaves alone what the operator
//! relies on.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

use super::errors::Errors;
use crate::overrides::{DELETE, DIRECTIVE, REPLACE, key_of, merge};
use crate::pod_names::{FOLDERS, VOLUMES, is_reserved_label};
use crate::spec::Pod;
use crate::{FieldError, GATEWAY_CONTAINER, Overrides, RESERVED_PREFIX, open};

const PATH: &str = "spec.pod.overrides";
/// A WsGateway must fit into etcd many times over.
const MOST_BYTES: usize = 32 << 10;

/// The overrides, if there are any. Of several faults the first is reported, since the value may hold thousands.
pub(super) fn overrides(pod: &Pod, errors: &mut Errors) -> Option<Overrides> {
    let given = pod.overrides.as_ref()?;
    let checked = parts(given)
        .and_then(|()| reserved(given))
        .and_then(|()| directives(PATH, given, Place::Fixed))
        .and_then(|()| {
            // Merged into nothing it is what Kubernetes would read, without directives.
            let mut alone = Value::Null;
            merge(&mut alone, given);
            open::read::<PodTemplateSpec>(PATH, &alone, MOST_BYTES)
        });
    match checked {
        Ok(_) => Some(Overrides::new(given.clone())),
        Err(error) => {
            errors.refuse(&error.path, error.message);
            None
        }
    }
}

/// The parts that may be there are objects.
fn parts(given: &Value) -> Result<(), FieldError> {
    let bytes = given.to_string().len();
    if bytes > MOST_BYTES {
        return refuse(PATH, format!("must be at most 32 KiB of JSON; got {bytes} bytes"));
    }
    let known = |path: &str, value: &Value, known: &[&str]| match value {
        Value::Null => refuse(path, "cannot be null: leave it out"),
        Value::Object(fields) => match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => refuse(
                &format!("{path}.{name}"),
                format!("cannot be overridden; {path} may have {}", known.join(" and ")),
            ),
            None => Ok(()),
        },
        _ => refuse(path, "must be an object"),
    };
    known(PATH, given, &["metadata", "spec"])?;
    if let Some(metadata) = given.get("metadata") {
        let path = format!("{PATH}.metadata");
        known(&path, metadata, &["labels", "annotations"])?;
        for (name, value) in metadata.as_object().into_iter().flatten() {
            if !value.is_object() {
                return refuse(
                    &format!("{path}.{name}"),
                    "must be an object: leave it out to change nothing",
                );
            }
        }
    }
    match given.get("spec") {
        Some(spec) if !spec.is_object() => {
            refuse(&format!("{PATH}.spec"), "must be an object: leave it out to change nothing")
        }
        _ => Ok(()),
    }
}

/// What the operator relies on.
fn reserved(given: &Value) -> Result<(), FieldError> {
    let (metadata, spec) = (&given["metadata"], &given["spec"]);
    for field in ["labels", "annotations"] {
        let is_reserved = |name: &str| match field {
            "labels" => is_reserved_label(name),
            _ => name.starts_with(RESERVED_PREFIX),
        };
        let mut names = metadata[field].as_object().into_iter().flatten();
        if let Some((name, _)) = names.find(|(name, _)| is_reserved(name)) {
            return refuse(
                &format!("{PATH}.metadata.{field}.{name}"),
                "cannot be overridden: the operator finds its pods and what they run by it",
            );
        }
    }
    if spec.get("terminationGracePeriodSeconds").is_some() {
        return refuse(
            &format!("{PATH}.spec.terminationGracePeriodSeconds"),
            "cannot be overridden: it follows from the time in which a pod hands its clients over",
        );
    }
    for (at, volume) in items(&spec["volumes"]) {
        if VOLUMES.iter().any(|name| volume["name"] == **name) {
            return refuse(
                &format!("{PATH}.spec.volumes[{at}]"),
                "cannot be overridden: config, nats and redis are the operator's volumes; use another name",
            );
        }
    }
    for list in ["containers", "initContainers"] {
        for (at, container) in items(&spec[list]) {
            if container["name"] == GATEWAY_CONTAINER {
                gateway_container(&format!("{PATH}.spec.{list}[{at}]"), container)?;
            }
        }
    }
    Ok(())
}

fn gateway_container(path: &str, container: &Value) -> Result<(), FieldError> {
    for (field, message) in [
        (
            DIRECTIVE,
            "the container gateway can neither be deleted nor replaced: override its fields",
        ),
        (
            "resources",
            "cannot be overridden: set pod.resources, from which the gateway's budgets follow",
        ),
        ("ports", "cannot be overridden: set listener.port; add a container for ports of its own"),
    ] {
        if container.get(field).is_some() {
            return refuse(&format!("{path}.{field}"), message);
        }
    }
    for (at, mount) in items(&container["volumeMounts"]) {
        let at_path = mount["mountPath"].as_str().unwrap_or_default().trim_end_matches('/');
        let below = |folder: &str| {
            at_path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if FOLDERS.iter().any(|folder| below(folder)) {
            return refuse(
                &format!("{path}.volumeMounts[{at}]"),
                "cannot be overridden: the gateway reads its configuration and Secrets there; mount elsewhere",
            );
        }
    }
    Ok(())
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

/// What a directive may do to the object that it is in.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Nothing: the operator's own part of the template hangs on it, or lists without keys are replaced anyway.
    Fixed,
    /// It may be replaced.
    Field,
    /// An item of a keyed list: it may be replaced or deleted.
    Item,
}

/// Directives stand where `merge` knows them, and items of keyed lists have their keys.
fn directives(path: &str, value: &Value, place: Place) -> Result<(), FieldError> {
    let Value::Object(fields) = value else { return Ok(()) };
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        if name.starts_with('$') {
            let known = name == DIRECTIVE
                && match value.as_str() {
                    Some(REPLACE) => place != Place::Fixed,
                    Some(DELETE) => place == Place::Item,
                    _ => false,
                };
            if !known {
                return refuse(
                    &path,
                    "is no directive that has a meaning here: use $patch: delete in items of containers, volumes, env, \
                     ports and the like, $patch: replace in them and in objects below spec",
                );
            }
            continue;
        }
        match key_of(name) {
            // Of a nodeSelector `env` is a text.
            Some(key) if below_spec(&path) && !value.is_string() => list(&path, value, key)?,
            _ => match value {
                Value::Array(items) => {
                    for (at, item) in items.iter().enumerate() {
                        directives(&format!("{path}[{at}]"), item, Place::Fixed)?;
                    }
                }
                _ => directives(&path, value, below(&path))?,
            },
        }
    }
    Ok(())
}

/// A keyed list: its items are objects with the key.
fn list(path: &str, value: &Value, key: &str) -> Result<(), FieldError> {
    let Value::Array(items) = value else {
        return refuse(
            path,
            "must be a list; its items are removed one by one, with $patch: delete",
        );
    };
    for (at, item) in items.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if item.get(key).is_none_or(|key| !key.is_string() && !key.is_u64()) {
            return refuse(
                &path,
                format!("needs {key}, by which it is merged into the operator's list"),
            );
        }
        directives(&path, item, Place::Item)?;
    }
    Ok(())
}

/// Objects of the template that may be replaced: those within its `spec`.
fn below(path: &str) -> Place {
    if below_spec(path) { Place::Field } else { Place::Fixed }
}

fn below_spec(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.starts_with(".spec."))
}

fn refuse<T>(path: &str, message: impl Into<String>) -> Result<T, FieldError> {
    Err(FieldError::new(path, message))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn checked(value: Value) -> Result<Overrides, String> {
        let mut errors = Errors::default();
        let pod = Pod { overrides: Some(value), ..Pod::default() };
        let overrides = overrides(&pod, &mut errors);
        errors
            .finish(overrides)
            .map(|overrides| overrides.expect("some"))
            .map_err(|errors| errors[0].to_string())
    }

    #[rstest]
    #[case::nothing(json!({}))]
    #[case::a_label(json!({ "metadata": { "labels": { "team": "a" }, "annotations": { "a.b/c": "d", "gone": null } } }))]
    #[case::a_sidecar_with_a_volume(json!({ "spec": {
        "containers": [{ "name": "proxy", "image": "p", "resources": { "limits": { "memory": "64Mi" } },
            "ports": [{ "containerPort": 15000 }], "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }] }],
        "volumes": [{ "name": "tmp", "emptyDir": {} }] } }))]
    #[case::the_gateways_environment(json!({ "spec": { "containers": [{ "name": "gateway",
        "env": [{ "name": "RUST_LOG", "value": "debug" }, { "name": "WSGATEWAY_POD", "$patch": "delete" }],
        "volumeMounts": [{ "name": "ca", "mountPath": "/etc/wsgateway-more" }] }] } }))]
    #[case::a_probe_of_another_kind(json!({ "spec": { "containers": [{ "name": "gateway",
        "livenessProbe": { "$patch": "replace", "tcpSocket": { "port": 9090 } } }] } }))]
    #[case::a_node_label_that_is_called_as_a_list(json!({ "spec": { "nodeSelector": { "env": "prod" } } }))]
    #[case::the_network_of_the_host(json!({ "spec": { "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet",
        "securityContext": null, "topologySpreadConstraints": [{ "topologyKey": "kubernetes.io/hostname", "$patch": "delete" }] } }))]
    fn a_part_of_a_pod_template_is_accepted(#[case] value: Value) {
        assert_eq!(checked(value.clone()), Ok(Overrides::new(value)));
    }

    #[rstest]
    #[case::no_object(json!("spec"), "", "must be an object")]
    #[case::a_whole_object(json!({ "apiVersion": "v1" }), ".apiVersion", "cannot be overridden")]
    #[case::a_name(json!({ "metadata": { "name": "x" } }), ".metadata.name", "may have labels and annotations")]
    #[case::no_labels_at_all(json!({ "metadata": { "labels": null } }), ".metadata.labels", "must be an object")]
    #[case::other_labels(json!({ "metadata": { "labels": { "$patch": "replace" } } }), ".metadata.labels.$patch", "no directive")]
    #[case::no_spec(json!({ "spec": null }), ".spec", "must be an object")]
    #[case::another_spec(json!({ "spec": { "$patch": "replace" } }), ".spec.$patch", "no directive")]
    #[case::a_selector_label(json!({ "metadata": { "labels": { "app.kubernetes.io/name": "x" } } }),
        ".metadata.labels.app.kubernetes.io/name", "finds its pods")]
    #[case::a_selector_label_less(json!({ "metadata": { "labels": { "app.kubernetes.io/instance": null } } }),
        ".metadata.labels.app.kubernetes.io/instance", "finds its pods")]
    #[case::the_hash(json!({ "metadata": { "annotations": { "wsgateway.dev/config-hash": "1" } } }),
        ".metadata.annotations.wsgateway.dev/config-hash", "what they run")]
    #[case::the_grace(json!({ "spec": { "terminationGracePeriodSeconds": 1 } }),
        ".spec.terminationGracePeriodSeconds", "hands its clients over")]
    #[case::the_config_volume(json!({ "spec": { "volumes": [{ "name": "a", "emptyDir": {} }, { "name": "config", "emptyDir": {} }] } }),
        ".spec.volumes[1]", "the operator's volumes")]
    #[case::no_volumes(json!({ "spec": { "volumes": null } }), ".spec.volumes", "must be a list")]
    #[case::no_gateway(json!({ "spec": { "containers": [{ "name": "gateway", "$patch": "delete" }] } }),
        ".spec.containers[0].$patch", "neither be deleted nor replaced")]
    #[case::its_memory(json!({ "spec": { "containers": [{ "name": "gateway", "resources": {} }] } }),
        ".spec.containers[0].resources", "set pod.resources")]
    #[case::its_ports(json!({ "spec": { "containers": [{ "name": "gateway", "ports": [{ "containerPort": 1 }] }] } }),
        ".spec.containers[0].ports", "set listener.port")]
    #[case::its_configuration(json!({ "spec": { "containers": [{ "name": "gateway",
        "volumeMounts": [{ "name": "a", "mountPath": "/etc/wsgateway/" }] }] } }), ".spec.containers[0].volumeMounts[0]", "mount elsewhere")]
    #[case::a_container_without_a_name(json!({ "spec": { "containers": [{ "image": "x" }] } }), ".spec.containers[0]", "needs name")]
    #[case::a_list_of_texts(json!({ "spec": { "volumes": ["a"] } }), ".spec.volumes[0]", "needs name")]
    #[case::another_directive(json!({ "spec": { "$setElementOrder/containers": [] } }), ".spec.$setElementOrder/containers", "no directive")]
    #[case::a_directive_in_a_plain_list(json!({ "spec": { "tolerations": [{ "$patch": "delete" }] } }),
        ".spec.tolerations[0].$patch", "no directive")]
    #[case::a_typing_error(json!({ "spec": { "containers": [{ "name": "gateway", "enviroment": [] }] } }),
        ".spec.containers[0].enviroment", "is unknown to Kubernetes")]
    #[case::of_another_type(json!({ "spec": { "hostNetwork": "yes" } }), ".spec.hostNetwork", "invalid type")]
    #[case::too_large(json!({ "metadata": { "annotations": { "a": "x".repeat(40_000) } } }), "", "at most 32 KiB")]
    fn what_would_break_the_gateway_is_refused_with_a_sentence(
        #[case] value: Value,
        #[case] path: &str,
        #[case] message: &str,
    ) {
        let error = checked(value).unwrap_err();
        assert!(error.starts_with(&format!("{PATH}{path}: ")), "{error}");
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn thousands_of_faults_are_one_error() {
        let items: Vec<Value> = (0..3_000).map(|number| json!({ "$x": number })).collect();
        let error = checked(json!({ "spec": { "tolerations": items } })).unwrap_err();
        assert!(error.len() < 1_000, "{}", error.len());
    }
}
