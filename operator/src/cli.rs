//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};

use clap::{Args, Parser, Subcommand};

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
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Reconcile WsGateways until stopped (the default).
    Run,
    /// Print the CustomResourceDefinition of WsGateway as YAML.
    Crd,
}

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Image of the gateway pods of WsGateways that name none.
    #[arg(long, env = "WSGATEWAY_GATEWAY_IMAGE", default_value = concat!("ghcr.io/wsgateway/gateway:", env!("CARGO_PKG_VERSION")))]
    pub gateway_image: String,
    /// Look only at WsGateways of this namespace; empty for all.
    #[arg(long, env = "WSGATEWAY_WATCH_NAMESPACE", default_value = "")]
    pub namespace: String,
    /// Address of /metrics, /livez and /readyz; port 0 picks a free one.
    #[arg(long, env = "WSGATEWAY_ADMIN", default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8081)))]
    pub admin: SocketAddr,
    /// WsGateways reconciled at the same time.
    #[arg(long, env = "WSGATEWAY_CONCURRENCY", default_value = "8")]
    pub concurrency: NonZeroU16,
    /// Name of this cluster in the ownership mark of streams; give clusters that share a NATS different names.
    #[arg(long, env = "WSGATEWAY_CLUSTER", default_value = "default", value_parser = cluster_name)]
    pub cluster: String,
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
    /// Seconds between two looks for optional kinds, such as ServiceMonitor.
    #[arg(long, env = "WSGATEWAY_DISCOVERY_SECONDS", default_value = "60")]
    pub discovery_seconds: NonZeroU32,
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
        assert_eq!(cli.options.cluster, "prod");
        assert!(
            Cli::try_parse_from(["operator", "--concurrency", "0"]).is_err(),
            "0 would mean unbounded"
        );
    }
}
