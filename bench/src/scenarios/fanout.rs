//! P1 to P5: every server in turn, with few and with many connections; what each session can tell is measured in it.

use crate::bench::{Bench, Job};
use crate::contestant::{Contestant, title};
use crate::error::Error;
use crate::load::Shape;
use crate::plan::{Connected, Measured, Phase};
use crate::samples::Of;

/// Share of the floor's core that a paced phase takes.
const LOAD: f64 = 0.5;

/// What a session measures: a scenario and the phase that tells it, if it needs one.
struct Part {
    scenario: &'static str,
    phase: Option<Phase>,
}

pub(super) fn run(bench: &mut Bench, wanted: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    if !["p1", "p2", "p3", "p4", "p5"].iter().any(|name| wanted(name)) {
        return Ok(());
    }
    for round in 0..bench.scale.rounds {
        for connections in [bench.scale.small, bench.scale.large] {
            let parts = parts(bench, connections, wanted)?;
            if parts.is_empty() {
                continue;
            }
            let count = bench.contestants.len();
            for turn in 0..count {
                // Another one begins in each round.
                let who = bench.contestants[(round + turn) % count].clone();
                session(bench, &who, connections, round, &parts)?;
            }
        }
    }
    Ok(())
}

/// Memory and handshakes are measured where there are most connections.
fn parts(
    bench: &mut Bench,
    connections: usize,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Part>, Error> {
    let scale = bench.scale;
    let large = connections == scale.large;
    let mut parts = Vec::new();
    let mut add = |scenario: &'static str, phase| {
        if wanted(scenario) {
            parts.push(Part { scenario, phase });
        }
    };
    let messages = if large { scale.messages_large } else { scale.messages };
    if large {
        add("p3", None);
        add("p5", None);
    }
    add("p1", Some(bench.window(messages, 1)));
    if !large {
        add("p2", Some(bench.window(scale.messages_window, scale.window)));
    }
    if wanted("p4") {
        let per_second = bench.rate(connections, LOAD)?;
        let (seconds, shape) = (scale.paced_seconds, Shape::Filled(scale.payload));
        add("p4", Some(Phase::Paced { per_second, seconds, shape, stalled: false }));
    }
    Ok(parts)
}

fn session(
    bench: &mut Bench,
    who: &Contestant,
    connections: usize,
    round: usize,
    parts: &[Part],
) -> Result<(), Error> {
    let phases = parts.iter().filter_map(|part| part.phase).collect();
    let Some(outcome) = bench.session("p1-p5", who, &Job::new(connections, phases))? else {
        return Ok(());
    };
    let (case, name) = (connections.to_string(), who.name());
    let mut measured = outcome.phases.iter();
    for part in parts {
        let figures = match part.phase.and_then(|_| measured.next()) {
            Some(measured) => phase_figures(measured),
            None => connected_figures(&outcome.connected),
        };
        // The floor keeps nothing about a connection and reads a handshake byte by byte.
        if part.phase.is_some() || *who != Contestant::Floor {
            bench.samples.push((part.scenario, &case), name, round, &figures);
        }
    }
    let text = line(bench, &case, name, round, parts);
    bench.say(&format!(
        "round {} of {}, {connections} connections, {}: {text}",
        round + 1,
        bench.scale.rounds,
        title(name)
    ));
    Ok(())
}

fn phase_figures(measured: &Measured) -> Vec<(&'static str, f64)> {
    vec![
        ("cpuUsPerDelivery", measured.us_per_delivery()),
        ("messagesPerSecond", measured.messages_per_second()),
        ("bytesPerDelivery", measured.bytes as f64 / measured.deliveries.max(1) as f64),
        ("p50Ms", measured.p50_ns as f64 / 1e6),
        ("p99Ms", measured.p99_ns as f64 / 1e6),
        ("behind", f64::from(u8::from(measured.behind))),
    ]
}

fn connected_figures(connected: &Connected) -> Vec<(&'static str, f64)> {
    vec![
        ("cpuUsPerHandshake", connected.cpu_ns / 1e3),
        ("userKbPerConnection", connected.user_bytes / 1e3),
        ("kernelKbPerSocket", connected.kernel_bytes / 1e3),
    ]
}

/// One session in one line.
fn line(bench: &Bench, case: &str, name: &str, round: usize, parts: &[Part]) -> String {
    let figure = |scenario: &str, server: &str, figure: &str| {
        bench.samples.one(Of { scenario, case, server }, round, figure)
    };
    let mut texts = Vec::new();
    for part in parts {
        let scenario = part.scenario;
        let key = match scenario {
            "p3" => "userKbPerConnection",
            "p4" => "p99Ms",
            "p5" => "cpuUsPerHandshake",
            _ => "cpuUsPerDelivery",
        };
        let unit = match scenario {
            "p3" => "kB",
            "p4" => "ms p99",
            _ => "µs",
        };
        let Some(value) = figure(scenario, name, key) else { continue };
        let mut text = format!("{} {value:.2} {unit}", scenario.to_uppercase());
        if let Some(floor) = figure(scenario, "floor", key).filter(|floor| *floor > 0.0)
            && name != "floor"
        {
            text += &format!(" ({:.2} × floor)", value / floor);
        }
        texts.push(text);
    }
    texts.join(", ")
}
