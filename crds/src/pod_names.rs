//! What the operator itself names in a pod, and a WsGateway therefore cannot.

use crate::{AUTH_FOLDER, NATS_FOLDER, REDIS_FOLDER, TLS_FOLDER};

/// The container that runs the gateway.
pub const GATEWAY_CONTAINER: &str = "gateway";
/// The volume that holds the configuration.
pub const CONFIG_VOLUME: &str = "config";
/// Where the configuration is mounted.
pub const CONFIG_FOLDER: &str = "/etc/wsgateway";
/// The volume that holds the files for NATS.
pub const NATS_VOLUME: &str = "nats";
/// The volume that holds the files for Redis.
pub const REDIS_VOLUME: &str = "redis";
/// The volume that holds the keys of tokens.
pub const AUTH_VOLUME: &str = "auth";
/// The volume that holds the certificate that clients are shown.
pub const TLS_VOLUME: &str = "listener-tls";

/// What names of labels and annotations that the operator writes begin with.
pub const RESERVED_PREFIX: &str = "wsgateway.dev/";
/// Labels by which pods are found.
pub const RESERVED_LABELS: [&str; 5] = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/managed-by",
    "pod-template-hash",
];

pub(crate) const VOLUMES: [&str; 5] =
    [CONFIG_VOLUME, NATS_VOLUME, REDIS_VOLUME, AUTH_VOLUME, TLS_VOLUME];
pub(crate) const FOLDERS: [&str; 5] =
    [CONFIG_FOLDER, NATS_FOLDER, REDIS_FOLDER, AUTH_FOLDER, TLS_FOLDER];

/// Whether a label is the operator's.
pub(crate) fn is_reserved_label(key: &str) -> bool {
    key.starts_with(RESERVED_PREFIX) || RESERVED_LABELS.contains(&key)
}
