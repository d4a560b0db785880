//! Crowds: many clients that arrive at once, with or without something to catch up on. Measured from the first SYN to
//! the last byte.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use wsgateway_client::swarm::{Commands, every};
use wsgateway_client::{Client, ClientOptions, Counters, Swarm, SwarmOptions};

use crate::clients::{NAP, SETTLE, STEP, connect, until_released};
use crate::error::{Error, io};
use crate::feed::Publisher;
use crate::load::{CHANNEL, Shape};
use crate::plan::{Measured, Plan};
use crate::process::cpu_ns;

/// Handshakes under way at once: what a listener lets wait without asking anybody to try again a second later.
const IN_FLIGHT: usize = 512;

/// Messages that the stream holds, of this many bytes, and replays that one connection may have under way.
const STREAM_MESSAGES: u64 = 10_000;
const WINDOW: u64 = 100;
const PAYLOAD: usize = 256;
const REPLAYS: usize = 4;

/// Connects so many clients that say nothing.
pub(crate) fn arrive(plan: &Plan, clients: usize) -> Result<Measured, Error> {
    let mut crowd = Crowd::new(plan, clients, every::<String>([]))?;
    let measured = crowd.measure(plan.pid, |_| true)?;
    crowd.leave()?;
    Ok(measured)
}

/// Connects so many clients that have missed something, and proves that they are live again.
pub(crate) fn resume(
    plan: &Plan,
    publisher: &mut Publisher,
    clients: usize,
    (missed, shape): (u64, Shape),
) -> Result<Measured, Error> {
    // One who stays tells when the server has everything that the others miss.
    let mut watcher = connect(plan, 1)?;
    let cursor = cursor(plan.server)?;
    publisher.publish(shape, missed)?;
    watcher.run_until(|counters| counters.messages >= missed, STEP)?;
    let command = json!({ "type": "subscribe", "channels": channels(plan), "resume": cursor });
    let mut crowd = Crowd::new(plan, clients, every([command.to_string()]))?;
    let (count, all) = (clients as u64, clients as u64 * missed);
    let measured =
        crowd.measure(plan.pid, |counters| counters.acks == count && counters.messages >= all)?;
    publisher.publish(shape, 1)?;
    crowd.swarm.run_until(|counters| counters.messages >= all + count, STEP)?;
    crowd.swarm.run_for(SETTLE)?;
    let counters = crowd.swarm.counters();
    if !counters.is_faultless() || counters.messages != all + count {
        return Err(Error::Faulty(counters.to_string()));
    }
    crowd.leave()?;
    Ok(Measured { messages: missed, ..measured })
}

/// Connections that ask for all that the stream holds, several times over: says `ready` when it is coming, and goes on
/// until standard input ends.
pub(crate) fn replay() -> Result<(), Error> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(io("no plan"))?;
    let plan: Plan = serde_json::from_str(&line)?;
    let mut publisher = Publisher::new(&plan)?;
    let mut watcher = connect(&plan, 1)?;
    for count in (1..=STREAM_MESSAGES / WINDOW).map(|round| round * WINDOW) {
        publisher.publish(Shape::Filled(PAYLOAD), WINDOW)?;
        watcher.run_until(|counters| counters.messages >= count, STEP)?;
    }
    let command = json!({ "type": "replay", "channels": [CHANNEL], "from": 1 }).to_string();
    let mut crowd = Crowd::new(&plan, plan.connections, every(vec![command; REPLAYS]))?;
    crowd.swarm.run_until(|counters| counters.messages > 10 * plan.connections as u64, STEP)?;
    until_released(&mut crowd.swarm)
}

fn channels(plan: &Plan) -> Vec<String> {
    plan.subscriptions.channels(0, 1)
}

/// Where the stream is: what a client that leaves now would resume with.
fn cursor(server: SocketAddr) -> Result<Value, Error> {
    let fault = |error: &dyn std::fmt::Display| Error::Clients(error.to_string());
    let protocol = Some(wsgateway_proto::v1::PROTOCOL.to_owned());
    let options = ClientOptions { protocol, ..ClientOptions::default() };
    let mut client = Client::connect(server, &options).map_err(|error| fault(&error))?;
    let hello =
        client.next_of_type("connection:established", STEP).map_err(|error| fault(&error))?;
    let subscribe = json!({ "type": "subscribe", "channels": [CHANNEL] });
    client.send_text(&subscribe.to_string()).map_err(|error| fault(&error))?;
    let ack = client.next_of_type("subscription_ack", STEP).map_err(|error| fault(&error))?;
    Ok(json!({ "epoch": hello["epoch"], "offset": ack["offset"] }))
}

/// Clients that are measured together.
pub(crate) struct Crowd {
    pub(crate) swarm: Swarm,
    clients: usize,
}

impl Crowd {
    pub(crate) fn new(plan: &Plan, clients: usize, commands: Commands) -> Result<Self, Error> {
        // An address of its own, and of this process, so that no port is still taken by those who came before.
        static NEXT: AtomicU8 = AtomicU8::new(2);
        let [.., high, low] = std::process::id().to_be_bytes();
        let number = NEXT.fetch_add(1, Ordering::Relaxed).max(2);
        let source = Ipv4Addr::new(127, high.max(1), low, number);
        let options = SwarmOptions {
            connections: clients,
            protocol: Some(wsgateway_proto::v1::PROTOCOL.to_owned()),
            sources: vec![IpAddr::V4(source)],
            in_flight: IN_FLIGHT,
            nap: (!plan.sleep).then_some(NAP),
            commands,
            ..SwarmOptions::default()
        };
        Ok(Self { swarm: Swarm::connect(plan.server, options)?, clients })
    }

    /// Runs until all are open and `done` is true.
    fn measure(&mut self, pid: u32, done: impl Fn(&Counters) -> bool) -> Result<Measured, Error> {
        let wanted = self.clients as u64;
        let (cpu, clock) = (cpu_ns(pid)?, Instant::now());
        let lost = |c: &Counters| c.refused_in_all() + c.failed + c.closed() > 0;
        self.swarm.run_until(|c| lost(c) || (c.opened == wanted && done(c)), STEP)?;
        let wall_ns = u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let cpu_ns = cpu_ns(pid)?.saturating_sub(cpu);
        let counters = self.swarm.counters();
        if lost(counters) {
            return Err(Error::Faulty(counters.to_string()));
        }
        let (deliveries, bytes) = (counters.messages, counters.bytes);
        Ok(Measured { deliveries, cpu_ns, wall_ns, bytes, ..Measured::default() })
    }

    /// Everybody says goodbye, so that what follows meets a quiet server.
    fn leave(mut self) -> Result<(), Error> {
        self.swarm.close_all(1000);
        self.swarm.run_until(|counters| counters.connected == 0, STEP)?;
        self.swarm.run_for(SETTLE)?;
        Ok(())
    }
}
