//! What real gateways hold: they run in this process with the configuration of the ConfigMap, at the addresses that
//! their pods have.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use gateway::app::{self, Running};
use harness::wait_until;
use serde_json::json;
use wsgateway_client::{Client, ClientOptions};

use crate::world::{ODIN, SOON, World, pod_address};

/// Runs a gateway as its pod would.
pub(crate) async fn run(world: &World, pod: &str, address: IpAddr) -> Result<Running> {
    let mut config = world.config().await?;
    (config.admin.address, config.listener.address, config.listener.port) = (address, address, 0);
    let gateway = app::start(config, app::Options { pod: pod.to_owned() })?;
    wait_until(SOON, "a ready gateway", async || gateway.is_ready()).await?;
    world.run_pod(pod, &address.to_string()).await?;
    Ok(gateway)
}

pub(crate) async fn connect(address: SocketAddr) -> Result<Client> {
    let options = ClientOptions { protocol: Some("wsgateway.v1".to_owned()), ..Default::default() };
    Ok(tokio::task::spawn_blocking(move || Client::connect(address, &options)).await??)
}

/// Waits until the status tells this many connections and this share of the capacity.
async fn holds(world: &World, connections: Option<i64>, percent: Option<i32>) -> Result<()> {
    let what = format!("{connections:?} connections, {percent:?} %");
    wait_until(SOON, &what, async || {
        world.status(ODIN).await.is_some_and(|status| {
            (status.connections, status.capacity_percent) == (connections, percent)
        })
    })
    .await
}

#[tokio::test]
async fn the_status_follows_the_connections_of_the_gateways_that_answer() -> Result<()> {
    let world = World::new("load").await?;
    let change = json!({ "spec": { "replicas": 2, "capacity": { "connectionsPerPod": 10 } } });
    world.create(&change).await?;
    world.stream_ready().await?;
    let pods = world.pods(2).await?;
    let one = run(&world, &pods[0], pod_address(1)).await?;
    let other = run(&world, &pods[1], pod_address(2)).await?;
    world.condition(ODIN, "GatewayReady", "True", "PodsReady").await?;
    holds(&world, Some(0), Some(0)).await?;

    let mut clients = Vec::new();
    for gateway in [&one, &one, &one, &other] {
        clients.push(connect(gateway.client_addr).await?);
    }
    holds(&world, Some(4), Some(20)).await?;

    drop(clients.pop());
    holds(&world, Some(3), Some(15)).await?;
    other.abort();
    holds(&world, Some(3), Some(30)).await?;
    one.abort();
    holds(&world, None, None).await
}
