//! The results as Markdown: the targets first, then a table per scenario, then how it was measured.

mod method;
pub(crate) mod tables;
mod targets;

use serde::Serialize;

use crate::bench::Failure;
use crate::samples::{Of, Samples, Spread};
use crate::scale::Scale;
use wsgateway_client::machine::Machine;

/// Everything that a run came to, as it is written in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Results {
    pub machine: Machine,
    pub scale: Scale,
    /// Clients slept until they were woken.
    pub sleep: bool,
    pub quick: bool,
    pub minutes: f64,
    /// Peers that could not be installed, and why.
    pub missing: Vec<(String, String)>,
    pub failures: Vec<Failure>,
    /// Scenarios that an earlier run measured.
    pub kept: Vec<String>,
    pub samples: Samples,
}

/// Our name among the servers.
pub(crate) const OURS: &str = "wsgateway";

impl Results {
    /// A figure of a server, by itself.
    pub(crate) fn spread(
        &self,
        scenario: &str,
        case: &str,
        server: &str,
        figure: &str,
    ) -> Option<Spread> {
        self.samples.spread(Of { scenario, case, server }, figure)
    }

    /// A figure of a server, as a multiple of the floor's.
    pub(crate) fn to_floor(
        &self,
        scenario: &str,
        case: &str,
        server: &str,
        figure: &str,
    ) -> Option<Spread> {
        self.samples.ratio(
            Of { scenario, case, server },
            Of { scenario, case, server: "floor" },
            figure,
        )
    }

    /// A figure of ours in one case, as a multiple of that in another.
    pub(crate) fn between(
        &self,
        scenario: &str,
        case: &str,
        base: &str,
        figure: &str,
    ) -> Option<Spread> {
        self.samples.ratio(
            Of { scenario, case, server: OURS },
            Of { scenario, case: base, server: OURS },
            figure,
        )
    }
}

/// The whole report.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = "# Benchmark\n\n".to_owned();
    if results.quick {
        text += "**A quick run: it shows that everything works. Its figures mean little.**\n\n";
    }
    text += &format!("{}.\n\n", results.machine.text());
    text += &targets::table_of(results);
    text += &tables::fanout(results);
    text += &tables::connections(results);
    text += &tables::latency(results);
    text += &tables::resume(results);
    text += &tables::ours(results);
    text += &tables::tls(results);
    text += &tables::crowd(results);
    text += &tables::growth(results);
    text += &absent(results);
    text + &method::text(results)
}

/// Who is not in the tables, and why.
fn absent(results: &Results) -> String {
    if results.missing.is_empty() && results.failures.is_empty() {
        return String::new();
    }
    let mut text = "## Not measured\n\n| server | where | why |\n|---|---|---|\n".to_owned();
    for (name, why) in &results.missing {
        text += &format!("| {name} | everywhere | {} |\n", cell(why));
    }
    for failure in &results.failures {
        text +=
            &format!("| {} | {} | {} |\n", failure.server, failure.scenario, cell(&failure.why));
    }
    text + "\n"
}

/// Text that cannot break a table.
fn cell(text: &str) -> String {
    text.replace('|', "/").replace('\n', " ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two rounds of two servers.
    pub(crate) fn example() -> Results {
        let mut samples = Samples::default();
        for (round, us) in [(0, 2.0), (1, 4.0)] {
            for (server, factor) in [("floor", 1.0), (OURS, 1.5), ("bun", 40.0)] {
                let figures = [("cpuUsPerDelivery", us * factor), ("p99Ms", 1.0)];
                samples.push(("p1", "1000"), server, round, &figures);
                samples.push(("p4", "1000"), server, round, &[("p99Ms", 3.0), ("behind", 1.0)]);
            }
            samples.push(("p12-connections", "100"), OURS, round, &[("userMb", us)]);
            samples.push(("p12-connections", "200"), OURS, round, &[("userMb", 2.0 * us)]);
        }
        Results {
            machine: Machine::of_this(true),
            scale: Scale::new(true, None),
            sleep: false,
            quick: true,
            minutes: 1.0,
            missing: vec![("sockudo".into(), "no | protoc".into())],
            failures: Vec::new(),
            kept: Vec::new(),
            samples,
        }
    }

    #[test]
    fn a_report_has_what_was_measured_and_nothing_else() {
        let text = markdown(&example());
        for line in [
            "| P1 | CPU per delivery, 1,000 connections | ≤ 1.03 × floor | 1.50 × |",
            "| floor: one send per delivery | 1.00 | 3.00 (2.00 – 4.00) | – |",
            "| **wsgateway** | 1.50 | 4.50 (3.00 – 6.00) | – |",
            "| sockudo | everywhere | no / protoc |",
            "3.00 † | 1.00 |",
            "did not keep up",
            "| 200 | – | – | – | 6.00 (4.00 – 8.00) |",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        assert!(!text.contains("P7") || text.contains("rounds for P1 to P5"), "{text}");
        assert!(!text.contains("## P3"), "{text}");
    }

    #[test]
    fn neither_host_name_nor_paths_are_written() {
        let text = serde_json::to_string(&example()).unwrap() + &markdown(&example());
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '-');
        assert!(host.trim().len() < 4 || words.into_iter().all(|word| word != host.trim()));
        assert!(!text.contains(env!("CARGO_MANIFEST_DIR")));
    }
}
