//! Benchmarks: what a delivery costs us, beside what the system call alone costs.
//!
//! `fanout` runs everything: it starts nats-server, the floor and the real gateway in turn, and for each a client
//! process that drives it and reads the server's CPU time. `floor` and `clients` are the processes it starts. No
//! figure here is a test: there are no thresholds.

mod clients;
mod error;
mod fanout;
mod floor;
mod load;
mod process;
mod report;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures the cost of a delivery and of an idle connection.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// CPU per delivery and memory per idle connection: the floor and the gateway, interleaved
    Fanout(fanout::Arguments),
    /// The floor: one `send` of a ready frame per delivery (started by fanout)
    #[command(hide = true)]
    Floor(floor::Arguments),
    /// The clients of one server (started by fanout)
    #[command(hide = true)]
    Clients(clients::Arguments),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Fanout(arguments) => fanout::run(&arguments),
        What::Floor(arguments) => floor::run(&arguments),
        What::Clients(arguments) => clients::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsgateway-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
