//! The flags of what looks at WsGateways on a cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

/// Which cluster.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Reach {
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace [default: that of the context]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
}

/// Which WsGateways.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Select {
    /// Name of a WsGateway [default: all of the namespace]
    pub(crate) name: Option<String>,
    /// Those of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "name"])]
    pub(crate) all_namespaces: bool,
    /// Those whose labels match, such as team=web,tier!=test
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "name")]
    pub(crate) selector: Option<String>,
}

/// How it is shown.
#[derive(Clone, Copy, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Show {
    /// Format; the fields of json and yaml are stable
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(crate) output: Format,
    /// Colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: Color,
}

/// A format of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For people with wide screens
    Wide,
    /// For programs; with --watch one document a line
    Json,
    /// For programs
    Yaml,
}

/// When there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Also into a pipe
    Always,
    /// Nowhere
    Never,
}

const STATUS_EXAMPLES: &str = "\
Examples:
  kubectl wsgw status                  all WsGateways of the namespace
  kubectl wsgw status odin             one, with its pods, its stream and what clients were put to
  kubectl wsgw status -A --watch       all of the cluster, again with each change
  kubectl wsgw status odin -o json | jq .items[0].connections

Needs the right to list wsgateways, as ClusterRole view has it. Ends with code 0 whether or not they are ready.";

#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(flatten)]
    pub(crate) show: Show,
    /// Show it again with each change, until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
}

const EVENTS_EXAMPLES: &str = "\
Examples:
  kubectl wsgw events odin             of odin, its pods, Deployment, autoscaler and Services, the newest last
  kubectl wsgw events -A --warnings    what went wrong anywhere
  kubectl wsgw events odin --watch     go on with what happens

Needs the right to list events, as ClusterRole view has it. Kubernetes keeps events for an hour.";

#[derive(Debug, Args)]
#[command(after_help = EVENTS_EXAMPLES)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(flatten)]
    pub(crate) show: Show,
    /// Only warnings
    #[arg(long)]
    pub(crate) warnings: bool,
    /// Go on with what happens, until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
}

const STREAM_EXAMPLES: &str = "\
Examples:
  kubectl wsgw stream                  the streams of all WsGateways of the namespace
  kubectl wsgw stream odin             one: its limits, its contents, its owner, and how far each pod has read

Needs the right to list wsgateways, as ClusterRole view has it; NATS itself is not asked. wsgw plan asks it.";

#[derive(Debug, Args)]
#[command(after_help = STREAM_EXAMPLES)]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(flatten)]
    pub(crate) show: Show,
    /// Show it again with each change, until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// Where figures of pods come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    /// The first of the others that answers
    #[default]
    Auto,
    /// The operator, by custom.metrics.k8s.io: one request a column, as old as the operator's poll
    Metrics,
    /// Each pod's admin port, by pods/proxy: of this moment, one request a pod
    Pods,
    /// The status of the WsGateway: rounded, at most a minute old
    Status,
}

const TOP_EXAMPLES: &str = "\
Examples:
  kubectl wsgw top                     the pods of all WsGateways of the namespace, every two seconds until Ctrl-C
  kubectl wsgw top odin --sort lag     those that are behind the stream first
  kubectl wsgw top --once -o json      the figures, once

ClusterRole view is enough where the chart's roles are (rbac.aggregate): the figures are the operator's. With the right to
get pods/proxy, as in ClusterRole edit, --from pods asks the pods themselves. Whatever may not be read is a dash.";

#[derive(Debug, Args)]
#[command(after_help = TOP_EXAMPLES)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(flatten)]
    pub(crate) show: Show,
    /// Show the figures once, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// Between two refreshes, from 1s on
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// The largest first, or by name
    #[arg(long, value_name = "COLUMN", value_enum, default_value_t)]
    pub(crate) sort: Sort,
    /// Where the figures come from
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t)]
    pub(crate) from: From,
}

/// A column of `top`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// WsGateway and pod
    #[default]
    Name,
    /// Clients
    Connections,
    /// Messages that a pod has yet to read
    Lag,
    /// Clients that bytes wait for
    Slow,
    /// CPU use
    Cpu,
    /// Memory
    Memory,
}

const CONNECTIONS_EXAMPLES: &str = "\
Examples:
  kubectl wsgw connections             how many clients each pod holds, and how evenly they are spread
  kubectl wsgw connections odin --from pods
                                       of this moment, with subscriptions and what became of earlier ones

Needs what kubectl wsgw top needs.";

#[derive(Debug, Args)]
#[command(after_help = CONNECTIONS_EXAMPLES)]
pub(crate) struct ConnectionsArgs {
    #[command(flatten)]
    pub(crate) select: Select,
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(flatten)]
    pub(crate) show: Show,
    /// Where the figures come from
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t)]
    pub(crate) from: From,
}

const DRAIN_EXAMPLES: &str = "\
Examples:
  kubectl wsgw drain odin-gateway-5d4f9-x2x7k --dry-run
                                       whether it may go now, and who would move
  kubectl wsgw drain odin-gateway-5d4f9-x2x7k
                                       asks, then shows how its clients leave

The pod is evicted, as kubectl drain does with a node's pods: a PodDisruptionBudget that forbids it is waited for, the pod
asks its clients to reconnect at the pace of spec.rollout, and the Deployment starts another one. Clients that resume miss
nothing. Once the pod is evicted nothing calls it back. Needs the right to create pods/eviction, as ClusterRole edit has it.";

#[derive(Debug, Args)]
#[command(after_help = DRAIN_EXAMPLES)]
pub(crate) struct DrainArgs {
    /// Name of a gateway pod
    pub(crate) pod: String,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Ask the cluster whether the pod may be evicted now, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How long to wait for a PodDisruptionBudget, for the pod to stop and for another to serve
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = timeout)]
    pub(crate) timeout: Duration,
    /// Colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: Color,
}

const DISCONNECT_EXAMPLES: &str = "\
Examples:
  kubectl wsgw disconnect odin --user ann
                                       ends all connections of ann; with a good token she may come back at once
  kubectl wsgw disconnect odin --user ann --ban 10m
                                       and keeps her out for ten minutes, on every pod, also those that start later
  kubectl wsgw disconnect odin --token-id 7d1f --ban 24h
                                       the same of one token, by its claim jti, until it has expired by itself
  kubectl wsgw disconnect odin --user ann --lift
                                       takes back what stands for ann: she may come back at once
  kubectl wsgw disconnect --list       what stands, of all WsGateways of the namespace

The names are those that tokens have (spec.auth). They are written into an annotation of the WsGateway, where everybody can
read them who may read WsGateways, for as long as they stand. The times are the operator's. A ban lasts from 1s to 720h. Needs
the right to get and patch wsgateways, as ClusterRole edit has it; --list the right to list them.";

#[derive(Debug, Args)]
#[command(after_help = DISCONNECT_EXAMPLES)]
pub(crate) struct DisconnectArgs {
    /// Name of a WsGateway [default: the only one of the namespace]
    pub(crate) name: Option<String>,
    /// A user, as tokens name it
    #[arg(long, value_name = "USER", required_unless_present_any = ["token_id", "list"])]
    pub(crate) user: Option<String>,
    /// A token, by its claim jti
    #[arg(long, value_name = "ID", conflicts_with = "user")]
    pub(crate) token_id: Option<String>,
    /// Keep them out for so long
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    pub(crate) ban: Option<Duration>,
    /// Take back what stands for them
    #[arg(long, conflicts_with = "ban")]
    pub(crate) lift: bool,
    /// Show what stands
    #[arg(long, conflicts_with_all = ["user", "token_id", "ban", "lift"])]
    pub(crate) list: bool,
    /// How long to wait for the operator
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = timeout)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(flatten)]
    pub(crate) show: Show,
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    wsgateway_crds::duration(text).map(Duration::from).map_err(|error| error.to_string())
}

/// A second at least: each refresh costs the API server requests.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = timeout(text)?;
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3_600);
    if bounds.contains(&interval) { Ok(interval) } else { Err("must be from 1s to 1h".to_owned()) }
}
