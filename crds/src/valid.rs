//! A WsGateway that has passed every check. Nothing past [`crate::validate`] sees the manifest.

mod expose;
mod pod;

use std::collections::BTreeMap;

use jiff::Timestamp;

use wsgateway_config::{
    AboveLimit, Accepts, CommandRate, Disconnect, ForwardedHeader, Heartbeat, History, Log, Millis,
    Network, Odin, Protocol, ProxyProtocol, Rule, SlowConsumer, SourceRate, StreamConfig, Symbols,
    Tracing,
};

use crate::{
    AdoptionPolicy, DeletionPolicy, Derived, RebalanceMode, SecretFile, SecretKey,
    ServiceMonitorMode, ValidCredentials, ValidListenerTls, ValidSchedule, ValidTls, schedule,
    secrets,
};

pub use expose::{ValidExpose, ValidIngress, ValidParent, ValidRoute, ValidService};
pub use pod::{ValidPod, ValidResources};

/// A WsGateway that can be put into practice. Only [`crate::validate`] makes one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValidGateway {
    /// Namespace; `default` when the manifest names none.
    pub namespace: String,
    /// Name, fit to name Services.
    pub name: String,
    /// Unique id that the API server gave; empty for a manifest that never met one.
    pub uid: String,
    /// Generation of the specification; 0 for a manifest that never met an API server.
    pub generation: i64,
    /// Pods wanted before autoscaling has its say.
    pub replicas: i32,
    /// Where messages come from.
    pub source: ValidSource,
    /// What is left out of a subject to name its channel; empty, or ending with a dot.
    pub strip_prefix: String,
    /// How messages are treated on their way, by channel.
    pub rules: Vec<Rule>,
    /// Path of the WebSocket endpoint.
    pub path: String,
    /// Port of the clients.
    pub port: u16,
    /// TLS there; none without it.
    pub tls: Option<ValidListenerTls>,
    /// What is spoken there.
    pub protocols: ValidProtocols,
    /// Who clients are, and what they may hear; everybody and everything without it.
    pub auth: Option<ValidAuth>,
    /// Whose connections are ended, and who is kept out: from an annotation, not from the specification.
    pub disconnects: Vec<Disconnect>,
    /// What one client may take.
    pub limits: ValidLimits,
    /// What the pods log.
    pub log: Log,
    /// What follows from the capacity.
    pub derived: Derived,
    /// Scaling on connections.
    pub autoscaling: Option<ValidAutoscaling>,
    /// How pods are replaced.
    pub rollout: ValidRollout,
    /// Clients that pods which are not needed any more hand over in a minute.
    pub scale_down_per_minute: u32,
    /// How clients are spread over the pods again.
    pub rebalance: ValidRebalance,
    /// What clients may be put to.
    pub disruption: ValidDisruption,
    /// What Prometheus sees.
    pub monitoring: ValidMonitoring,
    /// Traces of messages.
    pub tracing: Tracing,
    /// Where the headers of requests to the receiver of traces are.
    pub tracing_headers: Option<SecretKey>,
    /// Who may connect.
    pub network: ValidNetwork,
    /// The pods.
    pub pod: ValidPod,
    /// How clients reach them.
    pub expose: ValidExpose,
}

/// Who clients are, and what they may hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidAuth {
    /// As the gateway's configuration has it.
    pub config: wsgateway_config::Auth,
    /// The Secrets' keys that a pod needs as files of [`crate::AUTH_FOLDER`], each once.
    pub files: Vec<SecretFile>,
}

/// Who may connect to the clients' port; nothing in it: everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidNetwork {
    /// Networks in CIDR notation.
    pub client_networks: Vec<String>,
    /// Namespaces of clients that are pods.
    pub client_namespaces: Vec<String>,
}

/// What is spoken with clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidProtocols {
    /// Protocols that clients may name.
    pub served: Vec<Protocol>,
    /// For clients that name none: one of these.
    pub default: Protocol,
    /// What odin.v1 clients get.
    pub odin: Odin,
    /// What symbols.v1 clients get.
    pub symbols: Symbols,
}

/// Where messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidSource {
    /// A JetStream stream.
    Nats(Box<ValidNats>),
    /// Redis Pub/Sub: there is no stream to look after.
    Redis(Box<ValidRedis>),
}

/// A JetStream stream and the servers that hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidNats {
    /// NATS servers, as `nats://host:port` or `tls://host:port`.
    pub servers: Vec<String>,
    /// Who we are to them.
    pub credentials: Option<ValidCredentials>,
    /// Certificates of one's own for them.
    pub tls: Option<ValidTls>,
    /// What the subjects of JetStream's API begin with, if it is not the usual `$JS.API`.
    pub api_prefix: Option<String>,
    /// What the subjects of answers begin with, if it is not the usual `_INBOX`.
    pub inbox_prefix: Option<String>,
    /// The stream.
    pub stream: StreamConfig,
    /// What to do with a stream that we did not make.
    pub adoption: AdoptionPolicy,
    /// What becomes of the stream in the end.
    pub deletion: DeletionPolicy,
}

/// Redis Pub/Sub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidRedis {
    /// Redis servers, as `redis://host:port` or `rediss://host:port`.
    pub servers: Vec<String>,
    /// Channels and patterns of channels.
    pub channels: Vec<String>,
    /// ACL user; there is a password then.
    pub username: Option<String>,
    /// Where the password is.
    pub password: Option<SecretKey>,
    /// Where the certificates of authorities are.
    pub ca: Option<SecretKey>,
    /// Largest message in bytes.
    pub max_message_bytes: u32,
}

impl ValidNats {
    /// The Secrets' keys that a pod needs as files of [`crate::NATS_FOLDER`].
    pub fn files(&self) -> Vec<SecretFile> {
        secrets::files(self.credentials.as_ref(), self.tls.as_ref())
    }
}

impl ValidGateway {
    /// The Secrets' keys that a pod needs as files, in whatever folder.
    pub fn files(&self) -> Vec<SecretFile> {
        let source = match &self.source {
            ValidSource::Nats(nats) => nats.files(),
            ValidSource::Redis(redis) => redis.files(),
        };
        let auth = self.auth.iter().flat_map(|auth| auth.files.iter().cloned());
        let tls = self.tls.iter().flat_map(ValidListenerTls::files);
        source.into_iter().chain(auth).chain(tls).collect()
    }
}

impl ValidSource {
    /// The stream and its servers, if messages come from one.
    pub fn nats(&self) -> Option<&ValidNats> {
        match self {
            Self::Nats(nats) => Some(nats),
            Self::Redis(_) => None,
        }
    }

    /// Redis, if messages come from there.
    pub fn redis(&self) -> Option<&ValidRedis> {
        match self {
            Self::Nats(_) => None,
            Self::Redis(redis) => Some(redis),
        }
    }
}

/// What one client may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidLimits {
    /// Most connections of one user; 0 = any number.
    pub connections_per_user: u32,
    /// What happens to one above it.
    pub above_connections_per_user: AboveLimit,
    /// Most subscriptions.
    pub subscriptions: u32,
    /// Most bytes waiting for it.
    pub outbox_bytes: u32,
    /// Largest command in bytes.
    pub command_bytes: u32,
    /// Commands over time.
    pub command_rate: CommandRate,
    /// Messages that are taken from the stream over time.
    pub source_rate: SourceRate,
    /// Pings, with a timeout of at most the interval.
    pub heartbeat: Heartbeat,
    /// Patience when it reads slowly.
    pub slow_consumer: SlowConsumer,
    /// Whether it gets permessage-deflate.
    pub compression: bool,
    /// Whether it may come by event stream.
    pub event_source: bool,
    /// Whether it may come by long-poll.
    pub long_poll: bool,
    /// Time for which its HTTP connection is kept between two requests.
    pub keep_alive: Millis,
    /// Whether it may see the console page, /health and /stats.
    pub status_pages: bool,
    /// Most event streams and long-polls of a pod, if given.
    pub fallbacks: Option<u32>,
    /// Percent of the CPU limit above which clients are refused and above which replays wait, and of the memory limit above
    /// which clients are refused; 0: never.
    pub guards: [u32; 3],
    /// How far back it can go.
    pub history: History,
    /// Whether it may come in, and how often.
    pub entry: ValidEntry,
}

/// Who may come in at the clients' port, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidEntry {
    /// Origins of pages that may connect; empty: all.
    pub allowed_origins: Vec<String>,
    /// Hosts that requests may be for; empty: all.
    pub allowed_hosts: Vec<String>,
    /// Proxies that are believed; empty: none, and no PROXY protocol.
    pub trusted_proxies: Vec<Network>,
    /// Where they say where a client is.
    pub forwarded_header: ForwardedHeader,
    /// Whether they begin connections with the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// How many connections may come.
    pub accepts: Accepts,
}

/// Scaling on connections: 1 ≤ min ≤ max.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidAutoscaling {
    /// Fewest pods.
    pub min: i32,
    /// Most pods.
    pub max: i32,
    /// Average CPU use that is aimed at, in percent.
    pub cpu_percent: Option<i32>,
    /// How long fewer pods have had to be wanted.
    pub stabilization: Millis,
    /// When another number of pods is the least.
    pub schedule: Vec<ValidSchedule>,
    /// Where the autoscaler gets its numbers.
    pub source: ValidMetricsSource,
}

/// Where the autoscaler gets its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidMetricsSource {
    /// From the operator.
    Operator,
    /// From somebody else's metrics adapter.
    Adapter,
    /// From Prometheus, through KEDA.
    Keda {
        /// Its address.
        prometheus: String,
    },
}

/// How clients are spread over the pods again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidRebalance {
    /// When.
    pub mode: RebalanceMode,
    /// How far a pod may be above the mean, in percent of it.
    pub tolerance_percent: u32,
    /// Fewest clients of all pods together.
    pub min_connections: u64,
    /// Clients in a minute.
    pub per_minute: u32,
}

/// How many clients a pod should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Even {
    /// On average, rounded up: a pod that has too many keeps so many.
    pub mean: u64,
    /// Most that a pod has by chance alone, where clients find their pod at random.
    pub usual: u64,
    /// Most that a pod may have without handing any over.
    pub most: u64,
}

/// Standard deviations that a pod may be above the mean: where clients find their pod by chance, some are.
const CHANCE: u64 = 3;

impl ValidRebalance {
    /// How many clients a pod should have of so many on so many pods.
    #[must_use]
    pub fn even(&self, clients: u64, pods: u64) -> Even {
        let mean = clients.div_ceil(pods.max(1));
        let tolerated = mean.saturating_mul(100 + u64::from(self.tolerance_percent)) / 100;
        let chance = CHANCE * mean.isqrt();
        Even { mean, usual: mean + chance, most: tolerated + chance }
    }
}

/// What clients may be put to, whatever moves them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidDisruption {
    /// Whether it stops when they miss messages.
    pub halt_on_loss: bool,
    /// How often a client may be moved in an hour.
    pub max_per_client_per_hour: Option<u32>,
}

/// How pods hand over their clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidRollout {
    /// Longest time that one of them takes.
    pub drain: Millis,
    /// Clients in a minute.
    pub connections_per_minute: u32,
}

/// What Prometheus sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidMonitoring {
    /// Whether a ServiceMonitor is made.
    pub service_monitor: ServiceMonitorMode,
    /// Time between two scrapes, in Prometheus' notation.
    pub interval: String,
    /// Labels of the ServiceMonitor.
    pub labels: BTreeMap<String, String>,
}

impl ValidGateway {
    /// The same at a moment: the fewest pods are those of its schedule.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        if let Some(bounds) = &mut self.autoscaling
            && let Some(least) = schedule::least(&bounds.schedule, now)
        {
            bounds.min = least;
        }
        self
    }

    /// Pods to run now: `replicas`, within the autoscaler's bounds if there is one. 0 stops all pods, as it stops a
    /// HorizontalPodAutoscaler.
    pub fn effective_replicas(&self) -> i32 {
        match &self.autoscaling {
            Some(bounds) if self.replicas > 0 => self.replicas.clamp(bounds.min, bounds.max),
            _ => self.replicas,
        }
    }
}
