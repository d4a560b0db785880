//! A JetStream stream as a user declares it, free of any client library.

use serde::{Deserialize, Serialize};

use crate::Millis;

/// The stream that carries a gateway's messages. Numbers of 0 mean "unlimited", as in NATS itself they are -1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamConfig {
    /// Name of the stream, such as `ODIN_TOKENS`.
    pub name: String,
    /// Subjects that the stream captures; wildcards `*` and `>` as in NATS.
    pub subjects: Vec<String>,
    /// Messages older than this are discarded (ms; 0 = kept for ever).
    pub max_age: Millis,
    /// Most messages kept (0 = unlimited).
    pub max_messages: u64,
    /// Most bytes kept (0 = unlimited).
    pub max_bytes: u64,
    /// Largest message accepted, in bytes including headers (0 = unlimited).
    pub max_message_size: u32,
    /// Most messages kept per subject (0 = unlimited).
    pub max_messages_per_subject: u64,
    /// Where messages live. NATS cannot change this later.
    pub storage: Storage,
    /// Copies in a NATS cluster: 1, 3 or 5.
    pub replicas: u8,
    /// Window in which a repeated `Nats-Msg-Id` is dropped (ms).
    pub duplicate_window: Millis,
    /// Compression of stored messages.
    pub compression: Compression,
}

/// Where the stream keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storage {
    /// On disk: survives a restart of NATS.
    File,
    /// In memory: faster, gone with the server.
    Memory,
}

/// Compression of stored messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Stored as they are.
    None,
    /// S2 (Snappy's successor).
    S2,
}
