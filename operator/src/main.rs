//! The operator's process: command line in, exit code out.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use operator::app::{self, Ended};
use operator::{Cli, Command, Options, SelfTestOptions, Traces, UninstallOptions};

/// The Lease is lost (EX_TEMPFAIL): start it anew, as Kubernetes does.
const LEASE_LOST: u8 = 75;
/// At the end nothing is waited for: what may be written is fenced.
const LAST_BREATH: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Crd) => print_crd(),
        Some(Command::Uninstall(how)) => uninstall(&cli.options, &how),
        Some(Command::SelfTest(how)) => self_test(&cli.options, &how),
        Some(Command::Run) | None => run(cli.options),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "operator: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn print_crd() -> Result<ExitCode, Box<dyn std::error::Error>> {
    std::io::stdout().write_all(wsgateway_crds::crd_yaml()?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn uninstall(
    options: &Options,
    how: &UninstallOptions,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    wsgateway_runtime::logs::init("operator");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = app::client().await?;
        operator::uninstall(options, how, client).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn self_test(
    options: &Options,
    how: &SelfTestOptions,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    wsgateway_runtime::logs::init_with("operator", "warn");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = app::client().await?;
        operator::self_test(options, how, client).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn run(options: Options) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let traces = Traces::start(&options.tracing, &options.election.pod)?;
    match &traces {
        Some(traces) => wsgateway_runtime::logs::init_traced("operator", traces.layer()),
        None => wsgateway_runtime::logs::init("operator"),
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(async {
        let stop = wsgateway_runtime::shutdown::watch()?;
        let client = app::client().await?;
        let app = app::start(options, client)?;
        if let Some(traces) = &traces {
            traces.register(app.registry())?;
        }
        Ok::<_, Box<dyn std::error::Error>>(app.run(stop).await)
    });
    if let Some(traces) = traces {
        traces.shutdown();
    }
    runtime.shutdown_timeout(LAST_BREATH);
    Ok(match ended? {
        Ended::Stopped => ExitCode::SUCCESS,
        Ended::LeaseLost => ExitCode::from(LEASE_LOST),
    })
}
