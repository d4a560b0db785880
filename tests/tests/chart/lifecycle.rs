//! A release from install to uninstall, on a plane of its own: the CRD is shared by everything on a plane.

use std::path::Path;

use anyhow::{Context, Result};
use harness::{ControlPlane, Scratch, repository};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::PatchParams};
use wsgateway_crds::WsGateway;

use super::{
    cluster::apply,
    helm::{NAMESPACE, chart, documents, helm},
};

const CRD: &str = "wsgateways.wsgateway.dev";

/// A copy of the chart whose CRD is of an older time, with another short name.
fn older_chart(scratch: &Scratch) -> Result<std::path::PathBuf> {
    let copy = scratch.join("wsgateway");
    copy_folder(&chart(), &copy)?;
    let file = copy.join("files/wsgateways.yaml");
    let text = std::fs::read_to_string(&file)?;
    let older = text.replace("    shortNames:\n    - wsgw\n", "    shortNames:\n    - older\n");
    anyhow::ensure!(older != text, "the CRD's short name is not where this test expects it");
    std::fs::write(file, older)?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let (source, target) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            std::fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

async fn short_names(plane: &ControlPlane) -> Result<Vec<String>> {
    let crds = Api::<CustomResourceDefinition>::all(plane.client().await?);
    let crd = crds.get_opt(CRD).await?.context("the CRD is gone")?;
    Ok(crd.spec.names.short_names.unwrap_or_default())
}

#[tokio::test]
async fn an_upgrade_updates_the_crd_and_an_uninstall_keeps_it_and_its_objects() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let scratch = Scratch::new("chart")?;
    let release = |verb: &str, chart: &Path| {
        let chart = chart.to_string_lossy();
        let arguments = [verb, "wsgateway", &chart, "--namespace", NAMESPACE, "--create-namespace"];
        helm(&arguments, &[("KUBECONFIG", plane.kubeconfig())])
    };
    release("install", &older_chart(&scratch)?)?;
    assert_eq!(short_names(&plane).await?, ["older"]);

    let notes = helm(
        &["upgrade", "wsgateway", &chart().to_string_lossy(), "--namespace", NAMESPACE],
        &[("KUBECONFIG", plane.kubeconfig())],
    )?;
    assert_eq!(short_names(&plane).await?, ["wsgw"]);

    // The notes show a manifest: it is one that the API server accepts.
    let gateway = manifest_in(&notes)?;
    let client = plane.client().await?;
    let parameters = PatchParams::apply("chart-tests").validation_strict();
    let namespace = plane.namespace("kept").await?;
    apply(&client, &gateway, &namespace, &parameters).await?;

    // No node here runs the Job before an uninstall: `make e2e` does.
    helm(
        &["uninstall", "wsgateway", "--namespace", NAMESPACE, "--no-hooks"],
        &[("KUBECONFIG", plane.kubeconfig())],
    )?;
    assert_eq!(short_names(&plane).await?, ["wsgw"]);
    Api::<WsGateway>::namespaced(client, &namespace).get("odin").await?;
    Ok(())
}

/// What stands between `<<EOF` and `EOF` in the notes.
fn manifest_in(notes: &str) -> Result<serde_json::Value> {
    let (_, after) = notes.split_once("<<EOF\n").context("the notes show no manifest")?;
    let (manifest, _) =
        after.split_once("\nEOF\n").context("the manifest in the notes does not end")?;
    documents(manifest)?.into_iter().next().context("the manifest in the notes is empty")
}

#[test]
fn the_chart_has_the_version_of_the_workspace() -> Result<()> {
    let text = std::fs::read_to_string(repository().join("charts/wsgateway/Chart.yaml"))?;
    let chart = documents(&text)?.remove(0);
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    Ok(())
}
