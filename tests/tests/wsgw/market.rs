//! `wsgw market` against real servers: commands over HTTP, messages as the earlier publishers sent them.

use std::collections::BTreeSet;

use futures_util::{FutureExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::*;

/// A market that publishes nothing yet.
async fn market(arguments: &[&str]) -> Result<WsgwDev> {
    let mut command = wsgw()?;
    for variable in ["NATS_URL", "REDIS_URL", "TOKENS", "RATE", "PORT"] {
        command.env_remove(variable);
    }
    command.arg("market").args(["--port", "0", "--wait"]).args(arguments);
    WsgwDev::spawn(command).await
}

/// Status and JSON of a request.
async fn ask(market: &WsgwDev, method: &str, path: &str, body: &str) -> Result<(u16, Value)> {
    let (status, body) = ask_with(market, method, path, body, "").await?;
    Ok((status, serde_json::from_str(&body).with_context(|| body.clone())?))
}

async fn ask_with(
    market: &WsgwDev,
    method: &str,
    path: &str,
    body: &str,
    header: &str,
) -> Result<(u16, String)> {
    let address = market.url().trim_start_matches("http://").trim_end_matches('/');
    let exchange = async {
        let mut socket = TcpStream::connect(address).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        Ok::<_, anyhow::Error>(String::from_utf8(answer)?)
    };
    let answer = tokio::time::timeout(SOON, exchange).await.context("no answer")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of the head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

async fn stats(market: &WsgwDev) -> Result<Value> {
    Ok(ask(market, "GET", "/stats", "").await?.1)
}

async fn at_least(market: &WsgwDev, field: &str, count: u64) -> Result<()> {
    wait_until(SOON, field, async || {
        stats(market).await.is_ok_and(|stats| stats[field].as_u64() >= Some(count))
    })
    .await
}

/// Stops it, and waits until everything that it made is published.
async fn stop(market: &WsgwDev) -> Result<Value> {
    let (status, answer) = ask(market, "POST", "/control/stop", "").await?;
    ensure!(status == 200 && answer["status"] == "stopped", "{answer}");
    wait_until(SOON, "the last confirmation", async || {
        stats(market).await.is_ok_and(|stats| stats["unconfirmed"] == 0)
    })
    .await?;
    stats(market).await
}

async fn stream(nats: &Nats, subject: &str) -> Result<async_nats::jetstream::stream::Stream> {
    let config = async_nats::jetstream::stream::Config {
        name: "MARKET".to_owned(),
        subjects: vec![subject.to_owned()],
        ..Default::default()
    };
    Ok(async_nats::jetstream::new(nats.client().await?).create_stream(config).await?)
}

/// Subjects and payloads of everything stored; the nonce of each is its `Nats-Msg-Id`.
async fn stored(stream: &async_nats::jetstream::stream::Stream) -> Result<Vec<(String, Value)>> {
    let last = stream.get_info().await?.state.last_sequence;
    let mut messages = Vec::new();
    for sequence in 1..=last {
        let message = stream.get_raw_message(sequence).await?;
        let payload: Value = serde_json::from_slice(&message.payload)?;
        let id = message.headers.get("Nats-Msg-Id").map(ToString::to_string);
        ensure!(payload["nonce"].as_str() == id.as_deref(), "{payload} has id {id:?}");
        messages.push((message.subject.to_string(), payload));
    }
    Ok(messages)
}

/// The numbers at the end of nonces.
fn numbers(messages: &[(String, Value)]) -> Vec<u64> {
    let mut numbers: Vec<u64> = messages
        .iter()
        .filter_map(|(_, payload)| payload["nonce"].as_str()?.rsplit('-').next()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Stops it, and ends it: everything that it made is in the stream, once and in order.
async fn all_is_stored(market: WsgwDev, jetstream: &async_nats::jetstream::Context) -> Result<()> {
    let stats = stop(&market).await?;
    let messages = stored(&jetstream.get_stream("MARKET").await?).await?;
    let generated = stats["generated"].as_u64().context("no number")?;
    assert_eq!(numbers(&messages), (1..=generated).collect::<Vec<_>>(), "{stats}");
    assert_eq!(stats["dropped"], 0, "{stats}");
    assert_eq!(market.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn the_market_starts_changes_and_stops_by_its_api() -> Result<()> {
    let nats = Nats::start().await?;
    let stream = stream(&nats, "odin.>").await?;
    let market = market(&["--nats", &nats.url(), "--tokens", "BTC,ETH"]).await?;
    let (_, state) = ask(&market, "GET", "/control", "").await?;
    assert_eq!((&state["status"], &state["tokens"]), (&json!("stopped"), &json!(["BTC", "ETH"])));

    let (status, answer) = ask(&market, "POST", "/control/start", r#"{"rate":200}"#).await?;
    assert_eq!((status, &answer["status"]), (200, &json!("started")), "{answer}");
    at_least(&market, "messagesPublished", 100).await?;
    let (_, health) = ask(&market, "GET", "/health", "").await?;
    assert_eq!(health["checks"]["nats"]["status"], "connected", "{health}");
    assert_eq!((&health["status"], &health["errors"]), (&json!("healthy"), &json!([])));
    let change = r#"{"rate":400,"tokens":["SOL"]}"#;
    let (status, answer) = ask(&market, "POST", "/control/configure", change).await?;
    assert_eq!((status, &answer["status"]), (200, &json!("configured")), "{answer}");
    let so_far = stats(&market).await?["messagesPublished"].as_u64().unwrap_or_default();
    at_least(&market, "messagesPublished", so_far + 100).await?;
    let stats = stop(&market).await?;

    let messages = stored(&stream).await?;
    assert_eq!(stats["messagesPublished"], messages.len());
    assert_eq!(numbers(&messages), (1..=messages.len() as u64).collect::<Vec<_>>());
    let subjects: BTreeSet<&str> = messages.iter().map(|(subject, _)| &**subject).collect();
    for subject in ["odin.token.BTC.price", "odin.token.SOL.trade", "odin.token.batch.update"] {
        assert!(subjects.contains(subject), "{subject} in {subjects:?}");
    }
    assert!(!subjects.contains("odin.token.DOGE.price"), "{subjects:?}");
    let (_, last) = messages.last().context("no message")?;
    assert!(last["timestamp"].is_u64() && last["source"].is_string(), "{last}");
    let (_, metrics) = ask_with(&market, "GET", "/metrics", "", "").await?;
    let published = format!("wsgw_market_published_total {}\n", messages.len());
    assert!(metrics.contains(&published), "{metrics}");
    Exposition::parse(&metrics)?.is_documented("market", &[])?;
    let ended = market.interrupt().await?;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let summary = format!("wsgw: published {} messages in ", messages.len());
    assert!(ended.output.contains(&summary), "{}", ended.output);
    Ok(())
}

#[tokio::test]
async fn a_restart_of_nats_loses_no_message_of_the_market_and_repeats_none() -> Result<()> {
    let mut nats = Nats::start().await?;
    stream(&nats, "odin.>").await?;
    let market = market(&["--nats", &nats.url(), "--rate", "1000"]).await?;
    ask(&market, "POST", "/control/start", "").await?;
    at_least(&market, "messagesPublished", 200).await?;

    nats.stop().await?;
    wait_until(SOON, "the lost connection", async || {
        ask(&market, "GET", "/health", "").await.is_ok_and(|(status, _)| status == 503)
    })
    .await?;
    nats.restart().await?;
    let before = stats(&market).await?["messagesPublished"].as_u64().unwrap_or_default();
    at_least(&market, "messagesPublished", before + 200).await?;
    let jetstream = async_nats::jetstream::new(nats.client().await?);
    all_is_stored(market, &jetstream).await
}

#[tokio::test]
async fn the_market_waits_for_a_nats_and_names_a_stream_that_is_missing() -> Result<()> {
    let nats = Nats::start().await?;
    let market = market(&["--nats", &nats.url()]).await?;
    ask(&market, "POST", "/control/start", r#"{"rate":100}"#).await?;
    wait_until(SOON, "no stream", async || {
        ask(&market, "GET", "/health", "").await.is_ok_and(|(status, health)| {
            status == 503 && health["errors"].to_string().contains("no stream takes odin.")
        })
    })
    .await?;
    // It goes on by itself once there is one.
    stream(&nats, "odin.>").await?;
    at_least(&market, "messagesPublished", 50).await?;
    wait_until(SOON, "health", async || {
        ask(&market, "GET", "/health", "").await.is_ok_and(|(status, _)| status == 200)
    })
    .await?;
    assert_eq!(market.interrupt().await?.code, Some(0));

    let nobody = format!("nats://127.0.0.1:{}", harness::free_port()?);
    let market = self::market(&["--nats", &nobody]).await?;
    let (status, health) = ask(&market, "GET", "/health", "").await?;
    assert_eq!((status, &health["errors"]), (503, &json!(["no connection to nats"])), "{health}");
    assert_eq!(market.interrupt().await?.code, Some(0));
    Ok(())
}

/// A server on which only BTC has a stream, and whose list of streams is asked for here: answers are as slow as the test.
async fn with_slow_lookups() -> Result<(Nats, async_nats::Subscriber)> {
    let nats = Nats::start_with("mappings: { \"$JS.API.STREAM.NAMES\": \"slow.names\" }").await?;
    let client = nats.client().await?;
    let lookups = client.subscribe("slow.names").await?;
    client.flush().await?;
    stream(&nats, "odin.token.BTC.>").await?;
    Ok((nats, lookups))
}

#[tokio::test]
async fn a_slow_lookup_of_streams_holds_up_no_confirmation_and_loses_no_message() -> Result<()> {
    let (nats, mut lookups) = with_slow_lookups().await?;
    let market = market(&["--nats", &nats.url(), "--tokens", "BTC,ETH"]).await?;
    ask(&market, "POST", "/control/start", r#"{"rate":500}"#).await?;
    let lookup = tokio::time::timeout(SOON, lookups.next()).await?.context("no lookup")?;
    // Meanwhile what the stream has is counted, and commands are carried out: each ends a wait.
    let jetstream = async_nats::jetstream::new(nats.client().await?);
    let of_btc = jetstream.get_stream("MARKET").await?;
    wait_until(SOON, "what is stored", async || {
        let stored = of_btc.get_info().await.map(|info| info.state.messages).unwrap_or_default();
        stats(&market).await.is_ok_and(|stats| stats["messagesPublished"] == stored && stored > 0)
    })
    .await?;
    for rate in [501, 502, 503] {
        ask(&market, "POST", "/control/configure", &format!(r#"{{"rate":{rate}}}"#)).await?;
    }
    assert_eq!(next_now(&mut lookups), None, "asked again before the first answer");
    let stats = stats(&market).await?;
    assert_eq!((&stats["dropped"], &stats["retries"]), (&json!(0), &json!(0)), "{stats}");

    // In the end there is a stream, and the answer says so.
    let mut config = of_btc.get_info().await?.config;
    config.subjects = vec!["odin.>".to_owned()];
    jetstream.update_stream(&config).await?;
    let reply = lookup.reply.context("no reply subject")?;
    let names = r#"{"type":"io.nats.jetstream.api.v1.stream_names_response","total":1,"offset":0,"limit":1024,"streams":["MARKET"]}"#;
    nats.client().await?.publish(reply, names.into()).await?;
    at_least(&market, "retries", 1).await?;
    all_is_stored(market, &jetstream).await
}

#[tokio::test]
async fn an_end_during_a_slow_lookup_counts_everything_that_is_confirmed() -> Result<()> {
    let (nats, mut lookups) = with_slow_lookups().await?;
    let market = market(&["--nats", &nats.url(), "--tokens", "BTC,ETH"]).await?;
    ask(&market, "POST", "/control/start", r#"{"rate":500}"#).await?;
    tokio::time::timeout(SOON, lookups.next()).await?.context("no lookup")?;
    let ended = market.interrupt().await?;
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let jetstream = async_nats::jetstream::new(nats.client().await?);
    let stored = stored(&jetstream.get_stream("MARKET").await?).await?.len();
    let summary = format!("wsgw: published {stored} messages in ");
    assert!(ended.output.contains(&summary), "{stored} stored: {}", ended.output);
    Ok(())
}

/// The subject of a message that is here already.
fn next_now(messages: &mut async_nats::Subscriber) -> Option<String> {
    messages.next().now_or_never()?.map(|message| message.subject.to_string())
}

#[tokio::test]
async fn requests_that_cannot_be_carried_out_change_nothing() -> Result<()> {
    let nobody = format!("nats://127.0.0.1:{}", harness::free_port()?);
    let market = market(&["--nats", &nobody, "--rate", "10"]).await?;
    let huge = format!(r#"{{"tokens":["{}"]}}"#, "x".repeat(200_000));
    for (method, path, body, expected, why) in [
        ("POST", "/control/start", r#"{"rate":1e9}"#, 400, "rate: must be a number from 0.1"),
        ("POST", "/control/start", r#"{"speed":1}"#, 400, "unknown field `speed`"),
        ("POST", "/control/configure", "", 400, "nothing to configure"),
        ("POST", "/control/start", &huge, 413, "131072 bytes"),
        ("POST", "/control/pause", "", 404, "/control/start"),
        ("GET", "/control/start", "", 405, "commands are POST"),
        ("GET", "/", "", 404, "/stats"),
    ] {
        let (status, answer) = ask(&market, method, path, body).await?;
        assert_eq!((status, &answer["status"]), (expected, &json!("error")), "{path}: {answer}");
        assert!(answer["errors"][0].as_str().is_some_and(|text| text.contains(why)), "{answer}");
    }
    let page = "Origin: https://example.com\r\n";
    assert_eq!(ask_with(&market, "POST", "/control/start", "", page).await?.0, 403);
    let (_, state) = ask(&market, "GET", "/control", "").await?;
    assert_eq!((&state["running"], &state["rate"]), (&json!(false), &json!(10.0)));
    Ok(())
}

#[tokio::test]
async fn trades_go_to_the_channels_of_redis_as_the_test_publisher_sent_them() -> Result<()> {
    let mut redis = Redis::start().await?;
    let client = redis::Client::open(redis.url())?;
    let mut subscriber = client.get_async_pubsub().await?;
    subscriber.psubscribe("channel:trade:*").await?;
    let market = market(&["--redis", &redis.url(), "--tokens", "AAPL,TSLA"]).await?;
    ask(&market, "POST", "/control/start", r#"{"rate":100}"#).await?;
    let mut trades = subscriber.on_message();
    let mut channels = BTreeSet::new();
    while channels.len() < 2 {
        let message = tokio::time::timeout(SOON, trades.next()).await?.context("no trade")?;
        let trade: Value = serde_json::from_slice(message.get_payload_bytes())?;
        let symbol = trade["symbol"].as_str().context("no symbol")?;
        assert_eq!(message.get_channel_name(), format!("channel:trade:{symbol}"));
        let keys: BTreeSet<_> =
            trade.as_object().context("no object")?.keys().map(|key| &**key).collect();
        assert_eq!(keys, ["exchange", "price", "symbol", "timestamp", "volume"].into());
        channels.insert(symbol.to_owned());
    }
    // It finds a Redis that was away.
    redis.restart().await?;
    let before = stats(&market).await?["messagesPublished"].as_u64().unwrap_or_default();
    at_least(&market, "messagesPublished", before + 10).await?;
    let stats = stop(&market).await?;
    assert_eq!(stats["target"], "redis");
    assert_eq!(market.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn variables_of_the_earlier_publisher_are_read_and_no_password_is_shown() -> Result<()> {
    let nats = Nats::start().await?;
    stream(&nats, "odin.>").await?;
    let mut command = wsgw()?;
    command.env_remove("REDIS_URL").arg("market");
    command.env("NATS_URL", nats.url()).env("PORT", "0").env("TOKENS", "ODIN,X").env("RATE", "50");
    let market = WsgwDev::spawn(command).await?;
    at_least(&market, "messagesPublished", 10).await?;
    let stats = stats(&market).await?;
    assert_eq!((&stats["tokens"], &stats["rate"]), (&json!(["ODIN", "X"]), &json!(50.0)));
    assert_eq!(market.interrupt().await?.code, Some(0));

    for (flag, url) in
        [("--nats", "nats://me:hunter2@127.0.0.1"), ("--redis", "redis://:hunter2@127.0.0.1")]
    {
        let error = self::market(&[flag, url]).await.unwrap_err().to_string();
        assert!(error.contains(flag) && !error.contains("hunter2"), "{error}");
    }
    Ok(())
}
