//! The attacking process: so many connections of one kind, each begun again when it ends.

mod commands;
mod frames;
mod readers;
mod socket;
mod web;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::kind::Kind;

/// Until a hostile client that was closed is back.
const PAUSE: Duration = Duration::from_millis(250);

/// The arguments of an attack.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// How
    #[arg(long, value_enum)]
    pub kind: Kind,
    /// The gateway's port for clients
    #[arg(long)]
    pub target: SocketAddr,
    /// Hostile clients
    #[arg(long)]
    pub clients: usize,
    /// How long
    #[arg(long)]
    pub seconds: f64,
}

/// What became of the hostile connections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// TCP connections.
    pub connections: u64,
    /// Upgrades.
    pub upgraded: u64,
    /// HTTP answers other than success, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Connections that the gateway closed, by code; 1006: without a word.
    pub closed: BTreeMap<u16, u64>,
    /// Bytes sent.
    pub bytes: u64,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    connections: AtomicU64,
    upgraded: AtomicU64,
    bytes: AtomicU64,
    refused: Mutex<BTreeMap<u16, u64>>,
    closed: Mutex<BTreeMap<u16, u64>>,
}

impl Shared {
    fn count(map: &Mutex<BTreeMap<u16, u64>>, key: u16) {
        *map.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    fn outcome(&self) -> Outcome {
        let map = |map: &Mutex<BTreeMap<u16, u64>>| {
            map.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        Outcome {
            connections: self.connections.load(Ordering::Relaxed),
            upgraded: self.upgraded.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            refused: map(&self.refused),
            closed: map(&self.closed),
        }
    }
}

/// Attacks for the time given. Connections that are open then end with this process.
pub async fn run(arguments: &Arguments) -> Outcome {
    let Arguments { kind, target, clients, seconds } = *arguments;
    let shared = Arc::new(Shared {
        target,
        connections: AtomicU64::new(0),
        upgraded: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        refused: Mutex::default(),
        closed: Mutex::default(),
    });
    let mut tasks = JoinSet::new();
    for number in 0..kind.connections(clients) {
        tasks.spawn(again(kind, shared.clone(), number));
    }
    sleep(Duration::from_secs_f64(seconds)).await;
    shared.outcome()
}

async fn again(kind: Kind, shared: Arc<Shared>, number: usize) {
    loop {
        // An error is the usual end of a hostile connection; the counters say what the gateway did.
        drop(Box::pin(life(kind, &shared, number)).await);
        sleep(if kind == Kind::Storm { Duration::ZERO } else { PAUSE }).await;
    }
}

/// One connection, until it ends.
async fn life(kind: Kind, shared: &Arc<Shared>, number: usize) -> io::Result<()> {
    match kind {
        Kind::DeepPatterns => commands::deep_patterns(shared).await,
        Kind::CrowdedCommands => commands::crowded(shared).await,
        Kind::LongNames => commands::long_names(shared).await,
        Kind::Churn => commands::churn(shared, number).await,
        Kind::Replays => commands::replays(shared).await,
        Kind::Snapshots => commands::snapshots(shared).await,
        Kind::HalfFrames => frames::half_frame(shared).await,
        Kind::HalfCommands => frames::half_command(shared).await,
        Kind::ByteAtATime => frames::byte_at_a_time(shared).await,
        Kind::EmptyFragments => frames::empty_fragments(shared).await,
        Kind::Pongs => frames::flood(shared, 0x8a, 125).await,
        Kind::Pings => frames::flood(shared, 0x89, 0).await,
        Kind::BadUtf8 => frames::bad_utf8(shared).await,
        Kind::Oversized => frames::oversized(shared).await,
        Kind::Bombs => frames::bomb(shared, number).await,
        Kind::NeverRead => readers::never(shared).await,
        Kind::DripRead => readers::drip(shared).await,
        Kind::Silent => web::silent(shared, number).await,
        Kind::HalfHeads => web::half_head(shared, number).await,
        Kind::KeepAlive => web::keep_alive(shared, number).await,
        Kind::Storm => web::storm(shared, number).await,
        Kind::Hammer => web::hammer(shared, number).await,
        Kind::EventStreams => web::event_stream(shared, number).await,
        Kind::LongPolls => web::long_poll(shared, number).await,
    }
}
