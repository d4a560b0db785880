//! `wsgw` as a process: what it prints, what it serves, and what it leaves behind (nothing).

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use harness::{
    Exposition, Nats, NatsOperator, Redis, Scratch, WsgwDev, repository, wait_until, wsgw,
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

#[path = "wsgw/check.rs"]
mod check;
#[path = "wsgw/client.rs"]
mod client;
#[path = "wsgw/doctor.rs"]
mod doctor;
#[path = "wsgw/flags.rs"]
mod flags;
#[path = "wsgw/local.rs"]
mod local;
#[path = "wsgw/market.rs"]
mod market;
#[path = "wsgw/migration.rs"]
mod migration;
#[path = "wsgw/tls.rs"]
mod tls;
#[path = "wsgw/token.rs"]
mod token;

const SOON: Duration = Duration::from_secs(30);

/// Free ports, so that tests do not meet.
const ANY_PORT: [&str; 4] = ["--port", "0", "--admin-port", "0"];

/// The key pair (Ed25519) of RFC 8037's example.
const PRIVATE_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
    -----END PUBLIC KEY-----\n";

/// The first message that a client of these channels receives.
async fn first_message(page: &str, channels: &[&str]) -> Result<Value> {
    let mut request = format!("{}ws", page.replace("http://", "ws://")).into_client_request()?;
    request.headers_mut().insert("Sec-WebSocket-Protocol", "wsgateway.v1".parse()?);
    let subscribe = json!({ "type": "subscribe", "id": 1, "channels": channels });
    first_push(request, &subscribe, "message").await
}

/// The first push of a type that comes after a command.
async fn first_push(
    request: impl IntoClientRequest + Unpin,
    command: &Value,
    kind: &str,
) -> Result<Value> {
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await?;
    socket.send(Message::text(command.to_string())).await?;
    let message = async {
        while let Some(frame) = socket.next().await {
            let Message::Text(text) = frame? else { continue };
            let push: Value = serde_json::from_str(&text)?;
            if push["type"] == kind {
                return Ok(push);
            }
        }
        anyhow::bail!("the gateway closed the connection")
    };
    tokio::time::timeout(SOON, message).await.context("no message")?
}

/// Whether a process runs whose command line holds `text`.
fn runs(text: &str) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}

/// Whether the temporary store of a `wsgw dev` exists.
fn has_store(name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(name))
}

#[tokio::test]
async fn dev_serves_prices_from_a_nats_server_of_its_own_and_takes_it_along_on_ctrl_c() -> Result<()>
{
    let dev = WsgwDev::start(&ANY_PORT).await?;
    let store = format!("wsgw-dev-{}-", dev.pid());
    let message = first_message(dev.url(), &["BTC.price"]).await?;
    assert_eq!(message["channel"], "BTC.price");
    assert_eq!(message["data"]["type"], "price:update");
    assert!(dev.output().contains("nats-server"), "{}", dev.output());
    assert!(runs(&store) && has_store(&store), "no nats-server of {store}");

    let ended = dev.interrupt().await?;

    assert_eq!(ended.code, Some(0), "{}", ended.output);
    assert!(!runs(&store) && !has_store(&store), "{store} is still there");
    Ok(())
}

#[tokio::test]
async fn when_nats_comes_back_the_prices_of_dev_go_on() -> Result<()> {
    let mut nats = Nats::start().await?;
    let url = nats.url();
    let dev = WsgwDev::start(&[&ANY_PORT[..], &["--nats", &url, "--rate", "200"]].concat()).await?;
    first_message(dev.url(), &["BTC.price"]).await?;

    nats.stop().await?;
    nats.restart().await?;

    let jetstream = async_nats::jetstream::new(nats.client().await?);
    let name = jetstream.stream_names().next().await.context("no stream")??;
    let stream = jetstream.get_stream(&name).await?;
    let restarted_at = stream.get_info().await?.state.last_sequence;
    wait_until(SOON, "messages of the market after the restart", async || {
        stream.get_info().await.is_ok_and(|info| info.state.last_sequence > restarted_at + 100)
    })
    .await?;
    wait_until(SOON, "prices at a client after the restart", async || {
        first_message(dev.url(), &["BTC.price"]).await.is_ok()
    })
    .await?;
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_killed_dev_leaves_neither_server_nor_store_behind() -> Result<()> {
    let dev = WsgwDev::start(&ANY_PORT).await?;
    let store = format!("wsgw-dev-{}-", dev.pid());
    ensure!(runs(&store) && has_store(&store), "no nats-server of {store}");

    dev.kill9().await?;

    wait_until(SOON, "the end of the nats-server", async || !runs(&store) && !has_store(&store))
        .await
}

#[tokio::test]
async fn without_a_nats_server_dev_says_so_in_one_line_and_serves_from_this_process() -> Result<()>
{
    let scratch = Scratch::new("wsgw")?;
    let mut command = wsgw()?;
    command
        .env_remove("NATS_SERVER")
        .env("PATH", "/nonexistent")
        .env("XDG_CACHE_HOME", scratch.path());
    command.arg("dev").args(ANY_PORT);
    let dev = WsgwDev::spawn(command).await?;

    let message = first_message(dev.url(), &["*.price"]).await?;

    assert_eq!(message["data"]["type"], "price:update");
    let told = dev.output();
    let told: Vec<_> = told.lines().filter(|line| line.contains("no nats-server")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_stream_on_a_server_of_the_users_own_is_as_declared_and_stays() -> Result<()> {
    let nats = Nats::start().await?;
    let url = nats.url();
    let mut arguments = vec!["--nats", &url];
    arguments.extend(ANY_PORT);
    let dev = WsgwDev::start(&arguments).await?;
    first_message(dev.url(), &["ETH.price"]).await?;
    assert_eq!(dev.interrupt().await?.code, Some(0));

    let jetstream = async_nats::jetstream::new(nats.client().await?);
    let stream = jetstream.get_stream("ODIN_TOKENS").await?;
    let config = &stream.cached_info().config;
    assert_eq!((config.max_age, config.max_messages), (Duration::from_secs(30), 100_000));
    assert_eq!(
        config.subjects,
        ["odin.token.>", "odin.global.>", "odin.trades.>", "odin.market.>"]
    );

    // The next run finds its own stream again.
    let again = WsgwDev::start(&arguments).await?;
    first_message(again.url(), &["ETH.price"]).await?;
    assert_eq!(again.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_told_from_files() -> Result<()> {
    let operator = NatsOperator::new();
    let nats = Nats::start_with(&operator.server_config()?).await?;
    let (url, folder) = (nats.url(), Scratch::new("creds")?);
    let good = folder.write("user.creds", operator.creds(None)?)?;
    let bad = folder.write("foreign.creds", operator.foreign_creds()?)?;
    let (good, bad) = (good.display().to_string(), bad.display().to_string());

    let refused = WsgwDev::start(&["--nats", &url]).await.unwrap_err().to_string();
    assert!(refused.contains("NATS asks who we are"), "{refused}");
    let refused = WsgwDev::start(&["--nats", &url, "--creds", &bad]).await.unwrap_err().to_string();
    assert!(refused.contains("authorization violation") && refused.contains(&bad), "{refused}");
    let missing = WsgwDev::start(&["--nats", &url, "--creds", "no.creds"]).await;
    let missing = missing.unwrap_err().to_string();
    assert!(missing.contains("cannot find no.creds"), "{missing}");

    let mut arguments = vec!["--nats", &url, "--creds", &good];
    arguments.extend(ANY_PORT);
    let dev = WsgwDev::start(&arguments).await?;
    first_message(dev.url(), &["ETH.price"]).await?;
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_stream_that_somebody_else_made_is_left_alone() -> Result<()> {
    let nats = Nats::start().await?;
    let jetstream = async_nats::jetstream::new(nats.client().await?);
    let theirs = async_nats::jetstream::stream::Config {
        name: "ODIN_TOKENS".to_owned(),
        subjects: vec!["theirs.>".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(theirs).await?;

    let refused = WsgwDev::start(&["--nats", &nats.url()]).await.unwrap_err().to_string();

    assert!(refused.contains("ODIN_TOKENS") && refused.contains("adoptionPolicy"), "{refused}");
    assert!(
        refused.contains("with --file"),
        "the policy is in a manifest that nobody gave: {refused}"
    );
    let stream = jetstream.get_stream("ODIN_TOKENS").await?;
    assert_eq!(stream.cached_info().config.subjects, ["theirs.>"]);
    Ok(())
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_flag() -> Result<()> {
    let taken = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = taken.local_addr()?.port().to_string();
    for flag in ["--port", "--admin-port"] {
        let error = WsgwDev::start(&[flag, &port]).await.unwrap_err().to_string();
        assert!(error.contains(&port) && error.contains(&format!("with {flag}")), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unreachable_nats_server_is_an_error_that_names_it() -> Result<()> {
    let nobody = harness::free_port()?;
    let url = format!("nats://127.0.0.1:{nobody}");
    let error = WsgwDev::start(&["--nats", &url]).await.unwrap_err().to_string();
    assert!(error.contains(&url) && error.contains("no NATS server answers"), "{error}");
    Ok(())
}

#[tokio::test]
async fn every_sample_is_valid_and_served() -> Result<()> {
    for (sample, channel) in [
        ("odin", "SOL.price"),
        ("odin-autoscaled", "SOL.price"),
        ("minimal", "odin.token.SOL.price"),
        ("tickers", "SOL.price"),
        ("odin-clients", "SOL.price"),
        ("symbols", "SOL.trade"),
        ("managed-nats", "SOL.price"),
    ] {
        let file = repository().join(format!("manifests/samples/{sample}.yaml"));
        let file = file.to_str().context("a path in UTF-8")?;
        let mut arguments = vec!["-f", file];
        arguments.extend(ANY_PORT);
        let dev = WsgwDev::start(&arguments).await?;
        let message = first_message(dev.url(), &[channel]).await.context(sample)?;
        assert_eq!(message["channel"], channel);
    }
    Ok(())
}

#[tokio::test]
async fn a_sample_with_tokens_wants_their_keys_from_a_folder_and_then_asks_clients() -> Result<()> {
    let scratch = Scratch::new("secrets")?;
    let file = repository().join("manifests/samples/odin-auth.yaml");
    let mut arguments = vec!["-f", file.to_str().context("a path in UTF-8")?];
    arguments.extend(ANY_PORT);
    let missing = "spec.auth names key key.pem of Secret odin-jwt";
    let error = WsgwDev::start(&arguments).await.unwrap_err().to_string();
    assert!(error.contains(missing) && error.contains("--secrets"), "{error}");
    let folder = scratch.path().to_str().context("a path in UTF-8")?.to_owned();
    arguments.extend(["--secrets", &folder]);
    let error = WsgwDev::start(&arguments).await.unwrap_err().to_string();
    assert!(error.contains(missing) && error.contains("odin-jwt/key.pem"), "{error}");

    std::fs::create_dir(scratch.path().join("odin-jwt"))?;
    scratch.write("odin-jwt/key.pem", PUBLIC_KEY)?;
    let dev = WsgwDev::start(&arguments).await?;
    // What docs/auth.md says of the sample.
    let claims =
        json!({ "sub": "ann", "aud": "odin", "exp": jsonwebtoken::get_current_timestamp() + 600 });
    let key = jsonwebtoken::EncodingKey::from_ed_pem(PRIVATE_KEY.as_bytes())?;
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    let token = jsonwebtoken::encode(&header, &claims, &key)?;
    for (token, refused) in [
        (None, json!(["SOL.trade", "user.ann.a", "user.bob.a"])),
        (Some(token), json!(["user.bob.a"])),
    ] {
        let mut request =
            format!("{}ws", dev.url().replace("http://", "ws://")).into_client_request()?;
        let bearer = token.map(|token| format!(", bearer.{token}")).unwrap_or_default();
        let offered = format!("wsgateway.v1{bearer}");
        request.headers_mut().insert("Sec-WebSocket-Protocol", offered.parse()?);
        let channels = ["SOL.price", "SOL.trade", "user.ann.a", "user.bob.a"];
        let subscribe = json!({ "type": "subscribe", "id": 1, "channels": channels });
        let ack = first_push(request, &subscribe, "subscription_ack").await?;
        let rejected = ack["rejected"].as_array().cloned().unwrap_or_default();
        let rejected: Vec<&Value> = rejected.iter().map(|one| &one["channel"]).collect();
        assert_eq!(json!(rejected), refused, "{ack}");
    }
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

/// Redis keeps nothing for a client that subscribes later.
async fn publish_again_and_again(redis: &Redis) -> Result<Value> {
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    loop {
        pace.tick().await;
        redis.publish("channel:trade:AAPL", "{\"price\":150.25}").await?;
    }
}

#[tokio::test]
async fn the_sample_with_redis_is_served_from_a_redis_of_the_users_own() -> Result<()> {
    let redis = Redis::start().await?;
    let file = repository().join("manifests/samples/redis.yaml");
    let mut arguments = vec!["-f", file.to_str().context("a path in UTF-8")?];
    let url = redis.url();
    arguments.extend(["--redis", &url]);
    arguments.extend(ANY_PORT);
    let dev = WsgwDev::start(&arguments).await?;
    let message = tokio::select! {
        message = first_message(dev.url(), &["AAPL"]) => message?,
        failed = publish_again_and_again(&redis) => failed?,
    };
    assert_eq!((&message["channel"], &message["data"]["price"]), (&json!("AAPL"), &json!(150.25)));
    for (arguments, expected) in [
        (
            ["--redis", url.as_str()],
            "--redis does not fit a manifest whose messages come from NATS",
        ),
        (["--redis", "redis://me:secret@r"], "--redis does not fit"),
    ] {
        let error = WsgwDev::start(&arguments).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn the_sample_for_symbols_of_redis_is_served_to_clients_that_know_nothing_else() -> Result<()>
{
    let redis = Redis::start().await?;
    let file = repository().join("manifests/samples/symbols-redis.yaml");
    let mut arguments = vec!["-f", file.to_str().context("a path in UTF-8")?];
    let url = redis.url();
    arguments.extend(["--redis", &url]);
    arguments.extend(ANY_PORT);
    let dev = WsgwDev::start(&arguments).await?;
    let page = dev.url().replace("http://", "ws://");
    let subscribe = json!({ "action": "subscribe", "symbols": ["AAPL", "TSLA"] });
    let trade = tokio::select! {
        trade = first_push(page, &subscribe, "trade") => trade?,
        failed = publish_again_and_again(&redis) => failed?,
    };
    assert_eq!(trade["data"], json!({ "price": 150.25 }));
    Ok(())
}

/// Output and exit code of `wsgw` with a manifest on standard input.
async fn with_input(arguments: &[&str], manifest: &str) -> Result<(Option<i32>, String, String)> {
    let mut command: Command = wsgw()?;
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    input.write_all(manifest.as_bytes()).await?;
    drop(input);
    let output = tokio::time::timeout(SOON, child.wait_with_output()).await??;
    let text = |bytes| String::from_utf8(bytes);
    Ok((output.status.code(), text(output.stdout)?, text(output.stderr)?))
}

fn demo() -> Result<String> {
    Ok(std::fs::read_to_string(repository().join("manifests/samples/odin.yaml"))?)
}

#[tokio::test]
async fn every_command_lists_all_errors_of_a_manifest_with_their_paths() -> Result<()> {
    let broken = demo()?
        .replace("maxAge: 30s", "maxAge: soon")
        .replace("nats://nats.messaging:4222", "nats");
    for command in ["check", "render", "dev", "plan"] {
        let (code, output, errors) = with_input(&[command, "-f", "-"], &broken).await?;
        assert_eq!((code, output.as_str()), (Some(1), ""), "{command}");
        for path in ["spec.stream.maxAge", "spec.nats.servers"] {
            assert!(errors.contains(path), "{command}: {errors}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn manifests_that_cannot_work_are_refused_without_a_panic() -> Result<()> {
    let demo = demo()?;
    for (manifest, hint) in [
        (String::new(), "documents of kind WsGateway"),
        ("{".to_owned(), "line"),
        ("\0".to_owned(), "control characters"),
        ("apiVersion: v1\nkind: Pod\n".to_owned(), "apiVersion"),
        ("kind: A\n---\nkind: B\n".to_owned(), "0 documents"),
        (demo.replace("maxAge", "maxage"), "spec.stream.maxage: unknown field"),
        (demo.replace("Pod: 10000", "Pod: -1"), "spec.capacity.connectionsPerPod"),
        (demo.replace("Pod: 10000", "Pod: many"), "connectionsPerPod"),
        (demo.replace("name: odin\n", "name: Odin!\n"), "metadata.name"),
        (demo.replace("subjects: [", "subjects: [\"a..b\", "), "spec.stream.subjects"),
        ("a: &a [*a]\n".to_owned(), ""),
        ("[".repeat(100_000), ""),
    ] {
        let (code, _, errors) = with_input(&["check", "-f", "-"], &manifest).await?;
        let beginning: String = manifest.chars().take(60).collect();
        assert_eq!(code, Some(1), "{beginning}: {errors}");
        assert!(
            errors.starts_with("wsgw: error: ") && errors.contains(hint),
            "{beginning}: {errors}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_render_prints_is_what_the_gateway_reads() -> Result<()> {
    let (code, config, errors) = with_input(&["render", "-f", "-"], &demo()?).await?;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let config = wsgateway_config::GatewayConfig::parse(&config)?;
    assert_eq!(
        (config.name.as_str(), config.channels.strip_prefix.as_str()),
        ("default/odin", "odin.token.")
    );
    Ok(())
}

#[tokio::test]
async fn a_missing_file_is_named() -> Result<()> {
    let (code, _, errors) = with_input(&["check", "-f", "/nonexistent.yaml"], "").await?;
    assert!(code == Some(1) && errors.contains("/nonexistent.yaml"), "{errors}");
    assert!(!Path::new("/nonexistent.yaml").exists());
    Ok(())
}

/// Output and exit code of `wsgw plan` for the demo on a server.
async fn planned(
    nats: &Nats,
    change: impl Fn(String) -> String,
) -> Result<(Option<i32>, String, String)> {
    let url = nats.url();
    let manifest = change(demo()?);
    with_input(&["plan", "-f", "-", "-n", "trading", "--nats", &url], &manifest).await
}

#[tokio::test]
async fn plan_tells_what_would_change_in_the_stream_and_changes_nothing() -> Result<()> {
    let nats = Nats::start().await?;
    let jetstream = async_nats::jetstream::new(nats.client().await?);
    let (code, output, errors) = planned(&nats, |demo| demo).await?;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{output}");
    assert!(output.contains("would be created") && output.contains("maxAge: 30s"), "{output}");
    assert!(jetstream.get_stream("ODIN_TOKENS").await.is_err());

    let theirs = async_nats::jetstream::stream::Config {
        name: "ODIN_TOKENS".to_owned(),
        subjects: vec!["theirs.>".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(theirs).await?;
    for _ in 0..3 {
        jetstream.publish("theirs.a", "1".into()).await?.await?;
    }
    let before = jetstream.get_stream("ODIN_TOKENS").await?.cached_info().config.clone();
    let (code, output, errors) = planned(&nats, |demo| demo).await?;
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("would be refused"), "{output}");
    assert!(errors.contains("set stream.adoptionPolicy to Adopt"), "{errors}");

    let adopt = |demo: String| {
        let policy = "  stream:\n    adoptionPolicy: Adopt\n";
        demo.replace("  stream:\n", policy).replace("maxMessages: 100000", "maxMessages: 2")
    };
    let (code, output, errors) = planned(&nats, adopt).await?;
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{output}");
    for line in ["would be taken over", "maxMessages: unlimited -> 2", "the oldest 1 of 3 messages"]
    {
        assert!(output.contains(line), "{line}: {output}");
    }
    let stream = jetstream.get_stream("ODIN_TOKENS").await?;
    assert_eq!(stream.cached_info().config, before);
    Ok(())
}

#[tokio::test]
async fn plan_tells_which_pods_would_be_replaced_and_how_many_clients_move() -> Result<()> {
    let (nats, scratch) = (Nats::start().await?, Scratch::new("plan")?);
    let status = "status: { replicas: 3, connections: 21044 }\n";
    let before = scratch.write("before.yaml", format!("{}{status}", demo()?))?;
    let before = before.to_str().context("a path in UTF-8")?;
    let url = nats.url();
    let arguments = ["plan", "-f", "-", "--before", before, "--nats", &url];

    let (_, output, errors) = with_input(&arguments, &demo()?).await?;
    assert!(output.starts_with("pods stay as they are, and no client moves\n"), "{output}{errors}");
    let edited = demo()?.replace("connectionsPerPod: 10000", "connectionsPerPod: 12000");
    let (_, output, errors) = with_input(&arguments, &edited).await?;
    let summary = "pods would be replaced: 21044 clients of 3 pods would move once each, within about 4 minutes";
    assert!(output.contains(summary), "{output}{errors}");
    Ok(())
}

#[tokio::test]
async fn plan_says_how_to_reach_a_nats_that_is_inside_of_a_cluster() -> Result<()> {
    let port = harness::free_port()?;
    let inside = demo()?.replace("nats://nats.messaging:4222", &format!("nats://127.0.0.1:{port}"));
    let (code, _, errors) = with_input(&["plan", "-f", "-"], &inside).await?;
    assert_eq!(code, Some(1));
    assert!(errors.contains("with --nats, after kubectl port-forward"), "{errors}");
    let file = repository().join("manifests/samples/managed-nats.yaml");
    let (code, _, errors) =
        with_input(&["plan", "-f", "-"], &std::fs::read_to_string(file)?).await?;
    assert_eq!(code, Some(1));
    assert!(errors.contains("give --nats with --creds"), "{errors}");
    Ok(())
}
