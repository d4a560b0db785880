//! A changed configuration is taken up while the gateway runs, whole or not at all, and no client notices.

use std::net::SocketAddr;

use ::gateway::app::{ReloadError, Running};
use ::gateway::reload::Given;
use anyhow::{Context as _, Result, ensure};
use harness::{Scratch, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use wsgateway_config::{Delivery, GatewayConfig, LogLevel, Millis, Protocol, Rule};

use super::client::Client;
use super::process::Process;
use super::raw::Raw;
use super::rig::{SOON, config, nats_with_stream, publish_all, ready, start};
use super::watched::{CLIENTS, Crowd, Watched};
use super::{http, odin};

/// Status of `GET path` at the client port.
async fn status_of(address: SocketAddr, path: &str) -> Result<u16> {
    Ok(http::get(address, path).await?.status)
}

#[tokio::test]
async fn limits_and_rates_change_under_two_hundred_clients_that_notice_nothing() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut watched = Watched::start(config(&nats.url())).await?;
    let crowd = Crowd::start(watched.process.client_addr, &jetstream).await?;
    let address = watched.process.client_addr;

    watched
        .change(|config| {
            let capacity = &mut config.capacity;
            capacity.subscriptions_per_connection = 2;
            capacity.command_bytes = 4_096;
            capacity.outbox_bytes_per_connection = 65_536;
            capacity.outbox_bytes_total = 1 << 20;
            (config.command_rate.per_second, config.command_rate.burst) = (3, 5);
        })
        .await?;
    let mut client = watched.client().await?;
    let limits = json!({
        "subscriptions": 2, "commandBytes": 4_096, "commandsPerSecond": 3, "outboxBytes": 65_536
    });
    assert_eq!(client.hello["limits"], limits);
    let ack = client.subscribe(&["x", "y", "z"]).await?;
    assert_eq!(ack["rejected"][0]["code"], "too_many_subscriptions");
    drop(client);

    // Fewer places than are taken: nobody leaves, nobody comes.
    watched.change(|config| config.capacity.connections = 100).await?;
    let refused = http::refused_upgrade(address).await?;
    assert_eq!((refused.status, refused.json()?["code"].as_str()), (503, Some("full")));
    assert_eq!(watched.status().await?["capacity"], 100);
    watched.change(|config| config.capacity.connections = 10_000).await?;
    drop(watched.client().await?);

    watched.change(|config| config.capacity.fallback_connections = 1).await?;
    let _first = super::events::Events::open_at(address, "channels=x", "").await?;
    let second = http::ask(address, "/poll?channels=x", "").await?;
    assert_eq!((second.status, second.json()?["code"].as_str()), (503, Some("full")));

    watched.change(|config| config.slow_consumer.grace = Millis(1_000)).await?;
    watched.change(|config| config.history.messages = 10).await?;
    wait_until(SOON, "a smaller history", async || {
        watched.metric("wsgateway_history_messages").await.is_ok_and(|held| held <= 10)
    })
    .await?;
    watched.change(|config| config.history.messages = 1_000).await?;
    wait_until(SOON, "a larger history", async || {
        watched.metric("wsgateway_history_messages").await.is_ok_and(|held| held > 10)
    })
    .await?;
    watched.change(|config| config.history.age = Millis(1_000)).await?;
    watched.change(|config| config.history.bytes = 2 << 20).await?;

    let applied = watched.metric("wsgateway_config_reloads_total{outcome=\"applied\"}").await?;
    assert_eq!(applied, 9);
    crowd.end().await
}

/// Waits until a connection that asked once and says nothing more is closed.
async fn idle_connection_ends(address: SocketAddr) -> Result<()> {
    let mut idle = TcpStream::connect(address).await?;
    idle.write_all(b"GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n").await?;
    let mut answer = Vec::new();
    timeout(SOON, idle.read_to_end(&mut answer)).await.context("the connection is kept")??;
    Ok(())
}

#[tokio::test]
async fn what_clients_are_offered_changes_under_two_hundred_clients_that_notice_nothing()
-> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut watched = Watched::start(config(&nats.url())).await?;
    let crowd = Crowd::start(watched.process.client_addr, &jetstream).await?;
    let address = watched.process.client_addr;
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let deflate = async || Ok::<_, anyhow::Error>(Raw::connect_asking(address, offer).await?.head);
    assert!(deflate().await?.contains("permessage-deflate"));
    for path in ["/", "/health", "/stats"] {
        assert_eq!(status_of(address, path).await?, 200, "{path}");
    }

    watched
        .change(|config| {
            let listener = &mut config.listener;
            (listener.compression, listener.status_pages) = (false, false);
            (listener.event_source, listener.long_poll) = (false, false);
            listener.keep_alive = Millis(300);
        })
        .await?;
    assert!(!deflate().await?.contains("permessage-deflate"));
    for path in ["/", "/health", "/stats", "/sse?channels=x", "/poll?channels=x"] {
        assert_eq!(status_of(address, path).await?, 404, "{path}");
    }
    idle_connection_ends(address).await?;

    watched
        .change(|config| {
            config.listener.protocols = vec![Protocol::Odin, Protocol::Symbols];
            config.listener.default_protocol = Protocol::Symbols;
            config.listener.event_source = true;
            config.odin.greeting = false;
            config.odin.initial_channels = vec!["first".to_owned()];
            config.symbols.max_symbols = 1;
        })
        .await?;
    assert_eq!(
        http::upgrade_refused(address, "Sec-WebSocket-Protocol: wsgateway.v1\r\n").await?.status,
        400
    );
    super::events::Events::open_at(address, "channels=x", "").await?;
    let stream = TcpStream::connect(address).await?;
    let mut symbols = Client::open(stream, "/ws", None).await?;
    symbols.send(&json!({ "action": "subscribe", "symbols": ["A", "B"] })).await?;
    let told = symbols.expect("error").await?;
    assert!(told.to_string().contains("maximum of 1 symbols"), "{told}");
    let stream = TcpStream::connect(address).await?;
    let mut odin = Client::open(stream, "/ws", Some("odin.v1")).await?;
    wait_until(SOON, "its first subscription", async || {
        let message = [("first".to_owned(), b"{\"n\":1}".to_vec())];
        publish_all(&jetstream, message).await.is_ok()
            && watched.metric("wsgateway_subscriptions").await.is_ok_and(|held| held > 3 * CLIENTS)
    })
    .await?;
    let first = odin::messages(&mut odin, 1).await?;
    assert_eq!(
        (&first[0]["channel"], &first[0]["seq"]),
        (&json!("first"), &json!(1)),
        "no greeting"
    );
    crowd.end().await
}

#[tokio::test]
async fn heartbeats_rules_and_logs_change_under_two_hundred_clients_that_notice_nothing()
-> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut watched = Watched::start(config(&nats.url())).await?;
    let crowd = Crowd::start(watched.process.client_addr, &jetstream).await?;
    let mut idle = watched.client().await?;
    idle.subscribe(&["deals.*", "end"]).await?;
    let mut silent = Raw::connect(watched.process.client_addr).await?;

    let rule = Rule {
        r#match: "deals.*".to_owned(),
        dedupe_window: Millis(60_000),
        delivery: Delivery::Every,
        ..Rule::default()
    };
    watched.change(|config| config.channels.rules = vec![rule]).await?;
    let deal =
        |n: u64| ("deals.a".to_owned(), json!({ "nonce": 1, "n": n }).to_string().into_bytes());
    publish_all(&jetstream, [deal(1), deal(2)]).await?;
    wait_until(SOON, "the repetition", async || {
        watched.metric("wsgateway_duplicates_dropped_total").await.is_ok_and(|count| count == 1)
    })
    .await?;
    watched.change(|config| config.channels.rules.clear()).await?;
    publish_all(&jetstream, [deal(3), ("end".to_owned(), b"1".to_vec())]).await?;
    let got = idle.messages_until("end").await?;
    let numbers: Vec<&Value> = got.iter().map(|message| &message["data"]["n"]).collect();
    assert_eq!(json!(numbers), json!([1, 3]));

    // Those who are there are pinged by the new interval: who does not answer is closed by the new timeout.
    watched
        .change(|config| {
            (config.heartbeat.interval, config.heartbeat.timeout) = (Millis(400), Millis(8_000));
        })
        .await?;
    assert_eq!(watched.client().await?.hello["heartbeatMs"], 400);
    let lively = tokio::spawn(async move {
        idle.messages_until("end").await?;
        anyhow::Ok(idle)
    });
    assert_eq!(silent.close_code().await?, Some(4011));
    publish_all(&jetstream, [("end".to_owned(), b"2".to_vec())]).await?;
    lively.await??;
    watched
        .change(|config| {
            (config.heartbeat.interval, config.heartbeat.timeout) = (Millis(60_000), Millis(9_000));
        })
        .await?;
    assert_eq!(watched.client().await?.hello["heartbeatMs"], 60_000);

    watched.change(|config| config.log.level = LogLevel::Debug).await?;
    drop(http::request(watched.process.client_addr, "this is no HTTP\r\n\r\n").await);
    watched.process.logged("HTTP connection ended").await?;
    crowd.end().await
}

#[tokio::test]
async fn what_cannot_be_taken_up_is_named_and_changes_nothing() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut watched = Watched::start(config(&nats.url())).await?;
    let crowd = Crowd::start(watched.process.client_addr, &jetstream).await?;
    let hello = watched.client().await?.hello["limits"].clone();
    let good = watched.config.parts()?;
    let mut moved = watched.config.clone();
    moved.channels.strip_prefix = "other.".to_owned();
    moved.command_rate.per_second = 77;
    let moved = moved.parts()?;
    let burst = good.live.replace("burst: 100", "burst: 0");
    ensure!(burst != good.live, "the test changes nothing: {}", good.live);
    let cut = good.live.split("log:").next().unwrap_or_default().to_owned();
    for (restart, live, named) in [
        (&good.restart, &burst, "commandRate.burst: must be at least 1"),
        (&good.restart, &"heartbeat: [".to_owned(), ""),
        (&moved.restart, &moved.live, "channels.stripPrefix"),
        (&good.restart, &format!("{}source: {{ memory: {{}} }}\n", moved.live), "source"),
        (&"name: a\n".to_owned(), &moved.live, "missing field `source`"),
        (&good.restart, &String::new(), "capacity.connections: missing in the live part"),
        (&good.restart, &cut, "log.level: missing in the live part"),
    ] {
        let problem = watched.refused(restart, live).await?;
        assert!(problem.contains(named), "{named} is not in {problem}");
        assert_eq!(watched.client().await?.hello["limits"], hello, "with {problem}");
        assert_eq!(watched.metric("wsgateway_config_refused").await?, 1);
        let logged =
            watched.process.logged("the configuration was refused: what ran before goes on");
        assert_eq!(logged.await?["problem"], json!(problem));
    }
    let refusals = watched.metric("wsgateway_config_reloads_total{outcome=\"refused\"}").await?;
    assert_eq!(refusals, 7, "one for each change, however often it was looked at");

    watched.write(&good.restart, &good.live)?;
    wait_until(SOON, "no problem any more", async || {
        watched.status().await.is_ok_and(|status| status["configProblem"].is_null())
    })
    .await?;
    assert_eq!(watched.metric("wsgateway_config_refused").await?, 0);
    crowd.end().await
}

#[tokio::test]
async fn keys_of_another_version_are_named_and_keep_nobody_from_the_rest() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let mut watched = Watched::start(config(&nats.url())).await?;
    assert_eq!(watched.status().await?["unknownKeys"], json!([]));
    let parts = watched.config.parts()?;
    // A newer operator says more, in sections that exist and in others.
    let live =
        parts.live.replace("commandRate:\n", "commandRate:\n  perMinute: 5\n") + "brightness: 7\n";
    let live = live.replace("perSecond: 10", "perSecond: 9");
    watched.write(&parts.restart, &live)?;
    wait_until(SOON, "the keys that are known", async || {
        watched.client().await.is_ok_and(|client| client.hello["limits"]["commandsPerSecond"] == 9)
    })
    .await?;
    let status = watched.status().await?;
    let unknown = status["unknownKeys"].as_array().context("a list")?;
    let named = |path: &str| {
        unknown.iter().any(|key| key.as_str().is_some_and(|key| key.starts_with(path)))
    };
    assert!(
        unknown.len() == 2 && named("commandRate.perMinute: ") && named("brightness: "),
        "{status}"
    );
    assert!(status["configProblem"].is_null(), "{status}");
    assert_eq!(watched.metric("wsgateway_config_unknown_keys").await?, 2);

    // A pod of this version starts with it, and one with what an older operator does not know yet left out.
    let scratch = Scratch::new("versions")?;
    let restart = scratch.write("newer.yaml", format!("{}shape: round\n", parts.restart))?;
    let newer = scratch.write("newer-live.yaml", &live)?;
    let process = Process::start_with_files(&restart, Some(&newer)).await?;
    let status = http::get(process.admin_addr, "/status").await?.json()?;
    assert_eq!(status["unknownKeys"].as_array().map(Vec::len), Some(3), "{status}");
    let source = watched.config.source.clone();
    let bare = GatewayConfig::new("a/b", source).parts()?.restart;
    let older = scratch.write("older.yaml", bare)?;
    let older_live =
        scratch.write("older-live.yaml", "capacity: { connections: 7 }\nlog: { level: info }\n")?;
    let process = Process::start_with_files(&older, Some(&older_live)).await?;
    let status = http::get(process.admin_addr, "/status").await?.json()?;
    assert_eq!((&status["capacity"], &status["unknownKeys"]), (&json!(7), &json!([])), "{status}");

    // One that has nothing of what was specified starts no pod with defaults.
    let empty = scratch.write("empty-live.yaml", "")?;
    let error = match Process::start_with_files(&older, Some(&empty)).await {
        Ok(_) => anyhow::bail!("it started with the defaults"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(error.contains("capacity.connections: missing in the live part"), "{error}");
    Ok(())
}

#[tokio::test]
async fn one_file_with_everything_is_watched_as_well() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    let scratch = Scratch::new("one-file")?;
    let file = scratch.write("gateway.yaml", config.render()?)?;
    let process = Process::start_with_files(&file, None).await?;
    ready(process.admin_addr).await?;
    config.capacity.subscriptions_per_connection = 17;
    scratch.write("gateway.yaml", config.render()?)?;
    wait_until(SOON, "the new limit", async || {
        let client = Client::connect(process.client_addr).await;
        client.is_ok_and(|client| client.hello["limits"]["subscriptions"] == 17)
    })
    .await
}

/// A gateway in this process, whose configuration can be changed.
struct Own {
    gateway: Running,
    config: GatewayConfig,
}

impl Own {
    fn reload(&mut self, change: impl FnOnce(&mut GatewayConfig)) -> Result<Vec<String>> {
        let mut config = self.config.clone();
        change(&mut config);
        let fields = self.gateway.reload(Given::of(config.clone())?)?;
        self.config = config;
        Ok(fields)
    }
}

#[tokio::test]
async fn a_lowered_limit_ends_no_connection_that_kept_to_the_one_before() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    config.capacity.shards = 1;
    config.capacity.outbox_bytes_per_connection = 8 << 20;
    config.command_rate.burst = 100;
    let gateway = start(config.clone())?;
    ready(gateway.admin_addr).await?;
    let address = gateway.client_addr;
    let mut own = Own { gateway, config };

    // One has all its subscriptions and has used most of its burst.
    let mut busy = Client::connect(address).await?;
    busy.subscribe(&["a", "b", "c", "d"]).await?;
    for n in 0..90 {
        busy.send(&json!({ "type": "ping", "timestamp": n })).await?;
    }
    for _ in 0..90 {
        busy.expect("pong").await?;
    }
    // Another one does not read what it is sent.
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(8 << 10)?;
    let mut slow = Client::connect_over(socket.connect(address).await?).await?;
    slow.subscribe(&["large", "end"]).await?;
    let filler = "x".repeat(16 << 10);
    let large =
        |n: u64| ("large".to_owned(), json!({ "n": n, "x": filler }).to_string().into_bytes());
    publish_all(&jetstream, (0..200).map(large)).await?;
    let waiting = async || {
        let text = http::get(own.gateway.admin_addr, "/metrics").await.ok()?.body;
        text.lines()
            .find_map(|line| line.strip_prefix("wsgateway_outbox_bytes ")?.parse::<u64>().ok())
    };
    wait_until(SOON, "much that waits", async || {
        waiting().await.is_some_and(|bytes| bytes > 1 << 20)
    })
    .await?;

    own.reload(|config| {
        let capacity = &mut config.capacity;
        (capacity.connections, capacity.subscriptions_per_connection) = (1, 2);
        (capacity.outbox_bytes_per_connection, capacity.outbox_bytes_total) = (64 << 10, 64 << 10);
        (config.command_rate.per_second, config.command_rate.burst) = (1, 5);
        (config.heartbeat.interval, config.heartbeat.timeout) = (Millis(60_000), Millis(1_000));
    })?;

    // What is held stays; what is asked from now on is bounded.
    busy.send(&json!({ "type": "ping", "timestamp": 1 })).await?;
    busy.expect("pong").await?;
    let ack = busy.subscribe(&["e"]).await?;
    assert_eq!(
        (&ack["rejected"][0]["code"], &ack["count"]),
        (&json!("too_many_subscriptions"), &json!(4))
    );
    publish_all(&jetstream, [("d".to_owned(), b"1".to_vec()), ("end".to_owned(), b"1".to_vec())])
        .await?;
    assert_eq!(busy.expect("message").await?["channel"], "d");
    // The slow one reads on, and misses nothing.
    let got = slow.messages_until("end").await?;
    let numbers: Vec<_> = got.iter().filter_map(|message| message["data"]["n"].as_u64()).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    assert_eq!(http::refused_upgrade(address).await?.status, 503);
    tokio::task::spawn_blocking(move || own.gateway.abort()).await?;
    Ok(())
}

#[tokio::test]
async fn a_configuration_is_taken_up_whole_or_not_at_all() -> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let config = config(&nats.url());
    let mut own = Own { gateway: start(config.clone())?, config };
    assert_eq!(own.reload(|_| ())?, [""; 0], "nothing has changed");
    assert_eq!(own.reload(|config| config.command_rate.burst = 7)?, ["commandRate.burst"]);
    let error = own
        .reload(|config| {
            config.command_rate.burst = 9;
            config.listener.path = "/other".to_owned();
            config.capacity.shards = 7;
        })
        .unwrap_err();
    let needs = error.downcast_ref::<ReloadError>();
    assert!(
        matches!(needs, Some(ReloadError::NeedsRestart(fields)) if *fields == ["listener.path", "capacity.shards"]),
        "{error}"
    );
    let error = own.reload(|config| config.capacity.connections = 0).unwrap_err();
    assert!(error.to_string().starts_with("capacity.connections: "), "{error}");
    assert_eq!(own.reload(|config| config.command_rate.burst = 7)?, [""; 0], "as before");
    tokio::task::spawn_blocking(move || own.gateway.abort()).await?;
    Ok(())
}
