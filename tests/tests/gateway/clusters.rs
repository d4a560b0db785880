//! Clusters of NATS servers: servers that leave, and a stream without a majority.

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::{self, stream};
use harness::{NatsCluster, wait_until};
use serde_json::{Value, json};
use wsgateway_config::GatewayConfig;

use ::gateway::app::Running;

use super::client::Client;
use super::redis_rig::{metric, wait_for_state};
use super::rig::{SOON, config, ready, start, stream_config};

/// Three servers, a stream with a copy on each, and a gateway that knows the address of the first one alone.
struct Rig {
    gateway: Running,
    jetstream: jetstream::Context,
    cluster: NatsCluster,
}

impl Rig {
    async fn start(change: impl FnOnce(&mut GatewayConfig)) -> Result<Self> {
        let cluster = NatsCluster::start(3).await?;
        let jetstream = jetstream::new(cluster.client().await?);
        let copies = stream::Config { num_replicas: 3, ..stream_config() };
        wait_until(SOON, "a stream with three copies", async || {
            jetstream.create_stream(copies.clone()).await.is_ok()
        })
        .await?;
        let first = cluster.urls().first().context("no server")?.clone();
        let mut config = config(&first);
        change(&mut config);
        let gateway = start(config)?;
        ready(gateway.admin_addr).await?;
        Ok(Self { gateway, jetstream, cluster })
    }

    async fn client(&self) -> Result<Client> {
        Client::connect(self.gateway.client_addr).await
    }

    /// Stores so many numbers on channel `a`, each until it is acknowledged. One that the stream has taken without an
    /// answer is not stored twice.
    async fn publish(&self, numbers: std::ops::Range<u64>) -> Result<()> {
        for n in numbers {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", n.to_string());
            wait_until(SOON, "a stored message", async || {
                let headers = headers.clone();
                let payload = n.to_string().into();
                match self.jetstream.publish_with_headers("p.a", headers, payload).await {
                    Ok(ack) => ack.await.is_ok(),
                    Err(_) => false,
                }
            })
            .await?;
        }
        Ok(())
    }
}

/// The next messages must be these numbers, none missing and none twice.
async fn receive(client: &mut Client, numbers: std::ops::Range<u64>) -> Result<()> {
    for n in numbers {
        let message = client.expect("message").await?;
        ensure!(message["data"] == n, "{n} was due, got {message}");
    }
    Ok(())
}

async fn resume(client: &mut Client) -> Result<()> {
    let resume = json!({ "epoch": client.epoch(), "offset": 0 });
    client.send(&json!({ "type": "subscribe", "id": 1, "channels": ["a"], "resume": resume })).await
}

#[tokio::test]
async fn a_lame_duck_of_a_cluster_is_left_for_a_server_that_was_not_configured() -> Result<()> {
    let mut rig = Rig::start(|_| ()).await?;
    let mut client = rig.client().await?;
    client.subscribe(&["a"]).await?;
    rig.publish(0..3).await?;
    receive(&mut client, 0..3).await?;

    // It ends by itself while the messages go on.
    rig.cluster.nodes()[0].signal(harness::Signal::LameDuck)?;
    rig.publish(3..30).await?;
    receive(&mut client, 3..30).await?;
    wait_until(SOON, "the end of the server", async || !rig.cluster.nodes()[0].alive()).await?;
    rig.publish(30..33).await?;
    receive(&mut client, 30..33).await?;
    wait_for_state(rig.gateway.admin_addr, "live").await?;
    assert_eq!(metric(rig.gateway.admin_addr, "wsgateway_source_lost_total").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_discovered_server_that_has_left_keeps_nobody_from_the_others() -> Result<()> {
    let mut rig = Rig::start(|_| ()).await?;
    let mut client = rig.client().await?;
    client.subscribe(&["a"]).await?;
    rig.publish(0..3).await?;
    receive(&mut client, 0..3).await?;
    // First one that the gateway knows from the cluster alone, then the one that it reads from.
    for (round, leaver) in [(1, 1), (2, 2), (3, 1)] {
        rig.cluster.nodes()[leaver].kill9();
        rig.cluster.nodes()[0].restart().await?;
        let numbers = 3 * round..3 * round + 3;
        rig.publish(numbers.clone()).await?;
        receive(&mut client, numbers).await?;
        wait_for_state(rig.gateway.admin_addr, "live").await?;
        rig.cluster.nodes()[leaver].restart().await?;
    }
    assert_eq!(metric(rig.gateway.admin_addr, "wsgateway_source_lost_total").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_lookup_without_a_majority_ends_in_time_and_live_clients_stay() -> Result<()> {
    let mut rig = Rig::start(|config| config.history.messages = 1).await?;
    let mut live = rig.client().await?;
    live.subscribe(&["a"]).await?;
    rig.publish(0..20).await?;
    receive(&mut live, 0..20).await?;
    // What is looked up later is in nobody's memory.
    for node in &mut rig.cluster.nodes()[1..] {
        node.kill9();
    }
    let mut late = rig.client().await?;
    resume(&mut late).await?;
    // The server that is left may have led the stream, and answers until it knows that it leads nobody any more.
    let caught_up = async {
        let ack = late.expect("subscription_ack").await?;
        ensure!(ack["recovered"] == true, "{ack}");
        receive(&mut late, 0..20).await
    };
    if let Err(error) = caught_up.await {
        ensure!(format!("{error:#}").contains("closed with 1013"), "{error:#}");
    }
    live.send(&json!({ "type": "ping" })).await?;
    live.expect("pong").await?;

    for node in &mut rig.cluster.nodes()[1..] {
        node.restart().await?;
    }
    rig.publish(20..23).await?;
    receive(&mut live, 20..23).await?;
    wait_until(SOON, "a lookup that succeeds", async || {
        let attempt = async {
            let mut late = rig.client().await?;
            resume(&mut late).await?;
            let ack: Value = late.expect("subscription_ack").await?;
            ensure!(ack["recovered"] == true, "{ack}");
            receive(&mut late, 0..23).await
        };
        attempt.await.is_ok()
    })
    .await
}
