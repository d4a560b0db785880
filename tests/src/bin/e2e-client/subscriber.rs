//! One client: it subscribes, comes back with its cursor whenever its connection ends, and judges what it gets.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::watch, time::timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _, handshake::client::Request},
};

use super::{Options, Task};

/// Between two attempts to connect: short, because "apply to first price" is measured with it.
const RETRY: Duration = Duration::from_millis(50);
/// For one attempt: a connection request that falls between a pod's start and the Service's rules is lost, and its
/// repetition would take seconds.
const PATIENCE: Duration = Duration::from_millis(500);

/// A frame of wsgateway.v1, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    epoch: String,
    code: Option<String>,
    recovered: Option<bool>,
    offset: u64,
    prev: u64,
    data: Option<Payload>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload {
    run: u64,
    n: u64,
}

/// Where a client is. It belongs to the client, and is shown to whoever waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its first subscription is acknowledged.
    pub(crate) subscribed: bool,
    /// The number of the last message.
    pub(crate) last: u64,
    /// Connections that were acknowledged.
    pub(crate) sessions: u64,
    /// Everything up to there has come.
    offset: u64,
    /// The stream that the offset is of.
    epoch: String,
}

impl Seen {
    /// Takes an acknowledgement. With only one channel, the cursor is the greatest offset.
    fn acknowledged(&mut self, frame: &Frame) -> Result<()> {
        ensure!(frame.recovered != Some(false), "something is gone: {frame:?}");
        ensure!(self.offset == 0 || frame.recovered == Some(true), "not a resume: {frame:?}");
        self.subscribed = true;
        self.sessions += 1;
        self.offset = self.offset.max(frame.offset);
        Ok(())
    }

    /// Judges a message: over all connections the numbers have no gap and none comes twice.
    fn message(&mut self, frame: &Frame, n: u64, task: Task) -> Result<()> {
        // "first" publishes before the stream is there: its first message may be any.
        if self.last > 0 || !matches!(task, Task::First) {
            ensure!(n == self.last + 1, "message {n} came after {}", self.last);
        }
        ensure!(frame.offset > self.offset, "offset {} after {}", frame.offset, self.offset);
        ensure!(frame.prev <= self.offset, "prev {} of a message never seen", frame.prev);
        (self.last, self.offset) = (n, frame.offset);
        Ok(())
    }
}

/// Why a connection ended: reconnecting helps, or a claim is broken.
enum End {
    Away(anyhow::Error),
    Broken(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Away(error.into())
    }
}

/// Subscribes, again and again; ends only when a claim is broken, with the claim.
pub(crate) async fn run(
    options: Arc<Options>,
    run: u64,
    board: watch::Sender<Seen>,
) -> anyhow::Error {
    loop {
        let end = frames(&options, run, &board).await;
        match end.err().unwrap_or_else(|| anyhow!("the gateway closed the connection").into()) {
            End::Broken(error) => return error,
            End::Away(error)
                if matches!(options.task, Task::Exact { .. }) && board.borrow().subscribed =>
            {
                return error.context("the connection ended");
            }
            End::Away(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// As a browser would show its token: a page cannot set headers.
fn request(options: &Options) -> Result<Request> {
    let mut request = options.gateway.as_str().into_client_request()?;
    if let Some(file) = &options.token_file {
        let token = std::fs::read_to_string(file).context("cannot read the token")?;
        let offered = format!("wsgateway.v1, bearer.{}", token.trim_end());
        request.headers_mut().insert("sec-websocket-protocol", offered.parse()?);
    }
    Ok(request)
}

async fn frames(options: &Options, run: u64, board: &watch::Sender<Seen>) -> Result<(), End> {
    let request = request(options).map_err(End::Broken)?;
    let (mut socket, _) = timeout(PATIENCE, connect_async(request)).await??;
    let mut seen = board.borrow().clone();
    let mut subscribe = json!({ "type": "subscribe", "id": 1, "channels": [options.channel] });
    if seen.subscribed {
        subscribe["resume"] = json!({ "epoch": seen.epoch, "offset": seen.offset });
    }
    socket.send(Message::text(subscribe.to_string())).await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let frame =
            serde_json::from_str::<Frame>(&text).with_context(|| format!("not a frame: {text}"));
        take(&mut seen, &frame.map_err(End::Broken)?, run, options.task).map_err(End::Broken)?;
        board.send_replace(seen.clone());
    }
    Ok(())
}

fn take(seen: &mut Seen, frame: &Frame, run: u64, task: Task) -> Result<()> {
    match (frame.kind.as_str(), &frame.data) {
        ("connection:established", _) if !seen.subscribed => seen.epoch.clone_from(&frame.epoch),
        ("subscription_ack", _) => seen.acknowledged(frame)?,
        ("message", Some(payload)) if payload.run == run => seen.message(frame, payload.n, task)?,
        ("message" | "live", _) => seen.offset = seen.offset.max(frame.offset),
        ("gap", _) => return Err(anyhow!("a gap was told: {frame:?}")),
        ("error", _) => {
            let code = frame.code.as_deref().unwrap_or("without a code");
            return Err(anyhow!("the gateway answered with an error: {code}"));
        }
        _ => {}
    }
    Ok(())
}
