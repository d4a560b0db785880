//! P6, the other way round: what the live clients notice while a crowd asks for the whole stream again.

use super::in_turn;
use crate::bench::{Bench, Job};
use crate::contestant::Contestant;
use crate::error::Error;
use crate::load::Shape;
use crate::plan::Phase;

/// Share of the floor's core that the live clients take.
const LOAD: f64 = 0.4;

/// Cases: name, whether a crowd looks back, and the messages in the history, unless it holds the whole stream.
pub(crate) const CASES: [(&str, bool, Option<u64>); 3] = [
    ("nobody looks back", false, None),
    ("a crowd, from memory", true, None),
    ("a crowd, from the stream", true, Some(100)),
];

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let (scale, per_second) = (bench.scale, bench.rate(bench.scale.small, LOAD)?);
    for (round, (case, crowd, history)) in in_turn(scale.rounds_few, &CASES) {
        let (seconds, shape) = (scale.paced_seconds, Shape::Filled(scale.payload));
        let phase = Phase::Paced { per_second, seconds, shape, stalled: false };
        let replaying = if crowd { scale.small } else { 0 };
        let job = Job { replaying, history, awake: true, ..Job::new(scale.small, vec![phase]) };
        let Some(outcome) = bench.session("p6", &Contestant::Gateway, &job)? else { continue };
        let Some(measured) = outcome.phases.first() else { continue };
        let (p50, p99) = (measured.p50_ns as f64 / 1e6, measured.p99_ns as f64 / 1e6);
        let growth = measured.growth_bytes as f64 / 1e3;
        let figures = [("p50Ms", p50), ("p99Ms", p99), ("growthKb", growth)];
        bench.samples.push(("p6-live", case), "wsgateway", round, &figures);
        bench.say(&format!(
            "P6 round {} of {}, {case}: live clients' p50 {p50:.2} ms, p99 {p99:.2} ms",
            round + 1,
            scale.rounds_few,
        ));
    }
    Ok(())
}
