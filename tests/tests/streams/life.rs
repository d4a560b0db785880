//! From creation to release, on any version of nats-server.

use anyhow::{Result, ensure};
use harness::{ApiProxy, Nats};
use serde_json::json;
use wsgateway_config::StreamConfig;
use wsgateway_nats::{
    Adoption, EPOCH_KEY, Ending, OWNER_KEY, Owner, Plan, RELEASED_BY_KEY, Streams,
};

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

    let Plan::Noop(differing) = keeper.plan(&desired(), Adoption::Observe).await? else {
        anyhow::bail!("an observed stream is not changed")
    };
    let differing: Vec<_> = differing.iter().map(|change| change.field).collect();
    assert_eq!(differing, ["subjects", "maxMessages"]);
    keeper.release().await?;
    let metadata = keeper.observed().await?.config.metadata();
    ensure!(!metadata.contains_key(OWNER_KEY), "{metadata:?}");
    assert_eq!(metadata[EPOCH_KEY], before.epoch, "its readers notice nothing");
    assert_eq!(metadata[RELEASED_BY_KEY], "prod/trading/odin");
    // The next object of this cluster, namespace and name gets it back without asking.
    keeper.settle(&larger, Adoption::Fail).await?;

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
    ensure!(matches!(keeper.keep(&desired(), Adoption::Observe).await?, Plan::Noop(_)));
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

#[tokio::test]
async fn a_twin_in_another_cluster_is_refused_and_the_next_object_in_this_one_is_not() -> Result<()>
{
    let nats = Nats::start().await?;
    let keeper = Keeper::of(&nats).await?;
    keeper.settle(&desired(), Adoption::Fail).await?;
    let as_owner = |cluster: &str, uid: &str| Keeper {
        streams: keeper.streams.clone(),
        owner: Owner::new(cluster, "trading", "odin", uid),
    };

    for adoption in [Adoption::Fail, Adoption::Adopt] {
        let refusal = as_owner("prod-2", "7-8-9").refusal(&desired(), adoption).await?;
        assert_eq!(refusal.reason(), "StreamOwnedByOther");
        ensure!(
            refusal.to_string().contains("take-over-from=prod/trading/odin/1-2-3"),
            "{refusal}"
        );
    }
    let next = as_owner("prod", "7-8-9");
    next.settle(&desired(), Adoption::Fail).await?;
    assert_eq!(keeper.streams.release(NAME, &keeper.owner).await?, Ending::NotOurs);
    assert_eq!(next.streams.release(NAME, &next.owner).await?, Ending::Released);
    Ok(())
}

#[tokio::test]
async fn two_who_want_a_stream_at_once_do_not_both_apply_their_limits() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &json!({})).await?;
    let small = StreamConfig { max_messages: 1, ..desired() };
    publish(&client, 3).await?;
    // A rival claims the stream right after us, before we look whether our claim stands.
    let proxy = ApiProxy::start(&nats, |request, body| {
        let mut rival = body.clone();
        rival["metadata"][OWNER_KEY] = json!("other/trading/odin/7");
        if request.starts_with("STREAM.UPDATE.") { vec![body, rival] } else { vec![body] }
    })
    .await?;
    let ours = Keeper {
        streams: Streams::new(nats.client().await?, Some(proxy.prefix())),
        owner: keeper.owner.clone(),
    };

    let error = ours.keep(&small, Adoption::Adopt).await.expect_err("a rival was quicker");

    ensure!(error.retry() && error.to_string().contains("claimed by other/"), "{error}");
    assert_eq!(proxy.count("STREAM.UPDATE."), 1, "the claim alone");
    let observed = keeper.observed().await?;
    assert_eq!((observed.messages, &config(&client).await?["max_msgs"]), (3, &json!(10)));
    let refusal = keeper.refusal(&small, Adoption::Adopt).await?;
    assert_eq!(refusal.reason(), "StreamOwnedByOther");
    Ok(())
}
