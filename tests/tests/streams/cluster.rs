//! Streams with copies: a lost majority, and a placement.

use anyhow::{Result, ensure};
use harness::{NatsCluster, wait_until, wait_until_some};
use serde_json::json;
use wsgateway_config::StreamConfig;
use wsgateway_nats::{Adoption, Observed, Plan};

use harness::keeper::{Keeper, SOON, config, desired, make};

/// Three servers that have found each other.
async fn cluster() -> Result<(NatsCluster, async_nats::Client, Keeper)> {
    let cluster = NatsCluster::start(3).await?;
    let client = cluster.client().await?;
    let keeper = Keeper::with(client.clone());
    wait_until(SOON, "a cluster", async || keeper.keep(&copies(), Adoption::Adopt).await.is_ok())
        .await?;
    settled(&keeper, &copies(), Adoption::Adopt).await?;
    Ok((cluster, client, keeper))
}

/// Keeps the stream until there is nothing to do any more. A cluster that has just found itself may still elect a leader,
/// and then a request has no answer: the operator asks again, too.
async fn settled(keeper: &Keeper, desired: &StreamConfig, adoption: Adoption) -> Result<Observed> {
    let settle = async || keeper.settle(desired, adoption).await.ok();
    wait_until_some(SOON, "a stream with nothing to do", settle).await
}

fn copies() -> StreamConfig {
    StreamConfig { replicas: 3, ..desired() }
}

#[tokio::test]
async fn a_lost_majority_is_waited_for_and_the_stream_is_the_same_afterwards() -> Result<()> {
    let (mut cluster, _client, _) = cluster().await?;
    // A client of the one that stays.
    let keeper = Keeper::of(&cluster.nodes()[0]).await?;
    let before = settled(&keeper, &copies(), Adoption::Fail).await?;
    for node in &mut cluster.nodes()[1..] {
        node.kill9();
    }
    let mut edited = copies();
    edited.max_messages = 7;
    wait_until(SOON, "an answer that is none", async || {
        keeper.keep(&edited, Adoption::Fail).await.is_err()
    })
    .await?;
    let error = keeper.keep(&edited, Adoption::Fail).await.expect_err("no majority");
    ensure!(error.retry(), "{error}");
    ensure!(
        ["JetStreamNoAnswer", "NatsTemporaryFailure", "NatsUnreachable"].contains(&error.reason()),
        "{error}"
    );

    for node in &mut cluster.nodes()[1..] {
        node.restart().await?;
    }
    let after = settled(&keeper, &edited, Adoption::Fail).await?;
    assert_eq!(after.epoch, before.epoch);
    Ok(())
}

#[tokio::test]
async fn a_placement_is_kept_and_one_that_cannot_be_is_no_temporary_failure() -> Result<()> {
    let (_cluster, client, keeper) = cluster().await?;
    keeper.streams.delete_if_owned("ODIN", &keeper.owner).await?;
    make(&client, &json!({ "placement": { "cluster": "test" }, "num_replicas": 3 })).await?;
    settled(&keeper, &copies(), Adoption::Adopt).await?;
    assert_eq!(config(&client).await?["placement"]["cluster"], "test");

    let error = keeper.keep(&StreamConfig { replicas: 5, ..copies() }, Adoption::Adopt).await;
    let error = error.expect_err("three servers have no room for five copies");
    assert_eq!((error.reason(), error.retry()), ("ReplicasUnavailable", false), "{error}");
    assert_eq!(keeper.plan(&copies(), Adoption::Adopt).await?, Plan::Noop(Vec::new()));
    Ok(())
}
