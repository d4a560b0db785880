//! The real gateway, run from the very file that the operator rendered, in the place of a pod.

use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use harness::wait_until;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::world::{ODIN, SOON, World, pod_address};

#[tokio::test(flavor = "multi_thread")]
async fn from_manifest_to_live_messages_and_a_status_that_counts_connections() -> Result<()> {
    let world = World::new("live").await?;
    world.create(&json!({ "spec": { "capacity": { "connectionsPerPod": 4 } } })).await?;
    let pod = pod_address(3);
    let mut config = world.config().await?;
    (config.listener.address, config.listener.port, config.admin.address) = (pod, 0, pod);
    let gateway = gateway::app::start(config, gateway::app::Options { pod: "odin-0".to_owned() })?;
    world.stream_ready().await?;
    world.run_pods(1, &pod.to_string()).await?;
    world.condition(ODIN, "Ready", "True", "AsSpecified").await?;

    let url = format!("ws://{}/ws", gateway.client_addr);
    let mut socket = None;
    wait_until(SOON, "a gateway that takes clients", async || {
        socket = tokio_tungstenite::connect_async(&url).await.ok();
        socket.is_some()
    })
    .await?;
    let (mut socket, _) = socket.context("connected")?;
    socket.send(Message::text(r#"{"type":"subscribe","id":1,"channels":["BTC.price"]}"#)).await?;
    let mut next = async |kind: &str| -> Result<Value> {
        loop {
            let message = tokio::time::timeout(SOON, socket.next()).await?.context("closed")??;
            let value: Value = serde_json::from_str(message.to_text()?)?;
            if value["type"] == kind {
                return Ok(value);
            }
        }
    };
    let hello = next("connection:established").await?;
    next("subscription_ack").await?;
    world
        .jetstream()
        .await?
        .publish("odin.token.BTC.price", r#"{"price":1}"#.into())
        .await?
        .await?;
    let message = next("message").await?;

    assert_eq!(
        (&message["channel"], &message["data"]),
        (&json!("BTC.price"), &json!({ "price": 1 }))
    );
    wait_until(SOON, "one connection of four in the status", async || {
        world.status(ODIN).await.is_some_and(|status| {
            status.connections == Some(1) && status.capacity_percent == Some(25)
        })
    })
    .await?;
    // The same on every pod and in the status: a client may compare.
    let epoch =
        world.status(ODIN).await.and_then(|status| status.stream).map(|stream| stream.epoch);
    assert_eq!(hello["epoch"].as_str().map(str::to_owned), epoch);
    drop(socket);
    wait_until(SOON, "no connection in the status", async || {
        world.status(ODIN).await.is_some_and(|status| status.connections == Some(0))
    })
    .await?;
    tokio::task::spawn_blocking(move || gateway.abort()).await?;
    Ok(())
}
