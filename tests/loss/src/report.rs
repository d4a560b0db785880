//! Rows as a table for people, in Markdown for the docs, and as JSON for machines.
//!
//! In: rows. Out: text. Pure.

use serde::Serialize;
use wsgateway_client::machine::Machine;

use crate::ledger::Excuse;
use crate::run::Row;
use crate::servers::Kind;
use crate::world::Plan;

/// Headings of the table.
const COLUMNS: [&str; 9] = [
    "what happened",
    "published",
    "delivered",
    "lost",
    "twice",
    "out of order",
    "told gone",
    "reconnects",
    "back after p50 / p99 / max",
];

/// Everything that a run found out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// Clients in all.
    pub clients: usize,
    /// How many of them by server-sent events.
    pub sse: usize,
    /// How many of them with the TypeScript SDK.
    pub sdk: usize,
    /// Gateway processes.
    pub pods: usize,
    /// Subjects published to.
    pub subjects: usize,
    /// Messages a second in all.
    pub rate: u32,
    /// How long it took.
    pub minutes: f64,
    /// Fault by fault.
    pub rows: Vec<Row>,
}

impl Results {
    /// The results of runs after this plan.
    pub fn new(plan: &Plan, rows: Vec<Row>) -> Self {
        Self {
            machine: Machine::of_this(false),
            clients: plan.clients,
            sse: plan.sse,
            sdk: plan.sdk,
            pods: plan.pods,
            subjects: plan.subjects,
            rate: plan.rate,
            minutes: rows.iter().map(|row| row.seconds).sum::<f64>() / 60.0,
            rows,
        }
    }

    /// Tables and how they came about, in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for kind in [Kind::Single, Kind::Cluster] {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.nats == kind).collect();
            if rows.is_empty() {
                continue;
            }
            text += &format!("### With {}\n\n| {} |\n", kind.title(), COLUMNS.join(" | "));
            text += &format!("|---|{}\n", "---:|".repeat(COLUMNS.len() - 1));
            for row in rows {
                text += &format!("| {} |\n", cells(row).join(" | "));
            }
            text += "\n";
        }
        text += &format!(
            "{} clients ({} by server-sent events, {} of the TypeScript SDK, the others by WebSocket), {} gateways, {} \
             subjects, {} messages a second, {:.0} minutes. {}{}.\n",
            grouped(self.clients as u64),
            self.sse,
            self.sdk,
            self.pods,
            grouped(self.subjects as u64),
            self.rate,
            self.minutes,
            self.machine.text(),
            if cfg!(debug_assertions) { "; programs built without optimisation" } else { "" },
        );
        text
    }
}

fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let counts = &row.counts;
    let told = counts.told_epoch + counts.told_retention + counts.told_otherwise;
    [
        row.fault.title(row.nats).to_owned(),
        grouped(row.published),
        grouped(counts.delivered),
        grouped(counts.lost),
        grouped(counts.twice),
        grouped(counts.out_of_order + counts.stray + counts.garbled),
        match told {
            0 => "0".to_owned(),
            gaps => format!("{} in {} gaps", grouped(counts.told_missing), grouped(gaps)),
        },
        grouped(row.back.count),
        match row.back.count {
            0 => "–".to_owned(),
            _ => [row.back.p50_ms, row.back.p99_ms, row.back.max_ms].map(span).join(" / "),
        },
    ]
}

/// One line for a terminal, as wide as the headline.
pub fn line(row: &Row) -> String {
    let [what, cells @ ..] = cells(row);
    let sign = if row.is_faultless() { ' ' } else { '!' };
    format!("{sign} {what:<46} {}", columns(&cells))
}

/// The headline of those lines.
pub fn headline(kind: Kind) -> String {
    let [_, names @ ..] = COLUMNS.map(str::to_owned);
    format!("  {:<46} {}", format!("with {}", kind.title()), columns(&names))
}

fn columns(cells: &[String]) -> String {
    let widths = [10, 10, 8, 8, 13, 22, 11, 27];
    let cell = |(cell, width): (&String, usize)| format!("{cell:>width$}");
    cells.iter().zip(widths).map(cell).collect::<Vec<_>>().join(" ")
}

/// What was wrong with a row, line by line; nothing when it is as it should be.
pub fn complaints(row: &Row) -> Vec<String> {
    if row.is_faultless() {
        return Vec::new();
    }
    let counts = &row.counts;
    let mut lines = vec![format!("{} ({}):", row.fault.title(row.nats), row.fault.name())];
    for (count, what) in [
        (counts.lost, "messages lost"),
        (counts.twice, "messages twice"),
        (counts.out_of_order, "messages out of order"),
        (counts.stray, "messages that nobody asked for"),
        (counts.garbled, "messages that cannot be read"),
        (counts.told_otherwise, "gaps told for another reason"),
        (row.behind, "clients not up to date when it was given up"),
        (row.unready, "gateways that did not become ready again"),
        (row.unaware, "clients not told that the stream is another one"),
    ] {
        if count > 0 {
            lines.push(format!("  {} {what}", grouped(count)));
        }
    }
    if row.fault.excuse() != Excuse::Epoch && counts.told_epoch > 0 {
        lines.push(format!("  {} gaps of an epoch that never ended", grouped(counts.told_epoch)));
    }
    if row.fault.excuse() != Excuse::Retention && counts.told_retention > 0 {
        let gaps = grouped(counts.told_retention);
        lines.push(format!("  {gaps} gaps told, though the stream has everything"));
    }
    let closes: Vec<_> = row.closes.iter().map(|(code, n)| format!("{code} × {n}")).collect();
    if !closes.is_empty() {
        lines.push(format!("  connections ended: {}", closes.join(", ")));
    }
    lines.extend(row.examples.iter().map(|example| format!("    {example}")));
    lines
}

/// Milliseconds in the unit that suits.
fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        _ => format!("{:.1} s", ms as f64 / 1_000.0),
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fault::Fault;
    use crate::ledger::Counts;
    use crate::meter::Spans;

    fn row(fault: Fault, counts: Counts) -> Row {
        Row {
            nats: Kind::Single,
            fault,
            seconds: 30.0,
            published: 12_345,
            retries: 0,
            counts,
            back: Spans { count: 2_000, p50_ms: 120, p99_ms: 1_234, max_ms: 2_000 },
            mended_ms: Some(5),
            behind: 0,
            unaware: 0,
            unready: 0,
            closes: BTreeMap::new(),
            examples: vec!["client 1: ...".to_owned()],
        }
    }

    #[test]
    fn a_row_says_what_it_counted_and_complains_of_every_fault() {
        let good = row(Fault::Storm, Counts { delivered: 1_000_000, ..Counts::default() });
        let text = line(&good);
        for part in ["12,345", "1,000,000", "2,000", "120 ms / 1.2 s / 2.0 s"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(good.is_faultless() && complaints(&good).is_empty());
        let wrong = [
            Counts { lost: 1, ..good.counts },
            Counts { twice: 1, ..good.counts },
            Counts { out_of_order: 1, ..good.counts },
            Counts { stray: 1, ..good.counts },
            Counts { garbled: 1, ..good.counts },
            Counts { told_retention: 1, ..good.counts },
            Counts { told_epoch: 1, ..good.counts },
            Counts { told_otherwise: 1, ..good.counts },
        ];
        for counts in wrong {
            let row = row(Fault::Storm, counts);
            assert!(complaints(&row).len() == 3 && line(&row).starts_with('!'), "{counts:?}");
        }
        for row in [
            Row { behind: 1, ..good.clone() },
            Row { unaware: 1, ..good.clone() },
            Row { unready: 1, ..good.clone() },
        ] {
            assert_eq!(complaints(&row).len(), 3);
        }
        let told = Counts { told_epoch: 9, told_missing: 40, ..good.counts };
        assert!(complaints(&row(Fault::StreamReplaced, told)).is_empty());
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 12, 999, 1_000, 1_234_567].map(grouped).join(" "),
            "0 12 999 1,000 1,234,567"
        );
    }
}
