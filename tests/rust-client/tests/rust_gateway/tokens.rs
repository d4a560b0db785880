//! Tokens that are renewed, refused and unavailable.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use harness::{Scratch, init_tls};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};
use wsgateway::{Event, Refused};

use super::recorder::{Publisher, Recorder, builder};
use super::servers::{Gateway, SOON, Source};

/// Issues tokens: a secret in a file for the configuration of a gateway, and tokens that are signed with it.
struct Issuer {
    secret: String,
    file: PathBuf,
    issued: AtomicU64,
    _scratch: Scratch,
}

impl Issuer {
    fn new() -> Result<Arc<Self>> {
        init_tls();
        let scratch = Scratch::new("issuer")?;
        let secret: String = std::iter::repeat_with(fastrand::alphanumeric).take(48).collect();
        let file = scratch.write("key", &secret)?;
        Ok(Arc::new(Self { secret, file, issued: AtomicU64::new(0), _scratch: scratch }))
    }

    fn config(&self) -> Value {
        let keys = json!([{ "file": self.file }]);
        json!({ "auth": { "jwt": { "keys": keys, "algorithms": ["HS256"], "leeway": 0 } } })
    }

    fn count(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    /// A token that is good for some seconds.
    fn token(&self, seconds: u64) -> Result<String> {
        let jti = self.issued.fetch_add(1, Ordering::Relaxed).to_string();
        let now = SystemTime::now() + Duration::from_millis(999); // whole seconds: rounded up
        let exp = now.duration_since(SystemTime::UNIX_EPOCH)?.as_secs() + seconds;
        let key = EncodingKey::from_secret(self.secret.as_bytes())?;
        let claims = json!({ "sub": "ann", "exp": exp, "jti": jti });
        Ok(encode(&Header::default(), &claims, &key)?)
    }
}

#[tokio::test]
async fn tokens_of_seconds_are_exchanged_under_live_messages_and_nothing_is_lost() -> Result<()> {
    let (issuer, source) = (Issuer::new()?, Source::start().await?);
    let gateway = Gateway::start_with(&source, &issuer.config()).await?;
    let issues = Arc::clone(&issuer);
    let token = move || std::future::ready(issues.token(2));
    let mut r = Recorder::subscribed(builder(gateway.url()).token(token), &["line.a"]).await?;
    let publisher = Publisher::start(&source, "line.a");
    r.until("three more tokens", |_| issuer.count() >= 4).await?;
    r.complete(publisher.stop().await?).await?;
    let bad = |event: &Event| matches!(event, Event::Closed(_) | Event::Error(_));
    assert_eq!(r.count(bad), 0, "{:?}", r.events);
    Ok(())
}

#[tokio::test]
async fn a_login_that_is_away_until_the_token_has_expired_costs_a_reconnect_and_nothing_else()
-> Result<()> {
    let (issuer, source) = (Issuer::new()?, Source::start().await?);
    let gateway = Gateway::start_with(&source, &issuer.config()).await?;
    let (issues, away) = (Arc::clone(&issuer), Arc::new(AtomicBool::new(false)));
    let is_away = Arc::clone(&away);
    let token = move || {
        let token = if is_away.swap(true, Ordering::Relaxed) {
            Err(anyhow::anyhow!("the login is away"))
        } else {
            issues.token(if issues.count() == 0 { 2 } else { 600 })
        };
        std::future::ready(token)
    };
    let mut r = Recorder::subscribed(builder(gateway.url()).token(token), &["line.a"]).await?;
    let publisher = Publisher::start(&source, "line.a");
    r.until("the end of the token", |r| r.closed().any(|closed| closed.code == 4004)).await?;
    away.store(false, Ordering::Relaxed);
    r.acknowledged(2).await?;
    r.complete(publisher.stop().await?).await?;
    let unavailable =
        |event: &Event| matches!(event, Event::Error(error) if error.code == "token_unavailable");
    assert!(r.count(unavailable) > 0);
    assert!(!format!("{:?}", r.events).contains("away"));
    Ok(())
}

#[tokio::test]
async fn a_refused_token_that_cannot_change_ends_the_client_and_is_in_no_text() -> Result<()> {
    let (issuer, source) = (Issuer::new()?, Source::start().await?);
    let gateway = Gateway::start_with(&source, &issuer.config()).await?;
    let token = Issuer::new()?.token(600)?;
    let mut r = Recorder::new(builder(gateway.url()).fixed_token(&token), &["line.a"])?;
    let end = tokio::time::timeout(SOON, r.client.closed()).await?;
    assert!(matches!(end, Err(Refused { code: 4001, .. })), "{end:?}");
    r.until("the end", |r| r.closed().count() == 1).await?;
    let text = format!("{:?} {:?} {}", r.events, end, gateway.log()?);
    assert!(!text.contains(&token[token.len() - 20..]));
    Ok(())
}

#[tokio::test]
async fn a_refused_token_of_a_function_is_exchanged_for_a_fresh_one_at_once() -> Result<()> {
    let (issuer, other, source) = (Issuer::new()?, Issuer::new()?, Source::start().await?);
    let gateway = Gateway::start_with(&source, &issuer.config()).await?;
    let token = move || {
        let token = if other.count() == 0 { other.token(600) } else { issuer.token(600) };
        std::future::ready(token)
    };
    let r = Recorder::subscribed(builder(gateway.url()).token(token), &["line.a"]).await?;
    assert_eq!(r.closed().map(|closed| closed.code).collect::<Vec<_>>(), [4001]);
    Ok(())
}
