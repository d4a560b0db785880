//! The flags. Help texts are documentation: each subcommand shows how it is used.

mod client;
mod cluster;
mod load;
mod market;
mod simulate;
mod size;
mod token;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use client::{Connect, DoctorArgs, PubArgs, SubArgs};
pub(crate) use load::{Load, ProfileName, Protocol, Publishing, RawArgs, Unit};
pub(crate) use market::MarketArgs;
pub(crate) use simulate::{Simulate, Spoken};

pub(crate) use cluster::{
    Color, ConnectionsArgs, DisconnectArgs, DrainArgs, EventsArgs, Format, From, Reach, Select,
    Show, Sort, StatusArgs, StreamArgs, TopArgs,
};
pub(crate) use size::SizeArgs;
pub(crate) use token::{
    JwksArgs, KeyArgs, NewArgs, NewKey, SecretArgs, TokenArgs, TokenCommand, VerifyArgs,
};

/// Look after WsGateways on a cluster, and run, check and translate their manifests on this machine.
#[derive(Debug, Parser)]
#[command(name = "wsgw", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a gateway with a simulated market, and print the URL of its page
    Dev(Box<Dev>),
    /// Print the configuration file that the operator would mount into the gateway's pods
    Render(Render),
    /// Check manifests and list every error with its field path
    Check(Check),
    /// Show what a manifest would change in its stream and its pods; nothing is changed
    Plan(Box<Plan>),
    /// Calculate pods, CPU, memory, network, NATS load and cost of a load, and the manifest that follows
    Size(Box<SizeArgs>),
    /// Show WsGateways of a cluster: what they serve, what is under way, what is wrong and what to do
    Status(Box<StatusArgs>),
    /// Show what each pod does, again and again: clients, rates, lag, slow clients, CPU, memory
    Top(Box<TopArgs>),
    /// Show how clients are spread over the pods
    Connections(Box<ConnectionsArgs>),
    /// Show the JetStream streams of WsGateways: limits, contents, owner, and how far each pod has read
    Stream(Box<StreamArgs>),
    /// Show events of WsGateways and of what belongs to them, the newest last
    Events(Box<EventsArgs>),
    /// Move the clients of one gateway pod to others, and have it replaced
    Drain(Box<DrainArgs>),
    /// End the connections of a user or of a token on every pod, and keep them out for a while
    Disconnect(Box<DisconnectArgs>),
    /// Subscribe to channels of a gateway, and print what comes
    Sub(Box<SubArgs>),
    /// Publish a message to a subject or channel, and wait for the stream's confirmation
    Pub(Box<PubArgs>),
    /// Publish a simulated market to NATS or Redis, and take commands over HTTP
    Market(Box<MarketArgs>),
    /// Find out what is wrong between here and a gateway, and what to do
    Doctor(Box<DoctorArgs>),
    /// Make keys and tokens, and say what is wrong with a token
    Token(TokenArgs),
    /// Load a gateway or another WebSocket server, and measure latency, loss and errors
    Load(Box<Load>),
    /// Load a gateway with the traders of a simulated market, who come, leave and come back
    Simulate(Box<Simulate>),
    /// Print the completion script of a shell
    Completion(CompletionArgs),
    /// Candidates for a shell
    #[command(name = "__complete", hide = true)]
    Complete {
        /// Words after the name of the program, the last of which is to be completed
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Holds connections of `load` in a process of its own
    #[command(name = "__load-worker", hide = true)]
    LoadWorker,
    /// The page docs/wsgw.md
    #[command(name = "__reference", hide = true)]
    Reference,
}

const COMPLETION_EXAMPLES: &str = "\
Examples:
  source <(wsgw completion bash)       for this shell alone
  wsgw completion kubectl >~/.local/bin/kubectl_complete-wsgw && chmod +x ~/.local/bin/kubectl_complete-wsgw
                                       kubectl wsgw, by kubectl's own completion; with names of WsGateways and pods";

#[derive(Debug, Args)]
#[command(after_help = COMPLETION_EXAMPLES)]
pub(crate) struct CompletionArgs {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: Shell,
}

/// Something that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
    /// kubectl, in whichever shell: a script that belongs on PATH as kubectl_complete-wsgw
    Kubectl,
}

const DEV_EXAMPLES: &str = "\
Examples:
  wsgw dev                                    the demo, with prices ticking
  wsgw dev -f my-gateway.yaml --port 9000     your manifest, another port
  wsgw dev --nats nats://127.0.0.1:4222       on a NATS server that runs already
  wsgw dev --nats tls://connect.example.com --creds my.creds
                                              on a managed one
  wsgw dev -f redis.yaml --redis redis://127.0.0.1:6379
                                              a manifest with spec.redis, on a Redis server of yours
  wsgw dev -f redis.yaml --redis rediss://redis.example.com:6380 --redis-password-file password
                                              on one that asks for a password
  wsgw dev --no-market                        publish yourself, to the server that is printed:
                                              nats -s URL pub odin.token.BTC.price '{\"price\":1}'

Without --nats, nats-server 2.10 or newer is started with a temporary store and ended again. It is looked for
in $NATS_SERVER, on PATH, and in the tools cache (make tools). Without one, messages stay in this process.";

#[derive(Debug, Args)]
#[command(after_help = DEV_EXAMPLES)]
pub(crate) struct Dev {
    /// Manifest with one WsGateway; - reads standard input [default: the built-in demo]
    #[arg(short, long, value_name = "MANIFEST")]
    pub(crate) file: Option<String>,
    /// Use this NATS server; its stream is created or updated, and stays
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    #[command(flatten)]
    pub(crate) access: NatsAccess,
    /// Read this Redis server instead of those of the manifest, which has spec.redis; nothing is published to it
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) redis_access: RedisAccess,
    /// Folder with the keys of tokens that spec.auth names, each at SECRET/KEY below it; a changed file is read again
    #[arg(long, value_name = "FOLDER", requires = "file")]
    pub(crate) secrets: Option<PathBuf>,
    /// Port of page and WebSocket; 0 picks a free one [default: 8080, or the next free one]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Port of metrics and probes; 0 picks a free one [default: 9090, or the next free one]
    #[arg(long, value_name = "PORT")]
    pub(crate) admin_port: Option<u16>,
    /// Address to listen on; 0.0.0.0 lets other machines connect, such as a phone
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST.into())]
    pub(crate) host: IpAddr,
    /// Publish nothing
    #[arg(long, conflicts_with = "rate")]
    pub(crate) no_market: bool,
    /// Messages a second that the simulated market publishes, 0.1 to 100000 [default: 17]
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub(crate) rate: Option<f64>,
}

/// Who we are to the NATS server that is given. Files alone: what stands on a command line stands in the list of processes too.
#[derive(Debug, Default, Args)]
pub(crate) struct NatsAccess {
    /// Credentials for the NATS server: user JWT and seed
    #[arg(long, value_name = "FILE", requires = "nats", conflicts_with = "nats_user")]
    pub(crate) creds: Option<PathBuf>,
    /// File with the seed of an nkey for the NATS server
    #[arg(long, value_name = "FILE", requires = "nats", conflicts_with_all = ["creds", "nats_user", "nats_token_file"])]
    pub(crate) nats_nkey_file: Option<PathBuf>,
    /// File with the token of the NATS server
    #[arg(long, value_name = "FILE", requires = "nats", conflicts_with_all = ["creds", "nats_user"])]
    pub(crate) nats_token_file: Option<PathBuf>,
    /// User of the NATS server
    #[arg(long, value_name = "USER", requires_all = ["nats", "nats_password_file"])]
    pub(crate) nats_user: Option<String>,
    /// File with that user's password
    #[arg(long, value_name = "FILE", requires = "nats_user")]
    pub(crate) nats_password_file: Option<PathBuf>,
    /// Authorities (PEM) that the certificate of the NATS server must come from, instead of the system's
    #[arg(long, value_name = "FILE", requires = "nats")]
    pub(crate) nats_ca: Option<PathBuf>,
    /// Our certificate (PEM), if the NATS server asks for one
    #[arg(long, value_name = "FILE", requires_all = ["nats", "nats_key"])]
    pub(crate) nats_cert: Option<PathBuf>,
    /// The key of our certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "nats_cert")]
    pub(crate) nats_key: Option<PathBuf>,
    /// Begin TLS before the first line of the NATS server, as servers with handshake_first ask
    #[arg(long, requires = "nats")]
    pub(crate) nats_handshake_first: bool,
    /// What the subjects of JetStream's API begin with, such as $JS.hub.API for the domain hub [default: $JS.API]
    #[arg(long, value_name = "PREFIX", requires = "nats")]
    pub(crate) nats_api_prefix: Option<String>,
    /// What the subjects of answers begin with [default: _INBOX]
    #[arg(long, value_name = "PREFIX", requires = "nats")]
    pub(crate) nats_inbox_prefix: Option<String>,
}

/// Who we are to the Redis server that is given, in files as for NATS.
#[derive(Debug, Default, Args)]
pub(crate) struct RedisAccess {
    /// User of the Redis server [default: the user default]
    #[arg(long, value_name = "USER", requires_all = ["redis", "redis_password_file"])]
    pub(crate) redis_user: Option<String>,
    /// File with that user's password
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(crate) redis_password_file: Option<PathBuf>,
    /// Authorities (PEM) that the certificate of the Redis server must come from, instead of the system's
    #[arg(long, value_name = "FILE", requires = "redis")]
    pub(crate) redis_ca: Option<PathBuf>,
}

const RENDER_EXAMPLES: &str = "\
Examples:
  wsgw render -f manifests/samples/odin.yaml > gateway.yaml && gateway --config gateway.yaml
  kubectl get wsgw odin -o yaml | wsgw render -f -";

#[derive(Debug, Args)]
#[command(after_help = RENDER_EXAMPLES)]
pub(crate) struct Render {
    /// Manifest with one WsGateway; - reads standard input
    #[arg(short, long, value_name = "MANIFEST")]
    pub(crate) file: String,
}

const CHECK_EXAMPLES: &str = "\
Examples:
  wsgw check -f my-gateway.yaml       ends with code 0 when the manifest is fine, else 1
  wsgw check -f deploy/*.yaml         several files, each with one WsGateway or more among other objects
  kustomize build . | wsgw check -f -";

#[derive(Debug, Args)]
#[command(after_help = CHECK_EXAMPLES)]
pub(crate) struct Check {
    /// Manifests with WsGateways; - reads standard input
    #[arg(short, long, value_name = "MANIFEST", required = true, num_args = 1..)]
    pub(crate) file: Vec<String>,
}

const PLAN_EXAMPLES: &str = "\
Examples:
  kubectl -n messaging port-forward service/nats 4222 &
  wsgw plan -f odin.yaml -n trading --nats nats://127.0.0.1:4222
                                              what would change in the stream
  kubectl get wsgw odin -o yaml >before.yaml
  wsgw plan -f odin.yaml --before before.yaml --nats nats://127.0.0.1:4222 --creds my.creds
                                              the same, and which pods would be replaced

Ends with code 1 when the stream would be refused; the message says what to set instead.";

#[derive(Debug, Args)]
#[command(after_help = PLAN_EXAMPLES)]
pub(crate) struct Plan {
    /// Manifest with one WsGateway; - reads standard input
    #[arg(short, long, value_name = "MANIFEST")]
    pub(crate) file: String,
    /// The WsGateway as it is in the cluster: what differs for its pods is shown, too
    #[arg(long, value_name = "MANIFEST")]
    pub(crate) before: Option<String>,
    /// Namespace of the WsGateway, if the manifest names none [default: default]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Identity of the cluster as its operator has it: the UID of the namespace kube-system, unless it is started with
    /// --cluster [default: the one in the stream's mark]
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// Ask this NATS server instead of those of the manifest
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    #[command(flatten)]
    pub(crate) access: NatsAccess,
}

pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("must be a number from 0.1 to 100000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn credentials_need_a_server_and_one_another() {
        for refused in [
            &["--creds", "c"][..],
            &["--nats", "nats://n", "--nats-user", "me"],
            &["--nats", "nats://n", "--nats-password-file", "p"],
            &["--nats", "nats://n", "--nats-cert", "c"],
            &[
                "--nats",
                "nats://n",
                "--creds",
                "c",
                "--nats-user",
                "u",
                "--nats-password-file",
                "p",
            ],
        ] {
            let arguments = ["wsgw", "dev"].iter().chain(refused);
            assert!(Cli::try_parse_from(arguments).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_rate_outside_of_what_the_market_can_do_is_refused() {
        for rate in ["0", "-1", "1e9", "NaN", "inf", "many"] {
            assert!(Cli::try_parse_from(["wsgw", "dev", "--rate", rate]).is_err(), "{rate}");
        }
        assert!(Cli::try_parse_from(["wsgw", "dev", "--rate", "0.5"]).is_ok());
    }
}
