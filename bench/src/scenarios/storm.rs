//! P6, and those who are there: what live clients notice while a crowd connects and subscribes, over and over.

use super::in_turn;
use crate::bench::{Bench, Job};
use crate::contestant::Contestant;
use crate::error::Error;
use crate::load::Shape;
use crate::plan::Phase;
use crate::scale::Scale;

/// Share of the floor's core that the live clients take.
const LOAD: f64 = 0.4;

/// Cases: name, and whether there is a storm.
pub(crate) const CASES: [(&str, bool); 2] = [("nobody comes", false), ("a storm", true)];

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let (scale, per_second) = (bench.scale, bench.rate(bench.scale.small, LOAD)?);
    for (round, (case, storm)) in in_turn(scale.rounds_few, &CASES) {
        let (seconds, shape) = (scale.paced_seconds, Shape::Filled(scale.payload));
        let phase = Phase::Paced { per_second, seconds, shape, stalled: false };
        let storming = if storm { crowd(&scale) } else { 0 };
        let job = Job { storming, awake: true, ..Job::new(scale.small, vec![phase]) };
        let Some(outcome) = bench.session("p6", &Contestant::Gateway, &job)? else { continue };
        let Some(measured) = outcome.phases.first() else { continue };
        let (p50, p99) = (measured.p50_ns as f64 / 1e6, measured.p99_ns as f64 / 1e6);
        let rate = outcome.storm_per_second;
        let figures = [("p50Ms", p50), ("p99Ms", p99), ("reconnectsPerSecond", rate)];
        bench.samples.push(("p6-storm", case), "wsgateway", round, &figures);
        bench.say(&format!(
            "P6 round {} of {}, {case}: live clients' p50 {p50:.2} ms, p99 {p99:.2} ms; {rate:.0} connections a second",
            round + 1,
            scale.rounds_few,
        ));
    }
    Ok(())
}

/// Clients of one crowd. Two are there at a time, one of which leaves: as many descriptors as everybody resuming takes.
pub(crate) fn crowd(scale: &Scale) -> usize {
    scale.resuming / 2
}
