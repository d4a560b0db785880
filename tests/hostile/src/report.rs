//! Rows as a table for people, in Markdown for the docs, and as JSON for machines.

use serde::Serialize;
use wsgateway_client::machine::Machine;

use crate::environment::Plan;
use crate::run::Row;

/// Headings of the table.
const COLUMNS: [&str; 9] = [
    "what hostile clients do",
    "quiet p99",
    "attacked p99",
    "ratio",
    "memory before → peak",
    "honest closed",
    "honest lost",
    "newcomers failed, longest wait",
    "hostile connections, how they ended",
];

/// Everything that a run found out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    /// Where.
    pub machine: Machine,
    /// Honest clients.
    pub honest: usize,
    /// Hostile clients.
    pub hostile: usize,
    /// Messages a second that every honest client gets.
    pub rate: u32,
    /// How long each attack lasted (s).
    pub seconds: f64,
    /// Built without optimisation.
    pub debug: bool,
    /// Kind by kind.
    pub rows: Vec<Row>,
}

impl Results {
    /// The results of a run after this plan.
    pub fn new(plan: &Plan, rows: Vec<Row>) -> Self {
        Self {
            machine: Machine::of_this(plan.core.is_some()),
            honest: plan.honest,
            hostile: plan.hostile,
            rate: plan.rate,
            seconds: plan.seconds,
            debug: cfg!(debug_assertions),
            rows,
        }
    }

    /// The table and how it came about, in Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&COLUMNS.map(str::to_owned));
        text += &format!("|---|{}---|\n", "---:|".repeat(COLUMNS.len() - 2));
        self.rows.iter().for_each(|row| text += &line(&cells(row)));
        let request = self.rows.first().map_or(0, |row| row.memory_request);
        text += &format!(
            "\n{} honest clients, {} messages a second each, {} hostile clients, {} s for each attack. Memory request of \
             such a pod: {}. {}{}.\n",
            self.honest,
            self.rate,
            self.hostile,
            self.seconds,
            mib(request),
            self.machine.text(),
            if self.debug { "; programs built without optimisation" } else { "" },
        );
        text
    }
}

fn cells(row: &Row) -> [String; COLUMNS.len()] {
    let ended: Vec<String> = [&row.hostile.refused, &row.hostile.closed]
        .into_iter()
        .flatten()
        .map(|(code, count)| format!("{code} × {count}"))
        .collect();
    let faulty = if row.faulty > 0 { format!(" (+ {} faulty)", row.faulty) } else { String::new() };
    [
        row.kind.title().to_owned(),
        span(row.quiet.p99_us),
        span(row.attacked.p99_us),
        format!("{:.2}", row.ratio()),
        format!("{} → {}", mib(row.memory_before), mib(row.memory_peak)),
        row.closed.to_string(),
        format!("{}{faulty}", row.lost),
        format!(
            "{} of {}, {} ms",
            row.newcomers.failed, row.newcomers.came, row.newcomers.longest_ms
        ),
        format!("{}: {}", row.hostile.connections, ended.join(", "))
            .trim_end_matches(": ")
            .to_owned(),
    ]
}

const WIDTHS: [usize; COLUMNS.len()] = [46, 11, 13, 7, 22, 14, 12, 31, 30];

/// One line for a terminal, as wide as the headline.
pub fn line(row: &Row) -> String {
    let sign = if row.is_faultless() { ' ' } else { '!' };
    format!("{sign} {}", columns(&cells(row)))
}

/// The headline of those lines.
pub fn headline() -> String {
    format!("  {}", columns(&COLUMNS.map(str::to_owned)))
}

fn columns(cells: &[String; COLUMNS.len()]) -> String {
    let pad = |((at, cell), width): ((usize, &String), usize)| match at {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    };
    cells.iter().enumerate().zip(WIDTHS).map(pad).collect::<Vec<_>>().join(" ")
}

/// What was wrong with a row, line by line; nothing when it is as it should be.
pub fn complaints(row: &Row) -> Vec<String> {
    if row.is_faultless() {
        return Vec::new();
    }
    let mut lines = vec![format!("{} ({}):", row.kind.title(), row.kind.name())];
    for (count, what) in [
        (row.lost, "messages lost by honest clients"),
        (row.faulty, "messages twice, out of order or garbled, or gaps"),
        (row.closed, "honest clients closed"),
        (row.left_over, "places still taken after the attack"),
    ] {
        if count > 0 {
            lines.push(format!("  {count} {what}"));
        }
    }
    if row.memory_peak > row.memory_request {
        let (peak, request) = (mib(row.memory_peak), mib(row.memory_request));
        lines.push(format!("  memory {peak}, beyond the pod's request of {request}"));
    }
    if let Some(log) = &row.ended {
        lines.push(format!("  the gateway has ended:\n{log}"));
    }
    lines
}

/// Microseconds in the unit that suits.
fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::Outcome;
    use crate::honest::Delay;
    use crate::kind::Kind;
    use crate::newcomers::Found;

    fn row() -> Row {
        Row {
            kind: Kind::Pings,
            seconds: 60.0,
            quiet: Delay { p50_us: 500, p99_us: 2_000, max_us: 3_000 },
            attacked: Delay { p50_us: 500, p99_us: 5_000, max_us: 9_000 },
            memory_before: 40 << 20,
            memory_peak: 50 << 20,
            memory_request: 60 << 20,
            socket_buffers: 0,
            cpu_percent: (10.0, 20.0),
            owed: 100,
            lost: 0,
            faulty: 0,
            closed: 0,
            newcomers: Found { came: 9, failed: 1, longest_ms: 30 },
            hostile: Outcome {
                connections: 7,
                closed: [(4009, 6)].into(),
                refused: [(503, 1)].into(),
                ..Outcome::default()
            },
            left_over: 0,
            ended: None,
        }
    }

    #[test]
    fn a_row_says_what_was_measured_and_complains_of_every_fault() {
        let good = row();
        let text = line(&good);
        for part in
            ["2.0 ms", "5.0 ms", "2.50", "40 MiB → 50 MiB", "1 of 9, 30 ms", "503 × 1, 4009 × 6"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(good.is_faultless() && complaints(&good).is_empty());
        for bad in [
            Row { lost: 1, ..good.clone() },
            Row { faulty: 1, ..good.clone() },
            Row { closed: 1, ..good.clone() },
            Row { left_over: 1, ..good.clone() },
            Row { memory_peak: 61 << 20, ..good.clone() },
            Row { ended: Some("panic".to_owned()), ..good.clone() },
        ] {
            assert!(complaints(&bad).len() == 2 && line(&bad).starts_with('!'), "{bad:?}");
        }
    }
}
