//! The end of a WsGateway and of its stream.

use std::fmt::Debug;

use anyhow::Result;
use harness::wait_until;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;
use wsgateway_crds::WsGateway;

use crate::world::{ODIN, SOON, World};

#[tokio::test]
async fn a_retained_stream_stays_and_the_same_manifest_gets_it_back_without_a_word() -> Result<()> {
    let world = World::new("retain").await?;
    let created = world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    world.jetstream().await?.publish("odin.token.BTC.price", "1".into()).await?.await?;

    world.delete(ODIN).await?;

    world.gone::<WsGateway>(ODIN).await?;
    world.gone::<Deployment>("odin-gateway").await?;
    let released = world
        .stream_becomes("a released stream", |info| {
            !info.config.metadata.contains_key("wsgateway.dev/owner")
        })
        .await?;
    let mark = world.mark(ODIN, &created.uid().unwrap_or_default()).await?;
    let (place, _uid) = mark.rsplit_once('/').expect("a mark");
    assert_eq!(released.config.metadata["wsgateway.dev/released-by"], place);
    assert_eq!(released.state.messages, 1);

    let again = world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;
    let info = world.stream().await?;
    let mark = world.mark(ODIN, &again.uid().unwrap_or_default()).await?;
    assert_eq!(info.config.metadata["wsgateway.dev/owner"], mark);
    assert!(!info.config.metadata.contains_key("wsgateway.dev/released-by"));
    assert_eq!(info.state.messages, 1);
    Ok(())
}

/// Waits until an object of the WsGateway is there, and checks that it says so.
async fn owned<K>(world: &World, name: &str, uid: Option<&str>) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let object = world.object::<K>(name, |_| true).await?;
    let owner = &object.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str(), Some(owner.uid.as_str()), owner.controller),
        ("WsGateway", ODIN, uid, Some(true)),
        "{} {name}",
        K::kind(&())
    );
    Ok(())
}

#[tokio::test]
async fn every_object_belongs_to_the_wsgateway_and_goes_with_it() -> Result<()> {
    let world = World::new("owned").await?;
    let autoscaled = json!({ "spec": { "autoscaling": { "minReplicas": 1, "maxReplicas": 2 } } });
    let uid = world.create(&autoscaled).await?.uid();
    let uid = uid.as_deref();
    let [restart, live] = world.files(|_| true).await?.maps;
    owned::<ConfigMap>(&world, &restart, uid).await?;
    owned::<ConfigMap>(&world, &live, uid).await?;
    owned::<ServiceAccount>(&world, "odin-gateway", uid).await?;
    owned::<Service>(&world, "odin", uid).await?;
    owned::<Service>(&world, "odin-admin", uid).await?;
    owned::<PodDisruptionBudget>(&world, "odin-gateway", uid).await?;
    owned::<Deployment>(&world, "odin-gateway", uid).await?;
    owned::<HorizontalPodAutoscaler>(&world, "odin-gateway", uid).await?;
    world.pods(1).await?;

    world.delete(ODIN).await?;

    world.gone::<ConfigMap>(&restart).await?;
    world.gone::<ConfigMap>(&live).await?;
    world.gone::<ServiceAccount>("odin-gateway").await?;
    world.gone::<Service>("odin").await?;
    world.gone::<Service>("odin-admin").await?;
    world.gone::<PodDisruptionBudget>("odin-gateway").await?;
    world.gone::<Deployment>("odin-gateway").await?;
    world.gone::<HorizontalPodAutoscaler>("odin-gateway").await?;
    world.pods(0).await.map(drop)
}

#[tokio::test]
async fn a_stream_that_should_go_goes() -> Result<()> {
    let world = World::new("delete").await?;
    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    world.stream_ready().await?;

    world.delete(ODIN).await?;

    world.gone::<WsGateway>(ODIN).await?;
    assert!(world.stream().await.is_err());
    Ok(())
}

#[tokio::test]
async fn somebody_elses_stream_survives_a_wsgateway_that_would_delete_it() -> Result<()> {
    let world = World::new("survive").await?;
    let theirs = async_nats::jetstream::stream::Config {
        name: "ODIN_TOKENS".to_owned(),
        subjects: vec!["theirs".to_owned()],
        ..Default::default()
    };
    world.jetstream().await?.create_stream(theirs).await?;
    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    world.condition(ODIN, "StreamReady", "False", "StreamForeign").await?;

    world.delete(ODIN).await?;

    world.gone::<WsGateway>(ODIN).await?;
    assert_eq!(world.stream().await?.config.subjects, ["theirs"]);
    Ok(())
}

#[tokio::test]
async fn without_nats_deletion_waits_says_so_and_can_be_forced() -> Result<()> {
    let mut world = World::new("forced").await?;
    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    world.stream_ready().await?;
    world.nats.stop().await?;

    world.delete(ODIN).await?;

    let message = world.condition(ODIN, "StreamReady", "False", "DeletionWaitsForNats").await?;
    assert!(
        message.contains("kubectl annotate wsgw odin wsgateway.dev/force-delete=true"),
        "{message}"
    );
    world
        .edit(&json!({ "metadata": { "annotations": { "wsgateway.dev/force-delete": "true" } } }))
        .await?;
    world.gone::<WsGateway>(ODIN).await?;
    world.nats.restart().await?;
    assert!(world.stream().await.is_ok(), "nobody deleted it");
    Ok(())
}

#[tokio::test]
async fn without_nats_deletion_ends_when_patience_does() -> Result<()> {
    let mut world = World::without_operator("patience").await?;
    let mut options = crate::world::options(&world.namespace);
    options.deletion_patience_seconds = 1;
    world.start_operator_with(options, world.client.clone()).await?;
    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    world.stream_ready().await?;
    world.nats.stop().await?;

    world.delete(ODIN).await?;

    world.gone::<WsGateway>(ODIN).await
}

#[tokio::test]
async fn a_stopped_operator_leaves_everything_running() -> Result<()> {
    let mut world = World::new("stopped").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.object::<Deployment>("odin-gateway", |_| true).await?;

    world.stop_operator().await?;

    assert!(world.stream().await.is_ok());
    assert!(world.api::<Deployment>().get_opt("odin-gateway").await?.is_some());
    // And takes up where it left.
    world.edit(&json!({ "spec": { "stream": { "maxAge": "2m" } } })).await?;
    world.start_operator().await?;
    wait_until(SOON, "the new age", async || {
        world.stream().await.is_ok_and(|info| info.config.max_age.as_secs() == 120)
    })
    .await
}
