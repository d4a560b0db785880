//! How long clients are away: from the end of a connection until its client is up to date again.
//!
//! Up to date means: all that was published on its channels when its resume was acknowledged has come. Time is a
//! parameter.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest span that is told apart (ms): ten minutes.
const LONGEST_MS: u64 = 600_000;

/// The spans of many clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spans {
    /// Times that a client came back.
    pub count: u64,
    /// Half of them were back within (ms).
    pub p50_ms: u64,
    /// 99 of 100 were back within (ms).
    pub p99_ms: u64,
    /// The last was back after (ms).
    pub max_ms: u64,
}

#[derive(Clone, Copy, Debug)]
struct Absence {
    since: Instant,
    /// The offset at which it is over; known from the acknowledgement on.
    aim: Option<u64>,
}

/// Who is away since when.
#[derive(Debug)]
pub(super) struct Away {
    clients: Vec<Option<Absence>>,
    spans: Option<Histogram<u64>>,
}

impl Away {
    pub(super) fn new(clients: usize) -> Self {
        // The arguments are constants in range.
        let spans = Histogram::new_with_bounds(1, LONGEST_MS, 3).ok();
        Self { clients: vec![None; clients], spans }
    }

    pub(super) fn ended(&mut self, client: usize, at: Instant) {
        if let Some(absence) = self.clients.get_mut(client) {
            let since = absence.map_or(at, |absence| absence.since);
            *absence = Some(Absence { since, aim: None });
        }
    }

    pub(super) fn acknowledged(&mut self, client: usize, aim: u64) {
        if let Some(Some(absence)) = self.clients.get_mut(client) {
            absence.aim = Some(aim);
        }
    }

    /// The client has left by itself, and is not away.
    pub(super) fn left(&mut self, client: usize) {
        if let Some(slot) = self.clients.get_mut(client) {
            *slot = None;
        }
    }

    /// The client knows everything up to `offset`.
    pub(super) fn reached(&mut self, client: usize, offset: u64, at: Instant) {
        if let Some(slot) = self.clients.get_mut(client)
            && let Some(Absence { since, aim: Some(aim) }) = *slot
            && offset >= aim
        {
            *slot = None;
            let ms = u64::try_from(at.duration_since(since).as_millis()).unwrap_or(LONGEST_MS);
            if let Some(spans) = &mut self.spans {
                spans.saturating_record(ms.max(1));
            }
        }
    }

    /// Clients that are away now.
    pub(super) fn absent(&self) -> usize {
        self.clients.iter().flatten().count()
    }

    /// The spans since the last time.
    pub(super) fn settle(&mut self) -> Spans {
        let Some(spans) = &mut self.spans else { return Spans::default() };
        let told = Spans {
            count: spans.len(),
            p50_ms: spans.value_at_quantile(0.5),
            p99_ms: spans.value_at_quantile(0.99),
            max_ms: spans.max(),
        };
        spans.reset();
        told
    }
}

impl Spans {
    /// The longest, as a duration.
    pub fn max(&self) -> Duration {
        Duration::from_millis(self.max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_back_when_it_has_all_that_was_published_when_it_was_acknowledged() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut away = Away::new(3);
        away.reached(0, 5, after(0));
        assert_eq!((away.absent(), away.settle().count), (0, 0));
        away.ended(0, after(100));
        // A second attempt that failed as well: the absence goes on.
        away.ended(0, after(150));
        away.reached(0, 9, after(160));
        assert_eq!(away.absent(), 1, "no acknowledgement yet");
        away.acknowledged(0, 12);
        away.reached(0, 11, after(200));
        assert_eq!(away.absent(), 1);
        away.reached(0, 12, after(350));
        assert_eq!(away.absent(), 0);
        away.ended(1, after(100));
        away.acknowledged(1, 0);
        away.reached(1, 0, after(101));
        let spans = away.settle();
        assert_eq!((spans.count, spans.max_ms, spans.p50_ms), (2, 250, 1));
        assert_eq!(away.settle(), Spans { count: 0, p50_ms: 0, p99_ms: 0, max_ms: 0 });
    }
}
