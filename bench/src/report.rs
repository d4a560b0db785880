//! The results as Markdown: the targets first, then a table per scenario, then how it was measured.

mod method;
pub(crate) mod tables;
mod targets;

use serde::Serialize;

use crate::bench::Failure;
use crate::machine::Machine;
use crate::samples::{Of, Samples, Spread};
use crate::scale::Scale;

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
    text += &tables::ours(results);
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
