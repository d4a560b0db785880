//! Tokens in cookies: browsers send them with the requests of any page, so that they count for pages that are listed alone.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use wsgateway_config::GatewayConfig;

use super::events::Events;
use super::http::{Answer, ask, request, upgrade_refused, upgrade_request};
use super::process::Process;
use super::raw::Raw;
use super::rig::{Rig, SOON, config, nats_with_stream, ready};
use super::tokens::{Issuer, allow, anonymous, token};

const APP: &str = "https://app.example.com";
const COOKIE: &str = "__Host-token";

fn with_cookie(config: &mut GatewayConfig, issuer: &Issuer) {
    let mut auth = issuer.auth();
    auth.jwt.cookie = Some(COOKIE.to_owned());
    auth.channels = vec![allow("user.{sub}.>")];
    // Strangers may come, so that an ignored cookie would show.
    auth.anonymous = anonymous(&["public.>"]);
    config.auth = Some(auth);
    config.listener.allowed_origins = vec![APP.to_owned()];
}

async fn rig(issuer: &Issuer) -> Result<Rig> {
    Rig::start_with(|config| with_cookie(config, issuer)).await
}

fn cookie(token: &str) -> String {
    format!("Cookie: theme=dark; {COOKIE}={token}; lang=en\r\n")
}

fn origin(origin: &str) -> String {
    format!("Origin: {origin}\r\n")
}

/// The answer to a request that does not end its connection, as browsers send it.
async fn first_answer(address: SocketAddr, text: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    let mut heard = Vec::new();
    loop {
        let count = timeout(SOON, stream.read_buf(&mut heard)).await.context("no answer")??;
        ensure!(count > 0, "the connection ended");
        let answer = Answer::parse(&String::from_utf8_lossy(&heard));
        if let Ok(answer) = answer
            && answer.json().is_ok()
        {
            return Ok(answer);
        }
    }
}

/// The answers to an upgrade by the front door and by the HTTP server, to an event stream and to a long-poll.
async fn answers(address: SocketAddr, headers: &str) -> Result<Vec<Answer>> {
    let closing = format!("{headers}Connection: close\r\n");
    Ok(vec![
        first_answer(address, &upgrade_request(headers)).await?,
        upgrade_refused(address, headers).await?,
        ask(address, "/sse?channels=user.ann.x", &closing).await?,
        ask(address, "/poll?channels=user.ann.x", &closing).await?,
    ])
}

/// All of them are refused, in the same way.
async fn refused(address: SocketAddr, headers: &str, status: u16, code: &str) -> Result<()> {
    for answer in answers(address, headers).await? {
        let found = answer.json()?;
        assert_eq!((answer.status, found["code"].as_str()), (status, Some(code)), "{headers}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cookie_counts_for_pages_that_are_listed_and_for_nobody_else() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = rig(&issuer).await?;
    let ann = cookie(&token("ann", &json!({})));
    let page = origin(APP) + &ann;
    let mut socket = Raw::upgrade(rig.client_addr, &page, &[]).await?;
    assert_eq!(socket.json().await?["user"], "ann");
    Events::open(&rig, "channels=user.ann.x", &page).await?;
    let closing = format!("{page}Connection: close\r\n");
    let answer = ask(rig.client_addr, "/poll?channels=user.ann.x", &closing).await?;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(APP)));
    ensure!(!answer.body.contains("not_allowed"), "{answer:?}");
    // A token that is shown comes first, with or without an origin: no page can add that to a request of a visitor.
    let bob = format!("Authorization: Bearer {}\r\n", token("bob", &json!({})));
    for headers in [page.clone() + &bob, ann.clone() + &bob] {
        let mut socket = Raw::upgrade(rig.client_addr, &headers, &[]).await?;
        assert_eq!(socket.json().await?["user"], "bob", "{headers}");
    }
    // Who has neither is a stranger, and may be one.
    let mut socket = Raw::upgrade(rig.client_addr, &origin(APP), &[]).await?;
    assert_eq!(socket.json().await?.get("user"), None);
    Ok(())
}

#[tokio::test]
async fn no_page_of_another_origin_connects_with_the_cookie_of_a_visitor() -> Result<()> {
    let issuer = Issuer::new()?;
    let rig = rig(&issuer).await?;
    let ann = cookie(&token("ann", &json!({})));
    refused(rig.client_addr, &ann, 403, "origin_missing").await?;
    for bad in ["null", "", "https://evil.example", "https://app.example.com.evil.example"] {
        refused(rig.client_addr, &(origin(bad) + &ann), 403, "origin_not_allowed").await?;
    }
    let twice = origin(APP) + &origin("https://evil.example") + &ann;
    refused(rig.client_addr, &twice, 403, "origin_not_allowed").await?;
    // What stands elsewhere in a request names no origin.
    let elsewhere = format!("Referer: {APP}/\r\nX-Origin: {APP}\r\nSec-Fetch-Site: none\r\n{ann}");
    refused(rig.client_addr, &elsewhere, 403, "origin_missing").await?;
    ensure!(rig.metric("wsgateway_auth_refused_total{reason=\"origin_missing\"}").await? > 0);
    assert_eq!(rig.metric("wsgateway_connections").await?, 0);
    Ok(())
}

#[tokio::test]
async fn cookies_that_differ_or_are_too_many_are_refused_and_nothing_of_them_is_written()
-> Result<()> {
    let (nats, _jetstream) = nats_with_stream().await?;
    let issuer = Issuer::new()?;
    let mut config = config(&nats.url());
    with_cookie(&mut config, &issuer);
    let level = [("RUST_LOG", "info,gateway=trace,wsgateway_runtime=trace,wsgateway_access=trace")];
    let mut process = Process::start_with(&config, &level).await?;
    ready(process.admin_addr).await?;
    let address = process.client_addr;
    let (ann, bob) = (token("ann", &json!({})), token("bob", &json!({})));
    let expired = token("ann", &json!({ "exp": 1 }));
    let page = |cookies: &str| format!("{}Cookie: {cookies}\r\n", origin(APP));
    let both = format!("{COOKIE}={ann}; {COOKIE}={bob}");
    refused(address, &page(&both), 400, "several_tokens").await?;
    let lines = format!("{COOKIE}={ann}\r\nCookie: {COOKIE}={bob}");
    refused(address, &page(&lines), 400, "several_tokens").await?;
    let same = format!("{COOKIE}={ann}; x=1; {COOKIE}=\"{ann}\"");
    let mut socket = Raw::upgrade(address, &page(&same), &[]).await?;
    assert_eq!(socket.json().await?["user"], "ann");
    refused(address, &page(&format!("{COOKIE}={expired}")), 401, "token_expired").await?;
    // As many as a head has room for, and far more.
    let many = (0..300).map(|n| format!("{COOKIE}={n}")).collect::<Vec<_>>().join("; ");
    refused(address, &page(&many), 400, "several_tokens").await?;
    for bomb in [
        format!("{COOKIE}={}", "x".repeat(1 << 20)),
        vec![format!("{COOKIE}={ann}"); 5_000].join("; "),
        vec![format!("a={ann}"); 500].join("\r\nCookie: "),
    ] {
        // Whatever is answered, if anything: the connection may be reset while the rest is still being sent.
        if let Ok(answer) = request(address, &upgrade_request(&page(&bomb))).await {
            ensure!((400..500).contains(&answer.status), "{}", answer.status);
        }
    }
    let mut socket = Raw::upgrade(address, &page(&same), &[]).await?;
    assert_eq!(socket.json().await?["user"], "ann", "others are served");
    let metrics = ask(process.admin_addr, "/metrics", "Connection: close\r\n").await?.body;
    let log = process.end_log().await?;
    for part in [&ann, &bob, &expired].into_iter().flat_map(|token| token.split('.').skip(1)) {
        ensure!(!log.contains(part) && !metrics.contains(part), "{part} is in\n{log}");
    }
    Ok(())
}

#[tokio::test]
async fn without_a_list_of_pages_there_is_no_configuration_with_a_cookie() -> Result<()> {
    let issuer = Issuer::new()?;
    let (nats, _jetstream) = nats_with_stream().await?;
    let mut config = config(&nats.url());
    with_cookie(&mut config, &issuer);
    config.check()?;
    config.listener.allowed_origins.clear();
    let error = config.check().err().map(|error| error.to_string());
    ensure!(error.as_ref().is_some_and(|error| error.contains("auth.jwt.cookie")), "{error:?}");
    // One that was never configured is not looked at.
    if let Some(auth) = &mut config.auth {
        auth.jwt.cookie = None;
    }
    let (auth, listener) = (config.auth, config.listener);
    let rig = Rig::start_with(|given| (given.auth, given.listener) = (auth, listener)).await?;
    let ann = cookie(&token("ann", &json!({})));
    let mut socket = Raw::upgrade(rig.client_addr, &(origin(APP) + &ann), &[]).await?;
    assert_eq!(socket.json().await?.get("user"), None);
    Ok(())
}
