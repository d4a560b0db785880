//! P9: more connections than one process may hold, over several gateways on all cores, each with a message a second.
//!
//! As many client processes as gateways, each with one of them. Messages go to [`GROUPS`] channels in turn, evenly over
//! the second, so that each connection gets one a second.

use std::time::{Duration, Instant};

use crate::bench::{Bench, Job};
use crate::contestant::{Place, Running, Settings};
use crate::crowd::Seen;
use crate::error::Error;
use crate::feed::Publisher;
use crate::holders::Holders;
use crate::load::{GROUP, Shape, Subscriptions};
use crate::nats;
use crate::plan::Plan;
use crate::process::{available, cpu_ns, limit, memory, open_files, resident, slabs};

/// Gateway processes.
const GATEWAYS: usize = 6;

/// Channels, and thus messages a second.
const GROUPS: usize = 100;

/// The stream.
const STREAM: &str = "CROWD";

/// Files of a process that are no connections.
const OTHER_FILES: usize = 100;

/// Memory that a connection takes with both ends, buffers in use included (bytes): rather too much.
const PER_CONNECTION: u64 = 48 << 10;

/// Between two lines about how it goes.
const PROGRESS: Duration = Duration::from_secs(30);

/// How long the last messages may take.
const LAG: Duration = Duration::from_secs(30);

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let each = each(bench);
    let connections = each * GATEWAYS;
    nats::make(bench.ground.nats, STREAM, &format!("{GROUP}>"))?;
    let gateways = start(bench, each)?;
    let before = Memory::of(&gateways);
    let mut holders = Holders::default();
    let first = plan(bench, &gateways, 0, each);
    for number in 0..GATEWAYS {
        holders.start_anywhere(bench, "crowd", &plan(bench, &gateways, number, each))?;
        bench.say(&format!("P9: {} of {connections} connections", (number + 1) * each));
    }
    let grown = Memory::of(&gateways).since(before);
    let mut publisher = Publisher::new(&first)?;
    // A second of warm-up, then everything counts.
    let mut owed = hold(bench, &mut publisher, &mut holders, (each, 1))?.owed;
    let start = total(&mut holders)?;
    let (cpu, clock) = (cpu_of(&gateways)?, Instant::now());
    let held = hold(bench, &mut publisher, &mut holders, (each, bench.scale.crowd_seconds))?;
    let seconds = clock.elapsed().as_secs_f64();
    let cores = cpu_of(&gateways)?.saturating_sub(cpu) as f64 / 1e9 / seconds;
    owed += held.owed;
    let end = settle(&mut holders, owed)?;
    let per = |bytes: u64, count: usize| bytes as f64 / 1e3 / count.max(1) as f64;
    let worst = |ns: fn(&Seen) -> u64| held.seen.iter().map(ns).max().unwrap_or(0) as f64 / 1e6;
    let figures = [
        ("gateways", GATEWAYS as f64),
        ("heldSeconds", seconds),
        ("deliveriesPerSecond", (end.messages - start.messages) as f64 / seconds),
        ("lost", owed.saturating_sub(end.messages) as f64),
        ("faulty", end.faulty as f64),
        ("closed", (connections as u64 - end.connected) as f64),
        ("p50Ms", worst(|seen| seen.p50_ns)),
        ("p99Ms", worst(|seen| seen.p99_ns)),
        ("maxMs", worst(|seen| seen.max_ns)),
        ("cpuCores", cores),
        ("rssKbPerConnection", per(grown.resident, connections)),
        ("pssKbPerConnection", per(grown.own, connections)),
        ("kernelKbPerSocket", per(grown.kernel, 2 * connections)),
    ];
    bench.samples.push(("p9", &connections.to_string()), "wsgateway", 0, &figures);
    let text: Vec<_> = figures.iter().map(|(name, value)| format!("{name} {value:.2}")).collect();
    bench.say(&format!("P9: {}", text.join(", ")));
    match end.faulty + (connections as u64 - end.connected) + owed.saturating_sub(end.messages) {
        0 => holders.finish(),
        _ => Err(Error::Faulty(text.join(", "))),
    }
}

/// Connections of each gateway: as many as are asked for, and as files and memory allow.
fn each(bench: &Bench) -> usize {
    let wanted = bench.scale.crowd.div_ceil(GATEWAYS);
    let files = open_files().saturating_sub(OTHER_FILES);
    let memory = usize::try_from(available() / PER_CONNECTION).unwrap_or(usize::MAX) / GATEWAYS;
    let each = wanted.min(files).min(memory);
    if each < wanted {
        bench.say(&format!(
            "P9: {each} instead of {wanted} connections for each gateway: {files} files for one process (ulimit -n), \
             memory for {memory}"
        ));
    }
    // One entry for each connection on loopback.
    let tracked = limit("net.netfilter.nf_conntrack_max");
    if tracked.is_some_and(|tracked| tracked < (each * GATEWAYS) as u64 * 11 / 10) {
        bench.say("P9: net.netfilter.nf_conntrack_max is too low: connections may fail");
    }
    each
}

fn start(bench: &Bench, each: usize) -> Result<Vec<Running>, Error> {
    let settings = Settings { connections: each, ..Settings::default() };
    let start = |number: usize| {
        let name = format!("crowd-{number}");
        bench.ground.gateway_at(Place { name: &name, stream: STREAM, core: None }, settings)
    };
    (0..GATEWAYS).map(start).collect()
}

fn plan(bench: &Bench, gateways: &[Running], number: usize, each: usize) -> Plan {
    let subscriptions = Subscriptions::Groups { groups: GROUPS };
    let job = Job { subscriptions, ..Job::new(each, Vec::new()) };
    bench.plan(&gateways[number], &job)
}

/// What was owed to all clients while they were held, and what each process had seen of it.
struct Held {
    owed: u64,
    seen: Vec<Seen>,
}

/// Publishes to one group after the other, for so many seconds.
fn hold(
    bench: &Bench,
    publisher: &mut Publisher,
    holders: &mut Holders,
    (each, seconds): (usize, u64),
) -> Result<Held, Error> {
    let (clock, mut owed, mut said) = (Instant::now(), 0, Duration::ZERO);
    let shape = Shape::Filled(bench.scale.payload);
    for number in 0..seconds * GROUPS as u64 {
        let due = Duration::from_secs(1) * number as u32 / GROUPS as u32;
        std::thread::sleep(due.saturating_sub(clock.elapsed()));
        let group = number as usize % GROUPS;
        publisher.publish_on(&format!("{GROUP}{group}"), shape, 1)?;
        let members = (0..each).skip(group).step_by(GROUPS).count();
        owed += (members * GATEWAYS) as u64;
        if clock.elapsed() >= said + PROGRESS {
            said += PROGRESS;
            bench.say(&format!("P9: held for {} s", said.as_secs()));
        }
    }
    Ok(Held { owed, seen: ask(holders)? })
}

fn ask(holders: &mut Holders) -> Result<Vec<Seen>, Error> {
    let answers = holders.ask("")?;
    answers.iter().map(|answer| Ok(serde_json::from_str(answer)?)).collect()
}

/// Sums over all clients.
fn total(holders: &mut Holders) -> Result<Seen, Error> {
    let seen = ask(holders)?;
    let sum = |field: fn(&Seen) -> u64| seen.iter().map(field).sum();
    Ok(Seen {
        messages: sum(|seen| seen.messages),
        connected: sum(|seen| seen.connected),
        closed: sum(|seen| seen.closed),
        faulty: sum(|seen| seen.faulty),
        ..Seen::default()
    })
}

/// Waits until everybody has everything, or it is given up.
fn settle(holders: &mut Holders, owed: u64) -> Result<Seen, Error> {
    let clock = Instant::now();
    loop {
        let total = total(holders)?;
        if total.messages >= owed || clock.elapsed() > LAG {
            return Ok(total);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// CPU time of all gateways (ns).
fn cpu_of(gateways: &[Running]) -> Result<u64, Error> {
    gateways.iter().map(|gateway| cpu_ns(gateway.server.pid())).sum()
}

/// What the gateways and the kernel's own pools take (bytes).
#[derive(Clone, Copy)]
struct Memory {
    resident: u64,
    own: u64,
    kernel: u64,
}

impl Memory {
    fn of(gateways: &[Running]) -> Self {
        let sum = |of: fn(u32) -> u64| gateways.iter().map(|g| of(g.server.pid())).sum();
        Self { resident: sum(resident), own: sum(memory), kernel: slabs() }
    }

    fn since(self, before: Self) -> Self {
        Self {
            resident: self.resident.saturating_sub(before.resident),
            own: self.own.saturating_sub(before.own),
            kernel: self.kernel.saturating_sub(before.kernel),
        }
    }
}
