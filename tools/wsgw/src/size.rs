//! `wsgw size`: what a number of clients takes, what that costs, and the WsGateway that follows.
//!
//! In: a load by flags, prices from a file. Out: a page, a document or a manifest. All but this file is pure: [`Load`] holds
//! numbers within bounds, [`bench`] what the last benchmark has measured, and the memory of a pod comes out of the manifest
//! by the operator's own code, so that both say the same.

mod bench;
mod estimate;
mod load;
mod manifest;
mod page;
mod polling;
mod prices;
#[cfg(test)]
mod tests;

use serde::Serialize;
use wsgateway_config::yaml;

use crate::cli::{Format, SizeArgs};
use crate::error::Error;
use crate::output::print;
use crate::screen::Terminal;
use bench::Bench;
use estimate::{Memory, Pods, Traffic, rounded};
use load::Load;
use polling::Polling;
use prices::{Cost, Prices};

/// A pod that sends more may need a larger network than nodes have: 1 Gbit/s.
const FAST_POD: f64 = 125e6;
/// More messages a second than the benchmark publishes; what reading them takes is not measured.
const MUCH_PUBLISHED: f64 = 10_000.0;
/// Below so many messages a second there is little to gather.
const BATCHES_PAY: f64 = 5.0;
/// Clients of the point to check: as many as a laptop holds.
const MOST_CHECKED: u32 = 10_000;

/// Why a load cannot be sized.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SizeError {
    #[error(
        "each client cannot get {messages} messages a second of {published} that are published: raise --published, or lower \
         --messages"
    )]
    Unpublished { messages: f64, published: f64 },
    #[error("this takes {pods:.0} pods, and a WsGateway has 1000 at most, for {reason}")]
    TooManyPods { pods: f64, reason: &'static str },
    #[error(
        "the results of the benchmark have no {0}: run make bench without --only, and build wsgw again"
    )]
    Bench(&'static str),
    #[error(
        "cannot read prices from {file}: {source}; give gcp, aws or bare, or a file as docs/sizing.md shows"
    )]
    Unread { file: String, source: std::io::Error },
    #[error("{file}: {says}; docs/sizing.md shows a price file")]
    Prices { file: String, says: String },
    #[error("no WsGateway can be made of this load: {0}")]
    Manifest(Box<Error>),
}

/// Everything that is known of a load; what `-o json` has.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Estimate {
    load: Load,
    pods: Pods,
    memory: Memory,
    traffic: Traffic,
    #[serde(skip_serializing_if = "Option::is_none")]
    polling: Option<Polling>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<Cost>,
    /// What to think about.
    notes: Vec<String>,
    /// One point, by which the estimate can be checked.
    check: Check,
    /// What it is calculated from.
    bench: Bench,
    /// The WsGateway, as YAML.
    manifest: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    command: String,
    connections: u32,
    /// CPU that the pod is expected to use.
    cores: f64,
}

pub(crate) fn run(args: &SizeArgs) -> Result<(), Error> {
    let prices = args.prices.as_deref().map(Prices::of).transpose()?;
    let estimate = Estimate::new(args, Bench::read(bench::RESULTS)?, prices.as_ref())?;
    if args.manifest {
        return print(&estimate.manifest);
    }
    match args.show.output {
        Format::Json => {
            let text = serde_json::to_string_pretty(&estimate)
                .map_err(|error| Error::Write(error.into()))?;
            print(&format!("{text}\n"))
        }
        Format::Yaml => print(&yaml::to_string(&estimate)?),
        Format::Wide | Format::Table => {
            print(&page::page(&estimate, Terminal::new(args.show.color)))
        }
    }
}

impl Estimate {
    fn new(args: &SizeArgs, bench: Bench, prices: Option<&Prices>) -> Result<Self, SizeError> {
        let load = Load::new(args)?;
        let pods = Pods::new(&load, &bench)?;
        let traffic = Traffic::new(&load, &bench, &pods);
        let manifest = manifest::text(&load, &pods, &traffic);
        let derived = manifest::checked(&manifest)?.derived;
        let memory = Memory::new(&load, &bench, &pods, &derived);
        let interval = args.polling_interval;
        let polling =
            interval.map(|each| Polling::new(&load, &traffic, each, args.polling_response));
        let cost = prices.map(|prices| {
            prices.cost((&pods, &memory, &traffic), polling.as_ref(), load.average_percent)
        });
        Ok(Self {
            notes: notes(&load, &pods, &traffic),
            check: Check::new(&load, &bench, &pods),
            load,
            pods,
            memory,
            traffic,
            polling,
            cost,
            bench,
            manifest,
        })
    }
}

impl Check {
    fn new(load: &Load, bench: &Bench, pods: &Pods) -> Self {
        let connections = pods.connections_each.min(MOST_CHECKED);
        let each = load.messages * pods.delivery_us + bench.heartbeat_us;
        let cores = f64::from(connections) * each / 1e6;
        let command = page::command(load, connections, cores);
        Self { command, connections, cores: rounded(cores) }
    }
}

fn notes(load: &Load, pods: &Pods, traffic: &Traffic) -> Vec<String> {
    let mut notes = Vec::new();
    let each = traffic.egress_bytes_per_second / f64::from(pods.count - 1);
    if each > FAST_POD {
        notes.push(format!(
            "each pod sends {:.1} Gbit a second: do the nodes have such a network? Otherwise lower --connections-per-pod",
            each * 8.0 / 1e9
        ));
    }
    let in_each = traffic.nats_bytes_per_second / f64::from(pods.count);
    if load.published > MUCH_PUBLISHED || in_each > FAST_POD {
        notes.push(format!(
            "each pod reads every message, {:.1} Gbit a second, whoever gets it; the CPU for that is not in the estimate: \
             share the subjects between several WsGateways",
            in_each * 8.0 / 1e9
        ));
    }
    if load.batch_window_ms == 0 && load.messages >= BATCHES_PAY {
        notes.push(
            "with so many messages batches save CPU and bytes: compare with --batch-window 1s, or what clients bear"
                .to_owned(),
        );
    }
    if load.mobile_percent > 0 {
        notes.push("phones: the stream keeps 5 minutes, for tunnels and lifts".to_owned());
    }
    notes
}
