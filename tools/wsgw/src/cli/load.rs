//! The flags of `load`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use wsgateway_load::plan::Profile;
use wsgateway_load::threshold::Threshold;

use super::NatsAccess;
use super::cluster::{Color, timeout};

/// Clients of one run: more than any machine has ports for.
const MOST_CLIENTS: i64 = 1_000_000;
/// Targets of one run: each has threads of its own.
pub(crate) const MOST_TARGETS: usize = 64;

const LOAD_EXAMPLES: &str = "\
Examples:
  wsgw load ws://127.0.0.1:8080/ws            100 clients of what is there, for 12 s
  wsgw load ws://127.0.0.1:8080/ws --profile medium --publish nats://127.0.0.1:4222 \\
       --subject 'odin.token.{channel}'       5,000 clients, and messages of our own: what is lost is counted exactly
  wsgw load ws://a:8080/ws ws://b:8080/ws -c 20000 --ramp 60s --duration 5m --admin a:9090 --admin b:9090 \\
       --html load.html                       two pods, with plots of their CPU and memory
  wsgw load ws://127.0.0.1:8080/ws --fail-if 'p99>50ms' --fail-if 'lost>0' --json load.json
                                              for CI: code 1 when one of them holds
  wsgw load ws://127.0.0.1:9000/ --protocol raw --raw-subscribe '{\"op\":\"sub\",\"topic\":\"{channel}\"}' \\
       --channel BTC --raw-sequence seq --raw-time data.t --raw-unit ms
                                              another WebSocket server

Latency is counted from the moment at which a message was due (--publish), was stored (v1, odin), or says it was sent
(raw): a server or a publisher that stalls shows with the whole delay of each message. Ctrl-C ends with the report.
Stay within what you may do to the target: this is load.";

#[derive(Debug, Args)]
#[command(after_help = LOAD_EXAMPLES)]
pub(crate) struct Load {
    /// Addresses such as ws://127.0.0.1:8080/ws or wss://push.example.com/ws; several share the clients
    #[arg(value_name = "TARGET", required = true, num_args = 1..=MOST_TARGETS)]
    pub(crate) targets: Vec<String>,
    /// Size of the run; the other flags change it
    #[arg(long, value_name = "PROFILE", value_enum, default_value_t = ProfileName::Quick)]
    pub(crate) profile: ProfileName,
    /// Clients [default: of the profile]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_CLIENTS))]
    pub(crate) connections: Option<u32>,
    /// Over how long they connect; 0s: all at once [default: of the profile]
    #[arg(long, value_name = "DURATION", value_parser = ramp)]
    pub(crate) ramp: Option<Duration>,
    /// How long they stay after that [default: of the profile]
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub(crate) duration: Option<Duration>,
    /// What clients speak
    #[arg(long, value_name = "PROTOCOL", value_enum, default_value_t)]
    pub(crate) protocol: Protocol,
    /// Clients that lose their connection stay away
    #[arg(long)]
    pub(crate) no_reconnect: bool,
    /// Clients that come back begin anew, instead of where they were
    #[arg(long, conflicts_with = "no_reconnect")]
    pub(crate) no_resume: bool,
    #[command(flatten)]
    pub(crate) clients: ClientArgs,
    #[command(flatten)]
    pub(crate) publishing: Publishing,
    #[command(flatten)]
    pub(crate) raw: RawArgs,
    #[command(flatten)]
    pub(crate) result: ResultArgs,
}

/// What clients listen to, and where from; of `simulate` too.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// Channel that clients subscribe to; {} counts; may be repeated [default: >, and load.{} with --publish]
    #[arg(long = "channel", value_name = "CHANNEL")]
    pub(crate) channel: Vec<String>,
    /// Up to where {} of --channel counts
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) channels: u32,
    /// How many of the channels each client subscribes to
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) per_client: u32,
    /// File with tokens, one a line, which clients use in turn
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Authorities (PEM) that certificates of wss:// targets must come from, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Do not check certificates of wss:// targets: for tests of your own, since anybody may answer and read tokens
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure: bool,
    /// How long connecting and subscribing may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = timeout)]
    pub(crate) timeout: Duration,
    /// Addresses 127.0.0.1, 127.0.0.2, ... to connect from, for targets on this machine [default: as many as ports need]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=250))]
    pub(crate) source_addresses: Option<u8>,
    /// Processes that hold the connections [default: as many as open files need]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) processes: Option<u32>,
}

/// A publisher of our own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Publisher")]
pub(crate) struct Publishing {
    /// Publish to this NATS server, whose stream the target reads [default: publish nothing]
    #[arg(id = "nats", long = "publish", value_name = "URL")]
    pub(crate) publish: Option<String>,
    /// Messages a second [default: of the profile]
    #[arg(long, value_name = "N", requires = "nats", value_parser = super::parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Size of a message in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) payload: u32,
    /// Subject of a channel
    #[arg(long, value_name = "SUBJECT", default_value = "{channel}", requires = "nats")]
    pub(crate) subject: String,
    #[command(flatten)]
    pub(crate) access: NatsAccess,
}

/// Other WebSocket servers.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Other WebSocket servers (--protocol raw)")]
pub(crate) struct RawArgs {
    /// What a client says for each of its channels; {channel} and {client} are filled in [default: nothing]
    #[arg(long, value_name = "TEXT")]
    pub(crate) raw_subscribe: Option<String>,
    /// Sec-WebSocket-Protocol [default: none]
    #[arg(long, value_name = "NAME")]
    pub(crate) raw_subprotocol: Option<String>,
    /// Where a message has its number, which rises by one, such as data.seq
    #[arg(long, value_name = "PATH")]
    pub(crate) raw_sequence: Option<String>,
    /// Where a message has the channel that the number belongs to [default: one number for all of a client]
    #[arg(long, value_name = "PATH", requires = "raw_sequence")]
    pub(crate) raw_channel: Option<String>,
    /// Where a message has its time since 1970
    #[arg(long, value_name = "PATH")]
    pub(crate) raw_time: Option<String>,
    /// Unit of that time
    #[arg(long, value_name = "UNIT", value_enum, default_value_t)]
    pub(crate) raw_unit: Unit,
}

/// What comes out.
#[derive(Debug, Args)]
#[command(next_help_heading = "Report")]
pub(crate) struct ResultArgs {
    /// Write the report as JSON; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as Markdown; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write the report as one HTML file with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// When the run has failed, such as 'p99>50ms', 'lost>0' or 'connected<1000'; may be repeated. Of: min p50 p90 p99 p99.9
    /// max lost failed twice order errors connected reconnects rate cpu memory
    #[arg(long = "fail-if", value_name = "THRESHOLD", value_parser = threshold)]
    pub(crate) fail_if: Vec<Threshold>,
    /// Admin port of a target, as HOST:PORT, in the order of the targets: its CPU and memory
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Vec<String>,
    /// Lines instead of a screen, also on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// Colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: Color,
}

/// A size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileName {
    /// 100 clients, 12 s
    Quick,
    /// 1,000 clients, 70 s
    Light,
    /// 5,000 clients, 150 s
    Medium,
    /// 20,000 clients, 6 min
    Heavy,
    /// 50,000 clients within 30 s, 5 min more
    Stress,
    /// 10,000 clients in 10 steps over 5 min
    Progressive,
    /// --connections, 5 s of ramp and 30 s more
    Custom,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Quick => Self::Quick,
            ProfileName::Light => Self::Light,
            ProfileName::Medium => Self::Medium,
            ProfileName::Heavy => Self::Heavy,
            ProfileName::Stress => Self::Stress,
            ProfileName::Progressive => Self::Progressive,
            ProfileName::Custom => Self::Custom,
        }
    }
}

/// A protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// wsgateway.v1
    #[default]
    V1,
    /// wsgateway.v1 as an event stream, GET /sse
    Sse,
    /// wsgateway.v1 by long-polls, GET /poll
    Poll,
    /// odin.v1
    Odin,
    /// symbols.v1
    Symbols,
    /// Any other WebSocket server
    Raw,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unit {
    /// Seconds
    S,
    /// Milliseconds
    #[default]
    Ms,
    /// Microseconds
    Us,
    /// Nanoseconds
    Ns,
}

fn threshold(text: &str) -> Result<Threshold, String> {
    Threshold::parse(text).map_err(|error| error.to_string())
}

/// A duration that may be none.
pub(super) fn ramp(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s" | "0ms") { Ok(Duration::ZERO) } else { timeout(text) }
}
