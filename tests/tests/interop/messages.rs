//! Other implementations as clients of the gateway on a real nats-server: plain, compressed, in batches, and both.
//! Each must hear, byte for byte, what a plain client of yet another implementation hears.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::{self, stream};
use futures_util::{SinkExt, StreamExt};
use gateway::app::{self, Options, Running};
use harness::{Nats, wait_until_some};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use wsgateway_config::{Delivery, GatewayConfig, JetStreamSource, Millis, Rule, Source};

use super::browser::Tab;
use super::peers::{Peer, SOON};

const STREAM: &str = "PRICES";
/// Messages published at once, a few batches.
const PORTION: usize = 100;
const BATCH: &str = r#"{"type":"batch","messages":["#;

/// A nats-server with a stream, and a gateway that holds messages for a moment, so that there are batches.
struct Site {
    address: SocketAddr,
    jetstream: jetstream::Context,
    _gateway: Running,
    _nats: Nats,
}

impl Site {
    async fn start() -> Result<Self> {
        let nats = Nats::start().await?;
        let jetstream = jetstream::new(nats.client().await?);
        let subjects = vec!["p.>".to_owned()];
        let name = STREAM.to_owned();
        jetstream.create_stream(stream::Config { name, subjects, ..Default::default() }).await?;
        let source = JetStreamSource::new(vec![nats.url()], STREAM);
        let mut config = GatewayConfig::new("test/interop", Source::JetStream(source));
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        (config.listener.address, config.listener.port) = (loopback, 0);
        (config.admin.address, config.admin.port) = (loopback, 0);
        config.channels.strip_prefix = "p.".to_owned();
        config.channels.rules = vec![Rule {
            r#match: ">".to_owned(),
            delivery: Delivery::Every,
            batch_window: Millis(50),
            ..Rule::default()
        }];
        // A browser on a busy machine may pause.
        config.capacity.outbox_bytes_per_connection = 16 << 20;
        let gateway = app::start(config, Options::default())?;
        Ok(Self { address: gateway.client_addr, jetstream, _gateway: gateway, _nats: nats })
    }

    /// Publishes everything, the message on `end` last, and returns what the reference hears. In portions, each as soon as
    /// the one before was heard: what a gateway that was kept waiting has due at once gets a share of compressions only.
    async fn publish(&self, mut reference: Reference) -> Result<Vec<String>> {
        let all: Vec<_> = payloads().chain([("end".to_owned(), b"1".to_vec())]).collect();
        let mut heard = Vec::new();
        for portion in all.chunks(PORTION) {
            let mut outstanding = Vec::new();
            for (channel, payload) in portion {
                let payload = payload.clone().into();
                outstanding.push(self.jetstream.publish(format!("p.{channel}"), payload).await?);
            }
            for stored in outstanding {
                stored.await?;
            }
            for _ in portion {
                heard.push(reference.text().await?);
            }
        }
        Ok(heard)
    }
}

/// Small and large, text in many alphabets, numbers that no double holds, and what is no JSON.
fn payloads() -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..200_u32).flat_map(|n| {
        let ticker = json!({ "type": "price:update", "token": n % 7, "price": 43_250 + n });
        [
            (format!("T{}.price", n % 7), ticker.to_string().into_bytes()),
            (
                format!("T{}.trade", n % 5),
                format!("{{ \"n\" :{n}, \"big\": 12345678901234567890.10 }}").into(),
            ),
            (
                "words".to_owned(),
                json!("日本語 \"quoted\" \\ 👩‍🚀 \u{7} ".repeat(3)).to_string().into(),
            ),
            (
                "long".to_owned(),
                json!({ "n": n, "text": "tick tock ".repeat(500) }).to_string().into(),
            ),
            ("bytes".to_owned(), n.to_be_bytes().repeat(n as usize % 40)),
        ]
    })
}

/// A wire to the gateway that counts what comes from it.
struct Tap {
    url: String,
    bytes: Arc<AtomicU64>,
}

impl Tap {
    async fn to(far: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}/ws", listener.local_addr()?);
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(forward(near, far, Arc::clone(&counter)));
            }
        });
        Ok(Self { url, bytes })
    }
}

async fn forward(near: TcpStream, far: SocketAddr, counter: Arc<AtomicU64>) -> Result<()> {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = TcpStream::connect(far).await?.into_split();
    let up = async {
        tokio::io::copy(&mut from_near, &mut to_far).await?;
        to_far.shutdown().await
    };
    let down = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = from_far.read(&mut buffer).await?;
            if count == 0 {
                return to_near.shutdown().await;
            }
            counter.fetch_add(count as u64, Ordering::Relaxed);
            to_near.write_all(&buffer[..count]).await?;
        }
    };
    tokio::try_join!(up, down)?;
    Ok(())
}

/// The client that the others are compared with.
struct Reference(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Reference {
    async fn subscribe(address: SocketAddr) -> Result<Self> {
        let url = format!("ws://{address}/ws");
        let connect = async || connect_async(&url).await.ok();
        let (socket, _) = wait_until_some(SOON, "a ready gateway", connect).await?;
        let mut reference = Self(socket);
        reference.text().await?;
        let command = json!({ "type": "subscribe", "channels": [">"] });
        reference.0.send(Message::text(command.to_string())).await?;
        let ack = reference.text().await?;
        ensure!(ack.contains("subscription_ack"), "{ack}");
        Ok(reference)
    }

    async fn text(&mut self) -> Result<String> {
        loop {
            match timeout(SOON, self.0.next()).await?.context("the connection ended")?? {
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Ping(_) => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
    }
}

/// What one client heard, in which way, and how many bytes it took.
struct Heard {
    way: &'static str,
    texts: Vec<String>,
    bytes: u64,
}

impl Heard {
    /// The same messages, in batches or not as asked for, in fewer bytes if compressed.
    fn is(&self, reference: &[String]) -> Result<()> {
        let (mut rest, mut batches) = (reference.iter(), 0);
        for text in &self.texts {
            if !text.starts_with(BATCH) {
                let wanted = rest.next();
                ensure!(Some(text) == wanted, "{}: {text} instead of {wanted:?}", self.way);
                continue;
            }
            batches += 1;
            let batch: Value = serde_json::from_str(text)?;
            let count = batch["messages"].as_array().context("no messages")?.len();
            let members: Vec<&str> = rest.by_ref().take(count).map(String::as_str).collect();
            let whole = format!("{BATCH}{}]}}", members.join(","));
            ensure!(*text == whole, "{}: {text} instead of {whole}", self.way);
        }
        ensure!(rest.next().is_none(), "{}: {} messages are missing", self.way, rest.count() + 1);
        let (compressed, batched) = match self.way {
            "plain" => (false, false),
            "deflate" => (true, false),
            "batch" => (false, true),
            _ => (true, true),
        };
        ensure!((batches > 0) == batched, "{}: {batches} batches", self.way);
        let plain: usize = reference.iter().map(String::len).sum();
        ensure!((self.bytes * 2 < plain as u64) == compressed, "{}: {}", self.way, self.bytes);
        Ok(())
    }
}

/// A program that listens in all four ways.
async fn program(peer: Peer) -> Result<()> {
    let site = Site::start().await?;
    let reference = Reference::subscribe(site.address).await?;
    let mut heard = Vec::new();
    let mut taps = Vec::new();
    for way in ["plain", "deflate", "batch", "both"] {
        taps.push(Tap::to(site.address).await?);
        heard.push(Heard { way, texts: Vec::new(), bytes: 0 });
    }
    let urls: Vec<&str> = taps.iter().map(|tap| tap.url.as_str()).collect();
    let mut program = peer.start("gateway", &urls)?;
    let line = program.line().await?;
    ensure!(line == "subscribed", "{line}");
    let reference = site.publish(reference).await?;
    for line in program.finish().await?.iter().filter(|line| line.starts_with('{')) {
        let line: Value = serde_json::from_str(line)?;
        let client = heard.iter_mut().find(|client| line["way"] == client.way);
        client
            .context("another way")?
            .texts
            .push(line["text"].as_str().context("no text")?.to_owned());
    }
    for (client, tap) in heard.iter_mut().zip(&taps) {
        client.bytes = tap.bytes.load(Ordering::Relaxed);
        client.is(&reference)?;
    }
    Ok(())
}

#[tokio::test]
async fn node_ws_hears_the_same_messages_compressed_and_in_batches() -> Result<()> {
    program(Peer::Node).await
}

#[tokio::test]
async fn python_websockets_hears_the_same_messages_compressed_and_in_batches() -> Result<()> {
    program(Peer::Python).await
}

#[tokio::test]
async fn chromium_hears_the_same_messages_compressed_and_in_batches() -> Result<()> {
    let site = Site::start().await?;
    let reference = Reference::subscribe(site.address).await?;
    let (single, batched) = (Tap::to(site.address).await?, Tap::to(site.address).await?);
    let tab = Tab::open().await?;
    let ways = json!([{ "url": single.url }, { "url": batched.url, "batch": true }]);
    tab.begin(&format!("listen({ways})")).await?;
    tab.wait_for("window.subscribed").await?;
    let reference = site.publish(reference).await?;
    let texts: [Vec<String>; 2] = serde_json::from_value(tab.outcome().await?)?;
    for ((way, texts), tap) in ["deflate", "both"].into_iter().zip(texts).zip([single, batched]) {
        Heard { way, texts, bytes: tap.bytes.load(Ordering::Relaxed) }.is(&reference)?;
    }
    Ok(())
}
