//! `wsgw dev`: a gateway on this machine, with a stream and a market to look at, or with the Redis of a manifest.
//!
//! Reads top to bottom: manifest → source (a NATS server, or this process) → ports → gateway → market → wait for
//! Ctrl-C → stop in the opposite order. Everything that is started here ends here; a stream on a server of the user's
//! own stays.

mod nats_server;
mod ports;
mod publish;
mod screen;
mod source;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use gateway::app::{self, Options, Running};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wsgateway_config::{Auth, GatewayConfig, ListenerTls, Millis};
use wsgateway_crds::{ValidGateway, ValidSource};
use wsgateway_market::{Market, NATURAL_RATE, Settings, Shape};
use wsgateway_runtime::{logs, shutdown};

use crate::cli::Dev;
use crate::error::Error;
use crate::given;
use crate::manifest::Manifest;
use publish::{Counters, Target};
use source::Source;

pub(crate) use nats_server::NatsServerError;
pub(crate) use publish::unix_us;

/// Clients of a laptop are told to come back within this; a pod takes longer on purpose.
const DRAIN: Millis = Millis(500);

/// Between two status lines.
const STATUS: Duration = Duration::from_secs(3);

/// Reaching the stream takes milliseconds; after this time a person should be told.
const READY: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Without RUST_LOG the screen belongs to the status line.
const LOG_FILTER: &str = "warn";

pub(crate) fn run(options: &Dev) -> Result<(), Error> {
    logs::init_with("wsgw", LOG_FILTER);
    let manifest = match &options.file {
        Some(path) => Manifest::read(path)?,
        None => Manifest::demo(),
    };
    let gateway = manifest.gateway()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    runtime.block_on(async {
        let stop = shutdown::watch().map_err(Error::Threads)?;
        // Dropping the session ends whatever was started so far.
        match or_stop(&stop, Box::pin(Session::start(options, &gateway))).await {
            Some(session) => session?.serve(&stop).await,
            None => Ok(()),
        }
    })
}

async fn or_stop<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = stop.cancelled() => None,
    }
}

/// Everything that runs. Fields are dropped in this order: the gateway before the server that it reads.
struct Session {
    running: Running,
    market: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
    source: Source,
}

impl Session {
    async fn start(options: &Dev, gateway: &ValidGateway) -> Result<Self, Error> {
        let source = Source::open(options, gateway).await?;
        let subjects = match &gateway.source {
            ValidSource::Nats(nats) => &nats.stream.subjects,
            ValidSource::Redis(redis) => &redis.channels,
        };
        let config = local_config(options, gateway, &source)?;
        let (path, secure) = (config.listener.path.clone(), config.listener.tls.is_some());
        let running = app::start(config, Options::default()).map_err(Box::new)?;
        if tokio::time::timeout(READY, until_ready(&running)).await.is_err() {
            screen::note(
                "the gateway has not reached its stream yet, and refuses clients until it does",
            );
        }
        let counters = Arc::new(Counters::default());
        let simulated = !options.no_market && !source.is_redis();
        let rate = simulated.then(|| options.rate.unwrap_or(NATURAL_RATE));
        screen::welcome(&screen::Welcome {
            name: &gateway.name,
            client: running.client_addr,
            admin: running.admin_addr,
            path: &path,
            secure,
            source: source.describe(),
            rate,
            subjects,
        });
        if rate.is_some() && !publish::any_captured(subjects) {
            screen::note(
                "the stream captures nothing of the simulated market: add odin.token.> to its subjects",
            );
        }
        let market = rate.and_then(|rate| {
            let settings = Settings::demo(Shape::Odin).changed(Some(rate), None).ok()?;
            let market = Market::open(fastrand::u64(..), settings, unix_us());
            let memory = || {
                let publisher = running.memory()?;
                Some(Target::Memory(publisher, Arc::clone(&counters)))
            };
            let target = source.target(&counters).or_else(memory)?;
            let run = publish::run(market, target, subjects.clone());
            Some(tokio::spawn(run))
        });
        Ok(Self { running, market, counters, source })
    }

    /// Until Ctrl-C, or until our own NATS server is gone.
    async fn serve(self, stop: &CancellationToken) -> Result<(), Error> {
        let mut status = screen::Status::new(self.counters.clone());
        let outcome = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                error = self.source.ended() => break Err(error.into()),
                () = tokio::time::sleep(STATUS) => status.show(self.running.traffic(), STATUS),
            }
        };
        screen::goodbye();
        if let Some(market) = self.market {
            market.abort();
        }
        // On a thread of its own, so that a second Ctrl-C is still heard here.
        let running = self.running;
        let stopped = tokio::task::spawn_blocking(move || running.shutdown()).await;
        if stopped.is_err() {
            tracing::error!("stopping panicked");
        }
        outcome
    }
}

async fn until_ready(running: &Running) {
    while !running.is_ready() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn token_keys(options: &Dev, gateway: &ValidGateway) -> Result<Option<Auth>, Error> {
    gateway
        .auth
        .as_ref()
        .map(|auth| given::token_keys(options.secrets.as_deref(), auth))
        .transpose()
}

fn certificate(options: &Dev, gateway: &ValidGateway) -> Result<Option<ListenerTls>, Error> {
    let tls = gateway.tls.as_ref();
    tls.map(|tls| given::listener_tls(options.secrets.as_deref(), tls)).transpose()
}

/// The pods' configuration with what is different on a laptop: source, addresses, a short drain.
fn local_config(
    options: &Dev,
    gateway: &ValidGateway,
    source: &Source,
) -> Result<GatewayConfig, Error> {
    let mut config = wsgateway_crds::gateway_config(gateway);
    let (listener, admin) = (config.listener.port, config.admin.port);
    config.source = source.for_gateway();
    config.auth = token_keys(options, gateway)?;
    config.listener.tls = certificate(options, gateway)?;
    config.drain.window = DRAIN;
    config.listener.address = options.host;
    config.admin.address = options.host;
    if let (Some(port), Some(other)) = (options.port, options.admin_port)
        && port == other
        && port != 0
    {
        return Err(Error::SamePort { port });
    }
    let wished_admin = options.admin_port.unwrap_or(admin);
    config.listener.port =
        ports::choose(options.host, options.port, listener, wished_admin, "--port")?;
    config.admin.port = ports::choose(
        options.host,
        options.admin_port,
        admin,
        config.listener.port,
        "--admin-port",
    )?;
    for (flag, wish, usual, taken) in [
        ("--port", options.port, listener, config.listener.port),
        ("--admin-port", options.admin_port, admin, config.admin.port),
    ] {
        if wish.is_none() && taken != usual {
            screen::note(&format!("port {usual} is taken: using {taken} (choose one with {flag})"));
        }
    }
    Ok(config)
}
