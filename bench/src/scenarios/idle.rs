//! P10: what many connections cost that only answer pings. Several client processes hold them. A heartbeat is compared
//! with a `send` of the floor to the same number of connections.

use std::time::Duration;

use crate::bench::{Bench, Job};
use crate::contestant::{Contestant, Running, Settings};
use crate::error::Error;
use crate::feed::Publisher;
use crate::holders::Holders;
use crate::load::Shape;
use crate::process::{cpu_ns, memory, open_files};

/// Connections of one client process.
const PER_PROCESS: usize = 7_000;

/// Files of the server that are no connections.
const OTHER_FILES: usize = 100;

/// Interval at which the gateway pings (s): its default.
const HEARTBEAT: f64 = 25.0;

/// Messages of the floor that are measured, one at a time.
const FLOOR_MESSAGES: u64 = 20;

/// Between two messages of the floor, so that clients have read one before the next: far more than a round takes.
const FLOOR_PAUSE: Duration = Duration::from_millis(500);

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let limit = open_files().saturating_sub(OTHER_FILES);
    let connections = bench.scale.idle_connections.min(limit);
    let settings = Settings { connections, ..Settings::default() };
    let running = bench.ground.start(&Contestant::Gateway, settings)?;
    let pid = running.server.pid();
    let before = memory(pid);
    let holders = hold(bench, &running, connections)?;
    bench.say(&format!(
        "P10: {connections} connections in {} client processes, {} s",
        holders.count(),
        bench.scale.idle_seconds
    ));
    let cpu = cpu_ns(pid)?;
    std::thread::sleep(Duration::from_secs(bench.scale.idle_seconds));
    let busy = cpu_ns(pid)?.saturating_sub(cpu) as f64 / 1e9;
    let percent = 100.0 * busy / bench.scale.idle_seconds as f64;
    let kb = memory(pid).saturating_sub(before) as f64 / 1e3 / connections.max(1) as f64;
    holders.finish()?;
    drop(running);
    let us = percent * 1e4 / connections.max(1) as f64;
    let floor_us = floor(bench, connections)?;
    let sends = us * HEARTBEAT / floor_us.max(0.1);
    let figures = [
        ("cpuPercentOfACore", percent),
        ("cpuUsPerConnectionSecond", us),
        ("sendsPerHeartbeat", sends),
        ("userKbPerConnection", kb),
    ];
    bench.samples.push(("p10", &connections.to_string()), "wsgateway", 0, &figures);
    bench.say(&format!(
        "P10: {percent:.2} % of a core, {sends:.2} sends of the floor ({floor_us:.2} µs) per heartbeat, {kb:.2} kB per \
         connection"
    ));
    Ok(())
}

/// CPU time of a `send` of the floor (µs), to as many connections.
fn floor(bench: &Bench, connections: usize) -> Result<f64, Error> {
    let settings = Settings { connections, ..Settings::default() };
    let running = bench.ground.start(&Contestant::Floor, settings)?;
    let holders = hold(bench, &running, connections)?;
    let mut publisher = Publisher::new(&bench.plan(&running, &Job::new(connections, Vec::new())))?;
    let shape = Shape::Filled(bench.scale.payload);
    let mut rounds = |messages: u64| -> Result<u64, Error> {
        let cpu = cpu_ns(running.server.pid())?;
        for _ in 0..messages {
            publisher.publish(shape, 1)?;
            std::thread::sleep(FLOOR_PAUSE);
        }
        Ok(cpu_ns(running.server.pid())?.saturating_sub(cpu))
    };
    rounds(1)?;
    let busy = rounds(FLOOR_MESSAGES)?;
    holders.finish()?;
    Ok(busy as f64 / 1e3 / (FLOOR_MESSAGES * connections.max(1) as u64) as f64)
}

/// Starts the clients, and waits until all of them are connected.
fn hold(bench: &Bench, running: &Running, connections: usize) -> Result<Holders, Error> {
    let mut holders = Holders::default();
    let mut left = connections;
    while left > 0 {
        let count = left.min(PER_PROCESS);
        left -= count;
        holders.start(bench, "hold", &bench.plan(running, &Job::new(count, Vec::new())))?;
    }
    Ok(holders)
}
