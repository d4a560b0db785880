//! The resource itself and the rules that span its parts.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::spec::{
    Auth, Autoscaling, Capacity, Channels, Disruption, Expose, History, Listener, LogLevel,
    Monitoring, Nats, Network, Odin, Pod, RateLimits, Rebalance, Redis, Rollout, SlowConsumer,
    Stream, Symbols, Tracing,
};
use crate::status::WsGatewayStatus;

/// API group.
pub const GROUP: &str = "wsgateway.dev";
/// API version.
pub const VERSION: &str = "v1alpha1";

/// A fleet of WebSocket gateways in front of one NATS JetStream stream, or of Redis Pub/Sub.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "wsgateway.dev",
    version = "v1alpha1",
    kind = "WsGateway",
    plural = "wsgateways",
    shortname = "wsgw",
    namespaced,
    status = "WsGatewayStatus",
    derive = "PartialEq",
    doc = "A fleet of WebSocket gateways in front of one NATS JetStream stream, or of Redis Pub/Sub.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    category = "all",
    printcolumn(
        name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether clients are served"
    ),
    printcolumn(
        name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "AsSpecified, or what is not; kubectl describe says what to do"
    ),
    printcolumn(
        name = "Pods", type_ = "string", json_path = ".status.podsReady",
        description = "Ready pods of the pods wanted"
    ),
    printcolumn(
        name = "Connections", type_ = "integer", json_path = ".status.connections",
        description = "Client connections on all pods"
    ),
    printcolumn(
        name = "Capacity", type_ = "integer", json_path = ".status.capacityPercent",
        description = "Connections in percent of what the ready pods admit"
    ),
    printcolumn(name = "Stream", type_ = "string", json_path = ".spec.stream.name", description = "JetStream stream"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Epoch", type_ = "string", json_path = ".status.stream.epoch", priority = 1,
        description = "Life of the stream that cursors belong to"
    ),
    validation = Rule::new("self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name becomes the name of Services: use up to 50 lower-case letters, digits and dashes, \
                  beginning with a letter and not ending with a dash"),
)]
#[x_kube(
    validation = Rule::new("has(self.redis) ? !has(self.nats) && !has(self.stream) : has(self.nats) && has(self.stream)")
    .message("messages come from one source: give nats and stream, or redis alone"),
    validation = Rule::new("has(self.redis) == has(oldSelf.redis)")
    .message("the source cannot change between NATS and Redis, since cursors and the stream would be orphaned: create \
              another WsGateway and delete this one"),
    validation = Rule::new(
        "!has(self.autoscaling) || !has(self.autoscaling.targetConnectionsPerPod) || \
         self.autoscaling.targetConnectionsPerPod <= self.capacity.connectionsPerPod"
    )
    .message("autoscaling.targetConnectionsPerPod must not exceed capacity.connectionsPerPod, or pods are full before \
              the autoscaler adds one: lower the target (80 % is the default) or raise the capacity"),
    validation = Rule::new(
        "self.channels.stripPrefix == '' || !has(self.stream) || self.stream.subjects.exists(s, s.startsWith(self.channels.stripPrefix) || \
         s.contains('*') || (s.endsWith('>') && self.channels.stripPrefix.startsWith(s.substring(0, s.size() - 1))))"
    )
    .message("channels.stripPrefix covers none of stream.subjects: make it the common beginning of some of them, such \
              as odin.token. for odin.token.>, or leave it empty"),
    validation = Rule::new(
        "self.channels.stripPrefix == '' || \
         self.channels.rules.all(r, !r.match.startsWith(self.channels.stripPrefix))"
    )
    .message("channels.rules match channels, and those do not begin with channels.stripPrefix: leave the prefix out, \
              such as *.price instead of odin.token.*.price"),
    validation = Rule::new(crate::cel::rules_match_something())
    .message("channels.rules: a rule matches no channel of stream.subjects: name channels as clients do, which is \
              BTC.price with stripPrefix odin.token., and odin.token.BTC.price without"),
    validation = Rule::new(
        "!has(self.stream) || self.stream.maxMessageSize == '0' || quantity(self.capacity.outboxPerConnection).compareTo(\
         quantity(self.stream.maxMessageSize).add(quantity(self.stream.maxMessageSize))\
         .add(quantity(self.stream.maxMessageSize))) >= 0"
    )
    .message("capacity.outboxPerConnection must be at least three times stream.maxMessageSize, or two large \
              messages in a row could close a client that reads well: raise it (a pod's memory follows, for a tenth of its connections) \
              or lower stream.maxMessageSize"),
    validation = Rule::new("self.capacity.connectionsPerUser == 0 || has(self.auth)")
    .message("capacity.connectionsPerUser needs auth: without tokens nobody knows who a client is"),
    validation = Rule::new(
        "!has(self.redis) || self.rateLimits.streamMessages.perSecond == 0 && self.rateLimits.deliveries.perSecond == 0"
    )
    .message("rateLimits.streamMessages and rateLimits.deliveries are for JetStream: Redis keeps no messages, so that what \
              waits would be lost; leave them out"),
    validation = Rule::new(
        "!has(self.auth) || !has(self.auth.jwt.cookie) || \
         (has(self.listener.allowedOrigins) && self.listener.allowedOrigins.size() > 0)"
    )
    .message("auth.jwt.cookie needs listener.allowedOrigins, since browsers send cookies with requests of any page, so that \
              each could connect as its visitors: list the origins of your pages"),
    validation = Rule::new("!has(self.tracing) || !has(self.redis)")
    .message("tracing follows headers of NATS messages, and Redis carries none: leave tracing out"),
    validation = Rule::new(
        "!has(self.redis) || quantity(self.capacity.outboxPerConnection).compareTo(\
         quantity(self.redis.maxMessageSize).add(quantity(self.redis.maxMessageSize))\
         .add(quantity(self.redis.maxMessageSize))) >= 0"
    )
    .message("capacity.outboxPerConnection must be at least three times redis.maxMessageSize, or two large \
              messages in a row could close a client that reads well: raise it or lower redis.maxMessageSize"),
)]
#[serde(rename_all = "camelCase")]
pub struct WsGatewaySpec {
    /// Class of the operator that keeps this WsGateway, as with Ingresses: one that was started with that --class. Default
    /// empty: the operators without a class. A change hands the WsGateway over to the other operator as it is; while no
    /// operator has its class, nothing happens to it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message(
        "class is the name that an operator was given with --class: use up to 63 lower-case letters, digits and dashes, \
         beginning and ending with a letter or digit, or leave it out"
    ))]
    pub class: String,
    /// Gateway pods wanted. Written by `kubectl scale` and, with `autoscaling`, by the HorizontalPodAutoscaler: leave it
    /// out of Git then. With `autoscaling` it is kept between minReplicas and maxReplicas; 0 stops all pods and the
    /// autoscaler. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: i32,
    /// Leaves everything as it is: as long as it is true, the operator writes nothing but the status, neither objects
    /// nor the stream. Deleting the WsGateway ends the pause. Default false.
    #[serde(default)]
    pub paused: bool,
    /// The NATS servers that hold the stream. Given together with `stream`, or `redis` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
    /// The JetStream stream that feeds the gateways; the operator makes it and keeps it as specified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// Redis Pub/Sub instead of `nats` and `stream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// How subjects become channels, and how their messages are treated.
    #[serde(default)]
    pub channels: Channels,
    /// The port that clients see.
    #[serde(default)]
    pub listener: Listener,
    /// What odin.v1 clients get.
    #[serde(default)]
    pub odin: Odin,
    /// What symbols.v1 clients get.
    #[serde(default)]
    pub symbols: Symbols,
    /// Who clients are, and what they may hear. Default: everybody may connect and hear everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// What one pod holds.
    #[serde(default)]
    pub capacity: Capacity,
    /// How fast clients may ask for something.
    #[serde(default)]
    pub rate_limits: RateLimits,
    /// What becomes of clients that read slowly.
    #[serde(default)]
    pub slow_consumer: SlowConsumer,
    /// What the pods keep for clients that come back.
    #[serde(default)]
    pub history: History,
    /// Scale on connections. Absent: `replicas` pods, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How pods are replaced.
    #[serde(default)]
    pub rollout: Rollout,
    /// How clients are spread over the pods again.
    #[serde(default)]
    pub rebalance: Rebalance,
    /// What clients may be put to, for whatever reason.
    #[serde(default)]
    pub disruption: Disruption,
    /// The least severe events that the gateways log. Default Info.
    #[serde(default)]
    pub log_level: LogLevel,
    /// What Prometheus sees.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// Traces of messages, sent to an OTLP receiver. Messages of NATS alone: Redis carries no headers. Default: none, and
    /// no header is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Who may connect, where the operator makes NetworkPolicies.
    #[serde(default)]
    pub network: Network,
    /// The gateway's pods.
    #[serde(default)]
    pub pod: Pod,
    /// How clients reach the gateway from outside of the cluster.
    #[serde(default)]
    pub expose: Expose,
}

/// Whether a text can be a class: a label of DNS.
pub fn is_class_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn one() -> i32 {
    1
}
