//! Streams of every kind that somebody else may have made: each is kept as it is but for what is declared, or refused with
//! the name of the field and what to change.

use anyhow::{Context, Result, ensure};
use harness::Nats;
use serde_json::{Value, json};
use wsgateway_config::{Compression, StreamConfig};
use wsgateway_nats::{Adoption, Plan};

use harness::keeper::{Keeper, NAME, api, config, desired, make, publish};

/// Adopts a stream with these settings; all of them are still there, and there is nothing more to do.
async fn adopted(declared: &StreamConfig, changes: Value) -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &changes).await?;
    publish(&client, 2).await?;
    let before = config(&client).await?;
    let observed = keeper.settle(declared, Adoption::Adopt).await.context(changes.to_string())?;
    assert_eq!(observed.messages, 2, "{changes}");
    let after = config(&client).await?;
    for field in changes.as_object().into_iter().flatten().map(|(field, _)| field) {
        assert_eq!(after[field], before[field], "{field}");
    }
    Ok(())
}

/// The refusal of a stream with these settings, which stays as it was, but can be observed if `observable`.
async fn refused(changes: Value, observable: bool) -> Result<(&'static str, String)> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &json!({ "name": "FAR", "subjects": ["far.>"] })).await?;
    make(&client, &changes).await?;
    let before = config(&client).await?;
    let refusal = keeper.refusal(&desired(), Adoption::Adopt).await.context(changes.to_string())?;
    let observed = keeper.keep(&desired(), Adoption::Observe).await?;
    ensure!(matches!(observed, Plan::Noop(_)) == observable, "{changes}: {observed:?}");
    assert_eq!(config(&client).await?, before, "untouched");
    Ok((refusal.reason(), refusal.to_string()))
}

#[tokio::test]
async fn discard_new_is_kept() -> Result<()> {
    adopted(&desired(), json!({ "discard": "new" })).await
}

#[tokio::test]
async fn discard_new_per_subject_is_kept_with_a_limit_per_subject_and_refused_without() -> Result<()>
{
    let settings =
        json!({ "discard": "new", "discard_new_per_subject": true, "max_msgs_per_subject": 5 });
    let declared = StreamConfig { max_messages_per_subject: 6, ..desired() };
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &settings).await?;
    keeper.settle(&declared, Adoption::Adopt).await?;
    let after = config(&client).await?;
    assert_eq!(
        (&after["discard_new_per_subject"], &after["discard"]),
        (&json!(true), &json!("new"))
    );

    let (reason, message) = refused(settings, true).await?;
    assert_eq!(reason, "StreamConflict");
    ensure!(message.contains("set stream.maxMessagesPerSubject"), "{message}");
    Ok(())
}

#[tokio::test]
async fn republishing_is_kept() -> Result<()> {
    adopted(&desired(), json!({ "republish": { "src": ">", "dest": "copy.>" } })).await
}

#[tokio::test]
async fn a_subject_transform_is_kept() -> Result<()> {
    adopted(&desired(), json!({ "subject_transform": { "src": "odin.>", "dest": "odin.new.>" } }))
        .await
}

#[tokio::test]
async fn compression_is_kept_where_it_is_declared_and_changed_where_it_is_not() -> Result<()> {
    let declared = StreamConfig { compression: Compression::S2, ..desired() };
    adopted(&declared, json!({ "compression": "s2" })).await?;
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &json!({ "compression": "s2" })).await?;
    keeper.settle(&desired(), Adoption::Adopt).await?;
    assert_eq!(config(&client).await?["compression"], "none");
    Ok(())
}

#[tokio::test]
async fn denied_deletions_and_purges_are_kept_and_the_stream_can_still_be_deleted() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &json!({ "deny_delete": true, "deny_purge": true })).await?;
    keeper.settle(&desired(), Adoption::Adopt).await?;
    let after = config(&client).await?;
    assert_eq!((&after["deny_delete"], &after["deny_purge"]), (&json!(true), &json!(true)));
    let ending = keeper.streams.delete_if_owned(NAME, &keeper.owner).await?;
    assert_eq!(ending, wsgateway_nats::Ending::Deleted);
    Ok(())
}

#[tokio::test]
async fn limits_for_consumers_are_kept() -> Result<()> {
    let limits = json!({ "inactive_threshold": 1_000_000_000, "max_ack_pending": 10 });
    adopted(&desired(), json!({ "consumer_limits": limits })).await
}

#[tokio::test]
async fn a_limit_of_consumers_is_kept_and_told() -> Result<()> {
    adopted(&desired(), json!({ "max_consumers": 1 })).await?;
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &json!({ "max_consumers": 1 })).await?;
    assert_eq!(keeper.observed().await?.config.max_consumers(), Some(1));
    Ok(())
}

#[tokio::test]
async fn sources_beside_subjects_are_kept() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &json!({ "name": "FAR", "subjects": ["far.>"] })).await?;
    make(&client, &json!({ "sources": [{ "name": "FAR" }] })).await?;
    let before = config(&client).await?;
    keeper.settle(&desired(), Adoption::Adopt).await?;
    assert_eq!(config(&client).await?["sources"], before["sources"]);
    Ok(())
}

#[tokio::test]
async fn sources_alone_are_refused_and_can_be_observed() -> Result<()> {
    let (reason, message) =
        refused(json!({ "subjects": [], "sources": [{ "name": "FAR" }] }), true).await?;
    assert_eq!(reason, "StreamFedByOthers");
    ensure!(message.contains("has sources, so") && message.contains("to Observe"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_mirror_is_refused_and_can_be_observed() -> Result<()> {
    let (reason, message) =
        refused(json!({ "subjects": [], "mirror": { "name": "FAR" } }), true).await?;
    assert_eq!(reason, "StreamFedByOthers");
    ensure!(message.contains("has mirror FAR, so") && message.contains("to Observe"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_sealed_stream_is_refused_and_can_be_observed() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &json!({})).await?;
    publish(&client, 1).await?;
    let mut sealed = config(&client).await?;
    sealed["sealed"] = json!(true);
    api(&client, &format!("STREAM.UPDATE.{NAME}"), &sealed).await?;
    let refusal = keeper.refusal(&desired(), Adoption::Adopt).await?;
    assert_eq!(refusal.reason(), "StreamSealed");
    ensure!(refusal.to_string().contains("to Observe"), "{refusal}");
    ensure!(matches!(keeper.keep(&desired(), Adoption::Observe).await?, Plan::Noop(_)));
    Ok(())
}

#[tokio::test]
async fn a_stream_of_ours_that_was_sealed_is_refused_by_name_and_released_is_an_answer_too()
-> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    keeper.settle(&desired(), Adoption::Fail).await?;
    let mut sealed = config(&client).await?;
    sealed["sealed"] = json!(true);
    api(&client, &format!("STREAM.UPDATE.{NAME}"), &sealed).await?;
    let refusal = keeper.refusal(&desired(), Adoption::Fail).await?;
    assert_eq!(refusal.reason(), "StreamSealed");
    // NATS changes nothing in it, so the claim stays; whoever waits for its release must be able to give up.
    match keeper.streams.release(NAME, &keeper.owner).await {
        Ok(ending) => assert_eq!(ending, wsgateway_nats::Ending::Released),
        Err(error) => ensure!(!error.retry(), "{error}"),
    }
    Ok(())
}

#[tokio::test]
async fn work_queues_are_refused_and_cannot_be_observed_either() -> Result<()> {
    let (reason, message) = refused(json!({ "retention": "workqueue" }), false).await?;
    assert_eq!(reason, "StreamImmutable");
    ensure!(message.contains("retention: Workqueue -> Limits"), "{message}");
    Ok(())
}

#[tokio::test]
async fn retention_by_interest_becomes_retention_by_limits_and_cannot_be_observed() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &json!({ "retention": "interest" })).await?;
    let refusal = keeper.refusal(&desired(), Adoption::Observe).await?;
    assert_eq!(refusal.reason(), "StreamReadOnce");
    keeper.settle(&desired(), Adoption::Adopt).await?;
    assert_eq!(config(&client).await?["retention"], "limits");
    Ok(())
}

#[tokio::test]
async fn another_storage_is_refused() -> Result<()> {
    let (reason, message) = refused(json!({ "storage": "memory" }), true).await?;
    assert_eq!(reason, "StreamImmutable");
    ensure!(message.contains("storage: Memory -> File"), "{message}");
    Ok(())
}

#[tokio::test]
async fn subjects_of_another_stream_are_a_refusal_that_is_not_tried_again() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    make(&client, &json!({ "name": "FAR", "subjects": ["odin.a"] })).await?;
    let error = keeper.keep(&desired(), Adoption::Fail).await.expect_err("refused");
    assert_eq!((error.reason(), error.retry()), ("SubjectsOverlap", false), "{error}");
    Ok(())
}

#[tokio::test]
async fn settings_that_nats_refuses_are_not_called_temporary() -> Result<()> {
    let nats = Nats::start().await?;
    let keeper = Keeper::of(&nats).await?;
    // nats-server answers this with status 500.
    let declared =
        StreamConfig { duplicate_window: wsgateway_config::Millis::from_secs(7200), ..desired() };
    let error = keeper.keep(&declared, Adoption::Fail).await.expect_err("refused");
    assert_eq!((error.reason(), error.retry()), ("StreamRefused", false), "{error}");
    ensure!(error.to_string().contains("change spec.stream"), "{error}");
    let declared = StreamConfig { replicas: 3, ..desired() };
    let error = keeper.keep(&declared, Adoption::Fail).await.expect_err("refused");
    assert_eq!((error.reason(), error.retry()), ("ReplicasUnavailable", false), "{error}");
    Ok(())
}
