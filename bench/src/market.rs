//! `market`: how many messages a second of CPU publishes, in `wsgw market` and in the bare client library.
//!
//! The same messages at the same rate, one publisher after the other in each round, each alone on its core; nats-server
//! has the other one. What comes out is a table in docs/market.md and its figures in docs/market.json.

mod publisher;
mod table;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, io};
use crate::nats;
use crate::process::{Scratch, Server, cores, cpu_ns, get, pinned, program};

pub(crate) use publisher::{Arguments as Role, run as publish};

/// The stream, and what it takes: everything that the market publishes.
const STREAM: (&str, &str) = ("MARKET", "odin.>");
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long, how often, and where the table goes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Messages a second
    #[arg(long, default_value_t = 100_000)]
    rate: u32,
    /// Seconds that each publisher is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often each is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder of market.md, whose table is replaced [default: none is]
    #[arg(long)]
    docs: Option<PathBuf>,
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    /// Nobody: the market alone makes its messages.
    Make,
    /// The client library, without acknowledgements.
    Plain,
    /// The client library, with its own handling of acknowledgements.
    Acked,
    /// `wsgw market`.
    Market,
}

impl Who {
    const ALL: [Self; 4] = [Self::Make, Self::Plain, Self::Acked, Self::Market];
}

/// What one publisher did in one round.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measured {
    who: Who,
    messages: u64,
    seconds: f64,
    cpu_seconds: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let this = std::env::current_exe().map_err(io("own path"))?;
    let wsgw = program(&this, None, "wsgw", Error::NoWsgw)?;
    let (scratch, cores) = (Scratch::new()?, cores());
    let nats = nats::start(&scratch, "nats-server", cores.map(|cores| cores.1))?;
    nats::make(nats.clients, STREAM.0, STREAM.1)?;
    let mut all = Vec::new();
    for round in 1..=arguments.rounds {
        for who in Who::ALL {
            eprintln!("round {round} of {}: {who:?}", arguments.rounds);
            let core = cores.map(|cores| cores.0);
            let measured = match who {
                Who::Market => market(&scratch, pinned(core, &wsgw), nats.clients, arguments)?,
                _ => role(pinned(core, &this), who, nats.clients, arguments)?,
            };
            all.push(measured);
        }
    }
    let results = table::Results::new(arguments.rate, arguments.seconds, cores.is_some(), all);
    let text = results.markdown();
    println!("{text}");
    let Some(docs) = &arguments.docs else { return Ok(()) };
    let page = docs.join("market.md");
    let old = fs::read_to_string(&page).map_err(io("cannot read market.md"))?;
    let new = table::replaced(&old, &text).ok_or(Error::NoPlace(page.clone()))?;
    fs::write(page, new).map_err(io("cannot write market.md"))?;
    let figures = serde_json::to_string_pretty(&results)? + "\n";
    fs::write(docs.join("market.json"), figures).map_err(io("cannot write market.json"))
}

/// Measures this program in a role, which measures itself.
fn role(
    mut command: Command,
    who: Who,
    nats: SocketAddr,
    arguments: &Arguments,
) -> Result<Measured, Error> {
    let name = clap::ValueEnum::to_possible_value(&who);
    command.arg("publish").arg(name.map_or(String::new(), |name| name.get_name().to_owned()));
    command.args(["--nats", &nats.to_string()]);
    command.args(["--rate", &arguments.rate.to_string()]);
    command.args(["--seconds", &arguments.seconds.to_string()]);
    let output = command.output().map_err(io("cannot start a publisher"))?;
    if !output.status.success() {
        return Err(Error::Clients(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Measures `wsgw market` from outside: messages by its own count, which the stream has confirmed, CPU by the kernel's.
fn market(
    scratch: &Scratch,
    mut command: Command,
    nats: SocketAddr,
    arguments: &Arguments,
) -> Result<Measured, Error> {
    for variable in ["NATS_URL", "REDIS_URL", "TOKENS", "RATE", "PORT"] {
        command.env_remove(variable);
    }
    command.args(["market", "--port", "0", "--nats", &format!("nats://{nats}")]);
    command.args(["--rate", &arguments.rate.to_string()]);
    let mut server = Server::start("wsgw market", command, scratch.join("market.log"))?;
    let api = server.wait_for(|log| {
        let (_, rest) = log.split_once("http://")?;
        rest.split_once('/')?.0.parse::<SocketAddr>().ok()
    })?;
    std::thread::sleep(WARM_UP);
    let reading = || Ok::<_, Error>((published(api)?, cpu_ns(server.pid())?, Instant::now()));
    let (before, cpu_before, start) = reading()?;
    std::thread::sleep(Duration::from_secs(arguments.seconds));
    let (after, cpu_after, end) = reading()?;
    Ok(Measured {
        who: Who::Market,
        messages: after - before,
        seconds: (end - start).as_secs_f64(),
        cpu_seconds: (cpu_after - cpu_before) as f64 / 1e9,
    })
}

fn published(api: SocketAddr) -> Result<u64, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stats {
        messages_published: u64,
        dropped: u64,
        retries: u64,
    }
    let (_, body) = get(api, "/stats").map_err(io("the market does not answer"))?;
    let stats: Stats = serde_json::from_str(&body)?;
    match stats.dropped + stats.retries {
        0 => Ok(stats.messages_published),
        _ => Err(Error::Faulty(format!("wsgw market: {body}"))),
    }
}
