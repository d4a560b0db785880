//! A stream that changes behind the operator's back: JetStream's advisories wake its WsGateway, and no other.

use anyhow::{Context as _, Result};
use async_nats::Subscriber;
use futures_util::{FutureExt as _, StreamExt as _};
use harness::{Nats, wait_until};
use serde_json::json;

use crate::world::{ODIN, SOON, World, options};

/// An operator that polls once an hour.
async fn slow(name: &str) -> Result<World> {
    let mut world = World::without_operator(name).await?;
    let mut options = options(&world.namespace);
    options.resync_seconds = 3600_u32.try_into()?;
    world.start_operator_with(options, world.client.clone()).await?;
    Ok(world)
}

/// Ready, so that it rests.
async fn ready(world: &World, name: &str) -> Result<()> {
    world.condition(name, "StreamReady", "True", "StreamAsSpecified").await?;
    world.run_pods(1, "127.0.0.1").await?;
    world.condition(name, "Ready", "True", "AsSpecified").await.map(drop)
}

/// Requests about streams, as a second listener at JetStream's API hears them.
async fn requests(world: &World) -> Result<Subscriber> {
    let client = world.nats.client().await?;
    let requests = client.subscribe("$JS.API.STREAM.INFO.*").await?;
    client.flush().await?;
    Ok(requests)
}

fn drain(requests: &mut Subscriber) -> Vec<String> {
    let mut subjects = Vec::new();
    while let Some(Some(message)) = requests.next().now_or_never() {
        subjects.push(message.subject.to_string());
    }
    subjects
}

#[tokio::test]
async fn a_change_by_hand_is_repaired_at_once_and_wakes_no_other_wsgateway() -> Result<()> {
    let world = slow("advisory").await?;
    world.create(&json!({})).await?;
    ready(&world, ODIN).await?;
    let mut requests = requests(&world).await?;
    let other = json!({
        "metadata": { "name": "thor" },
        "spec": {
            "stream": { "name": "THOR", "subjects": ["thor.>"] }, "replicas": 0,
            "channels": { "stripPrefix": "", "rules": null },
        },
    });
    world.create(&other).await?;
    // It is looked at, created, and looked at once more since it was created.
    let mut asked = 0;
    wait_until(SOON, "a second look", async || {
        asked += drain(&mut requests).iter().filter(|subject| subject.ends_with("THOR")).count();
        asked >= 2
    })
    .await?;
    world.condition("thor", "StreamReady", "True", "StreamAsSpecified").await?;

    let mut config = world.stream().await?.config;
    config.max_messages = 5;
    world.jetstream().await?.update_stream(&config).await?;

    world.stream_becomes("100000 messages", |info| info.config.max_messages == 100_000).await?;
    let asked = drain(&mut requests);
    assert!(asked.iter().all(|subject| !subject.ends_with("THOR")), "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn a_lost_stream_is_created_again_at_once_with_another_epoch() -> Result<()> {
    let world = slow("lost").await?;
    world.create(&json!({})).await?;
    ready(&world, ODIN).await?;
    let epoch = |info: &async_nats::jetstream::stream::Info| {
        info.config.metadata.get("wsgateway.dev/epoch").cloned()
    };
    let before = epoch(&world.stream().await?).context("an epoch")?;

    world.jetstream().await?.delete_stream("ODIN_TOKENS").await?;

    world
        .stream_becomes("a new stream", |info| epoch(info).is_some_and(|now| now != before))
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_stream_at_rest_is_not_asked_about_with_every_poll() -> Result<()> {
    let world = World::new("rest").await?;
    world.create(&json!({})).await?;
    ready(&world, ODIN).await?;
    let looks = async || world.counter("wsgateway_operator_reconciles_total").await;
    // Its own changes are heard, too: after them it looks once more.
    let start = looks().await?;
    wait_until(SOON, "two looks", async || looks().await.is_ok_and(|n| n >= start + 2.0)).await?;
    let (mut asked, start) = (requests(&world).await?, looks().await?);

    wait_until(SOON, "six looks", async || looks().await.is_ok_and(|n| n >= start + 6.0)).await?;

    let asked = drain(&mut asked);
    assert!(asked.len() <= 1, "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn where_advisories_are_refused_every_poll_asks() -> Result<()> {
    let mut world = World::without_operator("deaf").await?;
    let config = "accounts { A { jetstream: enabled, users: [{ user: a, password: a, \
                  permissions: { subscribe: { deny: [\"$JS.EVENT.>\"] } } }] } }\nno_auth_user: a";
    world.nats = Nats::start_with(config).await?;
    world.start_operator().await?;
    world.create(&json!({})).await?;
    ready(&world, ODIN).await?;

    let mut config = world.stream().await?.config;
    config.max_messages = 5;
    world.jetstream().await?.update_stream(&config).await?;

    world.stream_becomes("100000 messages", |info| info.config.max_messages == 100_000).await?;
    Ok(())
}

#[tokio::test]
async fn what_happens_while_nats_is_away_is_seen_when_it_is_back() -> Result<()> {
    let mut world = slow("away").await?;
    world.create(&json!({})).await?;
    ready(&world, ODIN).await?;
    world.nats.stop().await?;
    std::fs::remove_dir_all(world.nats.store())?;

    world.nats.restart().await?;

    world.stream_becomes("a new stream", |info| info.config.max_messages == 100_000).await?;
    Ok(())
}
