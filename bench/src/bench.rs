//! What all scenarios share: the servers, the ground they run on, and the record of what came out.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::contestant::{Contestant, Ground, Running, Settings};
use crate::error::{Error, io};
use crate::holders::Holders;
use crate::load::{Shape, Subscriptions};
use crate::plan::{Measured, Outcome, Phase, Plan, Wire};
use crate::process::{lingering, pinned};
use crate::samples::Samples;
use crate::scale::Scale;

/// Connections that have ended and may still hold a port, and how long they are waited for: the kernel forgets each
/// after a minute.
const LINGERING: usize = 2_000;
const FORGOTTEN: Duration = Duration::from_secs(90);

/// A run of a server that came to nothing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    pub scenario: String,
    pub server: String,
    pub why: String,
}

/// The benchmark under way.
pub(crate) struct Bench {
    pub(crate) ground: Ground,
    pub(crate) scale: Scale,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) samples: Samples,
    pub(crate) failures: Vec<Failure>,
    sleep: bool,
    clock: Instant,
    /// CPU per delivery of the floor (µs) at so many connections: what paces are derived from.
    floor_us: Vec<(usize, f64)>,
}

/// Messages with which the floor is measured when no scenario has done it.
const CALIBRATION: u64 = 40;

/// A session to run: one server, its clients, and what they do.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) connections: usize,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) deflate: bool,
    pub(crate) batch: bool,
    pub(crate) batch_window_ms: u64,
    /// Messages that the floor sends at once.
    pub(crate) gather: u64,
    /// Messages in our history, unless it is as usual.
    pub(crate) history: Option<u64>,
    /// Whether clients speak TLS with our gateway.
    pub(crate) tls: bool,
    /// What is spoken, unless it is the server's first choice.
    pub(crate) wire: Option<Wire>,
    /// Further clients that ask for the whole stream again all the while.
    pub(crate) replaying: usize,
    /// Further clients that connect, subscribe and are gone, over and over.
    pub(crate) storming: usize,
    /// Whether the cores are kept from sleeping.
    pub(crate) awake: bool,
    pub(crate) phases: Vec<Phase>,
}

impl Job {
    /// Three subscriptions a connection, nothing compressed, nothing held back.
    pub(crate) fn new(connections: usize, phases: Vec<Phase>) -> Self {
        Self {
            connections,
            subscriptions: Subscriptions::Three,
            deflate: false,
            batch: false,
            batch_window_ms: 0,
            gather: 1,
            history: None,
            tls: false,
            wire: None,
            replaying: 0,
            storming: 0,
            awake: false,
            phases,
        }
    }

    /// Most connections that the server has at a time.
    fn most_connections(&self) -> usize {
        let crowd = |phase: &Phase| match phase {
            Phase::Arrive { clients } | Phase::Resume { clients, .. } => *clients,
            Phase::Window { .. } | Phase::Paced { .. } => 0,
        };
        // One crowd of a storm is still leaving when the next one comes.
        self.connections
            + self.replaying
            + 2 * self.storming
            + self.phases.iter().map(crowd).max().unwrap_or(0)
    }
}

/// Connections a second that a storm has made; 0 if there is none.
fn storm_rate(mut storm: Holders) -> Result<f64, Error> {
    let answers = storm.ask("")?;
    if answers.is_empty() {
        return Ok(0.0);
    }
    if answers.iter().any(|answer| answer.trim().is_empty()) {
        // It has ended, and says why.
        storm.finish()?;
    }
    Ok(answers.iter().filter_map(|answer| answer.trim().parse::<f64>().ok()).sum())
}

impl Measured {
    /// CPU time of the server per delivery (µs).
    pub(crate) fn us_per_delivery(&self) -> f64 {
        self.cpu_ns as f64 / self.deliveries.max(1) as f64 / 1_000.0
    }

    /// Messages a second that every client got.
    pub(crate) fn messages_per_second(&self) -> f64 {
        self.messages as f64 / (self.wall_ns.max(1) as f64 / 1e9)
    }
}

impl Bench {
    pub(crate) fn new(
        ground: Ground,
        scale: Scale,
        contestants: Vec<Contestant>,
        sleep: bool,
        clock: Instant,
    ) -> Self {
        let (samples, failures, floor_us) = (Samples::default(), Vec::new(), Vec::new());
        Self { ground, scale, contestants, samples, failures, sleep, clock, floor_us }
    }

    /// Tells how far it is.
    pub(crate) fn say(&self, text: &str) {
        let seconds = self.clock.elapsed().as_secs();
        eprintln!("[{:2}:{:02}] {text}", seconds / 60, seconds % 60);
    }

    /// Waits until the connections that have ended give their ports back: a crowd needs nearly all of them, and the
    /// kernel searches long for a free one among those that are held.
    pub(crate) fn wait_for_ports(&self) {
        let (clock, held) = (Instant::now(), lingering());
        if held > LINGERING {
            self.say(&format!("waiting for the ports of {held} connections that have ended"));
        }
        while lingering() > LINGERING && clock.elapsed() < FORGOTTEN {
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    /// Runs one session; a failure is recorded and gives nothing, unless it is the floor's or ours.
    pub(crate) fn session(
        &mut self,
        scenario: &str,
        who: &Contestant,
        job: &Job,
    ) -> Result<Option<Outcome>, Error> {
        let error = match self.try_session(who, job) {
            Ok(outcome) => return Ok(Some(outcome)),
            Err(error) => error,
        };
        let why = error.to_string();
        self.fail(scenario, who.name(), &why);
        match who {
            Contestant::Floor => Err(Error::Essential("the floor", why)),
            _ => Ok(None),
        }
    }

    /// Records that something came to nothing.
    pub(crate) fn fail(&mut self, scenario: &str, server: &str, why: &str) {
        self.say(&format!("{scenario}: {server} FAILED: {why}"));
        let [scenario, server, why] = [scenario, server, why].map(str::to_owned);
        self.failures.push(Failure { scenario, server, why });
    }

    fn try_session(&mut self, who: &Contestant, job: &Job) -> Result<Outcome, Error> {
        let Job { batch_window_ms, gather, history, tls, .. } = *job;
        let connections = job.most_connections();
        let settings = Settings { connections, batch_window_ms, gather, history, tls };
        let running = self.ground.start(who, settings)?;
        let plan = self.plan(&running, job);
        let mut others = Holders::default();
        if job.awake {
            others.keep_awake(self, &plan)?;
        }
        if job.replaying > 0 {
            let plan = Plan { connections: job.replaying, ..plan.clone() };
            others.start_humbly(self, self.ground.client_core(), "replay", &plan)?;
        }
        let mut storm = Holders::default();
        if job.storming > 0 {
            let plan = Plan { connections: job.storming, ..plan.clone() };
            storm.start_humbly(self, self.ground.client_core(), "storm", &plan)?;
        }
        let mut child = pinned(self.ground.client_core(), &self.ground.this)
            .arg("clients")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io("cannot start the clients"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&serde_json::to_vec(&plan)?).map_err(io("the clients have ended"))?;
        }
        let output = child.wait_with_output().map_err(io("the clients have ended"))?;
        if !output.status.success() {
            return Err(Error::Clients(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let mut outcome: Outcome = serde_json::from_slice(&output.stdout)?;
        outcome.storm_per_second = storm_rate(storm)?;
        drop(others);
        if *who == Contestant::Floor {
            self.remember(job, &outcome);
        }
        Ok(outcome)
    }

    /// What the clients of a server are told.
    pub(crate) fn plan(&self, running: &Running, job: &Job) -> Plan {
        Plan {
            server: running.address,
            pid: running.server.pid(),
            wire: job.wire.unwrap_or(running.wire),
            feed: running.feed.clone(),
            connections: job.connections,
            subscriptions: job.subscriptions,
            deflate: job.deflate,
            batch: job.batch,
            sleep: self.sleep,
            phases: job.phases.clone(),
        }
    }

    fn remember(&mut self, job: &Job, outcome: &Outcome) {
        let single = |phase: &Phase| matches!(phase, Phase::Window { window: 1, .. });
        if let Some(at) = job.phases.iter().position(single)
            && let Some(measured) = outcome.phases.get(at)
            && !self.floor_us.iter().any(|(connections, _)| *connections == job.connections)
        {
            self.floor_us.push((job.connections, measured.us_per_delivery()));
        }
    }

    /// Messages a second that keep the floor's core busy for this share of the time.
    pub(crate) fn rate(&mut self, connections: usize, load: f64) -> Result<f64, Error> {
        let known = |all: &[(usize, f64)]| {
            all.iter().find(|(known, _)| *known == connections).map(|(_, us)| *us)
        };
        if known(&self.floor_us).is_none() {
            let phase = self.window(CALIBRATION, 1);
            let job = Job::new(connections, vec![phase]);
            self.session("calibration", &Contestant::Floor, &job)?;
        }
        let us = known(&self.floor_us).unwrap_or(5.0).max(0.1);
        Ok(load * 1e6 / (us * connections as f64))
    }

    /// A phase with a window, of the usual payload.
    pub(crate) fn window(&self, messages: u64, window: u64) -> Phase {
        let (warmup, shape) = ((messages / 10).max(window), Shape::Filled(self.scale.payload));
        Phase::Window { messages, warmup, window, shape }
    }
}
