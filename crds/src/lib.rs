//! The `WsGateway` resource: types, schema and CEL rules, checking, and its translation to what a gateway reads.
//!
//! In: a manifest as a user wrote it. Out: [`crd_yaml`] for the cluster; a [`ValidGateway`], which cannot be wrong, or
//! every [`FieldError`] at once; from it the gateway's configuration and the stream. All functions of values: no
//! client, no clock, no files. The rules stand twice on purpose: as CEL in the schema, so that `kubectl apply` refuses
//! what cannot work, and in [`validate`], so that `wsgw` does without a cluster. A test holds them together.

mod cel;
mod check;
mod derived;
mod manifest;
#[expect(
    unreachable_pub,
    reason = "KubeSchema emits a private twin of each type, as visible as the original"
)]
mod root;
mod schema;
mod secrets;
#[expect(
    unreachable_pub,
    reason = "KubeSchema emits a private twin of each type, as visible as the original"
)]
mod spec;
#[expect(
    unreachable_pub,
    reason = "KubeSchema emits a private twin of each type, as visible as the original"
)]
mod status;
mod subject;
mod translate;
mod units;
mod valid;

pub use check::{FieldError, validate};
pub use derived::{ADMIN_PORT, Derived};
pub use manifest::{CRD_NAME, crd_yaml, parse};
pub use root::{GROUP, VERSION, WsGateway, WsGatewaySpec};
pub use secrets::{NATS_FOLDER, REDIS_FOLDER, SecretFile, SecretKey, ValidCredentials, ValidTls};
pub use spec::{
    AdoptionPolicy, Autoscaling, CaSecret, Capacity, ChannelRule, Channels, ClientSecret,
    CommandRate, Compression, Credentials, DeletionPolicy, Delivery, Heartbeat, ImagePullPolicy,
    Listener, Monitoring, Nats, NatsTls, NkeySecret, Odin, Pod, Protocol, RateLimits, Redis,
    RedisSecret, Resources, SecretName, ServiceMonitorMode, SlowConsumer, Storage, Stream, Symbols,
    TokenSecret, UserPasswordSecret,
};
pub use status::{Endpoints, Ownership, PodState, PodStatus, StreamStatus, WsGatewayStatus};
pub use translate::gateway_config;
pub use units::{UnitError, duration, size};
pub use valid::{
    ValidAutoscaling, ValidGateway, ValidLimits, ValidMonitoring, ValidNats, ValidPod,
    ValidProtocols, ValidRedis, ValidSource,
};
