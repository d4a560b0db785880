//! What an operator fills in where a WsGateway leaves a field out ([ADR 0040](../../docs/adr/0040-defaults-of-an-operator.md)).
//!
//! In: a text with a part of a WsGateway's specification, of the fields whose absence can be seen: the API server fills in the
//! others by itself. Out: the WsGateway as though it had those fields. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use wsgateway_config::yaml;

use crate::manifest::{find_unknown, shape, spec_schema};
use crate::spec::{Pod, Resources};
use crate::{FieldError, GROUP, VERSION, WsGateway, validate};

/// As long as two overrides of a pod template.
const MOST_BYTES: usize = 64 << 10;

/// Fields that a WsGateway can have and defaults cannot, with what to use instead.
const NOT_HERE: [(&str, &str); 3] = [
    ("image", "is the operator's --gateway-image (chart: gateway.image)"),
    ("serviceAccountName", "names a ServiceAccount of one namespace: give it in the WsGateway"),
    ("overrides", "belong to one WsGateway: give them there"),
];

/// Values for fields that WsGateways leave out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Defaults {
    pod: Pod,
    expose: DefaultExpose,
    monitoring: DefaultMonitoring,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct DefaultExpose {
    service: DefaultService,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct DefaultService {
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct DefaultMonitoring {
    labels: BTreeMap<String, String>,
}

impl Defaults {
    /// Reads them from YAML or JSON. An empty text is none.
    ///
    /// # Errors
    /// Every field that is unknown, is none for defaults, or that no WsGateway could have, by its path below `defaults`.
    pub fn parse(text: &str) -> Result<Self, Vec<FieldError>> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        if text.len() > MOST_BYTES {
            let message = format!("must be at most {} KiB", MOST_BYTES >> 10);
            return Err(vec![FieldError::new("defaults", message)]);
        }
        let given: Value = yaml::from_str(text).map_err(|error| below(shape(error)))?;
        let unknown = unknown(&given);
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let defaults: Self = yaml::from_str(text).map_err(|error| below(shape(error)))?;
        match validate(&defaults.fill(&smallest()?)) {
            Ok(_) => Ok(defaults),
            Err(errors) => Err(errors
                .into_iter()
                .map(|error| {
                    FieldError::new(error.path.replacen("spec", "defaults", 1), error.message)
                })
                .collect()),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The WsGateway with what it leaves out. Labels and annotations are filled in one by one, resources one by one unless the
    /// WsGateway says something of the resource, everything else field by field.
    #[must_use]
    pub fn fill<'a>(&self, gateway: &'a WsGateway) -> Cow<'a, WsGateway> {
        if self.is_empty() {
            return Cow::Borrowed(gateway);
        }
        let mut filled = gateway.clone();
        let (ours, pod) = (&self.pod, &mut filled.spec.pod);
        absent(&mut pod.image_pull_policy, ours.image_pull_policy.as_ref());
        absent(&mut pod.affinity, ours.affinity.as_ref());
        absent(&mut pod.topology_spread, ours.topology_spread.as_ref());
        absent(&mut pod.priority_class_name, ours.priority_class_name.as_ref());
        absent(&mut pod.security_context, ours.security_context.as_ref());
        empty(&mut pod.image_pull_secrets, &ours.image_pull_secrets);
        empty(&mut pod.tolerations, &ours.tolerations);
        if pod.node_selector.is_empty() {
            pod.node_selector.clone_from(&ours.node_selector);
        }
        if let Some(ours) = &ours.resources {
            resources(pod.resources.get_or_insert_default(), ours);
        }
        missing(&mut pod.labels, &ours.labels);
        missing(&mut pod.annotations, &ours.annotations);
        missing(&mut filled.spec.expose.service.annotations, &self.expose.service.annotations);
        missing(&mut filled.spec.monitoring.labels, &self.monitoring.labels);
        Cow::Owned(filled)
    }

    /// Says of each error in a filled WsGateway whether a default has a part in it.
    pub fn explain(&self, gateway: &WsGateway, errors: Vec<FieldError>) -> Vec<FieldError> {
        if self.is_empty() {
            return errors;
        }
        let own = validate(gateway).err().unwrap_or_default();
        let explained = |error: FieldError| match own.contains(&error) {
            true => error,
            false => FieldError::new(
                error.path,
                format!(
                    "{} (with the defaults of the operator; give the field here to do without)",
                    error.message
                ),
            ),
        };
        errors.into_iter().map(explained).collect()
    }
}

/// Paths of what the schema does not know, or what cannot be a default.
fn unknown(given: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let Value::Object(fields) = given else {
        return vec![FieldError::new(
            "defaults",
            "must be a map, such as {pod: {priorityClassName: high}}",
        )];
    };
    let known = |path: &str, fields: &Value, known: &[&str], errors: &mut Vec<FieldError>| {
        for name in fields.as_object().into_iter().flat_map(|fields| fields.keys()) {
            if !known.contains(&name.as_str()) {
                let message = format!("unknown field; known are {}", known.join(", "));
                errors.push(FieldError::new(format!("{path}.{name}"), message));
            }
        }
    };
    known("defaults", given, &["pod", "expose", "monitoring"], &mut errors);
    let (expose, monitoring) = (&given["expose"], &given["monitoring"]);
    known("defaults.expose", expose, &["service"], &mut errors);
    known("defaults.expose.service", &expose["service"], &["annotations"], &mut errors);
    known("defaults.monitoring", monitoring, &["labels"], &mut errors);
    if let (Some(pod), Some(schema)) = (fields.get("pod"), spec_schema()) {
        for (name, instead) in NOT_HERE {
            if pod.get(name).is_some() {
                errors.push(FieldError::new(format!("defaults.pod.{name}"), instead));
            }
        }
        find_unknown("defaults.pod", pod, &schema["properties"]["pod"], &mut errors);
    }
    errors
}

fn below(errors: Vec<FieldError>) -> Vec<FieldError> {
    let path = |path: String| match path.as_str() {
        "" | "." => "defaults".to_owned(),
        _ => format!("defaults.{path}"),
    };
    errors.into_iter().map(|error| FieldError::new(path(error.path), error.message)).collect()
}

/// A WsGateway that needs as little as one can: what it cannot have, none can.
fn smallest() -> Result<WsGateway, Vec<FieldError>> {
    let smallest = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "WsGateway", "metadata": { "name": "any" },
        "spec": { "redis": { "servers": ["redis://any"], "channels": ["any"] },
                  "capacity": { "connectionsPerPod": 1 } },
    });
    crate::parse(&smallest.to_string())
}

fn absent<T: Clone>(field: &mut Option<T>, default: Option<&T>) {
    if field.is_none() {
        *field = default.cloned();
    }
}

fn empty<T: Clone>(field: &mut Vec<T>, default: &[T]) {
    if field.is_empty() {
        field.extend_from_slice(default);
    }
}

fn missing<T: Clone>(field: &mut BTreeMap<String, T>, defaults: &BTreeMap<String, T>) {
    for (name, value) in defaults {
        field.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// A resource of which the WsGateway says something keeps that alone: a request of ours could exceed its limit.
fn resources(given: &mut Resources, ours: &Resources) {
    let named: Vec<String> = given.requests.keys().chain(given.limits.keys()).cloned().collect();
    let rest = |amounts: &BTreeMap<String, _>| {
        let mut rest = amounts.clone();
        rest.retain(|name, _| !named.contains(name));
        rest
    };
    missing(&mut given.requests, &rest(&ours.requests));
    missing(&mut given.limits, &rest(&ours.limits));
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn filled(defaults: &str, spec: &str) -> Value {
        let defaults = Defaults::parse(defaults).unwrap();
        let mut gateway = smallest().unwrap();
        let pod: Pod = yaml::from_str(spec).unwrap();
        gateway.spec.pod = pod;
        serde_json::to_value(&defaults.fill(&gateway).spec.pod).unwrap()
    }

    #[rstest]
    #[case::a_field("pod: {priorityClassName: high}", "{}", json!({ "priorityClassName": "high" }))]
    #[case::a_field_that_is_given("pod: {priorityClassName: high}", "{priorityClassName: low}", json!({ "priorityClassName": "low" }))]
    #[case::a_list_as_a_whole("pod: {tolerations: [{key: a}, {key: b}]}", "{tolerations: [{key: c}]}",
        json!({ "tolerations": [{ "key": "c", "operator": "Equal" }] }))]
    #[case::a_selector_as_a_whole("pod: {nodeSelector: {pool: edge}}", "{nodeSelector: {disk: ssd}}",
        json!({ "nodeSelector": { "disk": "ssd" } }))]
    #[case::no_spread_is_a_choice("pod: {topologySpread: [{topologyKey: rack}]}", "{topologySpread: []}", json!({ "topologySpread": [] }))]
    #[case::labels_one_by_one("pod: {labels: {team: a, cost: b}}", "{labels: {team: c}}",
        json!({ "labels": { "team": "c", "cost": "b" } }))]
    #[case::resources_one_by_one("pod: {resources: {requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2}}}",
        "{resources: {limits: {memory: 512Mi}}}",
        json!({ "resources": { "requests": { "cpu": 1 }, "limits": { "cpu": 2, "memory": "512Mi" } } }))]
    fn what_is_left_out_is_filled_in(
        #[case] defaults: &str,
        #[case] given: &str,
        #[case] expected: Value,
    ) {
        assert_eq!(filled(defaults, given), expected);
    }

    #[test]
    fn every_default_reaches_a_wsgateway_that_says_nothing() {
        let text = include_str!("defaults/every.yaml");
        let defaults = Defaults::parse(text).unwrap();
        let given: Value = yaml::from_str(text).unwrap();
        let spec = serde_json::to_value(&defaults.fill(&smallest().unwrap()).spec).unwrap();
        assert_eq!(spec["pod"], given["pod"]);
        assert_eq!(
            spec["expose"]["service"]["annotations"],
            given["expose"]["service"]["annotations"]
        );
        assert_eq!(spec["monitoring"]["labels"], given["monitoring"]["labels"]);
        // The file has every field of a pod but those that cannot be defaults.
        let schema = spec_schema().unwrap();
        let fields = schema["properties"]["pod"]["properties"].as_object().unwrap().keys();
        for field in fields.filter(|field| NOT_HERE.iter().all(|(name, _)| name != field)) {
            assert!(given["pod"].get(field).is_some(), "{field}");
        }
    }

    #[rstest]
    #[case::a_field("pods: {}", "defaults.pods", "known are pod, expose, monitoring")]
    #[case::a_field_of_pods(
        "pod: {nodeSelectors: {}}",
        "defaults.pod.nodeSelectors",
        "unknown field"
    )]
    #[case::deep_down(
        "pod: {tolerations: [{keys: a}]}",
        "defaults.pod.tolerations[0].keys",
        "unknown field"
    )]
    #[case::in_an_affinity(
        "pod: {affinity: {nodeAffinty: {}}}",
        "defaults.pod.affinity.nodeAffinty",
        "unknown to Kubernetes"
    )]
    #[case::of_a_service(
        "expose: {service: {type: NodePort}}",
        "defaults.expose.service.type",
        "known are annotations"
    )]
    #[case::of_monitoring(
        "monitoring: {interval: 1m}",
        "defaults.monitoring.interval",
        "known are labels"
    )]
    #[case::the_image("pod: {image: a}", "defaults.pod.image", "--gateway-image")]
    #[case::overrides("pod: {overrides: {}}", "defaults.pod.overrides", "belong to one WsGateway")]
    #[case::a_rule(
        "pod: {labels: {wsgateway.dev/config: a}}",
        "defaults.pod.labels",
        "cannot set the labels"
    )]
    #[case::memory_that_no_pod_can_do_with(
        "pod: {resources: {limits: {memory: 1Mi}}}",
        "defaults.pod.resources.limits.memory",
        ""
    )]
    #[case::a_type("pod: {tolerations: a}", "defaults.pod.tolerations", "invalid type")]
    #[case::no_map("[a]", "defaults", "must be a map")]
    fn what_no_wsgateway_can_have_is_refused_by_its_path(
        #[case] text: &str,
        #[case] path: &str,
        #[case] message: &str,
    ) {
        let errors = Defaults::parse(text).unwrap_err();
        assert!(
            errors.iter().any(|error| error.path == path && error.message.contains(message)),
            "{errors:?}"
        );
    }

    #[test]
    fn an_error_that_a_default_makes_says_so() {
        let defaults = Defaults::parse("pod: {resources: {limits: {memory: 160Mi}}}").unwrap();
        let mut gateway = smallest().unwrap();
        gateway.spec.capacity.connections_per_pod = 50_000;
        gateway.spec.replicas = -1;
        let errors = validate(&defaults.fill(&gateway)).unwrap_err();
        let errors = defaults.explain(&gateway, errors);
        let of = |path: &str| &errors.iter().find(|error| error.path == path).unwrap().message;
        assert!(of("spec.pod.resources.limits.memory").contains("defaults of the operator"));
        assert!(!of("spec.replicas").contains("defaults of the operator"));
    }

    #[test]
    fn nothing_is_no_default() {
        assert!(Defaults::parse(" \n").unwrap().is_empty());
        assert!(Defaults::parse("{}").unwrap().is_empty());
        assert!(Defaults::parse("pod: {}").unwrap().is_empty());
        assert!(
            Defaults::parse(&format!("pod: {{priorityClassName: {}}}", "a".repeat(MOST_BYTES)))
                .is_err()
        );
    }
}
