//! Clients of the TypeScript SDK, all of them in one process of Node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result};
use harness::repository;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::AbortHandle;

use crate::meter::{Meter, Shared};

/// What Node needs.
#[derive(Clone, Debug)]
pub struct Program {
    /// The built SDK, an ES module.
    pub sdk: PathBuf,
    /// A package with a WebSocket, for a Node that has none; without, the SDK takes server-sent events.
    pub sockets: Option<PathBuf>,
}

impl Program {
    /// What is given, or what a build and the tests of the SDK leave in its folder.
    pub fn new(sdk: Option<PathBuf>, sockets: Option<PathBuf>) -> Self {
        let folder = repository().join("sdk/typescript");
        let ws = folder.join("node_modules/ws/wrapper.mjs");
        Self {
            sdk: sdk.unwrap_or_else(|| folder.join("dist/index.js")),
            sockets: sockets.or_else(|| ws.is_file().then_some(ws)),
        }
    }

    /// Whether the SDK is there.
    pub fn is_built(&self) -> bool {
        self.sdk.is_file()
    }
}

/// The process; dropping it ends it.
#[derive(Debug)]
pub struct Clients {
    _node: Child,
    /// Node ends with it, also when this process is killed.
    _lifeline: ChildStdin,
    listening: AbortHandle,
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Clients {
    /// Starts a client for each set of patterns; their numbers count from `first`.
    ///
    /// # Errors
    /// When the SDK is not built or Node cannot be run.
    pub async fn start(
        program: &Program,
        address: SocketAddr,
        first: usize,
        patterns: &[Vec<String>],
        meter: &Shared,
    ) -> Result<Self> {
        anyhow::ensure!(
            program.is_built(),
            "{} is missing: run hack/sdk build, or leave out --sdk",
            program.sdk.display()
        );
        let mut node = Command::new("node")
            .arg(repository().join("tests/loss/sdk-clients.mjs"))
            .arg(&program.sdk)
            .arg(format!("ws://{address}/ws"))
            .args(&program.sockets)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run node")?;
        let mut lifeline = node.stdin.take().context("no standard input")?;
        let client = |(number, channels)| json!({ "number": number, "channels": channels });
        let clients: Vec<Value> = (first..).zip(patterns).map(client).collect();
        lifeline.write_all(format!("{}\n", Value::from(clients)).as_bytes()).await?;
        let heard = BufReader::new(node.stdout.take().context("no standard output")?).lines();
        let listening = tokio::spawn(listen(heard, meter.clone())).abort_handle();
        Ok(Self { _node: node, _lifeline: lifeline, listening })
    }
}

async fn listen(mut heard: Lines<BufReader<ChildStdout>>, meter: Shared) {
    while let Ok(Some(line)) = heard.next_line().await {
        if enter(&line, &mut meter.lock()).is_none() {
            eprintln!("sdk-clients.mjs says what is not understood: {line}");
        }
    }
}

/// Enters one line of the script; None when it is not understood.
fn enter(line: &str, meter: &mut Meter) -> Option<()> {
    let now = Instant::now();
    let event: Vec<Value> = serde_json::from_str(line).ok()?;
    let number = |at: usize| event.get(at).and_then(Value::as_u64);
    let text = |at: usize| event.get(at).and_then(Value::as_str);
    let client = usize::try_from(number(1)?).ok()?;
    match text(0)? {
        "message" => {
            let count = u32::try_from(number(3)?).ok()?;
            meter.numbered(client, text(2)?, count, number(4)?, now);
        }
        "ack" => meter.acknowledged(client, number(2)?, 0, now),
        "rejected" => meter.refused(1),
        "gap" => meter.told(client, text(2)?, (number(3)?, number(4)?), text(5)?),
        "ended" => meter.ended(client, u16::try_from(number(2)?).ok(), now),
        _ => return None,
    }
    Some(())
}
