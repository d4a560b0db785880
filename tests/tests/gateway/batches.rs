//! Messages that leave together: `batchWindow`, and batch frames for clients that ask for them.

use anyhow::{Context, Result, ensure};
use harness::wait_until;
use serde_json::{Value, json};
use wsgateway_config::{Millis, Rule};

use super::client::{Client, essence};
use super::rig::{Rig, SOON};

const COUNT: u64 = 2_000;

fn windowed(pattern: &str, ms: u64) -> Rule {
    Rule { r#match: pattern.to_owned(), batch_window: Millis(ms), ..Rule::default() }
}

async fn batching(rig: &Rig, channels: &[&str]) -> Result<Client> {
    let mut client = rig.client().await?;
    client.send(&json!({ "type": "subscribe", "channels": channels, "batch": true })).await?;
    client.expect("subscription_ack").await?;
    Ok(client)
}

/// Messages up to the one on `end`, out of batches or not, and how many batches there were.
async fn unpacked(client: &mut Client) -> Result<(Vec<Value>, usize)> {
    let (mut messages, mut batches) = (Vec::new(), 0);
    loop {
        let push = client.next().await?;
        match push["type"].as_str() {
            Some("message") => messages.push(push),
            Some("batch") => {
                let batch = push["messages"].as_array().context("no messages")?;
                ensure!(batch.len() > 1, "a batch of one: {push}");
                batches += 1;
                messages.extend(batch.iter().cloned());
            }
            _ => anyhow::bail!("{push}"),
        }
        if messages.last().is_some_and(|last| last["channel"] == "end") {
            return Ok((messages, batches));
        }
    }
}

fn numbered() -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..COUNT)
        .map(|n| (format!("T{}.price", n % 7), json!({ "n": n }).to_string().into_bytes()))
        .chain([("end".to_owned(), b"1".to_vec())])
}

#[tokio::test]
async fn a_batch_holds_the_very_messages_that_others_get_one_by_one() -> Result<()> {
    let rig = Rig::start().await?;
    let mut plain = rig.subscriber(&[">"]).await?;
    let mut batching = batching(&rig, &[">"]).await?;
    rig.publish_all(numbered()).await?;
    let (messages, batches) = unpacked(&mut batching).await?;
    assert!(batches > 0, "{COUNT} messages at full speed and no batch");
    let (others, none) = unpacked(&mut plain).await?;
    assert_eq!(none, 0, "a client that did not ask gets no batch");
    let plain: Vec<_> = others.iter().map(essence).collect();
    assert_eq!(messages.iter().map(essence).collect::<Vec<_>>(), plain);
    assert_eq!(plain.len() as u64, COUNT + 1);
    // What a shard counts is published when its turn ends.
    wait_until(SOON, "the tally", async || {
        let frames = rig.metric("wsgateway_batch_frames_total").await;
        let deliveries = rig.metric("wsgateway_deliveries_total").await;
        frames.is_ok_and(|count| count == batches as u64)
            && deliveries.is_ok_and(|count| count == 2 * (COUNT + 1))
    })
    .await
}

#[tokio::test]
async fn asking_for_no_batches_any_more_ends_them() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = batching(&rig, &[">"]).await?;
    client.send(&json!({ "type": "subscribe", "channels": [], "batch": false })).await?;
    client.expect("subscription_ack").await?;
    rig.publish_all(numbered()).await?;
    assert_eq!(unpacked(&mut client).await?.1, 0);
    client.send(&json!({ "type": "subscribe", "channels": [], "batch": 1 })).await?;
    assert_eq!(client.expect("error").await?["code"], "invalid_command");
    Ok(())
}

#[tokio::test]
async fn messages_with_a_window_leave_together_in_fewer_writes() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.channels.rules = vec![windowed(">", 1_000)];
        config.capacity.shards = 1;
    })
    .await?;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(rig.subscriber(&[">"]).await?);
    }
    // Many published one after the other, each stored before the next: without the window, a write each.
    for n in 0..100 {
        rig.publish("a", n.to_string()).await?;
    }
    rig.publish("end", "1").await?;
    for client in &mut clients {
        let numbers: Vec<_> = client.messages_until("end").await?;
        assert_eq!(numbers.len(), 100);
        assert!(numbers.iter().enumerate().all(|(n, message)| message["data"] == n));
    }
    let deliveries = 1_010;
    wait_until(SOON, "the tally", async || {
        rig.metric("wsgateway_deliveries_total").await.is_ok_and(|count| count == deliveries)
    })
    .await?;
    let writes = rig.metric("wsgateway_delivery_writes_total").await?;
    assert!(writes * 2 < deliveries, "{writes} writes for {deliveries} deliveries");
    Ok(())
}

#[tokio::test]
async fn a_message_without_a_window_takes_those_before_it_along_in_order() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.channels.rules = vec![windowed("slow.*", 1_000)];
        config.command_rate.burst = 10_000;
    })
    .await?;
    let mut both = rig.subscriber(&["slow.*", "fast"]).await?;
    let mut only_slow = rig.subscriber(&["slow.*"]).await?;
    let questions =
        [json!({ "type": "subscribe", "channels": [] }), json!({ "type": "ping", "timestamp": 1 })];
    for question in questions.iter().cycle().take(20) {
        let slow = rig.publish("slow.a", "1").await?;
        let fast = rig.publish("fast", "2").await?;
        assert_eq!(both.expect("message").await?["offset"], slow);
        assert_eq!(both.expect("message").await?["offset"], fast);
        // An answer comes behind what is on hold, and its offset says so.
        let held = rig.publish("slow.b", "3").await?;
        let mut message = None;
        loop {
            both.send(question).await?;
            let mut answer = both.next().await?;
            if answer["type"] == "message" {
                message = Some(std::mem::replace(&mut answer, both.next().await?));
            }
            let reached = answer["offset"].as_u64() >= Some(held);
            assert_eq!(reached, message.is_some(), "{answer} behind {message:?}");
            if reached {
                break;
            }
        }
        assert_eq!(message.context("nothing came")?["offset"], held);
        assert_eq!(only_slow.expect("message").await?["offset"], slow);
        assert_eq!(only_slow.expect("message").await?["offset"], held);
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_that_a_slow_client_takes_in_pieces_arrives_whole_and_in_order() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = 64 << 20;
        // Many leave together, so the first write is a batch that the socket takes in part.
        config.channels.rules = vec![windowed(">", 1_000)];
    })
    .await?;
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let mut slow = Client::connect_over(socket.connect(rig.client_addr).await?).await?;
    slow.send(&json!({ "type": "subscribe", "channels": [">"], "batch": true })).await?;
    slow.expect("subscription_ack").await?;
    let padding = "x".repeat(1_500);
    let padded = (0..COUNT).map(|n| {
        (format!("T{}.price", n % 7), json!({ "n": n, "x": padding }).to_string().into_bytes())
    });
    rig.publish_all(padded.chain([("end".to_owned(), b"1".to_vec())])).await?;
    wait_until(SOON, "everything to be written or to wait", async || {
        let deliveries = rig.metric("wsgateway_deliveries_total").await;
        deliveries.is_ok_and(|count| count == COUNT + 1)
    })
    .await?;
    assert!(rig.metric("wsgateway_outbox_bytes").await? > 1 << 20, "the client was not slow");
    let (messages, batches) = unpacked(&mut slow).await?;
    assert!(batches > 0, "no batch");
    let offsets: Vec<_> = messages.iter().map(|message| essence(message).0).collect();
    assert_eq!(offsets, (1..=COUNT + 1).collect::<Vec<_>>());
    Ok(())
}
