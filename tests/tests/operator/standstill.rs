//! WsGateways that are left as they are: paused, or with a specification that is refused.

use anyhow::Result;
use harness::wait_until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::DeleteParams;
use serde_json::json;

use crate::world::{ODIN, SOON, World};

fn replicas(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.replicas
}

#[tokio::test]
async fn while_it_is_paused_nothing_is_written_but_the_status() -> Result<()> {
    let world = World::new("paused").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;

    let change = json!({ "spec": { "paused": true, "replicas": 3, "stream": { "maxAge": "5m" } } });
    world.edit(&change).await?;
    world.condition(ODIN, "Paused", "True", "Paused").await?;
    world.condition(ODIN, "Ready", "True", "Paused").await?;
    world.api::<Service>().delete("odin", &DeleteParams::default()).await?;
    world.more_reconciles(3.0).await?;

    assert!(world.api::<Service>().get_opt("odin").await?.is_none());
    let deployment = world.object::<Deployment>("odin-gateway", |_| true).await?;
    assert_eq!(replicas(&deployment), Some(1));
    assert_eq!(world.stream().await?.config.max_age.as_secs(), 30);

    world.edit(&json!({ "spec": { "paused": false } })).await?;
    world.object::<Service>("odin", |_| true).await?;
    world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(3)).await?;
    world
        .stream_becomes("an age of 5 minutes", |info| info.config.max_age.as_secs() == 300)
        .await?;
    wait_until(SOON, "the end of the pause", async || {
        world.status(ODIN).await.is_some_and(|status| {
            status.conditions.iter().all(|condition| condition.type_ != "Paused")
        })
    })
    .await
}

#[tokio::test]
async fn a_wsgateway_that_is_created_paused_has_no_objects_and_can_be_deleted() -> Result<()> {
    let world = World::new("paused-new").await?;
    world.create(&json!({ "spec": { "paused": true } })).await?;

    world.condition(ODIN, "Ready", "False", "Paused").await?;
    assert!(world.api::<Deployment>().get_opt("odin-gateway").await?.is_none());
    assert!(world.stream().await.is_err());

    world.delete(ODIN).await?;
    world.gone::<wsgateway_crds::WsGateway>(ODIN).await
}

#[tokio::test]
async fn pods_of_a_specification_that_is_refused_go_on_and_can_be_scaled() -> Result<()> {
    let world = World::new("stricter").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    let before = world.object::<Deployment>("odin-gateway", |_| true).await?;
    let template =
        |deployment: &Deployment| deployment.spec.as_ref().map(|spec| spec.template.clone());

    // Only the operator sees that these overlap, as it is with a rule of a newer version.
    let subjects = json!(["odin.token.*.price", "odin.token.BTC.*"]);
    world.edit(&json!({ "spec": { "stream": { "subjects": subjects } } })).await?;
    world.condition(ODIN, "Ready", "True", "SpecInvalid").await?;
    let message = world.condition(ODIN, "Degraded", "True", "SpecInvalid").await?;
    assert!(message.contains("spec.stream.subjects[1]"), "{message}");
    world.edit(&json!({ "spec": { "replicas": 2 } })).await?;

    let after = world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(2)).await?;
    assert_eq!(template(&after), template(&before));
    world.run_pods(2, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;

    world.edit(&json!({ "spec": { "stream": { "subjects": ["odin.token.>"] } } })).await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    assert_eq!(replicas(&world.object("odin-gateway", |_| true).await?), Some(2));
    Ok(())
}

#[tokio::test]
async fn an_annotation_has_everything_applied_anew() -> Result<()> {
    let world = World::new("anew").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    world.more_reconciles(2.0).await?;
    let written = async || world.counter("wsgateway_operator_objects_total").await;
    let before = written().await?;

    let annotations = json!({ "wsgateway.dev/reconcile-at": "now" });
    world.edit(&json!({ "metadata": { "annotations": annotations } })).await?;

    wait_until(SOON, "six objects applied", async || {
        written().await.is_ok_and(|now| now >= before + 6.0)
    })
    .await
}
