//! `wsgw doctor`, on a gateway that is real and on servers that behave as bad proxies do.

use std::future::Future;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use harness::{Authority, Certified, Scratch, WsgwDev, repository};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::client::Sub;
use super::{ANY_PORT, with_input};

/// What was found, and how the program ended.
struct Found {
    report: Value,
    code: Option<i32>,
    err: String,
}

impl Found {
    /// Verdict, finding and hint of a step; empty without one.
    fn step(&self, step: &str) -> (&str, String) {
        let checks = self.report["checks"].as_array().map_or(&[][..], Vec::as_slice);
        let check = checks.iter().find(|check| check["step"] == step).unwrap_or(&Value::Null);
        let text = format!("{} {}", check["found"], check["hint"]);
        (check["verdict"].as_str().unwrap_or_default(), text)
    }

    fn expect(&self, step: &str, verdict: &str, words: &str) -> Result<()> {
        let (got, text) = self.step(step);
        ensure!(got == verdict && text.contains(words), "{step}: {}", self.report);
        Ok(())
    }
}

async fn examined(arguments: &[&str]) -> Result<Found> {
    let arguments = [&["doctor", "--json"], arguments].concat();
    let (code, out, err) = with_input(&arguments, "").await?;
    Ok(Found { report: serde_json::from_str(&out).context(err.clone())?, code, err })
}

/// A proxy on loopback; it ends with the test.
struct Proxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Does the same with each connection.
    async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Result<Self>
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client));
            }
        });
        Ok(Self { address, task })
    }

    fn url(&self) -> String {
        format!("http://{}/ws", self.address)
    }
}

/// The head of a request.
async fn head(client: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") && client.read_buf(&mut bytes).await? > 0 {}
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Passes a request on, whose head was changed, and everything that comes back.
async fn pass_on(mut client: TcpStream, head: String, to: SocketAddr) -> std::io::Result<()> {
    let mut gateway = TcpStream::connect(to).await?;
    gateway.write_all(head.as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut client, &mut gateway).await?;
    Ok(())
}

async fn gateway() -> Result<(WsgwDev, SocketAddr)> {
    let dev = WsgwDev::start(&ANY_PORT).await?;
    let address = dev.url().trim_start_matches("http://").trim_end_matches('/').parse()?;
    Ok((dev, address))
}

#[tokio::test]
async fn a_good_way_to_a_gateway_is_ok_at_each_step() -> Result<()> {
    let (dev, _) = gateway().await?;
    let url = format!("{}ws", dev.url());
    let found = examined(&[&url, "--channel", "BTC.price", "--idle", "200ms"]).await?;
    assert_eq!((found.code, &found.report["ok"]), (Some(0), &true.into()), "{}", found.report);
    for step in [
        "dns",
        "tcp",
        "http",
        "health",
        "upgrade",
        "compression",
        "clock",
        "token",
        "channel",
        "sse",
        "idle",
    ] {
        found.expect(step, "ok", "")?;
    }
    let found = examined(&[&format!("{url}x"), "--token", "sesame.sesame.sesame"]).await?;
    found.expect("http", "fail", "spec.listener.path")?;
    ensure!(found.code == Some(1) && found.err.contains("checks failed"), "{}", found.err);
    ensure!(!format!("{}{}", found.report, found.err).contains("sesame"), "the token is shown");
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_drops_the_upgrade_is_told_apart_from_one_that_answers_itself() -> Result<()> {
    let (dev, address) = gateway().await?;
    let dropping = Proxy::start(move |mut client| async move {
        let head = head(&mut client).await?;
        let kept = head.split("\r\n").filter(|line| !line.to_lowercase().contains("upgrade"));
        pass_on(client, kept.collect::<Vec<_>>().join("\r\n"), address).await
    })
    .await?;
    let found = examined(&[&dropping.url()]).await?;
    found.expect("http", "ok", "a gateway answers")?;
    found.expect("upgrade", "fail", "without its header Upgrade")?;

    let answering = Proxy::start(|mut client| async move {
        head(&mut client).await?;
        let page = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 7\r\n\
                    Connection: close\r\n\r\n<html>\n";
        client.write_all(page.as_bytes()).await
    })
    .await?;
    let found = examined(&[&answering.url()]).await?;
    found.expect("http", "fail", "not a gateway's")?;
    found.expect("upgrade", "fail", "200 instead of 101")?;
    found.expect("clock", "fail", "set both by NTP")?;
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_strips_what_it_does_not_know_is_a_warning() -> Result<()> {
    let (dev, address) = gateway().await?;
    let stripping = Proxy::start(move |mut client| async move {
        let head = head(&mut client).await?;
        let kept = head.split("\r\n").filter(|line| {
            let line = line.to_lowercase();
            !line.starts_with("sec-websocket-protocol")
                && !line.starts_with("sec-websocket-extensions")
        });
        pass_on(client, kept.collect::<Vec<_>>().join("\r\n"), address).await
    })
    .await?;
    let found = examined(&[&stripping.url()]).await?;
    found.expect("upgrade", "warn", "Sec-WebSocket-Protocol")?;
    found.expect("compression", "warn", "Sec-WebSocket-Extensions")?;
    found.expect("sse", "ok", "")?;
    assert_eq!(found.code, Some(0), "{}", found.report);
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_hangs_or_hangs_up_has_an_end() -> Result<()> {
    let hanging = Proxy::start(|mut client| async move {
        head(&mut client).await?;
        std::future::pending().await
    })
    .await?;
    let found = examined(&[&hanging.url(), "--timeout", "300ms"]).await?;
    found.expect("http", "fail", "no answer within")?;
    found.expect("upgrade", "fail", "something holds the answer back")?;
    assert_eq!(found.code, Some(1));

    let leaving =
        Proxy::start(|mut client| async move { head(&mut client).await.map(drop) }).await?;
    let found = examined(&[&leaving.url()]).await?;
    found.expect("http", "fail", "hung up without an answer")?;
    found.expect("upgrade", "fail", "something ends upgrades")?;
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_closes_idle_connections_is_found_by_waiting() -> Result<()> {
    let (dev, address) = gateway().await?;
    let impatient = Proxy::start(move |mut client| async move {
        let head = head(&mut client).await?;
        let is_long = head.to_lowercase().contains("upgrade: websocket");
        let passed = pass_on(client, head, address);
        if !is_long {
            return passed.await;
        }
        // Longer than what comes before the waiting takes.
        let closing = tokio::time::timeout(std::time::Duration::from_secs(3), passed);
        closing.await.unwrap_or(Ok(()))
    })
    .await?;
    let found = examined(&[&impatient.url(), "--idle", "60s"]).await?;
    found.expect("idle", "fail", "without a word")?;
    found.expect("idle", "fail", "proxy_read_timeout")?;
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn an_event_stream_that_a_proxy_gathers_is_a_warning() -> Result<()> {
    let (dev, address) = gateway().await?;
    let gathering = Proxy::start(move |mut client| async move {
        let head = head(&mut client).await?;
        if !head.starts_with("GET /sse") {
            return pass_on(client, head, address).await;
        }
        let start = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        client.write_all(start.as_bytes()).await?;
        std::future::pending().await
    })
    .await?;
    let found = examined(&[&gathering.url(), "--timeout", "2s"]).await?;
    found.expect("sse", "warn", "proxy_buffering off")?;
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_nobody_knows_asks_for_ca() -> Result<()> {
    let (authority, scratch) = (Authority::new("ca")?, Scratch::new("doctor")?);
    let Certified { certificate, key } = authority.server()?;
    let ca = scratch.write("ca.crt", authority.pem())?.display().to_string();
    std::fs::create_dir(scratch.join("odin-tls"))?;
    scratch.write("odin-tls/tls.crt", certificate)?;
    scratch.write("odin-tls/tls.key", key)?;
    let sample = repository().join("manifests/samples/odin-tls.yaml");
    let (sample, folder) = (sample.to_string_lossy(), scratch.path().to_string_lossy());
    let mut arguments = vec!["-f", &sample, "--secrets", &folder];
    arguments.extend(ANY_PORT);
    let dev = WsgwDev::start(&arguments).await?;
    let url = format!("{}ws", dev.url());
    let found = examined(&[&url]).await?;
    found.expect("tls", "fail", "give --ca")?;
    let found = examined(&[&url, "--ca", &ca]).await?;
    found.expect("tls", "ok", "the certificate is accepted")?;
    found.expect("upgrade", "ok", "101")?;
    let plain = url.replace("https://", "http://");
    examined(&[&plain]).await?.expect("http", "fail", "https://")?;
    let mut sub = Sub::start(&[&url, "x", "--raw", "--ca", &ca])?;
    ensure!(sub.line().await?.contains("connection:established"), "no greeting by TLS");
    assert_eq!(dev.interrupt().await?.code, Some(0));
    Ok(())
}
