//! Rules of the pods' port and number, and of who watches them.

use wsgateway_config::Millis;

use super::errors::Errors;
use super::names::is_label;
use crate::spec::{Listener, Monitoring, Rollout};
use crate::{ADMIN_PORT, ValidAutoscaling, ValidMonitoring, ValidRollout, WsGatewaySpec};

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

pub(super) fn rollout(rollout: &Rollout, errors: &mut Errors) -> ValidRollout {
    ValidRollout {
        drain: errors.duration_within(
            "spec.rollout.drain",
            &rollout.drain,
            Millis::from_secs(1)..=Millis::from_secs(3_600),
            "must be 1s to 1h: few platforms wait for a pod longer",
        ),
        connections_per_minute: errors.number(
            "spec.rollout.connectionsPerMinute",
            rollout.connections_per_minute,
            60..=10_000_000,
        ),
    }
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
