//! One nats-server with a stream, one gateway in this process, and a publisher.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ::gateway::app::{self, Options, Running};
use ::gateway::reload::Given;
use anyhow::{Context as _, Result};
use async_nats::jetstream::{self, stream};
use harness::{Nats, wait_until};
use wsgateway_config::{GatewayConfig, JetStreamSource, Millis, Shed, Source};

use super::client::Client;
use super::http;

/// The stream of every test; each test has a server of its own.
pub(super) const STREAM: &str = "PRICES";
/// Subjects are channels behind this prefix.
pub(super) const PREFIX: &str = "p.";
/// How long anything may take on a machine that compiles at the same time.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// A running gateway and what it reads from. The gateway ends first.
pub(super) struct Rig {
    gateway: Option<Running>,
    pub client_addr: SocketAddr,
    pub admin_addr: SocketAddr,
    pub jetstream: jetstream::Context,
    pub nats: Nats,
}

/// A configuration on free ports of loopback, with two shards.
pub(super) fn config(nats_url: &str) -> GatewayConfig {
    let source = JetStreamSource::new(vec![nats_url.to_owned()], STREAM);
    let mut config = GatewayConfig::new("test/prices", Source::JetStream(source));
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    (config.listener.address, config.listener.port) = (loopback, 0);
    (config.admin.address, config.admin.port) = (loopback, 0);
    config.channels.strip_prefix = PREFIX.to_owned();
    config.capacity.shards = 2;
    config.drain.window = Millis(0);
    config
}

/// Starts a gateway that tells its clients the pod name "pod-1".
pub(super) fn start(config: GatewayConfig) -> Result<Running> {
    Ok(app::start(config, Options { pod: "pod-1".to_owned() })?)
}

/// The stream that tests publish to.
pub(super) fn stream_config() -> stream::Config {
    stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{PREFIX}>"), "other.>".to_owned()],
        allow_direct: true,
        ..stream::Config::default()
    }
}

/// A server with the stream, and a publisher for it.
pub(super) async fn nats_with_stream() -> Result<(Nats, jetstream::Context)> {
    let nats = Nats::start().await?;
    let mut jetstream = jetstream::new(nats.client().await?);
    jetstream.set_timeout(SOON);
    jetstream.create_stream(stream_config()).await?;
    Ok((nats, jetstream))
}

/// Waits until the admin port says ready.
pub(super) async fn ready(admin: SocketAddr) -> Result<()> {
    wait_until(SOON, "a ready gateway", async || {
        http::get(admin, "/readyz").await.is_ok_and(|answer| answer.status == 200)
    })
    .await
}

/// A sample of a metric of the gateway with this admin port; `name` may carry labels.
pub(super) async fn metric(admin: SocketAddr, name: &str) -> Result<u64> {
    let text = http::get(admin, "/metrics").await?.body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.with_context(|| format!("no metric {name} in\n{text}"))?;
    Ok(value.parse::<f64>()? as u64)
}

impl Rig {
    /// Everything with its defaults, ready.
    pub(super) async fn start() -> Result<Self> {
        Self::start_with(|_| ()).await
    }

    /// Everything, with changes to the gateway's configuration; ready.
    pub(super) async fn start_with(change: impl FnOnce(&mut GatewayConfig)) -> Result<Self> {
        let (nats, jetstream) = nats_with_stream().await?;
        let mut config = config(&nats.url());
        change(&mut config);
        Self::start_on(nats, jetstream, config).await
    }

    /// A gateway beside a server that is there already; ready.
    pub(super) async fn start_on(
        nats: Nats,
        jetstream: jetstream::Context,
        config: GatewayConfig,
    ) -> Result<Self> {
        let gateway = start(config)?;
        ready(gateway.admin_addr).await?;
        Ok(Self::of(nats, jetstream, gateway))
    }

    /// Of parts that run already.
    pub(super) fn of(nats: Nats, jetstream: jetstream::Context, gateway: Running) -> Self {
        let (client_addr, admin_addr) = (gateway.client_addr, gateway.admin_addr);
        Self { gateway: Some(gateway), client_addr, admin_addr, jetstream, nats }
    }

    /// A client that has been greeted.
    pub(super) async fn client(&self) -> Result<Client> {
        Client::connect(self.client_addr).await
    }

    /// A client that has been greeted and has subscribed.
    pub(super) async fn subscriber(&self, channels: &[&str]) -> Result<Client> {
        let mut client = self.client().await?;
        client.subscribe(channels).await?;
        Ok(client)
    }

    /// Stores one message on a channel; returns its sequence.
    pub(super) async fn publish(&self, channel: &str, payload: impl Into<Vec<u8>>) -> Result<u64> {
        Ok(self.publish_all([(channel.to_owned(), payload.into())]).await?[0])
    }

    /// Stores messages in order, many in flight; returns their sequences.
    pub(super) async fn publish_all(
        &self,
        messages: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Vec<u64>> {
        publish_all(&self.jetstream, messages).await
    }

    /// Stores one message and waits for the pod to have it: whoever looks back from now on finds it.
    pub(super) async fn settle(&self, channel: &str, payload: &str) -> Result<u64> {
        let offset = self.publish(channel, payload).await?;
        self.has_read(offset).await?;
        Ok(offset)
    }

    /// Waits until the pod has read the stream up to an offset.
    pub(super) async fn has_read(&self, offset: u64) -> Result<()> {
        wait_until(SOON, "the pod to have read it", async || {
            self.metric("wsgateway_source_last_sequence").await.is_ok_and(|read| read == offset)
        })
        .await
    }

    /// Number of a field of `/stats`.
    pub(super) async fn stat(&self, field: &str) -> Result<u64> {
        let stats = http::get(self.admin_addr, "/stats").await?.json()?;
        stats[field].as_u64().with_context(|| format!("no number {field} in {stats}"))
    }

    /// Sum over the samples of a metric; `name` may carry labels.
    pub(super) async fn metric(&self, name: &str) -> Result<u64> {
        metric(self.admin_addr, name).await
    }

    /// Drains and stops the gateway, off the test's own thread.
    pub(super) async fn shutdown(&mut self) -> Result<()> {
        let gateway = self.gateway.take().context("the gateway has been stopped before")?;
        Ok(tokio::time::timeout(SOON, tokio::task::spawn_blocking(|| gateway.shutdown())).await??)
    }

    /// Tells the gateway what to do with its clients.
    pub(super) fn shed(&self, shed: Option<Shed>) -> Result<()> {
        self.gateway.as_ref().context("the gateway has been stopped")?.shed(shed);
        Ok(())
    }

    /// Has the gateway take up another configuration; returns the fields that changed.
    pub(super) fn reload(&self, config: GatewayConfig) -> Result<Vec<String>> {
        let gateway = self.gateway.as_ref().context("the gateway has been stopped")?;
        Ok(gateway.reload(Given::of(config)?)?)
    }

    /// Takes the gateway out, to stop it in the background.
    pub(super) fn take_gateway(&mut self) -> Result<Running> {
        self.gateway.take().context("the gateway has been stopped before")
    }
}

/// Stores messages on channels in order, many in flight; returns their sequences.
pub(super) async fn publish_all(
    jetstream: &jetstream::Context,
    messages: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Result<Vec<u64>> {
    /// Acknowledgements outstanding: enough to keep the server busy, few against its queues.
    const WINDOW: usize = 256;
    let (mut sequences, mut outstanding) = (Vec::new(), Vec::new());
    for (channel, payload) in messages {
        outstanding.push(jetstream.publish(subject(&channel), payload.into()).await?);
        if outstanding.len() == WINDOW {
            for ack in outstanding.drain(..) {
                sequences.push(ack.await?.sequence);
            }
        }
    }
    for ack in outstanding {
        sequences.push(ack.await?.sequence);
    }
    Ok(sequences)
}

/// The subject of a channel; channels that begin with `other.` have no prefix.
fn subject(channel: &str) -> String {
    if channel.starts_with("other.") { channel.to_owned() } else { format!("{PREFIX}{channel}") }
}
