//! What can go wrong with a stream, each with a static reason and the answer to "does a retry help".

use async_nats::jetstream::context::{RequestError, RequestErrorKind};
use async_nats::jetstream::{Error as ServerAnswer, ErrorCode};

use crate::Change;

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
        "JetStream did not answer in time; if this lasts, allow the account to use STREAM.* of its API ($JS.API, or what \
         nats.domain or nats.apiPrefix say) and to receive on its inboxes (_INBOX.>, or what nats.inboxPrefix says), and \
         check that a majority of the NATS servers with the stream is up"
    )]
    NoAnswer,
    /// The server or the account has no JetStream.
    #[error(
        "JetStream is not enabled for this account: start nats-server with JetStream and enable it for the account, or \
         correct nats.domain or nats.apiPrefix"
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
        "nats-server ignored {}: use a server that supports them, or leave them at their defaults",
        names(.changes)
    )]
    Ignored {
        /// Fields that are not as asked for.
        changes: Vec<Change>,
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
    #[error("NATS refused the stream ({answer}): change spec.stream or the stream accordingly")]
    Refused {
        /// What the server said.
        answer: String,
    },
    /// Somebody else claimed the stream between our claim and the proof that it stands.
    #[error(
        "the stream was claimed by {owner} at the same moment: nothing else was changed in it; it is looked at again"
    )]
    ClaimedByOther {
        /// What the mark says.
        owner: String,
    },
    /// Something that may pass: a cluster without leader, a request that failed.
    #[error("NATS could not do it now: {answer}")]
    Temporary {
        /// What the server said.
        answer: String,
    },
}

fn names(changes: &[Change]) -> String {
    changes.iter().map(|change| change.field).collect::<Vec<_>>().join(", ")
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
            Self::ClaimedByOther { .. } => "StreamClaimedByOther",
            Self::Temporary { .. } => "NatsTemporaryFailure",
        }
    }

    /// Whether the same request may succeed soon. Otherwise somebody has to change something first.
    pub fn retry(&self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::NoAnswer
                | Self::ClaimedByOther { .. }
                | Self::Temporary { .. }
        )
    }

    pub(crate) fn from_answer(error: &ServerAnswer) -> Self {
        let answer = error.to_string();
        match class(error.code(), error.error_code()) {
            Class::NotEnabled => Self::NotEnabled,
            Class::Overlap => Self::SubjectsOverlap { answer },
            Class::Replicas => Self::ReplicasUnavailable { answer },
            Class::Resources => Self::ResourcesExceeded { answer },
            Class::Refused => Self::Refused { answer },
            Class::Temporary => Self::Temporary { answer },
        }
    }
}

/// What a refusal of the server is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    NotEnabled,
    Overlap,
    Replicas,
    Resources,
    Refused,
    Temporary,
}

/// By nats-server's own error numbers (server/errors.json): the status of HTTP next to them says 500 of settings that are
/// wrong for ever, and 400 of what passes by itself.
const CLASSES: [(u64, Class); 37] = [
    (10_076, Class::NotEnabled), // JetStream not enabled
    (10_039, Class::NotEnabled), // not enabled for account
    (10_035, Class::NotEnabled), // account not found
    (10_065, Class::Overlap),    // subjects overlap with an existing stream
    (10_074, Class::Replicas),   // replicas > 1 without a cluster
    (10_005, Class::Replicas),   // no suitable peers for placement
    (10_010, Class::Replicas),   // clustering support required
    (10_006, Class::Replicas),   // not in clustered mode
    (10_002, Class::Resources),  // resource limits exceeded for account
    (10_023, Class::Resources),  // insufficient resources
    (10_027, Class::Resources),  // maximum number of streams
    (10_028, Class::Resources),  // insufficient memory
    (10_047, Class::Resources),  // insufficient storage
    (10_053, Class::Resources),  // limits of streams
    (10_113, Class::Resources),  // account requires max bytes
    (10_120, Class::Resources),  // no limit for this tier
    (10_122, Class::Resources),  // max bytes above the account's
    (10_036, Class::Refused),    // not supported in clustered mode
    (10_052, Class::Refused),    // invalid configuration
    (10_069, Class::Refused),    // update: consumers that the new settings exclude
    (10_096, Class::Refused),    // stream not valid
    (10_194, Class::Refused),    // offline, since it needs a newer server
    (10_004, Class::Temporary),  // incomplete results
    (10_007, Class::Temporary),  // not assigned to this server
    (10_008, Class::Temporary),  // temporarily unavailable
    (10_009, Class::Temporary),  // not the leader
    (10_041, Class::Temporary),  // RAFT
    (10_048, Class::Temporary),  // assignment
    (10_049, Class::Temporary),  // creation: the disk
    (10_050, Class::Temporary),  // deletion: the disk
    (10_058, Class::Temporary),  // name in use: made since it was looked for
    (10_059, Class::Temporary),  // not found: deleted since it was found
    (10_118, Class::Temporary),  // offline
    (10_124, Class::Temporary),  // move in progress
    (10_167, Class::Temporary),  // too many requests
    (10_202, Class::Temporary),  // member change in progress
    (10_226, Class::Temporary),  // reconfiguration in progress
];

fn class(status: usize, code: ErrorCode) -> Class {
    let known = CLASSES.iter().find(|(number, _)| *number == code.0);
    match known {
        Some((_, class)) => *class,
        // Of newer servers: 5xx says that the server failed, 4xx that it refused.
        None if status >= 500 => Class::Temporary,
        None => Class::Refused,
    }
}

impl From<RequestError> for StreamError {
    fn from(error: RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::NoResponders => Self::NotEnabled,
            RequestErrorKind::TimedOut => Self::NoAnswer,
            RequestErrorKind::InvalidSubject => Self::Refused { answer: error.to_string() },
            RequestErrorKind::Other => Self::Temporary { answer: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u32, number: u32) -> StreamError {
        let text = format!("{{\"code\":{status},\"err_code\":{number},\"description\":\"why\"}}");
        StreamError::from_answer(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_refusal_that_never_passes_is_not_called_temporary_whatever_its_status() {
        for (status, number, reason) in [
            (500, 10_052, "StreamRefused"),
            (503, 10_036, "StreamRefused"),
            (500, 10_069, "StreamRefused"),
            (500, 10_194, "StreamRefused"),
            (400, 10_109, "StreamRefused"),
            (500, 10_074, "ReplicasUnavailable"),
            (500, 10_047, "NatsResourcesExceeded"),
            (503, 10_035, "JetStreamNotEnabled"),
        ] {
            let error = error(status, number);
            assert_eq!((error.reason(), error.retry()), (reason, false), "{number}");
        }
    }

    #[test]
    fn what_may_pass_by_itself_is_tried_again_whatever_its_status() {
        for (status, number) in
            [(503, 10_008), (400, 10_058), (404, 10_059), (400, 10_124), (429, 10_167)]
        {
            let error = error(status, number);
            assert_eq!((error.reason(), error.retry()), ("NatsTemporaryFailure", true), "{number}");
        }
    }

    #[test]
    fn numbers_of_newer_servers_are_judged_by_their_status() {
        assert!(error(500, 19_999).retry());
        assert!(!error(400, 19_999).retry());
    }

    #[test]
    fn no_number_is_classified_twice() {
        let numbers: std::collections::BTreeSet<u64> =
            CLASSES.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers.len(), CLASSES.len());
    }
}
