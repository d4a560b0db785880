//! TLS beside none: what a delivery, a handshake and an idle connection cost, in one run.

use super::in_turn;
use crate::bench::{Bench, Job};
use crate::contestant::Contestant;
use crate::error::Error;

/// Cases: name, with TLS.
pub(crate) const CASES: [(&str, bool); 2] = [("plain", false), ("TLS 1.3", true)];

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let scale = bench.scale;
    for (round, (case, tls)) in in_turn(scale.rounds_few, &CASES) {
        let phases = vec![bench.window(scale.messages, 1), bench.window(scale.messages, 16)];
        let job = Job { tls, ..Job::new(scale.small, phases) };
        let Some(outcome) = bench.session("tls", &Contestant::Gateway, &job)? else { continue };
        let [single, many] = outcome.phases.as_slice() else { continue };
        let figures = [
            ("cpuUsPerDelivery", single.us_per_delivery()),
            ("cpuUsPerDelivery16", many.us_per_delivery()),
            ("cpuUsPerHandshake", outcome.connected.cpu_ns / 1e3),
            ("userBytesPerConnection", outcome.connected.user_bytes),
        ];
        bench.samples.push(("tls", case), "wsgateway", round, &figures);
        let text: Vec<_> =
            figures.iter().map(|(name, value)| format!("{name} {value:.2}")).collect();
        bench.say(&format!(
            "TLS round {} of {}, {case}: {}",
            round + 1,
            scale.rounds_few,
            text.join(", ")
        ));
    }
    Ok(())
}
