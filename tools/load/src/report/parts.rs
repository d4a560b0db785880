//! What a report consists of, besides figures.

use serde::Serialize;

use crate::run::Usage;
use crate::snapshot::Skew;

/// What was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// Version of the program.
    pub version: String,
    /// When it began (RFC 3339).
    pub started: String,
    /// Name of the profile.
    pub profile: String,
    /// Name of the protocol.
    pub protocol: String,
    /// Targets, without their queries.
    pub targets: Vec<String>,
    /// Clients.
    pub clients: u32,
    /// Channels of the run.
    pub channels: u32,
    /// Channels of each client.
    pub channels_per_client: u32,
    /// Until all are due to be connected (s).
    pub ramp_seconds: f64,
    /// After that (s).
    pub hold_seconds: f64,
    /// Messages a second of the own publisher.
    pub rate: Option<f64>,
    /// Size of its messages.
    pub payload_bytes: Option<usize>,
    /// Processes that hold connections.
    pub processes: u32,
    /// Whether certificates of targets were not checked.
    pub insecure: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// After its time.
    #[default]
    Time,
    /// By Ctrl-C.
    Interrupted,
    /// All workers failed.
    Failed,
}

/// The own publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// Messages that were due.
    pub due: u64,
    /// Messages that the stream has confirmed.
    pub stored: u64,
    /// Messages that it has not confirmed: the sum of the three below. None of them counts as lost.
    pub failed: u64,
    /// The stream has answered that it does not take them.
    pub refused: u64,
    /// No answer came in time. They may be stored.
    pub unconfirmed: u64,
    /// There was no connection to NATS. They may be stored.
    pub disconnected: u64,
    /// Failed messages whose numbers are not kept, since there are too many: they count as lost where they did not arrive.
    pub unkept: u64,
}

/// What the generator itself used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Generator {
    /// Of all cores (%).
    pub cpu_percent: Option<f64>,
    /// The longest that a worker was held up.
    pub lag_ms: f64,
    /// What this machine's clock was set by during the run.
    pub clock_jump_ms: f64,
}

/// What a target said of itself at most, and its clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its address.
    pub address: String,
    /// At most.
    #[serde(flatten)]
    pub usage: Usage,
    /// Its clock against ours, if the protocol tells.
    pub clock: Option<Skew>,
}
