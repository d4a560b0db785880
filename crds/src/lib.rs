//! The `WsGateway` resource: types, schema and CEL rules, checking, and its translation to what a gateway reads.
//!
//! In: a manifest as a user wrote it. Out: [`crd_yaml`] for the cluster; a [`ValidGateway`], which cannot be wrong, or
//! every [`FieldError`] at once; from it the gateway's configuration and the stream. All functions of values: no
//! client, no clock, no files. The rules stand twice on purpose: as CEL in the schema, so that `kubectl apply` refuses
//! what cannot work, and in [`validate`], so that `wsgw` does without a cluster. A test holds them together.

mod cel;
mod check;
mod defaults;
mod derived;
mod disconnect;
mod manifest;
mod open;
mod overrides;
mod pod_names;
#[expect(
    unreachable_pub,
    reason = "KubeSchema emits a private twin of each type, as visible as the original"
)]
mod root;
mod schedule;
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

pub use check::{FieldError, reachable, validate};
pub use defaults::Defaults;
pub use derived::{ADMIN_PORT, Asked, Derived, TooLittleMemory};
pub use disconnect::{
    BadLine, DISCONNECT, DisconnectEntry, Disconnects, Full, LEAST_STAND, MAX_BAN, Whom,
};
pub use manifest::{CRD_NAME, crd_yaml, parse, parse_valid};
pub use overrides::Overrides;
pub use pod_names::{
    AUTH_VOLUME, CONFIG_FOLDER, CONFIG_VOLUME, GATEWAY_CONTAINER, NATS_VOLUME, REDIS_VOLUME,
    RESERVED_LABELS, RESERVED_PREFIX, TLS_VOLUME,
};
pub use root::{GROUP, VERSION, WsGateway, WsGatewaySpec, is_class_name};
pub use schedule::{ScheduleError, ValidSchedule};
pub use secrets::{
    AUTH_FOLDER, NATS_FOLDER, REDIS_FOLDER, SECRET_ALLOW, SecretFile, SecretKey, TLS_FOLDER,
    ValidCredentials, ValidListenerTls, ValidTls,
};
pub use spec::{
    AboveLimit, AcceptRate, AdoptionPolicy, Anonymous, Auth, AuthRule, Autoscaling, CaSecret,
    Capacity, ChannelRule, Channels, ClientSecret, CommandRate, Compression, Credentials,
    DeletionPolicy, Delivery, Disruption, Expose, ExposeHttpRoute, ExposeIngress, ExposeService,
    ExternalTrafficPolicy, ForwardedHeader, HeadersSecret, Heartbeat, ImagePullPolicy, IpFamily,
    IpFamilyPolicy, Jwks, Jwt, JwtKey, Keda, KeySecret, Listener, ListenerTls, LogLevel,
    MetricsSource, Monitoring, Nats, NatsTls, Network, NkeySecret, Odin, ParentRef, Pod,
    PodSecurity, Protocol, ProxyProtocol, RateLimits, Rebalance, RebalanceMode, Redis, RedisSecret,
    Resources, Rollout, ScaleDown, ScheduleEntry, SecretName, ServerSecret, ServiceMonitorMode,
    ServiceType, SlowConsumer, Storage, Stream, StreamRate, Symbols, TaintEffect, TokenSecret,
    Toleration, TolerationOperator, TopologySpread, Tracing, UserPasswordSecret, WhenUnsatisfiable,
};
pub use status::{
    DisruptionKind, DisruptionStatus, Endpoints, HaltStatus, Ownership, PodState, PodStatus,
    StreamStatus, WsGatewayStatus,
};
pub use translate::gateway_config;
pub use units::{UnitError, duration, size};
pub use valid::{
    Even, ValidAuth, ValidAutoscaling, ValidDisruption, ValidEntry, ValidExpose, ValidGateway,
    ValidIngress, ValidLimits, ValidMetricsSource, ValidMonitoring, ValidNats, ValidNetwork,
    ValidParent, ValidPod, ValidProtocols, ValidRebalance, ValidRedis, ValidResources,
    ValidRollout, ValidRoute, ValidService, ValidSource,
};
