//! The gateway's pods: restricted, spread, rolled without a gap, with time to hand over their connections.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapProjection, Container, ContainerPort, EnvVar, EnvVarSource,
    HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile,
    SecretProjection, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use wsgateway_config::{GatewayConfig, Parts};
use wsgateway_crds::{
    ADMIN_PORT, NATS_FOLDER, REDIS_FOLDER, SecretFile, ValidGateway, ValidSource,
};

use super::config_map::{FILE, LIVE_FILE, version};
use super::meta::{
    CONFIG_LABEL, child_name, config_name, label_selector, labels, live_name, metadata,
};
use super::services::{ADMIN, CLIENTS};

const CONFIG_FOLDER: &str = "/etc/wsgateway";
/// The volumes.
const CONFIG: &str = "config";
const NATS: &str = "nats";
const REDIS: &str = "redis";
/// Read by the one user of the container, who is not the owner of the files, and written by nobody.
const READABLE: i32 = 0o444;
/// Above the drain window: the last close handshakes, and the kubelet's own delay.
const GRACE_MARGIN: Duration = Duration::from_secs(15);
/// A pod that cannot become ready in ten minutes will not.
const PROGRESS_DEADLINE: i32 = 600;
/// The user "nonroot" of distroless images; any number but 0 does.
const USER: i64 = 65_532;
/// A gateway at rest uses little; a busy one takes what the node has, since there is no limit.
const CPU_REQUEST: &str = "250m";

pub(super) fn build(
    gateway: &ValidGateway,
    config: &GatewayConfig,
    parts: &Parts,
    default_image: &str,
) -> Deployment {
    let grace = Duration::from(config.drain.window) + GRACE_MARGIN;
    // Only what needs a new process is in the template: nothing of the live part.
    let version = version(parts);
    let mut labels = labels(&gateway.name);
    labels.insert(CONFIG_LABEL.to_owned(), version.clone());
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
        spec: Some(pod(gateway, &version, default_image, grace)),
    };
    Deployment {
        metadata: metadata(gateway, child_name(&gateway.name)),
        spec: Some(DeploymentSpec {
            replicas: Some(gateway.effective_replicas()),
            selector: label_selector(&gateway.name),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    // Connections need somewhere to go before theirs ends.
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                }),
            }),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(gateway: &ValidGateway, version: &str, default_image: &str, grace: Duration) -> PodSpec {
    let volumes = volumes(gateway, version);
    let secrets: Vec<LocalObjectReference> = gateway
        .pod
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    PodSpec {
        service_account_name: Some(child_name(&gateway.name)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: i64::try_from(grace.as_secs()).ok(),
        image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        topology_spread_constraints: Some(vec![
            spread(&gateway.name, "topology.kubernetes.io/zone"),
            spread(&gateway.name, "kubernetes.io/hostname"),
        ]),
        containers: vec![container(gateway, default_image, &volumes)],
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

/// Soft: a small cluster must still run all pods.
fn spread(gateway: &str, over: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: over.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(label_selector(gateway)),
        ..TopologySpreadConstraint::default()
    }
}

fn container(gateway: &ValidGateway, default_image: &str, volumes: &[Volume]) -> Container {
    Container {
        name: "gateway".to_owned(),
        image: Some(gateway.pod.image.clone().unwrap_or_else(|| default_image.to_owned())),
        image_pull_policy: gateway.pod.image_pull_policy.map(|policy| policy.as_str().to_owned()),
        args: Some(arguments()),
        env: Some(vec![EnvVar {
            name: "WSGATEWAY_POD".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: "metadata.name".to_owned(),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        }]),
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

fn arguments() -> Vec<String> {
    let file = |name: &str| format!("{CONFIG_FOLDER}/{name}");
    ["--config".to_owned(), file(FILE), "--live".to_owned(), file(LIVE_FILE)].into()
}

/// The configuration, and what Secrets hold for the connection to NATS or Redis: files, which the kubelet exchanges when
/// a ConfigMap or a Secret changes. Only another set of files is another volume, so that only that rolls the pods.
fn volumes(gateway: &ValidGateway, version: &str) -> Vec<Volume> {
    let maps = [config_name(&gateway.name, version), live_name(&gateway.name)];
    let config = Volume {
        name: CONFIG.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(maps.map(map).into()),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    };
    let source = match &gateway.source {
        ValidSource::Nats(nats) => files(NATS, nats.files()),
        ValidSource::Redis(redis) => files(REDIS, redis.files()),
    };
    [Some(config), source].into_iter().flatten().collect()
}

fn map(name: String) -> VolumeProjection {
    VolumeProjection {
        config_map: Some(ConfigMapProjection { name, ..ConfigMapProjection::default() }),
        ..VolumeProjection::default()
    }
}

/// One volume for all, so that a certificate and its key change together.
fn files(volume: &str, files: Vec<SecretFile>) -> Option<Volume> {
    let files: Vec<VolumeProjection> = files.into_iter().map(projection).collect();
    (!files.is_empty()).then(|| Volume {
        name: volume.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(files),
            default_mode: Some(READABLE),
        }),
        ..Volume::default()
    })
}

fn projection(file: SecretFile) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection {
            name: file.source.name,
            items: Some(vec![KeyToPath {
                key: file.source.key,
                path: file.file.to_owned(),
                mode: None,
            }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}

fn mount(volume: &Volume) -> VolumeMount {
    let folder = match volume.name.as_str() {
        NATS => NATS_FOLDER,
        REDIS => REDIS_FOLDER,
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

fn resources(gateway: &ValidGateway) -> ResourceRequirements {
    let some =
        |amounts: &BTreeMap<String, Quantity>| (!amounts.is_empty()).then(|| amounts.clone());
    if let Some((requests, limits)) = &gateway.pod.resources {
        return ResourceRequirements {
            requests: some(requests),
            limits: some(limits),
            ..ResourceRequirements::default()
        };
    }
    let memory = |bytes: u64| ("memory".to_owned(), Quantity(format!("{}Mi", bytes >> 20)));
    ResourceRequirements {
        requests: Some(
            [
                ("cpu".to_owned(), Quantity(CPU_REQUEST.to_owned())),
                memory(gateway.derived.memory_request),
            ]
            .into(),
        ),
        limits: Some([memory(gateway.derived.memory_limit)].into()),
        ..ResourceRequirements::default()
    }
}
