//! What a connection and a delivery take, by the last run of the benchmark (pure).
//!
//! The results are a part of the program: a new run of the benchmark changes the estimates without anybody copying numbers.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::SizeError;

/// The last run.
pub(crate) const RESULTS: &str = include_str!("../../../../bench/results/results.json");

#[derive(Deserialize)]
struct Results {
    machine: Machine,
    scale: Scale,
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Machine {
    cpu: String,
}

#[derive(Deserialize)]
struct Scale {
    payload: f64,
}

#[derive(Deserialize)]
struct Sample {
    scenario: String,
    case: String,
    server: String,
    figures: BTreeMap<String, f64>,
}

/// Figures of the benchmark.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bench {
    /// What it ran on.
    pub(crate) cpu: String,
    /// CPU for one delivery (µs), with several pods and a message a second each (P9).
    pub(crate) delivery_us: f64,
    /// The CPU of a message in a batch of ten, in parts of one that leaves alone (P7).
    pub(crate) batch_cpu: f64,
    /// The same when it is compressed (P7).
    pub(crate) deflate_cpu: f64,
    /// The bytes of a compressed batch of ten, in parts of one that is not (P7).
    pub(crate) deflate_bytes: f64,
    /// CPU for heartbeats of one connection in a second (µs) (P10).
    pub(crate) heartbeat_us: f64,
    /// CPU for a new connection (µs) (P3).
    pub(crate) handshake_us: f64,
    /// Bytes that the protocol adds to a payload (P7).
    pub(crate) envelope_bytes: f64,
    /// Memory of the kernel for a socket (kB) (P9).
    pub(crate) kernel_kb: f64,
}

impl Bench {
    /// Reads results of the benchmark.
    ///
    /// # Errors
    /// When one of the figures is not in them.
    pub(crate) fn read(results: &str) -> Result<Self, SizeError> {
        let results: Results =
            serde_json::from_str(results).map_err(|_| SizeError::Bench("results.json"))?;
        let of = |scenario, case, figure| results.median(scenario, case, figure);
        let single = of("p7", Some("single, plain"), "cpuUsPerDelivery")?;
        let single_bytes = of("p7", Some("single, plain"), "bytesPerDelivery")?;
        let batch_bytes = of("p7", Some("batch of 10, plain"), "bytesPerDelivery")?;
        Ok(Self {
            delivery_us: of("p9", None, "cpuCores")? * 1e6 / of("p9", None, "deliveriesPerSecond")?,
            batch_cpu: of("p7", Some("batch of 10, plain"), "cpuUsPerDelivery")? / single,
            deflate_cpu: of("p7", Some("batch of 10, deflate"), "cpuUsPerDelivery")? / single,
            deflate_bytes: of("p7", Some("batch of 10, deflate"), "bytesPerDelivery")?
                / batch_bytes,
            heartbeat_us: of("p10", None, "cpuUsPerConnectionSecond")?,
            handshake_us: of("p3", None, "cpuUsPerHandshake")?,
            envelope_bytes: (single_bytes - results.scale.payload).max(0.0),
            kernel_kb: of("p9", None, "kernelKbPerSocket")?,
            cpu: results.machine.cpu,
        })
    }
}

impl Results {
    /// The median of a figure of the gateway; of the scenario's only case unless one is named.
    fn median(
        &self,
        scenario: &str,
        case: Option<&str>,
        figure: &'static str,
    ) -> Result<f64, SizeError> {
        let is_asked = |sample: &&Sample| {
            sample.server == "wsgateway"
                && sample.scenario == scenario
                && case.is_none_or(|case| sample.case == case)
        };
        let samples = self.samples.iter().filter(is_asked);
        let mut values: Vec<f64> = samples
            .filter_map(|sample| sample.figures.get(figure).copied())
            .filter(|value| value.is_finite() && *value > 0.0)
            .collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.as_slice() {
            [] => Err(SizeError::Bench(figure)),
            odd if odd.len() % 2 == 1 => Ok(odd[middle]),
            even => Ok(f64::midpoint(even[middle - 1], even[middle])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures that docs/sizing.md and bench/results/results.md show, as far as a run on another machine leaves them.
    #[test]
    fn the_last_run_has_every_figure_within_reason() {
        let bench = Bench::read(RESULTS).unwrap();
        for (name, value, least, most) in [
            ("delivery", bench.delivery_us, 1.0, 30.0),
            ("batch", bench.batch_cpu, 0.02, 0.5),
            ("compressed batch", bench.deflate_cpu, 0.02, 0.6),
            ("compressed bytes", bench.deflate_bytes, 0.1, 0.8),
            ("heartbeat", bench.heartbeat_us, 0.05, 3.0),
            ("handshake", bench.handshake_us, 5.0, 200.0),
            ("envelope", bench.envelope_bytes, 50.0, 200.0),
            ("kernel", bench.kernel_kb, 1.0, 20.0),
        ] {
            assert!((least..=most).contains(&value), "{name}: {value}");
        }
    }

    #[test]
    fn the_results_in_the_program_are_those_of_the_last_run() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/results/results.json");
        let now = std::fs::read_to_string(file).unwrap();
        assert_eq!(Bench::read(&now).unwrap(), Bench::read(RESULTS).unwrap());
        let page = std::fs::read_to_string(file.replace(".json", ".md")).unwrap();
        let bench = Bench::read(RESULTS).unwrap();
        let deflate = format!(
            "bytes with compression, batches of 10 | ≤ 0.38 × without | {:.2} ×",
            bench.deflate_bytes
        );
        assert!(
            page.contains(&deflate),
            "results.md and results.json are of different runs: make bench"
        );
        assert!(page.contains(&format!("| {:.3} |", bench.heartbeat_us)));
    }

    #[test]
    fn a_run_without_a_figure_says_which() {
        let error = Bench::read(&RESULTS.replace("cpuUsPerHandshake", "other")).unwrap_err();
        assert!(error.to_string().contains("cpuUsPerHandshake"), "{error}");
        assert!(Bench::read("{}").is_err());
    }
}
