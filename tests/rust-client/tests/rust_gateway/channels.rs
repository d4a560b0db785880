//! Channels, patterns, rejections, last values and deletions.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::time::timeout;
use wsgateway::Event;

use super::recorder::{Recorder, builder};
use super::servers::{Gateway, Relay, SOON, STREAM, Source};

#[tokio::test]
async fn channels_and_patterns_come_in_order_with_what_is_no_json_as_bytes() -> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let mut r = Recorder::subscribed(builder(gateway.url()), &["BTC.price", "*.trade"]).await?;
    source.publish("BTC.price", r#"{"n":1}"#).await?;
    source.publish("BTC.other", "2").await?;
    source.publish("ETH.trade", &b"\xff\x00"[..]).await?;
    r.received(2).await?;
    let found: Vec<_> =
        r.messages().map(|m| (m.channel.as_str(), m.offset, &m.data[..], m.binary)).collect();
    assert_eq!(found[0], ("BTC.price", 1, &br#"{"n":1}"#[..], false));
    assert_eq!(found[1], ("ETH.trade", 3, &b"\xff\x00"[..], true));
    Ok(())
}

#[tokio::test]
async fn a_channel_that_cannot_be_is_rejected_and_the_others_come() -> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let long = "x".repeat(300);
    let mut r = Recorder::new(builder(gateway.url()), &["a..b", &long, "good"])?;
    r.until("the rejections", |r| r.count(|e| matches!(e, Event::Rejected(_))) == 2).await?;
    let too_long = |event: &Event| matches!(event, Event::Rejected(rejected) if rejected.channel == long && rejected.code == "channel_too_long");
    assert_eq!(r.count(too_long), 1, "{:?}", r.events);
    r.acknowledged(1).await?;
    source.number("good", 1).await?;
    r.received(1).await
}

#[tokio::test]
async fn last_values_come_first_once_also_for_a_second_subscription() -> Result<()> {
    let source = Source::start().await?;
    for n in 0..10 {
        source.number(&format!("late.{}", n % 5), n).await?;
    }
    // Afterwards, so that all of them are values from before.
    let gateway = Gateway::start(&source).await?;
    let mut r = Recorder::new(builder(gateway.url()), &["other"])?;
    r.subscription = r.client.subscribe_with_snapshot(["late.*"]);
    r.received(5).await?;
    let mut numbers = r.numbers()?;
    numbers.sort_unstable();
    assert_eq!(numbers, [5, 6, 7, 8, 9]);
    let mut second = r.client.subscribe_with_snapshot(["late.3"]);
    let value = loop {
        match timeout(SOON, second.next()).await? {
            Some(Event::Message(message)) => break message,
            other => assert!(other.is_some()),
        }
    };
    assert_eq!((value.decode::<i64>()?, value.snapshot), (8, true));
    source.number("late.3", 10).await?;
    r.received(6).await?;
    let last = r.messages().last().cloned();
    assert_eq!(last.map(|m| (m.data, m.snapshot)), Some(("10".into(), false)));
    assert!(r.gaps().is_empty());
    Ok(())
}

#[tokio::test]
async fn subscriptions_come_and_go_on_one_connection() -> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let mut r = Recorder::subscribed(builder(gateway.url()), &["one"]).await?;
    let mut all = r.client.events();
    r.subscription = r.client.subscribe(["two"]); // drops the first one
    r.acknowledged(2).await?;
    source.number("one", 1).await?;
    source.number("two", 2).await?;
    r.received(1).await?;
    assert_eq!(r.numbers()?, [2]);
    let mut count = 0;
    while count == 0 {
        match timeout(SOON, all.next()).await? {
            Some(Event::Message(message)) => {
                assert_eq!(message.channel, "two");
                count += 1;
            }
            other => assert!(!matches!(other, None | Some(Event::Opened(_)))),
        }
    }
    assert_eq!(gateway.clients().await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_deletion_is_a_message_without_data() -> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let mut r = Recorder::subscribed(builder(gateway.url()), &["gone"]).await?;
    source.number("gone", 1).await?;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("KV-Operation", "DEL");
    let deletion = source.jetstream.publish_with_headers("p.gone", headers, "".into());
    deletion.await?.await?;
    r.received(2).await?;
    let deleted: Vec<_> = r.messages().map(|m| (m.data.len(), m.deleted.as_deref())).collect();
    assert_eq!(deleted, [(1, None), (0, Some("DEL"))]);
    Ok(())
}

#[tokio::test]
async fn the_cursor_of_a_quiet_channel_stays_recent() -> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let builder = builder(gateway.url()).ping(Duration::from_millis(100), SOON);
    let r = Recorder::subscribed(builder, &["quiet"]).await?;
    let mut last = 0;
    for n in 0..20 {
        last = source.number("busy", n).await?;
    }
    harness::wait_until(SOON, "a recent cursor", async || {
        r.client.cursor().is_some_and(|cursor| cursor.offset == last)
    })
    .await
}

#[tokio::test]
async fn what_the_stream_has_discarded_is_a_gap_and_the_rest_comes() -> Result<()> {
    let source = Source::start_with(|config| config.max_messages = 10).await?;
    let mut gateway = Gateway::start(&source).await?;
    let mut r = Recorder::subscribed(builder(gateway.url()), &["short.a"]).await?;
    source.number("short.a", 1).await?;
    r.received(1).await?;
    gateway.kill();
    for n in 2..=40 {
        source.number("short.a", n).await?;
    }
    gateway.start_again().await?;
    r.received(11).await?;
    assert_eq!(r.numbers()?, [&[1][..], &(31..=40).collect::<Vec<_>>()].concat());
    let gaps: Vec<_> =
        r.gaps().iter().map(|g| (g.channel.clone(), g.first, g.last, g.reason.clone())).collect();
    assert_eq!(gaps, [("short.a".to_owned(), 2, 30, "retention".to_owned())]);
    let last = r.acks().nth(1).map(|ack| (ack.resumed, ack.recovered));
    assert_eq!(last, Some((true, false)));
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_replaced_is_a_gap_and_the_new_one_is_followed() -> Result<()> {
    let source = Source::start().await?;
    let gateway = Gateway::start(&source).await?;
    let mut r = Recorder::subscribed(builder(gateway.url()), &["epoch.a"]).await?;
    source.number("epoch.a", 1).await?;
    r.received(1).await?;
    let before = r.client.cursor().map(|cursor| cursor.epoch);
    source.jetstream.delete_stream(STREAM).await?;
    source.create_stream(|_| ()).await?;
    r.until("the gap", |r| r.gaps().iter().any(|gap| gap.reason == "epoch")).await?;
    r.acknowledged(2).await?;
    source.number("epoch.a", 2).await?;
    r.received(2).await?;
    assert_ne!(r.client.cursor().map(|cursor| cursor.epoch), before);
    Ok(())
}

#[tokio::test]
async fn values_of_channels_with_a_rate_come_once_also_after_a_cut() -> Result<()> {
    let source = Source::start().await?;
    let rules = json!([{ "match": "slow.*", "delivery": "Latest", "maxRate": 1 }]);
    let channels = json!({ "channels": { "stripPrefix": "p.", "rules": rules } });
    let gateway = Gateway::start_with(&source, &channels).await?;
    let relay = Relay::to(gateway.address()).await?;
    let mut r = Recorder::subscribed(builder(relay.url()), &["slow.a", "fast"]).await?;
    source.number("slow.a", 1).await?;
    source.number("slow.a", 2).await?;
    source.number("fast", 3).await?;
    r.until("the last one", |r| r.messages().any(|message| message.channel == "fast")).await?;
    relay.cut();
    r.received(3).await?;
    let mut numbers = r.numbers()?;
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    Ok(())
}
