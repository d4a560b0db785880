//! The table that each form of the report begins with.

use super::{Published, Report};
use crate::latency::Percentiles;
use crate::snapshot::Totals;

impl Report {
    /// What stands in the tables of each form: names and values.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let totals = &self.totals;
        let mut rows = vec![
            (
                "Clients, at most at the same time",
                format!("{} of {}", self.peak, self.setting.clients),
            ),
            ("Handshakes, reconnects", format!("{}, {}", totals.opened, totals.reconnects)),
            ("Messages", format!("{} ({:.0}/s)", totals.messages, self.per_second)),
        ];
        if let Some(published) = &self.published {
            let Published { due, stored, failed, refused, unconfirmed, disconnected, .. } =
                published;
            rows.push(("Published, stored, failed", format!("{due}, {stored}, {failed}")));
            if *failed > 0 {
                let failed = format!("{refused}, {unconfirmed}, {disconnected}");
                rows.push(("Failed: refused, unconfirmed, without a connection", failed));
            }
        }
        if let Some(latency) = &self.latency {
            let Percentiles { p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = *latency;
            let text = [p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(ms).join(", ");
            rows.push(("Latency p50, p90, p99, p99.9, max (ms)", text));
        }
        rows.push(("Lost", lost(self)));
        let Totals { twice, out_of_order, gaps_reported, .. } = totals;
        rows.push(("Twice, out of order", format!("{twice}, {out_of_order}")));
        rows.push(("Losses that the server reported", gaps_reported.to_string()));
        rows.push(("Errors", totals.errors_in_all().to_string()));
        if let Some(cpu) = self.generator.cpu_percent {
            rows.push(("CPU of the generator (% of all cores)", format!("{cpu:.0}")));
        }
        rows
    }
}

fn lost(report: &Report) -> String {
    // Offsets of a stream say that something is missing, not how much.
    let exact = report.published.is_some() || !report.setting.protocol.starts_with("wsgateway.v1");
    match report.totals.lost {
        lost if lost > 0 && !exact => format!("at least {lost}"),
        lost => lost.to_string(),
    }
}

/// A latency as short as is exact.
pub(super) fn ms(ms: f64) -> String {
    match ms {
        ms if ms >= 100.0 => format!("{ms:.0}"),
        ms if ms >= 10.0 => format!("{ms:.1}"),
        ms => format!("{ms:.2}"),
    }
}
