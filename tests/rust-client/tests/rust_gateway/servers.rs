//! A nats-server with a stream, and gateways that read it, each on a port that stays the same over restarts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream::{self, stream};
use harness::{Guarded, Nats, Scratch, Signal, built_beside, free_port, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

pub(super) const STREAM: &str = "PRICES";
/// Subjects are channels behind this prefix.
pub(super) const PREFIX: &str = "p.";
/// How long anything may take on a machine that compiles at the same time.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// nats-server with the stream, and a publisher for it.
pub(super) struct Source {
    pub nats: Nats,
    pub jetstream: jetstream::Context,
}

impl Source {
    pub(super) async fn start() -> Result<Self> {
        Self::start_with(|_| ()).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut stream::Config)) -> Result<Self> {
        let nats = Nats::start().await?;
        let mut jetstream = jetstream::new(nats.client().await?);
        jetstream.set_timeout(SOON);
        let source = Self { nats, jetstream };
        source.create_stream(change).await?;
        Ok(source)
    }

    pub(super) async fn create_stream(
        &self,
        change: impl FnOnce(&mut stream::Config),
    ) -> Result<()> {
        let mut config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![format!("{PREFIX}>")],
            allow_direct: true,
            ..stream::Config::default()
        };
        change(&mut config);
        self.jetstream.create_stream(config).await?;
        Ok(())
    }

    /// Stores a message on a channel; returns its offset.
    pub(super) async fn publish(
        &self,
        channel: &str,
        payload: impl Into<bytes::Bytes>,
    ) -> Result<i64> {
        let ack = self.jetstream.publish(format!("{PREFIX}{channel}"), payload.into()).await?;
        Ok(i64::try_from(ack.await?.sequence)?)
    }

    /// Stores a number as JSON.
    pub(super) async fn number(&self, channel: &str, n: usize) -> Result<i64> {
        self.publish(channel, n.to_string()).await
    }
}

/// A gateway, ready.
pub(super) struct Gateway {
    server: Option<Guarded>,
    scratch: Scratch,
    client: u16,
    admin: u16,
}

impl Gateway {
    pub(super) async fn start(source: &Source) -> Result<Self> {
        Self::start_with(source, &json!({})).await
    }

    /// With more in its configuration.
    pub(super) async fn start_with(source: &Source, extra: &Value) -> Result<Self> {
        let mut config = json!({
            "name": "test/prices",
            "source": { "jetStream": { "servers": [source.nats.url()], "stream": STREAM } },
            "channels": { "stripPrefix": PREFIX },
            "drain": { "window": 0 },
        });
        for (key, value) in extra.as_object().context("an object")? {
            config[key] = value.clone();
        }
        let scratch = Scratch::new("rust-client")?;
        scratch.write("gateway.yaml", config.to_string())?; // YAML holds all of JSON
        let (client, admin) = (free_port()?, free_port()?);
        let mut gateway = Self { server: None, scratch, client, admin };
        gateway.start_again().await?;
        Ok(gateway)
    }

    pub(super) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.client)
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.client))
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.join("log")
    }

    pub(super) fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.log_path())?)
    }

    /// Starts it on the same port.
    pub(super) async fn start_again(&mut self) -> Result<()> {
        let listen = |port| format!("127.0.0.1:{port}");
        let config = self.scratch.join("gateway.yaml").display().to_string();
        let arguments = [
            "--config".to_owned(),
            config,
            "--listen".to_owned(),
            listen(self.client),
            "--admin".to_owned(),
            listen(self.admin),
        ];
        let server = Guarded::start(&built_beside("gateway")?, &arguments, &self.log_path())?;
        let ready = wait_until(SOON, "a ready gateway", async || {
            !server.alive()
                || self.get("/readyz").await.is_ok_and(|answer| answer.contains(" 200 "))
        });
        ready.await.with_context(|| server.log_tail())?;
        server.check_alive()?;
        self.server = Some(server);
        Ok(())
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        drop(self.server.take());
    }

    /// Asks it to end.
    pub(super) fn terminate(&mut self) -> Result<()> {
        self.server.as_mut().context("the gateway has been stopped")?.signal(Signal::Term)
    }

    async fn get(&self, path: &str) -> Result<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.admin)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// How many connections it holds.
    pub(super) async fn clients(&self) -> Result<u64> {
        self.metric("wsgateway_connections").await
    }

    /// The sum of a metric over its labels.
    pub(super) async fn metric(&self, name: &str) -> Result<u64> {
        let text = self.get("/metrics").await?;
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let numbers = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(numbers.sum())
    }
}

/// A TCP proxy whose connections can be cut.
pub(super) struct Relay {
    address: SocketAddr,
    cut: Arc<Notify>,
}

impl Relay {
    pub(super) async fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, cut) = (listener.local_addr()?, Arc::new(Notify::new()));
        let cuts = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let cuts = Arc::clone(&cuts);
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        () = cuts.notified() => {}
                    }
                });
            }
        });
        Ok(Self { address, cut })
    }

    pub(super) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    pub(super) fn cut(&self) {
        self.cut.notify_waiters();
    }
}
