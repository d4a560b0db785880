//! What can go wrong with a stream, each with a static reason and the answer to "does a retry help".

use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamError, GetStreamErrorKind,
    RequestError as JetStreamRequestError, RequestErrorKind,
};
use async_nats::jetstream::{Error as ServerAnswer, ErrorCode};

/// Why NATS did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// No connection.
    #[error(
        "NATS is not reachable; it is tried again until it is. If this lasts, check nats.servers: on Kubernetes a \
         server's host is SERVICE.NAMESPACE"
    )]
    Unreachable,
    /// Connected, but no answer in time: an overloaded server, an election, or an account that may not ask.
    #[error(
        "JetStream did not answer in time; if this lasts, allow the account to use $JS.API.STREAM.* and to receive on \
         _INBOX.>, and check that the NATS cluster has a leader"
    )]
    NoAnswer,
    /// The server or the account has no JetStream.
    #[error(
        "JetStream is not enabled for this account: start nats-server with JetStream and enable it for the account"
    )]
    NotEnabled,
    /// The server is older than what we rely on.
    #[error(
        "nats-server {version} is too old: stream metadata, which proves ownership, needs 2.10 or later"
    )]
    TooOld {
        /// Version that the server reports.
        version: String,
    },
    /// The server took the configuration but dropped parts of it.
    #[error(
        "nats-server ignored {fields}: use a server that supports them, or leave them at their defaults"
    )]
    Ignored {
        /// Fields that are not as asked for.
        fields: String,
    },
    /// Subjects belong to another stream.
    #[error(
        "another stream already captures some of the subjects ({answer}): change stream.subjects, or adopt that stream"
    )]
    SubjectsOverlap {
        /// What the server said.
        answer: String,
    },
    /// Not enough servers for the number of copies.
    #[error(
        "NATS cannot place this many copies ({answer}): lower stream.replicas or add servers to the NATS cluster"
    )]
    ReplicasUnavailable {
        /// What the server said.
        answer: String,
    },
    /// Limits of the account or of the server.
    #[error(
        "NATS has no room for the stream ({answer}): lower stream.maxBytes or raise the limits of the account"
    )]
    ResourcesExceeded {
        /// What the server said.
        answer: String,
    },
    /// Any other refusal of the configuration.
    #[error("NATS refused the stream: {answer}")]
    Refused {
        /// What the server said.
        answer: String,
    },
    /// Something that may pass: a cluster without leader, a request that failed.
    #[error("NATS could not do it now: {answer}")]
    Temporary {
        /// What the server said.
        answer: String,
    },
}

impl StreamError {
    /// Static reason, for conditions and metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable => "NatsUnreachable",
            Self::NoAnswer => "JetStreamNoAnswer",
            Self::NotEnabled => "JetStreamNotEnabled",
            Self::TooOld { .. } => "NatsTooOld",
            Self::Ignored { .. } => "FieldsIgnoredByNats",
            Self::SubjectsOverlap { .. } => "SubjectsOverlap",
            Self::ReplicasUnavailable { .. } => "ReplicasUnavailable",
            Self::ResourcesExceeded { .. } => "NatsResourcesExceeded",
            Self::Refused { .. } => "StreamRefused",
            Self::Temporary { .. } => "NatsTemporaryFailure",
        }
    }

    /// Whether the same request may succeed soon. Otherwise somebody has to change something first.
    pub fn retry(&self) -> bool {
        matches!(self, Self::Unreachable | Self::NoAnswer | Self::Temporary { .. })
    }

    fn from_answer(error: &ServerAnswer) -> Self {
        let answer = error.to_string();
        match error.error_code() {
            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                Self::NotEnabled
            }
            ErrorCode::STREAM_SUBJECT_OVERLAP => Self::SubjectsOverlap { answer },
            ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED | ErrorCode::CLUSTER_NO_PEERS => {
                Self::ReplicasUnavailable { answer }
            }
            ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED
            | ErrorCode::MAXIMUM_STREAMS_LIMIT
            | ErrorCode::STREAM_MAX_BYTES_REQUIRED
            | ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED
            | ErrorCode::NO_LIMITS => Self::ResourcesExceeded { answer },
            ErrorCode::CLUSTER_NOT_AVAILABLE
            | ErrorCode::CLUSTER_NOT_LEADER
            | ErrorCode::CLUSTER_INCOMPLETE
            | ErrorCode::STREAM_NOT_FOUND
            | ErrorCode::STREAM_NAME_EXIST
            | ErrorCode::STREAM_OFFLINE => Self::Temporary { answer },
            // 5xx: the server failed, 4xx: it refused.
            _ if error.code() >= 500 => Self::Temporary { answer },
            _ => Self::Refused { answer },
        }
    }
}

impl From<CreateStreamError> for StreamError {
    fn from(error: CreateStreamError) -> Self {
        match error.kind() {
            CreateStreamErrorKind::JetStream(answer) => Self::from_answer(&answer),
            CreateStreamErrorKind::JetStreamUnavailable => Self::NotEnabled,
            CreateStreamErrorKind::TimedOut => Self::NoAnswer,
            CreateStreamErrorKind::InvalidStreamName | CreateStreamErrorKind::EmptyStreamName => {
                Self::Refused { answer: error.to_string() }
            }
            _ => Self::Temporary { answer: error.to_string() },
        }
    }
}

/// From a request for info or deletion. `None`: there is no such stream.
pub(crate) fn found(error: &GetStreamError) -> Option<StreamError> {
    match error.kind() {
        GetStreamErrorKind::JetStream(answer)
            if answer.error_code() == ErrorCode::STREAM_NOT_FOUND =>
        {
            None
        }
        GetStreamErrorKind::JetStream(answer) => Some(StreamError::from_answer(&answer)),
        GetStreamErrorKind::EmptyName | GetStreamErrorKind::InvalidStreamName => {
            Some(StreamError::Refused { answer: error.to_string() })
        }
        GetStreamErrorKind::Request => {
            let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
            Some(match source.map(JetStreamRequestError::kind) {
                Some(RequestErrorKind::NoResponders) => StreamError::NotEnabled,
                Some(RequestErrorKind::TimedOut) => StreamError::NoAnswer,
                _ => StreamError::Temporary { answer: error.to_string() },
            })
        }
    }
}
