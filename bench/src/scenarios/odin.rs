//! What it costs that every connection of `odin.v1` numbers its messages by itself: beside `wsgateway.v1`, whose frames
//! are the same for all.

use super::in_turn;
use crate::bench::{Bench, Job};
use crate::contestant::Contestant;
use crate::error::Error;
use crate::plan::Wire;

/// Cases: name, what is spoken.
pub(crate) const CASES: [(&str, Wire); 2] = [("wsgateway.v1", Wire::V1), ("odin.v1", Wire::Odin)];

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let scale = bench.scale;
    for (round, (case, wire)) in in_turn(scale.rounds, &CASES) {
        let phase = bench.window(scale.messages, 1);
        let job = Job { wire: Some(wire), ..Job::new(scale.small, vec![phase]) };
        let Some(outcome) = bench.session("odin", &Contestant::Gateway, &job)? else {
            continue;
        };
        let Some(measured) = outcome.phases.first() else { continue };
        let us = measured.us_per_delivery();
        let bytes = measured.bytes as f64 / measured.deliveries.max(1) as f64;
        let figures = [("cpuUsPerDelivery", us), ("bytesPerDelivery", bytes)];
        bench.samples.push(("odin", case), "wsgateway", round, &figures);
        bench.say(&format!(
            "odin.v1 round {} of {}, {case}: {us:.2} µs per delivery",
            round + 1,
            scale.rounds,
        ));
    }
    Ok(())
}
