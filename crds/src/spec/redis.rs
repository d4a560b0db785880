//! Redis Pub/Sub instead of a stream.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Redis Pub/Sub channels instead of a JetStream stream. Redis keeps nothing: what is published while a gateway has no
/// connection is lost, which its clients are told, and a client that comes back to another pod starts anew.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.username) || has(self.passwordSecret)")
        .message("redis.username needs redis.passwordSecret: name the Secret that holds the user's password"),
    validation = Rule::new("!has(self.caSecret) || self.servers.exists(s, s.startsWith('rediss://'))")
        .message("redis.caSecret is for TLS: write the servers as rediss://host:port, or leave it out"),
)]
pub struct Redis {
    /// Addresses of Redis servers, as redis://host:port, or rediss://host:port for TLS (1 to 16). They are tried in turn
    /// until one serves; each must see all messages, as a primary and its replicas do.
    #[schemars(schema_with = "crate::schema::redis_servers")]
    pub servers: Vec<String>,
    /// Redis channels to read, such as channel:trade:* (1 to 32). Those with *, ?, [ or \ are patterns, the others names.
    /// For clients colons become dots: the Redis channel channel:trade:AAPL is channel.trade.AAPL.
    #[schemars(schema_with = "crate::schema::redis_channels")]
    pub channels: Vec<String>,
    /// ACL user. Absent: the user default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub username: Option<String>,
    /// Secret with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<RedisSecret>,
    /// Secret with the certificates (PEM) of the authorities that may sign the servers' certificates. Absent: those that
    /// the gateway's image brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<RedisSecret>,
    /// Largest message taken, in bytes, such as 64Ki; at most 64Mi. A larger one is left out, and every client is told.
    /// Default 64Ki.
    #[serde(default = "default_max_message_size")]
    #[schemars(schema_with = "crate::schema::size")]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity('64Mi')) <= 0").message(
        "redis.maxMessageSize must be at most 64Mi"
    ))]
    pub max_message_size: String,
}

/// A key of a Secret in the namespace of the WsGateway.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RedisSecret {
    /// Name of the Secret.
    #[schemars(schema_with = "crate::schema::secret_name")]
    pub name: String,
    /// Key in it.
    #[schemars(schema_with = "crate::schema::secret_key")]
    pub key: String,
}

fn default_max_message_size() -> String {
    "64Ki".to_owned()
}
