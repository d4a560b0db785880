//! `wsgw`: the command line for people.
//!
//! In: a WsGateway manifest and flags. Out: a gateway on this machine (`dev`), the configuration that the operator
//! would mount (`render`), every error of the manifest (`check`), or what it would change (`plan`). One file per subcommand;
//! what they share is [`manifest`] and [`server`]. Nothing here talks to Kubernetes.

mod check;
mod cli;
mod dev;
mod error;
mod given;
mod manifest;
mod market;
mod plan;
mod render;
mod server;

use std::process::ExitCode;

use clap::Parser as _;
use cli::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Dev(options) => dev::run(&options),
        Command::Render(options) => render::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Plan(options) => plan::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsgw: error: {error}");
            ExitCode::FAILURE
        }
    }
}
