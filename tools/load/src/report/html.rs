//! The report as one HTML file: tables and plots, no script, nothing from elsewhere.

use std::fmt::Write as _;

use super::{Report, simulation};
use crate::charts;
use crate::svg::escaped;

const STYLE: &str = "body{font:15px/1.5 system-ui,'Segoe UI','DejaVu Sans',sans-serif;color:#1f2933;max-width:1000px;\
margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #dde3e9;\
padding:.25rem .9rem .25rem 0;text-align:left;font-variant-numeric:tabular-nums}h1{font-size:1.4rem}h2{font-size:1.1rem}\
.failed{color:#b42318;font-weight:600}svg{max-width:100%;height:auto}";

pub(super) fn page(report: &Report) -> String {
    let setting = &report.setting;
    let title = escaped(&report.title());
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
    );
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "<p>Profile {}, {} clients, {}, {:.1} s; wsgw {}, {}.</p>",
        escaped(&setting.profile),
        setting.clients,
        escaped(&setting.protocol),
        report.seconds,
        escaped(&setting.version),
        escaped(&setting.started)
    );
    if let Some(machine) = &report.machine {
        let _ = writeln!(text, "<p>Clients on {}.</p>", escaped(&machine.text()));
    }
    let rows = report.rows();
    let rows = rows.into_iter().map(|(name, value)| [name.to_owned(), value]);
    table(&mut text, &[], rows);
    let _ = writeln!(text, "<p>Latency is counted from the {}.</p>", report.latency_from);
    if let Some(simulation) = &report.simulation {
        let _ = writeln!(text, "<h2>Traders</h2>\n<p>{}</p>", escaped(&simulation.text()));
        table(&mut text, &simulation::HEAD, simulation.rows().into_iter());
    }
    targets(report, &mut text);
    verdicts(report, &mut text);
    for chart in charts::all(&report.points) {
        text.push_str(&chart);
    }
    let errors = report.totals.errors.iter().map(|(kind, count)| [kind.clone(), count.to_string()]);
    if !report.totals.errors.is_empty() {
        text.push_str("<h2>Errors</h2>\n");
        table(&mut text, &["kind", "count"], errors);
    }
    if !report.notes.is_empty() {
        text.push_str("<h2>Notes</h2>\n<ul>\n");
        for note in &report.notes {
            let _ = writeln!(text, "<li>{}</li>", escaped(note));
        }
        text.push_str("</ul>\n");
    }
    text.push_str("</body>\n</html>\n");
    text
}

fn targets(report: &Report, text: &mut String) {
    if report.targets.iter().all(|t| t.clock.is_none() && t.usage.cpu_percent.is_none()) {
        return;
    }
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let row = |target: &super::Target| {
        let clock = target.clock.map(|skew| format!("{:.1} ± {:.1}", skew.ahead_ms, skew.error_ms));
        [
            target.address.clone(),
            or_dash(target.usage.cpu_percent.map(|cpu| format!("{cpu:.0}"))),
            or_dash(target.usage.memory_bytes.map(|bytes| (bytes >> 20).to_string())),
            or_dash(clock),
        ]
    };
    let head = ["target", "CPU at most (%)", "memory at most (MiB)", "clock ahead of ours (ms)"];
    table(text, &head, report.targets.iter().map(row));
}

fn verdicts(report: &Report, text: &mut String) {
    if report.thresholds.is_empty() {
        return;
    }
    text.push_str(
        "<h2>Thresholds</h2>\n<table>\n<tr><th>fails if</th><th>measured</th><th></th></tr>\n",
    );
    for verdict in &report.thresholds {
        let value = verdict.value.map_or("not measured".to_owned(), |value| format!("{value:.3}"));
        let word =
            if verdict.failed { "<td class=\"failed\">failed</td>" } else { "<td>passed</td>" };
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{value}</td>{word}</tr>",
            escaped(&verdict.threshold)
        );
    }
    text.push_str("</table>\n");
}

fn table<const N: usize>(
    text: &mut String,
    head: &[&str],
    rows: impl Iterator<Item = [String; N]>,
) {
    let line = |cells: Vec<String>, tag: &str| {
        let cells = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    text.push_str("<table>\n");
    if !head.is_empty() {
        text.push_str(&line(head.iter().map(|cell| (*cell).to_owned()).collect(), "th"));
    }
    rows.for_each(|row| text.push_str(&line(row.to_vec(), "td")));
    text.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;

    #[test]
    fn a_page_stands_alone_and_a_server_cannot_write_into_it() {
        let page = example().html();
        assert_eq!(page.matches("<svg").count(), 6, "{page}");
        assert!(page.contains("closed with &lt;1006&gt;|") && page.contains("class=\"failed\""));
        assert!(!page.contains("<script") && !page.contains("src="));
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
