//! The parts of the specification, one file per part that has rules of its own.

mod auth;
mod autoscaling;
mod capacity;
mod channels;
mod disruption;
mod entry;
mod expose;
mod history;
mod listener;
mod log;
mod monitoring;
mod nats;
mod network;
mod placement;
mod pod;
mod protocols;
mod rebalance;
mod redis;
mod rollout;
mod stream;
mod tracing;

pub use auth::{Anonymous, Auth, AuthRule, Jwks, Jwt, JwtKey, KeySecret};
pub use autoscaling::{Autoscaling, Keda, MetricsSource, ScaleDown, ScheduleEntry};
pub use capacity::{AboveLimit, Capacity, CommandRate, RateLimits, SlowConsumer, StreamRate};
pub use channels::{ChannelRule, Channels, Delivery};
pub use disruption::Disruption;
pub use entry::{AcceptRate, ForwardedHeader, ProxyProtocol};
pub use expose::{
    Expose, ExposeHttpRoute, ExposeIngress, ExposeService, ExternalTrafficPolicy, IpFamily,
    IpFamilyPolicy, ParentRef, ServiceType,
};
pub use history::History;
pub use listener::{Heartbeat, Listener, ListenerTls, ServerSecret};
pub use log::LogLevel;
pub use monitoring::{Monitoring, ServiceMonitorMode};
pub use nats::{
    CaSecret, ClientSecret, Credentials, Nats, NatsTls, NkeySecret, TokenSecret, UserPasswordSecret,
};
pub use network::Network;
pub use placement::{
    PodSecurity, TaintEffect, Toleration, TolerationOperator, TopologySpread, WhenUnsatisfiable,
};
pub use pod::{ImagePullPolicy, Pod, Resources, SecretName};
pub use protocols::{Odin, Protocol, Symbols};
pub use rebalance::{Rebalance, RebalanceMode};
pub use redis::{Redis, RedisSecret};
pub use rollout::Rollout;
pub use stream::{AdoptionPolicy, Compression, DeletionPolicy, Storage, Stream};
pub use tracing::{HeadersSecret, Tracing};
