//! In steady state nothing is written, under traffic neither: counted by resource versions on the API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use harness::wait_until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt as _;
use serde_json::json;
use wsgateway_crds::WsGateway;

use crate::load::{connect, run};
use crate::world::{ODIN, SOON, World, pod_address};

/// Resource versions of all that the operator writes.
async fn versions(world: &World) -> Result<Vec<Option<String>>> {
    Ok(vec![
        world.api::<WsGateway>().get(ODIN).await?.resource_version(),
        world.api::<Service>().get("odin").await?.resource_version(),
        world.api::<Service>().get("odin-admin").await?.resource_version(),
        world.api::<ServiceAccount>().get("odin-gateway").await?.resource_version(),
        world.api::<PodDisruptionBudget>().get("odin-gateway").await?.resource_version(),
        world.api::<Deployment>().get("odin-gateway").await?.resource_version(),
        world.api::<ConfigMap>().get("odin-live").await?.resource_version(),
    ])
}

/// Most times that something may still be on its way: a pod that answers late on a busy machine is news, once.
const WINDOWS: usize = 6;

/// Whatever was under way settles, and then nothing is written in five reconciliations.
async fn rests(world: &World) -> Result<()> {
    world.more_reconciles(3.0).await?;
    let mut seen = Vec::new();
    for _ in 0..WINDOWS {
        let before = Box::pin(state(world)).await?;
        world.more_reconciles(5.0).await?;
        if Box::pin(state(world)).await? == before {
            return Ok(());
        }
        seen.push(before);
    }
    bail!("in each of {WINDOWS} windows of five reconciliations something was written: {seen:?}")
}

/// What is written, and how often.
async fn state(world: &World) -> Result<(Vec<Option<String>>, f64)> {
    let writes = world.counter("wsgateway_operator_objects_total").await?;
    Ok((Box::pin(versions(world)).await?, writes))
}

#[tokio::test]
async fn nothing_is_written_at_rest() -> Result<()> {
    let world = World::new("rest").await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;

    rests(&world).await
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_writes_nothing() -> Result<()> {
    let world = World::new("traffic").await?;
    world.create(&json!({ "spec": { "stream": { "maxMessages": 100 } } })).await?;
    world.stream_ready().await?;
    let pod = world.pods(1).await?.remove(0);
    let gateway = run(&world, &pod, pod_address(11)).await?;
    let client = connect(gateway.client_addr).await?;
    let jetstream = world.jetstream().await?;
    for _ in 0..200 {
        jetstream.publish("odin.token.BTC.price", "100".into()).await?.await?;
    }
    wait_until(SOON, "the connection and a full stream in the status", async || {
        world.status(ODIN).await.is_some_and(|status| {
            status.connections == Some(1)
                && status.stream.is_some_and(|stream| stream.messages == 100)
        })
    })
    .await?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let publisher = tokio::spawn(async move {
        let mut published = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            jetstream.publish("odin.token.BTC.price", "100".into()).await?.await?;
            published += 1;
        }
        Ok::<_, anyhow::Error>(published)
    });

    rests(&world).await?;

    stop.store(true, Ordering::Relaxed);
    assert!(publisher.await?? > 0);
    drop(client);
    tokio::task::spawn_blocking(move || gateway.abort()).await?;
    Ok(())
}

#[tokio::test]
async fn an_autoscaler_that_reports_all_the_time_causes_no_write_of_ours() -> Result<()> {
    let world = World::new("rest-hpa").await?;
    let bounds = json!({ "minReplicas": 1, "maxReplicas": 2 });
    world.create(&json!({ "spec": { "autoscaling": bounds } })).await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Autoscaling", "False", "NoMetric").await?;
    world.more_reconciles(3.0).await?;
    let writes = world.counter("wsgateway_operator_objects_total").await?;
    let autoscalers = world.api::<HorizontalPodAutoscaler>();
    let version = autoscalers.get("odin-gateway").await?.resource_version();

    // As its controller does with each metric.
    let status = json!({ "status": { "desiredReplicas": 1, "currentReplicas": 9 } });
    autoscalers
        .patch_status(
            "odin-gateway",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&status),
        )
        .await?;
    world.more_reconciles(3.0).await?;

    assert_ne!(autoscalers.get("odin-gateway").await?.resource_version(), version);
    assert_eq!(world.counter("wsgateway_operator_objects_total").await?, writes);
    Ok(())
}
