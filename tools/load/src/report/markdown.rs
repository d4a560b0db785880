//! The report as Markdown.

use std::fmt::Write as _;

use super::rows::ms;
use super::{Report, simulation};

/// Points of the table over time: a screen, not a book.
const LINES: usize = 20;

pub(super) fn page(report: &Report) -> String {
    let setting = &report.setting;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# {}\n", cell(&report.title()));
    let _ = writeln!(
        text,
        "Profile {}, {} clients, {} of {} channels each, {}, {:.1} s; wsgw {}, {}.\n",
        setting.profile,
        setting.clients,
        setting.channels_per_client,
        setting.channels,
        cell(&setting.protocol),
        report.seconds,
        setting.version,
        setting.started
    );
    if let Some(machine) = &report.machine {
        let _ = writeln!(text, "Clients on {}.\n", cell(&machine.text()));
    }
    text.push_str("| | |\n|---|---|\n");
    for (name, value) in report.rows() {
        let _ = writeln!(text, "| {name} | {} |", cell(&value));
    }
    let _ = writeln!(text, "| Latency is counted from | {} |", report.latency_from);
    if let Some(simulation) = &report.simulation {
        let _ = writeln!(text, "\n## Traders\n\n{}\n", cell(&simulation.text()));
        let _ = writeln!(
            text,
            "| {} |\n|{}",
            simulation::HEAD.join(" | "),
            "---|".repeat(simulation::HEAD.len())
        );
        for row in simulation.rows() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
    }
    lists(report, &mut text);
    over_time(report, &mut text);
    text
}

fn lists(report: &Report, text: &mut String) {
    if !report.thresholds.is_empty() {
        text.push_str("\n## Thresholds\n\n| fails if | measured | |\n|---|---|---|\n");
        for verdict in &report.thresholds {
            let value =
                verdict.value.map_or("not measured".to_owned(), |value| format!("{value:.3}"));
            let word = if verdict.failed { "**failed**" } else { "passed" };
            let _ = writeln!(text, "| {} | {value} | {word} |", cell(&verdict.threshold));
        }
    }
    if !report.totals.errors.is_empty() {
        text.push_str("\n## Errors\n\n| kind | count |\n|---|---|\n");
        for (kind, count) in &report.totals.errors {
            let _ = writeln!(text, "| {} | {count} |", cell(kind));
        }
        if let Some(error) = &report.last_error {
            let _ = writeln!(text, "\nThe latest: {}", cell(error));
        }
    }
    let told =
        |target: &&super::Target| target.clock.is_some() || target.usage.cpu_percent.is_some();
    if report.targets.iter().any(|target| told(&target)) {
        text.push_str("\n## Targets\n\n| target | CPU at most (%) | memory at most (MiB) | clock ahead of ours (ms) |\n|---|---|---|---|\n");
        for target in &report.targets {
            let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            let cpu = or_dash(target.usage.cpu_percent.map(|cpu| format!("{cpu:.0}")));
            let memory = target.usage.memory_bytes.map(|bytes| (bytes >> 20).to_string());
            let clock =
                target.clock.map(|skew| format!("{:.1} ± {:.1}", skew.ahead_ms, skew.error_ms));
            let (memory, clock) = (or_dash(memory), or_dash(clock));
            let _ = writeln!(text, "| {} | {cpu} | {memory} | {clock} |", cell(&target.address));
        }
    }
    if !report.notes.is_empty() {
        text.push_str("\n## Notes\n\n");
        for note in &report.notes {
            let _ = writeln!(text, "- {}", cell(note));
        }
    }
}

fn over_time(report: &Report, text: &mut String) {
    text.push_str("\n## Over time\n\n| s | clients | messages/s | p50 (ms) | p99 (ms) | max (ms) | lost | errors |\n|---|---|---|---|---|---|---|---|\n");
    let step = report.points.len().div_ceil(LINES).max(1);
    for point in report.points.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev() {
        let latency = point.latency.map(|l| [l.p50_ms, l.p99_ms, l.max_ms].map(ms).join(" | "));
        let latency = latency.unwrap_or_else(|| "- | - | -".to_owned());
        let _ = writeln!(
            text,
            "| {:.0} | {} | {:.0} | {latency} | {} | {} |",
            point.seconds, point.connected, point.per_second, point.lost, point.errors
        );
    }
}

/// Text in a cell: what a server says begins no other one, and is no HTML.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;

    #[test]
    fn a_page_has_its_tables_and_a_server_cannot_break_them() {
        let page = example().markdown();
        for text in
            ["| Lost | 0 |", "| errors>0 | 3.000 | **failed** |", "closed with &lt;1006>\\|"]
        {
            assert!(page.contains(text), "{text} is missing in\n{page}");
        }
        assert!(page.contains("| 20 | 100 | 1000 | 20.0 | 20.0 | 20.0 | 0 | 3 |"), "{page}");
    }
}
