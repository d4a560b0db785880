//! A storm: a crowd that connects, subscribes, and is gone as soon as everybody is acknowledged, again and again.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use wsgateway_client::swarm::{every, subscribe};

use crate::comeback::Crowd;
use crate::crowd::questions;
use crate::error::{Error, io};
use crate::plan::Plan;

/// As many as everybody has, and nothing is published on them: the crowd is to cost its coming and going alone.
const CHANNELS: [&str; 3] = ["T0.trade", "T1.trade", "*.volume"];

/// How often questions are looked for.
const TURN: Duration = Duration::from_millis(20);

/// Says `ready` after the first crowd, and answers each line that comes with the connections a second since the last one.
pub(crate) fn run() -> Result<(), Error> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(io("no plan"))?;
    let plan: Plan = serde_json::from_str(&line)?;
    let (mut made, mut since) = (0_u64, Instant::now());
    let mut asked: Option<Receiver<()>> = None;
    loop {
        let mut crowd = Crowd::new(&plan, plan.connections, every([subscribe(&CHANNELS)]))?;
        let wanted = plan.connections as u64;
        let mut counted = 0;
        while counted < wanted {
            crowd.swarm.run_for(TURN)?;
            let counters = crowd.swarm.counters();
            // Whoever is turned away or lost is no storm.
            if counters.refused_in_all() + counters.failed + counters.closed() > 0 {
                let why = crowd.swarm.last_error().unwrap_or_default();
                return Err(Error::Faulty(format!("{counters}, {why}")));
            }
            made += counters.acks - counted;
            counted = counters.acks;
            let Some(asked) = &asked else { continue };
            match asked.try_recv() {
                Ok(()) => {
                    println!("{}", made as f64 / since.elapsed().as_secs_f64());
                    (made, since) = (0, Instant::now());
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(()),
            }
        }
        if asked.is_none() {
            println!("ready");
            asked = Some(questions());
        }
    }
}
