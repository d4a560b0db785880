//! What the source says of itself to /health, /status and /metrics. The source writes, anybody reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// What the source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// No connection to NATS or Redis.
    Connecting,
    /// NATS does not let us in; it is tried again.
    Unauthorized,
    /// Connected, but the stream does not exist (yet).
    WaitingForStream,
    /// Reading back what the stream holds.
    Warming,
    /// Every new message is delivered.
    Live,
    /// Something is refused, or cannot be used; it is tried again.
    Error,
}

impl State {
    /// All states, for metrics.
    pub(crate) const ALL: [Self; 6] = [
        Self::Connecting,
        Self::Unauthorized,
        Self::WaitingForStream,
        Self::Warming,
        Self::Live,
        Self::Error,
    ];

    /// The name used in JSON and as metric label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Unauthorized => "unauthorized",
            Self::WaitingForStream => "waiting_for_stream",
            Self::Warming => "warming",
            Self::Live => "live",
            Self::Error => "error",
        }
    }
}

/// Everything at one instant.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Snapshot {
    pub state: State,
    pub stream: String,
    pub epoch: String,
    pub last_sequence: u64,
    pub lag_messages: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip)]
    pub messages: u64,
    #[serde(skip)]
    pub duplicates: u64,
    #[serde(skip)]
    pub repetitions: u64,
    #[serde(skip)]
    pub lost: u64,
    #[serde(skip)]
    pub restarts: u64,
    /// Time that messages have waited in the stream for the limits of this pod (ms).
    #[serde(skip)]
    pub paced_ms: u64,
}

/// Shared status; clones see the same.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    stream: String,
    slow: Mutex<Slow>,
    last_sequence: AtomicU64,
    lag: AtomicU64,
    messages: AtomicU64,
    duplicates: AtomicU64,
    repetitions: AtomicU64,
    lost: AtomicU64,
    restarts: AtomicU64,
    paced_us: AtomicU64,
}

/// What changes with the state only.
#[derive(Debug)]
struct Slow {
    state: State,
    epoch: Arc<str>,
    error: Option<String>,
}

impl Status {
    pub(crate) fn new(stream: &str) -> Self {
        let slow = Slow { state: State::Connecting, epoch: "".into(), error: None };
        let shared = Shared {
            stream: stream.to_owned(),
            slow: Mutex::new(slow),
            last_sequence: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            repetitions: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            paced_us: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Enters a state; says so in the log when it is another one, or for another reason.
    pub(crate) fn set(&self, state: State, error: Option<String>) {
        let mut slow = self.slow();
        if slow.state != state || slow.error != error {
            match &error {
                Some(error) => tracing::warn!(state = state.name(), error, "source"),
                None => tracing::info!(state = state.name(), "source"),
            }
        }
        slow.state = state;
        slow.error = error;
    }

    pub(super) fn live(&self, epoch: &Arc<str>, position: u64) {
        self.slow().epoch = Arc::clone(epoch);
        self.shared.last_sequence.store(position, Relaxed);
        self.set(State::Live, None);
    }

    pub(super) fn delivered(&self, sequence: u64, lag: u64) {
        self.shared.last_sequence.store(sequence, Relaxed);
        self.shared.lag.store(lag, Relaxed);
        self.shared.messages.fetch_add(1, Relaxed);
    }

    /// A message was dropped that repeats an earlier one.
    pub(super) fn repetition(&self, sequence: u64, lag: u64) {
        self.shared.repetitions.fetch_add(1, Relaxed);
        self.delivered(sequence, lag);
    }

    pub(super) fn duplicate(&self) {
        self.shared.duplicates.fetch_add(1, Relaxed);
    }

    pub(super) fn lost(&self, messages: u64) {
        self.shared.lost.fetch_add(messages, Relaxed);
    }

    pub(super) fn restarted(&self) {
        self.shared.restarts.fetch_add(1, Relaxed);
    }

    /// Messages that were handed on to the shards.
    pub(super) fn handed_on(&self) -> u64 {
        let shared = &self.shared;
        shared.messages.load(Relaxed).saturating_sub(shared.repetitions.load(Relaxed))
    }

    /// The limits of this pod have let messages wait so long.
    pub(super) fn paced(&self, wait: Duration) {
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        self.shared.paced_us.fetch_add(us, Relaxed);
    }

    /// So many messages wait in the stream.
    pub(super) fn waiting(&self, messages: u64) {
        self.shared.lag.store(messages, Relaxed);
    }

    /// The state alone.
    pub(crate) fn state(&self) -> State {
        self.slow().state
    }

    /// Whether the stream has been read at all.
    pub(crate) fn is_known(&self) -> bool {
        !self.slow().epoch.is_empty()
    }

    /// Everything at this instant.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let (state, epoch, error) = {
            let slow = self.slow();
            (slow.state, slow.epoch.to_string(), slow.error.clone())
        };
        let shared = &self.shared;
        Snapshot {
            state,
            stream: shared.stream.clone(),
            epoch,
            last_sequence: shared.last_sequence.load(Relaxed),
            lag_messages: shared.lag.load(Relaxed),
            error,
            messages: shared.messages.load(Relaxed),
            duplicates: shared.duplicates.load(Relaxed),
            repetitions: shared.repetitions.load(Relaxed),
            lost: shared.lost.load(Relaxed),
            restarts: shared.restarts.load(Relaxed),
            paced_ms: shared.paced_us.load(Relaxed) / 1_000,
        }
    }

    fn slow(&self) -> MutexGuard<'_, Slow> {
        self.shared.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
