//! The JetStream stream.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The JetStream stream that feeds the gateways.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "!has(self.duplicateWindow) || self.maxAge == '0' || duration(self.duplicateWindow) <= duration(self.maxAge)"
    )
    .message("stream.duplicateWindow must not exceed stream.maxAge: shorten the window or keep messages longer"),
    validation = Rule::new(
        "self.maxBytes == '0' || self.maxMessageSize == '0' || \
         quantity(self.maxMessageSize).compareTo(quantity(self.maxBytes)) <= 0"
    )
    .message("stream.maxMessageSize must not exceed stream.maxBytes, or the largest message would not fit the stream: \
              raise maxBytes or lower maxMessageSize"),
    validation = Rule::new("self.maxMessages == 0 || self.maxMessagesPerSubject <= self.maxMessages")
        .message("stream.maxMessagesPerSubject must not exceed stream.maxMessages: lower it, or set it to 0 for no limit"),
    validation = Rule::new("self.adoptionPolicy != 'Observe' || self.deletionPolicy != 'Delete'")
    .message("stream.adoptionPolicy Observe never deletes a stream: set stream.deletionPolicy to Retain"),
)]
pub struct Stream {
    /// Name of the stream, such as ODIN_TOKENS. It cannot change.
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(
        validation = Rule::new("self.matches('^[-_A-Za-z0-9]+$')")
            .message("stream.name must be letters, digits, - and _, such as ODIN_TOKENS"),
        validation = Rule::new("self == oldSelf").message(
            "stream.name cannot change, since NATS cannot rename a stream: create another WsGateway for the new name \
             and delete this one"
        ),
    )]
    pub name: String,
    /// Subjects that the stream captures; wildcards as in NATS (1 to 32).
    #[schemars(schema_with = "crate::schema::subjects")]
    pub subjects: Vec<String>,
    /// Age at which messages are discarded, such as 30s, 10m or 24h; at least 100ms; 0 = never. Default 30s.
    #[serde(default = "default_max_age")]
    #[schemars(schema_with = "crate::schema::duration_or_zero")]
    #[x_kube(validation = Rule::new("self == '0' || duration(self) >= duration('100ms')").message(
        "stream.maxAge must be at least 100ms, or 0 to keep messages for ever"
    ))]
    pub max_age: String,
    /// Most messages kept; the oldest go first; 0 = unlimited. Default 100000.
    #[serde(default = "default_max_messages")]
    #[schemars(range(min = 0))]
    pub max_messages: i64,
    /// Most bytes kept, such as 50Mi; the oldest messages go first; 0 = unlimited. Default 50Mi.
    #[serde(default = "default_max_bytes")]
    #[schemars(schema_with = "crate::schema::size_or_zero")]
    pub max_bytes: String,
    /// Largest message accepted, in bytes with its headers, such as 64Ki; at most 64Mi; 0 = what the server accepts.
    /// Default 64Ki.
    #[serde(default = "default_max_message_size")]
    #[schemars(schema_with = "crate::schema::size_or_zero")]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity('64Mi')) <= 0").message(
        "stream.maxMessageSize must be at most 64Mi, the largest that NATS can carry"
    ))]
    pub max_message_size: String,
    /// Most messages kept of one subject; 0 = unlimited. Default 0.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub max_messages_per_subject: i64,
    /// Where messages live: File survives a restart of NATS, Memory does not. It cannot change. Default File.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message(
        "stream.storage cannot change, since NATS cannot move a stream: create another WsGateway with another stream \
         and delete this one"
    ))]
    pub storage: Storage,
    /// Copies in a NATS cluster: 1, 3 or 5. Default 1.
    #[serde(default = "default_replicas")]
    #[schemars(schema_with = "crate::schema::stream_replicas")]
    pub replicas: i32,
    /// Time in which a message with the same Nats-Msg-Id is dropped, such as 30s; at least 100ms and at most maxAge.
    /// Default 30s, or maxAge if that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::duration")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms')").message(
        "stream.duplicateWindow must be at least 100ms"
    ))]
    pub duplicate_window: Option<String>,
    /// Compression of stored messages: None or S2. Default None.
    #[serde(default)]
    pub compression: Compression,
    /// What to do with a stream of this name that neither this WsGateway nor an earlier one of its namespace and name made.
    /// Fail: leave it alone and say so. Adopt: take it over and make it as specified, which may discard messages beyond
    /// the limits given here. Observe: read it as it is, whoever it belongs to; it is never created, changed or deleted,
    /// and of the other fields only name and subjects count. Default Fail.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,
    /// What becomes of the stream when the WsGateway is deleted. Retain: it stays, free to be adopted, and the next
    /// WsGateway of this namespace and name gets it back. Delete: it goes with all its messages, if this WsGateway owns it,
    /// after the pods have sent their clients away. Default Retain.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Where the stream keeps its messages.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// On disk: survives a restart of NATS.
    #[default]
    File,
    /// In memory: gone with the server.
    Memory,
}

/// Compression of stored messages.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Stored as they are.
    #[default]
    None,
    /// S2 (Snappy's successor).
    S2,
}

/// What to do with a stream that we did not make.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdoptionPolicy {
    /// Leave it alone and say so.
    #[default]
    Fail,
    /// Take it over.
    Adopt,
    /// Read it as it is.
    Observe,
}

/// What becomes of the stream when the WsGateway is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It goes, if it is ours.
    Delete,
}

fn default_max_age() -> String {
    "30s".to_owned()
}
fn default_max_messages() -> i64 {
    100_000
}
fn default_max_bytes() -> String {
    "50Mi".to_owned()
}
fn default_max_message_size() -> String {
    "64Ki".to_owned()
}
fn default_replicas() -> i32 {
    1
}
