//! `make loss`: fault after fault, on one NATS server and on three, and a table of what was lost.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use harness::publish_results;
use loss::balancer::Way;
use loss::clients::sdk::Program;
use loss::fault::{Fault, Times};
use loss::poison;
use loss::report::{self, Results};
use loss::run::{News, run};
use loss::servers::Kind;
use loss::world::Plan;

/// Counts what clients lose, get twice or out of order while gateways, NATS and the network fail
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Short: fewer clients, shorter troubles
    #[arg(long)]
    quick: bool,
    /// These faults alone
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
    /// NATS: one server or three; both in turn without this
    #[arg(long, value_enum)]
    nats: Option<Kind>,
    /// Clients in all [default: 2000, quick: 300]
    #[arg(long)]
    clients: Option<usize>,
    /// How many of them come by server-sent events [default: one of twenty]
    #[arg(long)]
    sse: Option<usize>,
    /// How many of them are clients of the TypeScript SDK, run by Node [default: one of a hundred, if it is built]
    #[arg(long)]
    sdk: Option<usize>,
    /// The built SDK [default: dist/index.js in sdk/typescript]
    #[arg(long)]
    sdk_module: Option<PathBuf>,
    /// An ES module with a WebSocket for a Node that has none [default: ws as the SDK's own tests have it; without,
    /// those clients take server-sent events]
    #[arg(long)]
    node_websocket: Option<PathBuf>,
    /// Subjects that are published to [default: 1000, quick: 200]
    #[arg(long)]
    subjects: Option<usize>,
    /// Messages a second in all
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// The poison of the fault of that name [default: every kind]
    #[arg(long, value_enum, value_delimiter = ',')]
    poison: Vec<poison::Kind>,
    /// Gateway processes
    #[arg(long, default_value_t = 3)]
    pods: usize,
    /// Clients speak TLS, all of them by WebSocket
    #[arg(long, conflicts_with_all = ["sse", "sdk"])]
    tls: bool,
    /// How the balancer spreads connections
    #[arg(long, value_enum, default_value = "round-robin")]
    balance: Way,
    /// Clients forget their cursor, so that the meter must find losses
    #[arg(long)]
    no_resume: bool,
    /// Makes the same random choices again
    #[arg(long)]
    seed: Option<u64>,
    /// The gateway program [default: beside this one]
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Put the tables into loss.md and all figures into loss.json of this folder
    #[arg(long)]
    docs: Option<PathBuf>,
}

impl Arguments {
    fn plan(&self, kind: Kind) -> Result<Plan> {
        let times = if self.quick { Times::QUICK } else { Times::FULL };
        let gateway = match &self.gateway {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("gateway"),
        };
        anyhow::ensure!(
            gateway.is_file(),
            "{} is missing: run cargo build --release -p gateway, or name it with --gateway",
            gateway.display()
        );
        let clients = self.clients.unwrap_or(if self.quick { 300 } else { 2_000 });
        let sse = if self.tls { 0 } else { self.sse.unwrap_or(clients / 20).min(clients) };
        let node = Program::new(self.sdk_module.clone(), self.node_websocket.clone());
        // The SDK cannot be told to forget its cursor.
        let sdk = match self.sdk {
            Some(sdk) => sdk.min(clients - sse),
            None if node.is_built() && !self.no_resume && !self.tls => clients / 100,
            None => 0,
        };
        Ok(Plan {
            kind,
            gateway,
            pods: self.pods.max(1),
            clients,
            sse,
            sdk,
            node,
            subjects: self
                .subjects
                .unwrap_or(if self.quick { 200 } else { 1_000 })
                .clamp(1, 60_000),
            rate: self.rate,
            poison: match self.poison.as_slice() {
                [] => poison::Kind::all().to_vec(),
                some => some.to_vec(),
            },
            resume: !self.no_resume,
            tls: self.tls,
            way: self.balance,
            times: if self.no_resume { times.without_hope() } else { times },
        })
    }

    fn run(&self) -> Result<bool> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
        fastrand::seed(seed);
        println!("seed {seed}");
        let kinds = self.nats.map_or(vec![Kind::Single, Kind::Cluster], |kind| vec![kind]);
        let wanted = if self.only.is_empty() { Fault::all() } else { &self.only };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let mut rows = Vec::new();
        for kind in kinds {
            let plan = self.plan(kind)?;
            if plan.sdk == 0 && !plan.tls {
                println!(
                    "no client of the TypeScript SDK: build it in sdk/typescript, or see --sdk-module"
                );
            }
            let faults: Vec<Fault> =
                wanted.iter().copied().filter(|fault| fault.suits(kind)).collect();
            if faults.is_empty() {
                continue;
            }
            println!("\n{}", report::headline(kind));
            rows.extend(runtime.block_on(Box::pin(run(&plan, &faults, tell)))?);
        }
        let complaints: Vec<String> = rows.iter().flat_map(report::complaints).collect();
        let results = Results::new(&self.plan(Kind::Single)?, rows);
        println!("\n{:.1} minutes on {}", results.minutes, results.machine.text());
        if let Some(docs) = &self.docs {
            publish_results(docs, "loss", &results.markdown(), &results)
                .context("cannot write the docs")?;
        }
        println!("{}", complaints.join("\n"));
        Ok(complaints.is_empty())
    }
}

/// Rows go to standard output; what is going on, to the terminal.
fn tell(news: News<'_>) {
    match news {
        News::Begins(_) if !std::io::stderr().is_terminal() => {}
        News::Begins(what) => eprint!("  {what} ...\x1b[K\r"),
        News::Done(row) => println!("{}", report::line(row)),
    }
}

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(true) => {
            println!("nothing lost, nothing twice, nothing out of order");
            ExitCode::SUCCESS
        }
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wsgateway-loss: {error:#}");
            ExitCode::from(2)
        }
    }
}
