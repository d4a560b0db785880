//! Rows as tables for people, in Markdown for the docs, and as JSON for machines.
//!
//! In: rows. Out: text. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use loss::ledger::{Counts, Excuse};
use loss::meter::{Cuts, Spans};
use serde::Serialize;
use wsgateway_client::machine::Machine;
use wsgateway_crds::DisruptionStatus;

use crate::event::Event;
use crate::run::Plan;
use crate::samples::Sample;

/// 99 of 100 clients are to be back within (ms).
const AWAY_P99_MS: u64 = 2_000;
/// Above the pace that was set, by so much at most.
const PACE: f64 = 1.1;

const COLUMNS: [&str; 10] = [
    "what happened",
    "pods",
    "clients",
    "moved",
    "most of one",
    "without advice",
    "lost / twice / out of order",
    "away p50 / p99 / max (ms)",
    "pace set / busiest 10 s (a minute)",
    "seconds",
];

/// What one event did to clients.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What happened.
    pub event: Event,
    /// When it began (s), since the run did.
    pub began_seconds: f64,
    /// How long it took (s), undisturbed time included.
    pub seconds: f64,
    /// Clients at its end.
    pub clients: usize,
    /// Before and after it.
    pub pods: (usize, usize),
    /// The pace that was set (connections a minute).
    pub pace: u32,
    /// Messages that JetStream acknowledged.
    pub published: u64,
    /// Attempts to publish that were not acknowledged, and repeated.
    pub retries: u64,
    /// What came and what did not.
    #[serde(flatten)]
    pub counts: Counts,
    /// Connections that ended.
    pub cuts: Cuts,
    /// From the end of a connection until its client was up to date again.
    pub away: Spans,
    /// How connections ended, by close code; 1006: without a word.
    pub closes: BTreeMap<u16, u64>,
    /// What went wrong, in words; not all of it.
    pub examples: Vec<String>,
}

/// Everything that a run found out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// Clients that were there all the time.
    pub always: usize,
    /// Clients that came and went.
    pub guests: usize,
    /// Messages a second in all.
    pub rate: u32,
    /// How long it took.
    pub minutes: f64,
    /// Event by event.
    pub rows: Vec<Row>,
    /// The last entries of the status, as the operator counted.
    pub disruptions: Vec<DisruptionStatus>,
    /// Connections of each pod over time.
    pub samples: Vec<Sample>,
}

impl Results {
    /// The results of a run after this plan.
    #[must_use]
    pub fn new(
        plan: Plan,
        took: Duration,
        rows: Vec<Row>,
        disruptions: Vec<DisruptionStatus>,
        samples: Vec<Sample>,
    ) -> Self {
        Self {
            machine: Machine::of_this(false),
            always: plan.always,
            guests: plan.guests,
            rate: plan.rate,
            minutes: took.as_secs_f64() / 60.0,
            rows,
            disruptions,
            samples,
        }
    }

    /// Tables and how they came about, in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text =
            format!("| {} |\n|---|{}\n", COLUMNS.join(" | "), "---:|".repeat(COLUMNS.len() - 1));
        for (number, row) in (1..).zip(&self.rows) {
            text += &format!("| {number}. {} |\n", cells(row).join(" | "));
        }
        text += "\n![Connections of each pod over time](disruptions.svg)\n\n";
        text +=
            "What the operator counted itself, the last ten entries of `status.disruptions`:\n\n";
        text +=
            "| kind | clients | recovered | lost | away p99 (ms) |\n|---|---:|---:|---:|---:|\n";
        for entry in &self.disruptions {
            let away = entry.away_p99_ms.map_or_else(|| "–".to_owned(), |ms| ms.to_string());
            text += &format!(
                "| {:?} | {} | {} | {} | {away} |\n",
                entry.kind, entry.clients, entry.recovered, entry.lost
            );
        }
        text += &format!(
            "\n{} clients all the time and {} who come and go, {} messages a second, {:.1} minutes. {}.\n",
            self.always,
            self.guests,
            self.rate,
            self.minutes,
            self.machine.text()
        );
        text
    }
}

fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let counts = &row.counts;
    let none = "–".to_owned();
    [
        row.event.title().to_owned(),
        if row.pods.0 == row.pods.1 {
            row.pods.0.to_string()
        } else {
            format!("{} → {}", row.pods.0, row.pods.1)
        },
        row.clients.to_string(),
        row.cuts.count.to_string(),
        row.cuts.most_of_one.to_string(),
        row.cuts.without_advice.to_string(),
        format!("{} / {} / {}", counts.lost, counts.twice, counts.out_of_order),
        match row.away.count {
            0 => none.clone(),
            _ => format!("{} / {} / {}", row.away.p50_ms, row.away.p99_ms, row.away.max_ms),
        },
        match row.cuts.count {
            0 => none,
            _ => format!("{} / {:.0}", row.pace, row.cuts.fastest_per_minute),
        },
        format!("{:.0}", row.seconds),
    ]
}

/// Lines for a terminal.
#[must_use]
pub fn lines(row: &Row) -> String {
    let [what, cells @ ..] = cells(row);
    let [_, names @ ..] = COLUMNS;
    let sign = if complaints(row).is_empty() { "ok " } else { "BAD" };
    let facts: Vec<_> =
        names.iter().zip(cells).map(|(name, cell)| format!("{name}: {cell}")).collect();
    format!("{sign} {what}\n      {}", facts.join("; "))
}

/// What was not as promised, line by line.
#[must_use]
pub fn complaints(row: &Row) -> Vec<String> {
    let (counts, cuts, bounds) = (&row.counts, &row.cuts, row.event.bounds(row.pace));
    let mut lines = Vec::new();
    if !counts.is_faultless(Excuse::Nothing) {
        lines.push(format!("messages lost, repeated, reordered or told gone: {counts:?}"));
        lines.extend(row.examples.iter().cloned());
    }
    if cuts.most_of_one > bounds.cuts_of_one {
        lines.push(format!(
            "a client was cut {} times, not {}",
            cuts.most_of_one, bounds.cuts_of_one
        ));
    }
    if cuts.without_advice > 0 && !bounds.without_advice {
        lines.push(format!(
            "{} clients were closed without advice: {:?}",
            cuts.without_advice, row.closes
        ));
    }
    if row.away.p99_ms >= AWAY_P99_MS {
        lines.push(format!("99 of 100 clients were back after {} ms", row.away.p99_ms));
    }
    if let Some(pace) = bounds.per_minute
        && cuts.fastest_per_minute > f64::from(pace) * PACE
    {
        lines.push(format!(
            "{:.0} clients were moved a minute, not {pace}",
            cuts.fastest_per_minute
        ));
    }
    lines.iter().map(|line| format!("{}: {line}", row.event.title())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            event: Event::Rollout,
            began_seconds: 1.0,
            seconds: 40.0,
            clients: 2_000,
            pods: (2, 4),
            pace: 3_000,
            published: 100,
            retries: 0,
            counts: Counts { delivered: 10, ..Counts::default() },
            cuts: Cuts {
                count: 2_000,
                most_of_one: 1,
                without_advice: 0,
                fastest_per_minute: 3_200.0,
            },
            away: Spans { count: 2_000, p50_ms: 20, p99_ms: 150, max_ms: 900 },
            closes: BTreeMap::new(),
            examples: Vec::new(),
        }
    }

    #[test]
    fn every_broken_promise_is_told() {
        let good = row();
        assert_eq!(complaints(&good), Vec::<String>::new());
        let text = lines(&good);
        assert!(
            text.starts_with("ok ") && text.contains("2 → 4") && text.contains("20 / 150 / 900"),
            "{text}"
        );
        let broken = [
            Row { counts: Counts { lost: 1, ..good.counts }, ..good.clone() },
            Row { counts: Counts { told_retention: 1, ..good.counts }, ..good.clone() },
            Row { cuts: Cuts { most_of_one: 2, ..good.cuts }, ..good.clone() },
            Row { cuts: Cuts { without_advice: 1, ..good.cuts }, ..good.clone() },
            Row { cuts: Cuts { fastest_per_minute: 3_400.0, ..good.cuts }, ..good.clone() },
            Row { away: Spans { p99_ms: 2_000, ..good.away }, ..good.clone() },
        ];
        for row in broken {
            assert_eq!(complaints(&row).len(), 1, "{row:?}");
            assert!(lines(&row).starts_with("BAD"));
        }
    }
}
