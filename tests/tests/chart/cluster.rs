//! Dry runs on a real API server: strict about unknown fields, with its admission and the CRD's rules.

use anyhow::{Context, Result};
use harness::{ControlPlane, repository};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use serde_json::{Value, json};

use super::{
    helm::{documents, of_kind, rendered},
    values::SETTINGS,
};

/// The fields that the chart uses of the Prometheus operator's kind; strict, so that another one is an error.
const SERVICE_MONITOR: &str = include_str!("servicemonitor-crd.yaml");

/// The shared plane with the kinds that the objects need.
pub(super) async fn plane() -> Result<&'static ControlPlane> {
    let plane = ControlPlane::shared().await?;
    let crd = std::fs::read_to_string(repository().join("crds/wsgateways.yaml"))?;
    for text in [crd.as_str(), SERVICE_MONITOR] {
        plane.apply_crd(&serde_yaml::from_str(text)?).await?;
    }
    Ok(plane)
}

/// Applies one object, in `namespace` when it names none itself.
pub(super) async fn apply(
    client: &Client,
    object: &Value,
    namespace: &str,
    parameters: &PatchParams,
) -> Result<DynamicObject> {
    let object = serde_json::from_value::<DynamicObject>(object.clone())?;
    let types = object.types.as_ref().context("an object without a kind")?;
    let (resource, capabilities) = pinned_kind(client, &GroupVersionKind::try_from(types)?).await?;
    let api = match capabilities.scope {
        Scope::Cluster => Api::<DynamicObject>::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.metadata.namespace.as_deref().unwrap_or(namespace);
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    };
    let name = object.metadata.name.clone().context("an object without a name")?;
    let applied = api.patch(&name, parameters, &Patch::Apply(&object)).await;
    applied.with_context(|| format!("the API server refused {} {name}", types.kind))
}

async fn dry_run(client: &Client, object: &Value, namespace: &str) -> Result<DynamicObject> {
    let parameters = PatchParams::apply("chart-tests").force().dry_run().validation_strict();
    apply(client, object, namespace, &parameters).await
}

/// A namespace in which only restricted pods are admitted.
async fn restricted_namespace(plane: &ControlPlane, prefix: &str) -> Result<String> {
    let namespace = plane.namespace(prefix).await?;
    let label =
        json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    let api = Api::<Namespace>::all(plane.client().await?);
    api.patch(&namespace, &PatchParams::default(), &Patch::Merge(label)).await?;
    Ok(namespace)
}

#[tokio::test]
async fn the_api_server_accepts_everything_the_chart_renders() -> Result<()> {
    let plane = plane().await?;
    let client = plane.client().await?;
    let namespace = plane.namespace("rendered").await?;
    for settings in SETTINGS {
        for mut object in rendered(settings)? {
            if object["metadata"]["namespace"].is_string() {
                object["metadata"]["namespace"] = json!(namespace);
            }
            if object["kind"] == "Pod" {
                // A dry run leaves no account behind for it.
                object["spec"]["serviceAccountName"] = json!("default");
            }
            dry_run(&client, &object, &namespace)
                .await
                .with_context(|| format!("with {settings:?}"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_pod_of_the_chart_is_admitted_where_only_restricted_pods_are() -> Result<()> {
    let plane = plane().await?;
    let client = plane.client().await?;
    let namespace = restricted_namespace(plane, "restricted").await?;
    let documents = rendered(&["serviceAccount.create=false", "serviceAccount.name=default"])?;
    let pods = Api::<Pod>::namespaced(client, &namespace);
    let parameters = PostParams { dry_run: true, field_manager: None };
    let specs = [
        &of_kind(&documents, "Deployment")?["spec"]["template"]["spec"],
        &of_kind(&documents, "Job")?["spec"]["template"]["spec"],
        &of_kind(&documents, "Pod")?["spec"],
    ];
    let mut pod = json!({ "metadata": { "name": "any" } });
    for spec in specs {
        pod["spec"] = spec.clone();
        // Accounts of the other two are hooks.
        pod["spec"]["serviceAccountName"] = json!("default");
        pods.create(&parameters, &serde_json::from_value(pod.clone())?).await?;
    }

    // The check itself can fail: without its security context the same pod is refused.
    pod["spec"]["securityContext"] = json!({});
    let error = pods.create(&parameters, &serde_json::from_value(pod)?).await.err();
    let error = error.context("a pod that may run as root was admitted")?;
    assert!(error.to_string().contains("violates PodSecurity"), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_api_server_accepts_install_yaml() -> Result<()> {
    let plane = plane().await?;
    let client = plane.client().await?;
    let text = std::fs::read_to_string(repository().join("manifests/install.yaml"))?;
    let documents = documents(&text)?;
    // A dry run leaves no namespace behind for the objects in it.
    let namespace = of_kind(&documents, "Namespace")?;
    apply(&client, namespace, "", &PatchParams::apply("chart-tests").validation_strict()).await?;
    for object in &documents {
        dry_run(&client, object, "").await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_api_server_accepts_every_sample() -> Result<()> {
    let plane = plane().await?;
    let client = plane.client().await?;
    let namespace = plane.namespace("samples").await?;
    let mut gateways = 0;
    for entry in std::fs::read_dir(repository().join("manifests/samples"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for mut object in documents(&std::fs::read_to_string(&path)?)? {
            if object["metadata"]["namespace"].is_string() {
                object["metadata"]["namespace"] = json!(namespace);
            }
            gateways += usize::from(object["kind"] == "WsGateway");
            dry_run(&client, &object, &namespace)
                .await
                .with_context(|| path.display().to_string())?;
        }
    }
    assert!(gateways > 0, "manifests/samples holds no WsGateway");
    Ok(())
}
