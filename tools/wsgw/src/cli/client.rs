//! The flags of what talks to a gateway as its clients do.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::NatsAccess;
use super::cluster::timeout;

/// Which gateway, and who we are to it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Connect {
    /// Address of a gateway, such as wss://push.example.com/ws, or http://127.0.0.1:8080
    pub(crate) url: String,
    /// Token to show; better in the variable WSGW_TOKEN, or in --token-file: everybody can see command lines
    #[arg(long, value_name = "TOKEN", env = "WSGW_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// File with the token, read again for each connection; it comes before --token
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Authorities (PEM) that the gateway's certificate must come from, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

const SUB_EXAMPLES: &str = "\
Examples:
  wsgw sub http://127.0.0.1:8080 BTC.price '*.trade'
  wsgw sub wss://push.example.com/ws '>' --token-file ann.token --json | jq .data
  wsgw sub http://127.0.0.1:8080 '*.price' --snapshot --count 5
  wsgw sub http://127.0.0.1:8080 '>' --cursor t3x9:18735         goes on where an earlier one ended

Each message is a line on standard output: its channel, a tab, and its data. Everything else is on standard error: gaps,
reconnects, and in the end the cursor to go on from. A lost connection is made again and resumed; after that a message may come
twice, and a gap is reported. Ends with code 0 after --count, --timeout or Ctrl-C, 1 for an error, 3 when --timeout is
over before --count, 4 when the gateway refuses the token or every channel.";

/// `wsgw sub`.
#[derive(Debug, Args)]
#[command(after_help = SUB_EXAMPLES)]
pub(crate) struct SubArgs {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// Channels and patterns
    #[arg(value_name = "CHANNEL", required = true)]
    pub(crate) channels: Vec<String>,
    /// Go on after this point of the stream, EPOCH:OFFSET as an earlier one has printed it
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// The last value of each channel first
    #[arg(long)]
    pub(crate) snapshot: bool,
    /// Print every frame of the gateway as it comes
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
    /// Print messages and gaps as the gateway's JSON, one a line
    #[arg(long)]
    pub(crate) json: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after so long
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub(crate) timeout: Option<Duration>,
}

const PUB_EXAMPLES: &str = "\
Examples:
  wsgw pub --nats nats://127.0.0.1:4222 odin.token.BTC.price '{\"price\":1}'
  wsgw pub --nats nats://127.0.0.1:4222 --manifest odin.yaml BTC.price @price.json
                                              a channel of a WsGateway instead of a subject
  date | wsgw pub --nats nats://127.0.0.1:4222 odin.token.BTC.note -
  wsgw pub --nats nats://127.0.0.1:4222 odin.token.BTC.price 1 --count 100 --rate 10

Each message is confirmed by the stream; its name and the sequence are printed.";

/// `wsgw pub`.
#[derive(Debug, Args)]
#[command(after_help = PUB_EXAMPLES)]
pub(crate) struct PubArgs {
    /// A subject; with --manifest a channel
    pub(crate) subject: String,
    /// The message; - reads standard input, @FILE a file
    #[arg(default_value = "-")]
    pub(crate) data: String,
    /// NATS server [default: those of --manifest]
    #[arg(long, value_name = "URL", required_unless_present = "manifest")]
    pub(crate) nats: Option<String>,
    #[command(flatten)]
    pub(crate) access: NatsAccess,
    /// Manifest with one WsGateway, whose channel is published to
    #[arg(long, value_name = "MANIFEST")]
    pub(crate) manifest: Option<String>,
    /// Publish it so many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) count: u64,
    /// Messages a second, 0.1 to 100000 [default: as fast as the stream confirms]
    #[arg(long, value_name = "N", value_parser = super::parse_rate)]
    pub(crate) rate: Option<f64>,
    /// Name of the message (Nats-Msg-Id), by which the stream drops repetitions; of several, -N is added
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Print JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  wsgw doctor https://push.example.com/ws
  wsgw doctor wss://push.example.com/ws --token-file ann.token --channel BTC.price
  wsgw doctor https://push.example.com/ws --idle 90s        waits that long: does a proxy close idle connections?
  wsgw doctor https://push.example.com/ws --json | jq '.checks[] | select(.verdict==\"fail\")'

Ends with code 0 when nothing failed, warnings included, else 1.";

/// `wsgw doctor`.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// A channel to subscribe to: is it allowed?
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) channel: Option<String>,
    /// Leave a connection idle for so long, and see who closes it
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub(crate) idle: Option<Duration>,
    /// How long each step may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = timeout)]
    pub(crate) timeout: Duration,
    /// Print JSON for programs
    #[arg(long)]
    pub(crate) json: bool,
}
