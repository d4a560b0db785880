//! The clients of one server, in a process of their own: they connect, publish a window, wait until everybody has it,
//! and read the server's CPU time before and after. They sleep in epoll while nothing comes.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wsgateway_client::swarm::subscribe;
use wsgateway_client::{Swarm, SwarmOptions};

use crate::error::{Error, io, nats_error};
use crate::load::{CHANNEL, channels, payload};
use crate::process::{cpu_ns, resident};

/// What to connect to and how much to send.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Address that the clients connect to
    #[arg(long)]
    server: SocketAddr,
    /// Process whose CPU and memory are measured
    #[arg(long)]
    pid: u32,
    /// The floor's control connection; without it, messages go through NATS
    #[arg(long)]
    control: Option<SocketAddr>,
    /// Where to publish
    #[arg(long, default_value = "")]
    nats: String,
    #[command(flatten)]
    load: Load,
}

/// The load of one run.
#[derive(Clone, Copy, Debug, clap::Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Load {
    /// Connections, all subscribed to the one channel that is published
    #[arg(long, default_value_t = 1_000)]
    pub connections: usize,
    /// Messages measured
    #[arg(long, default_value_t = 1_000)]
    pub messages: u64,
    /// Messages before the measurement
    #[arg(long, default_value_t = 100)]
    pub warmup: u64,
    /// Messages in flight: so many are published at once, the next ones when every client has them all
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub window: u64,
    /// Bytes of a payload
    #[arg(long, default_value_t = 256)]
    pub payload: usize,
}

/// What one run measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Measured {
    /// Deliveries in the measurement.
    pub deliveries: u64,
    /// CPU time of the server over them (ns).
    pub cpu_ns: u64,
    /// Wall time (ns).
    pub wall_ns: u64,
    /// Growth of the server's resident memory per connection, idle and subscribed (bytes).
    pub idle_bytes: u64,
}

/// How long a step may take.
const STEP: Duration = Duration::from_secs(120);

/// Clients before the first look at memory, so that what is allocated once is there.
const FIRST: usize = 20;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Error> {
    let load = &arguments.load;
    // The floor waits for a fixed number of connections and holds no memory worth measuring.
    if arguments.control.is_none() {
        drop(connect(arguments.server, FIRST)?);
    }
    let before = resident(arguments.pid);
    let mut swarm = connect(arguments.server, load.connections)?;
    let idle_bytes = resident(arguments.pid).saturating_sub(before) / load.connections as u64;
    let mut publisher = Publisher::new(arguments)?;

    rounds(&mut swarm, &mut publisher, load, load.warmup)?;
    let (cpu, clock) = (cpu_ns(arguments.pid)?, Instant::now());
    rounds(&mut swarm, &mut publisher, load, load.messages)?;
    let wall_ns = u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let cpu_ns = cpu_ns(arguments.pid)? - cpu;

    let counters = swarm.counters();
    if !counters.is_faultless() {
        return Err(Error::Faulty(counters.to_string()));
    }
    let deliveries = load.messages * load.connections as u64;
    let measured = Measured { deliveries, cpu_ns, wall_ns, idle_bytes };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

fn connect(server: SocketAddr, connections: usize) -> Result<Swarm, Error> {
    let options = SwarmOptions {
        connections,
        protocol: Some(wsgateway_proto::v1::PROTOCOL.to_owned()),
        // Few at once: a crowd would leave the upgrade's own memory behind.
        in_flight: 16,
        commands: Box::new(|number| {
            vec![subscribe(&channels(number).each_ref().map(String::as_str))]
        }),
        ..SwarmOptions::default()
    };
    let mut swarm = Swarm::connect(server, options)?;
    swarm.run_until_subscribed(STEP)?;
    Ok(swarm)
}

/// Publishes `messages` in windows; each is everywhere before the next begins.
fn rounds(
    swarm: &mut Swarm,
    publisher: &mut Publisher,
    load: &Load,
    messages: u64,
) -> Result<(), Error> {
    let mut left = messages;
    while left > 0 {
        let window = load.window.min(left);
        publisher.publish(window)?;
        let wanted = swarm.counters().messages + window * load.connections as u64;
        swarm.run_until(|counters| counters.messages >= wanted || counters.closed() > 0, STEP)?;
        left -= window;
    }
    Ok(())
}

/// The way into a server.
enum Publisher {
    Floor(TcpStream),
    Nats(Box<Nats>),
}

/// A NATS client, and the runtime that it lives in while something is published.
struct Nats {
    runtime: tokio::runtime::Runtime,
    client: async_nats::Client,
    payload: Vec<u8>,
}

impl Publisher {
    fn new(arguments: &Arguments) -> Result<Self, Error> {
        if let Some(control) = arguments.control {
            let stream = TcpStream::connect(control).map_err(io("cannot connect to the floor"))?;
            stream.set_nodelay(true).map_err(io("TCP_NODELAY"))?;
            return Ok(Self::Floor(stream));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(io("cannot make a runtime"))?;
        let servers = [arguments.nats.clone()];
        let client = runtime.block_on(wsgateway_nats::connect(&servers, "bench", |_| ()));
        let client = client.map_err(|error| nats_error(&error))?;
        Ok(Self::Nats(Box::new(Nats { runtime, client, payload: payload(arguments.load.payload) })))
    }

    fn publish(&mut self, count: u64) -> Result<(), Error> {
        match self {
            Self::Floor(stream) => {
                stream.write_all(&vec![1; count as usize]).map_err(io("the floor has ended"))
            }
            Self::Nats(nats) => nats.publish(count),
        }
    }
}

impl Nats {
    fn publish(&self, count: u64) -> Result<(), Error> {
        self.runtime.block_on(async {
            for _ in 0..count {
                let published = self.client.publish(CHANNEL, self.payload.clone().into()).await;
                published.map_err(|error| nats_error(&error))?;
            }
            self.client.flush().await.map_err(|error| nats_error(&error))
        })
    }
}
