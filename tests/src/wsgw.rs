//! `wsgw dev` as a child process: what a newcomer runs.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
};

use crate::{binary, tool, wait_until_some};

/// Ready takes half a second; the rest is for a machine that compiles at the same time.
const START: Duration = Duration::from_secs(60);
/// Promised is "well under 5 s"; the rest as above.
const STOP: Duration = Duration::from_secs(30);

/// A running `wsgw dev`. Dropping it kills it.
#[derive(Debug)]
pub struct WsgwDev {
    child: Child,
    pid: u32,
    output: Arc<Mutex<String>>,
    url: String,
}

/// How `wsgw dev` ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; None after a signal.
    pub code: Option<i32>,
    /// Everything it wrote to standard output and standard error.
    pub output: String,
}

/// `wsgw`, which finds the nats-server of the tests.
///
/// # Errors
/// When it cannot be built, or nats-server is missing.
pub fn wsgw() -> Result<Command> {
    let mut command = Command::new(binary("wsgw")?);
    command
        .env("NATS_SERVER", tool("nats-server")?)
        .env("WSGATEWAY_LOG_FORMAT", "text")
        .kill_on_drop(true);
    Ok(command)
}

impl WsgwDev {
    /// Starts `wsgw dev` with these arguments and waits until it names its URL.
    ///
    /// # Errors
    /// When it ends before that; the error carries its output.
    pub async fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = wsgw()?;
        command.arg("dev").args(arguments);
        Self::spawn(command).await
    }

    /// As [`WsgwDev::start`], from a command that the test has prepared.
    ///
    /// # Errors
    /// As for [`WsgwDev::start`].
    pub async fn spawn(mut command: Command) -> Result<Self> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let pid = child.id().context("wsgw has ended already")?;
        let output = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take(), &output);
        collect(child.stderr.take(), &output);
        let url = wait_until_some(START, "the URL of wsgw dev", async || {
            url_in(&lock(&output)).or_else(|| child.try_wait().ok()?.map(|_ended| String::new()))
        })
        .await
        .with_context(|| lock(&output).clone())?;
        anyhow::ensure!(!url.is_empty(), "wsgw dev ended:\n{}", lock(&output));
        Ok(Self { child, pid, output, url })
    }

    /// The page, such as `http://127.0.0.1:8080/`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        lock(&self.output).clone()
    }

    /// Presses Ctrl-C and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn interrupt(self) -> Result<Ended> {
        self.end("INT").await
    }

    /// Ends it as the out-of-memory killer would.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn kill9(self) -> Result<Ended> {
        self.end("KILL").await
    }

    async fn end(mut self, signal: &str) -> Result<Ended> {
        let pid = self.pid.to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().await?;
        anyhow::ensure!(sent.success(), "cannot signal wsgw");
        let status = tokio::time::timeout(STOP, self.child.wait())
            .await
            .with_context(|| format!("wsgw dev does not end. Its output:\n{}", self.output()))??;
        Ok(Ended { code: status.code(), output: self.output() })
    }
}

fn collect(stream: Option<impl AsyncRead + Unpin + Send + 'static>, output: &Arc<Mutex<String>>) {
    let Some(stream) = stream else { return };
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut output = lock(&output);
            output.push_str(&line);
            output.push('\n');
        }
    });
}

fn url_in(output: &str) -> Option<String> {
    let (_, rest) = output.split_once("is live:")?;
    // A whole line, so that the URL is not cut.
    let (line, _) = rest.split_once('\n')?;
    Some(line.trim().to_owned())
}

fn lock(output: &Mutex<String>) -> std::sync::MutexGuard<'_, String> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}
