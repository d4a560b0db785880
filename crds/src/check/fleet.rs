//! Rules of the pods' port and number, and of who watches them.

use std::ops::RangeInclusive;

use wsgateway_config::Millis;

use super::errors::Errors;
use super::names::{is_http_address, is_label};
use super::nats::secret_key;
use crate::schedule::{ScheduleError, ValidSchedule};
use crate::spec::{
    Autoscaling, Disruption, Listener, MetricsSource, Monitoring, Rebalance, Rollout, ScheduleEntry,
};
use crate::{
    ADMIN_PORT, ValidAutoscaling, ValidDisruption, ValidListenerTls, ValidMetricsSource,
    ValidMonitoring, ValidRebalance, WsGatewaySpec,
};

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

pub(super) fn tls(listener: &Listener, errors: &mut Errors) -> Option<ValidListenerTls> {
    let secret = &listener.tls.as_ref()?.secret;
    let key = secret_key("spec.listener.tls.secret", &secret.name, ("name", "tls.crt"), errors);
    Some(ValidListenerTls { secret: key.name })
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
    let cpu_percent = autoscaling
        .target_cpu_percent
        .map(|percent| errors.number("spec.autoscaling.targetCpuPercent", percent, 1..=100));
    let stabilization = errors.duration_within(
        "spec.autoscaling.scaleDown.stabilization",
        &autoscaling.scale_down.stabilization,
        Millis::from_secs(1)..=Millis::from_secs(3_600),
        "must be 1s to 1h, as Kubernetes has it at most",
    );
    let schedule = schedule(&autoscaling.schedule, max, errors);
    let source = metrics_source(autoscaling, errors);
    Some(ValidAutoscaling { min, max, cpu_percent, stabilization, schedule, source })
}

/// What KEDA is to know is checked also where it is not asked: it would be refused as soon as it is.
fn metrics_source(autoscaling: &Autoscaling, errors: &mut Errors) -> ValidMetricsSource {
    const PATH: &str = "spec.autoscaling.keda.prometheusAddress";
    let address = autoscaling.keda.as_ref().map(|keda| keda.prometheus_address.clone());
    if let Some(address) = &address {
        errors.ensure(
            is_http_address(address, 255, "-._~/"),
            PATH,
            "write http://host:port, or https://host:port for TLS, with a path if there is one, without user, password or \
             query",
        );
    }
    match (autoscaling.metrics_source, address) {
        (MetricsSource::Operator, _) => ValidMetricsSource::Operator,
        (MetricsSource::Adapter, _) => ValidMetricsSource::Adapter,
        (MetricsSource::Keda, Some(prometheus)) => ValidMetricsSource::Keda { prometheus },
        (MetricsSource::Keda, None) => {
            let message = "is needed with metricsSource Keda: write the address of the Prometheus that reads the gateways, \
                           such as http://prometheus.monitoring:9090";
            errors.refuse(PATH, message);
            ValidMetricsSource::Operator
        }
    }
}

fn schedule(entries: &[ScheduleEntry], max: i32, errors: &mut Errors) -> Vec<ValidSchedule> {
    let mut valid = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let path = |field: &str| format!("spec.autoscaling.schedule[{number}].{field}");
        let min: i32 = errors.number(&path("minReplicas"), entry.min_replicas, 1..=max.max(1));
        match ValidSchedule::new(&entry.cron, &entry.time_zone, min) {
            Ok(entry) => valid.push(entry),
            Err(error @ ScheduleError::Cron(_)) => errors.refuse(&path("cron"), error.to_string()),
            Err(error @ ScheduleError::Zone) => errors.refuse(&path("timeZone"), error.to_string()),
        }
    }
    errors.ensure(entries.len() <= 16, "spec.autoscaling.schedule", "must have at most 16 entries");
    valid
}

/// Clients in a minute, by what moves them; none is faster than the bound for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paces {
    pub rollout: u32,
    pub scale_down: u32,
    pub rebalance: u32,
}

pub(super) fn paces(spec: &WsGatewaySpec, errors: &mut Errors) -> Paces {
    const BOUNDS: RangeInclusive<i32> = 60..=10_000_000;
    let rollout = errors.number(
        "spec.rollout.connectionsPerMinute",
        spec.rollout.connections_per_minute,
        BOUNDS,
    );
    let mut optional = |path: &str, given: Option<i32>| -> Option<u32> {
        given.map(|pace| errors.number(path, pace, BOUNDS))
    };
    let bound =
        optional("spec.disruption.connectionsPerMinute", spec.disruption.connections_per_minute);
    let scale_down = optional(
        "spec.autoscaling.scaleDown.connectionsPerMinute",
        spec.autoscaling.as_ref().and_then(|found| found.scale_down.connections_per_minute),
    );
    let rebalance =
        optional("spec.rebalance.connectionsPerMinute", spec.rebalance.connections_per_minute);
    let bound = bound.unwrap_or(rollout);
    let within = |pace: Option<u32>| pace.unwrap_or(bound).min(bound);
    Paces {
        rollout: rollout.min(bound),
        scale_down: within(scale_down),
        rebalance: within(rebalance),
    }
}

pub(super) fn rebalance(
    rebalance: &Rebalance,
    per_minute: u32,
    errors: &mut Errors,
) -> ValidRebalance {
    ValidRebalance {
        mode: rebalance.mode,
        tolerance_percent: errors.number(
            "spec.rebalance.tolerancePercent",
            rebalance.tolerance_percent,
            5..=500,
        ),
        min_connections: errors.number(
            "spec.rebalance.minConnections",
            rebalance.min_connections,
            0..=10_000_000,
        ),
        per_minute,
    }
}

pub(super) fn disruption(disruption: &Disruption, errors: &mut Errors) -> ValidDisruption {
    const PATH: &str = "spec.disruption.maxPerClientPerHour";
    let most = disruption.max_per_client_per_hour;
    ValidDisruption {
        halt_on_loss: disruption.halt_on_loss,
        max_per_client_per_hour: most.map(|most| errors.number(PATH, most, 1..=60)),
    }
}

pub(super) fn drain(rollout: &Rollout, errors: &mut Errors) -> Millis {
    errors.duration_within(
        "spec.rollout.drain",
        &rollout.drain,
        Millis::from_secs(1)..=Millis::from_secs(3_600),
        "must be 1s to 1h: few platforms wait for a pod longer",
    )
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
