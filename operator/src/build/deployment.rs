//! The gateway's pods: restricted, spread, rolled without a gap, with time to hand over their connections.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
    LocalObjectReference, ObjectFieldSelector, PodSpec, PodTemplateSpec, ProjectedVolumeSource,
    SecretProjection, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use wsgateway_config::{ConfigError, GatewayConfig, Parts};
use wsgateway_crds::{
    AUTH_VOLUME, CONFIG_VOLUME, NATS_VOLUME, REDIS_VOLUME, SecretFile, TLS_VOLUME, ValidGateway,
    ValidSource,
};

use super::config_map::version;
use super::container::{self, PAUSE, SHED_FILE};
use super::meta::{
    ACCEPTS, CONFIG_LABEL, TEMPLATE_LABEL, child_name, config_name, label_selector, labels,
    live_name, metadata,
};
use super::placement;
use crate::moves::SHED;
use crate::unchanged;

/// Read by the one user of the container, who is not the owner of the files, and written by nobody.
const READABLE: i32 = 0o444;
/// Above the pause and the drain window: the last close handshakes, and the kubelet's own delay.
const GRACE_MARGIN: Duration = Duration::from_secs(15);
/// A pod that cannot become ready in ten minutes will not.
const PROGRESS_DEADLINE: i32 = 600;

/// The Deployment.
///
/// # Errors
/// When the overrides yield no pod template, which the checks rule out.
pub(super) fn build(
    gateway: &ValidGateway,
    config: &GatewayConfig,
    parts: &Parts,
    default_image: &str,
) -> Result<Deployment, ConfigError> {
    Ok(Deployment {
        metadata: metadata(gateway, child_name(&gateway.name)),
        spec: Some(DeploymentSpec {
            replicas: Some(gateway.effective_replicas()),
            selector: label_selector(&gateway.name),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    // Connections need somewhere to go before theirs ends.
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(IntOrString::String("100%".to_owned())),
                }),
            }),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE),
            template: labelled(gateway, template(gateway, config, parts, default_image)?)?,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    })
}

/// The template with its own hash, by which its pods are told from those of others.
fn labelled(
    gateway: &ValidGateway,
    mut template: PodTemplateSpec,
) -> Result<PodTemplateSpec, ConfigError> {
    let plain = serde_json::to_value(&template).map_err(|error| ConfigError::Shape {
        path: "spec.pod".to_owned(),
        message: error.to_string(),
    })?;
    let metadata = template.metadata.get_or_insert_default();
    let labels = metadata.labels.get_or_insert_default();
    let hash = unchanged::mark(&plain);
    labels.insert(TEMPLATE_LABEL.to_owned(), hash.clone());
    if let Some(pod) = &mut template.spec {
        placement::count_only(&hash, gateway, pod);
    }
    Ok(template)
}

fn template(
    gateway: &ValidGateway,
    config: &GatewayConfig,
    parts: &Parts,
    default_image: &str,
) -> Result<PodTemplateSpec, ConfigError> {
    let grace = PAUSE + Duration::from(config.drain.window) + GRACE_MARGIN;
    // What is given is checked not to name ours; ours wins all the same.
    let mut all_labels = gateway.pod.labels.clone();
    all_labels.extend(labels(&gateway.name));
    // Only what needs a new process is in the template: nothing of the live part.
    let version = version(parts);
    all_labels.insert(CONFIG_LABEL.to_owned(), version.clone());
    all_labels.insert(ACCEPTS.0.to_owned(), ACCEPTS.1.to_owned());
    let annotations = &gateway.pod.annotations;
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: (!annotations.is_empty()).then(|| annotations.clone()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(gateway, &version, default_image, grace)),
    };
    let Some(overrides) = &gateway.pod.overrides else { return Ok(template) };
    overrides.apply(&template).map_err(|error| ConfigError::Shape {
        path: "spec.pod.overrides".to_owned(),
        message: error.to_string(),
    })
}

fn pod(gateway: &ValidGateway, version: &str, default_image: &str, grace: Duration) -> PodSpec {
    let secrets: Vec<LocalObjectReference> = gateway
        .pod
        .image_pull_secrets
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() })
        .collect();
    let volumes = volumes(gateway, version);
    PodSpec {
        service_account_name: Some(
            gateway.pod.service_account.clone().unwrap_or_else(|| child_name(&gateway.name)),
        ),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: i64::try_from(grace.as_secs()).ok(),
        image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
        security_context: Some(placement::security(gateway)),
        containers: vec![container::build(gateway, default_image, &volumes)],
        volumes: Some(volumes),
        ..placement::build(gateway)
    }
}

/// The configuration, and what Secrets hold for the connection to NATS or Redis, for tokens and for TLS: files, which the kubelet exchanges when
/// a ConfigMap or a Secret changes. Only another set of files is another volume, so that only that rolls the pods.
fn volumes(gateway: &ValidGateway, version: &str) -> Vec<Volume> {
    let maps = [config_name(&gateway.name, version), live_name(&gateway.name)];
    let config = Volume {
        name: CONFIG_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(maps.map(map).into_iter().chain([instruction()]).collect()),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    };
    let source = match &gateway.source {
        ValidSource::Nats(nats) => files(NATS_VOLUME, nats.files()),
        ValidSource::Redis(redis) => files(REDIS_VOLUME, redis.files()),
    };
    let auth = gateway.auth.as_ref().and_then(|auth| files(AUTH_VOLUME, auth.files.clone()));
    let tls = gateway.tls.as_ref().and_then(|tls| files(TLS_VOLUME, tls.files()));
    [Some(config), source, auth, tls].into_iter().flatten().collect()
}

/// What this one pod is told to do with its clients: the kubelet brings the annotation at once when it changes.
fn instruction() -> VolumeProjection {
    let field = ObjectFieldSelector {
        api_version: Some("v1".to_owned()),
        field_path: format!("metadata.annotations['{SHED}']"),
    };
    let item = DownwardAPIVolumeFile {
        path: SHED_FILE.to_owned(),
        field_ref: Some(field),
        ..DownwardAPIVolumeFile::default()
    };
    VolumeProjection {
        downward_api: Some(DownwardAPIProjection { items: Some(vec![item]) }),
        ..VolumeProjection::default()
    }
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
            items: Some(vec![KeyToPath { key: file.source.key, path: file.file, mode: None }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}
