//! What all scenarios share: the servers, the ground they run on, and the record of what came out.

use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

use serde::Serialize;

use crate::contestant::{Contestant, Ground, Running, Settings};
use crate::error::{Error, io};
use crate::load::{Shape, Subscriptions};
use crate::plan::{Measured, Outcome, Phase, Plan};
use crate::process::pinned;
use crate::samples::Samples;
use crate::scale::Scale;

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
    pub(crate) phases: Vec<Phase>,
}

impl Job {
    /// Three subscriptions a connection, nothing compressed, nothing held back.
    pub(crate) fn new(connections: usize, phases: Vec<Phase>) -> Self {
        let subscriptions = Subscriptions::Three;
        let (deflate, batch, batch_window_ms) = (false, false, 0);
        Self { connections, subscriptions, deflate, batch, batch_window_ms, phases }
    }
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
        let (connections, batch_window_ms) = (job.connections, job.batch_window_ms);
        let running = self.ground.start(who, Settings { connections, batch_window_ms })?;
        let plan = self.plan(&running, job);
        let mut child = pinned(self.ground.cores.map(|cores| cores.1), &self.ground.this)
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
        let outcome: Outcome = serde_json::from_slice(&output.stdout)?;
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
            wire: running.wire,
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
