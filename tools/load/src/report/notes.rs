//! What a reader of a report must know.

use super::{End, Published, Report, Simulation};
use crate::snapshot::Totals;

/// Beyond this the generator, not the target, may be what was measured.
const BUSY_PERCENT: f64 = 85.0;
/// A worker that was held up for longer adds to what it measures.
const LAG_MS: f64 = 100.0;
/// A clock that was set by more than this is mentioned.
const JUMP_MS: f64 = 20.0;

pub(super) fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    match report.end {
        End::Time => {}
        End::Interrupted => notes.push("interrupted: the figures are those until then".to_owned()),
        End::Failed => notes.push("ended early, since no worker could go on".to_owned()),
    }
    if report.setting.insecure {
        notes.push("certificates were not checked: anybody may have answered".to_owned());
    }
    if report.latency.is_none() && report.totals.misdated == 0 {
        notes.push("no message said when it was published: there is no latency".to_owned());
    }
    let from_another_clock = report.latency.is_some() && report.latency_from != "publisher";
    if from_another_clock && report.targets.iter().any(|target| target.clock.is_none()) {
        notes.push(format!(
            "how far the clocks differ is not known: latencies from the {} are wrong by as much",
            report.latency_from
        ));
    }
    let generator = &report.generator;
    if generator.cpu_percent.is_some_and(|percent| percent > BUSY_PERCENT) {
        notes.push(
            "this machine was busy: latencies may be the generator's; use another machine, or fewer clients"
                .to_owned(),
        );
    }
    if generator.lag_ms > LAG_MS {
        notes.push(format!(
            "a worker was held up for {:.0} ms: latencies may be too high by as much",
            generator.lag_ms
        ));
    }
    if generator.clock_jump_ms.abs() > JUMP_MS {
        notes.push(format!(
            "the clock of this machine was set by {:.0} ms during the run; latencies are by the clock of its start",
            generator.clock_jump_ms
        ));
    }
    notes.extend(clocks(&report.totals));
    notes.extend(report.published.iter().flat_map(publisher));
    notes.extend(report.simulation.iter().flat_map(Simulation::notes));
    notes.extend(report.failures.iter().map(|failure| format!("a worker ended: {failure}")));
    notes
}

/// What times of messages say of other clocks.
fn clocks(totals: &Totals) -> Vec<String> {
    let mut notes = Vec::new();
    if totals.early > 0 {
        notes.push(format!(
            "{} messages arrived before the time that they carry: the clocks differ, and latencies are too low",
            totals.early
        ));
    }
    if totals.misdated > 0 {
        notes.push(format!(
            "{} messages carry a time more than ten minutes from this machine's clock and are in no latency: a clock is wrong, or was \
             set",
            totals.misdated
        ));
    }
    if totals.set_back > 0 {
        notes.push(format!(
            "times of messages went back {} times: a clock was set, or publishers have clocks that differ; latencies are wrong by as much",
            totals.set_back
        ));
    }
    notes
}

/// What became of messages that the stream has not confirmed.
fn publisher(published: &Published) -> Vec<String> {
    let Published { refused, unconfirmed, disconnected, unkept, .. } = published;
    let mut notes = Vec::new();
    if *refused > 0 {
        notes.push(format!(
            "the stream refused {refused} messages: no client could receive them, and none has lost them"
        ));
    }
    if *unconfirmed > 0 {
        notes.push(format!(
            "NATS did not confirm {unconfirmed} messages in time: they may be stored; those that arrived count, and the others \
             are not lost"
        ));
    }
    if *disconnected > 0 {
        notes.push(format!(
            "{disconnected} messages were without a connection to NATS: they may be stored; those that arrived count, and the \
             others are not lost"
        ));
    }
    if *unkept > 0 {
        notes.push(format!(
            "failures came and went too often: {unkept} of these messages count as lost where they did not arrive"
        ));
    }
    notes
}
