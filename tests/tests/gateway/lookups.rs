//! Lookups by channel: last values from far before what a pod has read, and catching up with some of many channels.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use ::gateway::app::Running;
use anyhow::{Context as _, Result, bail, ensure};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use harness::{Nats, PublishAnswer, RawPublisher, free_port};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wsgateway_config::GatewayConfig;

use super::client::Client;
use super::http;
use super::resume::{END, offsets, resume};
use super::rig::{
    PREFIX, Rig, SOON, STREAM, config, nats_with_stream, publish_all, ready, start, stream_config,
};

/// A pod that reads back a few messages only.
fn short(nats: &Nats) -> GatewayConfig {
    let mut config = config(&nats.url());
    config.history.messages = 20;
    config
}

async fn pod(config: GatewayConfig) -> Result<Running> {
    let pod = start(config)?;
    ready(pod.admin_addr).await?;
    Ok(pod)
}

/// Messages that are stored before one is waited for.
const AT_ONCE: u64 = 100_000;

/// How long the stream of a test is that looks far back: 200,000, or as `WSGATEWAY_TEST_SEQUENCES` says.
fn sequences() -> Result<u64> {
    let given = std::env::var("WSGATEWAY_TEST_SEQUENCES");
    given.map_or(Ok(200_000), |given| given.parse()).context("WSGATEWAY_TEST_SEQUENCES: a number")
}

/// Stores messages without waiting for each, until the stream has so many in all.
async fn flood(
    nats: &Nats,
    jetstream: &jetstream::Context,
    channel: &str,
    until: u64,
) -> Result<()> {
    let client = nats.client().await?;
    let acknowledged = jetstream::new(client.clone());
    let mut stream = jetstream.get_stream(STREAM).await?;
    loop {
        let last = stream.info().await?.state.last_sequence;
        if last >= until {
            return Ok(());
        }
        let subject = format!("{PREFIX}{channel}");
        let until = until.min(last + AT_ONCE);
        for n in last + 1..until {
            client.publish(subject.clone(), n.to_string().into()).await?;
        }
        // Stored after all the others of this connection. The server may have dropped some of them: the next round makes
        // up for it.
        if let Ok(stored) = acknowledged.publish(subject, until.to_string().into()).await {
            drop(stored.await);
        }
    }
}

/// Last values of channels, with their offsets, in the order in which they came.
async fn snapshot(address: SocketAddr, channels: &[&str]) -> Result<Vec<(u64, String, Value)>> {
    let mut client = Client::connect(address).await?;
    client
        .send(&json!({ "type": "subscribe", "id": 1, "channels": channels, "snapshot": true }))
        .await?;
    client.expect("subscription_ack").await?;
    let mut values = Vec::new();
    loop {
        let mut push = client.next().await?;
        if push["type"] == "live" {
            return Ok(values);
        }
        ensure!(push["snapshot"] == true, "{push}");
        let channel = push["channel"].as_str().context("no channel")?.to_owned();
        values.push((push["offset"].as_u64().context("no offset")?, channel, push["data"].take()));
    }
}

/// What a resume behind an offset brings, up to its `live`: messages, and the number of gaps.
async fn caught_up(
    address: SocketAddr,
    channels: &[&str],
    offset: u64,
) -> Result<(Vec<Value>, usize)> {
    let mut client = Client::connect(address).await?;
    let ack = resume(&mut client, channels, offset).await?;
    ensure!(ack["recovered"] == true, "{ack}");
    let (mut messages, mut gaps) = (Vec::new(), 0);
    loop {
        let push = client.next().await?;
        match push["type"].as_str() {
            Some("live") => return Ok((messages, gaps)),
            Some("gap") => gaps += 1,
            _ => messages.push(push),
        }
    }
}

#[tokio::test]
async fn a_fresh_pod_has_the_last_value_of_every_channel_however_far_back_and_the_same_as_others()
-> Result<()> {
    const CHANNELS: u64 = 300;
    let (nats, jetstream) = nats_with_stream().await?;
    let last_only = stream::Config { max_messages_per_subject: 1, ..stream_config() };
    jetstream.update_stream(last_only).await?;
    let quiet = |n: u64| (format!("c.{n}"), json!({ "n": n }).to_string().into_bytes());
    publish_all(&jetstream, (0..CHANNELS / 2).map(quiet)).await?;
    let sequences = sequences()?;
    flood(&nats, &jetstream, "busy", sequences / 2).await?;
    publish_all(&jetstream, (CHANNELS / 2..CHANNELS).map(quiet)).await?;
    publish_all(&jetstream, [("other.lone".to_owned(), b"7".to_vec())]).await?;
    flood(&nats, &jetstream, "busy", sequences).await?;

    let mut all = Vec::new();
    for _ in 0..2 {
        let pod = pod(short(&nats)).await?;
        for channels in [&[">"][..], &["*.*", "busy"], &["other.*", "c.*", "busy"]] {
            all.push(snapshot(pod.client_addr, channels).await?);
        }
        let some = snapshot(pod.client_addr, &["c.7", "c.299", "never", "other.lone"]).await?;
        let names: Vec<_> = some.iter().map(|(_, channel, _)| channel.as_str()).collect();
        assert_eq!(names, ["c.7", "c.299", "other.lone"]);
    }
    let first = &all[0];
    assert_eq!(first.len() as u64, CHANNELS + 2);
    assert!(first.is_sorted_by_key(|(offset, ..)| *offset));
    for (_, channel, data) in first.iter().filter(|(_, channel, _)| channel.starts_with("c.")) {
        assert_eq!(*channel, format!("c.{}", data["n"]));
    }
    for other in &all {
        assert_eq!(other, first);
    }
    Ok(())
}

#[tokio::test]
async fn last_values_that_the_history_has_no_room_for_are_looked_up_by_channel() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    // Six times what a history of one MiB keeps of quiet channels.
    let large = |n: u64| {
        (format!("c.{n}"), json!({ "n": n, "x": "x".repeat(16 << 10) }).to_string().into_bytes())
    };
    publish_all(&jetstream, (0..2).flat_map(|_| (0..200).map(large))).await?;
    flood(&nats, &jetstream, "busy", 1_000).await?;
    let mut config = short(&nats);
    config.history.bytes = 1 << 20;
    let pod = pod(config).await?;
    let all = snapshot(pod.client_addr, &["c.*"]).await?;
    assert_eq!(
        all.iter().map(|value| value.0).collect::<Vec<_>>(),
        (201..=400).collect::<Vec<_>>()
    );
    let some = snapshot(pod.client_addr, &["c.0", "c.5", "c.199", "never"]).await?;
    assert_eq!(some.iter().map(|value| value.0).collect::<Vec<_>>(), [201, 206, 400]);
    Ok(())
}

/// Messages that NATS has sent to the connection for lookups.
async fn sent_to_lookups(monitor: SocketAddr) -> Result<u64> {
    let connections = http::get(monitor, "/connz").await?.json()?;
    let all = connections["connections"].as_array().context("no connections")?;
    let of_lookups = |connection: &&Value| {
        connection["name"].as_str().is_some_and(|name| name.ends_with(" lookups"))
    };
    // There is none before the first lookup.
    let Some(lookups) = all.iter().find(of_lookups) else { return Ok(0) };
    lookups["out_msgs"].as_u64().context("no out_msgs")
}

#[tokio::test]
async fn catching_up_with_one_channel_fetches_that_one_only() -> Result<()> {
    let port = free_port()?;
    let nats = Nats::start_with(&format!("http: 127.0.0.1:{port}")).await?;
    let monitor = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut jetstream = jetstream::new(nats.client().await?);
    jetstream.set_timeout(SOON);
    jetstream.create_stream(stream_config()).await?;
    let one_of_many = |n: u64| (format!("c.{}", n % 200), n.to_string().into_bytes());
    publish_all(&jetstream, (0..20_000).map(one_of_many)).await?;
    let pod = pod(short(&nats)).await?;
    snapshot(pod.client_addr, &["c.1"]).await?;
    let before = sent_to_lookups(monitor).await?;
    let (messages, gaps) = caught_up(pod.client_addr, &["c.7"], 0).await?;
    assert_eq!(offsets(&messages), (0..100).map(|n| 200 * n + 8).collect::<Vec<u64>>());
    assert_eq!(gaps, 0, "nothing is missing");
    let sent = sent_to_lookups(monitor).await? - before;
    // Twice what was asked for, and what else there is to be known.
    assert!((100..700).contains(&sent), "{sent} messages were fetched for 100");
    Ok(())
}

#[tokio::test]
async fn patterns_bring_what_they_match_with_the_prefix_and_without() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let names = ["a.x", "other.a.x", "b", "a.y.z", "other.b", "noise"];
    let mut want: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for n in 0..400u64 {
        for name in names {
            // Sometimes by the other one of its two subjects.
            let bare = name.starts_with("other.") && n % 10 != 3;
            let subject = if bare { name.to_owned() } else { format!("{PREFIX}{name}") };
            want.entry(name)
                .or_default()
                .push(jetstream.publish(subject, "1".into()).await?.await?.sequence);
        }
    }
    let pod = pod(short(&nats)).await?;
    for (channels, matched) in [
        (&["a.*"][..], &["a.x"][..]),
        (&["*.a.x", "b"], &["other.a.x", "b"]),
        (&["other.b"], &["other.b"]),
        (&["other.>", "a.>", "*.x"], &["other.a.x", "other.b", "a.x", "a.y.z"]),
        (&["never.*", "a.x"], &["a.x"]),
    ] {
        let mut all: Vec<u64> = matched.iter().flat_map(|name| want[name].clone()).collect();
        all.sort_unstable();
        for after in [0, 1_000] {
            let (messages, gaps) = caught_up(pod.client_addr, channels, after).await?;
            let all: Vec<u64> = all.iter().copied().filter(|offset| *offset > after).collect();
            assert_eq!((offsets(&messages), gaps), (all, 0), "{channels:?} behind {after}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_gone_is_told_to_those_who_catch_up_with_some_channels() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let two = |n: u64| (format!("c.{}", n % 2), n.to_string().into_bytes());
    publish_all(&jetstream, (0..1_000).map(two)).await?;
    jetstream.get_stream(STREAM).await?.delete_message(501).await?;
    let pod = pod(short(&nats)).await?;
    let (messages, gaps) = caught_up(pod.client_addr, &["c.0"], 400).await?;
    let left = (401..=1_000u64).filter(|n| n % 2 == 1 && *n != 501);
    assert_eq!(offsets(&messages), left.collect::<Vec<_>>());
    assert!(gaps > 0, "the message at 501 was this channel's");
    Ok(())
}

#[tokio::test]
async fn a_channel_whose_subject_is_not_utf8_is_caught_up_with() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut publisher = RawPublisher::connect(&nats.url()).await?;
    let mut want = Vec::new();
    for n in 0..5 {
        let subject = [PREFIX.as_bytes(), b"t.a\xff"].concat();
        let payload = n.to_string();
        let answer = publisher.publish(&subject, b"NATS/1.0\r\n\r\n", payload.as_bytes()).await?;
        let PublishAnswer::Stored(sequence) = answer else { bail!("not stored") };
        want.push(sequence);
        publish_all(&jetstream, (0..100).map(|_| ("t.plain".to_owned(), b"0".to_vec()))).await?;
    }
    let pod = pod(short(&nats)).await?;
    for (channels, count) in [(&["t.a%FF"][..], 5), (&["t.*"], 505), (&["t.a%FF", "t.never"], 5)] {
        let (messages, gaps) = caught_up(pod.client_addr, channels, 0).await?;
        let odd: Vec<_> = messages.iter().filter(|m| m["channel"] == "t.a%FF").cloned().collect();
        assert_eq!((messages.len(), offsets(&odd), gaps), (count, want.clone(), 0), "{channels:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_value_that_was_deleted_long_ago_is_not_offered() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let values = ["a", "b", "c"].map(|channel| (channel.to_owned(), b"1".to_vec()));
    publish_all(&jetstream, values).await?;
    let mut deleted = HeaderMap::new();
    deleted.insert("KV-Operation", "DEL");
    jetstream.publish_with_headers(format!("{PREFIX}b"), deleted, "".into()).await?.await?;
    flood(&nats, &jetstream, "busy", 1_000).await?;
    let pod = pod(short(&nats)).await?;
    for channels in [&["a", "b", "c"][..], &["*"]] {
        let values = snapshot(pod.client_addr, channels).await?;
        let names: Vec<_> = values.iter().map(|(_, channel, _)| channel.as_str()).collect();
        assert!(names.starts_with(&["a", "c"]), "{names:?}");
        assert_eq!(names.len(), if channels == ["*"] { 3 } else { 2 }, "{names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_without_direct_gets_is_looked_up_by_channel_too() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    jetstream.update_stream(stream::Config { allow_direct: false, ..stream_config() }).await?;
    publish_all(&jetstream, (0..600).map(|n| (format!("c.{}", n % 3), b"1".to_vec()))).await?;
    publish_all(&jetstream, [("lone".to_owned(), b"1".to_vec())]).await?;
    flood(&nats, &jetstream, "busy", 1_000).await?;
    let pod = pod(short(&nats)).await?;
    let (messages, gaps) = caught_up(pod.client_addr, &["c.1", "lone"], 0).await?;
    let want: Vec<u64> = (0..200).map(|n| 3 * n + 2).chain([601]).collect();
    assert_eq!((offsets(&messages), gaps), (want, 0));
    let values = snapshot(pod.client_addr, &["c.*", "lone"]).await?;
    assert_eq!(values.iter().map(|value| value.0).collect::<Vec<_>>(), [598, 599, 600, 601]);
    Ok(())
}

#[tokio::test]
async fn where_the_leader_must_not_be_asked_everything_is_read_instead() -> Result<()> {
    let denied = "accounts { A { jetstream: enabled, users: [ \
        { user: poor, password: poor, permissions: { publish: { deny: \"$JS.API.STREAM.MSG.GET.>\" } } }, \
        { user: stream, password: stream } ] } }\nno_auth_user: poor";
    let nats = Nats::start_with(denied).await?;
    let mut jetstream = jetstream::new(nats.client().await?);
    jetstream.set_timeout(SOON);
    jetstream.create_stream(stream_config()).await?;
    publish_all(&jetstream, (0..1_000).map(|n| (format!("c.{}", n % 100), b"1".to_vec()))).await?;
    let pod = pod(short(&nats)).await?;
    let want: Vec<u64> = (0..10).map(|n| 100 * n + 8).collect();
    for _ in 0..2 {
        let (messages, gaps) = caught_up(pod.client_addr, &["c.7"], 0).await?;
        assert_eq!((offsets(&messages), gaps), (want.clone(), 0));
    }
    assert_eq!(snapshot(pod.client_addr, &["c.*"]).await?.len(), 100);
    Ok(())
}

#[tokio::test]
async fn many_who_catch_up_with_channels_of_their_own_while_others_write_lose_nothing() -> Result<()>
{
    let (nats, jetstream) = nats_with_stream().await?;
    let one_of_many = |n: u64| (format!("c.{}", n % 50), n.to_string().into_bytes());
    publish_all(&jetstream, (0..5_000).map(one_of_many)).await?;
    let config = short(&nats);
    let rig = Rig::start_on(nats, jetstream, config).await?;
    let mut readers = JoinSet::new();
    for n in 0..50u64 {
        let address = rig.client_addr;
        readers.spawn(async move {
            let own = format!("c.{n}");
            let mut client = Client::connect(address).await?;
            resume(&mut client, &[&own, END], 0).await?;
            anyhow::Ok((n, client.messages_until(END).await?))
        });
    }
    rig.publish_all((5_000..6_000).map(one_of_many)).await?;
    rig.publish(END, "0").await?;
    while let Some(read) = readers.join_next().await {
        let (n, messages) = read??;
        assert_eq!(offsets(&messages), (0..120).map(|k| 50 * k + n + 1).collect::<Vec<_>>());
    }
    Ok(())
}
