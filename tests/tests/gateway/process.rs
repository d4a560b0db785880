//! The real program, as a child process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use harness::{Scratch, built_beside};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wsgateway_config::GatewayConfig;

use super::rig::SOON;

/// The gateway binary that cargo built beside this test program.
pub(super) fn binary() -> Result<PathBuf> {
    built_beside("gateway")
}

/// A running gateway process. Dropping it kills it.
pub(super) struct Process {
    child: Child,
    log: Log,
    pub client_addr: SocketAddr,
    pub admin_addr: SocketAddr,
    _scratch: Option<Scratch>,
}

impl Process {
    /// Starts the program on free ports and reads them from its log.
    pub(super) async fn start(config: &GatewayConfig) -> Result<Self> {
        Self::start_with(config, &[]).await
    }

    /// The same with more in its environment.
    pub(super) async fn start_with(
        config: &GatewayConfig,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        Self::spawn(config, Command::new(binary()?), environment).await
    }

    /// The same from a shell that has run a command first, such as `ulimit -n 400`.
    pub(super) async fn start_limited(config: &GatewayConfig, first: &str) -> Result<Self> {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{first}; exec \"$0\" \"$@\"")).arg(binary()?);
        Self::spawn(config, shell, &[]).await
    }

    /// The same with files of the caller's: the configuration, and its live part if that is in a file of its own.
    pub(super) async fn start_with_files(config: &Path, live: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.arg("--config").arg(config);
        if let Some(live) = live {
            command.arg("--live").arg(live);
        }
        Self::run(command, &[], None).await
    }

    /// The same with a file that tells it what to do with its clients.
    pub(super) async fn start_with_shed(config: &GatewayConfig, shed: &Path) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.arg("--shed").arg(shed);
        Self::spawn(config, command, &[]).await
    }

    async fn spawn(
        config: &GatewayConfig,
        mut command: Command,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let scratch = Scratch::new("gateway")?;
        let file = scratch.write("gateway.yaml", config.render()?)?;
        command.arg("--config").arg(file);
        Self::run(command, environment, Some(scratch)).await
    }

    async fn run(
        mut command: Command,
        environment: &[(&str, &str)],
        scratch: Option<Scratch>,
    ) -> Result<Self> {
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("WSGATEWAY_LOG_FORMAT", "json")
            .env_remove("RUST_LOG")
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take().context("no standard error")?;
        let mut log = Log::of(stderr);
        let admin_addr = log.address("admin listening").await?;
        let client_addr = log.address("listening").await?;
        // Some threads log before the ports are told: whoever looks for that finds it too.
        log.searched = 0;
        Ok(Self { child, log, client_addr, admin_addr, _scratch: scratch })
    }

    /// Process id, while it has not been waited for.
    pub(super) fn pid(&self) -> Result<u32> {
        self.child.id().context("the gateway has ended")
    }

    /// Sends a signal by its name.
    pub(super) async fn signal(&self, name: &str) -> Result<()> {
        let pid = self.pid()?.to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status().await?;
        ensure!(status.success(), "kill -{name} {pid}: {status}");
        Ok(())
    }

    /// Waits for the end: the exit code.
    pub(super) async fn exit_code(&mut self) -> Result<Option<i32>> {
        Ok(timeout(SOON, self.child.wait()).await.context("the gateway does not end")??.code())
    }

    /// The next line of the log with this message, as JSON.
    pub(super) async fn logged(&mut self, message: &str) -> Result<Value> {
        self.log.event(message).await
    }

    /// Ends it, and returns everything that it has logged from its start on.
    pub(super) async fn end_log(&mut self) -> Result<String> {
        self.signal("TERM").await?;
        self.log.whole().await
    }

    /// Resident memory (bytes) of its own: not the program's code, which the kernel reads in and drops as it likes.
    pub(super) fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("no RssAnon")?;
        let kib = line.trim().trim_end_matches(" kB").parse::<u64>()?;
        Ok(kib << 10)
    }
}

/// Runs the program to its end.
pub(super) async fn output(arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(binary()?);
    command.args(arguments).env("WSGATEWAY_LOG_FORMAT", "json").kill_on_drop(true);
    Ok(timeout(SOON, command.output()).await.context("the gateway does not end")??)
}

/// What a program writes to its standard error. A task reads it as it comes: a program whose pipe is full stands still.
struct Log {
    coming: mpsc::UnboundedReceiver<String>,
    lines: Vec<String>,
    /// Lines in which a message was looked for already.
    searched: usize,
}

impl Log {
    fn of(stderr: ChildStderr) -> Self {
        let (sender, coming) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut read = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = read.next_line().await {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { coming, lines: Vec::new(), searched: 0 }
    }

    /// The next line to search; nothing after the last one.
    async fn next(&mut self) -> Option<&str> {
        if self.searched == self.lines.len() {
            self.lines.push(self.coming.recv().await?);
        }
        self.searched += 1;
        self.lines.get(self.searched - 1).map(String::as_str)
    }

    /// The next line with this message, as JSON.
    async fn event(&mut self, message: &str) -> Result<Value> {
        let find = async {
            while let Some(line) = self.next().await {
                let event = serde_json::from_str::<Value>(line).unwrap_or_default();
                if event["message"] == message {
                    return Some(event);
                }
            }
            None
        };
        let found = timeout(SOON, find).await;
        match found {
            Ok(Some(event)) => Ok(event),
            Ok(None) => bail!("the gateway ended without logging {message:?}:\n{}", self.text()),
            Err(_) => bail!("the gateway has not logged {message:?}:\n{}", self.text()),
        }
    }

    async fn address(&mut self, message: &str) -> Result<SocketAddr> {
        let line = self.event(message).await?;
        Ok(line["address"].as_str().with_context(|| format!("no address in {line}"))?.parse()?)
    }

    /// Everything from the start to the end of the program.
    async fn whole(&mut self) -> Result<String> {
        let read = async { while self.next().await.is_some() {} };
        timeout(SOON, read).await.context("the gateway does not end")?;
        Ok(self.text())
    }

    fn text(&self) -> String {
        self.lines.join("\n")
    }
}
