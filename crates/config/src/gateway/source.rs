//! Where messages come from.

use serde::{Deserialize, Serialize};

use super::{JetStreamSource, RedisSource};

/// Where messages come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SourceFile", into = "SourceFile")]
pub enum Source {
    /// A NATS JetStream stream, read by one consumer of this process.
    JetStream(JetStreamSource),
    /// Redis Pub/Sub channels, read by one connection of this process.
    Redis(RedisSource),
    /// Messages published inside this process: `wsgw dev`, tests, benches.
    Memory(MemorySource),
}

/// [`Source`] as it stands in the file: one key, since YAML libraries write enums as tags.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SourceFile {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jet_stream: Option<JetStreamSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redis: Option<RedisSource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<MemorySource>,
}

impl TryFrom<SourceFile> for Source {
    type Error = &'static str;

    fn try_from(file: SourceFile) -> Result<Self, Self::Error> {
        match (file.jet_stream, file.redis, file.memory) {
            (Some(source), None, None) => Ok(Self::JetStream(source)),
            (None, Some(source), None) => Ok(Self::Redis(source)),
            (None, None, Some(source)) => Ok(Self::Memory(source)),
            _ => Err("must hold exactly one of jetStream, redis, memory"),
        }
    }
}

impl From<Source> for SourceFile {
    fn from(source: Source) -> Self {
        let none = Self { jet_stream: None, redis: None, memory: None };
        match source {
            Source::JetStream(source) => Self { jet_stream: Some(source), ..none },
            Source::Redis(source) => Self { redis: Some(source), ..none },
            Source::Memory(source) => Self { memory: Some(source), ..none },
        }
    }
}

/// The in-process source; it has nothing to configure yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemorySource {}
