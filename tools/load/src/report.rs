//! The report of a run: one value, and its three forms (pure).

mod html;
mod markdown;
mod notes;
mod parts;
mod rows;
mod simulation;

use serde::Serialize;
pub use simulation::Simulation;
use wsgateway_client::machine::Machine;

use crate::latency::Percentiles;
use crate::run::{Point, Run, Usage};
use crate::snapshot::Totals;
use crate::threshold::{Metric, Threshold, Verdict};

pub use parts::{End, Generator, Published, Setting, Target};

/// A run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What was run.
    pub setting: Setting,
    /// Where the clients were.
    pub machine: Option<Machine>,
    /// How it ended.
    pub end: End,
    /// From the first connection to the end.
    pub seconds: f64,
    /// Most clients at the same time.
    pub peak: u64,
    /// Sums.
    pub totals: Totals,
    /// Messages a second, over the whole run.
    pub per_second: f64,
    /// What the latency is counted from: `publisher`, `stream` or `message`.
    pub latency_from: &'static str,
    /// Latency over the whole run.
    pub latency: Option<Percentiles>,
    /// The own publisher.
    pub published: Option<Published>,
    /// The targets.
    pub targets: Vec<Target>,
    /// This side.
    pub generator: Generator,
    /// The latest failure of a connection.
    pub last_error: Option<String>,
    /// Why workers could not go on.
    pub failures: Vec<String>,
    /// The market and its traders, if this was a simulation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulation: Option<Simulation>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Thresholds.
    pub thresholds: Vec<Verdict>,
    /// Over time.
    pub points: Vec<Point>,
}

impl Report {
    /// The report of a run that has ended.
    #[must_use]
    pub fn new(setting: Setting, run: &Run, (seconds, end): (f64, End)) -> Self {
        let totals = run.totals();
        let target = |(number, address): (usize, &String)| {
            let number = number as u32;
            Target {
                address: address.clone(),
                usage: run.most_usage.get(&number).copied().unwrap_or_default(),
                clock: run.skew.get(&number).copied(),
            }
        };
        Self {
            targets: setting.targets.iter().enumerate().map(target).collect(),
            latency_from: match (&setting.rate, setting.protocol.as_str()) {
                (Some(_), _) => "publisher",
                (None, "raw") => "message",
                (None, _) => "stream",
            },
            setting,
            end,
            seconds,
            peak: run.peak,
            per_second: totals.messages as f64 / seconds.max(1e-3),
            totals,
            latency: run.latency(),
            generator: Generator { lag_ms: run.lag_ms, ..Generator::default() },
            last_error: run.last_error.as_deref().map(clean),
            failures: run.failures.iter().map(|failure| clean(failure)).collect(),
            points: run.points().to_vec(),
            ..Self::default()
        }
    }

    /// What a threshold is about.
    #[must_use]
    pub fn value(&self, metric: Metric) -> Option<f64> {
        let latency = |of: fn(&Percentiles) -> f64| self.latency.as_ref().map(of);
        let usage = |of: fn(&Usage) -> Option<f64>| {
            self.targets.iter().filter_map(|target| of(&target.usage)).reduce(f64::max)
        };
        match metric {
            Metric::Min => latency(|latency| latency.min_ms),
            Metric::P50 => latency(|latency| latency.p50_ms),
            Metric::P90 => latency(|latency| latency.p90_ms),
            Metric::P99 => latency(|latency| latency.p99_ms),
            Metric::P999 => latency(|latency| latency.p999_ms),
            Metric::Max => latency(|latency| latency.max_ms),
            Metric::Lost => Some(self.totals.lost as f64),
            Metric::Failed => self.published.map(|published| published.failed as f64),
            Metric::Twice => Some(self.totals.twice as f64),
            Metric::Order => Some(self.totals.out_of_order as f64),
            Metric::Errors => Some(self.totals.errors_in_all() as f64),
            Metric::Connected => Some(self.peak as f64),
            Metric::Reconnects => Some(self.totals.reconnects as f64),
            Metric::Rate => Some(self.per_second),
            Metric::Cpu => usage(|usage| usage.cpu_percent),
            Metric::Memory => usage(|usage| usage.memory_bytes.map(|bytes| bytes as f64)),
        }
    }

    /// Judges by thresholds, and writes down what a reader must know.
    pub fn conclude(&mut self, thresholds: &[Threshold]) {
        let judged = thresholds.iter().map(|t| t.judge(self.value(t.metric)));
        self.thresholds = judged.collect();
        self.notes = notes::notes(self);
    }

    /// Whether a threshold says that the run has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.thresholds.iter().any(|verdict| verdict.failed)
    }

    /// For programs.
    ///
    /// # Errors
    /// None that a report can cause.
    pub fn json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// For people, and for the summary of a CI job.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::page(self)
    }

    /// One file with plots.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// The heading of each form.
    fn title(&self) -> String {
        let what = if self.simulation.is_some() { "Simulation" } else { "Load" };
        format!("{what}: {}", self.setting.targets.join(", "))
    }
}

/// Text of a server on one line.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::snapshot::{Skew, Snapshot};

    pub(crate) fn example() -> Report {
        let mut run = Run::default();
        for second in 1..=20_u64 {
            run.enter(Snapshot {
                totals: Totals {
                    connected: second * 5,
                    opened: 100,
                    messages: second * 1_000,
                    errors: [("closed with <1006>|".to_owned(), 3)].into(),
                    ..Totals::default()
                },
                latency: vec![(second * 1_000_000, 1_000)],
                last_error: Some("a\nb".to_owned()),
                skew: Some(Skew { ahead_ms: 0.1, error_ms: 0.6 }),
                ..Snapshot::default()
            });
            run.usage(0, Usage { cpu_percent: Some(12.0), memory_bytes: Some(50 << 20) });
            run.point(second as f64);
        }
        let setting = Setting {
            version: "0.1.0".to_owned(),
            profile: "quick".to_owned(),
            protocol: "wsgateway.v1".to_owned(),
            targets: vec!["ws://127.0.0.1:8080/ws".to_owned()],
            clients: 100,
            ..Setting::default()
        };
        let mut report = Report::new(setting, &run, (20.0, End::Time));
        let thresholds = ["p99>50ms", "lost>0", "errors>0"].map(|t| Threshold::parse(t).unwrap());
        report.conclude(&thresholds);
        report
    }

    #[test]
    fn a_report_says_what_failed() {
        let report = example();
        let failed: Vec<bool> = report.thresholds.iter().map(|v| v.failed).collect();
        assert_eq!(failed, [false, false, true]);
        assert!(report.has_failed());
        assert_eq!(report.last_error.as_deref(), Some("a b"));
    }

    #[test]
    fn programs_get_every_value_by_a_stable_name() {
        let json: serde_json::Value = serde_json::from_str(&example().json().unwrap()).unwrap();
        assert_eq!(json["totals"]["messages"], 20_000);
        assert_eq!(json["points"][19]["connected"], 100);
        assert_eq!(json["targets"][0]["cpuPercent"], 12.0);
        assert_eq!((&json["end"], &json["latencyFrom"]), (&"time".into(), &"stream".into()));
        assert_eq!(json["thresholds"][2]["failed"], true);
    }

    #[test]
    fn what_a_reader_must_know_is_noted() {
        let mut report = example();
        assert_eq!(report.notes, Vec::<String>::new());
        report.generator =
            Generator { cpu_percent: Some(99.0), lag_ms: 500.0, clock_jump_ms: -60_000.0 };
        report.totals.early = 1;
        (report.totals.misdated, report.totals.set_back) = (7, 8);
        report.end = End::Interrupted;
        report.targets[0].clock = None;
        report.conclude(&[]);
        assert!(report.notes.iter().any(|note| note.contains("not known")), "{:?}", report.notes);
        report.setting.insecure = true;
        report.latency = None;
        report.published = Some(Published {
            failed: 6,
            refused: 1,
            unconfirmed: 2,
            disconnected: 3,
            unkept: 1,
            ..Published::default()
        });
        report.conclude(&[]);
        assert_eq!(report.notes.len(), 12, "{:?}", report.notes);
        assert!(report.notes.iter().any(|note| note.starts_with("7 messages carry a time")));
        assert!(report.notes.iter().any(|note| note.contains("went back 8 times")));
        let page = report.markdown();
        assert!(page.contains("| Failed: refused, unconfirmed, without a connection | 1, 2, 3 |"));
    }
}
