//! `maxRate`: channels of which a client gets so many messages a second at most, and the newest one in any case.

use std::time::Instant;

use anyhow::{Result, ensure};
use harness::wait_until;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use wsgateway_config::{GatewayConfig, Rule};

use super::client::Client;
use super::conflation::{account, latest, offset, slow_client};
use super::events::Events;
use super::poller::{Poller, cursor};
use super::resume::resume;
use super::rig::{Rig, SOON, config};

fn limited(pattern: &str, rate: u16) -> Rule {
    Rule { max_rate: Some(rate), ..latest(pattern) }
}

fn with_rate(rate: u16) -> impl FnOnce(&mut GatewayConfig) {
    move |config| config.channels.rules = vec![limited("*.price", rate)]
}

/// So many prices of each of two tokens, and a trade for each; returns the offsets of the first token's prices and of trades.
async fn publish(rig: &Rig, count: u64) -> Result<(Vec<u64>, Vec<u64>)> {
    let (mut prices, mut trades) = (Vec::new(), Vec::new());
    for n in 0..count {
        let payload = json!({ "n": n }).to_string().into_bytes();
        let channels = ["BTC.price", "ETH.price", "BTC.trade"];
        let all = channels.map(|channel| (channel.to_owned(), payload.clone()));
        let sequences = rig.publish_all(all).await?;
        prices.push(sequences[0]);
        trades.push(sequences[2]);
    }
    Ok((prices, trades))
}

/// Everything that comes until the last of these offsets have come on their channels.
async fn pushes_until(client: &mut Client, ends: &[(&str, u64)]) -> Result<Vec<Value>> {
    let (mut left, mut pushes) = (ends.to_vec(), Vec::new());
    while !left.is_empty() {
        let push = client.next().await?;
        if push["type"] == "message" {
            left.retain(|(channel, end)| push["channel"] != *channel || push["offset"] != *end);
        }
        pushes.push(push);
    }
    Ok(pushes)
}

/// Got or reported, each once, with the newest at the end, and not more than the time allows.
fn judge(pushes: &[Value], channel: &str, all: &[u64], most: f64) -> Result<usize> {
    let (got, gone) = account(pushes, channel, all)?;
    ensure!(got.last() == all.last(), "the newest of {channel}: {got:?}");
    ensure!(got.len() as f64 <= most, "{} of {channel}, and {most} are allowed", got.len());
    let mut both = [got, gone.clone()].concat();
    both.sort_unstable();
    ensure!(both == all, "{channel}: got or reported, each once");
    Ok(gone.len())
}

/// What a client gets that subscribed before `start` and has got the last message by now.
fn most(rate: f64, start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * rate + 1.0
}

#[tokio::test]
async fn a_client_gets_so_many_a_second_and_the_newest_and_is_told_what_was_left_out() -> Result<()>
{
    let rig = Rig::start_with(with_rate(2)).await?;
    let mut first = rig.subscriber(&["*.price", "*.trade"]).await?;
    let mut second = rig.subscriber(&["BTC.*", "*.price"]).await?;
    let start = Instant::now();
    let (prices, trades) = publish(&rig, 100).await?;
    let ends = [("BTC.price", prices[99]), ("BTC.trade", trades[99])];
    let mut gone = 0;
    for client in [&mut first, &mut second] {
        let pushes = pushes_until(client, &ends).await?;
        let left_out = judge(&pushes, "BTC.price", &prices, most(2.0, start))?;
        assert!(left_out > 0, "so many came at once that some must have been left out");
        gone += left_out as u64;
        assert_eq!(judge(&pushes, "BTC.trade", &trades, 100.0)?, 0, "no rule, no loss");
    }
    wait_until(SOON, "the other token's newest to leave", async || {
        rig.metric("wsgateway_rate_waiting_messages").await.is_ok_and(|waiting| waiting == 0)
    })
    .await?;
    assert!(rig.metric("wsgateway_rate_conflated_total").await? >= gone);
    assert_eq!(rig.metric("wsgateway_conflated_total").await?, 0, "nobody was slow");
    Ok(())
}

#[tokio::test]
async fn batches_and_compressed_frames_report_the_same() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.channels.rules = vec![limited("*.price", 5)];
        config.channels.rules[0].batch_window = wsgateway_config::Millis(50);
    })
    .await?;
    let mut client = rig.client().await?;
    let command = json!({ "type": "subscribe", "channels": ["*.price", "*.trade"], "batch": true });
    client.send(&command).await?;
    client.expect("subscription_ack").await?;
    let start = Instant::now();
    let (prices, trades) = publish(&rig, 60).await?;
    let (mut pushes, mut ends) = (Vec::new(), 0);
    while ends < 2 {
        let push = client.next().await?;
        let messages = match push["messages"].as_array() {
            Some(messages) => messages.clone(),
            None => vec![push],
        };
        for message in messages {
            let is_last =
                |channel: &str, end: u64| message["channel"] == channel && message["offset"] == end;
            ends += usize::from(is_last("BTC.price", prices[59]));
            ends += usize::from(is_last("BTC.trade", trades[59]));
            pushes.push(message);
        }
    }
    judge(&pushes, "BTC.price", &prices, most(5.0, start))?;
    assert_eq!(judge(&pushes, "BTC.trade", &trades, 60.0)?, 0);
    Ok(())
}

#[tokio::test]
async fn a_slow_client_is_told_both_what_the_rate_and_what_its_own_pace_left_out() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = 64 << 10;
        config.channels.rules = vec![limited("*.price", 100)];
    })
    .await?;
    let mut slow = slow_client(&rig, &["*.price"]).await?;
    let filler = "x".repeat(8 << 10);
    let mut prices = Vec::new();
    wait_until(SOON, "a client that is slow", async || {
        let payload = json!({ "n": prices.len(), "x": filler }).to_string().into_bytes();
        let Ok(offset) = rig.publish("BTC.price", payload).await else { return false };
        prices.push(offset);
        rig.metric("wsgateway_conflated_total").await.is_ok_and(|count| count > 0)
    })
    .await?;
    let last = prices.last().copied().unwrap_or_default();
    let pushes = pushes_until(&mut slow, &[("BTC.price", last)]).await?;
    judge(&pushes, "BTC.price", &prices, prices.len() as f64)?;
    Ok(())
}

#[tokio::test]
async fn an_event_stream_gets_the_gap_as_an_event_of_its_own() -> Result<()> {
    let rig = Rig::start_with(with_rate(1)).await?;
    let mut events = Events::open(&rig, "channels=BTC.price", "").await?;
    // Its acknowledgement is its first cursor.
    while events.block().await?.id.is_empty() {}
    let (prices, _) = publish(&rig, 20).await?;
    let mut pushes = Vec::new();
    while pushes.last().is_none_or(|push: &Value| push["offset"] != prices[19]) {
        let event = events.next().await?;
        let push = event.json()?;
        if push["type"] == "gap" {
            assert_eq!(event.kind, "gap");
        }
        pushes.push(push);
    }
    assert!(judge(&pushes, "BTC.price", &prices, 20.0)? > 0);
    Ok(())
}

#[tokio::test]
async fn polls_get_the_newest_and_the_gaps() -> Result<()> {
    let rig = Rig::start_with(with_rate(1)).await?;
    let mut poller = Poller::connect(rig.client_addr).await?;
    let mut from = poller.begin("BTC.price").await?;
    let (prices, _) = publish(&rig, 20).await?;
    let mut newest = 0;
    while newest != prices[19] {
        let answer = poller.poll(&format!("channels=BTC.price&wait=30&cursor={from}")).await?;
        for message in answer["messages"].as_array().into_iter().flatten() {
            newest = newest.max(offset(message, "offset")?);
        }
        from = cursor(&answer)?;
    }
    Ok(())
}

#[tokio::test]
async fn an_odin_client_gets_the_newest_under_numbers_without_holes() -> Result<()> {
    let rig = Rig::start_with(with_rate(2)).await?;
    let stream = TcpStream::connect(rig.client_addr).await?;
    let mut client = Client::open(stream, "/ws", Some("odin.v1")).await?;
    client.expect("connection:established").await?;
    client.subscribe(&["BTC.price"]).await?;
    let (prices, _) = publish(&rig, 50).await?;
    let (mut number, mut newest) = (0, 0);
    while newest != prices[49] {
        let message = client.next().await?;
        number += 1;
        assert_eq!(message["seq"], number, "{message}");
        newest = offset(&message, "offset")?;
    }
    assert!(number < 50, "all came");
    Ok(())
}

#[tokio::test]
async fn who_subscribes_meanwhile_gets_nothing_from_before_its_acknowledgement() -> Result<()> {
    let rig = Rig::start_with(with_rate(1)).await?;
    let mut first = rig.subscriber(&["BTC.price"]).await?;
    let (prices, _) = publish(&rig, 10).await?;
    rig.has_read(prices[9] + 2).await?;
    let mut late = rig.client().await?;
    let at = offset(&late.subscribe(&["BTC.price"]).await?, "offset")?;
    let more = publish(&rig, 10).await?.0;
    for (client, after) in [(&mut first, 0), (&mut late, at)] {
        let all: Vec<u64> =
            prices.iter().chain(&more).copied().filter(|offset| *offset > after).collect();
        let pushes = pushes_until(client, &[("BTC.price", more[9])]).await?;
        for push in &pushes {
            let first = if push["type"] == "gap" { "from" } else { "offset" };
            assert!(offset(push, first)? > after, "{push} is not after {after}");
        }
        judge(&pushes, "BTC.price", &all, 20.0)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_resumes_gets_last_values_that_may_have_waited_when_it_left() -> Result<()> {
    let rig = Rig::start_with(with_rate(1)).await?;
    // The second price may still have waited when the trade was sent, with which a client may have left.
    let sent = [("BTC.price", "1"), ("BTC.price", "2"), ("BTC.trade", "3")];
    let sent = sent.map(|(channel, payload)| (channel.to_owned(), payload.as_bytes().to_vec()));
    let offsets = rig.publish_all(sent).await?;
    rig.has_read(offsets[2]).await?;
    let mut client = rig.client().await?;
    let ack = resume(&mut client, &["*.price", "*.trade"], offsets[2]).await?;
    assert_eq!(ack["recovered"], true);
    let value = client.expect("message").await?;
    assert_eq!((&value["snapshot"], &value["offset"]), (&json!(true), &json!(offsets[1])));
    Ok(())
}

#[tokio::test]
async fn a_rate_that_comes_changes_and_goes_loses_nothing_and_no_connection() -> Result<()> {
    let (nats, jetstream) = super::rig::nats_with_stream().await?;
    let mut config = config(&nats.url());
    let rig = Rig::start_on(nats, jetstream, config.clone()).await?;
    let mut client = rig.subscriber(&["BTC.price"]).await?;
    let mut all = Vec::new();
    for rate in [None, Some(1), Some(100), None] {
        config.channels.rules = vec![Rule { max_rate: rate, ..latest("*.price") }];
        assert_eq!(rig.reload(config.clone())?, ["channels.rules"]);
        all.extend(publish(&rig, 20).await?.0);
    }
    let last = all.last().copied().unwrap_or_default();
    let pushes = pushes_until(&mut client, &[("BTC.price", last)]).await?;
    judge(&pushes, "BTC.price", &all, 80.0)?;
    assert_eq!(rig.metric("wsgateway_connections_accepted_total").await?, 1);
    Ok(())
}
