//! `make scale`: a WsGateway scales, rolls, and loses pods and nodes under thousands of clients; a table of what they noticed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum as _};
use harness::publish_results_of;
use scale::cluster::Cluster;
use scale::event::Event;
use scale::plot;
use scale::report::{self, Row};
use scale::run::{Plan, run};

/// Counts what clients notice while a WsGateway scales, rolls, and loses pods and nodes on the cluster of KUBECONFIG
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The namespace of the WsGateway, and of a NATS `nats` whose pod has the label app=nats
    #[arg(long, default_value = "wsgateway-scale")]
    namespace: String,
    /// The WsGateway
    #[arg(long, default_value = "loss")]
    name: String,
    /// The namespace of the operator
    #[arg(long, default_value = "wsgateway-system")]
    system: String,
    /// These events alone, in this order; all but the first need the pods that the first one brings
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Event>,
    /// Clients that are there all the time: two pods for them
    #[arg(long, default_value_t = 900)]
    always: usize,
    /// Clients that come and go: two pods more for them
    #[arg(long, default_value_t = 1_100)]
    guests: usize,
    /// Messages a second in all
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// The pace that is set: connections that may end a minute
    #[arg(long, default_value_t = 3_000)]
    pace: u32,
    /// Put the tables into disruptions.md, the plot into disruptions.svg and all figures into disruptions.json of this
    /// folder
    #[arg(long)]
    docs: Option<PathBuf>,
}

fn tell(event: Event, row: Option<&Row>) {
    match row {
        None => println!("--> {}", event.title()),
        Some(row) => println!("{}", report::lines(row)),
    }
}

impl Arguments {
    async fn run(&self) -> Result<bool> {
        let cluster = Cluster::connect(&self.namespace, &self.name, &self.system).await?;
        let plan =
            Plan { always: self.always, guests: self.guests, rate: self.rate, pace: self.pace };
        let events =
            if self.only.is_empty() { Event::value_variants() } else { self.only.as_slice() };
        let results = Box::pin(run(&cluster, plan, events, tell)).await?;
        println!("{:.1} minutes on {}", results.minutes, results.machine.text());
        if let Some(docs) = &self.docs {
            publish_results_of("scale", docs, "disruptions", &results.markdown(), &results)
                .context("cannot write the docs")?;
            plot::draw(&results, &docs.join("disruptions.svg"))?;
        }
        let complaints: Vec<String> = results.rows.iter().flat_map(report::complaints).collect();
        println!("{}", complaints.join("\n"));
        let bad = results.rows.iter().filter(|row| !report::complaints(row).is_empty()).count();
        println!("{} passed, {bad} failed", results.rows.len() - bad);
        Ok(complaints.is_empty())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match Arguments::parse().run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wsgateway-scale: {error:#}");
            ExitCode::from(2)
        }
    }
}
