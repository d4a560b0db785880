//! A user or a token is disconnected: on every transport, and kept out for as long as a ban lasts.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use ::gateway::app::Running;
use ::gateway::reload::Given;
use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream;
use harness::{LogBook, Nats, wait_until};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use wsgateway_config::{Disconnect, GatewayConfig, Millis};

use super::client::Client;
use super::events::Events;
use super::http::{Answer, get, request, upgrade_request};
use super::process::Process;
use super::rig::{SOON, config, metric, nats_with_stream, publish_all, ready, start};
use super::tokens::{Issuer, anonymous, token};
use super::watched::Watched;

/// A gateway that asks for tokens, and whose list of disconnects changes while it runs.
struct Guarded {
    gateway: Running,
    config: GatewayConfig,
    address: SocketAddr,
    admin: SocketAddr,
    jetstream: jetstream::Context,
    _issuer: Issuer,
    _nats: Nats,
}

impl Guarded {
    async fn start() -> Result<Self> {
        Self::start_with(Vec::new()).await
    }

    /// With disconnects that stand before it starts.
    async fn start_with(disconnects: Vec<Disconnect>) -> Result<Self> {
        let (issuer, (nats, jetstream)) = (Issuer::new()?, nats_with_stream().await?);
        let mut config = config(&nats.url());
        config.auth = Some(issuer.auth());
        config.disconnects = disconnects;
        let gateway = start(config.clone())?;
        ready(gateway.admin_addr).await?;
        let (address, admin) = (gateway.client_addr, gateway.admin_addr);
        Ok(Self { gateway, config, address, admin, jetstream, _issuer: issuer, _nats: nats })
    }

    /// Has this list stand from now on.
    fn disconnect(&mut self, disconnects: &[Disconnect]) -> Result<()> {
        self.config.disconnects = disconnects.to_vec();
        self.reload()
    }

    fn reload(&self) -> Result<()> {
        self.gateway.reload(Given::of(self.config.clone())?)?;
        Ok(())
    }

    /// A client in a protocol, which has been let in.
    async fn open(&self, token: &str, protocol: &'static str) -> Result<Client> {
        open(self.address, token, protocol).await
    }

    /// One of `wsgateway.v1` that hears everything.
    async fn client(&self, token: &str) -> Result<Client> {
        let mut client = self.open(token, "wsgateway.v1").await?;
        client.hello = client.expect("connection:established").await?;
        client.subscribe(&[">"]).await?;
        Ok(client)
    }

    async fn publish(&self, channel: &str) -> Result<()> {
        publish_all(&self.jetstream, [(channel.to_owned(), b"1".to_vec())]).await.map(drop)
    }

    async fn becomes(&self, name: &str, wanted: u64) -> Result<()> {
        wait_until(SOON, &format!("{name} {wanted}"), async || {
            metric(self.admin, name).await.is_ok_and(|value| value == wanted)
        })
        .await
    }
}

async fn open(address: SocketAddr, token: &str, protocol: &'static str) -> Result<Client> {
    let stream = TcpStream::connect(address).await?;
    Client::open(stream, &format!("/ws?token={token}"), Some(protocol)).await
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

/// Milliseconds.
const HOUR: u64 = 3_600_000;

fn user(name: &str, at: u64, until: Option<u64>) -> Disconnect {
    Disconnect { user: Some(name.to_owned()), token_id: None, at, until }
}

fn token_id(id: &str, at: u64, until: Option<u64>) -> Disconnect {
    Disconnect { user: None, token_id: Some(id.to_owned()), at, until }
}

/// The answers to one that tries every way in.
async fn knock(address: SocketAddr, token: &str, cursor: &str) -> Result<Vec<Answer>> {
    let upgrade = upgrade_request("").replace("GET /ws ", &format!("GET /ws?token={token} "));
    let upgrade = upgrade.replace("Connection: Upgrade", "Connection: Upgrade, close");
    let mut answers = vec![request(address, &upgrade).await?];
    for path in ["/ws", "/sse", "/poll"] {
        let path = format!("{path}?channels=a&wait=0&cursor={cursor}&token={token}");
        answers.push(get(address, &path).await?);
    }
    Ok(answers)
}

async fn cursor(address: SocketAddr, token: &str) -> Result<String> {
    let answer = get(address, &format!("/poll?channels=a&token={token}")).await?.json()?;
    Ok(answer["cursor"].as_str().context("a cursor")?.to_owned())
}

#[tokio::test]
async fn a_banned_user_is_ended_on_every_transport_and_comes_back_when_the_ban_is_lifted()
-> Result<()> {
    let mut guarded = Guarded::start().await?;
    let (ann, bob) = (token("ann", &json!({})), token("bob", &json!({})));
    let cursor = cursor(guarded.address, &ann).await?;
    let mut others = guarded.client(&bob).await?;
    let mut sockets = vec![guarded.client(&ann).await?];
    for protocol in ["odin.v1", "symbols.v1"] {
        sockets.push(guarded.open(&ann, protocol).await?);
    }
    let mut events =
        Events::open_at(guarded.address, &format!("channels=a&token={ann}"), "").await?;
    let path = format!("/poll?channels=a&wait=55&cursor={cursor}&token={ann}");
    let (address, waits) = (guarded.address, path.clone());
    let poll = tokio::spawn(async move { get(address, &waits).await });
    guarded.becomes("wsgateway_connections", 6).await?;

    guarded.disconnect(&[user("ann", now_ms(), Some(now_ms() + HOUR))])?;
    for socket in &mut sockets {
        assert_eq!(socket.until_closed().await?.1, 4013);
    }
    let close = loop {
        let event = events.next().await?;
        if event.kind == "close" {
            break event.json()?;
        }
    };
    assert_eq!((&close["code"], &close["reason"]), (&json!(4013), &json!("banned")));
    let answer = poll.await??;
    ensure!(answer.status == 200 && answer.json()?["cursor"].is_string(), "{answer:?}");
    guarded.becomes("wsgateway_disconnects_total{code=\"4013\"}", 5).await?;

    // With its cursor, too: nothing of a session outlives it.
    for answer in knock(guarded.address, &ann, &cursor).await? {
        let body = answer.json()?;
        assert_eq!((answer.status, &body["code"]), (403, &json!("banned")), "{answer:?}");
        ensure!(body.get("retryAfterMs").is_none(), "{answer:?}");
        ensure!(answer.header("access-control-allow-origin") == Some("*"), "{answer:?}");
    }
    let rejected = metric(guarded.admin, "wsgateway_upgrade_rejections_total{reason=\"banned\"}");
    assert_eq!(rejected.await?, 4);
    let refused = metric(guarded.admin, "wsgateway_auth_refused_total{reason=\"banned\"}");
    assert_eq!(refused.await?, 4);
    assert_eq!(metric(guarded.admin, "wsgateway_auth_disconnects").await?, 1);
    guarded.publish("a").await?;
    assert_eq!(others.expect("message").await?["channel"], "a");

    guarded.disconnect(&[])?;
    let mut back = guarded.open(&ann, "wsgateway.v1").await?;
    let epoch = back.expect("connection:established").await?["epoch"].clone();
    let offset = cursor.rsplit(':').next().context("an offset")?.parse::<u64>()?;
    let resume = json!({ "epoch": epoch, "offset": offset });
    back.send(&json!({ "type": "subscribe", "channels": ["a"], "resume": resume })).await?;
    assert_eq!(back.expect("subscription_ack").await?["recovered"], true);
    assert_eq!(back.expect("message").await?["channel"], "a");
    Ok(())
}

#[tokio::test]
async fn without_a_ban_clients_are_ended_once_and_may_come_back_at_once() -> Result<()> {
    let mut guarded = Guarded::start().await?;
    let ann = token("ann", &json!({}));
    let mut first = guarded.client(&ann).await?;
    let list = [user("ann", 1, None)];
    guarded.disconnect(&list)?;
    assert_eq!(first.until_closed().await?.1, 4012);
    let mut second = guarded.client(&ann).await?;
    // Another change of the configuration, and another entry, are none for those who came since.
    guarded.config.heartbeat.interval = Millis(20_000);
    guarded.reload()?;
    guarded.disconnect(&[list[0].clone(), user("bob", 2, None)])?;
    guarded.publish("a").await?;
    assert_eq!(second.expect("message").await?["channel"], "a");
    guarded.disconnect(&[list[0].clone(), user("ann", 3, None)])?;
    assert_eq!(second.until_closed().await?.1, 4012);
    guarded.becomes("wsgateway_disconnects_total{code=\"4012\"}", 2).await
}

#[tokio::test]
async fn a_banned_token_ends_its_own_connections_and_is_not_accepted_on_others() -> Result<()> {
    let mut guarded = Guarded::start().await?;
    let with_id = |id: &str| token("ann", &json!({ "jti": id }));
    let (leaked, good) = (with_id("j-1"), with_id("j-2"));
    let mut ended = guarded.client(&leaked).await?;
    let mut stays = guarded.client(&good).await?;
    guarded.disconnect(&[token_id("j-1", now_ms(), Some(now_ms() + HOUR))])?;
    assert_eq!(ended.until_closed().await?.1, 4013);
    let show = |token: &str| json!({ "type": "auth", "id": 7, "token": token });
    stays.send(&show(&leaked)).await?;
    let error = stays.expect("error").await?;
    assert_eq!((&error["code"], &error["id"]), (&json!("banned"), &json!(7)));
    guarded.publish("a").await?;
    assert_eq!(stays.expect("message").await?["channel"], "a");
    for answer in knock(guarded.address, &leaked, "e:1").await? {
        assert_eq!((answer.status, &answer.json()?["code"]), (403, &json!("banned")));
    }
    drop(guarded.client(&good).await?);
    Ok(())
}

#[tokio::test]
async fn a_client_that_came_without_a_token_cannot_become_a_banned_user() -> Result<()> {
    let mut guarded = Guarded::start().await?;
    if let Some(auth) = &mut guarded.config.auth {
        auth.anonymous = anonymous(&["public.*"]);
    }
    guarded.disconnect(&[user("ann", now_ms(), Some(now_ms() + HOUR))])?;
    let mut stranger = Client::connect(guarded.address).await?;
    let ann = token("ann", &json!({}));
    stranger.send(&json!({ "type": "auth", "token": ann })).await?;
    assert_eq!(stranger.expect("error").await?["code"], "banned");
    assert_eq!(stranger.subscribe(&["private"]).await?["subscribed"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_pod_that_starts_later_keeps_a_ban_and_it_ends_by_itself() -> Result<()> {
    let (ann, bob) = (token("ann", &json!({})), token("bob", &json!({})));
    let soon = 300_000;
    let list = vec![user("ann", 1, Some(now_ms() + soon)), user("bob", 1, None)];
    let mut guarded = Guarded::start_with(list).await?;
    drop(guarded.client(&bob).await?);
    let answer = &knock(guarded.address, &ann, "e:1").await?[0];
    assert_eq!(answer.status, 403);
    let left = answer.json()?["retryAfterMs"].as_u64().context("when it ends")?;
    ensure!(left <= soon, "{left}");
    let seconds = answer.header("retry-after").context("Retry-After")?.parse::<u64>()?;
    assert_eq!(seconds, left.div_ceil(1_000));
    guarded.disconnect(&[user("ann", 2, Some(now_ms() + 1_000))])?;
    wait_until(SOON, "the end of the ban", async || guarded.client(&ann).await.is_ok()).await
}

#[tokio::test]
async fn names_of_those_who_are_disconnected_are_in_nothing_that_a_gateway_writes() -> Result<()> {
    const USER: &str = "mallory-of-the-claims";
    const ID: &str = "token-of-mallory";
    let (issuer, (nats, _jetstream)) = (Issuer::new()?, nats_with_stream().await?);
    let mut config = config(&nats.url());
    config.auth = Some(issuer.auth());
    config.log.level = wsgateway_config::LogLevel::Debug;
    let mut watched = Watched::start(config).await?;
    let address = watched.process.client_addr;
    let token = token(USER, &json!({ "jti": ID }));
    let mut client = open(address, &token, "wsgateway.v1").await?;
    let until = Some(now_ms() + HOUR);
    watched
        .change(|config| config.disconnects = vec![user(USER, 1, until), token_id(ID, 2, until)])
        .await?;
    assert_eq!(client.until_closed().await?.1, 4013);
    let answers = knock(address, &token, "e:1").await?;
    let mut written: Vec<String> = answers.into_iter().map(|answer| answer.body).collect();
    for path in ["/metrics", "/status", "/health", "/stats"] {
        written.push(get(watched.process.admin_addr, path).await?.body);
    }
    // One that is refused is reported with its place alone.
    let parts = watched.config.parts()?;
    let bad = parts.live.replace(ID, &ID.repeat(99));
    written.push(watched.refused(&parts.restart, &bad).await?);
    let status: Value = watched.status().await?;
    ensure!(
        status["configProblem"].as_str().is_some_and(|why| why.contains("disconnects[1]")),
        "{status}"
    );
    written.push(log_of(&mut watched.process).await?);
    for name in [USER, ID] {
        ensure!(written.iter().all(|text| !text.contains(name)), "{name} is in\n{written:?}");
    }
    Ok(())
}

/// Everything that a process has logged, of which each line is documented.
async fn log_of(process: &mut Process) -> Result<String> {
    let log = process.end_log().await?;
    ensure!(log.contains("connections were disconnected by request"), "{log}");
    let book = LogBook::of("gateway")?;
    log.lines().try_for_each(|line| book.check(line).map(drop))?;
    Ok(log)
}
