//! P8: one client that does not read, among all that do.

use super::in_turn;
use crate::bench::{Bench, Job};
use crate::contestant::Contestant;
use crate::error::Error;
use crate::load::Shape;
use crate::plan::Phase;

/// Share of the floor's core (measured with small payloads).
const LOAD: f64 = 0.4;

/// Large payloads, so that a stalled client's buffers fill within a second.
const PAYLOAD: usize = 4_096;

pub(crate) const CASES: [(&str, bool); 2] = [("everybody reads", false), ("one is stalled", true)];

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let (scale, per_second) = (bench.scale, bench.rate(bench.scale.small, LOAD)?);
    for (round, (case, stalled)) in in_turn(scale.rounds_few, &CASES) {
        let (seconds, shape) = (scale.stalled_seconds, Shape::Filled(PAYLOAD));
        let phase = Phase::Paced { per_second, seconds, shape, stalled };
        let job = Job::new(scale.small, vec![phase]);
        let Some(outcome) = bench.session("p8", &Contestant::Gateway, &job)? else { continue };
        let Some(measured) = outcome.phases.first() else { continue };
        let (p99, growth) = (measured.p99_ns as f64 / 1e6, measured.growth_bytes as f64 / 1e3);
        let figures = [
            ("p50Ms", measured.p50_ns as f64 / 1e6),
            ("p99Ms", p99),
            ("growthKb", growth),
            ("closed", measured.closed as f64),
        ];
        bench.samples.push(("p8", case), "wsgateway", round, &figures);
        bench.say(&format!(
            "P8 round {} of {}, {case}: p99 {p99:.2} ms, memory grew by {growth:.0} kB, {} closed",
            round + 1,
            scale.rounds_few,
            measured.closed
        ));
    }
    Ok(())
}
