//! What befalls a stream and its server while gateways read it: each fault has a state with words for it, and what the
//! stream still has arrives, once.

use anyhow::{Context as _, Result, ensure};
use async_nats::ConnectOptions;
use async_nats::jetstream::{self, stream};
use harness::{Nats, Signal, wait_until};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::client::Client;
use super::http::get;
use super::link::Link;
use super::redis_rig::wait_for_state;
use super::rig::{
    Rig, SOON, STREAM, config, nats_with_stream, publish_all, ready, start, stream_config,
};

/// The text of `/status` on why the source is as it is.
fn error(status: &Value) -> &str {
    status["error"].as_str().unwrap_or_default()
}

/// Stores numbers on channel `a` over a connection of its own; returns the last sequence.
pub(super) async fn publish(nats: &Nats, numbers: std::ops::Range<u64>) -> Result<u64> {
    let jetstream = jetstream::new(nats.client().await?);
    let messages = numbers.map(|n| ("a".to_owned(), n.to_string().into_bytes()));
    publish_all(&jetstream, messages).await?.last().copied().context("nothing was published")
}

/// The numbers in the next messages, whose offsets must follow `after`.
pub(super) async fn receive(client: &mut Client, after: u64, count: u64) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for offset in after + 1..=after + count {
        let message = client.expect("message").await?;
        ensure!(message["offset"] == offset, "{offset} was due, got {message}");
        numbers.push(message["data"].as_u64().unwrap_or(u64::MAX));
    }
    Ok(numbers)
}

/// Reads to the end of a connection whose stream is another one now.
async fn sent_away(mut client: Client) -> Result<String> {
    let epoch = client.epoch().to_owned();
    let (pushes, code) = client.until_closed().await?;
    ensure!(
        code == 1012 && pushes.iter().all(|push| push["type"] == "reconnect"),
        "{code} {pushes:?}"
    );
    Ok(epoch)
}

#[tokio::test]
async fn a_server_in_lame_duck_mode_is_left_in_peace_and_found_again() -> Result<()> {
    let nats =
        Nats::start_with("lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"100ms\"").await?;
    let jetstream = jetstream::new(nats.client().await?);
    jetstream.create_stream(stream_config()).await?;
    let config = config(&nats.url());
    let mut rig = Rig::start_on(nats, jetstream, config).await?;
    let mut client = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..3).await?;
    assert_eq!(receive(&mut client, 0, 3).await?, [0, 1, 2]);

    rig.nats.signal(Signal::LameDuck)?;
    wait_for_state(rig.admin_addr, "connecting").await?;
    wait_until(SOON, "the end of the server", async || !rig.nats.alive()).await?;
    assert_eq!(get(rig.admin_addr, "/readyz").await?.status, 200);
    rig.nats.restart().await?;
    publish(&rig.nats, 3..6).await?;
    assert_eq!(receive(&mut client, 3, 3).await?, [3, 4, 5]);
    wait_for_state(rig.admin_addr, "live").await?;
    assert_eq!(rig.metric("wsgateway_source_lost_total").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_deleted_stream_is_waited_for_and_the_next_one_is_another_epoch() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..3).await?;
    receive(&mut client, 0, 3).await?;
    rig.jetstream.delete_stream(STREAM).await?;

    let status = wait_for_state(rig.admin_addr, "waiting_for_stream").await?;
    let told = error(&status);
    assert!(told.starts_with(&format!("the stream {STREAM} does not exist: ")), "{told}");
    assert!(told.contains(&format!("nats stream add {STREAM} ")), "{told}");
    let health = get(rig.client_addr, "/health").await?;
    assert_eq!((health.status, health.json()?["status"].as_str()), (200, Some("degraded")));
    assert_eq!(get(rig.admin_addr, "/readyz").await?.status, 200, "clients stay where they are");

    rig.jetstream.create_stream(stream_config()).await?;
    publish(&rig.nats, 10..12).await?;
    let before = sent_away(client).await?;
    wait_for_state(rig.admin_addr, "live").await?;
    let mut client = rig.client().await?;
    assert_ne!(client.epoch(), before);
    let ack = client.subscribe(&["a"]).await?;
    let position = ack["offset"].as_u64().context("no offset")?;
    publish(&rig.nats, 12..14).await?;
    let due = 2 + 2 - position;
    assert_eq!(receive(&mut client, position, due).await?.last(), Some(&13));
    wait_for_state(rig.admin_addr, "live").await?;
    Ok(())
}

#[tokio::test]
async fn a_purge_of_what_everybody_has_is_nobodys_loss() -> Result<()> {
    let rig = Rig::start().await?;
    let mut client = rig.subscriber(&["a"]).await?;
    publish(&rig.nats, 0..3).await?;
    receive(&mut client, 0, 3).await?;
    rig.jetstream.get_stream(STREAM).await?.purge().await?;
    publish(&rig.nats, 3..5).await?;
    assert_eq!(receive(&mut client, 3, 2).await?, [3, 4]);
    assert_eq!(rig.metric("wsgateway_source_lost_total").await?, 0);
    assert_eq!(rig.metric("wsgateway_source_restarts_total").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_stream_restored_from_an_older_copy_is_another_epoch_each_time() -> Result<()> {
    let mut rig = Rig::start().await?;
    publish(&rig.nats, 0..3).await?;
    rig.nats.stop().await?;
    let copied = harness::Scratch::new("copy")?;
    harness::copy_folder(&rig.nats.store(), copied.path())?;
    rig.nats.restart().await?;

    let mut epochs = Vec::new();
    for round in 0..3u64 {
        let mut client = rig.client().await?;
        ensure!(
            !epochs.contains(&client.epoch().to_owned()),
            "{} again: {epochs:?}",
            client.epoch()
        );
        assert_eq!(client.subscribe(&["a"]).await?["offset"], 3, "round {round}");
        publish(&rig.nats, 10 * round..10 * round + 4).await?;
        assert_eq!(receive(&mut client, 3, 4).await?[0], 10 * round);

        rig.nats.stop().await?;
        std::fs::remove_dir_all(rig.nats.store())?;
        harness::copy_folder(copied.path(), &rig.nats.store())?;
        rig.nats.restart().await?;
        epochs.push(sent_away(client).await?);
        wait_for_state(rig.admin_addr, "live").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_lost_its_tail_and_grew_again_unseen_is_another_epoch() -> Result<()> {
    let (nats, jetstream) = nats_with_stream().await?;
    let link = Link::to(nats.port()).await?;
    let mut rig = Rig::start_on(nats, jetstream, config(&link.url())).await?;
    publish(&rig.nats, 0..3).await?;
    rig.nats.stop().await?;
    let copied = harness::Scratch::new("copy")?;
    harness::copy_folder(&rig.nats.store(), copied.path())?;
    rig.nats.restart().await?;
    wait_for_state(rig.admin_addr, "live").await?;
    let mut client = rig.client().await?;
    client.subscribe(&["a"]).await?;
    publish(&rig.nats, 3..7).await?;
    receive(&mut client, 3, 4).await?;

    // While the gateway is cut off: four messages are lost and ten others take their numbers.
    link.cut();
    rig.nats.stop().await?;
    std::fs::remove_dir_all(rig.nats.store())?;
    harness::copy_folder(copied.path(), &rig.nats.store())?;
    rig.nats.restart().await?;
    publish(&rig.nats, 100..110).await?;
    link.mend();
    let before = sent_away(client).await?;
    wait_for_state(rig.admin_addr, "live").await?;
    let mut client = rig.client().await?;
    assert_ne!(client.epoch(), before);
    assert_eq!(client.subscribe(&["a"]).await?["offset"], 13);
    publish(&rig.nats, 110..111).await?;
    assert_eq!(receive(&mut client, 13, 1).await?, [110]);
    Ok(())
}

/// Accounts: `stream` may do everything, `poor` is whoever names no user and gets what is given here.
fn accounts(poor: &str) -> String {
    format!(
        "accounts {{\n  RICH {{ users: [{{ user: stream, password: stream }}], jetstream: enabled }}\n  {poor}\n}}\n\
         no_auth_user: poor"
    )
}

async fn rich(nats: &Nats) -> Result<jetstream::Context> {
    harness::init_tls();
    let options = ConnectOptions::with_user_and_password("stream".to_owned(), "stream".to_owned());
    Ok(jetstream::new(options.connect(nats.url()).await?))
}

#[tokio::test]
async fn without_jetstream_in_the_account_the_state_says_so_until_it_is_there() -> Result<()> {
    let poor = "POOR { users: [{ user: poor, password: poor }] }";
    let mut nats = Nats::start_with(&accounts(poor)).await?;
    let gateway = start(config(&nats.url()))?;
    let status = wait_for_state(gateway.admin_addr, "error").await?;
    ensure!(error(&status).to_lowercase().contains("jetstream not enabled"), "{status}");
    let health = get(gateway.client_addr, "/health").await?;
    ensure!(
        health.status == 503 && health.body.to_lowercase().contains("jetstream not enabled"),
        "{health:?}"
    );

    nats.configure(&accounts(&poor.replace("POOR {", "POOR { jetstream: enabled,")))?;
    nats.signal(Signal::Hup)?;
    wait_for_state(gateway.admin_addr, "waiting_for_stream").await?;
    jetstream::new(nats.client().await?).create_stream(stream_config()).await?;
    ready(gateway.admin_addr).await?;
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["a"]).await?;
    publish(&nats, 0..2).await?;
    assert_eq!(receive(&mut client, 0, 2).await?, [0, 1]);
    Ok(())
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named_and_its_grant_is_enough() -> Result<()> {
    let denied = |permissions: &str| {
        let users = format!(
            "users: [{{ user: poor, password: poor, permissions: {{ {permissions} }} }}, \
             {{ user: stream, password: stream }}]"
        );
        format!("accounts {{ A {{ {users}, jetstream: enabled }} }}\nno_auth_user: poor")
    };
    let cannot_consume = "publish: { deny: [\"$JS.API.CONSUMER.>\"] }";
    let mut nats = Nats::start_with(&denied("publish: { deny: [\"$JS.API.>\"] }")).await?;
    rich(&nats).await?.create_stream(stream_config()).await?;
    let gateway = start(config(&nats.url()))?;
    let mut words = Vec::new();
    for (permissions, what) in
        [(None, "look up the stream"), (Some(cannot_consume), "create a consumer")]
    {
        if let Some(permissions) = permissions {
            nats.configure(&denied(permissions))?;
            nats.signal(Signal::Hup)?;
        }
        wait_until(SOON, what, async || {
            let status = wait_for_state(gateway.admin_addr, "error").await.unwrap_or_default();
            words.push(error(&status).to_owned());
            error(&status).contains(what)
                && error(&status).to_lowercase().contains("permissions violation")
        })
        .await
        .with_context(|| format!("{:?}", words.last()))?;
        assert_eq!(get(gateway.admin_addr, "/readyz").await?.status, 503);
    }
    nats.configure(&denied("publish: { allow: [\">\"] }"))?;
    nats.signal(Signal::Hup)?;
    ready(gateway.admin_addr).await?;
    wait_for_state(gateway.admin_addr, "live").await?;
    Ok(())
}

#[tokio::test]
async fn a_mirror_is_read_like_any_stream_with_the_numbers_of_its_origin() -> Result<()> {
    let nats = Nats::start().await?;
    let jetstream = jetstream::new(nats.client().await?);
    let origin = stream::Config { name: "ORIGIN".to_owned(), ..stream_config() };
    jetstream.create_stream(origin).await?;
    publish_all(&jetstream, [("a".to_owned(), b"0".to_vec())]).await?;
    let mirror = stream::Config {
        name: STREAM.to_owned(),
        mirror: Some(stream::Source { name: "ORIGIN".to_owned(), ..stream::Source::default() }),
        ..stream::Config::default()
    };
    jetstream.create_stream(mirror).await?;
    let config = config(&nats.url());
    let rig = Rig::start_on(nats, jetstream, config).await?;
    let mut client = rig.client().await?;
    let position = client.subscribe(&["a"]).await?["offset"].as_u64().context("no offset")?;
    publish(&rig.nats, 1..4).await?;
    assert_eq!(receive(&mut client, position, 4 - position).await?.last(), Some(&3));
    Ok(())
}

/// Lets a bounded number of bytes from the server through on each connection, until it is opened.
async fn choked(port: u16, bytes: u64) -> Result<(String, watch::Sender<bool>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("nats://{}", listener.local_addr()?);
    let (open, state) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let mut state = state.clone();
            tokio::spawn(async move {
                let far = TcpStream::connect(("127.0.0.1", port)).await?;
                let (mut near_read, mut near_write) = near.into_split();
                let (far_read, mut far_write) = far.into_split();
                let up = tokio::io::copy(&mut near_read, &mut far_write);
                let down = async {
                    let mut limited = far_read.take(bytes);
                    tokio::io::copy(&mut limited, &mut near_write).await?;
                    // The end of the connection must come through, however little else does.
                    let mut rest = limited.into_inner();
                    tokio::select! {
                        _ = state.wait_for(|open| *open) => {}
                        () = ended(&mut rest) => return Ok(0),
                    }
                    tokio::io::copy(&mut rest, &mut near_write).await
                };
                tokio::select! { up = up => up, down = down => down }
            });
        }
    });
    Ok((url, open))
}

/// Waits until the server has closed; peeks, so that nothing is taken.
async fn ended(read: &mut tokio::net::tcp::OwnedReadHalf) {
    let mut byte = [0];
    loop {
        match read.peek(&mut byte).await {
            Ok(0) | Err(_) => return,
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

#[tokio::test]
async fn a_server_that_restarts_while_a_gateway_reads_back_costs_it_nothing() -> Result<()> {
    let (mut nats, jetstream) = nats_with_stream().await?;
    let filler = format!("\"{}\"", "x".repeat(1 << 10)).into_bytes();
    publish_all(&jetstream, (0..1_000).map(|_| ("filler".to_owned(), filler.clone()))).await?;
    let last = publish(&nats, 0..10).await?;
    // Enough for the conversation before the deliveries, and for some of these.
    let (url, open) = choked(nats.port(), 100 << 10).await?;
    let gateway = start(config(&url))?;
    wait_for_state(gateway.admin_addr, "warming").await?;
    assert_eq!(
        get(gateway.admin_addr, "/readyz").await?.status,
        503,
        "not before all is read back"
    );
    nats.stop().await?;
    wait_for_state(gateway.admin_addr, "connecting").await?;
    open.send_replace(true);
    nats.restart().await?;
    ready(gateway.admin_addr).await?;

    let mut client = Client::connect(gateway.client_addr).await?;
    assert_eq!(client.subscribe(&["a"]).await?["offset"], last);
    publish(&nats, 10..12).await?;
    let message = client.expect("message").await?;
    assert_eq!(
        (&message["offset"], &message["prev"]),
        (&json!(last + 1), &json!(last)),
        "{message}"
    );
    assert_eq!(client.expect("message").await?["data"], 11);
    Ok(())
}
