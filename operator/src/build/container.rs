//! The gateway's container.

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle,
    LifecycleHandler, ObjectFieldSelector, Probe, ResourceRequirements, SecretKeySelector,
    SecurityContext, SleepAction, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use wsgateway_crds::{
    ADMIN_PORT, AUTH_FOLDER, AUTH_VOLUME, CONFIG_FOLDER, GATEWAY_CONTAINER, NATS_FOLDER,
    NATS_VOLUME, REDIS_FOLDER, REDIS_VOLUME, SecretKey, TLS_FOLDER, TLS_VOLUME, ValidGateway,
};

use super::config_map::{FILE, LIVE_FILE};
use super::services::{ADMIN, CLIENTS};

/// Between the decision to stop a pod and SIGTERM: kube-proxy, Ingress controllers and load balancers hear of it in
/// these seconds, in which the pod still takes clients. So no upgrade meets a pod that closes.
pub(super) const PAUSE: Duration = Duration::from_secs(5);
/// The file with what a pod is told to do with its clients.
pub(super) const SHED_FILE: &str = "shed";
/// An idle gateway uses little; a busy one takes what the node has, since there is no limit.
const CPU_REQUEST: &str = "250m";

pub(super) fn build(gateway: &ValidGateway, default_image: &str, volumes: &[Volume]) -> Container {
    Container {
        name: GATEWAY_CONTAINER.to_owned(),
        image: Some(gateway.pod.image.clone().unwrap_or_else(|| default_image.to_owned())),
        image_pull_policy: gateway.pod.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        args: Some(arguments()),
        env: Some(environment(gateway)),
        ports: Some(vec![port(CLIENTS, gateway.port), port(ADMIN, ADMIN_PORT)]),
        // A minute to start; liveness begins only then.
        startup_probe: Some(Probe {
            period_seconds: Some(1),
            failure_threshold: Some(60),
            ..probe("/livez")
        }),
        liveness_probe: Some(Probe {
            period_seconds: Some(10),
            failure_threshold: Some(3),
            ..probe("/livez")
        }),
        readiness_probe: Some(Probe {
            period_seconds: Some(2),
            failure_threshold: Some(2),
            ..probe("/readyz")
        }),
        // The kubelet sleeps: the image has no shell.
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: i64::try_from(PAUSE.as_secs()).ok().map(|seconds| SleepAction { seconds }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        resources: Some(resources(gateway)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(volumes.iter().map(mount).collect()),
        ..Container::default()
    }
}

/// The name by which a gateway calls itself.
fn arguments() -> Vec<String> {
    let file = |name: &str| format!("{CONFIG_FOLDER}/{name}");
    ["--config".to_owned(), file(FILE), "--live".to_owned(), file(LIVE_FILE)].into()
}

fn pod_name() -> EnvVar {
    EnvVar {
        name: "WSGATEWAY_POD".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "metadata.name".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn environment(gateway: &ValidGateway) -> Vec<EnvVar> {
    let headers = gateway.tracing_headers.as_ref().map(trace_headers);
    [pod_name(), instruction()].into_iter().chain(headers).collect()
}

/// Headers of the requests with spans. Without the Secret a pod starts all the same, and its spans are refused.
fn trace_headers(secret: &SecretKey) -> EnvVar {
    EnvVar {
        name: "OTEL_EXPORTER_OTLP_HEADERS".to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.name.clone(),
                key: secret.key.clone(),
                optional: Some(true),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// Where the gateway finds what it is told. A variable, since gateways of before know no such argument.
fn instruction() -> EnvVar {
    EnvVar {
        name: "WSGATEWAY_SHED".to_owned(),
        value: Some(format!("{CONFIG_FOLDER}/{SHED_FILE}")),
        ..EnvVar::default()
    }
}

fn mount(volume: &Volume) -> VolumeMount {
    let folder = match volume.name.as_str() {
        NATS_VOLUME => NATS_FOLDER,
        REDIS_VOLUME => REDIS_FOLDER,
        AUTH_VOLUME => AUTH_FOLDER,
        TLS_VOLUME => TLS_FOLDER,
        _ => CONFIG_FOLDER,
    };
    VolumeMount {
        name: volume.name.clone(),
        mount_path: folder.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ADMIN.to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}

/// What is given, and what follows from the capacity where nothing is.
fn resources(gateway: &ValidGateway) -> ResourceRequirements {
    let (given, derived) = (&gateway.pod.resources, &gateway.derived);
    let (mut requests, mut limits) = (given.requests.clone(), given.limits.clone());
    if !limits.contains_key("cpu") {
        requests.entry("cpu".to_owned()).or_insert_with(|| Quantity(CPU_REQUEST.to_owned()));
    }
    requests
        .entry("memory".to_owned())
        .or_insert_with(|| Quantity(format!("{}Mi", derived.memory_request >> 20)));
    // Rounded up, or it could be below a request that is given.
    limits
        .entry("memory".to_owned())
        .or_insert_with(|| Quantity(format!("{}Mi", derived.memory_limit.div_ceil(1 << 20))));
    ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        ..ResourceRequirements::default()
    }
}
