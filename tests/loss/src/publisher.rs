//! Publishers: numbered messages on all channels, each acknowledged by JetStream before the next of its channel.
//!
//! A message is published when JetStream has acknowledged it. What is not acknowledged in time is sent again with the
//! same `Nats-Msg-Id`, so that it is stored once. Each task owns some of the channels, so the order on a channel is
//! that of its numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, message::PublishMessage};
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::meter::Shared;

/// Tasks, and thus messages in flight.
const TASKS: usize = 64;

/// Longest wait for an acknowledgement before the message is sent again: well within the window in which the stream
/// knows it again.
const ACK: Duration = Duration::from_secs(3);

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(100);

/// How often a resting task looks whether it may go on.
const REST: Duration = Duration::from_millis(10);

/// What subjects begin with; the gateways strip it.
pub const PREFIX: &str = "loss.";

/// The tasks; dropping it ends them.
#[derive(Debug)]
pub struct Publishers {
    shared: Arc<State>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    /// Held for reading over one message, from its first attempt to its acknowledgement.
    gate: RwLock<()>,
    going: AtomicBool,
    retries: AtomicU64,
    meter: Shared,
    /// Makes ids that no earlier run on the same stream has used.
    run: String,
}

impl Publishers {
    /// Starts resting publishers that make `rate` messages a second together.
    pub fn start(
        jetstream: &jetstream::Context,
        channels: &[String],
        rate: u32,
        meter: &Shared,
    ) -> Self {
        let shared = Arc::new(State {
            gate: RwLock::new(()),
            going: AtomicBool::new(false),
            retries: AtomicU64::new(0),
            meter: meter.clone(),
            run: format!("{:08x}", fastrand::u32(..)),
        });
        let tasks = TASKS.min(channels.len()).max(1);
        let pace = Duration::from_secs(1) * tasks as u32 / rate.max(1);
        let mut set = JoinSet::new();
        for task in 0..tasks {
            let own = (0..).zip(channels).skip(task).step_by(tasks);
            let own = own.map(|(number, name)| Line::new(number, name)).collect();
            set.spawn(publish(shared.clone(), jetstream.clone(), own, pace));
        }
        Self { shared, _tasks: set }
    }

    /// Publishes from now on.
    pub fn go(&self) {
        self.shared.going.store(true, Ordering::Release);
    }

    /// Publishes nothing more, and waits until everything is acknowledged.
    pub async fn rest(&self) {
        self.shared.going.store(false, Ordering::Release);
        drop(self.shared.gate.write().await);
    }

    /// Waits until everything is acknowledged; while the guard is held nothing is published.
    pub async fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.shared.gate.write().await
    }

    /// Attempts that were not acknowledged, since the last time this was asked.
    pub fn retries(&self) -> u64 {
        self.shared.retries.swap(0, Ordering::Relaxed)
    }
}

/// A channel and how far it is.
struct Line {
    channel: u16,
    subject: String,
    number: u32,
}

impl Line {
    fn new(channel: u16, name: &str) -> Self {
        Self { channel, subject: format!("{PREFIX}{name}"), number: 0 }
    }
}

async fn publish(
    state: Arc<State>,
    jetstream: jetstream::Context,
    mut lines: Vec<Line>,
    pace: Duration,
) {
    // After a rest tasks begin at different moments, so that messages do not come in bursts.
    let mut due = None;
    for index in (0..lines.len()).cycle() {
        let Some(line) = lines.get_mut(index) else { return };
        loop {
            if let Some(due) = due {
                sleep_until(due).await;
            }
            let gate = state.gate.read().await;
            match (state.going.load(Ordering::Acquire), due) {
                (true, Some(was)) => {
                    line.number += 1;
                    let offset = stored(&state, &jetstream, line).await;
                    state.meter.lock().published(line.channel, offset);
                    // What was missed during an outage is not made up for.
                    due = Some((was + pace).max(Instant::now()));
                    break;
                }
                (true, None) => due = Some(Instant::now() + pace.mul_f64(fastrand::f64())),
                (false, _) => {
                    due = None;
                    drop(gate);
                    sleep(REST).await;
                }
            }
        }
    }
}

/// Publishes one message until it is acknowledged; returns its offset.
async fn stored(state: &State, jetstream: &jetstream::Context, line: &Line) -> u64 {
    let payload = format!("{{\"n\":{},\"text\":\"{}\"}}", line.number, FILLER.repeat(6));
    let id = format!("{}-{}-{}", state.run, line.channel, line.number);
    loop {
        let message = PublishMessage::build().message_id(&id).payload(payload.clone().into());
        let attempt =
            async { jetstream.send_publish(line.subject.clone(), message).await.ok()?.await.ok() };
        if let Ok(Some(ack)) = timeout(ACK, attempt).await {
            return ack.sequence;
        }
        state.retries.fetch_add(1, Ordering::Relaxed);
        sleep(RETRY).await;
    }
}

/// Six of them make a message of half a kilobyte: a client that does not read is soon felt.
const FILLER: &str = "the quick brown fox jumps over the lazy dog, and back again, all day long";
