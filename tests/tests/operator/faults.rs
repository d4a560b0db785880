//! An API server that answers 409, 429, 500 and 504, loses requests and answers, and ends watches: the operator converges.

use std::time::Duration;

use anyhow::Result;
use harness::wait_until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;
use wsgateway_crds::WsGateway;

use crate::proxy::FaultProxy;
use crate::world::{ODIN, SOON, World, options};

/// A reconciliation goes on to the next object only after a request that went well, and is tried again every 4 to 8 s:
/// a minute of those was once too few.
const LUCK: Duration = Duration::from_secs(360);

fn replicas(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.replicas
}

/// A world whose operator has a bad connection to the API server.
async fn world(name: &str, seed: u64, percent: u32) -> Result<(World, FaultProxy)> {
    let mut world = World::without_operator(name).await?;
    world.patience = LUCK;
    let proxy = FaultProxy::start(world.client.clone(), seed, percent).await?;
    world.start_operator_with(options(&world.namespace), proxy.client()?).await?;
    Ok((world, proxy))
}

#[tokio::test(flavor = "multi_thread")]
async fn from_creation_to_deletion_while_a_quarter_of_all_requests_goes_wrong() -> Result<()> {
    let (mut world, proxy) = world("faulty", 7, 25).await?;

    world.create(&json!({ "spec": { "stream": { "deletionPolicy": "Delete" } } })).await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    for pods in [2, 3, 1] {
        world.edit(&json!({ "spec": { "replicas": pods } })).await?;
        world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(pods)).await?;
    }
    let before = world.object::<Service>("odin", |_| true).await?;
    world.api::<Service>().delete("odin", &DeleteParams::default()).await?;
    world.object::<Service>("odin", |service| service.uid() != before.uid()).await?;
    world.edit(&json!({ "spec": { "stream": { "maxAge": "4m" } } })).await?;
    world
        .stream_becomes("an age of 4 minutes", |info| info.config.max_age.as_secs() == 240)
        .await?;

    world.delete(ODIN).await?;
    world.gone::<WsGateway>(ODIN).await?;
    assert!(world.stream().await.is_err(), "the stream is still there");
    let (faults, watches) = proxy.injected();
    assert!(faults > 20 && watches > 5, "{faults} faults, {watches} watches cut");
    world.stop_operator().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_time_in_which_nothing_worked_all_is_caught_up_with_and_rest_is_rest() -> Result<()>
{
    let (mut world, proxy) = world("outage", 11, 0).await?;
    world.create(&json!({})).await?;
    world.stream_ready().await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;

    proxy.set_percent(100);
    let (begin, _) = proxy.injected();
    world.edit(&json!({ "spec": { "replicas": 2 } })).await?;
    world.api::<Service>().delete("odin", &DeleteParams::default()).await?;
    wait_until(SOON, "many failures", async || proxy.injected().0 >= begin + 20).await?;
    proxy.set_percent(0);

    world.object::<Deployment>("odin-gateway", |d| replicas(d) == Some(2)).await?;
    world.object::<Service>("odin", |_| true).await?;
    world.run_pods(2, "127.0.0.1").await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;
    world.more_reconciles(3.0).await?;
    let writes = world.counter("wsgateway_operator_objects_total").await?;
    world.more_reconciles(3.0).await?;
    assert_eq!(world.counter("wsgateway_operator_objects_total").await?, writes);
    world.stop_operator().await
}
