//! A part of a crowd of clients, in a process of its own: connects, says `ready`, and answers each line that comes with
//! what it has seen since the last one.

use std::io::BufRead;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wsgateway_client::Swarm;

use crate::clients::{Pace, connect_at};
use crate::error::{Error, io};
use crate::plan::Plan;

/// Several such processes share two cores with the servers: naps much shorter than the latency that matters would only
/// take the cores from them. Each nap brings the handshakes under way one step further.
const PACE: Pace = Pace { nap: Duration::from_millis(5), in_flight: 128 };

/// How often orders are looked for.
const TURN: Duration = Duration::from_millis(50);

/// What the clients have seen: sums from the start on, latency since the last question.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub messages: u64,
    pub connected: u64,
    pub closed: u64,
    /// Messages twice, out of order, garbled, or behind a gap.
    pub faulty: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
}

pub(crate) fn run() -> Result<(), Error> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(io("no plan"))?;
    let plan: Plan = serde_json::from_str(&line)?;
    let mut swarm = connect_at(&plan, plan.connections, PACE)?;
    println!("ready");
    let questions = questions();
    loop {
        swarm.run_for(TURN)?;
        match questions.try_recv() {
            Ok(()) => {
                println!("{}", serde_json::to_string(&seen(&swarm))?);
                swarm.reset_latency();
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Ok(()),
        }
    }
}

/// One for each line of standard input, until that ends.
pub(crate) fn questions() -> Receiver<()> {
    let (sender, questions) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if line.is_err() || sender.send(()).is_err() {
                return;
            }
        }
    });
    questions
}

fn seen(swarm: &Swarm) -> Seen {
    let counters = swarm.counters();
    let faults = [
        counters.duplicates,
        counters.out_of_order,
        counters.gaps,
        counters.admitted_gaps,
        counters.inconsistent,
        counters.malformed,
        counters.violations,
    ];
    let mut seen = Seen {
        messages: counters.messages,
        connected: counters.connected,
        closed: counters.closed(),
        faulty: faults.iter().sum(),
        ..Seen::default()
    };
    if let Some(latency) = swarm.latency() {
        seen.p50_ns = latency.value_at_quantile(0.5);
        seen.p99_ns = latency.value_at_quantile(0.99);
        seen.max_ns = latency.max();
    }
    seen
}
