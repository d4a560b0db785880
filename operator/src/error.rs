//! An error of a stage: where, why in one static word, and in words for people.

use std::fmt;

/// Stage of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Build,
    Apply,
    Status,
    Finalize,
}

impl Stage {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Apply => "apply",
            Self::Status => "status",
            Self::Finalize => "finalize",
        }
    }
}

/// Why a reconciliation ended early. It is tried again with backoff; what a retry cannot help is a condition instead.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) stage: Stage,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Error {
    pub(crate) fn new(stage: Stage, reason: &'static str, message: impl Into<String>) -> Self {
        Self { stage, reason, message: message.into() }
    }

    /// From a request to the API server; `what` names the object.
    pub(crate) fn kube(stage: Stage, what: &str, error: &kube::Error) -> Self {
        let reason = match error {
            kube::Error::Api(status) if status.is_forbidden() => "Forbidden",
            kube::Error::Api(status) if status.is_conflict() => "Conflict",
            kube::Error::Api(status) if status.code == 429 => "ApiServerBusy",
            kube::Error::Api(status) if (400..500).contains(&status.code) => "RefusedByApiServer",
            kube::Error::Api(_) => "ApiServerFailed",
            _ => "ApiServerUnreachable",
        };
        let message = match error {
            kube::Error::Api(status) => format!("{what}: {}", status.message),
            other => format!("{what}: {other}"),
        };
        Self { stage, reason, message }
    }
}

impl Error {
    /// Whether the next attempt may well succeed.
    pub(crate) fn is_temporary(&self) -> bool {
        ["Conflict", "ApiServerBusy", "ApiServerFailed", "ApiServerUnreachable"]
            .contains(&self.reason)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}: {}", self.reason, self.stage.as_str(), self.message)
    }
}

impl std::error::Error for Error {}
