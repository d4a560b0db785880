//! Markdown of the tools' day.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Compared, Results, Sized};
use crate::contestant::title;

pub(super) fn markdown(results: &Results) -> String {
    let mut text = String::from("# The tools on one machine\n\nMade by `make bench-tools`");
    let _ = writeln!(text, ": {}.\n", machine(&results.machine));
    if results.quick {
        text.push_str(
            "**A quick run: it shows that everything runs; the figures mean little.**\n\n",
        );
    }
    one(&mut text, "`wsgw load --profile stress`", "stress", &results.stress);
    one(&mut text, "`wsgw simulate`, a day at speed 288", "simulate", &results.simulate);
    compared(&mut text, &results.compare);
    sized(&mut text, &results.size);
    text
}

fn machine(machine: &Value) -> String {
    let word = |name: &str| machine[name].as_str().unwrap_or("?").to_owned();
    format!(
        "{} cores of an {}, {} GiB, Linux {}, loopback, with clients, servers and nats-server on the same cores",
        machine["cores"],
        word("cpu"),
        machine["memoryGib"],
        word("kernel"),
    )
}

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

/// The few figures that matter of a report, and the way to all of it.
fn one(text: &mut String, title: &str, name: &str, report: &Value) {
    if report.is_null() {
        return;
    }
    let figure = |path: &str| number(report, path);
    let _ = writeln!(
        text,
        "## {title}\n\nWith its plots: [{name}.html]({name}.html).\n\n\
         | | |\n|---|---:|\n\
         | clients, at most at the same time | {} |\n\
         | handshakes, reconnects | {}, {} |\n\
         | messages | {} ({:.0}/s) |\n\
         | latency p50, p90, p99, p99.9, max (ms) | {:.1}, {:.1}, {:.1}, {:.1}, {:.1} |\n\
         | lost, twice, out of order | {}, {}, {} |\n\
         | errors | {} |",
        figure("/peak"),
        figure("/totals/opened"),
        figure("/totals/reconnects"),
        figure("/totals/messages"),
        figure("/perSecond"),
        figure("/latency/p50Ms"),
        figure("/latency/p90Ms"),
        figure("/latency/p99Ms"),
        figure("/latency/p999Ms"),
        figure("/latency/maxMs"),
        figure("/totals/lost"),
        figure("/totals/twice"),
        figure("/totals/outOfOrder"),
        report["totals"]["errors"],
    );
    for note in report["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = writeln!(text, "\nIts note: {note}");
    }
    text.push('\n');
}

fn compared(text: &mut String, all: &[Compared]) {
    if all.is_empty() {
        return;
    }
    let first = &all[0].measured;
    let _ = writeln!(
        text,
        "## The same load on other servers\n\n{} clients, {:.0} deliveries a second of 256 B, by one `wsgw load`; two \
         rounds, in the second in the other order. The others do no more than pass on what NATS says: no resume, no history, \
         no acknowledgement, no limits.\n\n\
         | server | cores | µs a delivery | memory (MB) | p50 (ms) | p99 (ms) | max (ms) | lost | errors |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|",
        first.clients, first.deliveries_per_second,
    );
    let mut sorted: Vec<&Compared> = all.iter().collect();
    sorted.sort_by_key(|one| (one.server != "wsgateway", &one.server, one.round));
    for one in sorted {
        let seen = &one.measured;
        let _ = writeln!(
            text,
            "| {}, round {} | {:.2} | {:.1} | {:.0} | {:.1} | {:.1} | {:.1} | {} | {} |",
            title(&one.server),
            one.round + 1,
            seen.cores,
            seen.cores * 1e6 / seen.deliveries_per_second,
            seen.memory_bytes as f64 / 1e6,
            seen.p50_ms,
            seen.p99_ms,
            seen.max_ms,
            seen.lost,
            seen.errors,
        );
    }
    text.push('\n');
}

fn sized(text: &mut String, all: &[Sized]) {
    if all.is_empty() {
        return;
    }
    text.push_str(
        "## What `wsgw size` foretells\n\nIts figures are those of the busiest case of `make bench` (six gateways that share two \
         cores), so it foretells rather too much.\n\n\
         | clients | messages a second each | cores foretold | cores measured | of what was foretold | lost |\n\
         |---:|---:|---:|---:|---:|---:|\n",
    );
    for one in all {
        let _ = writeln!(
            text,
            "| {} | {} | {:.3} | {:.3} | {:.0} % | {} |",
            one.clients,
            one.messages,
            one.foretold_cores,
            one.measured.cores,
            100.0 * one.measured.cores / one.foretold_cores,
            one.measured.lost,
        );
    }
}
