//! The tools of the day on this machine: 50,000 clients of `wsgw load`, a market's day of `wsgw simulate`, the same load
//! on two other servers, and what `wsgw size` foretells beside what is measured.
//!
//! The figures of load and simulate are those of their own reports; CPU and memory of a server are read from the
//! kernel, the same way for each.

mod report;
mod tool;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;
use wsgateway_client::machine::Machine;

use crate::contestant::{Contestant, Ground, Peers, Place, Running, Settings, peers};
use crate::error::{Error, io};
use crate::load::CHANNEL;
use crate::nats;
use crate::process::{Scratch, cores, program};
use tool::{Measured, Tool};

/// The stream of the load tool's own channels.
const STREAM: &str = "LOAD";

/// Gateways of the many clients: a process may hold 20,000 files on a usual machine.
const GATEWAYS: usize = 3;

/// Other servers: one in Node, one in Go.
const OTHERS: [&str; 2] = ["ws", "gws"];

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// `wsgw load --profile stress`
    Stress,
    /// `wsgw simulate`: a day at speed 288
    Simulate,
    /// The same load on two other servers
    Compare,
    /// What `wsgw size` foretells
    Size,
}

/// What to run, and where the results go.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Parts; results of the others are kept
    #[arg(long, value_delimiter = ',', value_enum, default_values = ["stress", "simulate", "compare", "size"])]
    only: Vec<Part>,
    /// Few clients, short phases: shows that everything runs; the figures mean little
    #[arg(long)]
    quick: bool,
    /// Gateway program (default: the one beside this program)
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// The program wsgw (default: the one beside this program)
    #[arg(long, value_name = "FILE")]
    wsgw: Option<PathBuf>,
    /// Where the results go
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
}

/// What the parts have found; those that did not run are as an earlier run left them.
#[derive(Debug, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Results {
    machine: Value,
    quick: bool,
    /// Reports of `wsgw`, without their points.
    stress: Value,
    simulate: Value,
    compare: Vec<Compared>,
    size: Vec<Sized>,
}

/// One server under the load that all have.
#[derive(Debug, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Compared {
    server: String,
    round: usize,
    measured: Measured,
}

/// A point of `wsgw size` beside what was measured.
#[derive(Debug, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sized {
    clients: u64,
    /// A second, to each client.
    messages: u64,
    foretold_cores: f64,
    measured: Measured,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let this = std::env::current_exe().map_err(io("own path"))?;
    let gateway = program(&this, arguments.gateway.as_ref(), "gateway", Error::NoGateway)?;
    let wsgw = program(&this, arguments.wsgw.as_ref(), "wsgw", Error::NoWsgw)?;
    fs::create_dir_all(&arguments.results).map_err(io("cannot make the results folder"))?;
    let (scratch, cores) = (Scratch::new()?, cores());
    let nats = nats::start(&scratch, "nats-server", None)?;
    nats::make_stream(nats.clients)?;
    nats::make(nats.clients, STREAM, "load.>")?;
    let ground = Ground { this, gateway, cores, nats: nats.clients, scratch };
    let tool = Tool::new(wsgw, &ground, arguments.results.clone());
    let day = Day { ground: &ground, tool: &tool, quick: arguments.quick };
    let mut results = earlier(&arguments.results)?;
    for part in &arguments.only {
        let begun = Instant::now();
        eprintln!("{part:?} …");
        match part {
            Part::Stress => results.stress = day.stress()?,
            Part::Simulate => results.simulate = day.simulate()?,
            Part::Compare => results.compare = day.compare()?,
            Part::Size => results.size = day.size()?,
        }
        eprintln!("{part:?}: {:.0} s", begun.elapsed().as_secs_f64());
        results.quick = arguments.quick;
        results.machine = serde_json::to_value(Machine::of_this(cores.is_some()))?;
        write(&arguments.results, &results)?;
    }
    println!("{}", report::markdown(&results));
    eprintln!("written to {}", arguments.results.display());
    Ok(())
}

fn earlier(folder: &Path) -> Result<Results, Error> {
    match fs::read(folder.join("tools.json")) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(_) => Ok(Results::default()),
    }
}

fn write(folder: &Path, results: &Results) -> Result<(), Error> {
    let put = |name: &str, text: String| {
        fs::write(folder.join(name), text).map_err(io("cannot write results"))
    };
    put("tools.json", serde_json::to_string_pretty(results)? + "\n")?;
    put("tools.md", report::markdown(results))
}

/// The parts.
struct Day<'a> {
    ground: &'a Ground,
    tool: &'a Tool,
    quick: bool,
}

impl Day<'_> {
    /// Gateways that share all cores.
    fn gateways(&self, count: usize, connections: usize) -> Result<Vec<Running>, Error> {
        let start = |number: usize| {
            let name = format!("gateway-{number}");
            let place = Place { name: &name, stream: STREAM, core: None };
            self.ground.gateway_at(place, Settings { connections, ..Settings::default() })
        };
        (0..count).map(start).collect()
    }

    fn stress(&self) -> Result<Value, Error> {
        let clients = if self.quick { 600 } else { 50_000 };
        let gateways = self.gateways(GATEWAYS, clients / GATEWAYS + 1)?;
        let mut arguments = tool::targets(&gateways);
        arguments.push("--profile stress --channels 20 --per-client 3 --rate 5".to_owned());
        if self.quick {
            arguments.push(format!("-c {clients} --ramp 2s --duration 5s"));
        }
        self.tool.reported("load", &arguments, "stress")
    }

    fn simulate(&self) -> Result<Value, Error> {
        let gateways = self.gateways(1, 1_000)?;
        let mut arguments = tool::targets(&gateways);
        arguments.push(match self.quick {
            false => "--profile custom -c 500 --duration 24h --ramp 1h --start 06:00 --speed 288"
                .to_owned(),
            true => "--profile custom -c 50 --duration 1h --ramp 5m --speed 360".to_owned(),
        });
        arguments.push("--channels 20 --per-client 3 --seed 1".to_owned());
        self.tool.reported("simulate", &arguments, "simulate")
    }

    /// Two rounds, the second in the other order, so that what else the machine does hits everybody.
    fn compare(&self) -> Result<Vec<Compared>, Error> {
        let (clients, seconds) = if self.quick { (200, 8) } else { (5_000, 40) };
        let names = OTHERS.map(str::to_owned);
        let Peers { ready, missing } = peers(&names)?;
        if let Some((name, why)) = missing.first() {
            return Err(Error::Tool(format!("load needs {name} to compare with: {why}")));
        }
        let mut servers: Vec<Contestant> = [Contestant::Gateway].into_iter().chain(ready).collect();
        let mut compared = Vec::new();
        for round in 0..2 {
            for server in &servers {
                let settings = Settings { connections: clients, ..Settings::default() };
                let running = self.ground.start(server, settings)?;
                let load = format!(
                    "-c {clients} --ramp 10s --duration {seconds}s --channel {CHANNEL} \
                     --rate 10 --payload 256"
                );
                let measured = self.tool.measured(&running, &load, seconds)?;
                compared.push(Compared { server: server.name().to_owned(), round, measured });
            }
            servers.reverse();
        }
        Ok(compared)
    }

    fn size(&self) -> Result<Vec<Sized>, Error> {
        let seconds = if self.quick { 8 } else { 40 };
        let points: &[(u64, u64)] = match self.quick {
            false => &[(2_000, 5), (10_000, 1), (7_500, 5), (1_000, 50)],
            true => &[(200, 5)],
        };
        let mut sized = Vec::new();
        for &(clients, messages) in points {
            let foretold_cores = self.tool.foretold(clients, messages)?;
            let running = self.gateways(1, clients as usize)?.remove(0);
            let load = format!(
                "-c {clients} --ramp 10s --duration {seconds}s --channels 3 --per-client 3 --rate {messages} --payload 256"
            );
            let measured = self.tool.measured(&running, &load, seconds)?;
            sized.push(Sized { clients, messages, foretold_cores, measured });
        }
        Ok(sized)
    }
}
