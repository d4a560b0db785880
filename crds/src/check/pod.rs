//! Rules of the pods.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, PodSecurityContext, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::errors::Errors;
use super::names::{is_label, is_label_key, is_object_name};
use super::overrides;
use crate::pod_names::is_reserved_label;
use crate::spec::{Pod, Resources, Toleration, TolerationOperator};
use crate::{
    RESERVED_PREFIX, TaintEffect, ValidPod, ValidResources, WhenUnsatisfiable, open, units,
};

/// Far more than any affinity needs.
const AFFINITY_BYTES: usize = 16 << 10;
/// As in the schema.
const MOST_LABELS: usize = 32;
const MOST_ANNOTATION_BYTES: usize = 4096;

pub(super) fn pod(pod: &Pod, errors: &mut Errors) -> ValidPod {
    image(pod, errors);
    names(pod, errors);
    let affinity = pod.affinity.as_ref().and_then(|affinity| {
        open::read::<Affinity>("spec.pod.affinity", affinity, AFFINITY_BYTES)
            .map_err(|error| errors.refuse(&error.path, error.message))
            .ok()
    });
    labels_of("spec.pod.nodeSelector", &pod.node_selector, errors);
    labels_of("spec.pod.labels", &pod.labels, errors);
    errors.ensure(
        !pod.labels.keys().any(|key| is_reserved_label(key)),
        "spec.pod.labels",
        "cannot set the labels by which the gateway's pods are found (app.kubernetes.io/name, instance, component and \
         managed-by, pod-template-hash) nor wsgateway.dev/...: use names of your own, such as team",
    );
    annotations("spec.pod.annotations", &pod.annotations, errors);
    errors.ensure(
        !pod.annotations.keys().any(|key| key.starts_with(RESERVED_PREFIX)),
        "spec.pod.annotations",
        "cannot set wsgateway.dev/..., which the operator writes: use names of your own",
    );
    ValidPod {
        image: pod.image.clone(),
        image_pull_policy: pod.image_pull_policy,
        image_pull_secrets: pod
            .image_pull_secrets
            .iter()
            .map(|secret| secret.name.clone())
            .collect(),
        resources: pod.resources.as_ref().map(|given| resources(given, errors)).unwrap_or_default(),
        node_selector: pod.node_selector.clone(),
        tolerations: tolerations(&pod.tolerations, errors),
        affinity,
        spread: spread(pod, errors),
        priority_class: pod.priority_class_name.clone(),
        labels: pod.labels.clone(),
        annotations: pod.annotations.clone(),
        service_account: pod.service_account_name.clone(),
        security: security(pod, errors),
        overrides: overrides::overrides(pod, errors),
    }
}

fn image(pod: &Pod, errors: &mut Errors) {
    errors.ensure(
        pod.image.as_ref().is_none_or(|image| {
            (1..=512).contains(&image.len()) && !image.contains(char::is_whitespace)
        }),
        "spec.pod.image",
        "must be an image reference without spaces, such as registry.example.com/wsgateway/gateway:0.1.0",
    );
    errors.ensure(
        pod.image_pull_secrets.len() <= 16
            && pod.image_pull_secrets.iter().all(|secret| (1..=253).contains(&secret.name.len())),
        "spec.pod.imagePullSecrets",
        "name at most 16 Secrets of this namespace",
    );
}

fn names(pod: &Pod, errors: &mut Errors) {
    errors.ensure(
        pod.priority_class_name.as_deref().is_none_or(is_object_name),
        "spec.pod.priorityClassName",
        "must be the name of a PriorityClass, such as system-cluster-critical",
    );
    errors.ensure(
        pod.service_account_name.as_deref().is_none_or(is_object_name),
        "spec.pod.serviceAccountName",
        "must be the name of a ServiceAccount in this namespace, such as odin",
    );
}

fn labels_of(path: &str, labels: &BTreeMap<String, String>, errors: &mut Errors) {
    errors.ensure(
        labels.len() <= MOST_LABELS && labels.iter().all(|(key, value)| is_label(key, value)),
        path,
        "must be at most 32 Kubernetes labels, such as team: trading",
    );
}

/// Rules of the annotations of any object.
pub(super) fn annotations(path: &str, annotations: &BTreeMap<String, String>, errors: &mut Errors) {
    errors.ensure(
        annotations.len() <= MOST_LABELS
            && annotations
                .iter()
                .all(|(key, value)| is_label_key(key) && value.len() <= MOST_ANNOTATION_BYTES),
        path,
        "must be at most 32 annotations with Kubernetes names, such as example.com/owner, of at most 4096 bytes each",
    );
}

fn tolerations(
    given: &[Toleration],
    errors: &mut Errors,
) -> Vec<k8s_openapi::api::core::v1::Toleration> {
    errors.ensure(given.len() <= 32, "spec.pod.tolerations", "must be at most 32");
    for (at, toleration) in given.iter().enumerate() {
        let path = |field: &str| format!("spec.pod.tolerations[{at}].{field}");
        let exists = toleration.operator == TolerationOperator::Exists;
        let value = toleration.value.as_deref().unwrap_or_default();
        errors.ensure(
            exists || toleration.key.is_some(),
            &path("operator"),
            "without key must be Exists, which tolerates every taint: name a key, or set the operator",
        );
        errors.ensure(
            !exists || value.is_empty(),
            &path("value"),
            "does not go with operator Exists, which takes any: drop it, or use operator Equal",
        );
        errors.ensure(
            is_label(toleration.key.as_deref().unwrap_or("any"), value),
            &path("key"),
            "must be the name of a taint such as dedicated, and value what a label may have",
        );
        errors.ensure(
            toleration.toleration_seconds.is_none_or(|seconds| {
                seconds >= 0 && toleration.effect == Some(TaintEffect::NoExecute)
            }),
            &path("tolerationSeconds"),
            "must not be negative and needs effect NoExecute, the only one that evicts",
        );
    }
    given
        .iter()
        .map(|toleration| k8s_openapi::api::core::v1::Toleration {
            key: toleration.key.clone(),
            operator: Some(toleration.operator.as_str().to_owned()),
            value: toleration.value.clone(),
            effect: toleration.effect.map(|effect| effect.as_str().to_owned()),
            toleration_seconds: toleration.toleration_seconds,
        })
        .collect()
}

/// What is given, without the selector; `None`: what the operator does by itself.
fn spread(pod: &Pod, errors: &mut Errors) -> Option<Vec<TopologySpreadConstraint>> {
    const PATH: &str = "spec.pod.topologySpread";
    let given = pod.topology_spread.as_ref()?;
    errors.ensure(given.len() <= 8, PATH, "must be at most 8");
    let mut constraints = Vec::new();
    for (at, spread) in given.iter().enumerate() {
        let path = |field: &str| format!("{PATH}[{at}].{field}");
        errors.ensure(
            is_label_key(&spread.topology_key),
            &path("topologyKey"),
            "must be a label of nodes, such as topology.kubernetes.io/zone",
        );
        errors.ensure(
            !given[..at].iter().any(|other| other.topology_key == spread.topology_key),
            &path("topologyKey"),
            "stands twice: drop one",
        );
        errors.ensure(
            spread.min_domains.is_none()
                || spread.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule,
            &path("minDomains"),
            "needs whenUnsatisfiable DoNotSchedule: set that, or drop minDomains",
        );
        constraints.push(TopologySpreadConstraint {
            topology_key: spread.topology_key.clone(),
            max_skew: errors.number(&path("maxSkew"), spread.max_skew, 1..=1000),
            when_unsatisfiable: spread.when_unsatisfiable.as_str().to_owned(),
            min_domains: spread
                .min_domains
                .map(|count| errors.number(&path("minDomains"), count, 1..=1000)),
            ..TopologySpreadConstraint::default()
        });
    }
    Some(constraints)
}

fn security(pod: &Pod, errors: &mut Errors) -> PodSecurityContext {
    let given = pod.security_context.clone().unwrap_or_default();
    let mut id = |field: &str, id: Option<i64>, least: i64| {
        let path = format!("spec.pod.securityContext.{field}");
        id.map(|id| errors.number(&path, id, least..=i64::from(i32::MAX)))
    };
    PodSecurityContext {
        run_as_user: id("runAsUser", given.run_as_user, 1),
        run_as_group: id("runAsGroup", given.run_as_group, 0),
        fs_group: id("fsGroup", given.fs_group, 0),
        ..PodSecurityContext::default()
    }
}

fn resources(given: &Resources, errors: &mut Errors) -> ValidResources {
    let requests = amounts("spec.pod.resources.requests", &given.requests, errors);
    let limits = amounts("spec.pod.resources.limits", &given.limits, errors);
    let mut bytes = |field: &str, amounts: &BTreeMap<String, Quantity>| {
        let Quantity(text) = amounts.get("memory")?;
        let bytes = units::quantity(text);
        let path = format!("spec.pod.resources.{field}.memory");
        errors.ensure(bytes.is_some(), &path, "must be bytes such as 512Mi or 2Gi, below 16Ei");
        bytes
    };
    let (memory_request, memory_limit) = (bytes("requests", &requests), bytes("limits", &limits));
    for (name, Quantity(request)) in &requests {
        let Some(Quantity(limit)) = limits.get(name) else { continue };
        if units::compare(request, limit).is_some_and(Ordering::is_gt) {
            errors.refuse(
                &format!("spec.pod.resources.requests.{name}"),
                format!(
                    "must not exceed limits.{name}, which is {limit}; got {request}: lower the request or raise the limit"
                ),
            );
        }
    }
    ValidResources { requests, limits, memory_request, memory_limit }
}

fn amounts(
    path: &str,
    amounts: &BTreeMap<String, IntOrString>,
    errors: &mut Errors,
) -> BTreeMap<String, Quantity> {
    let mut quantities = BTreeMap::new();
    for (name, amount) in amounts {
        let text = match amount {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(text) => text.clone(),
        };
        errors.ensure(
            is_quantity(&text),
            &format!("{path}.{name}"),
            "must be a quantity, such as 500m or 1Gi",
        );
        quantities.insert(name.clone(), Quantity(text));
    }
    quantities
}

/// A non-negative Kubernetes quantity: digits with at most one point, and a suffix or exponent.
fn is_quantity(text: &str) -> bool {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(number_end);
    let suffixes =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let exponent = |rest: &str| rest.parse::<i8>().is_ok();
    text.len() <= 32
        && number.contains(|c: char| c.is_ascii_digit())
        && number.matches('.').count() <= 1
        && (suffixes.contains(&suffix) || suffix.strip_prefix(['e', 'E']).is_some_and(exponent))
}
