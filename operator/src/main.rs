//! The operator's process: command line in, exit code out.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use operator::{Cli, Command, Options, app};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Crd) => print_crd(),
        Some(Command::Run) | None => run(cli.options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "operator: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn print_crd() -> Result<(), Box<dyn std::error::Error>> {
    Ok(std::io::stdout().write_all(wsgateway_crds::crd_yaml()?.as_bytes())?)
}

fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    wsgateway_runtime::logs::init("operator");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let stop = wsgateway_runtime::shutdown::watch()?;
        let client = app::client().await?;
        Ok(app::run(options, client, stop).await?)
    })
}
