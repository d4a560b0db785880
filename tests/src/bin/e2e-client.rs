//! What `hack/e2e` runs as a pod: publishes numbered messages through NATS and receives them through the
//! gateway's Service, as any publisher and any browser would.
//!
//! Out: one line per event and a summary on standard output; a failed claim is the exit code 1.
//! The subscribing side is tokio-tungstenite, on purpose not our own codec.

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Parser, Subcommand};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_tungstenite::{connect_async, tungstenite::Message};

/// How long a task may take in all. Longer than any rollout of a few pods.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two attempts to connect: short, because "apply to first price" is measured with it.
const RETRY: Duration = Duration::from_millis(50);
/// For one attempt: a connection request that falls between a pod's start and the Service's rules is lost, and its
/// repetition would take seconds.
const PATIENCE: Duration = Duration::from_millis(500);
/// Acknowledgements of JetStream that may be outstanding.
const WINDOW: usize = 100;

#[derive(Debug, Clone, Parser)]
#[command(about = "Publishes numbered messages and checks what arrives through a gateway")]
struct Options {
    /// NATS, for publishing.
    #[arg(long)]
    nats: String,
    /// The gateway's endpoint, such as ws://odin:8080/ws.
    #[arg(long)]
    gateway: String,
    /// The subject published to.
    #[arg(long, default_value = "odin.token.E2E.price")]
    subject: String,
    /// The channel that the subject is to clients.
    #[arg(long, default_value = "E2E.price")]
    channel: String,
    /// Subscribers.
    #[arg(long, default_value_t = 1)]
    clients: usize,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Task {
    /// Publish until one message has come through, and print when.
    First,
    /// Every client receives every message, once and in order, over one connection.
    Exact {
        /// Messages to publish.
        #[arg(long, default_value_t = 1000)]
        count: u64,
    },
    /// Clients reconnect when their gateway goes; nothing is missed within a connection.
    Live {
        /// Messages to publish at least; more until every client has seen the last of them.
        #[arg(long, default_value_t = 400)]
        count: u64,
        /// Milliseconds between two messages.
        #[arg(long, default_value_t = 50)]
        every: u64,
    },
}

/// A data frame of wsgateway.v1, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    prev: u64,
    #[serde(default)]
    data: Option<Payload>,
}

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(default)]
    run: u64,
    #[serde(default)]
    n: u64,
}

/// What one client has seen so far. Owned by the client, published to whoever waits for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    subscribed: bool,
    last: u64,
    sessions: u64,
    missed_while_away: u64,
}

/// What one connection has seen.
#[derive(Debug, Default)]
struct Session {
    last_offset: Option<u64>,
}

impl Session {
    /// Judges a message: within a connection the numbers are gapless and `prev` is the offset before.
    fn take(&mut self, seen: &mut Seen, frame: &Frame, n: u64) -> Result<()> {
        match self.last_offset {
            // Another pod may be a moment behind the one that the client came from.
            None if n <= seen.last => return Ok(()),
            None => seen.missed_while_away += n - seen.last - 1,
            Some(offset) => {
                ensure!(n == seen.last + 1, "message {n} came after {}", seen.last);
                ensure!(frame.prev == offset, "message {n} has prev {}, not {offset}", frame.prev);
            }
        }
        self.last_offset = Some(frame.offset);
        seen.last = n;
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

#[tokio::main]
async fn main() -> ExitCode {
    harness::init_tls();
    let options = Options::parse();
    let result = timeout(LIMIT, run(options)).await;
    match result.unwrap_or_else(|_| Err(anyhow!("not done after {LIMIT:?}"))) {
        Ok(summary) => {
            say(&summary);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the output of this program")]
fn say(line: &str) {
    println!("{line}");
}

fn unix_ms() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

async fn run(options: Options) -> Result<String> {
    let options = Arc::new(options);
    let run = unix_ms()?;
    let mut clients = JoinSet::new();
    let mut boards = Vec::new();
    for _ in 0..options.clients {
        let (board, seen) = watch::channel(Seen::default());
        clients.spawn(client(Arc::clone(&options), run, board));
        boards.push(seen);
    }
    let publisher = Publisher::connect(&options, run).await?;
    let work = async {
        match options.task {
            Task::First => first(&publisher, &mut boards).await,
            Task::Exact { count } => exact(&publisher, &mut boards, count).await,
            Task::Live { count, every } => {
                live(&publisher, &mut boards, count, Duration::from_millis(every)).await
            }
        }
    };
    tokio::select! {
        result = work => result,
        Some(broken) = clients.join_next() => Err(broken?),
    }
}

/// Subscribes, again and again; ends only when a claim is broken, with the claim.
async fn client(options: Arc<Options>, run: u64, board: watch::Sender<Seen>) -> anyhow::Error {
    loop {
        match session(&options, run, &board).await {
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

async fn session(options: &Options, run: u64, board: &watch::Sender<Seen>) -> End {
    match frames(options, run, board).await {
        Ok(()) => End::Away(anyhow!("the gateway closed the connection")),
        Err(end) => end,
    }
}

async fn frames(options: &Options, run: u64, board: &watch::Sender<Seen>) -> Result<(), End> {
    let (mut socket, _) = timeout(PATIENCE, connect_async(&options.gateway)).await??;
    let subscribe = json!({ "type": "subscribe", "id": 1, "channels": [options.channel] });
    socket.send(Message::text(subscribe.to_string())).await?;
    let mut session = Session::default();
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let frame = serde_json::from_str::<Frame>(&text)
            .with_context(|| format!("not a frame: {text}"))
            .map_err(End::Broken)?;
        match (frame.kind.as_str(), &frame.data) {
            ("subscription_ack", _) => board.send_modify(|seen| {
                seen.subscribed = true;
                seen.sessions += 1;
            }),
            ("message", Some(payload)) if payload.run == run => {
                let mut seen = *board.borrow();
                session.take(&mut seen, &frame, payload.n).map_err(End::Broken)?;
                board.send_replace(seen);
            }
            ("error", _) => {
                let code = frame.code.as_deref().unwrap_or("without a code");
                return Err(End::Broken(anyhow!("the gateway answered with an error: {code}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Publishes numbered messages of one run.
struct Publisher {
    client: async_nats::Client,
    jetstream: async_nats::jetstream::Context,
    subject: String,
    run: u64,
}

impl Publisher {
    async fn connect(options: &Options, run: u64) -> Result<Self> {
        let client = async_nats::connect(&options.nats).await.context("cannot connect to NATS")?;
        let jetstream = async_nats::jetstream::new(client.clone());
        Ok(Self { client, jetstream, subject: options.subject.clone(), run })
    }

    fn payload(&self, n: u64) -> Vec<u8> {
        let payload = json!({ "type": "price:update", "tokenId": "E2E", "run": self.run, "n": n });
        payload.to_string().into_bytes()
    }

    /// Without an acknowledgement: there may be no stream yet.
    async fn hint(&self, n: u64) -> Result<()> {
        self.client.publish(self.subject.clone(), self.payload(n).into()).await?;
        Ok(self.client.flush().await?)
    }

    /// Hands a message over to the stream; the future resolves when it is stored.
    async fn store(&self, n: u64) -> Result<async_nats::jetstream::context::PublishAckFuture> {
        Ok(self.jetstream.publish(self.subject.clone(), self.payload(n).into()).await?)
    }
}

async fn first(publisher: &Publisher, boards: &mut [watch::Receiver<Seen>]) -> Result<String> {
    let begin = unix_ms()?;
    let mut n = 0;
    loop {
        n += 1;
        publisher.hint(n).await?;
        if timeout(RETRY, all(boards, |seen| seen.last > 0)).await.is_ok() {
            let now = unix_ms()?;
            return Ok(format!("first price at {now} after {} ms of trying", now - begin));
        }
    }
}

async fn exact(
    publisher: &Publisher,
    boards: &mut [watch::Receiver<Seen>],
    count: u64,
) -> Result<String> {
    all(boards, |seen| seen.subscribed).await?;
    say("subscribed");
    let mut outstanding = Vec::with_capacity(WINDOW);
    for n in 1..=count {
        outstanding.push(publisher.store(n).await?);
        if outstanding.len() == WINDOW || n == count {
            for stored in outstanding.drain(..) {
                stored.await.context("JetStream did not store a message")?;
            }
        }
    }
    all(boards, |seen| seen.last == count).await?;
    let missed = boards.iter().map(|board| board.borrow().missed_while_away).sum::<u64>();
    if missed > 0 {
        bail!("{missed} messages were missed at the beginning");
    }
    let clients = boards.len() as u64;
    Ok(format!(
        "exact: {count} messages × {clients} clients = {} deliveries, in order, none lost, none twice",
        count * clients
    ))
}

async fn live(
    publisher: &Publisher,
    boards: &mut [watch::Receiver<Seen>],
    count: u64,
    every: Duration,
) -> Result<String> {
    all(boards, |seen| seen.subscribed).await?;
    say("subscribed");
    let mut ticks = tokio::time::interval(every);
    let mut n = 0;
    while n < count || boards.iter().any(|board| board.borrow().last < count) {
        ticks.tick().await;
        n += 1;
        publisher.store(n).await?.await.context("JetStream did not store a message")?;
    }
    let seen = boards.iter().map(|board| *board.borrow()).collect::<Vec<_>>();
    let reconnects = seen.iter().map(|seen| seen.sessions - 1).sum::<u64>();
    let missed = seen.iter().map(|seen| seen.missed_while_away).sum::<u64>();
    Ok(format!(
        "live: {n} messages, {} clients, {reconnects} reconnects, {missed} missed while away, \
         none lost or twice within a connection",
        seen.len()
    ))
}

/// Waits until a claim holds for every client.
async fn all(boards: &mut [watch::Receiver<Seen>], claim: impl Fn(&Seen) -> bool) -> Result<()> {
    for board in boards {
        board.wait_for(|seen| claim(seen)).await.context("a client has ended")?;
    }
    Ok(())
}
