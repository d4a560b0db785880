//! P6: a pod is gone, and its clients come to another one all at once, each with messages to catch up on.
//!
//! Beside it, in the same round: the same clients who only connect, and the floor for the bytes, which is one `send` of
//! everything that a client has missed. Who resumes pays both; the target is 1.5 times their sum.

use crate::bench::{Bench, Job};
use crate::contestant::Contestant;
use crate::error::Error;
use crate::load::Shape;
use crate::plan::{Measured, Phase};

/// What the floor sends to everybody, as a multiple of what one client has missed: its time is short.
const REPEATS: u64 = 4;

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let (clients, missed) = (bench.scale.resuming, bench.scale.missed);
    let case = clients.to_string();
    for round in 0..bench.scale.rounds_few {
        let Some(bytes_ms) = floor(bench, clients, missed)? else { continue };
        let Some((bare, resumed)) = ours(bench, clients, missed)? else { continue };
        let (bare_ms, resumed_ms) = (ms(&bare), ms(&resumed));
        let ratio = resumed_ms / (bare_ms + bytes_ms);
        let figures = [
            ("bareMs", bare_ms),
            ("bytesMs", bytes_ms),
            ("resumedMs", resumed_ms),
            ("ratio", ratio),
            ("bareCpuUsPerClient", bare.cpu_ns as f64 / 1e3 / clients as f64),
            ("resumedCpuUsPerClient", resumed.cpu_ns as f64 / 1e3 / clients as f64),
            ("kbPerClient", resumed.bytes as f64 / 1e3 / clients as f64),
        ];
        bench.samples.push(("p6", &case), "wsgateway", round, &figures);
        bench.say(&format!(
            "P6 round {} of {}: {clients} clients live again after {resumed_ms:.0} ms; handshakes alone {bare_ms:.0} \
             ms, floor for the bytes {bytes_ms:.0} ms: {ratio:.2} ×",
            round + 1,
            bench.scale.rounds_few,
        ));
    }
    Ok(())
}

fn ms(measured: &Measured) -> f64 {
    measured.wall_ns as f64 / 1e6
}

/// Time (ms) in which the floor sends to each client what it has missed.
fn floor(bench: &mut Bench, clients: usize, missed: u64) -> Result<Option<f64>, Error> {
    let shape = Shape::Filled(bench.scale.payload);
    let phase = Phase::Window { messages: REPEATS * missed, warmup: missed, window: missed, shape };
    let job = Job { gather: missed, ..Job::new(clients, vec![phase]) };
    let outcome = bench.session("p6", &Contestant::Floor, &job)?;
    let measured = outcome.and_then(|outcome| outcome.phases.first().copied());
    Ok(measured.map(|measured| ms(&measured) / REPEATS as f64))
}

/// The clients that only connect, and those who resume.
fn ours(
    bench: &mut Bench,
    clients: usize,
    missed: u64,
) -> Result<Option<(Measured, Measured)>, Error> {
    let shape = Shape::Filled(bench.scale.payload);
    let arrive = Phase::Arrive { clients };
    // The first crowd warms the server up.
    let phases = vec![arrive, arrive, Phase::Resume { clients, missed, shape }];
    let job = Job::new(1, phases);
    let Some(outcome) = bench.session("p6", &Contestant::Gateway, &job)? else { return Ok(None) };
    Ok(match outcome.phases.as_slice() {
        [_, bare, resumed] => Some((*bare, *resumed)),
        _ => None,
    })
}
