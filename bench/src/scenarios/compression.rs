//! P7: what compression costs and saves, for single messages and for batches of tickers.

use super::in_turn;
use crate::bench::{Bench, Job};
use crate::contestant::Contestant;
use crate::error::Error;
use crate::load::Shape;
use crate::plan::Phase;

/// Messages that are published at once, and so fall into one batch.
const BATCH: u64 = 10;

/// `batchWindow` of the batched cases (ms): long enough for all of a batch.
const WINDOW_MS: u64 = 20;

/// Cases: name, compressed, batched.
pub(crate) const CASES: [(&str, bool, bool); 4] = [
    ("single, plain", false, false),
    ("single, deflate", true, false),
    ("batch of 10, plain", false, true),
    ("batch of 10, deflate", true, true),
];

pub(super) fn run(bench: &mut Bench) -> Result<(), Error> {
    let scale = bench.scale;
    for (round, (case, deflate, batch)) in in_turn(scale.rounds_few, &CASES) {
        let window = if batch { BATCH } else { 1 };
        let messages = scale.messages.next_multiple_of(BATCH);
        let phase = Phase::Window { messages, warmup: 5 * BATCH, window, shape: Shape::Ticker };
        let batch_window_ms = if batch { WINDOW_MS } else { 0 };
        let job = Job { deflate, batch, batch_window_ms, ..Job::new(scale.small, vec![phase]) };
        let Some(outcome) = bench.session("p7", &Contestant::Gateway, &job)? else { continue };
        let Some(measured) = outcome.phases.first() else { continue };
        let bytes = measured.bytes as f64 / measured.deliveries.max(1) as f64;
        let figures =
            [("cpuUsPerDelivery", measured.us_per_delivery()), ("bytesPerDelivery", bytes)];
        bench.samples.push(("p7", case), "wsgateway", round, &figures);
        bench.say(&format!(
            "P7 round {} of {}, {case}: {:.2} µs and {bytes:.0} bytes per message",
            round + 1,
            scale.rounds_few,
            measured.us_per_delivery()
        ));
    }
    Ok(())
}
