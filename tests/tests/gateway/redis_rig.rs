//! One redis-server and one gateway in this process that reads it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ::gateway::app::Running;
use anyhow::{Context as _, Result};
use harness::{Redis, wait_until_some};
use serde_json::Value;
use wsgateway_config::{GatewayConfig, Millis, RedisSource, Source};

use super::client::Client;
use super::http::get;
use super::rig::{SOON, ready, start};

/// A running gateway and the server that it reads. The gateway ends first.
pub(super) struct RedisRig {
    gateway: Running,
    pub redis: Redis,
}

/// A configuration on free ports of loopback, for servers and channels.
pub(super) fn config(servers: &[String], channels: &[&str]) -> GatewayConfig {
    let channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
    let source = RedisSource::new(servers.to_vec(), channels);
    let mut config = GatewayConfig::new("test/redis", Source::Redis(source));
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    (config.listener.address, config.listener.port) = (loopback, 0);
    (config.admin.address, config.admin.port) = (loopback, 0);
    config.capacity.shards = 2;
    config.drain.window = Millis(0);
    config
}

/// Changes the settings of the source.
pub(super) fn change(config: &mut GatewayConfig, change: impl FnOnce(&mut RedisSource)) {
    if let Source::Redis(source) = &mut config.source {
        change(source);
    }
}

impl RedisRig {
    /// A server, and a gateway that reads these channels; ready.
    pub(super) async fn start(channels: &[&str]) -> Result<Self> {
        let redis = Redis::start().await?;
        let config = config(&[redis.url()], channels);
        Self::start_on(redis, config).await
    }

    /// A gateway beside a server that is there already; ready.
    pub(super) async fn start_on(redis: Redis, config: GatewayConfig) -> Result<Self> {
        let gateway = start(config)?;
        ready(gateway.admin_addr).await?;
        Ok(Self { gateway, redis })
    }

    /// Where clients connect.
    pub(super) fn client_addr(&self) -> SocketAddr {
        self.gateway.client_addr
    }

    /// A client that has been greeted.
    pub(super) async fn client(&self) -> Result<Client> {
        Client::connect(self.gateway.client_addr).await
    }

    /// A client that has been greeted and has subscribed.
    pub(super) async fn subscriber(&self, channels: &[&str]) -> Result<Client> {
        let mut client = self.client().await?;
        client.subscribe(channels).await?;
        Ok(client)
    }

    /// Number of a metric.
    pub(super) async fn metric(&self, name: &str) -> Result<u64> {
        metric(self.gateway.admin_addr, name).await
    }

    /// Waits for a state of the source; what `/status` says of it.
    pub(super) async fn state(&self, state: &str) -> Result<Value> {
        wait_for_state(self.gateway.admin_addr, state).await
    }

    /// What `/health` says on the client port.
    pub(super) async fn health(&self) -> Result<Value> {
        get(self.gateway.client_addr, "/health").await?.json()
    }
}

/// Number of a metric.
pub(super) async fn metric(admin: SocketAddr, name: &str) -> Result<u64> {
    let text = get(admin, "/metrics").await?.body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.with_context(|| format!("no metric {name} in\n{text}"))?;
    Ok(value.parse::<f64>()? as u64)
}

/// Waits for a state of the source on `/status`; metrics say the same. Returns what `/status` says of it.
pub(super) async fn wait_for_state(admin: SocketAddr, state: &str) -> Result<Value> {
    let label = format!("wsgateway_source_state{{state=\"{state}\"}}");
    wait_until_some(SOON, &format!("a source that is {state}"), async || {
        let status = get(admin, "/status").await.ok()?.json().ok()?;
        let told = status["source"]["state"] == state && metric(admin, &label).await.ok()? == 1;
        told.then(|| status["source"].clone())
    })
    .await
}
