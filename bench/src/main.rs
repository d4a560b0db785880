//! Benchmarks: what a delivery costs us, beside what the system call alone costs and beside other servers.
//!
//! `run` does everything: it starts nats-server, then the floor, our gateway and each peer in turn, and for each a
//! client process that drives it and reads the server's CPU time and memory. `floor`, `clients` and `hold` are the
//! processes that it starts. `tools` drives servers with `wsgw load` and `wsgw simulate` instead. No figure here is a
//! test: there are no thresholds.

mod bench;
mod charts;
mod clients;
mod comeback;
mod contestant;
mod crowd;
mod dialects;
mod error;
mod feed;
mod floor;
mod holders;
mod load;
mod market;
mod nats;
mod plan;
mod process;
mod report;
mod run;
mod samples;
mod scale;
mod scenarios;
mod storm;
mod tools;
mod tunnel;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures deliveries, connections and latency, beside the floor and other servers.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// All scenarios, all servers, interleaved; writes JSON, Markdown and charts
    Run(run::Arguments),
    /// What `wsgw load`, `simulate` and `size` say of this machine; writes their reports, JSON and Markdown
    Tools(tools::Arguments),
    /// `wsgw market` beside the bare client library: messages per second of CPU
    Market(market::Arguments),
    /// The floor: one `send` of a ready frame per delivery (started by run)
    #[command(hide = true)]
    Floor(floor::Arguments),
    /// The clients of one server (started by run)
    #[command(hide = true)]
    Clients,
    /// Clients that only answer pings (started by run)
    #[command(hide = true)]
    Hold,
    /// Clients of which each gets a message a second (started by run)
    #[command(hide = true)]
    Crowd,
    /// Clients that ask for the whole stream again (started by run)
    #[command(hide = true)]
    Replay,
    /// Clients that connect, subscribe and are gone, over and over (started by run)
    #[command(hide = true)]
    Storm,
    /// The clients' side of TLS (started by run)
    #[command(hide = true)]
    Tunnel(tunnel::Arguments),
    /// The messages of a market, by as little code as possible (started by market)
    #[command(hide = true)]
    Publish(market::Role),
    /// Nothing, without ever sleeping (started by run)
    #[command(hide = true)]
    Awake,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Run(arguments) => run::run(&arguments),
        What::Tools(arguments) => tools::run(&arguments),
        What::Market(arguments) => market::run(&arguments),
        What::Publish(arguments) => market::publish(&arguments),
        What::Floor(arguments) => floor::run(&arguments),
        What::Clients => clients::run(),
        What::Hold => clients::hold(),
        What::Crowd => crowd::run(),
        What::Replay => comeback::replay(),
        What::Storm => storm::run(),
        What::Tunnel(arguments) => tunnel::run(&arguments),
        What::Awake => holders::awake(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsgateway-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
