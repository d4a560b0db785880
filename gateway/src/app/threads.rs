//! The threads beside the shards: each runs one future on a runtime of its own.

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wsgateway_config::{GatewayConfig, Source};
use wsgateway_runtime::readiness::Readiness;

use super::Options;
use crate::history::archive::Desk;
use crate::source::memory::{self, MemoryPublisher};
use crate::source::{self, Sink, jetstream};

/// A thread that must not end before it is told to; if it panics, /livez says so.
#[derive(Debug)]
pub(super) struct Thread {
    name: &'static str,
    handle: JoinHandle<()>,
}

/// How the kernel shares a CPU that is too small for all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    Normal,
    /// A tenth of the weight of the others: for work that nobody live waits for.
    Background,
}

/// Time between two signs of life: several within the time after which a thread counts as stuck.
const BEAT: Duration = Duration::from_secs(5);

/// The nice value of background threads.
const NICE: i32 = 10;

impl Thread {
    /// Starts it.
    pub(super) fn vital(
        name: &'static str,
        readiness: &Readiness,
        priority: Priority,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let vital = readiness.vital(name);
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if priority == Priority::Background {
                step_back(name);
            }
            let pulse = vital.pulse();
            let beats = async {
                if priority == Priority::Background {
                    // One that steps back for others may wait for the CPU longer than a stuck one is given.
                    return std::future::pending().await;
                }
                loop {
                    pulse.beat();
                    tokio::time::sleep(BEAT).await;
                }
            };
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    () = beats => {}
                }
            });
            vital.finish();
        })?;
        Ok(Self { name, handle })
    }

    /// Waits for its end.
    pub(super) fn join(self) {
        if self.handle.join().is_err() {
            tracing::error!(name = self.name, "a thread panicked");
        }
    }
}

/// Linux keeps a nice value per thread, and anybody may raise theirs.
fn step_back(name: &str) {
    let own = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(own), NICE) {
        tracing::info!(name, %error, "the thread keeps its priority");
    }
}

/// Starts what reads the source, and what looks up older messages in it.
pub(super) fn start_source(
    config: &GatewayConfig,
    options: &Options,
    readiness: &Readiness,
    (mut sink, desk): (Sink, Option<Desk>),
    stop: CancellationToken,
) -> std::io::Result<(Option<MemoryPublisher>, Vec<Thread>)> {
    let client = format!("wsgateway {} {}", config.name, options.pod);
    match &config.source {
        Source::JetStream(source) => {
            let life = jetstream::Life::default();
            let past = (sink.encoder.envelope(), life.clone());
            let (seeds, asked) = mpsc::channel(jetstream::SEEDS);
            let start = jetstream::Start { life, seeds };
            let work = jetstream::run(source.clone(), client.clone(), start, sink, stop.clone());
            let mut threads = vec![reading(readiness, work)?];
            if let Some(desk) = desk {
                let name = format!("{client} lookups");
                let askers = jetstream::Askers { desk, seeds: asked };
                let work = jetstream::look_up(source.clone(), name, past, askers, stop);
                threads.push(Thread::vital("lookups", readiness, Priority::Background, work)?);
            }
            Ok((None, threads))
        }
        Source::Redis(source) => {
            let work = source::redis::run(source.clone(), client, sink, stop);
            Ok((None, vec![reading(readiness, work)?]))
        }
        Source::Memory(_) => {
            let (publisher, stream) = memory::stream();
            memory::open(&mut sink);
            let work = memory::run(stream, sink, stop);
            Ok((Some(publisher), vec![reading(readiness, work)?]))
        }
    }
}

fn reading(
    readiness: &Readiness,
    work: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<Thread> {
    Thread::vital("source", readiness, Priority::Normal, work)
}
