//! Slow clients: bounded, told why, and nobody else's business.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use harness::wait_until;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use wsgateway_config::Millis;

use super::client::Client;
use super::rig::{Rig, SOON};

/// The outbox of every test here.
const OUTBOX: u32 = 256 << 10;

/// Connects with a receive buffer that fills quickly: a client that does not read is noticed soon.
async fn with_small_buffer(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    Ok(socket.connect(address).await?)
}

/// Numbered payloads of 16 KiB.
fn large(count: u64) -> impl Iterator<Item = (String, Vec<u8>)> {
    let filler = "x".repeat(16 << 10);
    (0..count)
        .map(move |n| ("a".to_owned(), json!({ "n": n, "x": filler }).to_string().into_bytes()))
}

fn numbers(messages: &[Value]) -> Vec<u64> {
    messages.iter().filter_map(|message| message["data"]["n"].as_u64()).collect()
}

/// Messages in flight to the clients that do read: always fewer bytes than their outboxes take.
const CHUNK: usize = 4;

#[tokio::test]
async fn a_client_that_never_reads_is_closed_with_4008_and_the_others_miss_nothing() -> Result<()> {
    const OTHERS: usize = 10;
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = OUTBOX;
        // One shard: the slow client and the others share a thread.
        config.capacity.shards = 1;
    })
    .await?;
    let mut slow = Client::connect_over(with_small_buffer(rig.client_addr).await?).await?;
    slow.subscribe(&["a"]).await?;
    let (heard, mut counts) = mpsc::unbounded_channel();
    for _ in 0..OTHERS {
        let mut other = rig.subscriber(&["a"]).await?;
        let heard = heard.clone();
        tokio::spawn(async move {
            for n in 0_u64.. {
                let message =
                    other.expect("message").await.map(|message| message["data"]["n"] == n);
                if heard.send(message).is_err() {
                    return;
                }
            }
        });
    }

    let messages: Vec<_> = large(300).collect();
    let (mut most, mut unread, mut reading) = (0, Some(slow), None);
    for chunk in messages.chunks(CHUNK) {
        rig.publish_all(chunk.to_vec()).await?;
        for _ in 0..chunk.len() * OTHERS {
            let in_order = counts.recv().await.context("every client ended")??;
            ensure!(in_order, "one of the others missed a message");
        }
        most = most.max(rig.metric("wsgateway_outbox_bytes").await?);
        // It reads again when it is closed already, within the time that a close frame is kept for it.
        if rig.stat("slowConsumers").await? == 1
            && let Some(mut slow) = unread.take()
        {
            reading = Some(tokio::spawn(async move { slow.until_closed().await }));
        }
    }
    assert_eq!(rig.stat("slowConsumers").await?, 1);
    assert!((1..=u64::from(OUTBOX)).contains(&most), "{most} bytes waited for one client");

    let (got, code) = reading.context("the slow client was not closed")?.await??;
    assert_eq!(code, 4008);
    assert_eq!(
        numbers(&got),
        (0..got.len() as u64).collect::<Vec<_>>(),
        "in order, from the first"
    );
    assert!(!got.is_empty() && got.len() < 300, "{} messages", got.len());
    wait_until(SOON, "an empty outbox", async || {
        rig.metric("wsgateway_outbox_bytes").await.is_ok_and(|bytes| bytes == 0)
            && rig.metric("wsgateway_outboxes").await.is_ok_and(|count| count == 0)
    })
    .await
}

#[tokio::test]
async fn a_client_that_pauses_within_its_bound_gets_everything_in_order() -> Result<()> {
    let rig =
        Rig::start_with(|config| config.capacity.outbox_bytes_per_connection = 8 << 20).await?;
    let mut slow = Client::connect_over(with_small_buffer(rig.client_addr).await?).await?;
    slow.subscribe(&["a", "end"]).await?;
    rig.publish_all(large(300)).await?;
    wait_until(SOON, "every message in the outbox", async || {
        rig.metric("wsgateway_deliveries_total").await.is_ok_and(|count| count == 300)
    })
    .await?;
    assert!(rig.metric("wsgateway_outbox_bytes").await? > 1 << 20, "the client was not slow");
    // An answer of its own waits behind what was due before.
    slow.send(&json!({ "type": "ping", "timestamp": 1 })).await?;
    wait_until(SOON, "the command", async || {
        rig.metric("wsgateway_commands_total").await.is_ok_and(|count| count == 2)
    })
    .await?;
    rig.publish("end", "1").await?;

    let mut got = Vec::new();
    for _ in 0..300 {
        got.push(slow.expect("message").await?);
    }
    assert_eq!(numbers(&got), (0..300).collect::<Vec<_>>());
    slow.expect("pong").await?;
    assert_eq!(slow.expect("message").await?["channel"], "end");
    Ok(())
}

#[tokio::test]
async fn a_slow_client_learns_why_it_was_closed_even_behind_a_frame_larger_than_its_outbox()
-> Result<()> {
    let rig =
        Rig::start_with(|config| config.capacity.outbox_bytes_per_connection = 64 << 10).await?;
    let mut slow = Client::connect_over(with_small_buffer(rig.client_addr).await?).await?;
    slow.subscribe(&["a"]).await?;
    let huge = format!("\"{}\"", "x".repeat(1 << 19));
    rig.publish("a", huge.clone()).await?;
    rig.publish_all(large(1)).await?;
    wait_until(SOON, "the slow client's end", async || {
        rig.stat("slowConsumers").await.is_ok_and(|count| count == 1)
    })
    .await?;
    let (got, code) = slow.until_closed().await?;
    assert_eq!((got.len(), code), (1, 4008));
    ensure!(got[0]["data"].as_str().is_some_and(|data| data.len() + 2 == huge.len()), "cut");
    Ok(())
}

#[tokio::test]
async fn a_burst_that_waits_for_a_whole_fleet_is_one_copy_and_closes_nobody() -> Result<()> {
    const CLIENTS: usize = 100;
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = OUTBOX;
        // Four outboxes: the burst below, counted for each client, would be twenty.
        config.capacity.outbox_bytes_total = 1 << 20;
        config.capacity.shards = 1;
    })
    .await?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect_over(with_small_buffer(rig.client_addr).await?).await?;
        client.subscribe(&["a"]).await?;
        clients.push(client);
    }
    rig.publish_all(large(8)).await?;
    wait_until(SOON, "every message with every client or in its outbox", async || {
        rig.metric("wsgateway_deliveries_total")
            .await
            .is_ok_and(|count| count == 8 * CLIENTS as u64)
    })
    .await?;
    // The buffers of the sockets hide the rest.
    let waiting = rig.metric("wsgateway_outbox_bytes").await?;
    assert!(waiting > 2 << 20, "{waiting} bytes wait: the clients were not slow");
    let memory = rig.metric("wsgateway_outbox_memory_bytes").await?;
    assert!(memory < 1 << 20, "{memory} bytes of memory");
    assert_eq!(rig.stat("slowConsumers").await?, 0);
    for client in &mut clients {
        let mut got = Vec::new();
        for _ in 0..8 {
            got.push(client.expect("message").await?);
        }
        assert_eq!(numbers(&got), (0..8).collect::<Vec<_>>());
    }
    wait_until(SOON, "no memory held", async || {
        rig.metric("wsgateway_outbox_memory_bytes").await.is_ok_and(|bytes| bytes == 0)
    })
    .await
}

#[tokio::test]
async fn when_the_memory_for_slow_clients_is_used_up_the_slowest_goes_not_the_next_who_asks()
-> Result<()> {
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = 4 << 20;
        config.capacity.outbox_bytes_total = 4 << 20;
        config.slow_consumer.grace = Millis(60_000);
        config.capacity.shards = 1;
    })
    .await?;
    let mut slow = Vec::new();
    // Each alone on its channel, so that nothing is shared.
    for channel in ["a", "b"] {
        let mut client = Client::connect_over(with_small_buffer(rig.client_addr).await?).await?;
        client.subscribe(&[channel]).await?;
        slow.push(client);
    }
    let on =
        |channel: &'static str, count| large(count).map(move |(_, data)| (channel.into(), data));
    // Within its own bound, and nearly all of the memory; then the other one asks for the rest.
    rig.publish_all(on("a", 240)).await?;
    rig.publish_all(on("b", 30)).await?;
    wait_until(SOON, "the end of the slowest", async || {
        rig.stat("slowConsumers").await.is_ok_and(|count| count == 1)
    })
    .await?;
    // It was the one with the most waiting; the other one has everything.
    let mut b = slow.pop().context("two clients")?;
    for n in 0..30 {
        assert_eq!(b.expect("message").await?["data"]["n"], n);
    }
    let (_, code) = slow.pop().context("two clients")?.until_closed().await?;
    assert_eq!(code, 4008);
    Ok(())
}
