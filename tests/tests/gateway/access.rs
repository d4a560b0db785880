//! Credentials and certificates: each way in, each way to be kept out, and files that change while the gateway runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use ::gateway::app::Running;
use anyhow::{Context as _, Result, ensure};
use async_nats::ConnectOptions;
use async_nats::jetstream;
use harness::{Authority, Certified, MountedSecret, Nats, NatsOperator, Scratch, wait_until_some};
use wsgateway_config::{GatewayConfig, JetStreamSource, NatsAuth, NatsTls, NatsUser, Source};

use super::http::get;
use super::process::Process;
use super::rig::{Rig, SOON, config, ready, start, stream_config};

/// A server with the stream, made by somebody who may.
async fn guarded(server: &str, admin: ConnectOptions) -> Result<(Nats, jetstream::Context)> {
    let nats = Nats::start_with(server).await?;
    let jetstream = jetstream::new(nats.client_with(admin).await?);
    jetstream.create_stream(stream_config()).await?;
    Ok((nats, jetstream))
}

/// The configuration of a gateway with these credentials and certificates.
fn with(nats: &Nats, auth: Option<NatsAuth>, tls: Option<NatsTls>) -> GatewayConfig {
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
async fn told(admin: SocketAddr, state: &str, words: &str) -> Result<String> {
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

/// The certificates of a server that wants to see those of its clients, as files.
struct Pki {
    ca: Authority,
    server: String,
    folder: Scratch,
}

impl Pki {
    fn new() -> Result<Self> {
        let (ca, folder) = (Authority::new("nats-ca")?, Scratch::new("pki")?);
        let Certified { certificate, key } = ca.server()?;
        let path = |name: &str, text: &str| -> Result<String> {
            Ok(folder.write(name, text)?.display().to_string())
        };
        let server = format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
            path("server.crt", &certificate)?,
            path("server.key", &key)?,
            path("ca.crt", &ca.pem())?,
        );
        Ok(Self { ca, server, folder })
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        self.folder.write(name, text)
    }

    /// A publisher that the server accepts.
    fn admin(&self) -> Result<ConnectOptions> {
        let Certified { certificate, key } = self.ca.client("admin")?;
        Ok(ConnectOptions::new()
            .add_root_certificates(self.folder.join("ca.crt"))
            .add_client_certificate(
                self.file("admin.crt", &certificate)?,
                self.file("admin.key", &key)?,
            ))
    }
}

/// The files of a Secret of type kubernetes.io/tls.
fn pair(certified: &Certified) -> [(&str, &str); 2] {
    [("tls.crt", &certified.certificate), ("tls.key", &certified.key)]
}

#[tokio::test]
async fn a_server_that_verifies_clients_takes_one_with_the_right_certificate_and_a_new_one_later()
-> Result<()> {
    let pki = Pki::new()?;
    let (nats, jetstream) = guarded(&pki.server, pki.admin()?).await?;
    let stranger = Authority::new("somebody else")?.client("gateway")?;
    let mut secret = MountedSecret::new(&pair(&stranger))?;
    let tls = NatsTls {
        ca_file: Some(pki.folder.join("ca.crt")),
        cert_file: Some(secret.path("tls.crt")),
        key_file: Some(secret.path("tls.key")),
    };
    let gateway = start(with(&nats, None, Some(tls)))?;
    told(gateway.admin_addr, "error", "check spec.nats.tls.clientSecret").await?;

    secret.replace(&pair(&pki.ca.client("gateway")?))?;
    ready(gateway.admin_addr).await?;
    let rig = Rig::of(nats, jetstream, gateway);
    let mut client = rig.subscriber(&["a"]).await?;
    rig.publish("a", "1").await?;
    assert_eq!(client.expect("message").await?["offset"], 1);

    // One that is not accepted shows that the connection follows the files.
    secret.replace(&pair(&stranger))?;
    told(rig.admin_addr, "error", "check spec.nats.tls.clientSecret").await?;
    rig.publish("a", "2").await?;
    let right = pki.ca.client("gateway")?;
    let mixed = Certified { key: stranger.key.clone(), ..right.clone() };
    secret.replace(&pair(&mixed))?;
    told(rig.admin_addr, "error", "does not fit the certificate in").await?;
    secret.replace(&pair(&right))?;
    assert_eq!(client.expect("message").await?["offset"], 2);
    Ok(())
}

#[tokio::test]
async fn what_is_missing_or_wrong_in_tls_is_told_with_the_field_to_set() -> Result<()> {
    let pki = Pki::new()?;
    let verifying = Nats::start_with(&pki.server).await?;
    let plain = Nats::start().await?;
    let another = pki.file("another.crt", &Authority::new("somebody else")?.pem())?;
    let ca = |file: PathBuf| Some(NatsTls { ca_file: Some(file), ..NatsTls::default() });
    for (nats, tls, words) in [
        (&verifying, None, "asks for TLS, and its certificate comes from no authority"),
        (&verifying, ca(another), "check spec.nats.tls.caSecret"),
        (&verifying, ca(pki.folder.join("ca.crt")), "set spec.nats.tls.clientSecret"),
        (&verifying, ca(pki.file("no.crt", "hello")?), "no.crt holds no certificate"),
        (&verifying, ca(pki.folder.join("none.crt")), "none.crt cannot be read"),
        (&plain, ca(pki.folder.join("ca.crt")), "does not speak TLS"),
    ] {
        let gateway = start(with(nats, None, tls))?;
        told(gateway.admin_addr, "error", words).await?;
        assert_eq!(get(gateway.admin_addr, "/readyz").await?.status, 503);
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
