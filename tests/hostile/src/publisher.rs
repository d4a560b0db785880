//! What honest clients listen to: numbered messages, stamped with the time, at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use async_nats::Client;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::environment::PREFIX;

/// The channel that every honest client is subscribed to.
pub const TICK: &str = "tick";

/// Channels of which each honest client is subscribed to one.
pub const GROUPS: usize = 50;

/// Bytes that make a message about as large as a ticker.
const FILLER: usize = 150;

/// Tokens of the deepest subject, published once a second.
const DEPTH: usize = 127;

/// The task; dropping it ends it.
#[derive(Debug)]
pub struct Publisher {
    state: Arc<State>,
    task: JoinHandle<Result<()>>,
}

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    ticks: AtomicU64,
}

impl Publisher {
    /// Publishes so many ticks a second from now on; with each, one message to one group in turn.
    pub fn start(client: Client, rate: u32) -> Self {
        let state = Arc::new(State::default());
        let task = tokio::spawn(publish(client, rate.max(1), state.clone()));
        Self { state, task }
    }

    /// Ends publishing when everything is sent; returns the number of ticks.
    ///
    /// # Errors
    /// When NATS was lost.
    pub async fn finish(mut self) -> Result<u64> {
        self.state.stop.store(true, Ordering::Relaxed);
        (&mut self.task).await??;
        Ok(self.state.ticks.load(Ordering::Relaxed))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The group that is published to with a tick, counted from 0.
pub fn group_of_tick(tick: u64) -> usize {
    (tick % GROUPS as u64) as usize
}

/// The group's channel.
pub fn group(number: usize) -> String {
    format!("group.{}", number % GROUPS)
}

async fn publish(client: Client, rate: u32, state: Arc<State>) -> Result<()> {
    let pace = Duration::from_secs(1) / rate;
    let deep = vec!["a"; DEPTH].join(".");
    let mut due = Instant::now();
    while !state.stop.load(Ordering::Relaxed) {
        let tick = state.ticks.fetch_add(1, Ordering::Relaxed);
        let of_group = tick / GROUPS as u64 + 1;
        for (channel, number) in
            [(TICK.to_owned(), tick + 1), (group(group_of_tick(tick)), of_group)]
        {
            client.publish(format!("{PREFIX}{channel}"), payload(number).into()).await?;
        }
        if tick.is_multiple_of(rate.into()) {
            client.publish(format!("{PREFIX}{deep}"), payload(tick).into()).await?;
        }
        client.flush().await?;
        // What was missed is not made up for: the rate is never higher than asked for.
        due = (due + pace).max(Instant::now());
        sleep_until(due).await;
    }
    Ok(())
}

fn payload(number: u64) -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{{\"n\":{number},\"t\":{},\"x\":\"{}\"}}", since.as_nanos(), "x".repeat(FILLER))
}
