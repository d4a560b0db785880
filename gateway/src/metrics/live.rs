//! What a scrape reads from the owners of the numbers; nothing is counted here.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use wsgateway_runtime::families::{Family, Shape};

use crate::admission::Admission;
use crate::counters::{AWAY_MS, CLOSE_CODES, LATENCY_MS, TURN_US, Totals};
use crate::history::{History, Size};
use crate::hub::{Hub, View};
use crate::resources::{Sampler, Usage};
use crate::source::status::{Snapshot, State, Status};
use crate::users::{Reported, Users};

type Read = fn(&Facts) -> f64;

struct Facts {
    totals: Totals,
    shards: Vec<View>,
    source: Snapshot,
    history: Size,
    taken: u64,
    capacity: u64,
    reported: Reported,
    usage: Usage,
}

const GAUGES: [(&str, &str, Read); 21] = [
    ("wsgateway_connections", "Connections held", |facts| facts.taken as f64),
    ("wsgateway_connections_capacity", "Most connections this pod holds", |facts| {
        facts.capacity as f64
    }),
    (
        "wsgateway_cpu_percent",
        "CPU use since the last scrape, in percent of what the container may use",
        |facts| facts.usage.cpu_percent.round(),
    ),
    (
        "wsgateway_cpu_limit_cores",
        "CPUs that the container may use: its quota, or those of the node",
        |facts| facts.usage.cpu_limit,
    ),
    (
        "wsgateway_memory_used_bytes",
        "Memory that counts against the limit of the container and cannot be taken back; resident memory where there is no limit",
        |facts| facts.usage.memory as f64,
    ),
    (
        "wsgateway_memory_limit_bytes",
        "Memory that the container may use: its limit, or that of the node",
        |facts| facts.usage.memory_limit as f64,
    ),
    ("wsgateway_subscriptions", "Subscriptions held", |facts| facts.totals.subscriptions as f64),
    ("wsgateway_outbox_bytes", "Bytes waiting for slow clients", |facts| {
        facts.totals.outbox_bytes as f64
    }),
    ("wsgateway_outbox_memory_bytes", "Memory of what waits for slow clients", |facts| {
        facts.totals.outbox_memory as f64
    }),
    ("wsgateway_unfinished_bytes", "Memory of messages that clients have begun to send", |facts| {
        facts.totals.unfinished_bytes as f64
    }),
    ("wsgateway_outboxes", "Clients that bytes are waiting for", |facts| {
        facts.totals.outboxes as f64
    }),
    (
        "wsgateway_rate_waiting_messages",
        "Newest messages of channels with maxRate that wait for the end of an interval, in each shard",
        |facts| facts.totals.rate_waiting as f64,
    ),
    ("wsgateway_shards", "Threads that hold connections", |facts| facts.shards.len() as f64),
    ("wsgateway_replays", "Clients that look back at this moment", |facts| {
        facts.totals.replays as f64
    }),
    ("wsgateway_history_messages", "Messages held for clients that come back", |facts| {
        facts.history.messages as f64
    }),
    ("wsgateway_history_bytes", "Bytes of those messages and of last values", |facts| {
        facts.history.bytes as f64
    }),
    ("wsgateway_history_channels", "Channels whose last value is known", |facts| {
        facts.history.channels as f64
    }),
    (
        "wsgateway_user_pods",
        "Other pods that report the connections of users, while there is a limit of them",
        |facts| facts.reported.pods as f64,
    ),
    (
        "wsgateway_user_reported_connections",
        "Connections of users that other pods have reported",
        |facts| facts.reported.connections as f64,
    ),
    ("wsgateway_source_last_sequence", "Stream sequence of the last message taken", |facts| {
        facts.source.last_sequence as f64
    }),
    ("wsgateway_source_lag_messages", "Messages in the stream that wait for this pod", |facts| {
        facts.source.lag_messages as f64
    }),
];

const COUNTERS: [(&str, &str, Read); 18] = [
    ("wsgateway_connections_accepted_total", "Connections admitted", |facts| {
        facts.totals.adopted as f64
    }),
    ("wsgateway_deliveries_total", "Messages delivered, one per receiver", |facts| {
        facts.totals.deliveries as f64
    }),
    ("wsgateway_delivered_bytes_total", "Bytes of delivered frames", |facts| {
        facts.totals.delivered_bytes as f64
    }),
    ("wsgateway_delivery_writes_total", "Write system calls for deliveries", |facts| {
        facts.totals.writes as f64
    }),
    ("wsgateway_batch_frames_total", "Frames that held several messages", |facts| {
        facts.totals.batches as f64
    }),
    (
        "wsgateway_conflated_total",
        "Messages of Latest channels that slow clients were told of instead of getting them",
        |facts| facts.totals.conflated as f64,
    ),
    (
        "wsgateway_rate_conflated_total",
        "Messages of channels with maxRate that clients did not get, since a newer one replaced them in time",
        |facts| facts.totals.rate_conflated as f64,
    ),
    (
        "wsgateway_source_paced_seconds_total",
        "Time that messages waited in the stream for rateLimits.streamMessages and rateLimits.deliveries",
        |facts| facts.source.paced_ms as f64 / 1e3,
    ),
    ("wsgateway_sent_away_total", "Clients asked to reconnect elsewhere", |facts| {
        facts.totals.sent_away as f64
    }),
    ("wsgateway_commands_total", "Commands and pings taken from clients", |facts| {
        facts.totals.commands as f64
    }),
    ("wsgateway_command_errors_total", "Commands answered with an error", |facts| {
        facts.totals.command_errors as f64
    }),
    ("wsgateway_replayed_total", "Messages sent to clients that looked back", |facts| {
        facts.totals.replayed as f64
    }),
    (
        "wsgateway_lookups_failed_total",
        "Lookups of older messages that failed: the client was sent away to try again",
        |facts| facts.totals.lookups_failed as f64,
    ),
    ("wsgateway_source_messages_total", "Messages read from the stream", |facts| {
        facts.source.messages as f64
    }),
    ("wsgateway_source_duplicates_total", "Messages read twice and dropped", |facts| {
        facts.source.duplicates as f64
    }),
    (
        "wsgateway_duplicates_dropped_total",
        "Messages dropped for a nonce that was on their channel before",
        |facts| facts.source.repetitions as f64,
    ),
    ("wsgateway_source_lost_total", "Messages that the stream discarded unread", |facts| {
        facts.source.lost as f64
    }),
    ("wsgateway_source_restarts_total", "Times the consumer was made anew", |facts| {
        facts.source.restarts as f64
    }),
];

const STATE: Shape =
    Shape::gauge("wsgateway_source_state", "1 for the state the source is in", &["state"]);
const CLOSED: Shape = Shape::counter(
    "wsgateway_disconnects_total",
    "Connections ended, by close code (1006: without one)",
    &["code"],
);
const RESUMES: Shape = Shape::counter(
    "wsgateway_resumes_total",
    "Clients that reconnected with a position: recovered, or told of a gap",
    &["outcome"],
);
const AWAY: Shape = Shape::histogram(
    "wsgateway_resume_away_seconds",
    "Time from the first message that a resumed client had missed until it came back",
    &[],
);
const LATENCY: Shape = Shape::histogram(
    "wsgateway_delivery_latency_seconds",
    "Time from the stream's storing a message to its last write in a shard",
    &["shard"],
);
const TURN: Shape = Shape::histogram(
    "wsgateway_shard_turn_seconds",
    "Time of a turn of a shard without its waiting: live messages wait so long at most",
    &["shard"],
);
const LONGEST: Shape = Shape::gauge(
    "wsgateway_shard_longest_turn_seconds",
    "Longest turn of a shard since the last scrape",
    &["shard"],
);
const INBOX: Shape =
    Shape::gauge("wsgateway_shard_inbox_messages", "Messages that wait for a shard", &["shard"]);
const HELD: Shape =
    Shape::gauge("wsgateway_shard_connections", "Connections of a shard", &["shard"]);

/// Collects from the owners at scrape time.
pub(super) struct Live {
    hub: Hub,
    admission: Admission,
    status: Status,
    history: History,
    users: Users,
    sampler: Sampler,
    descs: Vec<Desc>,
}

impl Live {
    pub(super) fn new(
        hub: Hub,
        admission: Admission,
        status: Status,
        history: History,
        users: Users,
    ) -> prometheus::Result<Self> {
        let gauges = GAUGES.iter().map(|(name, help, _)| Shape::gauge(name, help, &[]));
        let counters = COUNTERS.iter().map(|(name, help, _)| Shape::counter(name, help, &[]));
        let others = [STATE, CLOSED, RESUMES, AWAY, LATENCY, TURN, LONGEST, INBOX, HELD];
        let all = gauges.chain(counters).chain(others);
        let descs = all.map(|shape| shape.desc()).collect::<prometheus::Result<_>>()?;
        // Of its own: those who ask for /status do not shorten its spans.
        let sampler = Sampler::new();
        Ok(Self { hub, admission, status, history, users, sampler, descs })
    }

    fn facts(&self) -> Facts {
        let shards: Vec<View> = self.hub.take_views().collect();
        Facts {
            totals: shards.iter().map(|shard| shard.totals).sum(),
            shards,
            source: self.status.snapshot(),
            history: self.history.size(),
            taken: self.admission.taken(),
            capacity: self.admission.capacity(),
            reported: self.users.reported(),
            usage: self.sampler.sample(),
        }
    }
}

impl Collector for Live {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let facts = self.facts();
        let value = |shape: Shape, read: Read| shape.family().with(&[], read(&facts));
        let gauges =
            GAUGES.iter().map(|(name, help, read)| value(Shape::gauge(name, help, &[]), *read));
        let counters =
            COUNTERS.iter().map(|(name, help, read)| value(Shape::counter(name, help, &[]), *read));
        let others = [state(&facts), closed(&facts), resumes(&facts), away(&facts)];
        let families = gauges.chain(counters).chain(others).chain(by_shard(&facts.shards));
        families.map(MetricFamily::from).collect()
    }
}

fn state(facts: &Facts) -> Family {
    let value = |state: State| f64::from(u8::from(state == facts.source.state));
    State::ALL
        .into_iter()
        .fold(STATE.family(), |family, state| family.with(&[state.name()], value(state)))
}

fn closed(facts: &Facts) -> Family {
    let codes = CLOSE_CODES.iter().map(u16::to_string).chain(["other".to_owned()]);
    codes
        .zip(facts.totals.closed)
        .fold(CLOSED.family(), |family, (code, count)| family.with(&[code.as_str()], count as f64))
}

fn resumes(facts: &Facts) -> Family {
    let totals = &facts.totals;
    let family = RESUMES.family().with(&["recovered"], totals.resumes_recovered as f64);
    family.with(&["gap"], totals.resumes_with_gap as f64)
}

fn away(facts: &Facts) -> Family {
    let (mut family, away) = (AWAY.family(), &facts.totals.away);
    let bounds = AWAY_MS.iter().map(|bound| *bound as f64 / 1e3);
    family.add_histogram(&[], bounds, &away.counts, away.sum as f64 / 1e3);
    family
}

/// How far each shard is behind, by its number.
fn by_shard(shards: &[View]) -> [Family; 5] {
    let [mut latency, mut turns] = [LATENCY, TURN].map(Shape::family);
    let [mut longest, mut inbox, mut held] = [LONGEST, INBOX, HELD].map(Shape::family);
    for (number, shard) in shards.iter().enumerate() {
        let number = number.to_string();
        let labels = [number.as_str()];
        let bounds = LATENCY_MS.iter().map(|bound| *bound as f64 / 1e3);
        let (written, turned) = (&shard.totals.latency, &shard.turns);
        latency.add_histogram(&labels, bounds, &written.counts, written.sum as f64 / 1e3);
        let bounds = TURN_US.iter().map(|bound| *bound as f64 / 1e6);
        turns.add_histogram(&labels, bounds, &turned.counts, turned.sum as f64 / 1e6);
        longest.add(&labels, shard.longest_turn_us as f64 / 1e6);
        inbox.add(&labels, shard.inbox as f64);
        held.add(&labels, shard.totals.connections as f64);
    }
    [latency, turns, longest, inbox, held]
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = include_str!("../../../charts/wsgateway/prometheus-adapter-values.yaml");

    #[test]
    fn the_rules_for_a_metrics_adapter_are_about_metrics_that_exist() {
        let queries = RULES.lines().filter_map(|line| line.split_once("seriesQuery: '"));
        let series: Vec<&str> =
            queries.filter_map(|(_, query)| Some(query.split_once('{')?.0)).collect();
        assert_eq!(series.len(), 3);
        for name in series {
            assert!(GAUGES.iter().any(|(gauge, ..)| *gauge == name), "{name}");
        }
    }
}
