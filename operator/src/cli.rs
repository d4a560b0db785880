//! The command line.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};

use clap::{ArgAction, Args, Parser, Subcommand};
use wsgateway_config::{BadEndpoint, OtlpEndpoint};
use wsgateway_crds::Defaults;

use crate::traces::{self, TracesSampler};

/// Keeps WsGateways as specified: JetStream stream, gateway pods, Services, autoscaler, monitoring.
///
/// Talks to the cluster that KUBECONFIG or the pod's service account names. Logs go to stderr: RUST_LOG sets their level
/// (default info), WSGATEWAY_LOG_FORMAT their form (json or text).
#[derive(Debug, Parser)]
#[command(name = "operator", version)]
pub struct Cli {
    /// What to do; `run` when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `run`.
    #[command(flatten)]
    pub options: Options,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Reconcile WsGateways until stopped (the default).
    Run,
    /// Print the CustomResourceDefinition of WsGateway as YAML.
    Crd,
    /// Stop the operators and remove their finalizers, so that no deletion waits for an operator that is gone.
    ///
    /// For the WsGateways of --class and --namespace; the operators are in --own-namespace. These options stand before
    /// `uninstall`. The chart runs it before `helm uninstall`.
    Uninstall(UninstallOptions),
    /// Check from inside of the cluster that the operators work: the API, a leader, metrics.
    ///
    /// Options of `run`, such as --lease-name and --metrics-api, stand before `self-test`. It writes nothing. `helm test` runs it.
    SelfTest(SelfTestOptions),
}

/// Options of `self-test`.
#[derive(Args, Clone, Debug)]
pub struct SelfTestOptions {
    /// Address of the operators' metrics, such as http://wsgateway-operator-metrics:8081/metrics. Empty: they are not asked.
    #[arg(long, env = "WSGATEWAY_METRICS_URL", default_value = "")]
    pub metrics_url: String,
    /// Seconds after which a check that does not succeed has failed.
    #[arg(long, default_value = "60")]
    pub timeout_seconds: NonZeroU32,
}

/// Options of `uninstall`.
#[derive(Args, Clone, Debug)]
pub struct UninstallOptions {
    /// Deployment of the operators.
    #[arg(long, env = "WSGATEWAY_DEPLOYMENT", default_value = "wsgateway-operator")]
    pub deployment: String,
    /// First delete the WsGateways with deletionPolicy Delete, and wait until their streams are gone.
    #[arg(long)]
    pub delete: bool,
    /// Seconds to wait for such deletions, and for the operators to stop.
    #[arg(long, default_value = "100")]
    pub patience_seconds: NonZeroU32,
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Image of the gateway pods of WsGateways that name none.
    #[arg(long, env = "WSGATEWAY_GATEWAY_IMAGE", default_value = concat!("ghcr.io/wsgateway/gateway:", env!("CARGO_PKG_VERSION")))]
    pub gateway_image: String,
    /// Keep only WsGateways of this namespace; repeat it for several, at most 64. Without it: of all namespaces.
    #[arg(
        long = "namespace",
        value_name = "NAMESPACE",
        env = "WSGATEWAY_WATCH_NAMESPACES",
        value_delimiter = ','
    )]
    pub namespaces: Vec<String>,
    /// Keep the WsGateways of this class (spec.class), and no others. Without it: those without a class.
    #[arg(long, env = "WSGATEWAY_CLASS", default_value = "", value_parser = class_name)]
    pub class: String,
    /// Address of /metrics, /livez and /readyz; port 0 picks a free one. [::] takes IPv4, too, and is 0.0.0.0 on a node
    /// without IPv6.
    #[arg(long, env = "WSGATEWAY_ADMIN", default_value_t = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8081)))]
    pub admin: SocketAddr,
    /// WsGateways reconciled at the same time.
    #[arg(long, env = "WSGATEWAY_CONCURRENCY", default_value = "8")]
    pub concurrency: NonZeroU16,
    /// Identity of this cluster in the ownership mark of streams, instead of the UID of the namespace kube-system. Needed
    /// where the operator may not get that namespace. Clusters that share a NATS need different names, and a name must not
    /// change. `default`, the name that earlier versions gave to every cluster, counts as none.
    #[arg(long, env = "WSGATEWAY_CLUSTER", value_parser = cluster_name)]
    pub cluster: Option<String>,
    /// Seconds between two looks at the stream and the pods of a WsGateway at rest.
    #[arg(long, env = "WSGATEWAY_RESYNC_SECONDS", default_value = "15")]
    pub resync_seconds: NonZeroU32,
    /// Seconds between two questions to a gateway pod for its connections and source.
    #[arg(long, env = "WSGATEWAY_POLL_SECONDS", default_value = "10")]
    pub poll_seconds: NonZeroU32,
    /// Seconds between two writes of a status of which only numbers changed a little.
    #[arg(long, env = "WSGATEWAY_NUMBERS_SECONDS", default_value = "60")]
    pub numbers_seconds: NonZeroU32,
    /// Seconds that a deleted WsGateway with deletionPolicy Delete waits for NATS before it goes without its stream.
    #[arg(long, env = "WSGATEWAY_DELETION_PATIENCE_SECONDS", default_value = "600")]
    pub deletion_patience_seconds: u32,
    /// WsGateways whose pods are replaced at the same time because this version of the operator makes other ones. One whose
    /// specification changed waits for nobody.
    #[arg(long, env = "WSGATEWAY_ROLLOUTS_AT_ONCE", default_value = "3")]
    pub rollouts_at_once: NonZeroU16,
    /// Seconds, besides the time that its pods and clients take, after which such a rollout holds up no others any more.
    #[arg(long, env = "WSGATEWAY_ROLLOUT_PATIENCE_SECONDS", default_value = "900")]
    pub rollout_patience_seconds: NonZeroU32,
    /// Seconds between two looks for optional kinds, such as ServiceMonitor.
    #[arg(long, env = "WSGATEWAY_DISCOVERY_SECONDS", default_value = "60")]
    pub discovery_seconds: NonZeroU32,
    /// What WsGateways have that leave it out: a part of their specification as YAML or JSON, with `pod`, `expose.service.annotations`
    /// and `monitoring.labels`. A changed default replaces pods as a new version of the operator does.
    #[arg(long, value_name = "YAML", env = "WSGATEWAY_DEFAULTS", default_value = "", value_parser = defaults)]
    pub defaults: Defaults,
    /// Which of several operators works.
    #[command(flatten)]
    pub election: ElectionOptions,
    /// Who may connect to the gateways.
    #[command(flatten)]
    pub network: NetworkOptions,
    /// Metrics for autoscalers.
    #[command(flatten)]
    pub metrics_api: MetricsApiOptions,
    /// Traces of reconciliations.
    #[command(flatten)]
    pub tracing: TracingOptions,
}

/// Traces of reconciliations, sent by OTLP over HTTP. The other standard variables count, too: OTEL_SERVICE_NAME,
/// OTEL_RESOURCE_ATTRIBUTES, and OTEL_EXPORTER_OTLP_HEADERS for headers with secrets.
#[derive(Args, Clone, Debug)]
pub struct TracingOptions {
    /// Base address of an OTLP/HTTP receiver, such as http://collector.monitoring:4318. Empty: no traces.
    #[arg(
        long,
        value_name = "URL",
        env = "OTEL_EXPORTER_OTLP_ENDPOINT",
        default_value = "",
        hide_env_values = true,
        value_parser = traces::endpoint,
    )]
    otlp_endpoint: Endpoint,
    /// Which reconciliations are traced.
    #[arg(long, env = "OTEL_TRACES_SAMPLER", default_value = "parentbased_always_on")]
    pub traces_sampler: TracesSampler,
    /// Part of the reconciliations that traceidratio traces, from 0 to 1.
    #[arg(long, value_name = "RATIO", env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_parser = traces::ratio)]
    pub traces_sampler_arg: f64,
}

/// What is wrong with it is reported later: clap would repeat it, with a password that may be in it.
type Endpoint = Result<Option<OtlpEndpoint>, BadEndpoint>;

impl TracingOptions {
    /// Where spans are sent to, if they are.
    ///
    /// # Errors
    /// What is wrong with the address, without the address.
    pub fn endpoint(&self) -> Result<Option<&OtlpEndpoint>, BadEndpoint> {
        self.otlp_endpoint.as_ref().map(Option::as_ref).map_err(|error| *error)
    }
}

/// The metrics wsgateway_connections and wsgateway_capacity_percent in custom.metrics.k8s.io, from the gateways themselves.
#[derive(Args, Clone, Debug)]
pub struct MetricsApiOptions {
    /// Serve custom.metrics.k8s.io to HorizontalPodAutoscalers, and register it unless another adapter has it.
    #[arg(
        long,
        env = "WSGATEWAY_METRICS_API",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
    )]
    pub metrics_api: bool,
    /// Address of that API (TLS, for the API server alone); port 0 picks a free one.
    #[arg(long, env = "WSGATEWAY_METRICS_API_ADDRESS", default_value_t = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 6443)))]
    pub metrics_api_address: SocketAddr,
    /// Service in --own-namespace through which the API server reaches it.
    #[arg(
        long,
        env = "WSGATEWAY_METRICS_API_SERVICE",
        default_value = "wsgateway-operator-metrics-api"
    )]
    pub metrics_api_service: String,
    /// Port of that Service.
    #[arg(long, env = "WSGATEWAY_METRICS_API_SERVICE_PORT", default_value_t = 443)]
    pub metrics_api_service_port: u16,
    /// Secret in --own-namespace with the certificate (tls.crt, tls.key, ca.crt).
    #[arg(
        long,
        env = "WSGATEWAY_METRICS_API_SECRET",
        default_value = "wsgateway-operator-metrics-api"
    )]
    pub metrics_api_secret: String,
    /// Make and renew that certificate. `false`: somebody else does, such as cert-manager.
    #[arg(
        long,
        env = "WSGATEWAY_METRICS_API_OWN_CERTIFICATE",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
    )]
    pub metrics_api_own_certificate: bool,
    /// ClusterRole with which the registration goes when it is deleted. Empty: the registration stays.
    #[arg(long, env = "WSGATEWAY_METRICS_API_OWNER", default_value = "")]
    pub metrics_api_owner: String,
}

/// NetworkPolicies of the gateways.
#[derive(Args, Clone, Debug)]
pub struct NetworkOptions {
    /// Make a NetworkPolicy for each WsGateway: clients from everywhere or as spec.network says, and to the admin port only
    /// this operator and the namespaces that monitor.
    #[arg(
        long,
        env = "WSGATEWAY_NETWORK_POLICIES",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
    )]
    pub network_policies: bool,
    /// Labels of the namespaces that monitor, such as kubernetes.io/metadata.name=monitoring; all of them must match.
    #[arg(
        long,
        value_name = "KEY=VALUE",
        env = "WSGATEWAY_MONITORING_NAMESPACES",
        value_delimiter = ',',
        value_parser = label,
    )]
    pub monitoring_namespaces: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if key.is_empty() || !key.chars().all(plain) || !value.chars().all(|c| plain(c) && c != '/') {
        return Err("write a label, such as kubernetes.io/metadata.name=monitoring");
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Leader election: of several operators with the same Lease, one works.
#[derive(Args, Clone, Debug)]
pub struct ElectionOptions {
    /// Work only while holding the Lease. `false` is for an operator that is certainly the only one.
    #[arg(
        long,
        env = "WSGATEWAY_LEADER_ELECT",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
    )]
    pub leader_elect: bool,
    /// Name of the Lease. Operators of different classes in one namespace need different ones.
    #[arg(long, env = "WSGATEWAY_LEASE_NAME", default_value = "wsgateway-operator")]
    pub lease_name: String,
    /// Namespace of the operator and its Lease. Without it: the service account's, or that of the kubeconfig.
    #[arg(long, env = "WSGATEWAY_NAMESPACE")]
    pub own_namespace: Option<String>,
    /// Name of this pod, by which people find the holder of the Lease.
    #[arg(long, env = "WSGATEWAY_POD", default_value = "operator")]
    pub pod: String,
    /// Seconds without a renewal after which another operator takes over.
    #[arg(long, env = "WSGATEWAY_LEASE_SECONDS", default_value_t = 15)]
    pub lease_seconds: u16,
    /// Seconds without a confirmed renewal after which the holder stops; less than --lease-seconds.
    #[arg(long, env = "WSGATEWAY_RENEW_SECONDS", default_value_t = 10)]
    pub renew_seconds: u16,
    /// Seconds between two renewals, or two attempts; less than --renew-seconds.
    #[arg(long, env = "WSGATEWAY_RETRY_SECONDS", default_value_t = 2)]
    pub retry_seconds: u16,
}

/// Every error, since all of them are to be corrected.
fn defaults(text: &str) -> Result<Defaults, String> {
    Defaults::parse(text).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        errors.join("; ")
    })
}

fn class_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || wsgateway_crds::is_class_name(text) {
        return Ok(text.to_owned());
    }
    Err(
        "use up to 63 lower-case letters, digits and dashes, beginning and ending with a letter or digit",
    )
}

fn cluster_name(text: &str) -> Result<String, &'static str> {
    let ok = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > 63 || !text.chars().all(ok) {
        return Err("use 1 to 63 letters, digits, dashes, dots and underscores");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_run_is_the_default() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let cli = Cli::parse_from(["operator", "--cluster", "prod"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.options.cluster.as_deref(), Some("prod"));
        assert_eq!(cli.options.admin.to_string(), "[::]:8081", "also on nodes with IPv6 only");
        assert!(
            Cli::try_parse_from(["operator", "--concurrency", "0"]).is_err(),
            "0 would mean unbounded"
        );
    }

    #[test]
    fn an_endpoint_with_a_password_is_refused_without_it() {
        let endpoint = |text: &str| {
            let parsed = Cli::try_parse_from(["operator", "--otlp-endpoint", text]).unwrap();
            parsed.options.tracing.endpoint().map(|endpoint| endpoint.map(ToString::to_string))
        };
        assert_eq!(endpoint(""), Ok(None));
        assert_eq!(endpoint("http://collector:4318"), Ok(Some("http://collector:4318".into())));
        let error = endpoint("http://me:s3cr3t@collector").unwrap_err();
        assert!(!error.to_string().contains("s3cr3t"), "{error}");
        for bad in ["-1", "1.5", "NaN", "much"] {
            let argument = format!("--traces-sampler-arg={bad}");
            assert!(Cli::try_parse_from(["operator", &argument]).is_err(), "{bad}");
        }
    }

    fn parsed(arguments: &[&str]) -> Options {
        Cli::parse_from(["operator"].iter().chain(arguments)).options
    }

    #[test]
    fn an_operator_takes_part_in_the_election_unless_it_is_told_not_to() {
        assert!(parsed(&[]).election.leader_elect);
        assert!(parsed(&["--leader-elect"]).election.leader_elect);
        assert!(!parsed(&["--leader-elect=false"]).election.leader_elect);
    }

    #[test]
    fn namespaces_are_repeated_or_a_list() {
        assert!(parsed(&[]).namespaces.is_empty());
        assert_eq!(parsed(&["--namespace", "a", "--namespace", "b,c"]).namespaces, ["a", "b", "c"]);
    }

    #[test]
    fn defaults_are_refused_by_their_path_all_at_once() {
        assert!(parsed(&[]).defaults.is_empty());
        assert!(!parsed(&["--defaults", "pod: {priorityClassName: high}"]).defaults.is_empty());
        let bad = "{pod: {nodeSelectors: {}}, logLevel: Debug}";
        let error = Cli::try_parse_from(["operator", "--defaults", bad]).unwrap_err().to_string();
        for path in
            ["defaults.pod.nodeSelectors: unknown field", "defaults.logLevel: unknown field"]
        {
            assert!(error.contains(path), "{error}");
        }
    }

    #[test]
    fn labels_are_pairs() {
        let options = parsed(&["--network-policies", "--monitoring-namespaces=a.b/c=d,e="]).network;
        assert!(options.network_policies);
        let pairs =
            [("a.b/c", "d"), ("e", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(options.monitoring_namespaces, pairs);
        for bad in ["a", "=b", "a=b c"] {
            let argument = format!("--monitoring-namespaces={bad}");
            assert!(Cli::try_parse_from(["operator", &argument]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_class_is_a_name() {
        assert_eq!(parsed(&["--class", "internal"]).class, "internal");
        for bad in ["Internal", "a/b", "-a", "a-"] {
            assert!(Cli::try_parse_from(["operator", &format!("--class={bad}")]).is_err(), "{bad}");
        }
    }
}
