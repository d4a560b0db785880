//! Rules of the pods, their port and their number.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::errors::Errors;
use crate::spec::{Listener, Monitoring, Pod};
use crate::{ADMIN_PORT, ValidAutoscaling, ValidMonitoring, ValidPod, WsGatewaySpec};

const RESERVED_PATHS: [&str; 5] = ["/", "/health", "/stats", "/sse", "/poll"];

pub(super) fn path(listener: &Listener, errors: &mut Errors) -> String {
    let path = &listener.path;
    let ok = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    errors.ensure(
        path.starts_with('/') && path.len() <= 255 && path.chars().all(ok) && !RESERVED_PATHS.contains(&path.as_str()),
        "spec.listener.path",
        "must begin with / and be none of the gateway's own paths /, /health, /stats, /sse and /poll: use /ws, for example",
    );
    path.clone()
}

pub(super) fn port(listener: &Listener, errors: &mut Errors) -> u16 {
    errors.ensure(
        listener.port != i32::from(ADMIN_PORT),
        "spec.listener.port",
        "9090 is the gateway's admin port: choose another, such as 8080",
    );
    errors.number("spec.listener.port", listener.port, 1024..=65_535)
}

pub(super) fn autoscaling(spec: &WsGatewaySpec, errors: &mut Errors) -> Option<ValidAutoscaling> {
    let autoscaling = spec.autoscaling.as_ref()?;
    let min: i32 =
        errors.number("spec.autoscaling.minReplicas", autoscaling.min_replicas, 1..=1000);
    let max: i32 =
        errors.number("spec.autoscaling.maxReplicas", autoscaling.max_replicas, 1..=1000);
    errors.ensure(
        min <= max,
        "spec.autoscaling.minReplicas",
        "must not exceed maxReplicas: raise maxReplicas or lower minReplicas",
    );
    if let Some(target) = autoscaling.target_connections_per_pod {
        const PATH: &str = "spec.autoscaling.targetConnectionsPerPod";
        let _checked: u32 = errors.number(PATH, target, 1..=1_000_000);
        errors.ensure(
            target <= spec.capacity.connections_per_pod,
            PATH,
            "must not exceed capacity.connectionsPerPod, or pods are full before the autoscaler adds one: lower the \
             target (80 % is the default) or raise the capacity",
        );
    }
    Some(ValidAutoscaling { min, max })
}

pub(super) fn monitoring(monitoring: &Monitoring, errors: &mut Errors) -> ValidMonitoring {
    const INTERVAL: &str = "spec.monitoring.interval";
    let interval = errors.duration(INTERVAL, &monitoring.interval);
    errors.ensure(interval.0 >= 1_000, INTERVAL, "must be at least 1s");
    errors.ensure(
        monitoring.labels.len() <= 32
            && monitoring.labels.iter().all(|(key, value)| is_label(key, value)),
        "spec.monitoring.labels",
        "must be Kubernetes labels, such as release: prometheus",
    );
    ValidMonitoring {
        service_monitor: monitoring.service_monitor,
        interval: monitoring.interval.clone(),
        labels: monitoring.labels.clone(),
    }
}

fn is_label(key: &str, value: &str) -> bool {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    let word = |text: &str| {
        text.len() <= 63
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let domain = key.rsplit_once('/').is_none_or(|(domain, _)| {
        domain.len() <= 253
            && domain.starts_with(|c: char| c.is_ascii_alphanumeric())
            && domain
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
            && domain.ends_with(|c: char| c.is_ascii_alphanumeric())
    });
    domain && word(name) && (value.is_empty() || word(value))
}

pub(super) fn pod(pod: &Pod, errors: &mut Errors) -> ValidPod {
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
    ValidPod {
        image: pod.image.clone(),
        image_pull_policy: pod.image_pull_policy,
        image_pull_secrets: pod
            .image_pull_secrets
            .iter()
            .map(|secret| secret.name.clone())
            .collect(),
        resources: pod.resources.as_ref().map(|resources| {
            (
                amounts("spec.pod.resources.requests", &resources.requests, errors),
                amounts("spec.pod.resources.limits", &resources.limits, errors),
            )
        }),
    }
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
