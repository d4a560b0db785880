//! Resume: a client's cursor is valid on every gateway of a stream.

use std::collections::HashMap;

use ::gateway::app::Running;
use anyhow::{Result, ensure};
use async_nats::jetstream::{self, stream};
use harness::{Nats, wait_until};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::{Client, essence};
use super::rig::{Rig, SOON, config, nats_with_stream, publish_all, ready, start, stream_config};

pub(super) const END: &str = "end";

/// Asks to go on behind an offset; returns the acknowledgement.
pub(super) async fn resume(client: &mut Client, channels: &[&str], offset: u64) -> Result<Value> {
    let resume = json!({ "epoch": client.epoch(), "offset": offset });
    let command = json!({ "type": "subscribe", "id": 7, "channels": channels, "resume": resume });
    client.send(&command).await?;
    client.expect("subscription_ack").await
}

pub(super) fn numbered(count: u64) -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..count).map(|n| (format!("T{}.price", n % 7), json!({ "n": n }).to_string().into_bytes()))
}

pub(super) fn offsets(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| essence(message).0).collect()
}

/// Waits until the gateway has read the stream up to here.
pub(super) async fn read_up_to(rig: &Rig, offset: u64) -> Result<()> {
    wait_until(SOON, "the gateway to read the stream", async || {
        rig.metric("wsgateway_source_last_sequence").await.is_ok_and(|last| last >= offset)
    })
    .await
}

/// A second gateway on the same stream.
pub(super) async fn second(rig: &Rig) -> Result<Running> {
    let gateway = start(config(&rig.nats.url()))?;
    ready(gateway.admin_addr).await?;
    Ok(gateway)
}

#[tokio::test]
async fn on_another_gateway_a_client_goes_on_where_it_was() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["T1.*", "T2.price", END]).await?;
    rig.publish_all(numbered(100)).await?;
    let first = client.expect("message").await?;
    let cursor = essence(&first).0;
    drop(client);
    rig.publish_all(numbered(100)).await?;
    let other = second(&rig).await?;
    let mut client = Client::connect(other.client_addr).await?;
    let ack = resume(&mut client, &["T1.*", "T2.price", END], cursor).await?;
    assert_eq!(
        (&ack["recovered"], &ack["offset"], &ack["count"]),
        (&json!(true), &json!(cursor), &json!(3))
    );
    rig.publish_all(numbered(70)).await?;
    rig.publish(END, "0").await?;
    let got = offsets(&client.messages_until(END).await?);
    let of = |first: u64, count: u64| {
        (0..count).filter(|n| n % 7 == 1 || n % 7 == 2).map(move |n| first + n)
    };
    let want: Vec<u64> = of(1, 100)
        .chain(of(101, 100))
        .chain(of(201, 70))
        .filter(|offset| *offset > cursor)
        .collect();
    assert_eq!(got, want);
    Ok(())
}

#[tokio::test]
async fn resuming_again_and_again_while_the_stream_runs_gives_every_message_once() -> Result<()> {
    let rig = Rig::start().await?;
    let other = second(&rig).await?;
    let addresses = [rig.client_addr, other.client_addr];
    let jetstream = rig.jetstream.clone();
    let publisher = tokio::spawn(async move {
        publish_all(&jetstream, numbered(4_000)).await?;
        publish_all(&jetstream, [(END.to_owned(), b"0".to_vec())]).await
    });
    let mut readers = JoinSet::new();
    for number in 0..20 {
        readers.spawn(async move {
            let channels: &[&str] =
                if number % 2 == 0 { &[">"] } else { &["T3.price", "T4.*", END] };
            let (mut cursor, mut got, mut turn) = (0, Vec::new(), number);
            loop {
                let mut client = Client::connect(addresses[turn % 2]).await?;
                turn += 1;
                let ack = resume(&mut client, channels, cursor).await?;
                ensure!(ack["recovered"] == true && ack["offset"] == cursor, "{ack}");
                // A bit more each time, or the start of many would take for ever.
                for _ in 0..20 + 30 * turn {
                    let message = client.expect("message").await?;
                    if message["channel"] == END {
                        return anyhow::Ok((number, got));
                    }
                    cursor = essence(&message).0;
                    got.push(cursor);
                }
            }
        });
    }
    publisher.await??;
    while let Some(read) = readers.join_next().await {
        let (number, got) = read??;
        let wanted = |offset: &u64| number % 2 == 0 || matches!((offset - 1) % 7, 3 | 4);
        assert_eq!(got, (1..=4_000).filter(wanted).collect::<Vec<_>>(), "client {number}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_older_than_the_history_is_looked_up_in_the_stream() -> Result<()> {
    let rig = Rig::start_with(|config| config.history.messages = 100).await?;
    rig.publish_all(numbered(3_000)).await?;
    let mut readers = JoinSet::new();
    for number in 0..30u64 {
        let address = rig.client_addr;
        readers.spawn(async move {
            let mut client = Client::connect(address).await?;
            let cursor = number * 37;
            let ack = resume(&mut client, &["T5.price", END], cursor).await?;
            ensure!(ack["recovered"] == true && ack["offset"] == cursor, "{ack}");
            anyhow::Ok((cursor, client.messages_until(END).await?))
        });
    }
    // They look back while others write.
    rig.publish_all(numbered(700)).await?;
    let end = rig.publish(END, "0").await?;
    while let Some(read) = readers.join_next().await {
        let (cursor, got) = read??;
        let want = (1..=3_000u64).filter(|n| (n - 1) % 7 == 5);
        let more = (3_001..end).filter(|n| (n - 3_001) % 7 == 5);
        let want: Vec<u64> = want.chain(more).filter(|n| *n > cursor).collect();
        assert_eq!(offsets(&got), want, "behind {cursor}");
        for message in &got {
            let (n, channel, prev, data) = essence(message);
            assert_eq!((channel.as_str(), data.is_object()), ("T5.price", true));
            assert!(prev == 0 || (prev < n && n - prev <= 13), "{message}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_allows_no_direct_gets_is_asked_message_by_message() -> Result<()> {
    let nats = Nats::start().await?;
    let jetstream = jetstream::new(nats.client().await?);
    jetstream.create_stream(stream::Config { allow_direct: false, ..stream_config() }).await?;
    let mut config = config(&nats.url());
    config.history.messages = 10;
    let rig = Rig::start_on(nats, jetstream, config).await?;
    rig.publish_all(numbered(600)).await?;
    let mut client = rig.client().await?;
    assert_eq!(resume(&mut client, &[">"], 100).await?["recovered"], true);
    rig.publish(END, "0").await?;
    assert_eq!(offsets(&client.messages_until(END).await?), (101..=600).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_client_that_reads_slowly_catches_up_without_loss_while_the_stream_runs() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.history.messages = 500;
        config.capacity.outbox_bytes_per_connection = 64 << 10;
    })
    .await?;
    let padding = "x".repeat(2_000);
    let padded = |n: u64| {
        (format!("T{}.price", n % 7), json!({ "n": n, "x": padding }).to_string().into_bytes())
    };
    rig.publish_all((0..2_000).map(padded)).await?;
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let mut slow = Client::connect_over(socket.connect(rig.client_addr).await?).await?;
    let ack = resume(&mut slow, &["T1.*", "T2.*", "T3.*"], 0).await?;
    assert_eq!(ack["recovered"], true);
    // What is replayed now is far more than its outbox could hold; it reads a little, between writes of others.
    let mut got = Vec::new();
    for batch in 0..20 {
        rig.publish_all((batch * 50..batch * 50 + 50).map(padded)).await?;
        for _ in 0..10 {
            got.push(essence(&slow.expect("message").await?).0);
        }
    }
    rig.publish("T1.end", "0").await?;
    loop {
        let message = slow.expect("message").await?;
        if message["channel"] == "T1.end" {
            break;
        }
        got.push(essence(&message).0);
    }
    let first = (1..=2_000u64).filter(|n| (1..=3).contains(&((n - 1) % 7)));
    let later = (2_001..=3_000u64).filter(|n| (1..=3).contains(&((n - 2_001) % 7)));
    assert_eq!(got, first.chain(later).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_pattern_of_ten_thousand_channels_resumes_in_stream_order() -> Result<()> {
    let rig = Rig::start().await?;
    let wide = |n: u64| (format!("wide.c{}", n % 10_000), n.to_string().into_bytes());
    rig.publish_all((0..12_000).map(wide)).await?;
    // What comes live waits for nobody who reads as slowly as this client.
    read_up_to(&rig, 12_000).await?;
    let mut client = rig.client().await?;
    let ack = resume(&mut client, &["wide.*"], 1_000).await?;
    assert_eq!(ack["recovered"], true);
    rig.publish("wide.end", "0").await?;
    let got = offsets(&client.messages_until("wide.end").await?);
    assert_eq!(got, (1_001..=12_000).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn whole_streams_for_thirty_clients_at_once_leave_a_live_client_its_messages() -> Result<()> {
    let rig = Rig::start_with(|config| config.history.messages = 500).await?;
    rig.publish_all(numbered(2_000)).await?;
    read_up_to(&rig, 2_000).await?;
    let mut live = rig.subscriber(&["live", END]).await?;
    let mut readers = JoinSet::new();
    for _ in 0..30 {
        let address = rig.client_addr;
        readers.spawn(async move {
            let mut client = Client::connect(address).await?;
            let command =
                json!({ "type": "replay", "id": 1, "channels": [">"], "from": 1, "to": 2_000 });
            client.send(&command).await?;
            for offset in 1..=2_000u64 {
                let message = client.expect("message").await?;
                ensure!(message["offset"] == offset, "{message} where {offset} is due");
            }
            client.expect("replay_complete").await
        });
    }
    let mut want = Vec::new();
    for n in 0..200 {
        want.push(rig.publish("live", n.to_string()).await?);
    }
    rig.publish(END, "0").await?;
    assert_eq!(offsets(&live.messages_until(END).await?), want);
    while let Some(read) = readers.join_next().await {
        let done = read??;
        assert_eq!(
            (&done["from"], &done["to"], &done["count"]),
            (&json!(1), &json!(2_000), &json!(2_000))
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_subscription_taken_back_while_it_resumes_brings_nothing_more() -> Result<()> {
    let rig = Rig::start_with(|config| config.history.messages = 10).await?;
    rig.publish_all(numbered(2_000)).await?;
    let mut client = rig.client().await?;
    let epoch = client.epoch().to_owned();
    let resume = json!({ "epoch": epoch, "offset": 0 });
    client.send(&json!({ "type": "subscribe", "id": 1, "channels": ["T1.price", "T2.price"], "resume": resume })).await?;
    client.send(&json!({ "type": "unsubscribe", "id": 2, "channels": ["T1.price"] })).await?;
    client.send(&json!({ "type": "subscribe", "id": 3, "channels": ["T2.price", END] })).await?;
    let mut seen = HashMap::<String, u64>::new();
    let mut taken_back = false;
    rig.publish("T1.price", "0").await?;
    rig.publish("T2.price", "0").await?;
    let mut last = Value::Null;
    while last["offset"] != 2_002 {
        last = client.next().await?;
        match last["type"].as_str() {
            Some("unsubscription_ack") => {
                assert_eq!(last["unsubscribed"], json!(["T1.price"]));
                taken_back = true;
                seen.clear();
            }
            Some("subscription_ack") if last["id"] == 3 => assert_eq!(last["count"], 2, "{last}"),
            Some("subscription_ack") => {}
            _ => *seen.entry(essence(&last).1).or_default() += 1,
        }
    }
    assert!(taken_back);
    assert!(!seen.contains_key("T1.price"), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn replays_of_one_connection_are_bounded_and_its_own_channels_are_not_replayed() -> Result<()>
{
    let rig = Rig::start().await?;
    rig.publish_all(numbered(10)).await?;
    read_up_to(&rig, 10).await?;
    let mut client = rig.subscriber(&["T1.price"]).await?;
    let ack = resume(&mut client, &["T1.price"], 0).await?;
    assert_eq!(
        (&ack["recovered"], &ack["offset"], &ack["count"]),
        (&json!(true), &json!(10), &json!(1))
    );
    for (command, code) in [
        (json!({ "type": "replay", "id": 4, "channels": ["a..b"], "from": 1 }), "invalid_channel"),
        (
            json!({ "type": "replay", "id": 4, "channels": vec![">"; 1], "from": 9, "to": 3 }),
            "invalid_command",
        ),
        (
            json!({ "type": "replay", "id": 4, "channels": (0..129).map(|n| format!("c{n}")).collect::<Vec<_>>(), "from": 1 }),
            "too_many_channels",
        ),
    ] {
        client.send(&command).await?;
        let error = client.expect("error").await?;
        assert_eq!((&error["code"], &error["id"]), (&json!(code), &json!(4)), "{command}");
    }
    client.send(&json!({ "type": "replay", "id": 5, "channels": ["T9.none"], "from": 1 })).await?;
    let done = client.expect("replay_complete").await?;
    assert_eq!((&done["id"], &done["to"], &done["count"]), (&json!(5), &json!(10), &json!(0)));
    Ok(())
}

#[tokio::test]
async fn last_values_come_first_and_are_marked() -> Result<()> {
    let rig = Rig::start().await?;
    for (channel, value) in [("a.x", "1"), ("a.y", "2"), ("b", "3"), ("a.x", "4")] {
        rig.publish(channel, value).await?;
    }
    read_up_to(&rig, 4).await?;
    let mut clients = Vec::new();
    for (channels, want) in [
        (json!(["a.x"]), vec![4]),
        (json!(["a.*", "b"]), vec![2, 3, 4]),
        (json!([">", "a.x"]), vec![2, 3, 4]),
        (json!(["none", "a.x"]), vec![4]),
    ] {
        let mut client = rig.client().await?;
        client
            .send(&json!({ "type": "subscribe", "channels": channels, "snapshot": true }))
            .await?;
        let ack = client.expect("subscription_ack").await?;
        assert!(ack.get("recovered").is_none() && ack["offset"] == 4, "{ack}");
        for offset in want {
            let value = client.expect("message").await?;
            assert_eq!((&value["snapshot"], &value["offset"]), (&json!(true), &json!(offset)));
        }
        clients.push(client);
    }
    rig.publish("a.x", "5").await?;
    for client in &mut clients {
        let live = client.expect("message").await?;
        assert!(live.get("snapshot").is_none() && live["offset"] == 5, "{live}");
        assert_eq!(live["prev"], 4);
    }
    Ok(())
}

#[tokio::test]
async fn payloads_of_any_kind_and_size_come_back_from_memory_and_from_the_stream() -> Result<()> {
    // The largest that NATS takes as it comes, and what is no text, no JSON, or nothing at all.
    let mut large = vec![b'x'; 1 << 20];
    (large[0], large[(1 << 20) - 1]) = (b'"', b'"');
    let payloads = [large.clone(), b"\xff\xfe".into(), Vec::new(), b"{".into(), large, b"7".into()];
    for messages in [100, 1] {
        let (nats, jetstream) = nats_with_stream().await?;
        let mut config = config(&nats.url());
        config.history.messages = messages;
        config.capacity.outbox_bytes_per_connection = 8 << 20;
        let rig = Rig::start_on(nats, jetstream, config).await?;
        let mut live = rig.subscriber(&["a.$b.\"c\".münze"]).await?;
        let channel = || "a.$b.\"c\".münze".to_owned();
        rig.publish_all(payloads.iter().map(|payload| (channel(), payload.clone()))).await?;
        read_up_to(&rig, 6).await?;
        let mut client = rig.client().await?;
        assert_eq!(resume(&mut client, &["a.>"], 0).await?["recovered"], true);
        for offset in 1..=6 {
            let (came, again) = (live.expect("message").await?, client.expect("message").await?);
            assert_eq!(
                (&again["data"], &again["encoding"], &again["offset"]),
                (&came["data"], &came["encoding"], &json!(offset)),
            );
        }
        assert_eq!(client.expect("live").await?["offset"], 6);
    }
    Ok(())
}
