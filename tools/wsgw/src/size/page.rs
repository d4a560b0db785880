//! The estimate as a page for people (pure).

use super::estimate::USED_PERCENT;
use super::{Estimate, Load};
use crate::screen::{Column, Table, Terminal, Tone, bytes, count};

/// Bounds of the flags of `wsgw load`.
const MOST_CHANNELS: u32 = 1_000;
const LEAST_RATE: f64 = 0.1;
const MOST_RATE: f64 = 100_000.0;
const MOST_PAYLOAD: u32 = 1_000_000;

const COLUMNS: [Column; 3] =
    [Column::text("WHAT"), Column::number("HOW MUCH"), Column::flexible("WHY")];

pub(crate) fn page(estimate: &Estimate, terminal: Terminal) -> String {
    let mut rows = Rows(Table::new(&COLUMNS));
    pods(estimate, &mut rows);
    traffic(estimate, &mut rows);
    polling(estimate, &mut rows);
    cost(estimate, &mut rows);
    let mut text = rows.0.render(terminal);
    for note in &estimate.notes {
        text.push_str(&format!("\n{}\n", terminal.wrap(&format!("note: {note}"), 0, 6)));
    }
    let from = format!(
        "Calculated from the benchmark on {}; your CPU differs. One point to check, {} cores expected:",
        estimate.bench.cpu,
        number(estimate.check.cores)
    );
    text.push_str(&format!("\n{}\n  {}\n", terminal.wrap(&from, 0, 0), estimate.check.command));
    text.push_str("The WsGateway: the same command with --manifest\n");
    text
}

struct Rows(Table);

impl Rows {
    fn row(&mut self, what: &str, how_much: String, why: String) {
        let plain = |text: String| (text, Tone::Plain);
        self.0.row([(what.to_owned(), Tone::Bold), plain(how_much), (why, Tone::Dim)]);
    }
}

fn pods(estimate: &Estimate, rows: &mut Rows) {
    let (load, pods, memory) = (&estimate.load, &estimate.pods, &estimate.memory);
    let (needed, because) = if pods.for_cpu > pods.for_connections {
        (pods.for_cpu, "for CPU, at most 4 cores a pod".to_owned())
    } else {
        let capacity = count(load.connections_per_pod);
        (pods.for_connections, format!("for connections, 80 % of {capacity} a pod"))
    };
    rows.row("pods", count(pods.count), format!("{needed} {because} + 1 that may be lost"));
    rows.row(
        "CPU used",
        format!("{} cores", number(pods.cores)),
        format!(
            "{} deliveries/s × {} µs + {} for heartbeats and new connections",
            number(estimate.traffic.deliveries_per_second),
            number(pods.delivery_us),
            number(pods.cores_for_connections)
        ),
    );
    rows.row(
        "CPU a pod",
        format!("{}m", pods.millicores_each),
        format!("requested; {USED_PERCENT} % used at the peak with one pod lost"),
    );
    rows.row(
        "memory a pod",
        bytes(memory.request_bytes_each),
        format!(
            "requested, {} at most: as the operator derives it",
            bytes(memory.limit_bytes_each)
        ),
    );
    rows.row(
        "memory",
        bytes(memory.request_bytes),
        format!("all pods; sockets take {} of the nodes", bytes(memory.kernel_bytes)),
    );
    rows.row(
        "open files a pod",
        count(memory.descriptors_each),
        "connections, those that begin, and what the program needs".to_owned(),
    );
}

fn traffic(estimate: &Estimate, rows: &mut Rows) {
    let (load, traffic) = (&estimate.load, &estimate.traffic);
    let compressed = load.compression && load.batch() > 1.0;
    let batch = match load.batch() {
        1.0 => "each by itself, so not compressed".to_owned(),
        batch if compressed => format!("about {} together, compressed", number(batch)),
        batch => format!("about {} together", number(batch)),
    };
    rows.row(
        "to clients",
        rate(traffic.egress_bytes_per_second),
        format!(
            "{} deliveries/s × {} B, {batch}",
            number(traffic.deliveries_per_second),
            number(traffic.bytes_per_delivery)
        ),
    );
    rows.row(
        "new connections",
        format!("{}/s", number(traffic.new_connections_per_second)),
        format!(
            "phones ({} %) every 10 min, others hourly; {}/s at worst",
            load.mobile_percent,
            number(traffic.new_connections_in_the_worst_second)
        ),
    );
    rows.row(
        "out of NATS",
        rate(traffic.nats_bytes_per_second),
        format!(
            "{} messages/s to each of {} pods; twice that during a rollout",
            number(load.published),
            traffic.nats_consumers
        ),
    );
    rows.row(
        "NATS connections",
        count(traffic.nats_connections),
        format!("2 a pod + 1; {} consumers", traffic.nats_consumers),
    );
    rows.row(
        "stream",
        bytes(traffic.stream_bytes as u64),
        format!(
            "{} messages in {} s (maxAge), on each replica",
            number(traffic.stream_messages),
            load.max_age()
        ),
    );
}

fn polling(estimate: &Estimate, rows: &mut Rows) {
    let Some(polling) = &estimate.polling else { return };
    rows.row(
        "by polling",
        format!("{} requests/min", number(polling.requests_per_minute)),
        format!(
            "every {} ms; push: {} new connections/min",
            polling.interval_ms,
            number(polling.push_requests_per_minute)
        ),
    );
    rows.row(
        "bytes of polling",
        rate(polling.egress_bytes_per_second),
        format!(
            "answers of {} B; push: {}",
            count(polling.response_bytes),
            compared(estimate.traffic.egress_bytes_per_second, polling.egress_bytes_per_second)
        ),
    );
    rows.row(
        "delay of polling",
        format!("{} ms", count(polling.average_delay_ms)),
        "half an interval on average, one at worst".to_owned(),
    );
}

fn cost(estimate: &Estimate, rows: &mut Rows) {
    let Some(cost) = &estimate.cost else { return };
    let money = |value: f64| format!("{} {}", count(value.round() as i128), cost.currency);
    let month = format!("a month at {} % of the peak's traffic", estimate.load.average_percent);
    rows.row("cost", money(cost.total), format!("{month}; prices: {}", cost.prices));
    rows.row(
        "  pods",
        money(cost.cpu + cost.memory),
        format!("CPU {}, memory {}", money(cost.cpu), money(cost.memory)),
    );
    rows.row("  network", money(cost.egress), format!("{} GB to clients", number(cost.egress_gb)));
    rows.row(
        "  others",
        money(cost.load_balancer + cost.nats),
        "load balancer and NATS".to_owned(),
    );
    if let Some(polling) = &cost.polling {
        rows.row(
            "cost by polling",
            money(polling.total),
            format!(
                "{} for {} GB, {} for requests; without what answers them",
                money(polling.egress),
                number(polling.egress_gb),
                money(polling.requests)
            ),
        );
    }
}

/// How a number compares with another: `43 MB/s, 17 %`.
fn compared(value: f64, other: f64) -> String {
    if other <= 0.0 {
        return rate(value);
    }
    format!("{}, {:.0} %", rate(value), value / other * 100.0)
}

/// Bytes a second, as networks count them.
fn rate(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1_000.0 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && value < 10.0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A number with as many digits as say something.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => count(value.round() as i128),
        value if value.fract() == 0.0 => format!("{value}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// What `wsgw load` is to be given for one pod's share, so that it fails where the pod uses more than is planned for it.
pub(crate) fn command(load: &Load, connections: u32, cores: f64) -> String {
    let planned = (cores * 100.0 / f64::from(USED_PERCENT) * 100.0).ceil().max(1.0);
    format!(
        "wsgw load ws://POD:8080/ws -c {connections} --ramp 30s --duration 60s --channels {channels} --per-client \
         {channels} --publish nats://nats.messaging:4222 --subject 'prices.{{channel}}' --rate {messages} --payload \
         {payload} --admin POD:9090 --fail-if 'cpu>{planned}%'",
        channels = load.channels_per_client.min(MOST_CHANNELS),
        messages = load.messages.clamp(LEAST_RATE, MOST_RATE),
        payload = load.payload_bytes.min(MOST_PAYLOAD),
    )
}
