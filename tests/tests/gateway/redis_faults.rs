//! Redis goes away, cuts us off, refuses us, is replaced. Clients stay connected and are told what they missed.

use std::time::Duration;

use ::gateway::app::Running;
use anyhow::{Context as _, Result, ensure};
use harness::{Nats, Redis, Scratch, Signal, wait_until};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::client::Client;
use super::http::{get, refused_upgrade};
use super::process::Process;
use super::redis_rig::{RedisRig, change, config, metric, wait_for_state};
use super::rig::{SOON, ready, start};

/// The next push is a gap that the source told; its number.
async fn gap(client: &mut Client) -> Result<u64> {
    let gap = client.expect("gap").await?;
    ensure!(gap["channel"] == ">" && gap["reason"] == "source", "{gap}");
    ensure!(gap["from"] == gap["to"], "one number for what nobody can count: {gap}");
    gap["from"].as_u64().context("no number")
}

/// Publishes until somebody reads: right after a restart nobody may have subscribed yet.
async fn publish(redis: &Redis, payload: &str) -> Result<()> {
    wait_until(SOON, "a subscriber", async || {
        redis.publish("c", payload).await.is_ok_and(|n| n > 0)
    })
    .await
}

/// Waits until a gateway is ready; then a message on channel `c` reaches a client of it.
async fn serves(gateway: &Running, redis: &Redis) -> Result<()> {
    ready(gateway.admin_addr).await?;
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["c"]).await?;
    publish(redis, "1").await?;
    assert_eq!(client.expect("message").await?["data"], 1);
    Ok(())
}

/// The text of `/status` on why the source is as it is.
fn error(status: &Value) -> &str {
    status["error"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn over_a_restart_of_redis_clients_stay_and_are_told_that_something_may_be_missing()
-> Result<()> {
    let mut rig = RedisRig::start(&["c"]).await?;
    let mut client = rig.subscriber(&["c"]).await?;
    publish(&rig.redis, "1").await?;
    assert_eq!(client.expect("message").await?["offset"], 1);

    rig.redis.stop().await?;
    let status = rig.state("connecting").await?;
    ensure!(error(&status).contains("Redis") || error(&status).contains("redis://"), "{status}");
    let health = rig.health().await?;
    assert_eq!(
        (&health["status"], &health["checks"]["redis"]["status"]),
        (&json!("degraded"), &json!("connecting"))
    );

    rig.redis.restart().await?;
    rig.state("live").await?;
    assert_eq!(gap(&mut client).await?, 2);
    publish(&rig.redis, "2").await?;
    let message = client.expect("message").await?;
    assert_eq!(
        (&message["offset"], &message["prev"], &message["data"]),
        (&json!(3), &json!(1), &json!(2))
    );
    assert_eq!(rig.metric("wsgateway_source_lost_total").await?, 1);
    assert_eq!(rig.health().await?["status"], "healthy");
    Ok(())
}

#[tokio::test]
async fn a_killed_connection_is_made_anew_and_never_hidden() -> Result<()> {
    let rig = RedisRig::start(&["c"]).await?;
    let mut client = rig.subscriber(&["c"]).await?;
    for round in 0..3 {
        let killed: u64 = rig.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await?;
        assert_eq!(killed, 1, "the gateway's one connection");
        assert_eq!(gap(&mut client).await?, 2 * round + 1);
        publish(&rig.redis, "1").await?;
        assert_eq!(client.expect("message").await?["offset"], 2 * round + 2);
    }
    assert_eq!(rig.metric("wsgateway_source_lost_total").await?, 3);
    Ok(())
}

#[tokio::test]
async fn a_client_that_comes_back_is_told_of_what_its_gateway_missed_and_another_gateway_starts_it_anew()
-> Result<()> {
    let rig = RedisRig::start(&["c"]).await?;
    let mut client = rig.subscriber(&["c"]).await?;
    publish(&rig.redis, "1").await?;
    client.expect("message").await?;
    let resume = json!({ "epoch": client.epoch(), "offset": 1 });
    let back = json!({ "type": "subscribe", "id": 1, "channels": ["c"], "resume": resume });
    drop(client);
    rig.redis.command::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await?;
    wait_until(SOON, "a connection", async || {
        rig.metric("wsgateway_source_lost_total").await.is_ok_and(|lost| lost == 1)
    })
    .await?;
    publish(&rig.redis, "2").await?;

    let mut client = rig.client().await?;
    client.send(&back).await?;
    let ack = client.expect("subscription_ack").await?;
    assert_eq!(ack["recovered"], false, "nobody knows what was missed: {ack}");
    let gap = client.expect("gap").await?;
    assert_eq!((&gap["channel"], &gap["to"]), (&json!("c"), &json!(2)));
    assert_eq!(client.expect("message").await?["offset"], 3);

    let other = start(config(&[rig.redis.url()], &["c"]))?;
    ready(other.admin_addr).await?;
    let mut client = Client::connect(other.client_addr).await?;
    client.send(&back).await?;
    assert_eq!(client.expect("subscription_ack").await?["recovered"], false);
    assert_eq!(client.expect("gap").await?["reason"], "epoch");
    Ok(())
}

#[tokio::test]
async fn over_a_freeze_of_redis_the_gateway_does_not_wait_for_ever() -> Result<()> {
    let mut rig = RedisRig::start(&["c"]).await?;
    let mut client = rig.subscriber(&["c"]).await?;
    rig.redis.signal(Signal::Stop)?;
    let status = rig.state("connecting").await?;
    ensure!(error(&status).contains("no sign of life"), "{status}");
    rig.redis.signal(Signal::Cont)?;
    rig.state("live").await?;
    gap(&mut client).await?;
    publish(&rig.redis, "1").await?;
    assert_eq!(client.expect("message").await?["data"], 1);
    Ok(())
}

#[tokio::test]
async fn a_gateway_too_slow_for_redis_is_cut_off_and_says_so_to_every_client() -> Result<()> {
    let redis = Redis::start_with("client-output-buffer-limit pubsub 1mb 512kb 1", "").await?;
    let mut config = config(&[redis.url()], &["*"]);
    // These clients are not the slow ones here.
    config.capacity.outbox_bytes_per_connection = 128 << 20;
    let gateway = Process::start(&config).await?;
    ready(gateway.admin_addr).await?;
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["c", "end"]).await?;

    gateway.signal("STOP").await?;
    let filler = format!("\"{}\"", "x".repeat(64 << 10));
    let mut publisher = redis.client().await?;
    let mut published = 0u64;
    // Until Redis has had enough: then nobody receives any more.
    loop {
        let publish = redis::cmd("PUBLISH").arg("c").arg(&filler).clone();
        let receivers: u64 = publish.query_async(&mut publisher).await?;
        if receivers == 0 {
            break;
        }
        published += 1;
        ensure!(published < 10_000, "Redis does not cut a client off that reads nothing");
    }
    gateway.signal("CONT").await?;

    let (told, count) = tokio::try_join!(until_end(&mut client), async {
        let end = async || redis.publish("end", "1").await.is_ok_and(|receivers| receivers > 0);
        wait_until(SOON, "a subscriber", end).await
    })?
    .0;
    ensure!(told, "cut off without a word");
    ensure!(count <= published, "{count} messages of {published}");
    Ok(())
}

/// Reads to the channel `end`, every number in its turn: whether there was a gap, and how many messages before the end.
async fn until_end(client: &mut Client) -> Result<(bool, u64)> {
    let (mut told, mut messages) = (false, 0);
    for next in 1.. {
        let push = client.next().await?;
        match push["type"].as_str() {
            Some("message") if push["channel"] == "end" => break,
            Some("message") => {
                ensure!(push["offset"] == next, "{next} is missing without a word");
                messages += 1;
            }
            Some("gap") => {
                ensure!(
                    push["from"] == next && push["to"] == next && push["reason"] == "source",
                    "{push}"
                );
                told = true;
            }
            _ => anyhow::bail!("{push}"),
        }
    }
    Ok((told, messages))
}

#[tokio::test]
async fn without_redis_a_start_is_not_ready_and_refuses_upgrades_until_redis_comes() -> Result<()> {
    let mut redis = Redis::start().await?;
    redis.stop().await?;
    let gateway = start(config(&[redis.url()], &["c"]))?;
    let status = wait_for_state(gateway.admin_addr, "connecting").await?;
    assert_eq!(get(gateway.admin_addr, "/readyz").await?.status, 503);
    assert_eq!(refused_upgrade(gateway.client_addr).await?.status, 503);
    ensure!(error(&status).is_empty() || error(&status).contains(&redis.url()), "{status}");
    redis.restart().await?;
    ready(gateway.admin_addr).await?;
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["c"]).await?;
    publish(&redis, "1").await?;
    assert_eq!(
        client.expect("message").await?["offset"],
        1,
        "nothing was missed before the first connection"
    );
    Ok(())
}

#[tokio::test]
async fn when_a_server_is_gone_the_next_one_of_the_list_serves() -> Result<()> {
    let (mut first, second) = (Redis::start().await?, Redis::start().await?);
    second.command::<String>(&["REPLICAOF", "127.0.0.1", &first.port().to_string()]).await?;
    let gateway = start(config(&[first.url(), second.url()], &["c"]))?;
    ready(gateway.admin_addr).await?;
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["c"]).await?;
    publish(&first, "1").await?;
    assert_eq!(client.expect("message").await?["data"], 1);

    first.stop().await?;
    second.command::<String>(&["REPLICAOF", "NO", "ONE"]).await?;
    gap(&mut client).await?;
    publish(&second, "2").await?;
    assert_eq!(client.expect("message").await?["data"], 2);
    Ok(())
}

const LOGIN: &str =
    "requirepass right\nuser gateway on >secret +subscribe +psubscribe +ping resetchannels &c";

#[tokio::test]
async fn a_wrong_password_is_told_and_the_right_one_is_picked_up_from_its_file() -> Result<()> {
    let redis = Redis::start_with(LOGIN, ":right@").await?;
    let scratch = Scratch::new("password")?;
    let mut config = config(&[redis.url()], &["c"]);
    let gateway = start(config.clone())?;
    let status = wait_for_state(gateway.admin_addr, "error").await?;
    ensure!(error(&status).contains("NOAUTH"), "{status}");

    let file = scratch.write("password", "wrong\n")?;
    change(&mut config, |source| source.password_file = Some(file));
    for (user, password) in [(None, "right\n"), (Some("gateway"), "secret")] {
        scratch.write("password", "wrong\n")?;
        change(&mut config, |source| source.username = user.map(str::to_owned));
        let gateway = start(config.clone())?;
        let status = wait_for_state(gateway.admin_addr, "error").await?;
        ensure!(
            error(&status).contains("WRONGPASS") && error(&status).contains("login"),
            "{status}"
        );
        ensure!(!status.to_string().contains("wrong\n"), "{status}");
        assert_eq!(get(gateway.admin_addr, "/readyz").await?.status, 503);

        scratch.write("password", password)?;
        serves(&gateway, &redis).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_channel_that_the_user_may_not_read_is_told_and_read_once_it_is_allowed() -> Result<()> {
    let redis = Redis::start_with(LOGIN, ":right@").await?;
    let scratch = Scratch::new("password")?;
    let mut config = config(&[redis.url()], &["c", "d"]);
    change(&mut config, |source| source.username = Some("gateway".to_owned()));
    let file = scratch.write("password", "secret")?;
    change(&mut config, |source| source.password_file = Some(file));
    let gateway = start(config)?;
    let status = wait_for_state(gateway.admin_addr, "error").await?;
    ensure!(
        error(&status).contains("NOPERM") && error(&status).contains("subscription"),
        "{status}"
    );

    redis.command::<String>(&["ACL", "SETUSER", "gateway", "&d"]).await?;
    ready(gateway.admin_addr).await?;
    // Taken away again while it reads: Redis cuts the connection.
    let mut client = Client::connect(gateway.client_addr).await?;
    client.subscribe(&["c"]).await?;
    redis.command::<String>(&["ACL", "SETUSER", "gateway", "resetchannels", "&c"]).await?;
    wait_for_state(gateway.admin_addr, "error").await?;
    redis.command::<String>(&["ACL", "SETUSER", "gateway", "&d"]).await?;
    gap(&mut client).await?;
    Ok(())
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_by_their_path() -> Result<()> {
    let redis = Redis::start().await?;
    let scratch = Scratch::new("files")?;
    let empty = scratch.write("empty", "\n")?;
    let huge = scratch.write("huge", "x".repeat(5_000))?;
    let missing = scratch.join("missing");
    for file in [empty, huge, missing] {
        let mut config = config(&[redis.url()], &["c"]);
        change(&mut config, |source| source.password_file = Some(file.clone()));
        let gateway = start(config)?;
        let status = wait_for_state(gateway.admin_addr, "error").await?;
        let path = file.display().to_string();
        ensure!(
            error(&status).starts_with("source.redis.passwordFile")
                && error(&status).contains(&path),
            "{status}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_redis_is_told() -> Result<()> {
    let nats = Nats::start().await?;
    let gateway = start(config(&[format!("redis://127.0.0.1:{}", nats.port())], &["c"]))?;
    let status = wait_for_state(gateway.admin_addr, "error").await?;
    ensure!(error(&status).contains("not Redis' protocol"), "{status}");
    assert_eq!(metric(gateway.admin_addr, "wsgateway_source_messages_total").await?, 0);
    Ok(())
}

/// A certificate authority, and a certificate of its for 127.0.0.1, as PEM files.
pub(super) fn certificates(scratch: &Scratch) -> Result<()> {
    harness::init_tls();
    let (ca_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut ca = CertificateParams::new(Vec::<String>::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key)?;
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    let certificate = server.signed_by(&key, &Issuer::new(ca, ca_key))?;
    scratch.write("ca.pem", ca_certificate.pem())?;
    scratch.write("cert.pem", certificate.pem())?;
    scratch.write("key.pem", key.serialize_pem())?;
    Ok(())
}

#[tokio::test]
async fn over_tls_the_servers_certificate_is_checked_against_the_given_authority() -> Result<()> {
    let (ours, theirs) = (Scratch::new("tls")?, Scratch::new("tls")?);
    certificates(&ours)?;
    certificates(&theirs)?;
    let port = harness::free_port()?;
    let tls = format!(
        "tls-port {port}\ntls-auth-clients no\ntls-ca-cert-file {0}/ca.pem\ntls-cert-file {0}/cert.pem\ntls-key-file {0}/key.pem",
        ours.path().display()
    );
    let redis = Redis::start_with(&tls, "").await?;
    let mut config = config(&[format!("rediss://127.0.0.1:{port}")], &["c"]);
    change(&mut config, |source| source.ca_file = Some(theirs.join("ca.pem")));
    let gateway = start(config.clone())?;
    wait_until(SOON, "a word about the certificate", async || {
        let status = wait_for_state(gateway.admin_addr, "connecting").await.unwrap_or_default();
        error(&status).contains("TLS: ") && error(&status).contains("certificate")
    })
    .await?;
    assert_eq!(get(gateway.admin_addr, "/readyz").await?.status, 503);

    // The right authority, in the same file: it is read again.
    std::fs::copy(ours.join("ca.pem"), theirs.join("ca.pem"))?;
    serves(&gateway, &redis).await?;
    Ok(())
}

#[tokio::test]
async fn clients_and_stop_are_served_while_redis_is_away() -> Result<()> {
    let mut redis = Redis::start().await?;
    let gateway = start(config(&[redis.url()], &["c"]))?;
    ready(gateway.admin_addr).await?;
    redis.stop().await?;
    wait_for_state(gateway.admin_addr, "connecting").await?;
    assert_eq!(get(gateway.admin_addr, "/readyz").await?.status, 200);
    Client::connect(gateway.client_addr).await?.subscribe(&["c"]).await?;
    let stopping = tokio::task::spawn_blocking(move || gateway.shutdown());
    Ok(tokio::time::timeout(SOON.max(Duration::from_secs(1)), stopping).await??)
}
