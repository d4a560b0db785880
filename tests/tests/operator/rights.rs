//! The rights that the chart gives are enough, and all that the operator needs.

use anyhow::{Context as _, Result};
use harness::{Identity, tool};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, World};

/// The object of a kind that the chart's template for the operator's rights renders to.
fn rendered<K: DeserializeOwned>(namespace: &str, kind: &str) -> Result<K> {
    let output = std::process::Command::new(tool("helm")?)
        .args([
            "template",
            &format!("rights-{namespace}"),
            "charts/wsgateway",
            "--namespace",
            namespace,
        ])
        .args(["--show-only", "templates/rbac.yaml"])
        .current_dir(harness::repository())
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    for document in text.split("\n---") {
        let value: Value = wsgateway_config::yaml::from_str(document)?;
        if value["kind"] == kind {
            return Ok(serde_json::from_value(value)?);
        }
    }
    anyhow::bail!("the chart renders no {kind}")
}

#[tokio::test]
async fn the_chart_gives_the_operator_enough_rights_from_creation_to_deletion() -> Result<()> {
    let mut world = World::without_operator("rights").await?;
    let role: ClusterRole = rendered(&world.namespace, "ClusterRole")?;
    let binding: ClusterRoleBinding = rendered(&world.namespace, "ClusterRoleBinding")?;
    let account = binding
        .subjects
        .as_ref()
        .and_then(|subjects| subjects.first())
        .context("a subject")?
        .name
        .clone();
    Api::all(world.client.clone()).create(&PostParams::default(), &role).await?;
    Api::all(world.client.clone()).create(&PostParams::default(), &binding).await?;
    let identity = Identity::service_account(&world.namespace, &account);
    let client = world.client_as(&identity).await?;
    world.start_operator_with(crate::world::options(&world.namespace), client).await?;

    let autoscaled = json!({ "spec": { "autoscaling": { "minReplicas": 1, "maxReplicas": 2 } } });
    world.create(&autoscaled).await?;
    world.stream_ready().await?;
    world.object::<HorizontalPodAutoscaler>("odin-gateway", |_| true).await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    world.edit(&json!({ "spec": { "autoscaling": null } })).await?;
    world.gone::<HorizontalPodAutoscaler>("odin-gateway").await?;
    let events =
        world.api::<k8s_openapi::api::events::v1::Event>().list(&Default::default()).await?;
    let told =
        |reason: &str| events.items.iter().any(|event| event.reason.as_deref() == Some(reason));
    assert!(
        told("StreamAsSpecified") && told("PodsReady"),
        "{:?}",
        events.items.iter().map(|event| &event.reason)
    );
    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    world.stop_operator().await
}
