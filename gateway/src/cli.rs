//! The command line: read a file, run, stop on a signal.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use wsgateway_config::GatewayConfig;
use wsgateway_runtime::{logs, shutdown};

use crate::app::{self, Options, Running, StartError};

/// Fans the messages of one JetStream stream out to WebSocket clients.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Examples:
  wsgw render -f manifest.yaml > gateway.yaml     the configuration that the operator would mount
  gateway --config gateway.yaml                   run it
  gateway --config gateway.yaml --listen 127.0.0.1:0 --admin 127.0.0.1:0
                                                  on free ports, which are logged

Environment:
  RUST_LOG               log filter, such as info or gateway=debug (default info)
  WSGATEWAY_LOG_FORMAT   json or text (default: text on a terminal)
  WSGATEWAY_POD          name told to clients (default: the host's name)"
)]
struct Arguments {
    /// GatewayConfig file, as `wsgw render` prints it
    #[arg(long, value_name = "FILE", env = "WSGATEWAY_CONFIG")]
    config: PathBuf,
    /// Client address instead of the file's; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Admin address instead of the file's; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<SocketAddr>,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: wsgateway_config::ConfigError },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot watch for signals: {0}")]
    Signals(std::io::Error),
}

/// The process: arguments, logs, run. Returns when a signal has ended it.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logs::init("gateway");
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the gateway cannot run");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failed> {
    let mut config = read(&arguments.config)?;
    if let Some(listen) = arguments.listen {
        (config.listener.address, config.listener.port) = (listen.ip(), listen.port());
    }
    if let Some(admin) = arguments.admin {
        (config.admin.address, config.admin.port) = (admin.ip(), admin.port());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failed::Signals)?;
    // The handler stands before anything is started: the program is PID 1 in its container.
    let stop = runtime.block_on(async { shutdown::watch() }).map_err(Failed::Signals)?;
    let running = app::start(config, Options::default())?;
    runtime.block_on(stop.cancelled());
    // The runtime keeps turning, so that a second signal ends the process at once.
    runtime.block_on(async {
        let drained = tokio::task::spawn_blocking(move || Running::shutdown(running)).await;
        if drained.is_err() {
            tracing::error!("stopping panicked");
        }
    });
    tracing::info!("stopped");
    Ok(())
}

fn read(path: &Path) -> Result<GatewayConfig, Failed> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| Failed::Read { path: path.to_owned(), source })?;
    GatewayConfig::parse(&text).map_err(|source| Failed::Parse { path: path.to_owned(), source })
}
