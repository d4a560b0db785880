//! `wsgw market`: the publisher of the earlier systems (seeds S2 and S4) as a program of its own.
//!
//! In: flags, and commands over HTTP ([`api`]). Out: messages of a [`Market`] on NATS ([`crate::pipeline`]) or Redis ([`redis`]).
//! Two threads: one publishes ([`publisher`]), one answers requests, so that these are answered while NATS is away. What
//! both know is [`Shared`]: requests write what is wanted, the publisher what it has done.

mod api;
mod publisher;
mod redis;
mod shared;

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::Registry;
use wsgateway_config::{JetStreamSource, RedisServer, RedisSource};
use wsgateway_market::control::Wanted;
use wsgateway_market::{Market, Settings, SettingsError, Shape};
use wsgateway_runtime::admin::{self, AdminError, AdminServer};
use wsgateway_runtime::readiness::Readiness;
use wsgateway_runtime::{logs, shutdown};

use crate::cli::MarketArgs;
use crate::dev::unix_us;
use crate::error::Error;
use crate::given::{self, Words};
use crate::output::print;
use crate::pipeline::{Pipeline, Progress};
use crate::server::Server;
use publisher::Sink;
use redis::Line;
use shared::Shared;

/// Where NATS listens in the earlier systems.
const NATS: &str = "nats://localhost:4222";
const NAME: &str = "wsgw market";
const HINT: &str = "start one there, or give another address with --nats";

/// Why the market does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MarketError {
    #[error("--tokens: {0}")]
    Tokens(SettingsError),
    #[error("--rate: {0}")]
    Rate(SettingsError),
    // Neither address is shown: it may hold a password.
    #[error(
        "--redis (REDIS_URL) is no address of a Redis server: write redis://host:port, or rediss://host:port for TLS; user and \
         password go into --redis-user and --redis-password-file"
    )]
    RedisAddress,
    #[error(
        "--nats (NATS_URL) holds a user: give --nats-user and --nats-password-file, or --creds"
    )]
    UserInAddress,
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

pub(crate) fn run(options: &MarketArgs) -> Result<(), Error> {
    logs::init_with("wsgw", "warn");
    let settings = settings(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    let outcome = runtime.block_on(Box::pin(publish(options, settings)));
    // A name that is still being looked up is no reason to wait.
    runtime.shutdown_background();
    outcome
}

/// Everything from the first connection to the summary.
async fn publish(options: &MarketArgs, settings: Settings) -> Result<(), Error> {
    let stop = shutdown::watch().map_err(Error::Threads)?;
    let registry = Registry::new();
    let target = if options.redis.is_some() { "redis" } else { "nats" };
    let wanted = Wanted { running: !options.wait, settings: settings.clone() };
    let shared = Arc::new(Shared::new(wanted, target, &registry).map_err(MarketError::from)?);
    let (sink, place) = open(options, &shared).await?;
    let server = listen(options, registry, &shared)?;
    print(&welcome(&settings, server.address, &place, options.wait))?;
    let market = Market::open(fastrand::u64(..), settings, unix_us());
    publisher::run(market, sink, &shared, &stop).await;
    drop(server);
    print(&shared.summary())
}

fn settings(options: &MarketArgs) -> Result<Settings, MarketError> {
    let shape = if options.redis.is_some() { Shape::Trades } else { Shape::Odin };
    let mut settings = Settings::demo(shape);
    if !options.tokens.is_empty() {
        settings = settings.with_tokens(options.tokens.clone()).map_err(MarketError::Tokens)?;
    }
    settings.changed(options.rate, None).map_err(MarketError::Rate)
}

/// Where messages go, and its name for people.
async fn open(options: &MarketArgs, shared: &Arc<Shared>) -> Result<(Sink, String), Error> {
    if let Some(url) = &options.redis {
        RedisServer::parse(url).ok_or(MarketError::RedisAddress)?;
        let source = RedisSource {
            username: options.redis_access.redis_user.clone(),
            password_file: options.redis_access.redis_password_file.clone(),
            ca_file: options.redis_access.redis_ca.clone(),
            ..RedisSource::new(vec![url.clone()], Vec::new())
        };
        return Ok((Sink::Redis(Box::new(Line::new(source, Arc::clone(shared)))), url.clone()));
    }
    let url = options.nats.as_deref().unwrap_or(NATS);
    if url.contains('@') {
        return Err(MarketError::UserInAddress.into());
    }
    let source = given::source("--nats", Some(url), &options.access, "unknown")?;
    let source = source.unwrap_or_else(|| JetStreamSource::new(vec![url.to_owned()], "unknown"));
    let server = Server::connect(&source, NAME, Words::Flags("--nats"), HINT).await?;
    let progress: Arc<dyn Progress> = Arc::clone(shared) as _;
    let pipeline = Pipeline::new(Arc::new(server), progress);
    Ok((Sink::Nats(Box::new(pipeline)), url.to_owned()))
}

fn listen(
    options: &MarketArgs,
    registry: Registry,
    shared: &Arc<Shared>,
) -> Result<AdminServer, Error> {
    let address = SocketAddr::new(options.host, options.port);
    let router = api::router(Arc::clone(shared));
    admin::serve(address, registry, Readiness::new(), router).map_err(|error| match error {
        AdminError::Bind { address, source } => Error::Port { address, flag: "--port", source },
        AdminError::Thread(source) => Error::Threads(source),
    })
}

fn welcome(settings: &Settings, api: SocketAddr, place: &str, wait: bool) -> String {
    let tokens = settings.tokens();
    let named = tokens.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
    let more = match tokens.len().saturating_sub(8) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let rate = if wait {
        "nothing until POST /control/start".to_owned()
    } else {
        format!("about {} messages a second", settings.rate().round().max(0.1))
    };
    format!(
        "\n  market is live:  http://{api}/\n\n  Control    /control/start, /control/stop, /control/configure\n  \
         Watch      /stats, /health, /metrics\n  Target     {place}\n  Publishes  {rate}: {named}{more}\n  Stop       Ctrl-C\n\n"
    )
}
