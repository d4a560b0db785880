//! Metrics: read from the owners' tallies when a scrape asks, never counted twice.
//!
//! No label carries a name that strangers choose; every label child exists from the start.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use wsgateway_runtime::process::ProcessCollector;

use crate::admission::Admission;
use crate::counters::{CLOSE_CODES, Totals};
use crate::history::{History, Size};
use crate::hub::Hub;

use crate::source::status::{Snapshot, State, Status};

/// Upgrades refused, by reason.
#[derive(Clone, Debug)]
pub(crate) struct Rejections {
    pub handshake: IntCounter,
    pub full: IntCounter,
    pub draining: IntCounter,
    pub source_not_ready: IntCounter,
    /// Event streams and long-polls have their share of the places.
    pub fallbacks_full: IntCounter,
    /// There were no file descriptors.
    pub descriptors: IntCounter,
}

/// HTTP connections of the client port that are not upgraded (yet).
#[derive(Clone, Debug)]
pub(crate) struct PendingMetrics {
    pub held: IntGauge,
    pub evicted: IntCounter,
}

impl PendingMetrics {
    /// Registers both.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let held = IntGauge::new(
            "wsgateway_pending_connections",
            "HTTP connections that are not upgraded (yet), nor an event stream or long-poll",
        )?;
        let evicted = IntCounter::new(
            "wsgateway_pending_evicted_total",
            "Idle ones of them that were closed for a new connection",
        )?;
        registry.register(Box::new(held.clone()))?;
        registry.register(Box::new(evicted.clone()))?;
        Ok(Self { held, evicted })
    }
}

impl Rejections {
    /// Registers the counter with its reasons.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = Opts::new(
            "wsgateway_upgrade_rejections_total",
            "Upgrades refused before a connection existed",
        );
        let counter = IntCounterVec::new(options, &["reason"])?;
        registry.register(Box::new(counter.clone()))?;
        let reason = |reason| counter.with_label_values(&[reason]);
        Ok(Self {
            handshake: reason("handshake"),
            full: reason("full"),
            draining: reason("draining"),
            source_not_ready: reason("source_not_ready"),
            fallbacks_full: reason("fallbacks_full"),
            descriptors: reason("descriptors"),
        })
    }

    /// Clients who did nothing wrong and met a pod that was not about to stop either.
    pub(crate) fn unexpected(&self) -> u64 {
        [&self.full, &self.source_not_ready, &self.fallbacks_full, &self.descriptors]
            .into_iter()
            .map(IntCounter::get)
            .sum()
    }
}

type Read = fn(&Facts) -> u64;

struct Facts {
    totals: Totals,
    source: Snapshot,
    history: Size,
    taken: u64,
    capacity: u64,
    shards: u64,
}

const GAUGES: [(&str, &str, Read); 14] = [
    ("wsgateway_connections", "Connections held", |facts| facts.taken),
    ("wsgateway_connections_capacity", "Most connections this pod holds", |facts| facts.capacity),
    ("wsgateway_subscriptions", "Subscriptions held", |facts| facts.totals.subscriptions),
    ("wsgateway_outbox_bytes", "Bytes waiting for slow clients", |facts| facts.totals.outbox_bytes),
    ("wsgateway_outbox_memory_bytes", "Memory of what waits for slow clients", |facts| {
        facts.totals.outbox_memory
    }),
    ("wsgateway_unfinished_bytes", "Memory of messages that clients have begun to send", |facts| {
        facts.totals.unfinished_bytes
    }),
    ("wsgateway_outboxes", "Clients that bytes are waiting for", |facts| facts.totals.outboxes),
    ("wsgateway_shards", "Threads that hold connections", |facts| facts.shards),
    ("wsgateway_replays", "Clients that look back at this moment", |facts| facts.totals.replays),
    ("wsgateway_history_messages", "Messages held for clients that come back", |facts| {
        facts.history.messages as u64
    }),
    ("wsgateway_history_bytes", "Bytes of those messages and of last values", |facts| {
        facts.history.bytes as u64
    }),
    ("wsgateway_history_channels", "Channels whose last value is known", |facts| {
        facts.history.channels as u64
    }),
    ("wsgateway_source_last_sequence", "Stream sequence of the last message taken", |facts| {
        facts.source.last_sequence
    }),
    ("wsgateway_source_lag_messages", "Messages in the stream that wait for this pod", |facts| {
        facts.source.lag_messages
    }),
];

const COUNTERS: [(&str, &str, Read); 18] = [
    ("wsgateway_connections_total", "Connections accepted", |facts| facts.totals.adopted),
    ("wsgateway_deliveries_total", "Messages delivered, one per receiver", |facts| {
        facts.totals.deliveries
    }),
    ("wsgateway_delivered_bytes_total", "Bytes of delivered frames", |facts| {
        facts.totals.delivered_bytes
    }),
    ("wsgateway_delivery_writes_total", "Write system calls for deliveries", |facts| {
        facts.totals.writes
    }),
    ("wsgateway_batch_frames_total", "Frames that held several messages", |facts| {
        facts.totals.batches
    }),
    (
        "wsgateway_conflated_total",
        "Messages of Latest channels that slow clients were told of instead of getting them",
        |facts| facts.totals.conflated,
    ),
    ("wsgateway_sent_away_total", "Clients asked to reconnect elsewhere", |facts| {
        facts.totals.sent_away
    }),
    ("wsgateway_commands_total", "Commands and pings taken from clients", |facts| {
        facts.totals.commands
    }),
    ("wsgateway_command_errors_total", "Commands answered with an error", |facts| {
        facts.totals.command_errors
    }),
    ("wsgateway_replayed_total", "Messages sent to clients that looked back", |facts| {
        facts.totals.replayed
    }),
    ("wsgateway_resumes_recovered_total", "Resumes after which nothing was missing", |facts| {
        facts.totals.resumes_recovered
    }),
    ("wsgateway_resumes_with_gap_total", "Resumes that were told of a gap", |facts| {
        facts.totals.resumes_with_gap
    }),
    (
        "wsgateway_lookups_failed_total",
        "Lookups of older messages that failed: the client was sent away to try again",
        |facts| facts.totals.lookups_failed,
    ),
    ("wsgateway_source_messages_total", "Messages read from the stream", |facts| {
        facts.source.messages
    }),
    ("wsgateway_source_duplicates_total", "Messages read twice and dropped", |facts| {
        facts.source.duplicates
    }),
    (
        "wsgateway_duplicates_dropped_total",
        "Messages dropped for a nonce that was on their channel before",
        |facts| facts.source.repetitions,
    ),
    ("wsgateway_source_lost_total", "Messages that the stream discarded unread", |facts| {
        facts.source.lost
    }),
    ("wsgateway_source_restarts_total", "Times the consumer was made anew", |facts| {
        facts.source.restarts
    }),
];

/// Collects from the owners at scrape time.
struct Live {
    hub: Hub,
    admission: Admission,
    status: Status,
    history: History,
    gauges: Vec<(IntGauge, Read)>,
    counters: Vec<(IntCounter, Read)>,
    state: IntGaugeVec,
    closed: IntCounterVec,
    lag: Lag,
}

/// How far each shard is behind, by its number.
struct Lag {
    turn: IntGaugeVec,
    inbox: IntGaugeVec,
}

impl Lag {
    fn new() -> prometheus::Result<Self> {
        let gauge = |name, help| IntGaugeVec::new(Opts::new(name, help), &["shard"]);
        Ok(Self {
            turn: gauge(
                "wsgateway_shard_longest_turn_microseconds",
                "Longest turn of a shard since the last scrape: live messages waited so long at most",
            )?,
            inbox: gauge("wsgateway_shard_inbox_messages", "Messages that wait for a shard")?,
        })
    }

    fn set(&self, hub: &Hub) {
        for (number, (turn, inbox)) in hub.take_lags().enumerate() {
            let number = number.to_string();
            let set = |gauge: &IntGaugeVec, value: u64| {
                gauge
                    .with_label_values(&[number.as_str()])
                    .set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&self.turn, turn);
            set(&self.inbox, inbox as u64);
        }
    }
}

/// Registers everything that is read at scrape time, and the process's own numbers.
pub(crate) fn register(
    registry: &Registry,
    hub: Hub,
    admission: Admission,
    status: Status,
    history: History,
) -> prometheus::Result<()> {
    let mut live = Live {
        hub,
        admission,
        status,
        history,
        gauges: Vec::new(),
        counters: Vec::new(),
        state: IntGaugeVec::new(
            Opts::new("wsgateway_source_state", "1 for the state the source is in"),
            &["state"],
        )?,
        closed: IntCounterVec::new(
            Opts::new(
                "wsgateway_disconnects_total",
                "Connections ended, by close code (1006: without one)",
            ),
            &["code"],
        )?,
        lag: Lag::new()?,
    };
    for (name, help, read) in GAUGES {
        live.gauges.push((IntGauge::new(name, help)?, read));
    }
    for (name, help, read) in COUNTERS {
        live.counters.push((IntCounter::new(name, help)?, read));
    }
    registry.register(Box::new(live))?;
    registry.register(Box::new(ProcessCollector::new()?))
}

impl Collector for Live {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        let counters = self.counters.iter().flat_map(|(counter, _)| counter.desc());
        gauges
            .chain(counters)
            .chain(self.state.desc())
            .chain(self.closed.desc())
            .chain(self.lag.turn.desc())
            .chain(self.lag.inbox.desc())
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let facts = Facts {
            totals: self.hub.totals(),
            source: self.status.snapshot(),
            history: self.history.size(),
            taken: self.admission.taken(),
            capacity: self.admission.capacity(),
            shards: self.hub.shards() as u64,
        };
        let mut families = Vec::new();
        for (gauge, read) in &self.gauges {
            gauge.set(i64::try_from(read(&facts)).unwrap_or(i64::MAX));
            families.extend(gauge.collect());
        }
        for (counter, read) in &self.counters {
            catch_up(counter, read(&facts));
            families.extend(counter.collect());
        }
        for state in State::ALL {
            self.state
                .with_label_values(&[state.name()])
                .set(i64::from(state == facts.source.state));
        }
        families.extend(self.state.collect());
        let codes = CLOSE_CODES.iter().map(u16::to_string).chain(["other".to_owned()]);
        for (code, count) in codes.zip(facts.totals.closed) {
            catch_up(&self.closed.with_label_values(&[code.as_str()]), count);
        }
        families.extend(self.closed.collect());
        self.lag.set(&self.hub);
        families.extend(self.lag.turn.collect());
        families.extend(self.lag.inbox.collect());
        families
    }
}

/// Brings a counter up to a tally that only grows.
fn catch_up(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
