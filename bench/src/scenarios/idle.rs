//! P10: what many connections cost that only answer pings. Several client processes hold them.

use std::time::Duration;

use crate::bench::{Bench, Job};
use crate::contestant::{Contestant, Running, Settings};
use crate::error::Error;
use crate::holders::Holders;
use crate::process::{cpu_ns, memory, open_files};

/// Connections of one client process.
const PER_PROCESS: usize = 7_000;

/// Files of the server that are no connections.
const OTHER_FILES: usize = 100;

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
    let figures = [
        ("cpuPercentOfACore", percent),
        ("cpuUsPerConnectionSecond", percent * 1e4 / connections.max(1) as f64),
        ("userKbPerConnection", kb),
    ];
    bench.samples.push(("p10", &connections.to_string()), "wsgateway", 0, &figures);
    bench.say(&format!("P10: {percent:.2} % of a core, {kb:.2} kB per connection"));
    holders.finish()
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
