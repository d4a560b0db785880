//! One run of the benchmark: who is measured, in what, how often, and where the results go.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::bench::Bench;
use crate::contestant::{Contestant, Ground, Peers, peers};
use crate::error::{Error, io};
use crate::process::{Scratch, cores, program};
use crate::report::{self, OURS, Results};
use crate::samples::Samples;
use crate::scale::Scale;
use crate::{charts, nats, scenarios};
use wsgateway_client::machine::Machine;

/// Everything that can be measured.
pub(crate) const SCENARIOS: [&str; 13] =
    ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p12", "odin", "tls"];

/// Every peer, in the order of the report.
pub(crate) const PEERS: [&str; 8] =
    ["bun", "gws", "axum", "ws", "socketio", "nats", "sockudo", "none"];

/// What to measure, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenarios: p1 and p2 CPU per delivery (1 and 16 messages in flight), p3 memory of idle connections,
    /// p4 latency, p5 CPU of a handshake, p6 everybody comes back at once, p7 compression, p8 a stalled client, p9 100,000 connections over six gateways, p10 idle CPU, p12 growth, odin: numbers per connection, tls: TLS beside none
    #[arg(long, value_delimiter = ',', value_parser = SCENARIOS, default_values = SCENARIOS)]
    only: Vec<String>,
    /// Servers beside the floor and our gateway, or "none"
    #[arg(long, value_delimiter = ',', value_parser = PEERS, default_values = &PEERS[..7])]
    peers: Vec<String>,
    /// Rounds of p1 to p5; in each, every server runs once, in another order. The other scenarios run at most 3
    #[arg(long)]
    rounds: Option<usize>,
    /// Keep the results of an earlier run in the same folder for what is not measured now
    #[arg(long)]
    keep: bool,
    /// Few connections, short phases, one round: shows that everything runs; the figures mean little
    #[arg(long)]
    quick: bool,
    /// How long p9 holds its connections (s) [default: 600, quick: 5]
    #[arg(long, value_name = "SECONDS")]
    crowd_seconds: Option<u64>,
    /// Connections of p9 in all, as far as open files and memory allow [default: 100000, quick: 3000]
    #[arg(long, value_name = "COUNT")]
    crowd: Option<usize>,
    /// Let clients sleep until a socket wakes them, instead of looking every 100 µs (see README.md)
    #[arg(long)]
    sleep: bool,
    /// Gateway program (default: the one beside this program)
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// Where the results go
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let this = std::env::current_exe().map_err(io("own path"))?;
    let gateway = program(&this, arguments.gateway.as_ref(), "gateway", Error::NoGateway)?;
    let clock = Instant::now();
    let wanted: Vec<String> =
        arguments.peers.iter().filter(|name| *name != "none").cloned().collect();
    let Peers { ready: mut peers, missing } = peers(&wanted)?;
    peers.sort_by_key(|peer| PEERS.iter().position(|name| *name == peer.name()));
    let (scratch, cores) = (Scratch::new()?, cores());
    let nats = nats::start(&scratch, "nats-server", cores.map(|cores| cores.1))?;
    nats::make_stream(nats.clients)?;
    let ground = Ground { this, gateway, cores, nats: nats.clients, scratch };
    let mut scale = Scale::new(arguments.quick, arguments.rounds);
    scale.crowd = arguments.crowd.unwrap_or(scale.crowd);
    scale.crowd_seconds = arguments.crowd_seconds.unwrap_or(scale.crowd_seconds);
    let contestants: Vec<Contestant> =
        [Contestant::Floor, Contestant::Gateway].into_iter().chain(peers).collect();
    let mut bench = Bench::new(ground, scale, contestants, arguments.sleep, clock);
    let result = scenarios::all(&mut bench, &arguments.only);
    drop(nats.server);
    let mut samples = bench.samples;
    let kept = match arguments.keep {
        true => samples.keep(earlier(&arguments.results)?),
        false => Vec::new(),
    };
    // What was measured before an error is worth keeping.
    let results = Results {
        machine: Machine::of_this(cores.is_some()),
        scale,
        sleep: arguments.sleep,
        quick: arguments.quick,
        minutes: clock.elapsed().as_secs_f64() / 60.0,
        missing,
        failures: bench.failures,
        kept,
        samples,
    };
    write(&arguments.results, &results)?;
    result?;
    match results.failures.iter().find(|failure| failure.server == OURS) {
        Some(failure) => Err(Error::Essential(OURS, failure.why.clone())),
        None => Ok(()),
    }
}

/// What an earlier run measured.
fn earlier(folder: &Path) -> Result<Samples, Error> {
    #[derive(serde::Deserialize)]
    struct Earlier {
        samples: Samples,
    }
    let text = fs::read(folder.join("results.json")).map_err(io("no earlier results to keep"))?;
    Ok(serde_json::from_slice::<Earlier>(&text)?.samples)
}

fn write(folder: &Path, results: &Results) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(io("cannot make the results folder"))?;
    let put = |name: &str, text: String| {
        fs::write(folder.join(name), text).map_err(io("cannot write results"))
    };
    let markdown = report::markdown(results);
    println!("{markdown}");
    put("results.json", serde_json::to_string_pretty(results)? + "\n")?;
    put("results.md", markdown)?;
    for (name, svg) in charts::all(results) {
        put(name, svg)?;
    }
    eprintln!("written to {}", folder.display());
    Ok(())
}
