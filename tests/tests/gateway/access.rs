//! Credentials: each way in, each way to be kept out, and files that change while the gateway runs.

use std::net::SocketAddr;

use ::gateway::app::Running;
use anyhow::{Context as _, Result, ensure};
use async_nats::ConnectOptions;
use async_nats::jetstream;
use harness::{MountedSecret, Nats, NatsOperator, Signal, wait_until_some};
use wsgateway_config::{GatewayConfig, JetStreamSource, NatsAuth, NatsTls, NatsUser, Source};

use super::http::get;
use super::process::Process;
use super::resume::{numbered, read_up_to, resume};
use super::rig::{Rig, SOON, config, ready, start, stream_config};

/// A server with the stream, made by somebody who may.
pub(super) async fn guarded(
    server: &str,
    admin: ConnectOptions,
) -> Result<(Nats, jetstream::Context)> {
    let nats = Nats::start_with(server).await?;
    let jetstream = jetstream::new(nats.client_with(admin).await?);
    jetstream.create_stream(stream_config()).await?;
    Ok((nats, jetstream))
}

/// The configuration of a gateway with these credentials and certificates.
pub(super) fn with(nats: &Nats, auth: Option<NatsAuth>, tls: Option<NatsTls>) -> GatewayConfig {
    let mut config = config(&nats.url());
    change(&mut config, |source| (source.auth, source.tls) = (auth, tls));
    config
}

fn change(config: &mut GatewayConfig, change: impl FnOnce(&mut JetStreamSource)) {
    if let Source::JetStream(source) = &mut config.source {
        change(source);
    }
}

/// Waits until the source is in a state for a reason that holds `words`, and returns the whole reason.
pub(super) async fn told(admin: SocketAddr, state: &str, words: &str) -> Result<String> {
    let mut last = String::new();
    let found = wait_until_some(SOON, "the state of the source", async || {
        let status = get(admin, "/status").await.ok()?.json().ok()?;
        let source = &status["source"];
        last = source.to_string();
        let error = source["error"].as_str().unwrap_or_default();
        (source["state"] == state && error.contains(words)).then(|| error.to_owned())
    });
    found.await.with_context(|| format!("wanted {state}: {words}; got {last}"))
}

/// What a gateway says that is not let in: in /health, /readyz and /metrics.
async fn kept_out(gateway: &Running, words: &str) -> Result<()> {
    told(gateway.admin_addr, "unauthorized", words).await?;
    let health = get(gateway.client_addr, "/health").await?;
    ensure!(health.status == 503 && health.body.contains(words), "{health:?}");
    ensure!(get(gateway.admin_addr, "/readyz").await?.status == 503, "it is ready");
    let metrics = get(gateway.admin_addr, "/metrics").await?.body;
    let metric = "wsgateway_source_state{state=\"unauthorized\"} 1";
    ensure!(metrics.contains(metric), "{metrics}");
    Ok(())
}

/// A message arrives at a client.
async fn flows(rig: &Rig) -> Result<()> {
    let mut client = rig.subscriber(&["a"]).await?;
    let sequence = rig.publish("a", "1").await?;
    assert_eq!(client.expect("message").await?["offset"], sequence);
    Ok(())
}

#[tokio::test]
async fn creds_open_a_server_in_operator_mode_and_may_be_put_right_while_the_gateway_waits()
-> Result<()> {
    let operator = NatsOperator::new();
    let admin = ConnectOptions::with_credentials(&operator.creds(None)?)?;
    let (nats, jetstream) = guarded(&operator.server_config()?, admin).await?;
    let mut secret = MountedSecret::new(&[("nats.creds", &operator.foreign_creds()?)])?;
    let config = with(&nats, Some(NatsAuth::Creds(secret.path("nats.creds"))), None);
    let gateway = start(config)?;

    kept_out(&gateway, "authorization violation: check spec.nats.credentials").await?;

    secret.replace(&[("nats.creds", &operator.creds(None)?)])?;
    ready(gateway.admin_addr).await?;
    flows(&Rig::of(nats, jetstream, gateway)).await
}

#[tokio::test]
async fn without_credentials_the_gateway_says_that_they_are_wanted() -> Result<()> {
    let operator = NatsOperator::new();
    let nats = Nats::start_with(&operator.server_config()?).await?;
    let gateway = start(config(&nats.url()))?;
    kept_out(&gateway, "set spec.nats.credentials").await
}

#[tokio::test]
async fn an_expired_user_is_told_and_a_new_one_goes_on_where_the_old_one_ended() -> Result<()> {
    let operator = NatsOperator::new();
    let admin = ConnectOptions::with_credentials(&operator.creds(None)?)?;
    let (nats, jetstream) = guarded(&operator.server_config()?, admin).await?;
    let mut secret = MountedSecret::new(&[("nats.creds", &operator.creds(Some(-60))?)])?;
    let config = with(&nats, Some(NatsAuth::Creds(secret.path("nats.creds"))), None);
    let gateway = start(config)?;
    kept_out(&gateway, "its JWT has expired").await?;

    secret.replace(&[("nats.creds", &operator.creds(None)?)])?;
    ready(gateway.admin_addr).await?;
    let rig = Rig::of(nats, jetstream, gateway);
    let mut client = rig.subscriber(&["a"]).await?;
    rig.publish("a", "1").await?;
    assert_eq!(client.expect("message").await?["offset"], 1);

    // In the middle of the connection's life.
    secret.replace(&[("nats.creds", &operator.creds(Some(5))?)])?;
    told(rig.admin_addr, "unauthorized", "its JWT has expired").await?;
    rig.publish("a", "2").await?;
    secret.replace(&[("nats.creds", &operator.creds(None)?)])?;
    assert_eq!(client.expect("message").await?["offset"], 2);
    rig.publish("a", "3").await?;
    assert_eq!(client.expect("message").await?["offset"], 3);
    Ok(())
}

#[tokio::test]
async fn a_live_connection_is_made_anew_with_changed_creds_and_kept_when_they_cannot_be_used()
-> Result<()> {
    let operator = NatsOperator::new();
    let admin = ConnectOptions::with_credentials(&operator.creds(None)?)?;
    let (nats, jetstream) = guarded(&operator.server_config()?, admin).await?;
    let mut secret = MountedSecret::new(&[("nats.creds", &operator.creds(None)?)])?;
    let config = with(&nats, Some(NatsAuth::Creds(secret.path("nats.creds"))), None);
    let rig = Rig::start_on(nats, jetstream, config).await?;
    let mut client = rig.subscriber(&["a"]).await?;

    secret.replace(&[("nats.creds", "-----BEGIN NATS USER JWT-----\nhalf")])?;
    rig.publish("a", "1").await?;
    assert_eq!(client.expect("message").await?["offset"], 1);

    // Somebody that is not let in shows that the connection follows the file.
    secret.replace(&[("nats.creds", &operator.foreign_creds()?)])?;
    told(rig.admin_addr, "unauthorized", "check spec.nats.credentials").await?;
    rig.publish("a", "2").await?;

    secret.replace(&[("nats.creds", &operator.creds(None)?)])?;
    assert_eq!(client.expect("message").await?["offset"], 2);
    Ok(())
}

#[tokio::test]
async fn files_that_are_missing_empty_or_half_written_are_told_by_name_and_tried_again()
-> Result<()> {
    let operator = NatsOperator::new();
    let admin = ConnectOptions::with_credentials(&operator.creds(None)?)?;
    let (nats, jetstream) = guarded(&operator.server_config()?, admin).await?;
    let mut secret = MountedSecret::new(&[])?;
    let path = secret.path("nats.creds");
    let gateway = start(with(&nats, Some(NatsAuth::Creds(path.clone())), None))?;
    let whole = operator.creds(None)?;

    told(gateway.admin_addr, "error", &format!("{} cannot be read", path.display())).await?;
    secret.replace(&[("nats.creds", "")])?;
    told(gateway.admin_addr, "error", "nats.creds is empty").await?;
    secret.replace(&[("nats.creds", &whole[..whole.find("-----BEGIN USER").unwrap_or(0)])])?;
    told(gateway.admin_addr, "error", "nats.creds holds only one of user JWT and user seed")
        .await?;
    secret.replace(&[("nats.creds", "hello")])?;
    told(gateway.admin_addr, "error", "nats.creds is no .creds file").await?;
    assert_eq!(get(gateway.admin_addr, "/livez").await?.status, 200);

    secret.replace(&[("nats.creds", &whole)])?;
    ready(gateway.admin_addr).await?;
    flows(&Rig::of(nats, jetstream, gateway)).await
}

#[tokio::test]
async fn an_nkey_opens_and_another_one_is_kept_out() -> Result<()> {
    let (known, unknown) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let server = format!("authorization {{ users = [{{ nkey: {} }}] }}", known.public_key());
    let (nats, jetstream) = guarded(&server, ConnectOptions::with_nkey(known.seed()?)).await?;
    let mut secret = MountedSecret::new(&[("seed", &unknown.seed()?)])?;
    let gateway = start(with(&nats, Some(NatsAuth::Nkey(secret.path("seed"))), None))?;
    kept_out(&gateway, "NATS does not accept the nkey of").await?;

    secret.replace(&[("seed", &format!("{}\n", known.seed()?))])?;
    ready(gateway.admin_addr).await?;
    flows(&Rig::of(nats, jetstream, gateway)).await
}

#[tokio::test]
async fn a_user_with_its_password_opens_and_a_wrong_password_is_kept_out() -> Result<()> {
    let server = "authorization { users = [{ user: me, password: right }] }";
    let admin = ConnectOptions::with_user_and_password("me".to_owned(), "right".to_owned());
    let (nats, jetstream) = guarded(server, admin).await?;
    let mut secret = MountedSecret::new(&[("username", "me\n"), ("password", "wrong")])?;
    let password = secret.path("password");
    let user = NatsUser::File(secret.path("username"));
    let auth = NatsAuth::Password { user, password: password.clone() };
    let gateway = start(with(&nats, Some(auth), None))?;
    kept_out(&gateway, "NATS does not accept the user or its password of").await?;

    secret.replace(&[("username", "me\n"), ("password", "right\n")])?;
    ready(gateway.admin_addr).await?;
    flows(&Rig::of(nats, jetstream, gateway)).await
}

#[tokio::test]
async fn a_token_opens_and_a_wrong_one_is_kept_out() -> Result<()> {
    let server = "authorization { token: right }";
    let admin = ConnectOptions::with_token("right".to_owned());
    let (nats, jetstream) = guarded(server, admin).await?;
    let mut secret = MountedSecret::new(&[("token", "wrong")])?;
    let gateway = start(with(&nats, Some(NatsAuth::Token(secret.path("token"))), None))?;
    kept_out(&gateway, "NATS does not accept the token of").await?;

    secret.replace(&[("token", "right\n")])?;
    ready(gateway.admin_addr).await?;
    flows(&Rig::of(nats, jetstream, gateway)).await
}

#[tokio::test]
async fn what_is_older_is_looked_up_with_changed_credentials_too() -> Result<()> {
    let server = |password: &str| {
        format!(
            "authorization {{ users = [{{ user: admin, password: admin }}, \
             {{ user: me, password: {password} }}] }}"
        )
    };
    let admin = ConnectOptions::with_user_and_password("admin".to_owned(), "admin".to_owned());
    let (nats, jetstream) = guarded(&server("old"), admin).await?;
    let mut secret = MountedSecret::new(&[("password", "old")])?;
    let user = NatsUser::Name("me".to_owned());
    let auth = NatsAuth::Password { user, password: secret.path("password") };
    let mut config = with(&nats, Some(auth), None);
    config.history.messages = 1;
    let gateway = start(config)?;
    ready(gateway.admin_addr).await?;
    nats.configure(&server("new"))?;
    let mut rig = Rig::of(nats, jetstream, gateway);

    for round in 1..=2 {
        rig.publish_all(numbered(300)).await?;
        read_up_to(&rig, round * 300).await?;
        let mut client = rig.client().await?;
        resume(&mut client, &[">"], 0).await?;
        for offset in 1..=round * 300 {
            assert_eq!(client.expect("message").await?["offset"], offset);
        }
        if round == 1 {
            rig.nats.signal(Signal::Hup)?;
            told(rig.admin_addr, "unauthorized", "NATS does not accept the user").await?;
            secret.replace(&[("password", "new")])?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn nothing_secret_is_in_the_log_nor_on_any_page() -> Result<()> {
    const WRONG: &str = "w0rd-that-is-secret";
    const RIGHT: &str = "another-secret-w0rd";
    let server = format!("authorization {{ users = [{{ user: me, password: {RIGHT} }}] }}");
    let admin = ConnectOptions::with_user_and_password("me".to_owned(), RIGHT.to_owned());
    let (nats, _) = guarded(&server, admin).await?;
    let mut secret = MountedSecret::new(&[("password", WRONG)])?;
    let user = NatsUser::Name("me".to_owned());
    let auth = NatsAuth::Password { user, password: secret.path("password") };
    let config = with(&nats, Some(auth), None);
    let mut process = Process::start_with(&config, &[("RUST_LOG", "debug")]).await?;
    told(process.admin_addr, "unauthorized", "check spec.nats.credentials").await?;
    secret.replace(&[("password", RIGHT)])?;
    ready(process.admin_addr).await?;

    let mut seen = String::new();
    for path in ["/status", "/health", "/metrics", "/stats"] {
        seen.push_str(&get(process.admin_addr, path).await?.body);
    }
    seen.push_str(&process.end_log().await?);
    ensure!(seen.contains("authorization violation"), "the log is not there: {seen}");
    for secret in [WRONG, RIGHT] {
        ensure!(!seen.contains(secret), "{seen}");
    }
    Ok(())
}
