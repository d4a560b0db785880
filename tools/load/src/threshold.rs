//! Thresholds for CI: `p99>50ms` says when a run has failed (pure).

use std::fmt;

use serde::Serialize;

/// What a threshold is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Percentiles of the latency, in ms.
    Min,
    /// The median.
    P50,
    /// 90 of 100.
    P90,
    /// 99 of 100.
    P99,
    /// 999 of 1,000.
    P999,
    /// The longest.
    Max,
    /// Messages lost.
    Lost,
    /// Messages of the own publisher that the stream has not confirmed.
    Failed,
    /// Messages that came twice.
    Twice,
    /// Messages out of order.
    Order,
    /// Errors of all kinds.
    Errors,
    /// Clients that were connected at the same time.
    Connected,
    /// Connections that were made again.
    Reconnects,
    /// Messages a second, over the whole run.
    Rate,
    /// CPU of the targets at most (%).
    Cpu,
    /// Memory of a target at most (bytes).
    Memory,
}

/// The kind of value that a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Time,
    Count,
    Percent,
    Bytes,
}

const METRICS: [(&str, Metric, Kind); 16] = [
    ("min", Metric::Min, Kind::Time),
    ("p50", Metric::P50, Kind::Time),
    ("p90", Metric::P90, Kind::Time),
    ("p99", Metric::P99, Kind::Time),
    ("p99.9", Metric::P999, Kind::Time),
    ("max", Metric::Max, Kind::Time),
    ("lost", Metric::Lost, Kind::Count),
    ("failed", Metric::Failed, Kind::Count),
    ("twice", Metric::Twice, Kind::Count),
    ("order", Metric::Order, Kind::Count),
    ("errors", Metric::Errors, Kind::Count),
    ("connected", Metric::Connected, Kind::Count),
    ("reconnects", Metric::Reconnects, Kind::Count),
    ("rate", Metric::Rate, Kind::Count),
    ("cpu", Metric::Cpu, Kind::Percent),
    ("memory", Metric::Memory, Kind::Bytes),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    More,
    NotLess,
    Less,
    NotMore,
}

/// A condition under which a run has failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    /// What it is about.
    pub metric: Metric,
    compare: Compare,
    limit: f64,
}

/// Why a text is no threshold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// No comparison.
    #[error("write a metric, one of > >= < <=, and a limit, such as p99>50ms")]
    Compare,
    /// Another metric.
    #[error(
        "there is no metric {0}: write one of min p50 p90 p99 p99.9 max lost failed twice order errors connected reconnects rate cpu memory"
    )]
    Metric(String),
    /// No number, or a unit that does not fit.
    #[error("{0} is no limit of {1}: {2}")]
    Limit(String, &'static str, &'static str),
}

/// What a threshold says of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The threshold.
    pub threshold: String,
    /// What was measured, in the metric's own unit (ms, count, %, bytes).
    pub value: Option<f64>,
    /// Whether the run has failed by it. What was not measured has failed.
    pub failed: bool,
}

impl Threshold {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none; the message says how to write it.
    pub fn parse(text: &str) -> Result<Self, ThresholdError> {
        let at = text.find(['>', '<']).ok_or(ThresholdError::Compare)?;
        let (name, rest) = text.split_at(at);
        let (compare, limit) = match rest.split_at(1) {
            (">", rest) => match rest.strip_prefix('=') {
                Some(rest) => (Compare::NotLess, rest),
                None => (Compare::More, rest),
            },
            (_, rest) => match rest.strip_prefix('=') {
                Some(rest) => (Compare::NotMore, rest),
                None => (Compare::Less, rest),
            },
        };
        let (name, limit) = (name.trim(), limit.trim());
        let named = |metric: &&(&'static str, Metric, Kind)| metric.0 == name;
        let Some((name, metric, kind)) = METRICS.iter().find(named) else {
            return Err(ThresholdError::Metric(name.chars().take(40).collect()));
        };
        let limit = read(limit, *kind)
            .map_err(|hint| ThresholdError::Limit(limit.chars().take(40).collect(), name, hint))?;
        let text = text.split_whitespace().collect();
        Ok(Self { text, metric: *metric, compare, limit })
    }

    /// What it says of a value.
    #[must_use]
    pub fn judge(&self, value: Option<f64>) -> Verdict {
        let fails = |value: f64| match self.compare {
            Compare::More => value > self.limit,
            Compare::NotLess => value >= self.limit,
            Compare::Less => value < self.limit,
            Compare::NotMore => value <= self.limit,
        };
        Verdict { threshold: self.text.clone(), value, failed: value.is_none_or(fails) }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn read(text: &str, kind: Kind) -> Result<f64, &'static str> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match (kind, unit.trim()) {
        (Kind::Time, "us" | "µs") => 0.001,
        (Kind::Time, "ms") => 1.0,
        (Kind::Time, "s") => 1_000.0,
        (Kind::Time, _) => return Err("a time has a unit, such as 50ms, 800us or 1.5s"),
        (Kind::Count, "") | (Kind::Percent, "" | "%") | (Kind::Bytes, "") => 1.0,
        (Kind::Count, _) => return Err("a number without a unit is due"),
        (Kind::Percent, _) => return Err("a percentage is due, such as 80%"),
        (Kind::Bytes, "KiB") => 1_024.0,
        (Kind::Bytes, "MiB") => 1_048_576.0,
        (Kind::Bytes, "GiB") => 1_073_741_824.0,
        (Kind::Bytes, _) => return Err("bytes are due, such as 512MiB"),
    };
    number.parse::<f64>().map(|number| number * factor).map_err(|_| "a number is due")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(text: &str, value: f64) -> bool {
        Threshold::parse(text).unwrap().judge(Some(value)).failed
    }

    #[test]
    fn a_threshold_says_when_a_run_has_failed() {
        assert!(fails("p99>50ms", 50.1) && !fails("p99>50ms", 50.0) && fails("p99>=50ms", 50.0));
        assert!(fails("lost > 0", 1.0) && !fails("lost>0", 0.0));
        assert!(fails("connected<1000", 999.0) && fails("rate<=10", 10.0));
        assert!(fails("max>1.5s", 1_501.0) && fails("p50>800us", 0.9) && fails("p99.9>1ms", 2.0));
        assert!(fails("memory>1GiB", 1_073_741_825.0) && fails("cpu>80%", 81.0));
    }

    #[test]
    fn what_was_not_measured_has_failed() {
        let verdict = Threshold::parse("p99 > 1ms").unwrap().judge(None);
        assert!(verdict.failed);
        assert_eq!(verdict.threshold, "p99>1ms");
    }

    #[test]
    fn what_is_no_threshold_is_answered_with_how_to_write_one() {
        for text in [
            "",
            "p99",
            "p99=1ms",
            "p98>1ms",
            "p99>50",
            "p99>ms",
            "lost>1ms",
            "lost>",
            "lost>-1",
            "lost>1.2.3",
            "memory>1GB",
            "cpu>1s",
            ">",
            "<=",
            "é>1",
        ] {
            let error = Threshold::parse(text).unwrap_err().to_string();
            assert!(error.len() > 20, "{text}: {error}");
        }
    }
}
