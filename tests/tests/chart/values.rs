//! Helm alone: what the values render, and which values are refused.

use anyhow::Result;
use harness::repository;
use serde_json::{Value, json};

use super::helm::{chart, helm, of_kind, rendered, run};

/// Value settings that a user would make, each valid.
pub(super) const SETTINGS: &[&[&str]] = &[
    &[],
    &["watchNamespace=default"],
    &[
        "crds.install=false",
        "rbac.create=false",
        "rbac.aggregate=false",
        "metrics.service.enabled=false",
    ],
    &[
        "crds.keep=false",
        "fullnameOverride=gw",
        "serviceAccount.create=false",
        "serviceAccount.name=default",
    ],
    &["metrics.serviceMonitor.enabled=true", "metrics.serviceMonitor.labels.release=prometheus"],
    &[
        "operator.image.repository=localhost:5000/a/b",
        "operator.image.tag=v1",
        "operator.image.pullPolicy=Never",
    ],
    &[
        "operator.nodeSelector.disk=ssd",
        "operator.priorityClassName=high",
        "operator.imagePullSecrets={one,two}",
    ],
    &[
        "operator.tolerations[0].key=a",
        "operator.tolerations[0].operator=Exists",
        "operator.podLabels.team=a",
        "operator.podAnnotations.note=b",
        "serviceAccount.annotations.role=c",
        "operator.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution=null",
    ],
];

#[test]
fn helm_lint_finds_nothing() -> Result<()> {
    helm(&["lint", "--strict", &chart().to_string_lossy()], &[])?;
    Ok(())
}

#[test]
fn the_defaults_render_these_objects_and_no_others() -> Result<()> {
    let mut names = rendered(&[])?.iter().map(name).collect::<Vec<_>>();
    names.sort();
    let expected = [
        "ClusterRole wsgateway-admin",
        "ClusterRole wsgateway-edit",
        "ClusterRole wsgateway-operator",
        "ClusterRole wsgateway-view",
        "ClusterRoleBinding wsgateway-operator",
        "CustomResourceDefinition wsgateways.wsgateway.dev",
        "Deployment wsgateway-operator",
        "Service wsgateway-operator-metrics",
        "ServiceAccount wsgateway-operator",
    ];
    assert_eq!(names, expected);
    Ok(())
}

fn name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

#[test]
fn one_namespace_needs_no_right_beyond_it() -> Result<()> {
    let documents = rendered(&["watchNamespace=trading", "rbac.aggregate=false"])?;
    assert_eq!(of_kind(&documents, "Role")?["metadata"]["namespace"], "trading");
    assert_eq!(of_kind(&documents, "RoleBinding")?["metadata"]["namespace"], "trading");
    assert!(of_kind(&documents, "ClusterRole").is_err());
    assert!(of_kind(&documents, "ClusterRoleBinding").is_err());
    Ok(())
}

#[test]
fn images_are_named_by_digest_then_tag_then_version() -> Result<()> {
    let digest = "a".repeat(64);
    let setting = format!("operator.image.digest=sha256:{digest}");
    let documents =
        rendered(&[&setting, "operator.image.tag=unused", "gateway.image.tag=nightly"])?;
    let container =
        &of_kind(&documents, "Deployment")?["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], format!("ghcr.io/wsgateway/operator@sha256:{digest}"));
    let gateway =
        json!({ "name": "WSGATEWAY_GATEWAY_IMAGE", "value": "ghcr.io/wsgateway/gateway:nightly" });
    assert_eq!(container["env"][0], gateway);
    let documents = rendered(&[])?;
    let container =
        &of_kind(&documents, "Deployment")?["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        container["image"],
        format!("ghcr.io/wsgateway/operator:{}", env!("CARGO_PKG_VERSION"))
    );
    Ok(())
}

#[test]
fn bad_values_are_refused_by_name() {
    let refused: &[(&[&str], &str)] = &[
        (&["replicas=3"], "'replicas' not allowed"),
        (&["crds.instal=true"], "'instal' not allowed"),
        (&["operator.replicas=2"], "'replicas' not allowed"),
        (&["operator.image.pullPolicy=Sometimes"], "/operator/image/pullPolicy"),
        (&["operator.image.repository=operator:v1"], "/operator/image/repository"),
        (&["operator.image.digest=abc"], "/operator/image/digest"),
        (&["gateway.image.tag=a b"], "/gateway/image/tag"),
        (&["gateway.image.pullPolicy=Always"], "'pullPolicy' not allowed"),
        (&["operator.resources.limits.memory=lots"], "/operator/resources/limits/memory"),
        (&["operator.log.format=xml"], "/operator/log/format"),
        (&["operator.clusterName=a/b"], "/operator/clusterName"),
        (&["metrics.service.port=0"], "/metrics/service/port"),
        (&["metrics.serviceMonitor.interval=often"], "/metrics/serviceMonitor/interval"),
        (
            &["metrics.serviceMonitor.enabled=true", "metrics.service.enabled=false"],
            "/metrics/service/enabled",
        ),
        (&["serviceAccount.create=false"], "/serviceAccount/name"),
        (&["watchNamespace=Not_A_Name"], "/watchNamespace"),
        (&["crds.install=maybe"], "/crds/install"),
    ];
    for (values, named) in refused {
        let error = rendered(values).err().map(|error| error.to_string());
        assert!(
            error.as_ref().is_some_and(|error| error.contains(named)),
            "{values:?} should be refused with {named}: {error:?}"
        );
    }
}

#[test]
fn generated_files_are_up_to_date() -> Result<()> {
    run(&repository().join("hack/generate-manifests"), &["--check"], &[])?;
    Ok(())
}
