//! symbols.v1: what the clients of the Redis gateway send and read.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use wsgateway_config::{Protocol, Rule};

use super::client::Client;
use super::conflation::latest;
use super::rig::{Rig, config, ready, start};

async fn connect(address: SocketAddr) -> Result<Client> {
    Client::open(TcpStream::connect(address).await?, "/ws", Some("symbols.v1")).await
}

/// Sends a command; the answer must be of a type.
async fn ask(client: &mut Client, action: &str, symbols: &Value, kind: &str) -> Result<Value> {
    client.send(&json!({ "action": action, "symbols": symbols })).await?;
    let answer = client.expect(kind).await?;
    ensure!(answer["timestamp"].is_u64(), "{answer}");
    Ok(answer)
}

fn trade(symbol: &str, price: f64) -> String {
    json!({ "symbol": symbol, "price": price, "volume": 100, "exchange": "NASDAQ" }).to_string()
}

/// The session of the example client: three symbols, then one for another.
#[tokio::test]
async fn the_example_client_sees_what_it_expects() -> Result<()> {
    let rig =
        Rig::start_with(|config| config.listener.default_protocol = Protocol::Symbols).await?;
    // It names no protocol and no path.
    let stream = TcpStream::connect(rig.client_addr).await?;
    let mut client = Client::open(stream, "/", None).await?;
    let answer =
        ask(&mut client, "subscribe", &json!(["AAPL", "GOOGL", "MSFT"]), "success").await?;
    assert_eq!(answer["message"], "Successfully subscribed to 3 symbol(s)");
    assert_eq!(
        answer["data"],
        json!({
            "subscribed": ["AAPL", "GOOGL", "MSFT"],
            "currentSubscriptions": ["AAPL", "GOOGL", "MSFT"],
        })
    );
    rig.publish("AAPL.trade", trade("AAPL", 150.25)).await?;
    rig.publish("TSLA.trade", trade("TSLA", 1.0)).await?;
    rig.publish("MSFT.trade", trade("MSFT", 2.0)).await?;
    let first = client.next().await?;
    assert_eq!((&first["type"], &first["data"]["price"]), (&json!("trade"), &json!(150.25)));
    let fields: Vec<_> = first.as_object().context("no object")?.keys().collect();
    assert_eq!(fields, ["data", "timestamp", "type"]);
    assert!(first["timestamp"].is_u64());
    assert_eq!(client.expect("trade").await?["data"]["symbol"], "MSFT");

    let answer = ask(&mut client, "unsubscribe", &json!(["MSFT"]), "success").await?;
    assert_eq!(answer["message"], "Successfully unsubscribed from 1 symbol(s)");
    assert_eq!(answer["data"]["unsubscribed"], json!(["MSFT"]));
    let answer = ask(&mut client, "subscribe", &json!(["TSLA"]), "success").await?;
    let mut current = answer["data"]["currentSubscriptions"].as_array().context("no list")?.clone();
    current.sort_by_key(ToString::to_string);
    assert_eq!(current, ["AAPL", "GOOGL", "TSLA"]);
    rig.publish("MSFT.trade", trade("MSFT", 3.0)).await?;
    rig.publish("TSLA.trade", trade("TSLA", 4.0)).await?;
    assert_eq!(client.expect("trade").await?["data"]["price"], 4.0);

    client.send(&json!({ "action": "ping" })).await?;
    let pong = client.expect("pong").await?;
    assert!(pong["timestamp"].is_u64() && pong.as_object().is_some_and(|fields| fields.len() == 2));
    Ok(())
}

#[tokio::test]
async fn the_limit_of_symbols_is_told_in_the_known_words_and_nothing_is_half_done() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = connect(rig.client_addr).await?;
    let full = "Cannot subscribe: would exceed maximum of 5 symbols";
    let error =
        ask(&mut client, "subscribe", &json!(["A", "B", "C", "D", "E", "F"]), "error").await?;
    assert_eq!(error["message"], full);
    // The same symbol twice is one, and one that is there already is no more.
    ask(&mut client, "subscribe", &json!(["A", "A", "B", "C"]), "success").await?;
    let answer = ask(&mut client, "subscribe", &json!(["B", "C", "D", "E"]), "success").await?;
    assert_eq!(answer["data"]["currentSubscriptions"], json!(["A", "B", "C", "D", "E"]));
    let error = ask(&mut client, "subscribe", &json!(["A", "G"]), "error").await?;
    assert_eq!(error["message"], full);
    let answer = ask(&mut client, "unsubscribe", &json!(["E", "G"]), "success").await?;
    assert_eq!(answer["message"], "Successfully unsubscribed from 1 symbol(s)");
    let answer = ask(&mut client, "subscribe", &json!(["G"]), "success").await?;
    assert_eq!(answer["data"]["currentSubscriptions"], json!(["A", "B", "C", "D", "G"]));
    Ok(())
}

#[tokio::test]
async fn symbols_reach_no_other_channels_and_bad_ones_are_refused_with_all_that_came_along()
-> Result<()> {
    let rig = Rig::start_with(|config| {
        config.symbols.template = Some("channel:trade:{symbol}".to_owned());
    })
    .await?;
    let mut client = connect(rig.client_addr).await?;
    let long = "x".repeat(65);
    for bad in ["*", ">", "A.B", "", "A B", "A\u{0}", "A*", "secret.>", &long] {
        let error = ask(&mut client, "subscribe", &json!(["GOOD", bad]), "error").await?;
        let message = error["message"].as_str().context("no message")?;
        assert!(message.starts_with("Invalid symbol"), "{bad:?}: {message}");
    }
    for (text, message) in [
        ("", "Invalid JSON"),
        ("[]", "Invalid message"),
        (r#"{"type":"subscribe","channels":["a"]}"#, "Missing action"),
        (r#"{"action":"jump"}"#, "Unknown action"),
        (r#"{"action":"subscribe","symbols":[]}"#, "Invalid symbols"),
    ] {
        client.send_text(text).await?;
        let error = client.expect("error").await?;
        assert!(error["message"].as_str().is_some_and(|m| m.starts_with(message)), "{error}");
    }
    let answer = ask(&mut client, "subscribe", &json!(["LAST"]), "success").await?;
    assert_eq!(answer["data"]["currentSubscriptions"], json!(["LAST"]), "nothing of all that");
    rig.publish("channel.trade.GOOD", "1").await?;
    rig.publish("channel.trade.LAST", "2").await?;
    rig.publish("channel.trade.LAST", "no JSON").await?;
    assert_eq!(client.expect("trade").await?["data"], 2);
    assert_eq!(client.expect("trade").await?["encoding"], "base64");
    Ok(())
}

#[tokio::test]
async fn every_instance_gives_every_client_its_trades() -> Result<()> {
    let rig = Rig::start().await?;
    let second = start(config(&rig.nats.url()))?;
    ready(second.admin_addr).await?;
    let (mut one, mut other) =
        (connect(rig.client_addr).await?, connect(second.client_addr).await?);
    for client in [&mut one, &mut other] {
        ask(client, "subscribe", &json!(["AAPL"]), "success").await?;
    }
    rig.publish_all((0..200_u64).map(|n| ("AAPL.trade".to_owned(), n.to_string().into_bytes())))
        .await?;
    for client in [&mut one, &mut other] {
        for n in 0..200 {
            assert_eq!(client.expect("trade").await?["data"], n);
        }
    }
    second.abort();
    Ok(())
}

#[tokio::test]
async fn a_client_that_never_reads_is_closed_with_4008_and_one_that_stays_is_sent_away_at_the_end()
-> Result<()> {
    let mut rig = Rig::start_with(|config| {
        config.capacity.outbox_bytes_per_connection = 128 << 10;
    })
    .await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let stream = socket.connect(rig.client_addr).await?;
    let mut slow = Client::open(stream, "/ws", Some("symbols.v1")).await?;
    ask(&mut slow, "subscribe", &json!(["A"]), "success").await?;
    let payload = json!({ "x": "x".repeat(16 << 10) }).to_string();
    while rig.stat("slowConsumers").await? == 0 {
        rig.publish("A.trade", payload.clone()).await?;
    }
    assert_eq!(slow.until_closed().await?.1, 4008);

    let mut idle = connect(rig.client_addr).await?;
    ask(&mut idle, "subscribe", &json!(["B"]), "success").await?;
    let ending = tokio::spawn(async move { idle.until_closed().await });
    rig.shutdown().await?;
    assert_eq!(ending.await??, (Vec::new(), 1012), "no words that such a client does not know");
    Ok(())
}

#[tokio::test]
async fn a_rate_holds_for_symbols_too_and_the_newest_trade_arrives_without_a_word_of_gaps()
-> Result<()> {
    const RATE: u16 = 5;
    let rig = Rig::start_with(|config| {
        let rule = latest("*.trade");
        config.channels.rules = vec![Rule { max_rate: Some(RATE), ..rule }];
    })
    .await?;
    let mut client = connect(rig.client_addr).await?;
    ask(&mut client, "subscribe", &json!(["AAPL"]), "success").await?;
    let start = Instant::now();
    for n in 0..100_u64 {
        rig.publish("AAPL.trade", n.to_string()).await?;
    }
    let mut prices = Vec::new();
    while prices.last() != Some(&99) {
        let push = client.next().await?;
        // Those clients know no other push: a gap would be an error to them.
        ensure!(push["type"] == "trade", "{push}");
        prices.push(push["data"].as_u64().context("no price")?);
    }
    let most = start.elapsed().as_secs_f64() * f64::from(RATE) + 1.0;
    ensure!(prices.len() as f64 <= most, "{} trades, and {most} are allowed", prices.len());
    ensure!(prices.is_sorted_by(|one, other| one < other), "{prices:?}");
    Ok(())
}
