//! What can go wrong in a benchmark: a run of a server ends there, and says what to do where that is known.

use std::io;
use std::path::PathBuf;

/// Why a benchmark ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{what}: {source}")]
    Io { what: &'static str, source: io::Error },
    #[error("{} is missing: run cargo build --release -p gateway, or name it with --gateway", .0.display())]
    NoGateway(PathBuf),
    #[error("wsgw {0}")]
    Tool(String),
    #[error("{} is missing: run cargo build --release -p wsgw", .0.display())]
    NoWsgw(PathBuf),
    #[error("{} has no place for the table", .0.display())]
    NoPlace(PathBuf),
    #[error("no nats-server: {0}")]
    NoNats(String),
    #[error("{what} did not come up: {log}")]
    Start { what: String, log: String },
    #[error("the clients failed: {0}")]
    Clients(String),
    #[error(transparent)]
    Swarm(#[from] wsgateway_client::SwarmError),
    #[error("deliveries went wrong, so the figures mean nothing: {0}")]
    Faulty(String),
    #[error("NATS: {0}")]
    Nats(String),
    #[error(transparent)]
    Config(#[from] wsgateway_config::ConfigError),
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the floor was refused room in a socket")]
    FloorBlocked,
    #[error("{0} cannot be measured: {1}")]
    Essential(&'static str, String),
}

/// Names the step in which the system failed.
pub(crate) fn io(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { what, source }
}

/// What NATS, or its client, said.
pub(crate) fn nats_error(error: &dyn std::error::Error) -> Error {
    Error::Nats(error.to_string())
}
