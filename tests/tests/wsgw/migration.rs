//! The clients, publishers and load scripts of the five systems that this project replaces, on the manifests of
//! docs/migration.md: each test speaks what those say, byte for byte where they are documented, and copies none of them.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use harness::{Nats, Redis, Scratch, WsgwDev, repository};
use serde_json::{Value, json};

use self::earlier::{Earlier, get};
use super::{ANY_PORT, SOON, with_input};

#[path = "migration/earlier.rs"]
mod earlier;
#[path = "migration/page.rs"]
mod page;

/// A secret of the length that gateways ask for.
const JWT_SECRET: &str = "a-jwt-secret-of-more-than-thirty-two-bytes";

fn manifest(name: &str) -> Result<String> {
    let file: PathBuf = repository().join(format!("examples/migration/{name}.yaml"));
    Ok(file.to_str().context("a path in UTF-8")?.to_owned())
}

/// What the earlier servers' publishers do: core NATS, whatever keeps it.
struct Publisher(async_nats::Client);

impl Publisher {
    async fn send(&self, subject: &str, payload: &Value) -> Result<()> {
        self.0.publish(subject.to_owned(), payload.to_string().into()).await?;
        Ok(self.0.flush().await?)
    }
}

/// A gateway of a manifest on a NATS server of the test's own, where nobody else publishes.
struct Rig {
    dev: WsgwDev,
    publisher: Publisher,
    _nats: Nats,
}

impl Rig {
    async fn start(name: &str, more: &[&str]) -> Result<Self> {
        let (nats, file) = (Nats::start().await?, manifest(name)?);
        let url = nats.url();
        let mut arguments = vec!["-f", &file, "--nats", &url, "--no-market"];
        arguments.extend(ANY_PORT);
        arguments.extend(more);
        let dev = WsgwDev::start(&arguments).await?;
        let publisher = Publisher(nats.client().await?);
        Ok(Self { dev, publisher, _nats: nats })
    }

    /// A client that names no subprotocol, as all of them do.
    async fn client(&self, path_and_query: &str) -> Result<Earlier> {
        Earlier::connect(self.dev.url(), path_and_query).await
    }
}

fn price(nonce: &str, price: f64) -> Value {
    json!({
        "type": "price:update", "tokenId": "BTC", "price": price, "volume24h": 125_000_000,
        "priceChange24h": 2.5, "timestamp": 1_640_995_200_000_u64, "source": "simulator", "nonce": nonce,
    })
}

/// `tests/load-test.js` and `client/index.html`: no path beyond /ws, nothing subscribed, pings with a fraction of a
/// millisecond, every frame counted, closed with 1000; /health and /stats on the same port.
#[tokio::test]
async fn pages_and_the_load_test_of_the_first_server_find_what_they_read() -> Result<()> {
    const CLIENTS: usize = 20;
    let rig = Rig::start("s0-odin-node", &[]).await?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = rig.client("ws").await?;
        let hello = client.next().await?;
        ensure!(hello["type"] == "connection:established" && hello["clientId"].is_string());
        clients.push(client);
    }
    for subject in ["odin.tokens.BTC.price", "odin.token.BTC.price"] {
        rig.publisher.send(subject, &price("n", 43_250.0)).await?;
    }
    for client in &mut clients {
        for _ in 0..2 {
            let update = client.next().await?;
            for (field, value) in price("n", 43_250.0).as_object().context("no object")? {
                assert_eq!(&update[field], value, "{field}");
            }
        }
        client.send(r#"{"type":"ping","timestamp":1234.5678}"#).await?;
        let pong = client.next().await?;
        assert_eq!((&pong["type"], &pong["timestamp"]), (&json!("pong"), &json!(1234.5678)));
    }
    let health = get(rig.dev.url(), "health").await?;
    assert!(health["status"].is_string() && health["healthy"] == true, "{health}");
    assert!(health["uptime"].is_number(), "{health}");
    assert!(health["websocket"]["totalConnections"].as_u64() >= Some(1), "{health}");
    let stats = get(rig.dev.url(), "stats").await?;
    for field in
        ["currentConnections", "totalConnections", "messagesSent", "messagesReceived", "uptime"]
    {
        assert!(stats[field].is_number(), "{field} in {stats}");
    }
    for client in clients {
        assert_eq!(client.close().await?, 1000);
    }
    Ok(())
}

/// `load-test.ts` and `auth-token.ts`: a token of a shared secret whose user is called userId, in `?token=`; pings that
/// name their client, and pongs whose originalTimestamp gives the latency; nonces that come once.
#[tokio::test]
async fn the_load_test_of_the_second_server_comes_with_its_own_tokens_and_measures_its_latency()
-> Result<()> {
    let secrets = Scratch::new("migration")?;
    std::fs::create_dir(secrets.join("odin-jwt"))?;
    secrets.write("odin-jwt/secret", JWT_SECRET)?;
    let folder = secrets.path().to_str().context("a path in UTF-8")?.to_owned();
    let rig = Rig::start("s1-odin-typescript", &["--secrets", &folder]).await?;

    let now = jsonwebtoken::get_current_timestamp();
    let claims = json!({ "userId": "load-test-user", "iat": now, "exp": now + 24 * 60 * 60 });
    let key = jsonwebtoken::EncodingKey::from_secret(JWT_SECRET.as_bytes())?;
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key)?;
    let mut client = rig.client(&format!("ws?token={token}")).await?;
    let hello = client.next().await?;
    assert_eq!(
        (&hello["type"], &hello["user"]),
        (&json!("connection:established"), &json!("load-test-user"))
    );

    client.send(r#"{"type":"ping","timestamp":5021.25,"clientId":"load-test-1"}"#).await?;
    let pong = client.next().await?;
    assert_eq!((&pong["type"], &pong["originalTimestamp"]), (&json!("pong"), &json!(5021.25)));

    for (subject, payload) in [
        ("odin.token.BTC.price", price("1_a", 1.0)),
        ("odin.token.BTC.price", price("1_a", 1.0)),
        ("odin.token.BTC.volume", json!({ "tokenId": "BTC", "volume24h": 2, "nonce": "1_b" })),
        ("odin.trades.BTC", json!({ "tokenId": "BTC", "price": 3, "nonce": "1_c" })),
        ("odin.token.batch.update", json!({ "updates": [], "nonce": "1_d" })),
        ("odin.market.statistics", json!({ "activeTokens": 5, "nonce": "1_e" })),
    ] {
        rig.publisher.send(subject, &payload).await?;
    }
    for kind in ["price:update", "volume:update", "trade:executed", "batch:update", "market:stats"]
    {
        let update = client.next().await?;
        assert_eq!(update["type"], kind);
        assert!(update["nonce"].is_string(), "a nonce in the message itself: {update}");
    }
    let error = rig.client("ws?token=forged").await.err().context("a forged token is accepted")?;
    assert!(error.to_string().contains("401"), "{error}");
    Ok(())
}

/// `stress-test-go.cjs`, the simulator and `sustained-load-test.cjs`: no greeting, every frame has a type, the numbers
/// have no holes and can be asked for again, and /health has what they print.
#[tokio::test]
async fn the_stress_tests_of_the_go_server_count_prices_and_pongs_and_read_its_health() -> Result<()>
{
    let rig = Rig::start("s2-odin-go", &[]).await?;
    let mut client = rig.client("ws").await?;
    client.send(r#"{"type":"ping","timestamp":1640995200000,"connectionId":0}"#).await?;
    assert_eq!(client.next().await?["type"], "pong", "the first frame: there is no greeting");
    for n in 1..=5 {
        rig.publisher.send("odin.token.BTC.price", &price(&n.to_string(), f64::from(n))).await?;
    }
    for n in 1..=5 {
        let update = client.next().await?;
        assert_eq!((&update["seq"], &update["type"]), (&json!(n), &json!("price:update")));
        assert!(update["ts"].is_u64() && update["data"]["price"] == f64::from(n), "{update}");
    }
    client.send(r#"{"type":"replay","data":{"from":2,"to":3}}"#).await?;
    for n in [2, 3] {
        assert_eq!(client.next().await?["seq"], n);
    }
    assert_eq!(client.next().await?["type"], "replay_complete");
    client.send(r#"{"type":"heartbeat"}"#).await?;
    assert_eq!(client.next().await?["type"], "pong");

    let health = get(rig.dev.url(), "health").await?;
    assert!(health["status"].is_string() && health["healthy"] == true, "{health}");
    let checks = &health["checks"];
    assert_eq!(checks["nats"], json!({ "status": "connected", "healthy": true }));
    for (check, fields) in [
        ("capacity", ["current", "max", "percentage"].as_slice()),
        ("memory", &["used_mb", "limit_mb", "percentage"]),
        ("cpu", &["percentage"]),
    ] {
        for field in fields {
            assert!(checks[check][field].is_number(), "{check}.{field} in {health}");
        }
    }
    assert_eq!(checks["capacity"]["max"], 2184);
    assert!(health["warnings"].is_array() && health["errors"].is_array(), "{health}");
    Ok(())
}

/// The page of the plan: `?auth=`, whole subjects, messages that it tells apart by type, and a replay as soon as a number
/// is missing.
#[tokio::test]
async fn the_web_client_of_the_plan_subscribes_by_whole_subjects_with_its_token_in_the_address()
-> Result<()> {
    let secrets = Scratch::new("migration")?;
    std::fs::create_dir(secrets.join("odin-jwt"))?;
    secrets.write("odin-jwt/key.pem", super::PUBLIC_KEY)?;
    let folder = secrets.path().to_str().context("a path in UTF-8")?.to_owned();
    let rig = Rig::start("s3-odin-jetstream", &["--secrets", &folder]).await?;
    let claims = json!({ "sub": "ann", "exp": jsonwebtoken::get_current_timestamp() + 600 });
    let key = jsonwebtoken::EncodingKey::from_ed_pem(super::PRIVATE_KEY.as_bytes())?;
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    let token = jsonwebtoken::encode(&header, &claims, &key)?;

    let mut client = rig.client(&format!("ws?auth={token}")).await?;
    let wanted = ["odin.token.abc.update", "odin.global.trending"];
    client.send(&json!({ "type": "subscribe", "channels": wanted }).to_string()).await?;
    let ack = client.next().await?;
    assert_eq!((&ack["type"], &ack["subscribed"]), (&json!("subscription_ack"), &json!(wanted)));
    for (subject, payload) in [
        ("odin.token.abc.update", json!({ "id": "abc", "price": 1, "holder_count": 7 })),
        ("odin.token.abc.comment", json!({ "id": 1 })),
        ("odin.token.other.update", json!({ "id": "other" })),
        (
            "odin.global.trending",
            json!({ "type": "trending_update", "data": { "top_100": [{ "id": "abc" }] } }),
        ),
    ] {
        rig.publisher.send(subject, &payload).await?;
    }
    let update = client.next().await?;
    assert_eq!((&update["seq"], &update["type"]), (&json!(1), &json!("token_update")));
    assert_eq!(update["data"]["id"], "abc");
    let trending = client.next().await?;
    assert_eq!((&trending["seq"], &trending["type"]), (&json!(2), &json!("trending_update")));
    assert_eq!(trending["data"]["top_100"][0]["id"], "abc");
    client.send(r#"{"type":"replay","from_seq":1,"to_seq":1}"#).await?;
    assert_eq!(client.next().await?["seq"], 1);
    assert_eq!(client.next().await?["type"], "replay_complete");
    client
        .send(&json!({ "type": "unsubscribe", "channels": ["odin.token.abc.update"] }).to_string())
        .await?;
    assert_eq!(client.next().await?["type"], "unsubscription_ack");
    Ok(())
}

/// `client-example.ts`, `wscat` and `test-publisher.ts`, on two instances.
#[tokio::test]
async fn the_example_client_of_the_redis_gateway_gets_its_trades_from_each_instance() -> Result<()>
{
    let (redis, file) = (Redis::start().await?, manifest("s4-symbols-redis")?);
    let url = redis.url();
    let mut arguments = vec!["-f", &file, "--redis", &url];
    arguments.extend(ANY_PORT);
    for dev in [WsgwDev::start(&arguments).await?, WsgwDev::start(&arguments).await?] {
        let mut client = Earlier::connect(dev.url(), "").await?;
        client.send(r#"{"action":"subscribe","symbols":["AAPL","GOOGL","MSFT"]}"#).await?;
        let answer = client.next().await?;
        assert_eq!(answer["message"], "Successfully subscribed to 3 symbol(s)");
        client.send(r#"{"action":"unsubscribe","symbols":["MSFT"]}"#).await?;
        assert_eq!(client.next().await?["data"]["currentSubscriptions"], json!(["AAPL", "GOOGL"]));
        client.send(r#"{"action":"subscribe","symbols":["TSLA"]}"#).await?;
        assert_eq!(client.next().await?["data"]["subscribed"], json!(["TSLA"]));
        client.send(r#"{"action":"subscribe","symbols":["A","B","C"]}"#).await?;
        let refused = client.next().await?;
        let words = "Cannot subscribe: would exceed maximum of 5 symbols";
        assert_eq!((&refused["type"], &refused["message"]), (&json!("error"), &json!(words)));
        client.send(r#"{"action":"ping"}"#).await?;
        assert_eq!(client.next().await?["type"], "pong");

        let trade = json!({
            "symbol": "AAPL", "price": 150.25, "volume": 100, "timestamp": 1_234_567_890, "exchange": "NASDAQ",
        });
        redis.publish("channel:trade:MSFT", "{}").await?;
        redis.publish("channel:trade:AAPL", &trade.to_string()).await?;
        let got = client.next().await?;
        assert_eq!((&got["type"], &got["data"]), (&json!("trade"), &trade));
        assert!(got["timestamp"].is_u64(), "{got}");
    }
    Ok(())
}
