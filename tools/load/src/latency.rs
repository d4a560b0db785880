//! Percentiles (pure): a histogram that workers hand over in parts and that loses no sample.
//!
//! Latency is counted from the moment at which a message was due. A publisher or a server that stalls delays what comes after,
//! and each of these messages counts with its whole delay: nothing is omitted by being late together.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The shortest and longest latency that are told apart; beyond them they count as these.
const SHORTEST_NS: u64 = 1_000;
pub(crate) const LONGEST_NS: u64 = 600_000_000_000;

/// Latencies in ns, with two to three digits each.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Option<Histogram<u64>>);

/// Values with their counts.
pub type Counts = Vec<(u64, u64)>;

/// Percentiles in ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Percentiles {
    /// Samples.
    pub count: u64,
    /// The shortest.
    pub min_ms: f64,
    /// Half of them are not longer.
    pub p50_ms: f64,
    /// 90 of 100 are not longer.
    pub p90_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1000.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latencies {
    /// Enters a latency.
    pub fn enter(&mut self, ns: u64) {
        self.enter_many(ns, 1);
    }

    /// Adds what another one has.
    pub fn add(&mut self, counts: &Counts) {
        counts.iter().for_each(|(value, count)| self.enter_many(*value, *count));
    }

    fn enter_many(&mut self, ns: u64, count: u64) {
        if self.0.is_none() {
            // The bounds are constants in range.
            self.0 = Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, 3).ok();
        }
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record_n(ns, count);
        }
    }

    /// Hands over what was entered, and begins anew.
    pub fn take(&mut self) -> Counts {
        let Some(histogram) = &mut self.0 else { return Counts::new() };
        let counts = histogram
            .iter_recorded()
            .map(|value| (value.value_iterated_to(), value.count_at_value()))
            .collect();
        histogram.reset();
        counts
    }

    /// The percentiles; `None` without samples.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Some(Percentiles {
            count: histogram.len(),
            min_ms: histogram.min() as f64 / 1e6,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1e6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, wanted: f64) -> bool {
        (value - wanted).abs() <= wanted * 0.002
    }

    #[test]
    fn parts_of_a_histogram_make_the_whole() {
        let (mut whole, mut part, mut sum) =
            (Latencies::default(), Latencies::default(), Latencies::default());
        for ms in 1..=1_000_u64 {
            whole.enter(ms * 1_000_000);
            part.enter(ms * 1_000_000);
            if ms % 7 == 0 {
                sum.add(&part.take());
            }
        }
        sum.add(&part.take());
        let (whole, sum) = (whole.percentiles().unwrap(), sum.percentiles().unwrap());
        assert_eq!(whole.count, sum.count);
        for (whole, sum) in [(whole.p50_ms, sum.p50_ms), (whole.p99_ms, sum.p99_ms)] {
            assert!(near(whole, sum), "{whole} {sum}");
        }
        assert!(near(sum.p50_ms, 500.0) && near(sum.p99_ms, 990.0) && near(sum.max_ms, 1_000.0));
        assert_eq!(part.percentiles(), None);
    }

    #[test]
    fn a_stall_of_one_second_delays_all_that_was_due_in_it() {
        // 100 messages a second for ten seconds, each after 1 ms; in the sixth second nothing moves.
        let mut latencies = Latencies::default();
        for k in 0..1_000_u64 {
            let due = k * 10_000_000;
            let arrives =
                (due + 1_000_000).max(if (500..600).contains(&k) { 6_000_000_000 } else { 0 });
            latencies.enter(arrives - due);
        }
        let percentiles = latencies.percentiles().unwrap();
        // One late sample instead of a hundred would leave the 99th percentile at 1 ms.
        assert!((890.0..920.0).contains(&percentiles.p99_ms), "{percentiles:?}");
        assert!(near(percentiles.max_ms, 1_000.0) && near(percentiles.p50_ms, 1.0));
    }

    #[test]
    fn what_is_out_of_range_counts_at_its_end() {
        let mut latencies = Latencies::default();
        latencies.enter(0);
        latencies.enter(u64::MAX);
        let percentiles = latencies.percentiles().unwrap();
        assert_eq!(percentiles.count, 2);
        assert!(percentiles.max_ms >= 600_000.0 && percentiles.min_ms <= 0.002);
    }
}
