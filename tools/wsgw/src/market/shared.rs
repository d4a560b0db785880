//! What the publisher and the API both know.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounter, IntGauge, Registry};
use tokio::sync::watch;
use wsgateway_market::control::{Command, Counts, Facts, Wanted};
use wsgateway_runtime::build_info;
use wsgateway_runtime::process::ProcessCollector;

use crate::pipeline::Progress;

/// Longest wait for the publisher to take over a command.
const TAKE_OVER: Duration = Duration::from_secs(1);

/// What is wanted, and what has been done. Requests write the first, the publisher the rest.
pub(super) struct Shared {
    wanted: watch::Sender<Wanted>,
    /// What the publisher has taken over.
    taken: watch::Sender<Wanted>,
    pub(super) tally: Tally,
    target: &'static str,
    connected: AtomicBool,
    trouble: Mutex<Option<String>>,
    /// Messages published in the last second, as the bits of an f64.
    per_second: AtomicU64,
    started: Instant,
    start_ms: u64,
}

/// Counters, which `/stats` and `/metrics` read.
pub(super) struct Tally {
    pub(super) generated: IntCounter,
    pub(super) published: IntCounter,
    pub(super) duplicates: IntCounter,
    pub(super) retries: IntCounter,
    pub(super) dropped: IntCounter,
    pub(super) errors: IntCounter,
    running: IntGauge,
    connected: IntGauge,
    rate: Gauge,
}

impl Tally {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("wsgw_market_{name}_total"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("wsgw_market_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let rate = Gauge::new("wsgw_market_rate", "Messages a second that are asked for.")?;
        registry.register(Box::new(rate.clone()))?;
        Ok(Self {
            generated: counter("generated", "Messages that the market has made.")?,
            published: counter(
                "published",
                "Messages that the stream has confirmed, or Redis has taken.",
            )?,
            duplicates: counter(
                "duplicates",
                "Of the published ones, those that the stream had already.",
            )?,
            retries: counter("retries", "Messages sent once more under the same Nats-Msg-Id.")?,
            dropped: counter(
                "dropped",
                "Messages given up: no stream takes them, or Redis was lost meanwhile.",
            )?,
            errors: counter("errors", "Attempts that failed.")?,
            running: gauge("running", "Whether it publishes.")?,
            connected: gauge("connected", "Whether a connection to NATS or Redis stands.")?,
            rate,
        })
    }
}

impl Shared {
    pub(super) fn new(
        wanted: Wanted,
        target: &'static str,
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        build_info::register(registry, "wsgw_market_build_info", env!("CARGO_PKG_VERSION"))?;
        registry.register(Box::new(ProcessCollector::new()?))?;
        let tally = Tally::register(registry)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shared = Self {
            wanted: watch::Sender::new(wanted.clone()),
            taken: watch::Sender::new(wanted.clone()),
            tally,
            target,
            connected: AtomicBool::new(false),
            trouble: Mutex::new(None),
            per_second: AtomicU64::new(0),
            started: Instant::now(),
            start_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        };
        shared.show(&wanted);
        Ok(shared)
    }

    /// What is wanted, as it changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    /// Carries out a command; two at once come one after the other.
    pub(super) fn command(&self, command: Command, body: &[u8]) -> Result<Wanted, String> {
        let mut outcome = Err(String::new());
        self.wanted.send_if_modified(|wanted| {
            outcome = wanted.after(command, body);
            let Ok(after) = &outcome else { return false };
            let is_new = after != wanted;
            wanted.clone_from(after);
            is_new
        });
        if let Ok(wanted) = &outcome {
            self.show(wanted);
        }
        outcome
    }

    /// The publisher does this from now on.
    pub(super) fn take_over(&self, wanted: Wanted) {
        self.taken.send_replace(wanted);
    }

    /// Waits until the publisher does what is wanted: after a stop, no further message is made. A publisher that waits for
    /// a connection, and a command that follows at once, are not waited for.
    pub(super) async fn until_taken(&self, wanted: &Wanted) {
        let mut taken = self.taken.subscribe();
        let is_taken = taken.wait_for(|taken| taken == wanted);
        // Late is as good as done: nothing is sent without a connection.
        drop(tokio::time::timeout(TAKE_OVER, is_taken).await);
    }

    pub(super) fn wanted(&self) -> Wanted {
        self.wanted.borrow().clone()
    }

    fn show(&self, wanted: &Wanted) {
        self.tally.running.set(wanted.running.into());
        self.tally.rate.set(wanted.settings.rate());
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
        self.tally.connected.set(connected.into());
    }

    /// What is wrong now; None once a message was published.
    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(super) fn has_trouble(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(super) fn set_per_second(&self, rate: f64) {
        self.per_second.store(rate.to_bits(), Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let Tally { generated, published, duplicates, retries, dropped, errors, .. } = &self.tally;
        // What became of messages first, or one that is published meanwhile would be counted there alone.
        let (messages_published, dropped) = (published.get(), dropped.get());
        Counts {
            generated: generated.get(),
            messages_published,
            duplicates: duplicates.get(),
            retries: retries.get(),
            dropped,
            errors: errors.get(),
        }
    }

    /// Answers by means of everything that is known.
    pub(super) fn with_facts<T>(&self, answer: impl FnOnce(&Facts<'_>) -> T) -> T {
        let wanted = self.wanted();
        answer(&Facts {
            wanted: &wanted,
            counts: self.counts(),
            per_second: f64::from_bits(self.per_second.load(Ordering::Relaxed)),
            target: self.target,
            connected: self.connected.load(Ordering::Relaxed),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            start_ms: self.start_ms,
            uptime: self.started.elapsed().as_secs_f64(),
            memory_mb: memory_mb(),
        })
    }

    /// The last line.
    pub(super) fn summary(&self) -> String {
        let counts = self.counts();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = counts.messages_published as f64 / seconds.max(0.001);
        let cpu = cpu_seconds();
        let per_cpu = counts.messages_published as f64 / cpu.max(0.001);
        format!(
            "wsgw: published {} messages in {seconds:.1} s, {rate:.1} a second, {per_cpu:.0} per second of CPU; {} retried, \
             {} dropped, {} not confirmed\n",
            counts.messages_published,
            counts.retries,
            counts.dropped,
            counts.unconfirmed(),
        )
    }
}

impl Progress for Shared {
    fn published(&self, is_duplicate: bool) {
        self.tally.published.inc();
        self.tally.duplicates.inc_by(is_duplicate.into());
        if self.has_trouble() {
            self.set_trouble(None);
        }
    }

    fn retried(&self) {
        self.tally.retries.inc();
    }

    fn failed(&self) {
        self.tally.errors.inc();
    }

    fn dropped(&self) {
        self.tally.dropped.inc();
    }

    fn connected(&self, connected: bool) {
        self.set_connected(connected);
    }

    fn trouble(&self, trouble: String) {
        self.set_trouble(Some(trouble));
    }
}

/// CPU time of this process.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory of this process.
fn memory_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}
