//! Slow clients of `Latest` channels: they get the newest, and are told what they missed. And the grace of the others.

use anyhow::{Context, Result, ensure};
use harness::wait_until;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use wsgateway_config::{Delivery, Millis, Rule};

use super::client::Client;
use super::rig::{Rig, SOON};

const OUTBOX: u32 = 256 << 10;

pub(super) fn latest(pattern: &str) -> Rule {
    Rule { r#match: pattern.to_owned(), delivery: Delivery::Latest, ..Rule::default() }
}

/// A client that is noticed soon when it does not read.
pub(super) async fn slow_client(rig: &Rig, channels: &[&str]) -> Result<Client> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let mut client = Client::connect_over(socket.connect(rig.client_addr).await?).await?;
    client.subscribe(channels).await?;
    Ok(client)
}

/// Every push until the first message on `channel`, which is left out.
async fn pushes_until(client: &mut Client, channel: &str) -> Result<Vec<Value>> {
    let mut pushes = Vec::new();
    loop {
        let push = client.next().await?;
        if push["type"] == "message" && push["channel"] == channel {
            return Ok(pushes);
        }
        pushes.push(push);
    }
}

pub(super) fn offset(push: &Value, field: &str) -> Result<u64> {
    push[field].as_u64().with_context(|| format!("no number {field} in {push}"))
}

/// Offsets of a channel that a client got, and those that it was told not to get. In order, or it fails.
pub(super) fn account(
    pushes: &[Value],
    channel: &str,
    all: &[u64],
) -> Result<(Vec<u64>, Vec<u64>)> {
    let (mut got, mut gone) = (Vec::new(), Vec::new());
    let mut at = 0;
    for push in pushes.iter().filter(|push| push["channel"] == channel) {
        if push["type"] == "gap" {
            ensure!(push["reason"] == "slow_consumer", "{push}");
            let (from, to) = (offset(push, "from")?, offset(push, "to")?);
            ensure!(at < from && from <= to, "{push} behind {at}");
            gone.extend(all.iter().copied().filter(|n| (from..=to).contains(n)));
            at = to;
        } else {
            let offset = offset(push, "offset")?;
            ensure!(at < offset && push["prev"].as_u64() >= Some(at), "{offset} behind {at}");
            got.push(offset);
            at = offset;
        }
    }
    Ok((got, gone))
}

#[tokio::test]
async fn a_slow_client_of_latest_channels_gets_the_newest_and_is_told_every_skipped_range()
-> Result<()> {
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = OUTBOX;
        config.channels.rules = vec![latest("*.price")];
    })
    .await?;
    let mut slow = slow_client(&rig, &["*.price", "*.trade", "end"]).await?;
    let (mut prices, mut trades, mut most) = (Vec::new(), Vec::new(), 0);
    let filler = "x".repeat(8 << 10);
    for round in 0..100 {
        let mut messages = Vec::new();
        for token in ["BTC", "ETH"] {
            let payload = json!({ "n": round, "x": filler }).to_string().into_bytes();
            messages.push((format!("{token}.price"), payload));
        }
        messages.push(("BTC.trade".to_owned(), json!({ "n": round }).to_string().into_bytes()));
        let sequences = rig.publish_all(messages).await?;
        prices.push([sequences[0], sequences[1]]);
        trades.push(sequences[2]);
        most = most.max(rig.metric("wsgateway_outbox_bytes").await?);
    }
    wait_until(SOON, "every message to be taken", async || {
        rig.metric("wsgateway_source_messages_total").await.is_ok_and(|count| count == 300)
    })
    .await?;
    rig.publish("end", "1").await?;
    let pushes = pushes_until(&mut slow, "end").await?;

    let mut conflated = 0;
    for (place, token) in ["BTC.price", "ETH.price"].into_iter().enumerate() {
        let all: Vec<u64> = prices.iter().map(|pair| pair[place]).collect();
        let (got, gone) = account(&pushes, token, &all)?;
        assert_eq!(got.last(), all.last(), "the newest price of {token}");
        assert!(!gone.is_empty(), "nothing was skipped, so the client was not slow");
        conflated += gone.len() as u64;
        let mut both = [got, gone].concat();
        both.sort_unstable();
        assert_eq!(both, all, "{token}: got or told, each once");
    }
    let (got, gone) = account(&pushes, "BTC.trade", &trades)?;
    assert_eq!((got, gone), (trades, Vec::new()), "a channel that is not Latest drops nothing");
    assert_eq!(rig.metric("wsgateway_conflated_total").await?, conflated);
    assert!(most <= u64::from(OUTBOX), "{most} bytes waited");
    assert_eq!(rig.stat("slowConsumers").await?, 0);
    Ok(())
}

/// Fills the outbox of a client that does not read with messages that may not be dropped, to above half its bound.
async fn press(rig: &Rig) -> Result<u64> {
    let payload = format!("\"{}\"", "x".repeat(16 << 10)).into_bytes();
    for sent in 1.. {
        rig.publish("a", payload.clone()).await?;
        let waiting = rig.metric("wsgateway_outbox_bytes").await?;
        if waiting > u64::from(OUTBOX) / 2 {
            ensure!(waiting + (32 << 10) < u64::from(OUTBOX), "{waiting} bytes: no room for grace");
            return Ok(sent);
        }
    }
    Ok(0)
}

#[tokio::test]
async fn a_client_that_stays_under_pressure_is_closed_when_its_grace_is_over() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = OUTBOX;
        config.slow_consumer.grace = Millis(1_000);
    })
    .await?;
    let mut slow = slow_client(&rig, &["a"]).await?;
    press(&rig).await?;
    // Nothing more is published: time alone is the judge.
    wait_until(SOON, "the end of the grace", async || {
        rig.stat("slowConsumers").await.is_ok_and(|count| count == 1)
    })
    .await?;
    assert_eq!(slow.until_closed().await?.1, 4008);
    Ok(())
}

#[tokio::test]
async fn a_client_that_catches_up_within_its_grace_stays_and_misses_nothing() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = OUTBOX;
        config.slow_consumer.grace = Millis(60_000);
    })
    .await?;
    let mut slow = slow_client(&rig, &["a", "end"]).await?;
    for _ in 0..3 {
        let sent = press(&rig).await?;
        rig.publish("end", "1").await?;
        let got = slow.messages_until("end").await?;
        assert_eq!(got.len() as u64, sent);
        wait_until(SOON, "an empty outbox", async || {
            rig.metric("wsgateway_outbox_bytes").await.is_ok_and(|bytes| bytes == 0)
        })
        .await?;
    }
    assert_eq!(rig.stat("slowConsumers").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_client_that_falls_behind_on_many_large_channels_is_kept_as_long_as_one_message_of_each_fits()
-> Result<()> {
    const CHANNELS: usize = 12;
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = OUTBOX;
        config.channels.rules = vec![latest("*.price")];
    })
    .await?;
    let mut slow = slow_client(&rig, &["*.price"]).await?;
    let filler = "x".repeat(8 << 10);
    let (mut last, mut newest) = (0, Vec::new());
    for round in 0..40 {
        let message = |n: usize| {
            let payload = json!({ "n": round, "x": filler }).to_string().into_bytes();
            (format!("T{n}.price"), payload)
        };
        newest = rig.publish_all((0..CHANNELS).map(message)).await?;
        last = *newest.last().context("nothing published")?;
        wait_until(SOON, "the round to be taken", async || {
            let taken = rig.metric("wsgateway_source_last_sequence").await;
            taken.is_ok_and(|sequence| sequence == last)
        })
        .await?;
        // Reads a little now and then: far less than comes.
        if round % 5 == 4 {
            slow.next().await?;
        }
    }
    assert!(rig.metric("wsgateway_conflated_total").await? > 0, "the client was not slow");
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        let push = slow.next().await?;
        if push["type"] == "message" {
            seen.push(offset(&push, "offset")?);
        }
    }
    assert!(newest.iter().all(|offset| seen.contains(offset)), "the newest of every channel");
    assert_eq!(rig.stat("slowConsumers").await?, 0);
    Ok(())
}
