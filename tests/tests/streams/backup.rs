//! A stream that is restored from a backup, by JetStream's own API and by a copy of its folder.

use anyhow::{Context, Result, ensure};
use async_nats::Client;
use futures_util::StreamExt as _;
use harness::{Nats, Scratch, wait_until};
use serde_json::{Value, json};
use wsgateway_nats::Adoption;

use harness::keeper::{Keeper, NAME, SOON, api, desired, publish};

/// What `nats stream backup` keeps.
struct Backup {
    answer: Value,
    chunks: Vec<Vec<u8>>,
}

async fn backup(client: &Client) -> Result<Backup> {
    let inbox = client.new_inbox();
    let mut deliveries = client.subscribe(inbox.clone()).await?;
    let body = json!({ "deliver_subject": inbox, "no_consumers": true });
    let answer = api(client, &format!("STREAM.SNAPSHOT.{NAME}"), &body).await?;
    let mut chunks = Vec::new();
    loop {
        let chunk = tokio::time::timeout(SOON, deliveries.next()).await?.context("cut off")?;
        if chunk.payload.is_empty() {
            return Ok(Backup { answer, chunks });
        }
        chunks.push(chunk.payload.to_vec());
        // The server waits for its window.
        if let Some(reply) = chunk.reply {
            client.publish(reply, Vec::new().into()).await?;
        }
    }
}

async fn restore(client: &Client, backup: &Backup) -> Result<()> {
    let body = json!({ "config": backup.answer["config"], "state": backup.answer["state"] });
    let begun = api(client, &format!("STREAM.RESTORE.{NAME}"), &body).await?;
    let subject = begun["deliver_subject"].as_str().context("no subject to send to")?.to_owned();
    for chunk in &backup.chunks {
        client.request(subject.clone(), chunk.clone().into()).await?;
    }
    let end = client.request(subject, Vec::new().into()).await?;
    let end: Value = serde_json::from_slice(&end.payload)?;
    ensure!(end.get("error").is_none(), "{end}");
    Ok(())
}

#[tokio::test]
async fn a_restored_backup_is_the_same_stream_with_the_same_epoch() -> Result<()> {
    let nats = Nats::start().await?;
    let (client, keeper) = (nats.client().await?, Keeper::of(&nats).await?);
    let before = keeper.settle(&desired(), Adoption::Fail).await?;
    publish(&client, 5).await?;
    let kept = backup(&client).await?;
    keeper.streams.delete_if_owned(NAME, &keeper.owner).await?;
    restore(&client, &kept).await?;
    let after = keeper.settle(&desired(), Adoption::Fail).await?;
    assert_eq!((after.epoch, after.last_sequence), (before.epoch, 5));
    Ok(())
}

#[tokio::test]
async fn a_backup_on_another_server_is_the_same_stream_with_the_same_epoch() -> Result<()> {
    let (here, there) = (Nats::start().await?, Nats::start().await?);
    let keeper = Keeper::of(&here).await?;
    let before = keeper.settle(&desired(), Adoption::Fail).await?;
    publish(&here.client().await?, 5).await?;
    restore(&there.client().await?, &backup(&here.client().await?).await?).await?;
    let after = Keeper::of(&there).await?.settle(&desired(), Adoption::Fail).await?;
    assert_eq!((after.epoch, after.last_sequence), (before.epoch, 5));
    Ok(())
}

#[tokio::test]
async fn a_folder_that_is_copied_back_is_the_same_stream_with_the_same_epoch() -> Result<()> {
    let mut nats = Nats::start().await?;
    let keeper = Keeper::of(&nats).await?;
    let before = keeper.settle(&desired(), Adoption::Fail).await?;
    publish(&nats.client().await?, 5).await?;
    nats.stop().await?;
    let kept = Scratch::new("nats-copy")?;
    harness::copy_folder(&nats.store(), &kept.join("store"))?;
    nats.restart().await?;
    wait_until(SOON, "the stream", async || keeper.observed().await.is_ok()).await?;
    publish(&nats.client().await?, 5).await?;
    nats.stop().await?;
    std::fs::remove_dir_all(nats.store())?;
    harness::copy_folder(&kept.join("store"), &nats.store())?;
    nats.restart().await?;
    wait_until(SOON, "the stream", async || keeper.observed().await.is_ok()).await?;
    let after = keeper.settle(&desired(), Adoption::Fail).await?;
    assert_eq!((after.epoch, after.last_sequence), (before.epoch, 5));
    Ok(())
}
