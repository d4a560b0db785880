//! `make operator-scale`: a thousand WsGateways, the same with a tenth of them broken, and ten thousand hostile ones.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use harness::publish_results;
use operator_scale::environment::{Environment, Plane};
use operator_scale::plan::Plan;
use operator_scale::report::Results;
use operator_scale::{fleet, hostile};

/// Where nobody watches, progress is shown so often.
const SELDOM: Duration = Duration::from_secs(10);

/// Measures what a thousand WsGateways cost the operator, and what ten thousand hostile ones do to it
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Short: 50 WsGateways, 280 hostile ones, reconciled every 2 seconds
    #[arg(long)]
    quick: bool,
    /// These parts alone
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// WsGateways [default: 1000, quick: 50]
    #[arg(long)]
    gateways: Option<usize>,
    /// Pods of each
    #[arg(long, default_value_t = 2)]
    pods: usize,
    /// Hostile WsGateways [default: 10000, quick: 280]
    #[arg(long)]
    hostile: Option<usize>,
    /// Makes the same hostile WsGateways again
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The operator program [default: beside this one]
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Put the tables into operator-scale.md and all figures into operator-scale.json of this folder
    #[arg(long)]
    docs: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Sound WsGateways: cold start, steady state, changes
    Fleet,
    /// The same start with a tenth of them broken
    Broken,
    /// Hostile WsGateways
    Hostile,
}

impl Arguments {
    fn plan(&self) -> Result<Plan> {
        let operator = match &self.operator {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("operator"),
        };
        ensure!(
            operator.is_file(),
            "{} is missing: run cargo build --release -p operator, or name it with --operator",
            operator.display()
        );
        let of = |full, quick| if self.quick { quick } else { full };
        Ok(Plan {
            operator,
            gateways: self.gateways.unwrap_or(of(1_000, 50)).clamp(1, 20_000),
            pods: self.pods.clamp(1, 10),
            namespaces: of(20, 4),
            changed: of(50, 10),
            resync: if self.quick { 2 } else { 15 },
            rounds: if self.quick { 4 } else { 8 },
            hostile: self.hostile.unwrap_or(of(10_000, 280)),
            batch: 500,
            watch: Duration::from_secs(if self.quick { 5 } else { 10 }),
            seed: self.seed,
            limit: Duration::from_secs(900),
        })
    }

    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    async fn measure(&self, plan: &Plan) -> Result<Results> {
        let screen = Screen::new();
        let show = |text: &str| screen.show(text);
        let mut results = Results::new(plan);
        let environment = async |namespaces: usize| {
            show("starting the servers");
            Environment::start(Plane::start().await?, "scale", namespaces).await
        };
        if self.wants(Part::Fleet) {
            let environment = environment(plan.namespaces).await?;
            results.fleet =
                Some(fleet::run(plan, &environment, &show).await.context("while all are sound")?);
        }
        if self.wants(Part::Broken) {
            let environment = environment(plan.namespaces).await?;
            let broken = fleet::beside_broken(plan, &environment, &show).await;
            results.broken = Some(broken.context("while a tenth is broken")?);
        }
        if self.wants(Part::Hostile) {
            let environment = environment(5).await?;
            results.hostile = Some(
                hostile::run(plan, &environment, &show).await.context("while some are hostile")?,
            );
        }
        screen.clear();
        Ok(results)
    }

    fn run(&self) -> Result<Option<bool>> {
        let plan = self.plan()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let begin = Instant::now();
        // What has been started ends with what holds it.
        let results = runtime.block_on(async {
            tokio::select! {
                results = Box::pin(self.measure(&plan)) => results.map(Some),
                stop = tokio::signal::ctrl_c() => stop.map(|()| None).context("cannot listen to Ctrl-C"),
            }
        })?;
        let Some(mut results) = results else { return Ok(None) };
        println!("\n{}", results.markdown());
        println!("{:.1} minutes", begin.elapsed().as_secs_f64() / 60.0);
        let complaints = results.complaints();
        if let Some(docs) = &self.docs {
            // What was left out this time stays as it was measured.
            let earlier = std::fs::read(docs.join("operator-scale.json")).ok();
            let earlier = earlier.and_then(|text| serde_json::from_slice(&text).ok());
            earlier.into_iter().for_each(|earlier| results.complete(earlier));
            publish_results(docs, "operator-scale", &results.markdown(), &results)
                .context("cannot write the docs")?;
        }
        results.missed().iter().for_each(|line| println!("missed of P11: {line}"));
        complaints.iter().for_each(|line| println!("out of bounds: {line}"));
        Ok(Some(complaints.is_empty()))
    }
}

/// One line on a terminal; elsewhere a line now and then.
struct Screen {
    is_terminal: bool,
    last: Mutex<(Instant, String)>,
}

impl Screen {
    fn new() -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
            last: Mutex::new((Instant::now(), String::new())),
        }
    }

    fn show(&self, text: &str) {
        if self.is_terminal {
            eprint!("  {text} ...\x1b[K\r");
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A step is what stands before its numbers.
        let step = text.split(':').next().unwrap_or_default();
        if last.1 != step || last.0.elapsed() >= SELDOM {
            *last = (Instant::now(), step.to_owned());
            eprintln!("  {text}");
        }
    }

    fn clear(&self) {
        if self.is_terminal {
            eprint!("\x1b[K");
        }
    }
}

fn main() -> ExitCode {
    match Arguments::parse().run() {
        Ok(Some(true)) => {
            println!("within the bounds that a run is judged by");
            ExitCode::SUCCESS
        }
        Ok(Some(false)) => ExitCode::FAILURE,
        Ok(None) => {
            eprintln!("\nstopped; nothing is written");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("\nwsgateway-operator-scale: {error:#}");
            ExitCode::from(2)
        }
    }
}
