//! `wsgw`: the command line for people, and under the name `kubectl-wsgw` a plugin of kubectl.
//!
//! In: a WsGateway manifest and flags. Out: a gateway on this machine (`dev`), the configuration that the operator
//! would mount (`render`), every error of the manifest (`check`), or what it would change (`plan`). What looks at a cluster
//! (`status`, `top`, `connections`, `stream`, `events`) reads it through [`cluster`], turns it into values, and these into a
//! page ([`screen`]) or a document ([`output`]); `drain` and `disconnect` alone change something. `token` makes keys and tokens
//! and explains them, with the gateway's own verifier; `size` calculates what a load takes; `load` measures it, and
//! `simulate` with the traders of a market. One file per subcommand.

mod check;
mod cli;
mod cluster;
mod completion;
mod dev;
mod disconnect;
mod doctor;
mod drain;
mod error;
mod events;
mod gateways;
mod given;
mod load;
mod manifest;
mod market;
mod output;
mod pipeline;
mod plan;
mod publish;
mod reference;
mod render;
mod screen;
mod server;
mod simulate;
mod size;
mod status;
mod stream;
mod sub;
mod token;
mod top;
mod wire;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use cli::{Cli, Command};
use error::Error;

/// The name under which kubectl finds a plugin.
const PLUGIN: &str = "kubectl-wsgw";

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    let mut matches = command(&name).get_matches();
    let cli = Cli::from_arg_matches_mut(&mut matches).unwrap_or_else(|error| error.exit());
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsgw: error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// The command line, in whose help the program has the name by which it was called.
fn command(name: &OsString) -> clap::Command {
    let command = Cli::command();
    if Path::new(name).file_stem().is_some_and(|name| name == PLUGIN) {
        command.name("kubectl wsgw").bin_name("kubectl wsgw")
    } else {
        command
    }
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Dev(options) => dev::run(&options),
        Command::Render(options) => render::run(&options),
        Command::Check(options) => check::run(&options),
        Command::Plan(options) => plan::run(&options),
        Command::Size(options) => size::run(&options),
        Command::Sub(options) => on_cluster(sub::run(&options)),
        Command::Pub(options) => on_cluster(publish::run(&options)),
        Command::Market(options) => market::run(&options),
        Command::Doctor(options) => on_cluster(doctor::run(&options)),
        Command::Token(options) => token::run(&options),
        Command::Load(options) => load::run(&options),
        Command::Simulate(options) => simulate::run(*options),
        Command::LoadWorker => load::worker(),
        Command::Completion(options) => completion::run(&options),
        Command::Reference => reference::run(),
        Command::Status(options) => on_cluster(status::run(&options)),
        Command::Top(options) => on_cluster(top::run(&options)),
        Command::Connections(options) => on_cluster(top::connections(&options)),
        Command::Stream(options) => on_cluster(stream::run(&options)),
        Command::Events(options) => on_cluster(events::run(&options)),
        Command::Drain(options) => on_cluster(drain::run(&options)),
        Command::Disconnect(options) => on_cluster(disconnect::run(&options)),
        Command::Complete { words } => on_cluster(completion::candidates(&words)),
    }
}

/// For what waits on a network: a cluster, a gateway or a NATS server.
fn on_cluster(task: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    wsgateway_runtime::logs::init_with("wsgw", "error");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Threads)?;
    let outcome = runtime.block_on(task);
    // A name that is still being looked up is no reason to wait.
    runtime.shutdown_background();
    outcome
}

/// Goes on until the end or Ctrl-C, which is no error.
async fn until_interrupted(task: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    tokio::select! {
        outcome = task => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}
