//! P10: what many connections cost that only answer pings. Several client processes hold them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::bench::{Bench, Job};
use crate::contestant::{Contestant, Running, Settings};
use crate::error::{Error, io};
use crate::process::{cpu_ns, memory, open_files, pinned};

/// Connections of one client process.
const PER_PROCESS: usize = 7_000;

/// Files of the server that are no connections.
const OTHER_FILES: usize = 100;

/// Client processes; dropped, they end.
struct Holders(Vec<Child>);

impl Drop for Holders {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // An error means that it has ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

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
        holders.0.len(),
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
    finish(holders)
}

/// Starts the clients, and waits until all of them are connected.
fn hold(bench: &Bench, running: &Running, connections: usize) -> Result<Holders, Error> {
    let mut holders = Holders(Vec::new());
    let mut left = connections;
    while left > 0 {
        let count = left.min(PER_PROCESS);
        left -= count;
        let plan = bench.plan(running, &Job::new(count, Vec::new()));
        let mut child = pinned(bench.ground.cores.map(|cores| cores.1), &bench.ground.this)
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io("cannot start the clients"))?;
        if let Some(stdin) = child.stdin.as_mut() {
            let line = serde_json::to_string(&plan)? + "\n";
            stdin.write_all(line.as_bytes()).map_err(io("the clients have ended"))?;
        }
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line).map_err(io("the clients have ended"))?;
        }
        holders.0.push(child);
        if line.trim() != "ready" {
            finish(holders)?;
            return Err(Error::Clients("they ended before they were connected".to_owned()));
        }
    }
    Ok(holders)
}

/// Lets the clients go, and hears whether all connections lasted.
fn finish(mut holders: Holders) -> Result<(), Error> {
    for child in std::mem::take(&mut holders.0) {
        let output = child.wait_with_output().map_err(io("the clients have ended"))?;
        if !output.status.success() {
            return Err(Error::Clients(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
    }
    Ok(())
}
