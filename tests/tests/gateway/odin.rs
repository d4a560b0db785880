//! odin.v1: what the clients of the Odin servers send and read.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use harness::wait_until;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use wsgateway_config::{Delivery, Protocol, Rule};

use super::client::Client;
use super::http::{get, upgrade_refused};
use super::raw::{Raw, TEXT, frame};
use super::rig::{PREFIX, Rig, SOON};

/// An odin.v1 client that has been greeted.
pub(super) async fn connect(address: SocketAddr) -> Result<Client> {
    connect_over(TcpStream::connect(address).await?).await
}

async fn connect_over(stream: TcpStream) -> Result<Client> {
    let mut client = Client::open(stream, "/ws", Some("odin.v1")).await?;
    client.hello = client.next().await?;
    ensure!(client.hello["type"] == "connection:established", "greeting {}", client.hello);
    Ok(client)
}

/// The same, subscribed as S3's clients do.
pub(super) async fn subscriber(address: SocketAddr, channels: &[&str]) -> Result<Client> {
    let mut client = connect(address).await?;
    client.send(&json!({ "type": "subscribe", "channels": channels })).await?;
    let ack = client.expect("subscription_ack").await?;
    ensure!(ack["subscribed"] == json!(channels), "{ack}");
    Ok(client)
}

/// The next `count` data pushes.
pub(super) async fn messages(client: &mut Client, count: usize) -> Result<Vec<Value>> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let push = client.next().await?;
        ensure!(push["seq"].is_u64(), "no data: {push}");
        messages.push(push);
    }
    Ok(messages)
}

pub(super) fn seqs(messages: &[Value]) -> Vec<u64> {
    messages.iter().filter_map(|message| message["seq"].as_u64()).collect()
}

fn rule(pattern: &str) -> Rule {
    Rule { r#match: pattern.to_owned(), ..Rule::default() }
}

#[tokio::test]
async fn a_message_is_what_the_earlier_server_sent_with_channel_and_offset_beside() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = subscriber(rig.client_addr, &["BTC.price"]).await?;
    let offset = rig.publish("BTC.price", r#"{"price": 43250.00, "type":"tick"}"#).await?;

    let text = client.text().await?;

    let ts = serde_json::from_str::<Value>(&text)?["ts"].as_i64().context("no ts")?;
    assert_eq!(
        text,
        format!(
            r#"{{"seq":1,"ts":{ts},"type":"price:update","priority":1,"channel":"BTC.price","offset":{offset},"data":{{"price": 43250.00, "type":"tick"}}}}"#
        )
    );
    Ok(())
}

#[tokio::test]
async fn each_connection_counts_from_one_without_holes_whatever_it_is_subscribed_to() -> Result<()>
{
    let rig = Rig::start().await?;
    let mut all = subscriber(rig.client_addr, &[">", "*.price"]).await?;
    let mut one = subscriber(rig.client_addr, &["BTC.price"]).await?;
    let mut v1 = rig.subscriber(&[">"]).await?;

    let channels = ["BTC.price", "ETH.price", "BTC.trade"];
    let numbered = |n: u64| (channels[n as usize % 3].to_owned(), n.to_string().into_bytes());
    rig.publish_all((0..300).map(numbered)).await?;

    let everything = messages(&mut all, 300).await?;
    assert_eq!(seqs(&everything), (1..=300).collect::<Vec<_>>());
    let every_third = messages(&mut one, 100).await?;
    assert_eq!(seqs(&every_third), (1..=100).collect::<Vec<_>>());
    for (n, message) in (0..).zip(&everything) {
        let same = v1.expect("message").await?;
        assert_eq!(message["data"], n);
        for field in ["channel", "offset", "ts", "data"] {
            assert_eq!(message[field], same[field], "{field}");
        }
    }
    assert_eq!(every_third[99]["data"], 297);
    Ok(())
}

#[tokio::test]
async fn subscriptions_are_taken_in_every_spelling_and_acknowledged_as_asked() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = connect(rig.client_addr).await?;
    let subject = format!("{PREFIX}BTC.update");
    for (command, subscribed, count) in [
        (
            json!({"type": "subscribe", "channels": [&subject, "other.trending"]}),
            json!([&subject, "other.trending"]),
            2,
        ),
        (
            json!({"type": "subscribe", "data": {"channels": ["ETH.update"]}}),
            json!(["ETH.update"]),
            3,
        ),
        (json!({"type": "subscribe", "tokens": ["SOL"]}), json!(["SOL"]), 4),
        (json!({"type": "subscribe", "channels": ["BTC.update"]}), json!(["BTC.update"]), 4),
    ] {
        client.send(&command).await?;
        let ack = client.expect("subscription_ack").await?;
        assert_eq!((&ack["subscribed"], &ack["count"]), (&subscribed, &json!(count)), "{command}");
    }
    for channel in ["BTC.update", "SOL.price", "other.trending", "DOGE.update", "ETH.update"] {
        rig.publish(channel, "{}").await?;
    }
    let got: Vec<_> = messages(&mut client, 4)
        .await?
        .into_iter()
        .map(|message| message["channel"].clone())
        .collect();
    assert_eq!(got, ["BTC.update", "SOL.price", "other.trending", "ETH.update"]);

    client.send(&json!({"type": "unsubscribe", "tokens": ["SOL", "DOGE"]})).await?;
    let ack = client.expect("unsubscription_ack").await?;
    assert_eq!((&ack["unsubscribed"], &ack["count"]), (&json!(["SOL"]), &json!(3)));
    client.send(&json!({"type": "unsubscribe", "data": {"channels": [&subject]}})).await?;
    let ack = client.expect("unsubscription_ack").await?;
    assert_eq!((&ack["unsubscribed"], &ack["count"]), (&json!([&subject]), &json!(2)));

    client
        .send(&json!({"type": "subscribe", "tokens": ["*", "A.B"], "channels": ["a..b"]}))
        .await?;
    let ack = client.expect("subscription_ack").await?;
    let codes: Vec<_> =
        ack["rejected"].as_array().context("no list")?.iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, ["invalid_channel", "invalid_token", "invalid_token"]);
    Ok(())
}

#[tokio::test]
async fn greeting_pings_and_heartbeats_have_the_fields_that_clients_read() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = connect(rig.client_addr).await?;
    let hello = &client.hello;
    assert_eq!((&hello["pod"], &hello["clientId"]), (&json!("pod-1"), &hello["connectionId"]));
    assert_eq!(hello["timestamp"], hello["ts"]);
    assert!(hello["nonce"].is_string() && hello["limits"]["subscriptions"].is_u64(), "{hello}");

    client.send(&json!({"type": "ping", "timestamp": 1_640_995_200_000_u64})).await?;
    let pong = client.expect("pong").await?;
    assert_eq!(pong["timestamp"], 1_640_995_200_000_u64);
    client.send(&json!({"type": "heartbeat"})).await?;
    let pong = client.expect("pong").await?;
    assert!(pong["ts"].is_u64() && pong["timestamp"] == pong["ts"], "{pong}");
    Ok(())
}

#[tokio::test]
async fn the_type_is_the_payloads_own_else_the_rules_else_price_update() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.channels.rules = vec![
            Rule { message_type: Some("token_update".to_owned()), ..rule("*.update") },
            rule("*.price"),
        ];
    })
    .await?;
    let mut client = subscriber(rig.client_addr, &[">"]).await?;
    let table = [
        ("BTC.price", r#"{"price":1}"#, "price:update"),
        ("BTC.price", r#"{"type":"trade:executed"}"#, "trade:executed"),
        ("BTC.update", r#"{"price":1}"#, "token_update"),
        ("BTC.update", r#"{"type":"market:stats"}"#, "market:stats"),
        ("BTC.update", r#"{"type":"connection:established"}"#, "token_update"),
        ("BTC.update", r#"{"type":"trade"}"#, "token_update"),
        ("BTC.trade", "not JSON", "price:update"),
        ("BTC.trade", r#"{"type":"heartbeat","data":[]}"#, "heartbeat"),
    ];
    for (channel, payload, _) in table {
        rig.publish(channel, payload).await?;
    }
    for (message, (channel, payload, kind)) in messages(&mut client, 8).await?.iter().zip(table) {
        assert_eq!(
            (&message["type"], &message["channel"]),
            (&json!(kind), &json!(channel)),
            "{payload}"
        );
        match payload {
            "not JSON" => assert_eq!(message["encoding"], "base64"),
            _ => assert_eq!(message["data"], serde_json::from_str::<Value>(payload)?),
        }
    }
    Ok(())
}

#[tokio::test]
async fn where_the_rule_says_flat_the_payloads_fields_stand_beside_the_number() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.channels.rules = vec![Rule { flat: true, ..rule("*.flat") }];
    })
    .await?;
    let mut client = subscriber(rig.client_addr, &[">"]).await?;
    for (channel, payload) in [
        ("BTC.flat", r#"{"type":"price:update","tokenId":"BTC","price":1}"#),
        ("BTC.flat", r#"{"type":"trending_update","data":{"top_100":[]}}"#),
        ("BTC.flat", "not JSON"),
        ("BTC.price", r#"{"price":2}"#),
    ] {
        rig.publish(channel, payload).await?;
    }
    let got = messages(&mut client, 4).await?;
    assert_eq!(seqs(&got), [1, 2, 3, 4]);
    assert_eq!((&got[0]["tokenId"], &got[0]["price"]), (&json!("BTC"), &json!(1)));
    assert!(got[0].get("data").is_none(), "{}", got[0]);
    assert_eq!(
        (&got[1]["type"], &got[1]["data"]),
        (&json!("trending_update"), &json!({"top_100": []}))
    );
    assert_eq!((&got[2]["encoding"], &got[3]["data"]["price"]), (&json!("base64"), &json!(2)));
    client.send(&json!({"type": "replay", "from": 1, "to": 1})).await?;
    assert_eq!(messages(&mut client, 1).await?[0]["tokenId"], "BTC");
    Ok(())
}

#[tokio::test]
async fn clients_that_never_subscribe_get_what_the_gateway_gives_them_from_the_start() -> Result<()>
{
    let rig = Rig::start_with(|config| {
        config.listener.default_protocol = Protocol::Odin;
        config.odin.initial_channels = vec!["*.price".to_owned(), "other.>".to_owned()];
    })
    .await?;
    // Without a protocol and without a path, as the page of the first server does.
    let stream = TcpStream::connect(rig.client_addr).await?;
    let mut client = Client::open(stream, "/", None).await?;
    client.expect("connection:established").await?;
    for channel in ["BTC.price", "BTC.trade", "other.a"] {
        rig.publish(channel, "{}").await?;
    }
    let got = messages(&mut client, 2).await?;
    assert_eq!((seqs(&got), &got[1]["channel"]), (vec![1, 2], &json!("other.a")));
    client.send(&json!({"type": "unsubscribe", "channels": ["*.price"]})).await?;
    assert_eq!(client.expect("unsubscription_ack").await?["count"], 1);
    Ok(())
}

#[tokio::test]
async fn only_protocols_that_are_served_are_agreed_to() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.listener.protocols = vec![Protocol::Odin];
        config.listener.default_protocol = Protocol::Odin;
    })
    .await?;
    for asked in ["wsgateway.v1", "symbols.v1", "graphql-ws"] {
        let refused =
            upgrade_refused(rig.client_addr, &format!("Sec-WebSocket-Protocol: {asked}\r\n"))
                .await?;
        assert_eq!(refused.status, 400, "{asked}");
        assert_eq!(refused.json()?["code"], "no_common_protocol");
    }
    let mut client = Client::open(TcpStream::connect(rig.client_addr).await?, "/ws", None).await?;
    assert!(client.expect("connection:established").await?["clientId"].is_string());
    // The page is still there for those who ask for no upgrade.
    assert!(get(rig.client_addr, "/").await?.body.contains("<html"));
    Ok(())
}

#[tokio::test]
async fn data_comes_uncompressed_and_large_messages_whole() -> Result<()> {
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = 8 << 20;
    })
    .await?;
    let headers =
        "Sec-WebSocket-Protocol: odin.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n";
    let mut raw = Raw::connect_asking(rig.client_addr, headers).await?;
    assert!(raw.head.to_lowercase().contains("permessage-deflate"), "{}", raw.head);
    raw.write(&frame(TEXT, br#"{"type":"subscribe","channels":["a"]}"#)).await;
    assert_eq!(raw.json().await?["type"], "subscription_ack");
    let sizes = [1_usize, 20, 30, 40, 50, 600, 16_300, 16_384, 65_400, 65_536, 200_000, 900_000];
    for size in sizes {
        let payload = json!({ "x": "x".repeat(size) });
        rig.publish("a", payload.to_string()).await?;
        let frame = raw.frame().await?.context("no message")?;
        assert!(!frame.compressed, "{size}");
        assert_eq!(serde_json::from_slice::<Value>(&frame.payload)?["data"], payload);
    }
    Ok(())
}

/// Connects with a receive buffer that fills quickly.
async fn with_small_buffer(address: SocketAddr) -> Result<Client> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let mut client = connect_over(socket.connect(address).await?).await?;
    client.send(&json!({ "type": "subscribe", "channels": [">"] })).await?;
    client.expect("subscription_ack").await?;
    Ok(client)
}

fn kibibytes(count: u64, size: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    let filler = "x".repeat(size << 10);
    (0..count)
        .map(move |n| ("a".to_owned(), json!({ "n": n, "x": filler }).to_string().into_bytes()))
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_with_4008_and_nothing_is_left_out_for_it() -> Result<()>
{
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = 256 << 10;
        config.channels.rules = vec![Rule { delivery: Delivery::Latest, ..rule(">") }];
    })
    .await?;
    let mut slow = with_small_buffer(rig.client_addr).await?;
    for chunk in kibibytes(300, 16).collect::<Vec<_>>().chunks(4) {
        rig.publish_all(chunk.to_vec()).await?;
        if rig.stat("slowConsumers").await? > 0 {
            break;
        }
    }
    let (pushes, code) = slow.until_closed().await?;
    assert_eq!(code, 4008);
    assert_eq!(seqs(&pushes), (1..=pushes.len() as u64).collect::<Vec<_>>(), "no gap, no hole");
    assert_eq!(rig.metric("wsgateway_conflated_total").await?, 0);
    wait_until(SOON, "memory given back", async || {
        rig.stat("outboxBytes").await.is_ok_and(|bytes| bytes == 0)
    })
    .await
}

#[tokio::test]
async fn a_client_that_reads_late_gets_every_number_in_order() -> Result<()> {
    const COUNT: u64 = 400;
    let rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = 64 << 20;
        config.slow_consumer.grace = wsgateway_config::Millis(60_000);
    })
    .await?;
    let mut late = with_small_buffer(rig.client_addr).await?;
    // Of many sizes, so that frames are cut at every place.
    let sizes = [1, 3, 40];
    let mixed: Vec<_> = (0..COUNT).flat_map(|n| kibibytes(1, sizes[n as usize % 3])).collect();
    rig.publish_all(mixed).await?;
    wait_until(SOON, "messages that wait in the gateway", async || {
        rig.stat("outboxBytes").await.is_ok_and(|bytes| bytes > 0)
    })
    .await?;
    let got = messages(&mut late, COUNT as usize).await?;
    assert_eq!(seqs(&got), (1..=COUNT).collect::<Vec<_>>());
    let offsets: Vec<_> = got.iter().filter_map(|message| message["offset"].as_u64()).collect();
    assert!(offsets.is_sorted_by(|a, b| a < b) && offsets.len() as u64 == COUNT);
    Ok(())
}

#[tokio::test]
async fn hostile_commands_are_answered_and_the_connection_goes_on() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = connect(rig.client_addr).await?;
    for (text, code) in [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("[]", "invalid_command"),
        (r#"{"type":"subscribe"}"#, "invalid_command"),
        (r#"{"type":"subscribe","tokens":{}}"#, "invalid_command"),
        (r#"{"type":"subscribe","data":{"channels":"x"}}"#, "invalid_command"),
        (r#"{"type":"replay","data":{"from":-1,"to":2}}"#, "invalid_command"),
        (r#"{"type":"replay","from":9,"to":2}"#, "invalid_command"),
        (r#"{"type":"connection:established"}"#, "unknown_type"),
        (r#"{"action":"subscribe","symbols":["AAPL"]}"#, "invalid_command"),
        (
            r#"{"type":"subscribe","channels":["a"],"resume":{"epoch":1,"offset":1}}"#,
            "invalid_command",
        ),
    ] {
        client.send_text(text).await?;
        let error = client.expect("error").await?;
        assert_eq!(error["code"], code, "{text}");
    }
    client.send(&json!({"type": "subscribe", "channels": ["a"]})).await?;
    client.expect("subscription_ack").await?;
    rig.publish("a", "1").await?;
    assert_eq!(messages(&mut client, 1).await?[0]["seq"], 1);
    Ok(())
}
