//! What is measured: one file per kind of session.

mod compression;
mod crowd;
mod fanout;
mod growth;
mod idle;
mod lookback;
mod odin;
mod resume;
mod stalled;
mod storm;
mod tls;

use crate::bench::Bench;
use crate::error::Error;
use crate::report::OURS;

pub(crate) use compression::CASES as COMPRESSION;
pub(crate) use lookback::CASES as LOOKBACK;
pub(crate) use odin::CASES as PROTOCOLS;
pub(crate) use stalled::CASES as STALLED;
pub(crate) use storm::{CASES as STORM, crowd as storm_crowd};
pub(crate) use tls::CASES as TLS;

/// Runs those asked for, in order.
pub(crate) fn all(bench: &mut Bench, only: &[String]) -> Result<(), Error> {
    let wanted = |name: &str| only.iter().any(|each| each == name);
    fanout::run(bench, &wanted)?;
    if wanted("p6") {
        bench.wait_for_ports();
        resume::run(bench)?;
        lookback::run(bench)?;
        storm::run(bench)?;
    }
    if wanted("p7") {
        compression::run(bench)?;
    }
    if wanted("p8") {
        stalled::run(bench)?;
    }
    if wanted("p9") {
        bench.wait_for_ports();
        if let Err(error) = crowd::run(bench) {
            bench.fail("p9", OURS, &error.to_string());
        }
    }
    if wanted("p10") {
        bench.wait_for_ports();
        if let Err(error) = idle::run(bench) {
            bench.fail("p10", OURS, &error.to_string());
        }
    }
    if wanted("p12") {
        growth::run(bench)?;
    }
    if wanted("odin") {
        odin::run(bench)?;
    }
    if wanted("tls") {
        tls::run(bench)?;
    }
    Ok(())
}

/// Every case in every round, another one first in each: what changes with time hits all alike.
fn in_turn<T: Copy>(rounds: usize, cases: &[T]) -> impl Iterator<Item = (usize, T)> {
    (0..rounds).flat_map(move |round| {
        let start = round % cases.len().max(1);
        cases.iter().cycle().skip(start).take(cases.len()).map(move |case| (round, *case))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_round_has_every_case_and_begins_with_another() {
        let turns: Vec<_> = super::in_turn(3, &["a", "b"]).collect();
        assert_eq!(turns, [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]);
    }
}
