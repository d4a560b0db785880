//! A run in sum (pure): what workers and targets say becomes totals and a line of points over time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::latency::{Latencies, Percentiles};
use crate::simulate::crowd::CrowdTotals;
use crate::simulate::traders::KINDS;
use crate::snapshot::{Skew, Snapshot, Totals};

/// Points of a run; a longer one has coarser points, each of which stands for two.
const MOST_POINTS: usize = 600;

/// A moment of a run, over the time since the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Since the start.
    pub seconds: f64,
    /// Open connections.
    pub connected: u64,
    /// Messages a second.
    pub per_second: f64,
    /// The latency of these messages; none came without.
    pub latency: Option<Percentiles>,
    /// Lost since the start.
    pub lost: i64,
    /// Came twice since the start.
    pub twice: u64,
    /// Errors since the start.
    pub errors: u64,
    /// CPU of the busiest target (%).
    pub cpu_percent: Option<f64>,
    /// Memory of the largest target.
    pub memory_bytes: Option<u64>,
    /// In a simulation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traders: Option<Traders>,
}

/// Traders at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Traders {
    /// How many there should be.
    pub aim: u32,
    /// Those of each type.
    pub present: [u32; KINDS],
}

/// What a target says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Of what it may use.
    pub cpu_percent: Option<f64>,
    /// Resident.
    pub memory_bytes: Option<u64>,
}

/// All that is known of a run so far.
#[derive(Debug, Default)]
pub struct Run {
    workers: BTreeMap<u32, Totals>,
    crowds: BTreeMap<u32, CrowdTotals>,
    interval: Latencies,
    latency: Latencies,
    points: Vec<Point>,
    /// Skipped points between two that are kept.
    coarse: u32,
    skipped: u32,
    last: (f64, u64),
    usage: BTreeMap<u32, Usage>,
    /// The most that targets said.
    pub most_usage: BTreeMap<u32, Usage>,
    /// Clocks of the targets.
    pub skew: BTreeMap<u32, Skew>,
    /// Most clients at the same time.
    pub peak: u64,
    /// The longest that a worker was held up (ms).
    pub lag_ms: f64,
    /// The latest failure of a connection.
    pub last_error: Option<String>,
    /// Why workers could not go on.
    pub failures: Vec<String>,
    finished: usize,
}

impl Run {
    /// Enters what a worker says.
    pub fn enter(&mut self, snapshot: Snapshot) {
        self.interval.add(&snapshot.latency);
        self.latency.add(&snapshot.latency);
        self.lag_ms = self.lag_ms.max(snapshot.lag_ms);
        if let Some(skew) = snapshot.skew {
            let known = self.skew.entry(snapshot.target).or_insert(skew);
            if skew.error_ms < known.error_ms {
                *known = skew;
            }
        }
        if snapshot.last_error.is_some() {
            self.last_error = snapshot.last_error;
        }
        // As many as there are workers, at most.
        self.failures.extend(snapshot.failure);
        self.finished += usize::from(snapshot.finished);
        if let Some(crowd) = snapshot.crowd {
            self.crowds.insert(snapshot.worker, crowd);
        }
        self.workers.insert(snapshot.worker, snapshot.totals);
        self.peak = self.peak.max(self.totals().connected);
    }

    /// Enters what a target says of itself.
    pub fn usage(&mut self, target: u32, usage: Usage) {
        self.usage.insert(target, usage);
        let most = self.most_usage.entry(target).or_default();
        most.cpu_percent = larger(most.cpu_percent, usage.cpu_percent);
        most.memory_bytes = most.memory_bytes.max(usage.memory_bytes);
    }

    /// Sums over all workers.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.workers.values().for_each(|worker| totals.add(worker));
        totals
    }

    /// The traders of all workers; `None`: it is no simulation.
    #[must_use]
    pub fn crowd(&self) -> Option<CrowdTotals> {
        let mut all = CrowdTotals::default();
        self.crowds.values().for_each(|crowd| all.add(crowd));
        (!self.crowds.is_empty()).then_some(all)
    }

    /// Latency over the whole run.
    #[must_use]
    pub fn latency(&self) -> Option<Percentiles> {
        self.latency.percentiles()
    }

    /// Workers that have ended.
    #[must_use]
    pub fn finished(&self) -> usize {
        self.finished
    }

    /// Adds a point; `seconds` since the start.
    pub fn point(&mut self, seconds: f64) {
        let totals = self.totals();
        if self.skipped < self.coarse {
            self.skipped += 1;
            return;
        }
        self.skipped = 0;
        let (then, messages) = self.last;
        let span = (seconds - then).max(1e-3);
        self.last = (seconds, totals.messages);
        let latency = self.interval.percentiles();
        self.interval.take();
        let usage = || self.usage.values();
        self.points.push(Point {
            seconds,
            connected: totals.connected,
            per_second: totals.messages.saturating_sub(messages) as f64 / span,
            latency,
            lost: totals.lost,
            twice: totals.twice,
            errors: totals.errors_in_all(),
            cpu_percent: usage().filter_map(|usage| usage.cpu_percent).reduce(f64::max),
            memory_bytes: usage().filter_map(|usage| usage.memory_bytes).max(),
            traders: self.crowd().map(|crowd| Traders {
                aim: crowd.aim,
                present: crowd.kinds.map(|kind| kind.present),
            }),
        });
        if self.points.len() >= MOST_POINTS {
            self.points = self.points.chunks(2).filter_map(joined).collect();
            self.coarse = self.coarse * 2 + 1;
        }
    }

    /// The points so far.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}

/// Two points as one: of percentiles the worse, since histograms of the past are not kept.
fn joined(points: &[Point]) -> Option<Point> {
    let (first, last) = (points.first()?, *points.last()?);
    let latency = match (first.latency, last.latency) {
        (Some(a), Some(b)) => Some(Percentiles {
            count: a.count + b.count,
            min_ms: a.min_ms.min(b.min_ms),
            p50_ms: a.p50_ms.max(b.p50_ms),
            p90_ms: a.p90_ms.max(b.p90_ms),
            p99_ms: a.p99_ms.max(b.p99_ms),
            p999_ms: a.p999_ms.max(b.p999_ms),
            max_ms: a.max_ms.max(b.max_ms),
        }),
        (a, b) => a.or(b),
    };
    Some(Point {
        latency,
        per_second: f64::midpoint(first.per_second, last.per_second),
        cpu_percent: larger(first.cpu_percent, last.cpu_percent),
        memory_bytes: first.memory_bytes.max(last.memory_bytes),
        ..last
    })
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(worker: u32, messages: u64, ms: u64) -> Snapshot {
        Snapshot {
            worker,
            totals: Totals { messages, connected: 10, lost: 1, ..Totals::default() },
            latency: vec![(ms * 1_000_000, messages)],
            ..Snapshot::default()
        }
    }

    #[test]
    fn workers_are_summed_up_and_each_point_has_its_own_latency() {
        let mut run = Run::default();
        run.enter(snapshot(1, 10, 1));
        run.enter(snapshot(2, 20, 1));
        run.point(1.0);
        run.enter(snapshot(2, 50, 100));
        run.point(2.0);
        run.point(3.0);
        let points = run.points();
        let rates: Vec<f64> = points.iter().map(|point| point.per_second).collect();
        assert_eq!(rates, [30.0, 30.0, 0.0]);
        assert!(points[1].latency.unwrap().min_ms > 90.0 && points[2].latency.is_none());
        assert_eq!((run.peak, run.totals().lost, run.latency().unwrap().count), (20, 2, 80));
    }

    #[test]
    fn a_long_run_has_coarser_points_and_loses_no_maximum() {
        let mut run = Run::default();
        for second in 0..100_000_u32 {
            if second == 31_415 {
                run.enter(snapshot(1, 5, 777));
            }
            run.point(f64::from(second));
        }
        assert!((MOST_POINTS / 4..MOST_POINTS).contains(&run.points().len()));
        let most = run.points().iter().filter_map(|p| p.latency).map(|l| l.max_ms);
        assert!(most.fold(0.0, f64::max) > 770.0);
        assert!(run.points().is_sorted_by_key(|point| point.seconds as u64));
    }

    #[test]
    fn of_a_target_the_most_is_kept() {
        let mut run = Run::default();
        for (cpu, memory) in [(Some(10.0), Some(5)), (Some(90.0), None), (None, Some(7))] {
            run.usage(1, Usage { cpu_percent: cpu, memory_bytes: memory });
        }
        run.point(1.0);
        let most = Usage { cpu_percent: Some(90.0), memory_bytes: Some(7) };
        assert_eq!(run.most_usage[&1], most);
        assert_eq!(run.points()[0].memory_bytes, Some(7));
    }
}
