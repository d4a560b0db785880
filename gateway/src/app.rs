//! The whole gateway, from a configuration: binds the ports, starts the threads, and stops them in order.
//!
//! Start: shards → source → admin port → client port. Stop: unready → no new connections → drain → threads end.

mod controls;
mod running;
mod socket;
mod threads;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wsgateway_config::{ConfigError, GatewayConfig, JetStreamSource, Source};
use wsgateway_runtime::admin::AdminError;
use wsgateway_runtime::readiness::Readiness;

use crate::admission::Admission;
use crate::auth::Authentication;
use crate::encode::Encoder;
use crate::guard::{self, Guards, Levels};
use crate::history::archive::{self, Desk};
use crate::history::{Archive, History, Past};
use crate::http::{self, Door, Hall, Pages, Secure, Shortage, Site, Terms};
use crate::hub::shard::commands::Commands;
use crate::hub::{self, Hub};
use crate::limits::Limits;
use crate::metrics::{self, AcceptErrors, Rejections};
use crate::reload::{ConfigState, Given, ReloadMetrics};
use crate::resources::{self, cgroup};
use crate::shed::{self, Shedding};
use crate::source::status::Status;
use crate::source::{Losses, Sink};
use crate::statistics;
use crate::swap::Swap;
use crate::tls::{PairError, StartTls, Tls};
use crate::trace::Tracer;
use crate::users;
pub(crate) use controls::Adapt;
pub use controls::ReloadError;
use controls::{Controls, Entrance, Reached, Recipe, Steer};
use running::Parts;
pub use running::{Running, Traffic};
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
    /// There is no certificate to show to clients.
    #[error("listener.tls: {0}")]
    Tls(PairError),
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

impl From<StartTls> for StartError {
    fn from(error: StartTls) -> Self {
        match error {
            StartTls::Pair(error) => Self::Tls(error),
            StartTls::Metrics(error) => Self::Metrics(error),
        }
    }
}

/// Starts a gateway and returns as soon as its ports are bound; it becomes ready when its source is live.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub fn start(config: GatewayConfig, options: Options) -> Result<Running, StartError> {
    start_given(Given::of(config)?, options)
}

/// The same with a configuration from files, which are reported as they are.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub fn start_given(given: Given, options: Options) -> Result<Running, StartError> {
    start_in(given, options, Path::new(cgroup::ROOT))
}

/// The same in a container whose cgroup is in another folder.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub fn start_in(given: Given, options: Options, root: &Path) -> Result<Running, StartError> {
    let plain: Adapt = |settings| (settings, &Commands);
    start_with(given, options, root, plain, http::client_routes)
}

/// What answers clients while there are no file descriptors.
fn shortage(
    site: &Site,
    readiness: &Readiness,
    registry: &Registry,
) -> Result<Shortage, StartError> {
    let (gate, refused) = (readiness.gate("descriptors"), site.rejections.descriptors.clone());
    Ok(Shortage::new(gate, refused, AcceptErrors::register(registry)?)?)
}

/// The same with other settings for the shards, something else that acts on messages, and other routes for clients.
pub(crate) fn start_with(
    given: Given,
    options: Options,
    root: &Path,
    adapt: Adapt,
    routes: impl FnOnce(&Arc<Site>) -> (Router, Door),
) -> Result<Running, StartError> {
    let state = ConfigState::of(&given);
    let config = given.config;
    config.check()?;
    let (listener, port) = bind(&config)?;
    let client_addr = listener.local_addr()?;

    let shards = shard_count(&config, resources::whole_cpus());
    let (registry, readiness) = (Registry::new(), Readiness::new());
    let tls = Tls::new(config.listener.tls.as_ref(), &registry)?;
    let authentication = Authentication::new(&config, &registry)?;
    let recipe = Recipe::new(adapt, shards, &options.pod, &authentication);
    let (settings, handler) = recipe.settings(&config);
    let (past, desk) = past(&config);
    let (hub, threads) = hub::start((&settings, handler), shards, &past, &readiness)?;
    let history = past.history.clone();
    let tracer = Tracer::start(&config, &options.pod, &registry)?;
    let Front { entrance, site, metrics } =
        front(&config, state, (&hub, &history, &authentication, tls), &registry)?;
    let desk = desk.map(|desk| desk.heed(site.guards.pauses()));
    let admission = entrance.admission.clone();
    let shortage = shortage(&site, &readiness, &registry)?;
    let serving = readiness.gate("serving");

    let admin = wsgateway_runtime::admin::serve(
        SocketAddr::new(config.admin.address, config.admin.port),
        registry,
        readiness.clone(),
        http::admin_routes(&site),
    )?;
    let admin_addr = admin.address;
    let (stop_http, stop_source) = (CancellationToken::new(), CancellationToken::new());
    let (sink, steer) = sink(&config, &site, &history, &tracer, &readiness);
    let stop_on_error = stop_source.clone().drop_guard();
    let (memory, source) =
        threads::start_source(&config, &options, &readiness, (sink, desk), stop_source.clone())?;
    let serve =
        http::serve(listener, hall(routes(&site), &entrance, &site), shortage, stop_http.clone());
    let tell = statistics::run(Arc::clone(&site), stop_http.clone());
    let shedding = site.shedding.clone();
    let shed = shed::run(shedding.clone(), admission.clone(), hub.clone(), stop_http.clone());
    let named = (config.name.clone(), nats(&config.source));
    let exchange =
        users::exchange::run(authentication.users().clone(), named, hub.clone(), stop_http.clone());
    let keys = authentication.watch(stop_http.clone());
    let certificate = watch_certificate(site.tls.clone(), stop_http.clone());
    let (guards, root) = (site.guards.clone(), root.to_owned());
    let guard = guard::run(guards, root, admission.clone(), stop_http.clone());
    let work = async {
        tokio::join!(serve, tell, shed, keys, certificate, exchange, guard);
    };
    let http = Thread::vital("http", &readiness, Priority::Normal, work)?;
    stop_on_error.disarm();
    serving.open();
    tracing::info!(address = %client_addr, path = config.listener.path, shards, name = config.name, "listening");
    let stops = (stop_http, stop_source, tracer.clone());
    let reached =
        Reached { recipe, hub: hub.clone(), entrance, history, steer, site, port, metrics, tracer };
    let controls = Controls::new(config, reached);
    let parts = Some(Parts { admission, serving, threads, http, source, stops, _admin: admin });
    Ok(Running { client_addr, admin_addr, memory, hub, shedding, parts, readiness, controls })
}

/// What connections meet on their way in.
fn hall((routes, door): (Router, Door), entrance: &Entrance, site: &Site) -> Hall {
    let (tls, handshakes) = (site.tls.clone(), entrance.handshakes.clone());
    let secure = tls.zip(handshakes).map(|(tls, handshakes)| Secure { tls, handshakes });
    Hall { door, routes, places: Arc::clone(&entrance.places), secure }
}

/// Follows the files of the certificate, if there is one.
async fn watch_certificate(tls: Option<Tls>, stop: CancellationToken) {
    if let Some(tls) = tls {
        tls.watch(stop).await;
    }
}

/// What the source fills, and what a changed configuration steers it by.
fn sink(
    config: &GatewayConfig,
    site: &Site,
    history: &History,
    tracer: &Tracer,
    readiness: &Readiness,
) -> (Sink, Steer) {
    let encoder = Encoder::new(&config.channels);
    let rules = encoder.rules();
    let (rates, limited) = watch::channel(config.source_rate);
    let sink = Sink {
        encoder,
        history: history.clone(),
        hub: site.hub.clone(),
        status: site.status.clone(),
        gate: readiness.gate("source"),
        losses: Losses::default(),
        tracer: tracer.clone(),
        rates: limited,
    };
    (sink, Steer { rules, rates })
}

/// What stands in front of the shards.
struct Front {
    entrance: Entrance,
    site: Arc<Site>,
    metrics: ReloadMetrics,
}

fn front(
    config: &GatewayConfig,
    state: ConfigState,
    (hub, history, authentication, tls): (&Hub, &History, &Authentication, Option<Tls>),
    registry: &Registry,
) -> Result<Front, StartError> {
    let rejections = Rejections::register(registry)?;
    let guards = Guards::new(Levels::of(&config.capacity), registry)?;
    let entrance = Entrance::new(config, registry)?;
    let admission = entrance.admission.clone();
    let status = Status::new(stream_name(&config.source));
    let counted = (history.clone(), authentication.users().clone());
    metrics::register(registry, hub.clone(), admission.clone(), status.clone(), counted)?;
    let shared = (hub.clone(), admission, status);
    let doors = Doors {
        authentication: authentication.clone(),
        tls,
        limits: entrance.limits.clone(),
        guards,
        rejections,
    };
    let site = Arc::new(site(config, state, shared, doors));
    Ok(Front { entrance, site, metrics: ReloadMetrics::register(registry)? })
}

/// The client port, once to accept at and once to set what its connections inherit.
fn bind(config: &GatewayConfig) -> Result<(TcpListener, TcpListener), StartError> {
    let address = SocketAddr::new(config.listener.address, config.listener.port);
    let listener = socket::bind(address, socket::patience(config))?;
    let port = listener.try_clone().map_err(|source| StartError::Bind { address, source })?;
    Ok((listener, port))
}

/// What decides who comes in.
struct Doors {
    authentication: Authentication,
    tls: Option<Tls>,
    limits: Limits,
    guards: Guards,
    rejections: Rejections,
}

/// What the routes of both ports need to know.
fn site(
    config: &GatewayConfig,
    state: ConfigState,
    (hub, admission, status): (Hub, Admission, Status),
    Doors { authentication, tls, limits, guards, rejections }: Doors,
) -> Site {
    Site {
        name: config.name.clone(),
        broker: broker(&config.source),
        path: config.listener.path.clone(),
        terms: Swap::new(Terms::new(config, authentication.guard())),
        config: Swap::new(state),
        started: Instant::now(),
        admission,
        limits,
        authentication,
        tls,
        shedding: Shedding::default(),
        hub,
        pages: Pages::new(&config.listener.path),
        status,
        sampler: resources::Sampler::new(),
        guards,
        rejections,
    }
}

/// What the pods of a WsGateway report their users over.
fn nats(source: &Source) -> Option<JetStreamSource> {
    match source {
        Source::JetStream(source) => Some(source.clone()),
        Source::Redis(_) | Source::Memory(_) => None,
    }
}

/// What clients can look back at, and the end that looks up what is older than the history: only a stream keeps that.
fn past(config: &GatewayConfig) -> (Past, Option<Desk>) {
    let (archive, desk) = match &config.source {
        Source::JetStream(_) => {
            let (archive, desk) = archive::archive();
            (archive, Some(desk))
        }
        Source::Redis(_) | Source::Memory(_) => (Archive::none(), None),
    };
    (Past { history: History::new(controls::bounds(config)), archive }, desk)
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
