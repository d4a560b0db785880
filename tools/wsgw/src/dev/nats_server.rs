//! A nats-server of our own: found, started on a free port with a temporary store, and gone when we are.
//!
//! Must hold: nothing is left behind, however this process ends. The server therefore runs under a small shell that
//! waits for the end of a pipe which only this process holds, kills the server then, and removes the store. It has a
//! process group of its own, so that Ctrl-C reaches us first and the gateway can drain while NATS still works.

mod find;

use std::fs::DirBuilder;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub(super) use find::find;

/// `$1` is the store; the rest is the command. Only the server keeps stderr, so that its end is the server's. `read` is
/// no child process, so the server's number stays its own until `wait`. The store is temporary: nothing to save.
const GUARDIAN: &str = r#"store=$1; shift
"$@" </dev/null & server=$!
exec 2>/dev/null; read -r _
kill -KILL "$server"; wait "$server"; rm -rf "$store""#;

/// A cold start takes 50 ms; the rest is for a busy machine.
const START: Duration = Duration::from_secs(15);

/// Lines of the server's log that are kept for an error message.
const TAIL: usize = 10;

/// Why our nats-server is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NatsServerError {
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: std::io::Error },
    #[error("{program} did not start. The end of its log:\n{log}")]
    NotReady { program: String, log: String },
    #[error("nats-server has ended by itself. The end of its log:\n{0}")]
    Ended(String),
    #[error("NATS_SERVER={0} is not a nats-server 2.10 or newer: correct or unset it")]
    Variable(String),
}

/// A running server. Dropping it ends it and removes its store.
#[derive(Debug)]
pub(super) struct NatsServer {
    pub(super) url: String,
    guardian: Child,
    lifeline: Option<ChildStdin>,
    log: Log,
    ended: watch::Receiver<bool>,
}

/// The end of the server's log.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl NatsServer {
    /// Starts the server and waits until it takes connections.
    pub(super) async fn start(program: &Path) -> Result<Self, NatsServerError> {
        let name = program.display().to_string();
        let failed = |source| NatsServerError::Start { program: name.clone(), source };
        let store = make_store().map_err(failed)?;
        let mut guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "nats-server-guardian"])
            .arg(&store)
            .arg(program)
            // Port -1: the server picks a free one and logs it.
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream", "--store_dir"])
            .arg(&store)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (ready, address) = oneshot::channel();
        let (ending, ended) = watch::channel(false);
        let log = Log::default();
        if let Some(stderr) = guardian.stderr.take() {
            let log = log.clone();
            std::thread::Builder::new()
                .name("nats-server-log".to_owned())
                .spawn(move || {
                    log.follow(stderr, ready);
                    // Nobody may wait for it any more.
                    ending.send_replace(true);
                })
                .map_err(failed)?;
        }
        let lifeline = guardian.stdin.take();
        let mut server = Self { url: String::new(), guardian, lifeline, log, ended };
        match tokio::time::timeout(START, address).await {
            Ok(Ok(address)) => server.url = format!("nats://{address}"),
            _ => return Err(NatsServerError::NotReady { program: name, log: server.log.tail() }),
        }
        Ok(server)
    }

    /// Waits for the server to end by itself, which it should not.
    pub(super) async fn ended(&self) -> NatsServerError {
        let mut ended = self.ended.clone();
        // An error means that the log's thread is gone, and with it the server.
        drop(ended.wait_for(|ended| *ended).await);
        NatsServerError::Ended(self.log.tail())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // A matter of milliseconds; without the wait the store might outlive us.
        drop(self.guardian.wait());
    }
}

impl Log {
    /// Reads to the end, tells the address once it is there, and keeps the last lines.
    fn follow(&self, stderr: ChildStderr, ready: oneshot::Sender<String>) {
        let mut ready = Some(ready);
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("Listening for client connections on ")
                && let Some(ready) = ready.take()
            {
                drop(ready.send(address.trim().to_owned()));
            }
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == TAIL {
                lines.remove(0);
            }
            lines.push(line);
        }
    }

    fn tail(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

/// A new folder that only this user can read.
fn make_store() -> std::io::Result<PathBuf> {
    let name = format!("wsgw-dev-{}-{:08x}", std::process::id(), fastrand::u32(..));
    let path = std::env::temp_dir().join(name);
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}
