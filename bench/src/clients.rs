//! The clients of one server, in a process of their own: they connect, publish, and read the server's CPU time and
//! memory before and after. The plan comes on standard input, the outcome goes to standard output.

use std::time::{Duration, Instant};

use wsgateway_client::swarm::{State, subscribe, subscribe_batched};
use wsgateway_client::{Latency, Swarm, SwarmOptions, Unit, loopback_sources};

use crate::comeback;
use crate::dialects::{dialect, opening, path, protocol};
use crate::error::{Error, io};
use crate::feed::Publisher;
use crate::load::Shape;
use crate::plan::{Connected, Feed, Measured, Outcome, Phase, Plan, Wire};
use crate::process::{cpu_ns, memory, slabs};

/// How long a step may take.
pub(crate) const STEP: Duration = Duration::from_secs(120);

/// Clients before the first look at memory and CPU, so that what is done once is done.
const FIRST: usize = 50;

/// Connections to one server that one address is good for, with the usual range of ports.
const PER_ADDRESS: usize = 28_000;

/// Handshakes at once: few, since a crowd would leave the upgrade's own memory behind.
const IN_FLIGHT: usize = 16;

/// Between two looks at the sockets: far below any interval measured, far above the cost of a look.
pub(crate) const NAP: Duration = Duration::from_micros(100);

/// Time for a server to tidy up after handshakes, before its memory is read.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);

/// How long the last messages of a paced phase may take before the server counts as behind.
const LAG: Duration = Duration::from_secs(2);

/// Without pace at first: connections, caches and code warm up.
const WARM: Duration = Duration::from_secs(1);

pub(crate) fn run() -> Result<(), Error> {
    let plan: Plan = serde_json::from_reader(std::io::stdin())?;
    let (connected, swarm) = connect_measured(&plan)?;
    let publisher = Publisher::new(&plan)?;
    let mut session = Session { plan: &plan, swarm, publisher, stalled: 0 };
    let mut outcome = Outcome { connected, phases: Vec::new(), storm_per_second: 0.0 };
    for phase in &plan.phases {
        outcome.phases.push(session.phase(*phase)?);
    }
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn connect_measured(plan: &Plan) -> Result<(Connected, Swarm), Error> {
    // The floor waits for a fixed number of connections, and keeps nothing about them.
    if !matches!(plan.feed, Feed::Floor(_)) {
        let mut first = connect(plan, FIRST)?;
        first.run_for(SETTLE)?;
    }
    let (memory_before, slabs_before, cpu) = (memory(plan.pid), slabs(), cpu_ns(plan.pid)?);
    let mut swarm = connect(plan, plan.connections)?;
    let each = |before: u64, after: u64| {
        after.saturating_sub(before) as f64 / plan.connections.max(1) as f64
    };
    let cpu_ns = each(cpu, cpu_ns(plan.pid)?);
    swarm.run_for(SETTLE)?;
    let user_bytes = each(memory_before, memory(plan.pid));
    let kernel_bytes = each(slabs_before, slabs()) / 2.0;
    Ok((Connected { cpu_ns, user_bytes, kernel_bytes }, swarm))
}

/// Connects and subscribes.
pub(crate) fn connect(plan: &Plan, connections: usize) -> Result<Swarm, Error> {
    connect_at(plan, connections, Pace { nap: NAP, in_flight: IN_FLIGHT })
}

/// How often clients poll their sockets, and how many handshakes they have under way at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub nap: Duration,
    pub in_flight: usize,
}

/// Connects and subscribes, at another pace than usual.
pub(crate) fn connect_at(plan: &Plan, connections: usize, pace: Pace) -> Result<Swarm, Error> {
    let Plan { wire, subscriptions, batch, connections: of, .. } = *plan;
    let commands = move |number: usize| {
        let channels = subscriptions.channels(number, of);
        let names: Vec<&str> = channels.iter().map(String::as_str).collect();
        match wire {
            Wire::V1 if names.is_empty() => Vec::new(),
            Wire::V1 if batch => vec![subscribe_batched(&names)],
            Wire::V1 => vec![subscribe(&names)],
            other => opening(other, &channels),
        }
    };
    let options = SwarmOptions {
        connections,
        path: path(wire).to_owned(),
        protocol: protocol(wire),
        in_flight: pace.in_flight,
        deflate: plan.deflate,
        dialect: dialect(wire),
        nap: (!plan.sleep).then_some(pace.nap),
        sources: match connections > PER_ADDRESS {
            true => loopback_sources(connections),
            // The kernel may use a port for several servers only while it chooses it itself.
            false => Vec::new(),
        },
        latency: Some(Latency { field: "t".into(), unit: Unit::Nanoseconds }),
        commands: Box::new(commands),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(plan.server, options)?;
    swarm.run_until_subscribed(STEP)?;
    Ok(swarm)
}

/// Clients and publisher of one server.
struct Session<'a> {
    plan: &'a Plan,
    swarm: Swarm,
    publisher: Publisher,
    /// Clients stalled so far: the first ones of the swarm.
    stalled: usize,
}

impl Session<'_> {
    fn phase(&mut self, phase: Phase) -> Result<Measured, Error> {
        let measured = match phase {
            Phase::Window { messages, warmup, window, shape } => {
                self.rounds(warmup, window, shape)?;
                self.measured(|this| this.rounds(messages, window, shape).map(|()| messages))?
            }
            Phase::Paced { per_second, seconds, shape, stalled } => {
                self.pace(per_second, WARM, shape, false)?;
                self.catch_up(0);
                self.swarm.reset_latency();
                self.paced(per_second, Duration::from_secs_f64(seconds), shape, stalled)?
            }
            Phase::Arrive { clients } => comeback::arrive(self.plan, clients)?,
            Phase::Resume { clients, missed, shape } => {
                comeback::resume(self.plan, &mut self.publisher, clients, (missed, shape))?
            }
        };
        let counters = self.swarm.counters();
        match counters.is_faultless() {
            true => Ok(measured),
            false => Err(Error::Faulty(counters.to_string())),
        }
    }

    fn measured(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<u64, Error>,
    ) -> Result<Measured, Error> {
        let (before, cpu, clock) =
            (self.swarm.counters().clone(), cpu_ns(self.plan.pid)?, Instant::now());
        let messages = work(self)?;
        let cpu_ns = cpu_ns(self.plan.pid)?.saturating_sub(cpu);
        let after = self.swarm.counters();
        Ok(Measured {
            messages,
            deliveries: after.messages - before.messages,
            cpu_ns,
            wall_ns: u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX),
            bytes: after.bytes - before.bytes,
            ..Measured::default()
        })
    }

    /// Publishes in windows; each is everywhere before the next begins.
    fn rounds(&mut self, messages: u64, window: u64, shape: Shape) -> Result<(), Error> {
        let receivers = self.plan.subscriptions.receivers(self.plan.connections) as u64;
        let mut left = messages;
        while left > 0 {
            let count = window.clamp(1, left);
            let wanted = self.swarm.counters().messages + count * receivers;
            self.publisher.publish(shape, count)?;
            self.swarm
                .run_until(|counters| counters.messages >= wanted || counters.closed() > 0, STEP)?;
            left -= count;
        }
        Ok(())
    }

    fn paced(
        &mut self,
        per_second: f64,
        span: Duration,
        shape: Shape,
        stalled: bool,
    ) -> Result<Measured, Error> {
        let before = memory(self.plan.pid);
        let received: Vec<u64> = self.swarm.tallies().map(|tally| tally.messages).collect();
        let (mut peak, mut behind) = (before, false);
        let mut measured = self.measured(|this| {
            let (messages, most) = this.pace(per_second, span, shape, stalled)?;
            peak = peak.max(most);
            let least = received.get(this.stalled..).and_then(|all| all.iter().min()).copied();
            behind = !this.catch_up(least.unwrap_or(0) + messages);
            Ok(messages)
        })?;
        measured.growth_bytes = peak.max(memory(self.plan.pid)).saturating_sub(before);
        measured.behind = behind;
        if stalled {
            self.wake()?;
        }
        measured.closed = self.swarm.counters().closed();
        if let Some(latency) = self.swarm.latency() {
            measured.p50_ns = latency.value_at_quantile(0.5);
            measured.p99_ns = latency.value_at_quantile(0.99);
        }
        Ok(measured)
    }

    /// Publishes at a steady rate; returns the messages and the most memory that the server had.
    fn pace(
        &mut self,
        per_second: f64,
        span: Duration,
        shape: Shape,
        stalled: bool,
    ) -> Result<(u64, u64), Error> {
        let (clock, mut sent, mut peak) = (Instant::now(), 0_u64, 0);
        let mut look = Duration::ZERO;
        loop {
            let due = Duration::from_secs_f64(sent as f64 / per_second.max(0.1));
            if due >= span {
                return Ok((sent, peak));
            }
            self.swarm.run_for(due.saturating_sub(clock.elapsed()))?;
            if stalled && clock.elapsed() >= look {
                look += Duration::from_secs(1);
                peak = peak.max(memory(self.plan.pid));
                self.swarm.pause(self.stalled)?;
                self.stalled += 1;
            }
            self.publisher.publish(shape, 1)?;
            sent += 1;
        }
    }

    /// Waits until everybody who reads has so many messages (0: until nothing more comes); false when that takes
    /// too long.
    fn catch_up(&mut self, messages: u64) -> bool {
        let clock = Instant::now();
        while clock.elapsed() < LAG {
            let before = self.swarm.counters().messages;
            if self.swarm.run_for(Duration::from_millis(20)).is_err() {
                return false;
            }
            let mut reading = self.swarm.tallies().skip(self.stalled);
            let quiet = self.swarm.counters().messages == before;
            if quiet && (messages == 0 || reading.all(|tally| tally.messages >= messages)) {
                return true;
            }
        }
        false
    }

    /// Lets those who stalled read what is there, so that it is known who was closed.
    fn wake(&mut self) -> Result<(), Error> {
        for index in 0..self.stalled {
            if self.swarm.tallies().nth(index).is_some_and(|tally| tally.state == State::Open) {
                self.swarm.resume(index)?;
            }
        }
        self.swarm.run_for(SETTLE).map_err(Error::from)
    }
}

/// Connections that do nothing: says `ready` and holds them until standard input ends. Several such processes hold
/// more than one could.
pub(crate) fn hold() -> Result<(), Error> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(io("no plan"))?;
    let plan: Plan = serde_json::from_str(&line)?;
    let mut swarm = connect(&plan, plan.connections)?;
    until_released(&mut swarm)?;
    let counters = swarm.counters();
    match counters.closed() {
        0 => Ok(()),
        _ => Err(Error::Faulty(counters.to_string())),
    }
}

/// Says `ready`, and drives the clients until standard input ends.
pub(crate) fn until_released(swarm: &mut Swarm) -> Result<(), Error> {
    println!("ready");
    let (sender, ended) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok();
        drop(sender);
    });
    while ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
        swarm.run_for(Duration::from_millis(200))?;
    }
    Ok(())
}
