//! From creation to release, on any version of nats-server.

use anyhow::{Result, ensure};
use harness::Nats;
use serde_json::json;
use wsgateway_nats::{Adoption, EPOCH_KEY, Ending, OWNER_KEY, Plan};

use harness::keeper::{Keeper, NAME, api, config, desired, make, publish};

#[tokio::test]
async fn a_stream_is_created_changed_observed_released_adopted_and_deleted() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    let created = keeper.keep(&desired(), Adoption::Fail).await?;
    ensure!(matches!(created, Plan::Create(_)), "{created:?}");
    let before = keeper.settle(&desired(), Adoption::Fail).await?;
    publish(&client, 3).await?;

    let mut larger = desired();
    larger.max_messages = 2000;
    larger.subjects.push("thor.>".into());
    let after = keeper.settle(&larger, Adoption::Fail).await?;
    assert_eq!((after.messages, after.last_sequence), (3, 3));
    assert_eq!(after.epoch, before.epoch);
    assert_eq!(config(&client).await?["max_msgs"], 2000);

    assert_eq!(keeper.plan(&desired(), Adoption::Observe).await?, Plan::InSync);
    keeper.release().await?;
    let metadata = keeper.observed().await?.config.metadata();
    ensure!(!metadata.contains_key(OWNER_KEY), "{metadata:?}");
    assert_eq!(metadata[EPOCH_KEY], before.epoch, "its readers notice nothing");
    keeper.settle(&larger, Adoption::Adopt).await?;

    assert_eq!(keeper.streams.delete_if_owned(NAME, &keeper.owner).await?, Ending::Deleted);
    assert_eq!(keeper.streams.delete_if_owned(NAME, &keeper.owner).await?, Ending::NotFound);
    assert_eq!(keeper.streams.observe(NAME).await?, None);
    Ok(())
}

#[tokio::test]
async fn what_others_have_set_is_still_there_after_an_update() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    keeper.settle(&desired(), Adoption::Fail).await?;
    let mut edited = config(&client).await?;
    edited["description"] = json!("mine");
    edited["metadata"]["team"] = json!("trading");
    edited["allow_rollup_hdrs"] = json!(true);
    edited["max_msgs"] = json!(5);
    api(&client, &format!("STREAM.UPDATE.{NAME}"), &edited).await?;
    keeper.settle(&desired(), Adoption::Fail).await?;
    let now = config(&client).await?;
    assert_eq!(now["max_msgs"], 1000, "declared");
    assert_eq!(
        (&now["description"], &now["metadata"]["team"]),
        (&json!("mine"), &json!("trading"))
    );
    assert_eq!(now["allow_rollup_hdrs"], true);
    Ok(())
}

#[tokio::test]
async fn a_foreign_stream_is_observed_without_a_trace() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    let missing = keeper.refusal(&desired(), Adoption::Observe).await?;
    assert_eq!(missing.reason(), "StreamMissing");
    make(&client, &json!({})).await?;
    let before = config(&client).await?;
    assert_eq!(keeper.keep(&desired(), Adoption::Observe).await?, Plan::InSync);
    assert_eq!(keeper.streams.delete_if_owned(NAME, &keeper.owner).await?, Ending::NotOurs);
    assert_eq!(config(&client).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_name_that_is_no_name_reaches_no_server() -> Result<()> {
    let nats = Nats::start().await?;
    let keeper = Keeper::of(&nats).await?;
    for name in ["", "a b", "a.b", "a\r\nPUB x 0", "*", ">"] {
        let error = keeper.streams.observe(name).await.expect_err("refused");
        assert_eq!((error.reason(), error.retry()), ("StreamRefused", false), "{name:?}");
    }
    Ok(())
}
