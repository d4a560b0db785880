//! Where messages come from on this machine: the user's NATS server, one of our own, this process, or Redis.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use gateway::{RedisTrouble, check_redis};
use wsgateway_config::{
    JetStreamSource, MemorySource, RedisServer, RedisSource, Source as ConfigSource, StreamConfig,
};
use wsgateway_crds::{ValidGateway, ValidRedis, ValidSource};
use wsgateway_nats::{Adoption, Claim, Owner, Plan, fresh_epoch};

use super::nats_server::{self, NatsServer, NatsServerError};
use super::publish::{Counters, Target};
use crate::cli::{Dev, RedisAccess};
use crate::error::Error;
use crate::given::{self, Words};
use crate::pipeline::Pipeline;
use crate::server::{Server, policy};

const HINT: &str = "start one there, or leave out --nats";

/// The source, and what it takes to keep it alive.
pub(super) enum Source {
    /// The user's server.
    Given { source: JetStreamSource, nats: Arc<Server> },
    /// A server that ends with us.
    Own { server: NatsServer, nats: Arc<Server>, version: String, stream: String },
    /// No server at all.
    Memory,
    /// Redis, as the manifest names it or at the user's address.
    Redis(RedisSource),
}

impl Source {
    /// Opens the best source there is and makes the stream.
    pub(super) async fn open(options: &Dev, gateway: &ValidGateway) -> Result<Self, Error> {
        let nats = match (&gateway.source, &options.nats, &options.redis) {
            (ValidSource::Nats(nats), _, None) => nats,
            (ValidSource::Redis(redis), None, given) => {
                return redis_at(given.as_deref(), &options.redis_access, redis).await;
            }
            (ValidSource::Nats(_), _, Some(_)) => {
                return Err(Error::OtherSource { flag: "--redis", from: "NATS" });
            }
            (ValidSource::Redis(_), Some(_), _) => {
                return Err(Error::OtherSource { flag: "--nats", from: "Redis" });
            }
        };
        if let Some(source) =
            given::source("--nats", options.nats.as_deref(), &options.access, &nats.stream.name)?
        {
            let made = make_stream(&source, gateway, policy(nats.adoption), &nats.stream).await;
            let server = made.map_err(|error| match error {
                refused @ Error::Refused { .. } if options.file.is_none() => {
                    Error::Demo { refused: Box::new(refused) }
                }
                error => error,
            })?;
            return Ok(Self::Given { source, nats: Arc::new(server) });
        }
        let stream = nats.stream.name.clone();
        let Some(found) = nats_server::find()? else { return Ok(Self::Memory) };
        let server = NatsServer::start(&found.program).await?;
        // One server cannot hold three copies.
        let alone = StreamConfig { replicas: 1, ..nats.stream.clone() };
        let source = JetStreamSource::new(vec![server.url.clone()], &stream);
        // It is empty: there is nothing to observe.
        let made = make_stream(&source, gateway, Adoption::Adopt, &alone).await?;
        Ok(Self::Own { server, nats: Arc::new(made), version: found.version, stream })
    }

    /// What the gateway is to read.
    pub(super) fn for_gateway(&self) -> ConfigSource {
        match self {
            Self::Given { source, .. } => ConfigSource::JetStream(source.clone()),
            Self::Own { server, stream, .. } => {
                ConfigSource::JetStream(JetStreamSource::new(vec![server.url.clone()], stream))
            }
            Self::Memory => ConfigSource::Memory(MemorySource {}),
            Self::Redis(source) => ConfigSource::Redis(source.clone()),
        }
    }

    pub(super) fn is_redis(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// Where the market publishes; None when that is the gateway itself.
    pub(super) fn target(&self, counters: &Arc<Counters>) -> Option<Target> {
        let (Self::Given { nats, .. } | Self::Own { nats, .. }) = self else { return None };
        let pipeline = Pipeline::new(Arc::clone(nats), Arc::clone(counters) as _);
        Some(Target::JetStream(Box::new(pipeline)))
    }

    /// One line for the screen.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Given { source, .. } => {
                format!("stream {} on {}", source.stream, source.servers.join(", "))
            }
            Self::Own { server, version, stream, .. } => {
                format!("stream {stream} on a nats-server {version} of our own at {}, with a temporary store", server.url)
            }
            Self::Memory => {
                "this process: no nats-server 2.10 or newer was found (install one, run make tools, or use --nats URL)"
                    .to_owned()
            }
            Self::Redis(source) => format!("Redis channels on {}", source.servers.join(", ")),
        }
    }

    /// Waits for our own server to end by itself; for ever with any other source.
    pub(super) async fn ended(&self) -> NatsServerError {
        match self {
            Self::Own { server, .. } => server.ended().await,
            Self::Given { .. } | Self::Memory | Self::Redis(_) => std::future::pending().await,
        }
    }
}

/// The manifest's Redis, or the one at the user's address, with the user's files: the Secrets of a cluster are not here.
async fn redis_at(
    given: Option<&str>,
    access: &RedisAccess,
    redis: &ValidRedis,
) -> Result<Source, Error> {
    if let Some(url) = given
        && RedisServer::parse(url).is_none()
    {
        return Err(Error::RedisAddress);
    }
    let servers = given.map_or_else(|| redis.servers.clone(), |url| vec![url.to_owned()]);
    let file = |path: &Option<PathBuf>| path.as_deref().map(given::absolute).transpose();
    let source = RedisSource {
        username: access.redis_user.clone(),
        password_file: file(&access.redis_password_file)?,
        ca_file: file(&access.redis_ca)?,
        max_message_bytes: redis.max_message_bytes,
        ..RedisSource::new(servers, redis.channels.clone())
    };
    match check_redis(&source, "wsgw dev").await {
        Ok(()) => Ok(Source::Redis(source)),
        Err(trouble) => Err(redis_error(&source, trouble)),
    }
}

fn redis_error(source: &RedisSource, trouble: RedisTrouble) -> Error {
    let hint = match &trouble {
        RedisTrouble::Unreachable(_) => {
            let server = source.servers.first().and_then(|address| RedisServer::parse(address));
            let port = server.map_or(6379, |server| server.port);
            format!(
                "start one there, such as with redis-server --port {port}, or give another one with --redis URL"
            )
        }
        RedisTrouble::Refused(_) => {
            "give --redis, --redis-password-file and, for a user other than default, \
             --redis-user; the user needs the right to subscribe to these channels"
                .to_owned()
        }
        RedisTrouble::Settings(_) => "check --redis-password-file and --redis-ca".to_owned(),
    };
    Error::Redis { servers: source.servers.join(", "), trouble, hint }
}

/// Makes the stream as the manifest declares it, or changes it to that, under the rules that the operator follows.
async fn make_stream(
    source: &JetStreamSource,
    gateway: &ValidGateway,
    adoption: Adoption,
    desired: &StreamConfig,
) -> Result<Server, Error> {
    let server = Server::connect(source, "wsgw dev", Words::Flags("--nats"), HINT).await?;
    // The same in every run, so that the next one finds its stream again.
    let owner = Owner::new("wsgw-dev", &gateway.namespace, &gateway.name, "dev");
    let observed = server.observe(&desired.name).await?;
    let fresh = fresh_epoch(SystemTime::now(), fastrand::u64(..));
    let claim = Claim::new(&owner, adoption);
    let plan = wsgateway_nats::plan(desired, &claim, observed.as_ref(), &fresh);
    if let Plan::Refuse(refusal) = plan {
        return Err(server.refused(&desired.name, refusal));
    }
    server.apply(&desired.name, &plan).await?;
    Ok(server)
}
