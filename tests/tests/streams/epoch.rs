//! The epoch through what happens to a stream and its server.

use anyhow::{Result, ensure};
use harness::{Nats, wait_until};
use wsgateway_nats::{Adoption, EPOCH_KEY, epoch_of_created};

use harness::keeper::{Keeper, NAME, SOON, desired, make, publish};

async fn restart(nats: &mut Nats, keeper: &Keeper) -> Result<()> {
    nats.restart().await?;
    wait_until(SOON, "the stream", async || keeper.observed().await.is_ok()).await
}

#[tokio::test]
async fn the_epoch_survives_a_restart_an_edit_and_another_restart() -> Result<()> {
    let mut nats = Nats::start().await?;
    let keeper = Keeper::of(&nats).await?;
    let before = keeper.settle(&desired(), Adoption::Fail).await?;
    restart(&mut nats, &keeper).await?;
    let mut edited = desired();
    edited.max_messages = 7;
    keeper.settle(&edited, Adoption::Fail).await?;
    restart(&mut nats, &keeper).await?;
    let after = keeper.settle(&edited, Adoption::Fail).await?;
    assert_eq!(after.epoch, before.epoch);
    assert_eq!(after.config.metadata()[EPOCH_KEY], before.epoch);
    Ok(())
}

#[tokio::test]
async fn an_adopted_stream_keeps_the_epoch_that_its_readers_know() -> Result<()> {
    let mut nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    let made = make(&client, &serde_json::json!({})).await?;
    let created = made["created"].as_str().unwrap_or_default();
    let known = epoch_of_created(async_nats::datetime::parse_rfc3339(created).expect("a time"));
    assert_eq!(keeper.observed().await?.epoch, known);
    assert_eq!(keeper.settle(&desired(), Adoption::Adopt).await?.epoch, known);
    restart(&mut nats, &keeper).await?;
    let mut edited = desired();
    edited.max_messages = 7;
    keeper.settle(&edited, Adoption::Adopt).await?;
    restart(&mut nats, &keeper).await?;
    assert_eq!(keeper.observed().await?.epoch, known);
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_deleted_and_created_again_has_another_epoch() -> Result<()> {
    let nats = Nats::start().await?;
    let keeper = Keeper::of(&nats).await?;
    let mut epochs = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let observed = keeper.settle(&desired(), Adoption::Fail).await?;
        ensure!(observed.epoch.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{observed:?}");
        epochs.insert(observed.epoch);
        keeper.streams.delete_if_owned(NAME, &keeper.owner).await?;
    }
    assert_eq!(epochs.len(), 3, "{epochs:?}");
    Ok(())
}

#[tokio::test]
async fn an_epoch_is_the_same_for_those_who_keep_a_stream_and_those_who_read_it() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    let observed = keeper.settle(&desired(), Adoption::Fail).await?;
    publish(&client, 1).await?;
    let stream = async_nats::jetstream::new(client).get_stream(NAME).await?;
    let info = stream.cached_info();
    assert_eq!(wsgateway_nats::epoch(&info.config.metadata, info.created), observed.epoch);
    Ok(())
}
