//! What is to be reached, and what was.

use super::tables::{columns, count, table};
use super::{OURS, Results};
use crate::samples::Of;
use crate::samples::Spread;
use crate::scenarios::{COMPRESSION, LOOKBACK, PROTOCOLS, STALLED, STORM};

/// Rows of the table, as they are found.
struct Rows<'a> {
    results: &'a Results,
    rows: Vec<Vec<String>>,
}

impl Rows<'_> {
    /// A target, if something was measured for it.
    fn add(&mut self, id: &str, what: &str, target: &str, reached: Option<Spread>, unit: &str) {
        if let Some(reached) = reached {
            let reached = format!("{} {unit}", reached.text(2));
            self.rows.push(vec![id.to_owned(), what.to_owned(), target.to_owned(), reached]);
        }
    }

    /// For every case of a scenario.
    fn cases(&self, scenario: &str) -> Vec<String> {
        self.results.samples.cases(scenario).into_iter().map(str::to_owned).collect()
    }
}

pub(super) fn table_of(results: &Results) -> String {
    let mut rows = Rows { results, rows: Vec::new() };
    deliveries(&mut rows);
    connections(&mut rows);
    for case in rows.cases("p6") {
        let missed = results.scale.missed;
        let what = format!("{} clients resume at once, {missed} missed each", count(&case));
        let reached = results.spread("p6", &case, OURS, "ratio");
        rows.add("P6", &what, "≤ 1.15 × (handshakes + floor for the bytes)", reached, "×");
    }
    let [(nobody, ..), crowds @ ..] = LOOKBACK;
    for (case, ..) in crowds {
        let p99 = results.between("p6-live", case, nobody, "p99Ms");
        rows.add("P6", &format!("p99 of live clients, {case} looks back"), "≤ 1.1 ×", p99, "×");
    }
    let [(nobody, _), (storm, _)] = STORM;
    let p99 = results.between("p6-storm", storm, nobody, "p99Ms");
    rows.add("P6", "p99 of live clients during a storm of reconnects", "≤ 1.2 ×", p99, "×");
    compression(&mut rows);
    let [(reads, _), (stalls, _)] = STALLED;
    let p99 = results.between("p8", stalls, reads, "p99Ms");
    rows.add("P8", "p99 of the others, one client stalled", "≤ 1.1 ×", p99, "×");
    for case in rows.cases("p9") {
        let gateways = results.spread("p9", &case, OURS, "gateways").map_or(0.0, |s| s.median);
        let what = format!(
            "{} connections on {gateways} gateways, one message a second each, {} s: p99",
            count(&case),
            results.scale.crowd_seconds
        );
        rows.add("P9", &what, "< 1,000 ms", results.spread("p9", &case, OURS, "p99Ms"), "ms");
        let lost = results.spread("p9", &case, OURS, "lost");
        rows.add("P9", "messages lost by them", "0", lost, "");
        let closed = results.spread("p9", &case, OURS, "closed");
        rows.add("P9", "connections that ended", "0", closed, "");
    }
    for case in rows.cases("p10") {
        let what = format!("idle CPU, {} connections, 25 s heartbeat", count(&case));
        let reached = results.spread("p10", &case, OURS, "sendsPerHeartbeat");
        rows.add("P10", &what, "≤ 1.2 sends of the floor per heartbeat", reached, "sends");
    }
    let [(shared, _), (numbered, _)] = PROTOCOLS;
    let cpu = results.between("odin", numbered, shared, "cpuUsPerDelivery");
    rows.add("", "CPU per delivery, odin.v1 (a number per connection)", "≤ 1.03 × v1", cpu, "×");
    table("## Targets", &columns(&["", "what", "target", "reached"]), &rows.rows)
}

fn deliveries(rows: &mut Rows<'_>) {
    let results = rows.results;
    for (id, scenario, target) in [("P1", "p1", "≤ 1.03 × floor"), ("P2", "p2", "≤ 0.07 × floor")]
    {
        for case in rows.cases(scenario) {
            let what = format!("CPU per delivery, {} connections", count(&case));
            let reached = results.to_floor(scenario, &case, OURS, "cpuUsPerDelivery");
            rows.add(id, &what, target, reached, "×");
        }
    }
    for case in rows.cases("p4") {
        for (figure, word) in [("p50Ms", "p50"), ("p99Ms", "p99")] {
            let what = format!("latency {word}, {} connections", count(&case));
            let reached = results.to_floor("p4", &case, OURS, figure);
            rows.add("P4", &what, "≤ 1.10 × floor", reached, "×");
        }
    }
}

fn connections(rows: &mut Rows<'_>) {
    let results = rows.results;
    for case in rows.cases("p3") {
        let reached = results.spread("p3", &case, OURS, "userKbPerConnection");
        rows.add("P3", "memory per idle connection, 3 subscriptions", "≤ 0.3 kB", reached, "kB");
    }
    for case in rows.cases("p5") {
        let reached = results.spread("p5", &case, OURS, "cpuUsPerHandshake");
        rows.add("P5", "CPU per connection made and subscribed", "–", reached, "µs");
        let of = |server| Of { scenario: "p5", case: &case, server };
        let to_bun = results.samples.ratio(of(OURS), of("bun"), "cpuUsPerHandshake");
        rows.add("P5", "the same, next to Bun", "≤ 1.1 ×", to_bun, "×");
    }
}

fn compression(rows: &mut Rows<'_>) {
    let results = rows.results;
    let [single, single_deflate, batch, batch_deflate] = COMPRESSION.map(|(case, ..)| case);
    for (plain, deflate, what) in
        [(single, single_deflate, "single tickers"), (batch, batch_deflate, "batches of 10")]
    {
        let cpu = results.between("p7", deflate, plain, "cpuUsPerDelivery");
        rows.add("P7", &format!("CPU with compression, {what}"), "≤ 1.05 × without", cpu, "×");
        let bytes = results.between("p7", deflate, plain, "bytesPerDelivery");
        let target = if plain == batch { "≤ 0.38 × without" } else { "–" };
        rows.add("P7", &format!("bytes with compression, {what}"), target, bytes, "×");
    }
}
