//! What `hack/e2e` runs as a pod: publishes numbered messages through NATS and receives them through the
//! gateway's Service, as any publisher and any browser would.
//!
//! Out: one line per event and a summary on standard output; a failed claim is the exit code 1.
//! The subscribing side is tokio-tungstenite, on purpose not our own codec.

mod publisher;
mod subscriber;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use publisher::Publisher;
use subscriber::Seen;

/// How long a task may take in all. Longer than any rollout of a few pods.
const LIMIT: Duration = Duration::from_secs(360);
/// How often "first" publishes: "apply to first price" is measured with it.
const HINT: Duration = Duration::from_millis(50);
/// Acknowledgements of JetStream that may be outstanding.
const WINDOW: usize = 100;

#[derive(Debug, Clone, Parser)]
#[command(about = "Publishes numbered messages and checks what arrives through a gateway")]
struct Options {
    /// NATS, for publishing.
    #[arg(long)]
    nats: String,
    /// A .creds file to publish with.
    #[arg(long)]
    creds: Option<PathBuf>,
    /// The authority of the server's certificate, as a PEM file.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// A certificate to show to the server, as a PEM file.
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    /// Its key, as a PEM file.
    #[arg(long, requires = "certificate")]
    key: Option<PathBuf>,
    /// The gateway's endpoint, such as ws://odin:8080/ws.
    #[arg(long)]
    gateway: String,
    /// A file with the token that clients show, read for each connection.
    #[arg(long)]
    token_file: Option<PathBuf>,
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
    /// Clients come back when their gateway goes, and every message reaches each of them, once and in order.
    Live {
        /// Messages to publish at least; more until every client has seen the last of them.
        #[arg(long, default_value_t = 400)]
        count: u64,
        /// Milliseconds between two messages.
        #[arg(long, default_value_t = 50)]
        every: u64,
    },
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
        clients.spawn(subscriber::run(Arc::clone(&options), run, board));
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

async fn first(publisher: &Publisher, boards: &mut [watch::Receiver<Seen>]) -> Result<String> {
    let begin = unix_ms()?;
    let mut n = 0;
    loop {
        n += 1;
        publisher.hint(n).await?;
        if timeout(HINT, all(boards, |seen| seen.last > 0)).await.is_ok() {
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
    all(boards, |seen| seen.last == n).await?;
    let reconnects = boards.iter().map(|board| board.borrow().sessions - 1).sum::<u64>();
    let clients = boards.len() as u64;
    Ok(format!(
        "live: {n} messages × {clients} clients = {} deliveries over {reconnects} reconnects, in order, none lost, \
         none twice",
        n * clients
    ))
}

/// Waits until a claim holds for every client.
async fn all(boards: &mut [watch::Receiver<Seen>], claim: impl Fn(&Seen) -> bool) -> Result<()> {
    for board in boards {
        board.wait_for(|seen| claim(seen)).await.context("a client has ended")?;
    }
    Ok(())
}
