//! The command line: read a file, run, stop on a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio_util::sync::CancellationToken;
use wsgateway_runtime::{logs, shutdown};

use crate::app::{self, Options, Running, StartError};
use crate::reload::{FileError, Files, Watcher};
use crate::shed::Instructions;

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
  gateway --config gateway.yaml --live live.yaml  limits, rates and rules in a file of their own

  gateway --config gateway.yaml --shed shed.json
                                                  send clients elsewhere, and serve again when the file is emptied:
                                                  {\"id\":\"1\",\"reason\":\"drain\",\"keep\":0,\"perMinute\":600}

The files are watched: limits, rates, rules, heartbeat, history, log level and what clients are offered are taken up
while it runs, with no client disconnected. A file that is invalid, or changes anything else, is refused whole, in the
log and in /status of the admin port. Unknown keys are reported and ignored.

Environment:
  RUST_LOG               log filter, such as info or gateway=debug (default: log.level of the file, or info)
  WSGATEWAY_LOG_FORMAT   json or text (default: text on a terminal)
  WSGATEWAY_POD          name told to clients (default: the host's name)
  OTEL_EXPORTER_OTLP_HEADERS
                         headers for the receiver of traces (tracing.endpoint of the file), as name=value,...
  OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
                         who sends the traces"
)]
struct Arguments {
    /// GatewayConfig file, as `wsgw render` prints it
    #[arg(long, value_name = "FILE", env = "WSGATEWAY_CONFIG")]
    config: PathBuf,
    /// File with the live part, which is put over the other file field by field
    #[arg(long, value_name = "FILE", env = "WSGATEWAY_LIVE")]
    live: Option<PathBuf>,
    /// File with what this pod is told to do with its clients while it goes on running; empty for nothing
    #[arg(long, value_name = "FILE", env = "WSGATEWAY_SHED")]
    shed: Option<PathBuf>,
    /// Client address instead of the file's; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Admin address instead of the file's; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<SocketAddr>,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot watch for signals: {0}")]
    Signals(std::io::Error),
    #[error("a thread died ({0}): see the panic above; a new process is needed")]
    Died(String),
}

/// How often the threads and the files are looked after. A change of the files is taken up at the second look.
const LOOK: Duration = Duration::from_millis(500);

/// Time to stop beyond the drain window: closing handshakes, then the ends of the threads.
const STOP: Duration = Duration::from_secs(15);

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
    let files = arguments.files();
    let texts = files.read()?;
    let given = files.parse(&texts)?;
    logs::set_level(given.config.log.level.name());
    for key in &given.unknown {
        tracing::warn!(key, "the configuration has a key that this version does not know");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failed::Signals)?;
    // The handler stands before anything is started: the program is PID 1 in its container.
    let stop = runtime.block_on(async { shutdown::watch() }).map_err(Failed::Signals)?;
    let limit = Duration::from(given.config.drain.window) + STOP;
    let running = app::start_given(given, Options::default())?;
    let mut watcher = Watcher::new(files, texts);
    let mut instructions = arguments.shed.clone().map(Instructions::new);
    // The runtime keeps turning, so that a second signal ends the process at once.
    let outcome = runtime.block_on(async {
        let outcome = end(&stop, || {
            follow(&mut watcher, &running);
            instructions.iter_mut().for_each(|file| file.follow(&running));
            running.dead()
        })
        .await;
        if let Err(error) = &outcome {
            tracing::error!(%error, "stopping, so that the clients that are left go elsewhere");
        }
        let stopping = tokio::task::spawn_blocking(move || Running::shutdown(running));
        match tokio::time::timeout(limit, stopping).await {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(_)) => tracing::error!("stopping panicked"),
            Err(_) => tracing::error!("some threads did not stop in time: leaving them"),
        }
        outcome
    });
    // What has not stopped by now is not waited for.
    runtime.shutdown_background();
    outcome
}

/// Waits for the signal to stop, or for the death of a thread: with a shard or the source gone, a process that goes on
/// only looks alive.
async fn end(
    stop: &CancellationToken,
    mut dead: impl FnMut() -> Vec<&'static str>,
) -> Result<(), Failed> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        let dead = dead();
        if !dead.is_empty() {
            return Err(Failed::Died(dead.join(", ")));
        }
    }
}

/// Takes up what the files say now, if that is something else than before.
fn follow(watcher: &mut Watcher, running: &Running) {
    match watcher.look() {
        None => {}
        // What became of it stands in the log and in /status.
        Some(Ok(given)) => drop(running.reload(given)),
        Some(Err(error)) => running.refuse(&error.to_string()),
    }
}

impl Arguments {
    fn files(&self) -> Files {
        Files {
            config: self.config.clone(),
            live: self.live.clone(),
            listen: self.listen,
            admin: self.admin,
        }
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_runtime::readiness::Readiness;

    use super::*;

    #[test]
    fn the_death_of_a_vital_thread_ends_the_process_and_a_signal_ends_it_well() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let readiness = Readiness::new();
        let (stop, vital) = (CancellationToken::new(), readiness.vital("shard"));
        let panicked = std::thread::spawn(move || {
            let _vital = vital;
            panic!("as a test");
        });
        assert!(panicked.join().is_err());
        let outcome = runtime.block_on(end(&stop, || readiness.dead()));
        assert!(matches!(outcome, Err(Failed::Died(names)) if names == "shard"));
        stop.cancel();
        assert!(runtime.block_on(end(&stop, Vec::new)).is_ok());
    }
}
