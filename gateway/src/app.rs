//! The whole gateway, from a configuration: binds the ports, starts the threads, and stops them in order.
//!
//! Start: shards → source → admin port → client port. Stop: unready → no new connections → drain → threads end.

mod socket;
mod threads;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;
use wsgateway_config::{ConfigError, GatewayConfig, Source};
use wsgateway_runtime::admin::{AdminError, AdminServer};
use wsgateway_runtime::descriptors;
use wsgateway_runtime::readiness::{Gate, Readiness};

use crate::admission::Admission;
use crate::budget::Budget;
use crate::encode::Encoder;
use crate::history::archive::{self, Desk};
use crate::history::{Archive, Bounds, History, Past};
use crate::http::{self, Door, Pages, Places, Shortage, Site};
use crate::hub::shard::Settings;
use crate::hub::shard::commands::Commands;
use crate::hub::shard::handler::Handler;
use crate::hub::{self, Hub, Threads};
use crate::metrics::{self, PendingMetrics, Rejections};
use crate::resources;
use crate::source::memory::MemoryPublisher;
use crate::source::status::Status;
use crate::source::{Losses, Sink};
use crate::statistics;
use threads::{Priority, Thread};

/// What is not in the configuration because it differs between pods of one gateway.
#[derive(Clone, Debug)]
pub struct Options {
    /// The pod's name, told to clients and in logs.
    pub pod: String,
}

impl Default for Options {
    /// `WSGATEWAY_POD`, else the host's name.
    fn default() -> Self {
        let from_environment = std::env::var("WSGATEWAY_POD").ok().filter(|pod| !pod.is_empty());
        let from_kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let pod = from_environment.or_else(from_kernel).unwrap_or_else(|| "local".to_owned());
        Self { pod: pod.trim().to_owned() }
    }
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot run.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The client port is taken, or not ours to bind.
    #[error("cannot listen on {address} for clients: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The admin port did not come up.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The system gave no thread, no epoll instance or no runtime.
    #[error("cannot start the threads: {0}")]
    Threads(#[from] std::io::Error),
    /// Two metrics of the same name: a mistake of ours.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A gateway that runs until told otherwise. Dropped, it stops at once.
#[derive(Debug)]
pub struct Running {
    /// The client port as bound.
    pub client_addr: SocketAddr,
    /// The admin port as bound.
    pub admin_addr: SocketAddr,
    memory: Option<MemoryPublisher>,
    hub: Hub,
    parts: Option<Parts>,
    readiness: Readiness,
    window: Duration,
}

/// What a gateway is doing, for those who run it in their own process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections held now.
    pub connections: u64,
    /// Frames handed to clients since the start, one per message and receiver.
    pub deliveries: u64,
}

#[derive(Debug)]
struct Parts {
    admission: Admission,
    serving: Gate,
    threads: Threads,
    http: Thread,
    source: Vec<Thread>,
    stop_http: CancellationToken,
    stop_source: CancellationToken,
    _admin: AdminServer,
}

/// Starts a gateway and returns as soon as its ports are bound; it becomes ready when its source is live.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub fn start(config: GatewayConfig, options: Options) -> Result<Running, StartError> {
    start_with(config, options, |settings| (settings, &Commands), http::client_routes)
}

/// The same with other settings for the shards, something else that acts on messages, and other routes for clients.
pub(crate) fn start_with(
    config: GatewayConfig,
    options: Options,
    adapt: impl FnOnce(Settings) -> (Settings, &'static dyn Handler),
    routes: impl FnOnce(&Arc<Site>) -> (Router, Door),
) -> Result<Running, StartError> {
    config.check()?;
    let address = SocketAddr::new(config.listener.address, config.listener.port);
    let listener = socket::bind(address, socket::patience(&config))?;
    let client_addr = listener.local_addr()?;
    let config_hash = crate::admin::config_hash(&config.render()?);

    let shards = shard_count(&config, resources::whole_cpus());
    let (settings, handler) =
        adapt(Settings::new(&config, shards, &options.pod, fastrand::u32(..)));
    let (registry, readiness) = (Registry::new(), Readiness::new());
    let (past, desk) = past(&config);
    let (hub, threads) = hub::start((&settings, handler), shards, &past, &readiness)?;
    let rejections = Rejections::register(&registry)?;
    let (admission, places, shortage) = doors(&config, &registry, &readiness, &rejections)?;
    let status = Status::new(stream_name(&config.source));
    let serving = readiness.gate("serving");

    let history = past.history.clone();
    metrics::register(&registry, hub.clone(), admission.clone(), status.clone(), history.clone())?;
    let shared = (hub.clone(), admission.clone(), status.clone());
    let site = Arc::new(site(&config, config_hash, shared, rejections));
    let admin = wsgateway_runtime::admin::serve(
        SocketAddr::new(config.admin.address, config.admin.port),
        registry,
        readiness.clone(),
        http::admin_routes(&site),
    )?;
    let (stop_http, stop_source) = (CancellationToken::new(), CancellationToken::new());
    let encoder = Encoder::new(&config.channels);
    let (gate, losses) = (readiness.gate("source"), Losses::default());
    let sink = Sink { encoder, history, hub: hub.clone(), status, gate, losses };
    let stop_on_error = stop_source.clone().drop_guard();
    let (memory, source) =
        threads::start_source(&config, &options, &readiness, (sink, desk), stop_source.clone())?;
    let serve = http::serve(listener, routes(&site), places, shortage, stop_http.clone());
    let tell = statistics::run(site, stop_http.clone());
    let work = async {
        tokio::join!(serve, tell);
    };
    let http = Thread::vital("http", &readiness, Priority::Normal, work)?;
    stop_on_error.disarm();
    serving.open();
    tracing::info!(address = %client_addr, path = config.listener.path, shards, name = config.name, "listening");
    Ok(Running {
        client_addr,
        admin_addr: admin.address,
        memory,
        hub,
        readiness,
        window: config.drain.window.into(),
        parts: Some(Parts {
            admission,
            serving,
            threads,
            http,
            source,
            stop_http,
            stop_source,
            _admin: admin,
        }),
    })
}

/// What lets clients in: as many as are wanted and as there are file descriptors for.
fn doors(
    config: &GatewayConfig,
    registry: &Registry,
    readiness: &Readiness,
    rejections: &Rejections,
) -> Result<(Admission, Arc<Places>, Shortage), StartError> {
    let limit = descriptors::raise_limit();
    let (listener, capacity) = (&config.listener, &config.capacity);
    let has_fallbacks = listener.event_source || listener.long_poll;
    let fallbacks = if has_fallbacks { capacity.fallbacks() } else { 0 };
    let budget = Budget::new(limit, capacity.connections);
    budget.report(limit, capacity.connections);
    let metrics = PendingMetrics::register(registry)?;
    let places = Places::new(budget.pending, listener.keep_alive.into(), metrics);
    let shortage = Shortage::new(readiness.gate("descriptors"), rejections.descriptors.clone())?;
    let fallbacks = budget.share(fallbacks, capacity.connections);
    Ok((Admission::new(budget.connections, fallbacks), places, shortage))
}

/// What the routes of both ports need to know.
fn site(
    config: &GatewayConfig,
    config_hash: String,
    (hub, admission, status): (Hub, Admission, Status),
    rejections: Rejections,
) -> Site {
    let listener = &config.listener;
    Site {
        name: config.name.clone(),
        broker: broker(&config.source),
        path: listener.path.clone(),
        protocols: listener.protocols.iter().map(|protocol| protocol.name()).collect(),
        default_protocol: listener.default_protocol.name(),
        compression: listener.compression,
        config_hash,
        started: Instant::now(),
        admission,
        hub,
        command_bytes: config.capacity.command_bytes as usize,
        event_source: listener.event_source,
        long_poll: listener.long_poll,
        status_pages: listener.status_pages,
        pages: Pages::new(&listener.path),
        status,
        sampler: resources::Sampler::new(),
        rejections,
    }
}

/// What clients can look back at, and the end that looks up what is older than the history: only a stream keeps that.
fn past(config: &GatewayConfig) -> (Past, Option<Desk>) {
    let kept = &config.history;
    let bounds = Bounds {
        messages: usize::try_from(kept.messages).unwrap_or(usize::MAX),
        bytes: usize::try_from(kept.bytes).unwrap_or(usize::MAX),
        age_ms: i64::try_from(kept.age.0).unwrap_or(i64::MAX),
    };
    let (archive, desk) = match &config.source {
        Source::JetStream(_) => {
            let (archive, desk) = archive::archive();
            (archive, Some(desk))
        }
        Source::Redis(_) | Source::Memory(_) => (Archive::none(), None),
    };
    (Past { history: History::new(bounds), archive }, desk)
}

/// Connections that make one more shard worth its thread: a container without a CPU quota sees every core of its
/// node, and a pod of 10,000 connections has no use for 64 of them.
const CONNECTIONS_PER_SHARD: u32 = 2_500;

/// As configured; else one per CPU, as far as there are connections for them.
fn shard_count(config: &GatewayConfig, cpus: usize) -> usize {
    match config.capacity.shards {
        0 => cpus.min(config.capacity.connections.div_ceil(CONNECTIONS_PER_SHARD) as usize).max(1),
        count => usize::from(count),
    }
}

fn stream_name(source: &Source) -> &str {
    match source {
        Source::JetStream(source) => &source.stream,
        Source::Redis(_) => "redis",
        Source::Memory(_) => "memory",
    }
}

/// What /health calls the server behind the source: clients of earlier systems look for "nats".
fn broker(source: &Source) -> &'static str {
    match source {
        Source::JetStream(_) | Source::Memory(_) => "nats",
        Source::Redis(_) => "redis",
    }
}

impl Running {
    /// Publishes into the in-process source; None when the source is another one.
    pub fn memory(&self) -> Option<MemoryPublisher> {
        self.memory.clone()
    }

    /// Connections and deliveries, as the shards last published them.
    pub fn traffic(&self) -> Traffic {
        let totals = self.hub.totals();
        Traffic { connections: totals.connections, deliveries: totals.deliveries }
    }

    /// Whether the source is live and clients are served.
    pub fn is_ready(&self) -> bool {
        self.readiness.is_ready()
    }

    /// Names of threads that ended without having been told to: the gateway is broken and must be started anew.
    pub fn dead(&self) -> Vec<&'static str> {
        self.readiness.dead()
    }

    /// Turns unready, asks every client to reconnect elsewhere over the drain window, then stops. Blocks until done.
    pub fn shutdown(mut self) {
        if let Some(parts) = self.parts.take() {
            let window = self.window;
            parts.stop(|threads| threads.drain_and_stop(window, "restart"));
        }
    }

    /// Stops at once; connections are dropped as they are.
    pub fn abort(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take() {
            parts.stop(Threads::stop);
        }
    }
}

impl Parts {
    fn stop(self, end_shards: impl FnOnce(Threads)) {
        self.serving.close();
        self.admission.close();
        // Deliveries go on until the last client has left; the port stays open to say "draining".
        end_shards(self.threads);
        self.stop_http.cancel();
        self.stop_source.cancel();
        self.http.join();
        self.source.into_iter().for_each(Thread::join);
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_config::MemorySource;

    use super::*;

    #[test]
    fn shards_follow_the_cpus_as_far_as_there_are_connections_for_them() {
        let mut config = GatewayConfig::new("n", Source::Memory(MemorySource {}));
        config.capacity.connections = 10_000;
        assert_eq!([1, 2, 64].map(|cpus| shard_count(&config, cpus)), [1, 2, 4]);
        config.capacity.connections = 100;
        assert_eq!(shard_count(&config, 64), 1);
        config.capacity.shards = 3;
        assert_eq!(shard_count(&config, 64), 3);
    }
}
