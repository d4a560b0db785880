//! Every subscriber gets every message of its channels: once, in order, with the right chain of `prev`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::client::{Client, essence};
use super::rig::{Rig, config, nats_with_stream, publish_all};

/// Ends every list of expected messages; on a channel that every pattern below gets as well.
const END: &str = "end.end";

/// What a client of a test subscribes to, and whether a channel is in it.
type Interest = (&'static [&'static str], fn(&str) -> bool);

const INTERESTS: [Interest; 5] = [
    (&["BTC.price", END], |channel| channel == "BTC.price"),
    (&["*.price", END], |channel| channel.ends_with(".price")),
    (&["ETH.>", END], |channel| channel.starts_with("ETH.")),
    (&[">"], |_| true),
    // Each message matches four of these five and is delivered once.
    (&["*.price", "BTC.price", "BTC.*", ">", "*.*"], |_| true),
];

/// The messages that a channel list makes: channel, sequence, the sequence before it on that channel.
fn expected(channels: &[String], sequences: &[u64]) -> Vec<(u64, String, u64, Value)> {
    let mut last = std::collections::HashMap::new();
    let with_prev =
        channels.iter().zip(sequences).enumerate().map(|(number, (channel, sequence))| {
            let prev = last.insert(channel.clone(), *sequence).unwrap_or(0);
            (*sequence, channel.clone(), prev, json!({ "n": number }))
        });
    with_prev.collect()
}

fn numbered(channels: &[String]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let payload = |number: usize| json!({ "n": number }).to_string().into_bytes();
    channels.iter().enumerate().map(move |(number, channel)| (channel.clone(), payload(number)))
}

#[tokio::test]
async fn two_hundred_clients_get_five_hundred_messages_once_in_order_with_the_right_prev()
-> Result<()> {
    let rig = Rig::start().await?;
    let mut clients = Vec::new();
    for number in 0..200 {
        let (channels, wants) = INTERESTS[number % INTERESTS.len()];
        clients.push((rig.subscriber(channels).await?, wants));
    }
    let shards: std::collections::HashSet<_> = clients
        .iter()
        .filter_map(|(client, _)| client.hello["connectionId"].as_str()?.split('-').nth(1))
        .collect();
    assert_eq!(shards.len(), 2, "both shards hold clients");

    let names = ["BTC.price", "ETH.price", "BTC.trade", "ETH.trade", "ETH.price"];
    let channels: Vec<String> = names.into_iter().cycle().take(500).map(str::to_owned).collect();
    let mut readers = JoinSet::new();
    for (mut client, wants) in clients {
        readers.spawn(async move { anyhow::Ok((client.messages_until(END).await?, wants)) });
    }
    let sequences = rig.publish_all(numbered(&channels)).await?;
    rig.publish(END, "0").await?;

    let all = expected(&channels, &sequences);
    while let Some(read) = readers.join_next().await {
        let (messages, wants) = read??;
        let wanted: Vec<_> = all.iter().filter(|message| wants(&message.1)).cloned().collect();
        assert_eq!(messages.iter().map(essence).collect::<Vec<_>>(), wanted);
    }
    Ok(())
}

#[tokio::test]
async fn unsubscribing_stops_one_channel_and_leaves_the_others() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a", "b.*", "b.x", END]).await?;
    client.send(&json!({ "type": "unsubscribe", "channels": ["a", "b.*", "never.had"] })).await?;
    let ack = client.expect("unsubscription_ack").await?;
    assert_eq!((&ack["unsubscribed"], &ack["count"]), (&json!(["a", "b.*"]), &json!(2)));
    for channel in ["a", "b.y", "b.x", END] {
        rig.publish(channel, "1").await?;
    }
    let got = client.messages_until(END).await?;
    let channels: Vec<_> = got.iter().map(|message| &message["channel"]).collect();
    assert_eq!(channels, ["b.x"]);
    Ok(())
}

#[tokio::test]
async fn subscribing_twice_is_one_subscription_and_one_delivery() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a", "a", END]).await?;
    let ack = client.subscribe(&["a"]).await?;
    assert_eq!(
        (&ack["subscribed"], &ack["count"], &ack["id"]),
        (&json!(["a"]), &json!(2), &json!(1))
    );
    rig.publish("a", "1").await?;
    rig.publish(END, "1").await?;
    assert_eq!(client.messages_until(END).await?.len(), 1);
    Ok(())
}

/// Subscribes while the stream runs, and reads to the end of it.
async fn late(mut client: Client) -> Result<(u64, Vec<u64>)> {
    let ack = client.subscribe(&["run", END]).await?;
    let messages = client.messages_until(END).await?;
    let offsets = messages.iter().filter_map(|message| message["offset"].as_u64()).collect();
    Ok((ack["offset"].as_u64().unwrap_or(u64::MAX), offsets))
}

#[tokio::test]
async fn everything_after_the_offset_of_the_acknowledgement_is_delivered_and_nothing_before()
-> Result<()> {
    let rig = Rig::start().await?;
    let jetstream = rig.jetstream.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let publisher = tokio::spawn(async move {
        let mut last = 0;
        while !stopped.load(Relaxed) {
            let some = (0..50).map(|_| ("run".to_owned(), b"1".to_vec()));
            last = *publish_all(&jetstream, some).await?.last().expect("fifty");
        }
        publish_all(&jetstream, [(END.to_owned(), b"1".to_vec())]).await?;
        anyhow::Ok(last)
    });
    let mut readers = JoinSet::new();
    for _ in 0..50 {
        readers.spawn(late(rig.client().await?));
    }
    stop.store(true, Relaxed);
    let last = publisher.await??;
    let mut in_the_run = 0;
    while let Some(read) = readers.join_next().await {
        let (offset, got) = read??;
        in_the_run += u32::from(0 < offset && offset < last);
        assert_eq!(got, (offset + 1..=last).collect::<Vec<_>>(), "acknowledged at {offset}");
    }
    assert!(in_the_run > 0, "no client subscribed while the stream ran");
    Ok(())
}

#[tokio::test]
async fn prev_is_right_from_the_first_message_on_because_the_stream_was_read_back() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let before = ["x", "y", "x"].map(|channel| (channel.to_owned(), b"1".to_vec()));
    publish_all(&jetstream, before).await?;
    let config = config(&nats.url());
    let rig = Rig::start_on(nats, jetstream, config).await?;
    let mut client = rig.client().await?;
    assert_eq!(client.subscribe(&[">"]).await?["offset"], 3);
    for channel in ["y", "x", "z", "x"] {
        rig.publish(channel, "1").await?;
    }
    for prev in [2, 3, 0, 5] {
        assert_eq!(client.expect("message").await?["prev"], prev);
    }
    Ok(())
}

#[tokio::test]
async fn a_subject_without_the_prefix_is_a_channel_of_its_own_name() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&[">"]).await?;
    rig.publish("other.news", "1").await?;
    assert_eq!(client.expect("message").await?["channel"], "other.news");
    Ok(())
}

#[tokio::test]
async fn a_message_carries_the_time_at_which_the_stream_stored_it() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    let sequence = rig.publish("a", "1").await?;
    let stream = rig.jetstream.get_stream(super::rig::STREAM).await?;
    let stored = stream.get_raw_message(sequence).await?.time.unix_timestamp_nanos() / 1_000_000;
    assert_eq!(client.expect("message").await?["ts"].as_i64().map(i128::from), Some(stored));
    Ok(())
}
