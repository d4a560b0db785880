//! `wsgw`: the command line for people.
//!
//! In: a WsGateway manifest and flags. Out: a gateway on this machine (`dev`), the configuration that the operator
//! would mount (`render`), or every error of the manifest (`check`). One file per subcommand; what they share is
//! [`manifest`]. Nothing here talks to Kubernetes.

mod check;
mod cli;
mod dev;
mod error;
mod manifest;
mod market;
mod render;

use std::process::ExitCode;

use clap::Parser as _;
use cli::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Dev(options) => dev::run(&options),
        Command::Render(options) => render::run(&options),
        Command::Check(options) => check::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsgw: error: {error}");
            ExitCode::FAILURE
        }
    }
}
