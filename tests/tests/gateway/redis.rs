//! Redis Pub/Sub as a source: what is published arrives, once, in order, under a name that can be subscribed to.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::Redis;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use wsgateway_config::Protocol;

use super::client::{Client, essence};
use super::redis_rig::{RedisRig, change, config};

#[tokio::test]
async fn trades_of_redis_arrive_in_order_as_channels_between_dots() -> Result<()> {
    let rig = RedisRig::start(&["channel:trade:*"]).await?;
    let mut client = rig.subscriber(&["channel.trade.AAPL"]).await?;
    let mut all = rig.subscriber(&["channel.trade.*"]).await?;
    let mut publisher = rig.redis.client().await?;
    for number in 0..100 {
        for symbol in ["AAPL", "TSLA"] {
            let channel = format!("channel:trade:{symbol}");
            let receivers: u64 = redis::cmd("PUBLISH")
                .arg(channel)
                .arg(json!({ "symbol": symbol, "price": number }).to_string())
                .query_async(&mut publisher)
                .await?;
            assert_eq!(receivers, 1, "one subscription per gateway");
        }
    }
    for number in 0..100u64 {
        let message = client.expect("message").await?;
        // Every other number is TSLA's.
        let (offset, prev) = (2 * number + 1, (2 * number).saturating_sub(1));
        let data = json!({ "symbol": "AAPL", "price": number });
        assert_eq!(essence(&message), (offset, "channel.trade.AAPL".to_owned(), prev, data));
    }
    for number in 0..200u64 {
        assert_eq!(all.expect("message").await?["offset"], number + 1);
    }
    Ok(())
}

#[tokio::test]
async fn the_prefix_is_left_out_of_channels_as_with_nats() -> Result<()> {
    let redis = Redis::start().await?;
    let mut config = config(&[redis.url()], &["channel:trade:*"]);
    config.channels.strip_prefix = "channel.trade.".to_owned();
    let rig = RedisRig::start_on(redis, config).await?;
    let mut client = rig.subscriber(&["AAPL"]).await?;
    rig.redis.publish("channel:trade:AAPL", "{\"price\":150.25}").await?;
    let message = client.expect("message").await?;
    assert_eq!((&message["channel"], &message["data"]["price"]), (&json!("AAPL"), &json!(150.25)));
    Ok(())
}

/// The clients of the earlier Redis gateway name symbols; nothing but the source is configured.
#[tokio::test]
async fn clients_that_subscribe_to_symbols_get_the_trades_of_redis_with_any_prefix() -> Result<()> {
    for (channels, strip_prefix, published) in [
        (&["channel:trade:*"][..], "", "channel:trade:"),
        (&["channel:trade:*"], "channel.trade.", "channel:trade:"),
        (&["channel:trade:*"], "channel.", "channel:trade:"),
        (&["channel:trade:AAPL", "channel:trade:TSLA"], "", "channel:trade:"),
        (&["quotes:*", "channel:trade:*"], "", "quotes:"),
    ] {
        let redis = Redis::start().await?;
        let mut config = config(&[redis.url()], channels);
        config.channels.strip_prefix = strip_prefix.to_owned();
        config.listener.default_protocol = Protocol::Symbols;
        let rig = RedisRig::start_on(redis, config).await?;
        let stream = TcpStream::connect(rig.client_addr()).await?;
        let mut client = Client::open(stream, "/", None).await?;
        client.send(&json!({ "action": "subscribe", "symbols": ["AAPL"] })).await?;
        client.expect("success").await?;
        for (symbol, price) in [("TSLA", 1), ("AAPL", 2)] {
            let trade = json!({ "symbol": symbol, "price": price }).to_string();
            rig.redis.publish(&format!("{published}{symbol}"), &trade).await?;
        }
        let trade = client.expect("trade").await?;
        assert_eq!(trade["data"], json!({ "symbol": "AAPL", "price": 2 }), "{channels:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_matches_several_subscriptions_arrives_once_and_its_repetition_again()
-> Result<()> {
    let rig = RedisRig::start(&["a:*", "a:b", "*", "[a]:?"]).await?;
    let mut client = rig.subscriber(&[">"]).await?;
    for (payload, receivers) in [("1", 4), ("1", 4), ("2", 4)] {
        assert_eq!(rig.redis.publish("a:b", payload).await?, receivers);
    }
    assert_eq!(rig.redis.publish("c", "2").await?, 1);
    let mut got = Vec::new();
    for _ in 0..4 {
        let (offset, channel, prev, data) = essence(&client.expect("message").await?);
        got.push((offset, channel, prev, data.as_u64().unwrap_or_default()));
    }
    let (ab, c) = (|| "a.b".to_owned(), || "c".to_owned());
    assert_eq!(got, [(1, ab(), 0, 1), (2, ab(), 1, 1), (3, ab(), 2, 2), (4, c(), 0, 2)]);
    Ok(())
}

#[tokio::test]
async fn channels_that_are_named_are_read_and_others_are_not() -> Result<()> {
    let rig = RedisRig::start(&["prices", "trades"]).await?;
    let mut client = rig.subscriber(&[">"]).await?;
    assert_eq!(rig.redis.publish("price", "0").await?, 0);
    for (channel, payload) in [("prices", "1"), ("trades", "2")] {
        assert_eq!(rig.redis.publish(channel, payload).await?, 1);
        assert_eq!(client.expect("message").await?["channel"], channel);
    }
    Ok(())
}

/// Redis channels, and what they are called.
const ODD: [(&[u8], &str); 11] = [
    (b"a b", "a%20b"),
    (b"a::b", "a.%.b"),
    (b":", "%.%"),
    (b"*", "%2A"),
    (b"a:>", "a.%3E"),
    (b"100%", "100%25"),
    ("kurs:münze:价格😀".as_bytes(), "kurs.münze.价格😀"),
    (b"quo\"te\\", "quo\"te\\"),
    (b"\0\r\n", "%00%0D%0A"),
    (b"\xff\xfe", "%FF%FE"),
    (b"</script", "</script"),
];

#[tokio::test]
async fn odd_channels_can_be_subscribed_to_by_name_and_by_wildcard() -> Result<()> {
    let rig = RedisRig::start(&["*"]).await?;
    let mut all = rig.subscriber(&[">"]).await?;
    let mut publisher = rig.redis.client().await?;
    for (channel, name) in ODD {
        let mut one = rig.subscriber(&[name]).await?;
        let publish = redis::cmd("PUBLISH").arg(channel).arg("1").clone();
        assert_eq!(publish.query_async::<u64>(&mut publisher).await?, 1, "{name}");
        for client in [&mut one, &mut all] {
            assert_eq!(client.expect("message").await?["channel"], name);
        }
    }
    Ok(())
}

#[tokio::test]
async fn any_payload_arrives_and_one_that_is_too_large_is_told_as_a_gap() -> Result<()> {
    let redis = Redis::start().await?;
    let mut config = config(&[redis.url()], &["c"]);
    change(&mut config, |source| source.max_message_bytes = 200_000);
    let rig = RedisRig::start_on(redis, config).await?;
    let mut client = rig.subscriber(&["c"]).await?;
    let mut publisher = rig.redis.client().await?;
    let large = "x".repeat(200_000);
    for payload in [&b""[..], b"no json", b"\xff\0", b"{}", b"\r\n+OK\r\n", large.as_bytes()] {
        let publish = redis::cmd("PUBLISH").arg("c").arg(payload).clone();
        publish.query_async::<u64>(&mut publisher).await?;
        let message = client.expect("message").await?;
        let data = message["data"].as_str().unwrap_or_default();
        match payload {
            b"{}" => assert_eq!(message["data"], json!({})),
            _ => ensure!(STANDARD.decode(data)? == payload, "{}", payload.escape_ascii()),
        }
    }
    let too_large = "x".repeat(200_001);
    for payload in [&too_large, &too_large, "1"] {
        rig.redis.publish("c", payload).await?;
    }
    // However the two are told, nothing between 6 and 9 goes without a word.
    let mut next = 7;
    while next < 9 {
        let gap = client.expect("gap").await?;
        assert_eq!(
            (&gap["channel"], &gap["reason"], &gap["from"]),
            (&json!(">"), &json!("source"), &json!(next))
        );
        next = gap["to"].as_u64().unwrap_or_default() + 1;
    }
    assert_eq!(
        (next, essence(&client.expect("message").await?)),
        (9, (9, "c".to_owned(), 6, json!(1)))
    );
    assert_eq!(rig.metric("wsgateway_source_lost_total").await?, 2);
    // Without a message behind it the gap comes by itself.
    rig.redis.publish("c", &too_large).await?;
    assert_eq!(client.expect("gap").await?["from"], 10);
    Ok(())
}

#[tokio::test]
async fn a_name_too_long_to_remember_is_told_as_a_gap_and_the_longest_good_one_is_delivered()
-> Result<()> {
    let rig = RedisRig::start(&["*"]).await?;
    let mut client = rig.subscriber(&[">"]).await?;
    rig.redis.publish(&"n".repeat(1 << 10), "1").await?;
    assert_eq!(client.expect("message").await?["channel"], "n".repeat(1 << 10));
    rig.redis.publish(&"n".repeat((1 << 10) + 1), "1").await?;
    assert_eq!(client.expect("gap").await?["reason"], "source");
    Ok(())
}

#[tokio::test]
async fn health_status_and_metrics_speak_of_redis() -> Result<()> {
    let rig = RedisRig::start(&["c"]).await?;
    let mut client = rig.subscriber(&["c"]).await?;
    rig.redis.publish("c", "1").await?;
    client.expect("message").await?;
    let health = rig.health().await?;
    assert_eq!(health["checks"]["redis"], json!({ "status": "connected", "healthy": true }));
    assert_eq!(health["checks"]["nats"], Value::Null);
    let status = rig.state("live").await?;
    assert_eq!((&status["stream"], &status["lastSequence"]), (&json!("redis"), &json!(1)));
    assert_eq!(rig.metric("wsgateway_source_messages_total").await?, 1);
    Ok(())
}

#[tokio::test]
async fn two_gateways_never_share_an_epoch_since_each_counts_for_itself() -> Result<()> {
    let redis = Redis::start().await?;
    let mut epochs = BTreeSet::new();
    let mut gateways = Vec::new();
    for _ in 0..3 {
        let gateway = super::rig::start(config(&[redis.url()], &["c"]))?;
        super::rig::ready(gateway.admin_addr).await?;
        epochs.insert(Client::connect(gateway.client_addr).await?.epoch().to_owned());
        gateways.push(gateway);
    }
    assert_eq!(epochs.len(), 3, "{epochs:?}");
    Ok(())
}
