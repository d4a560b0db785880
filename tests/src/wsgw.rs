//! `wsgw dev` as a child process: what a newcomer runs.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::{built_beside, tool, wait_until_some};

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
    readers: [JoinHandle<()>; 2],
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
/// When it is not built, or nats-server is missing.
pub fn wsgw() -> Result<Command> {
    let mut command = Command::new(built_beside("wsgw")?);
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
        let readers =
            [collect(child.stdout.take(), &output), collect(child.stderr.take(), &output)];
        let mut dev = Self { child, pid, output, readers, url: String::new() };
        let started =
            wait_until_some(START, "the URL of wsgw dev", async || match dev.url_told() {
                Some(url) => Some(Some(url)),
                None => dev.child.try_wait().ok()?.map(|_ended| None),
            })
            .await
            .with_context(|| dev.output())?;
        if let Some(url) = started {
            dev.url = url;
            return Ok(dev);
        }
        dev.read_all().await;
        bail!("wsgw dev ended:\n{}", dev.output())
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
        self.read_all().await;
        Ok(Ended { code: status.code(), output: self.output() })
    }

    /// What it wrote last may still be in the pipes when it has ended.
    async fn read_all(&mut self) {
        for reader in &mut self.readers {
            drop(reader.await);
        }
    }

    fn url_told(&self) -> Option<String> {
        let output = self.output();
        let (_, rest) = output.split_once("is live:")?;
        // A whole line, so that the URL is not cut.
        let (line, _) = rest.split_once('\n')?;
        Some(line.trim().to_owned())
    }
}

fn collect(
    stream: Option<impl AsyncRead + Unpin + Send + 'static>,
    output: &Arc<Mutex<String>>,
) -> JoinHandle<()> {
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let Some(stream) = stream else { return };
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut output = lock(&output);
            output.push_str(&line);
            output.push('\n');
        }
    })
}

fn lock(output: &Mutex<String>) -> std::sync::MutexGuard<'_, String> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}
