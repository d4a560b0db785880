//! Deletions: a message which says that a channel has no value any more, as clients of each protocol see it.

use ::gateway::MemoryPublisher;
use ::gateway::app::Running;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use wsgateway_config::{MemorySource, Millis, Rule, Source};
use wsgateway_proto::Deleted;

use super::client::Client;
use super::events::Events;
use super::http::get;
use super::odin;
use super::rig::{PREFIX, config, ready, start};

/// A gateway with a stream of its own. Messages that are due to a client within 50 ms share a batch.
async fn gateway() -> Result<(Running, MemoryPublisher)> {
    let mut config = config("nats://127.0.0.1:1");
    config.source = Source::Memory(MemorySource::default());
    let batch_window = Millis(50);
    let rule = Rule { r#match: "batched.>".to_owned(), batch_window, ..Rule::default() };
    config.channels.rules = vec![rule];
    let gateway = start(config)?;
    ready(gateway.admin_addr).await?;
    let publisher = gateway.memory().context("an in-process source")?;
    Ok((gateway, publisher))
}

/// A value, its deletion, and another value.
fn publish(publisher: &MemoryPublisher, channel: &str) -> Result<[u64; 3]> {
    let subject = format!("{PREFIX}{channel}");
    Ok([
        publisher.publish(&subject, "1".into())?,
        publisher.delete(&subject, Deleted::Purge)?,
        publisher.publish(&subject, "2".into())?,
    ])
}

/// Whether these are the messages that [`publish`] makes.
fn check(messages: &[Value], channel: &str, offsets: [u64; 3]) -> Result<()> {
    let [one, gone, two] = messages else { anyhow::bail!("not three messages: {messages:?}") };
    for (message, offset) in messages.iter().zip(offsets) {
        let of_channel = message["channel"] == channel && message["offset"] == offset;
        ensure!(of_channel && message["type"] == "message", "{message}");
    }
    ensure!(one["data"] == 1 && two["data"] == 2, "{messages:?}");
    ensure!(one.get("deleted").is_none() && two.get("deleted").is_none(), "{messages:?}");
    ensure!(gone["deleted"] == "Purge" && gone["prev"] == offsets[0], "{gone}");
    ensure!(gone.get("data").is_none() && gone["ts"].is_u64(), "{gone}");
    Ok(())
}

/// The next `count` messages, alone or in batches.
async fn messages(client: &mut Client, count: usize) -> Result<Vec<Value>> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let push = client.next().await?;
        match push["messages"].as_array() {
            Some(batch) => messages.extend_from_slice(batch),
            None if push["type"] == "message" => messages.push(push),
            None => ensure!(push["type"] == "live", "{push}"),
        }
    }
    Ok(messages)
}

#[tokio::test]
async fn a_deletion_comes_live_alone_and_in_batches_and_again_in_resumes_and_replays() -> Result<()>
{
    let (gateway, publisher) = gateway().await?;
    for channel in ["a", "batched.a"] {
        let mut client = Client::connect(gateway.client_addr).await?;
        let subscribe = json!({ "type": "subscribe", "channels": [channel], "batch": true });
        client.send(&subscribe).await?;
        let before = client.expect("subscription_ack").await?["offset"].clone();
        let offsets = publish(&publisher, channel)?;
        check(&messages(&mut client, 3).await?, channel, offsets)?;

        let replay = json!({ "type": "replay", "channels": [channel], "from": offsets[0] });
        client.send(&replay).await?;
        check(&messages(&mut client, 3).await?, channel, offsets)?;
        client.expect("replay_complete").await?;

        let resume = json!({ "epoch": client.epoch(), "offset": before });
        let mut other = Client::connect(gateway.client_addr).await?;
        let command = json!({ "type": "subscribe", "channels": [channel], "resume": resume });
        other.send(&command).await?;
        assert_eq!(other.expect("subscription_ack").await?["recovered"], true);
        check(&messages(&mut other, 3).await?, channel, offsets)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_snapshot_has_no_value_of_a_deleted_channel() -> Result<()> {
    let (gateway, publisher) = gateway().await?;
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["a", "b"]).await?;
    publisher.publish("p.a", "1".into())?;
    publisher.publish("p.b", "2".into())?;
    publisher.delete("p.a", Deleted::KvDelete)?;
    messages(&mut client, 3).await?;
    for channels in [json!(["a", "b"]), json!([">"])] {
        let mut other = Client::connect(gateway.client_addr).await?;
        let command = json!({ "type": "subscribe", "channels": channels, "snapshot": true });
        other.send(&command).await?;
        other.expect("subscription_ack").await?;
        let value = other.expect("message").await?;
        assert_eq!((&value["channel"], &value["snapshot"]), (&json!("b"), &json!(true)));
        assert_eq!(other.next().await?["type"], "live");
    }
    Ok(())
}

#[tokio::test]
async fn an_odin_client_gets_a_type_of_its_own_that_takes_a_number() -> Result<()> {
    let (gateway, publisher) = gateway().await?;
    let mut client = odin::subscriber(gateway.client_addr, &["a"]).await?;
    let offsets = publish(&publisher, "a")?;
    let live = odin::messages(&mut client, 3).await?;
    assert_eq!(odin::seqs(&live), [1, 2, 3]);
    let types: Vec<_> = live.iter().map(|message| &message["type"]).collect();
    assert_eq!(types, ["price:update", "channel:deleted", "price:update"]);
    assert_eq!((&live[1]["deleted"], &live[1]["offset"]), (&json!("Purge"), &json!(offsets[1])));
    assert!(live[1].get("data").is_none());
    client.send(&json!({ "type": "replay", "from": 1, "to": 3 })).await?;
    assert_eq!(odin::messages(&mut client, 3).await?, live);
    Ok(())
}

#[tokio::test]
async fn a_symbols_client_gets_trades_only() -> Result<()> {
    let (gateway, publisher) = gateway().await?;
    let stream = TcpStream::connect(gateway.client_addr).await?;
    let mut client = Client::open(stream, "/ws", Some("symbols.v1")).await?;
    client.send(&json!({ "action": "subscribe", "symbols": ["AAPL"] })).await?;
    client.expect("success").await?;
    publish(&publisher, "AAPL.trade")?;
    assert_eq!(client.expect("trade").await?["data"], 1);
    assert_eq!(client.expect("trade").await?["data"], 2);
    Ok(())
}

#[tokio::test]
async fn event_streams_and_polls_bring_deletions() -> Result<()> {
    let (gateway, publisher) = gateway().await?;
    let address = gateway.client_addr;
    let begin = get(address, "/poll?channels=a").await?.json()?;
    let mut events = Events::open_at(address, "channels=a", "").await?;
    events.expect("connection:established").await?;
    events.expect("subscription_ack").await?;
    let offsets = publish(&publisher, "a")?;
    let mut streamed = Vec::new();
    for offset in offsets {
        let event = events.expect("").await?;
        assert!(event.id.ends_with(&format!(":{offset}")), "{event:?}");
        streamed.push(event.json()?);
    }
    check(&streamed, "a", offsets)?;
    let cursor = begin["cursor"].as_str().context("no cursor")?;
    let polled = get(address, &format!("/poll?channels=a&cursor={cursor}&wait=0")).await?.json()?;
    assert_eq!(polled["messages"], json!(streamed));
    Ok(())
}
