//! What real gateways hold: they run in this process with the configuration of the ConfigMap, at the addresses that
//! their pods have.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use gateway::app::{self, Running};
use harness::{wait_until, wait_until_some};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use wsgateway_client::swarm::subscribe;
use wsgateway_client::{Client, ClientOptions};
use wsgateway_config::GatewayConfig;

use crate::world::{ODIN, SOON, World};

/// A loopback address that no other run of the suite uses: the admin port is the same for all gateways.
fn address(number: u8) -> IpAddr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high.max(1), low, number).into()
}

/// Runs a gateway as its pod would.
async fn run(world: &World, pod: &str, address: IpAddr) -> Result<Running> {
    let map = world.object::<ConfigMap>("odin-config", |_| true).await?;
    let mut config = GatewayConfig::parse(&map.data.context("no data")?["gateway.yaml"])?;
    (config.admin.address, config.listener.address, config.listener.port) = (address, address, 0);
    let gateway = app::start(config, app::Options { pod: pod.to_owned() })?;
    wait_until(SOON, "a ready gateway", async || gateway.is_ready()).await?;
    world.run_pod(pod, &address.to_string()).await?;
    Ok(gateway)
}

async fn connect(address: SocketAddr) -> Result<Client> {
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
    let one = run(&world, &pods[0], address(1)).await?;
    let other = run(&world, &pods[1], address(2)).await?;
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

#[tokio::test]
async fn a_price_comes_through_stream_and_gateway_made_from_one_manifest() -> Result<()> {
    let world = World::new("price").await?;
    // Without an age, so that the message is still there when the status is looked at.
    world.create(&json!({ "spec": { "stream": { "maxAge": "0" } } })).await?;
    world.stream_ready().await?;
    let pods = world.pods(1).await?;
    let gateway = run(&world, &pods[0], address(3)).await?;
    let mut client = connect(gateway.client_addr).await?;
    let subscribed = tokio::task::spawn_blocking(move || -> Result<Client> {
        client.send_text(&subscribe(&["BTC.price"]))?;
        client.next_of_type("subscription_ack", SOON)?;
        Ok(client)
    });
    let mut client = subscribed.await??;

    let jetstream = world.jetstream().await?;
    let stored = jetstream.publish("odin.token.BTC.price", "{\"price\":1}".into()).await?.await?;

    let message =
        tokio::task::spawn_blocking(move || client.next_of_type("message", SOON)).await??;
    assert_eq!(message["channel"], "BTC.price");
    assert_eq!(message["data"], json!({ "price": 1 }));
    let stream = wait_until_some(SOON, "the message in the status", async || {
        world.status(ODIN).await?.stream.filter(|stream| stream.last_sequence > 0)
    })
    .await?;
    assert_eq!(u64::try_from(stream.last_sequence)?, stored.sequence);
    assert_eq!((stream.messages, stream.consumers), (1, 1));
    Ok(())
}
