//! The real program with its two files in a folder as the kubelet keeps it, and two hundred clients under live messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream;
use harness::{MountedSecret, wait_until, wait_until_some};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wsgateway_client::swarm::subscribe;
use wsgateway_client::{Counters, Swarm, SwarmOptions};
use wsgateway_config::GatewayConfig;

use super::client::Client;
use super::http;
use super::process::Process;
use super::rig::{SOON, publish_all};

/// Clients that must not notice anything.
pub(super) const CLIENTS: u64 = 200;
/// Longer than all changes together take on a busy machine.
const LONG: Duration = Duration::from_secs(600);
/// Between two messages.
const PACE: Duration = Duration::from_millis(5);

/// A gateway that watches its files.
pub(super) struct Watched {
    pub process: Process,
    pub config: GatewayConfig,
    folder: MountedSecret,
}

impl Watched {
    /// With the restart part and the live part of a configuration in a file each.
    pub(super) async fn start(config: GatewayConfig) -> Result<Self> {
        let parts = config.parts()?;
        let files = [("gateway.yaml", &*parts.restart), ("live.yaml", &*parts.live)];
        let folder = MountedSecret::new(&files)?;
        let live = folder.path("live.yaml");
        let process = Process::start_with_files(&folder.path("gateway.yaml"), Some(&live)).await?;
        let watched = Self { process, config, folder };
        wait_until(SOON, "a ready gateway", async || {
            let answer = http::get(watched.process.admin_addr, "/readyz").await;
            answer.is_ok_and(|answer| answer.status == 200)
        })
        .await?;
        Ok(watched)
    }

    /// `/status` of the admin port.
    pub(super) async fn status(&self) -> Result<Value> {
        http::get(self.process.admin_addr, "/status").await?.json()
    }

    /// Puts these files in place of those before, in one step.
    pub(super) fn write(&mut self, restart: &str, live: &str) -> Result<()> {
        self.folder.replace(&[("gateway.yaml", restart), ("live.yaml", live)])
    }

    /// Changes the configuration, and waits until that runs.
    pub(super) async fn change(&mut self, change: impl FnOnce(&mut GatewayConfig)) -> Result<()> {
        let before = self.status().await?["configHash"].clone();
        change(&mut self.config);
        let parts = self.config.parts()?;
        self.write(&parts.restart, &parts.live)?;
        wait_until(SOON, "the new configuration", async || {
            self.status().await.is_ok_and(|status| {
                status["configHash"] != before && status["configProblem"].is_null()
            })
        })
        .await
    }

    /// Puts files in place that must be refused, and returns the reason.
    pub(super) async fn refused(&mut self, restart: &str, live: &str) -> Result<String> {
        let before = self.status().await?;
        self.write(restart, live)?;
        let problem = wait_until_some(SOON, "a refusal", async || {
            let status = self.status().await.ok()?;
            let problem = status["configProblem"].as_str()?.to_owned();
            (before["configProblem"] != status["configProblem"]).then_some(problem)
        })
        .await?;
        let after = self.status().await?;
        ensure!(after["configHash"] == before["configHash"], "something was taken up: {after}");
        Ok(problem)
    }

    /// A client that has just come, and what it was told.
    pub(super) async fn client(&self) -> Result<Client> {
        Client::connect(self.process.client_addr).await
    }

    /// Value of a metric; `name` may carry labels.
    pub(super) async fn metric(&self, name: &str) -> Result<u64> {
        let text = http::get(self.process.admin_addr, "/metrics").await?.body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.with_context(|| format!("no metric {name} in\n{text}"))?;
        Ok(value.parse::<f64>()? as u64)
    }
}

/// Two hundred connected clients, and messages for them without end.
pub(super) struct Crowd {
    swarm: JoinHandle<Result<Counters>>,
    publisher: JoinHandle<Result<u64>>,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    /// Connects them all, and begins to publish when all are subscribed.
    pub(super) async fn start(address: SocketAddr, jetstream: &jetstream::Context) -> Result<Self> {
        let (stop, total) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(u64::MAX)));
        let (subscribed, ready) = oneshot::channel();
        let expected = Arc::clone(&total);
        let swarm = tokio::task::spawn_blocking(move || run(address, subscribed, &expected));
        if ready.await.is_err() {
            swarm.await??;
            anyhow::bail!("the clients have ended");
        }
        let publisher = tokio::spawn(publish(jetstream.clone(), Arc::clone(&stop), total));
        Ok(Self { swarm, publisher, stop })
    }

    /// Ends the messages; all clients must have had all of them, on the connections that they began with.
    pub(super) async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let published = self.publisher.await??;
        let counters = self.swarm.await??;
        ensure!(published > 0 && counters.messages == CLIENTS * published, "{counters}");
        ensure!(counters.is_faultless(), "{counters}");
        let held = (counters.opened, counters.connected, counters.closed(), counters.reconnects);
        ensure!(held == (CLIENTS, CLIENTS, 0, 0), "somebody had to reconnect: {counters}");
        Ok(())
    }
}

/// Runs the clients until each has had as many messages as there are in the end.
fn run(
    address: SocketAddr,
    subscribed: oneshot::Sender<()>,
    total: &AtomicU64,
) -> Result<Counters> {
    let options = SwarmOptions {
        connections: CLIENTS as usize,
        protocol: Some("wsgateway.v1".to_owned()),
        number_field: Some("n".to_owned()),
        commands: Box::new(|_| vec![subscribe(&["live.a", "live.b", "live.c"])]),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(address, options)?;
    swarm.run_until_subscribed(SOON)?;
    ensure!(subscribed.send(()).is_ok(), "the test has ended");
    let has_all = |counters: &Counters| {
        counters.closed() > 0
            || counters.messages >= CLIENTS.saturating_mul(total.load(Ordering::Relaxed))
    };
    swarm.run_until(has_all, LONG)?;
    Ok(swarm.counters().clone())
}

/// Publishes numbered messages on three channels until stopped; returns how many.
async fn publish(
    jetstream: jetstream::Context,
    stop: Arc<AtomicBool>,
    total: Arc<AtomicU64>,
) -> Result<u64> {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let channels = ["live.a", "live.b", "live.c"].map(str::to_owned);
        let payload = json!({ "n": count / 3 }).to_string().into_bytes();
        publish_all(&jetstream, channels.map(|channel| (channel, payload.clone()))).await?;
        count += 3;
        tokio::time::sleep(PACE).await;
    }
    total.store(count, Ordering::Relaxed);
    Ok(count)
}
