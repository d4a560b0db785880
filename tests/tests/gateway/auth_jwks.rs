//! Keys that an issuer publishes: fetched, rotated, and kept while the issuer is down, slow or talks rubbish.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::gateway::app::Running;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::{Scratch, wait_until};
use jsonwebtoken::{Algorithm as Signature, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use wsgateway_config::{Algorithm, Auth, GatewayConfig, Jwks, Jwt, MemorySource, Millis, Source};

use super::http::get;
use super::redis_faults::certificates;
use super::rig::{SOON, start};
use super::tokens::now_s;

/// What an issuer does when it is asked.
#[derive(Clone)]
enum Answer {
    /// A body, with status 200.
    Keys(String),
    /// Another status.
    Status(u16),
    /// A body that does not end.
    Endless,
    /// A byte a second.
    Slowly,
    /// Nothing, for as long as somebody waits.
    Never,
}

/// An issuer's server.
struct Issuer {
    answer: Arc<Mutex<(Answer, usize)>>,
    url: String,
    serving: AbortHandle,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Issuer {
    async fn new(answer: Answer) -> Result<Self> {
        Self::with(answer, None).await
    }

    /// One with a certificate of a folder.
    async fn over_tls(answer: Answer, folder: &Scratch) -> Result<Self> {
        let chain =
            CertificateDer::pem_file_iter(folder.join("cert.pem"))?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem"))?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let mut issuer = Self::with(answer, Some(TlsAcceptor::from(Arc::new(config)))).await?;
        issuer.url = issuer.url.replace("http://", "https://");
        Ok(issuer)
    }

    async fn with(answer: Answer, tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/keys", listener.local_addr()?);
        let answer = Arc::new(Mutex::new((answer, 0)));
        let shared = Arc::clone(&answer);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        Some(tls) => serve(tls.accept(stream).await?, &shared).await,
                        None => serve(stream, &shared).await,
                    }
                });
            }
        });
        Ok(Self { answer, url, serving: serving.abort_handle() })
    }

    fn say(&self, answer: Answer) {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).0 = answer;
    }

    fn asked(&self) -> usize {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Mutex<(Answer, usize)>,
) -> std::io::Result<()> {
    let (mut stream, mut line) = (BufReader::new(stream), String::new());
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let answer = {
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 += 1;
        state.0.clone()
    };
    let head = |status, length| {
        format!("HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
    };
    match answer {
        Answer::Keys(text) => {
            stream.write_all((head(200, text.len()) + &text).as_bytes()).await?;
        }
        Answer::Status(status) => stream.write_all(head(status, 0).as_bytes()).await?,
        Answer::Endless => {
            stream.write_all(head(200, 10 << 20).as_bytes()).await?;
            while stream.write_all(&[b' '; 4_096]).await.is_ok() {}
        }
        Answer::Slowly => {
            stream.write_all(head(200, 1_000).as_bytes()).await?;
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            loop {
                seconds.tick().await;
                stream.write_all(b" ").await?;
            }
        }
        Answer::Never => std::future::pending().await,
    }
    stream.shutdown().await
}

/// A key of an issuer with a name.
struct Key {
    name: &'static str,
    pair: KeyPair,
}

impl Key {
    fn new(name: &'static str) -> Result<Self> {
        Ok(Self { name, pair: KeyPair::generate_for(&PKCS_ED25519)? })
    }

    fn published(keys: &[&Self]) -> Answer {
        let jwk = |key: &&Self| {
            let x = URL_SAFE_NO_PAD.encode(key.pair.public_key_raw());
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": key.name, "use": "sig", "alg": "EdDSA", "x": x })
        };
        Answer::Keys(json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }).to_string())
    }

    fn token(&self) -> Result<String> {
        let mut header = Header::new(Signature::EdDSA);
        header.kid = Some(self.name.to_owned());
        let key = EncodingKey::from_ed_pem(self.pair.serialize_pem().as_bytes())?;
        Ok(encode(&header, &json!({ "sub": "ann", "exp": now_s() + 3_600 }), &key)?)
    }
}

fn gateway(url: &str, ca_file: Option<std::path::PathBuf>) -> Result<Running> {
    let mut config = GatewayConfig::new("test/keys", Source::Memory(MemorySource {}));
    (config.listener.address, config.listener.port) = ([127, 0, 0, 1].into(), 0);
    (config.admin.address, config.admin.port) = ([127, 0, 0, 1].into(), 0);
    let mut jwt = Jwt::new(Vec::new(), vec![Algorithm::EdDSA]);
    jwt.jwks = Some(Jwks { url: url.to_owned(), ca_file, refresh: Millis::from_secs(300) });
    config.auth = Some(Auth { jwt, anonymous: None, channels: Vec::new() });
    start(config)
}

/// What a plain request to the endpoint says of a token: 426 if it is good.
async fn judged(gateway: &Running, token: &str) -> Result<u16> {
    Ok(get(gateway.client_addr, &format!("/ws?token={token}")).await?.status)
}

async fn accepted(gateway: &Running, token: &str) -> Result<()> {
    let good = async || judged(gateway, token).await.is_ok_and(|status| status == 426);
    wait_until(SOON, "a token that is accepted", good).await
}

async fn state(gateway: &Running) -> Result<Value> {
    Ok(get(gateway.admin_addr, "/status").await?.json()?["auth"].clone())
}

/// Waits for a problem with these words.
async fn troubled(gateway: &Running, words: &str) -> Result<()> {
    wait_until(SOON, words, async || {
        state(gateway).await.is_ok_and(|state| state["problems"].to_string().contains(words))
    })
    .await
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_and_an_issuer_that_is_down_takes_none_away()
-> Result<()> {
    let (old, new) = (Key::new("old")?, Key::new("new")?);
    let issuer = Issuer::new(Key::published(&[&old])).await?;
    let gateway = gateway(&issuer.url, None)?;
    accepted(&gateway, &old.token()?).await?;
    assert_eq!(judged(&gateway, &new.token()?).await?, 401);
    issuer.say(Key::published(&[&old, &new]));
    accepted(&gateway, &new.token()?).await?;
    let asked = issuer.asked();
    ensure!((2..=3).contains(&asked), "asked {asked} times for one unknown name");
    issuer.say(Answer::Status(500));
    // Anybody's token with a name that nobody knows.
    let unknown = Key::new("unknown")?.token()?;
    wait_until(SOON, "another request", async || {
        judged(&gateway, &unknown).await.is_ok_and(|status| status == 401) && issuer.asked() > asked
    })
    .await?;
    troubled(&gateway, "the answer is 500").await?;
    assert_eq!(state(&gateway).await?["keys"], 2);
    for key in [&old, &new] {
        assert_eq!(judged(&gateway, &key.token()?).await?, 426);
    }
    Ok(())
}

#[tokio::test]
async fn an_issuer_that_is_slow_silent_or_talks_rubbish_is_reported_and_tokens_wait() -> Result<()>
{
    let key = Key::new("a")?;
    let secret = json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "A".repeat(64) }] }).to_string();
    // Every key of it is a good one.
    let all = vec![&key; 100_000];
    let huge = Key::published(&all);
    ensure!(matches!(&huge, Answer::Keys(text) if text.len() > 10 << 20));
    let cases = [
        (Answer::Never, "no answer within 10 s"),
        (Answer::Slowly, "no answer within 10 s"),
        (huge, "longer than 1024 KiB"),
        (Answer::Endless, "longer than 1024 KiB"),
        (Answer::Keys("<html>".to_owned()), "neither a JWK nor a JWKS"),
        (Answer::Keys("{\"keys\":7}".to_owned()), "neither a JWK nor a JWKS"),
        (Answer::Keys(secret), "none of its keys"),
        (Answer::Status(302), "the answer is 302"),
    ];
    let (mut issuers, mut gateways) = (Vec::new(), Vec::new());
    for (answer, words) in cases {
        let issuer = Issuer::new(answer).await?;
        gateways.push((gateway(&issuer.url, None)?, words));
        issuers.push(issuer);
    }
    for (gateway, words) in &gateways {
        troubled(gateway, words).await.with_context(|| words.to_owned())?;
        // Nobody knows whether it is good.
        assert_eq!(judged(gateway, &key.token()?).await?, 503, "{words}");
        let metrics = get(gateway.admin_addr, "/metrics").await?.body;
        ensure!(metrics.contains("wsgateway_auth_key_problems 1"), "{words}");
    }
    Ok(())
}

#[tokio::test]
async fn over_tls_an_issuer_is_checked_against_the_given_authority() -> Result<()> {
    let (ours, theirs) = (Scratch::new("jwks")?, Scratch::new("jwks")?);
    certificates(&ours)?;
    certificates(&theirs)?;
    let key = Key::new("a")?;
    let issuer = Issuer::over_tls(Key::published(&[&key]), &ours).await?;
    let trusting = gateway(&issuer.url, Some(ours.join("ca.pem")))?;
    accepted(&trusting, &key.token()?).await?;
    let asked = issuer.asked();
    let empty = theirs.write("empty.pem", "no certificate")?;
    for (ca_file, words) in [
        (Some(theirs.join("ca.pem")), "certificate"),
        (Some(theirs.join("missing.pem")), "caFile"),
        (Some(empty), "no certificate of an authority"),
    ] {
        let strict = gateway(&issuer.url, ca_file)?;
        troubled(&strict, words).await?;
        assert_eq!(judged(&strict, &key.token()?).await?, 503, "{words}");
    }
    assert_eq!(issuer.asked(), asked, "nobody else has asked");
    Ok(())
}
