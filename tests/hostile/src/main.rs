//! `make hostile`: one kind of attack after the other, and a table of what honest clients noticed.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use harness::publish_results;
use hostile::environment::Plan;
use hostile::kind::Kind;
use hostile::report::{self, Results};
use hostile::run::{News, run};
use hostile::{attack, process};

/// Measures what honest clients notice while others do their worst
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The attacking process (started by this program)
    #[command(hide = true)]
    Attack(attack::Arguments),
}

#[derive(Debug, clap::Args)]
struct Options {
    /// Short: fewer clients, 3 seconds for each attack; shows that everything works, its latencies mean little
    #[arg(long)]
    quick: bool,
    /// These kinds of attack alone
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    only: Vec<Kind>,
    /// How long each attack lasts [default: 60, quick: 3]
    #[arg(long)]
    seconds: Option<f64>,
    /// Honest clients [default: 1000, quick: 100]
    #[arg(long)]
    clients: Option<usize>,
    /// Hostile clients [default: 200, quick: 20]
    #[arg(long)]
    hostile: Option<usize>,
    /// Messages a second that every honest client gets
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// The gateway program [default: beside this one]
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Put the table into hostile.md and all figures into hostile.json of this folder
    #[arg(long)]
    docs: Option<PathBuf>,
}

impl Options {
    fn plan(&self, core: Option<usize>) -> Result<Plan> {
        let attacker = std::env::current_exe()?;
        let gateway = self.gateway.clone().unwrap_or_else(|| attacker.with_file_name("gateway"));
        ensure!(
            gateway.is_file(),
            "{} is missing: run cargo build --release -p gateway, or name it with --gateway",
            gateway.display()
        );
        let of = |full, quick| if self.quick { quick } else { full };
        let seconds = self.seconds.unwrap_or(if self.quick { 3.0 } else { 60.0 });
        ensure!((0.1..=3_600.0).contains(&seconds), "--seconds from 0.1 to 3600");
        Ok(Plan {
            gateway,
            attacker,
            core,
            honest: self.clients.unwrap_or(of(1_000, 100)).clamp(1, 10_000),
            hostile: self.hostile.unwrap_or(of(200, 20)).clamp(1, 800),
            rate: self.rate.clamp(1, 1_000),
            stream: of(20_000, 4_000),
            seconds,
            // A quarter of the attack's time, long enough for a 99th percentile.
            quiet: (seconds / 4.0).max(1.0),
        })
    }

    fn run(&self) -> Result<bool> {
        let plan = self.plan(process::settle_on_first_core())?;
        let kinds = if self.only.is_empty() { Kind::all() } else { &self.only };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        println!("{}", report::headline());
        let rows = runtime.block_on(Box::pin(run(&plan, kinds, notify)))?;
        let complaints: Vec<String> = rows.iter().flat_map(report::complaints).collect();
        if let Some(docs) = &self.docs {
            let results = Results::new(&plan, rows);
            publish_results(docs, "hostile", &results.markdown(), &results)
                .context("cannot write the docs")?;
        }
        println!("{}", complaints.join("\n"));
        Ok(complaints.is_empty())
    }
}

/// Rows go to standard output; what is going on, to the terminal.
fn notify(news: News<'_>) {
    match news {
        News::Begins(_) if !std::io::stderr().is_terminal() => {}
        News::Begins(kind) => eprint!("  {} ...\x1b[K\r", kind.title()),
        News::Done(row) => println!("{}", report::line(row)),
    }
}

/// The attacking process: one thread, which has its core while nobody else wants it.
fn attack(arguments: &attack::Arguments) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(attack::run(arguments));
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(true)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.role {
        Some(Role::Attack(attack_arguments)) => attack(attack_arguments),
        None => arguments.options.run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wsgateway-hostile: {error:#}");
            ExitCode::from(2)
        }
    }
}
