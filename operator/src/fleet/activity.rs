//! What a gateway does besides holding connections (pure): counts of its answers, and rates from two of them.

use std::time::Duration;

use serde::Deserialize;

/// Answers nearer to each other say little of a rate.
const LEAST: Duration = Duration::from_millis(500);

/// As a gateway answers it. Gateways of before say nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Activity {
    /// Messages of the stream that it has taken since its start.
    pub(crate) stream_messages: Option<u64>,
    /// Messages that it has sent to clients since its start, one for each receiver.
    pub(crate) deliveries: Option<u64>,
    /// Clients that bytes wait for.
    pub(crate) slow_clients: Option<u64>,
    /// Resident memory of its process.
    pub(crate) memory_bytes: Option<u64>,
    /// Rates between its last two answers.
    #[serde(skip)]
    pub(crate) messages_per_second: Option<u64>,
    #[serde(skip)]
    pub(crate) deliveries_per_second: Option<u64>,
}

impl Activity {
    /// Takes the rates since an earlier answer of the same pod. A process that was replaced has none yet.
    pub(super) fn follow(&mut self, before: &Self, elapsed: Duration) {
        if elapsed < LEAST {
            self.messages_per_second = before.messages_per_second;
            self.deliveries_per_second = before.deliveries_per_second;
            return;
        }
        let rate = |now: Option<u64>, before: Option<u64>| {
            let more = now?.checked_sub(before?)?;
            Some((more as f64 / elapsed.as_secs_f64()).round() as u64)
        };
        self.messages_per_second = rate(self.stream_messages, before.stream_messages);
        self.deliveries_per_second = rate(self.deliveries, before.deliveries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(stream_messages: u64, deliveries: u64) -> Activity {
        let (stream_messages, deliveries) = (Some(stream_messages), Some(deliveries));
        Activity { stream_messages, deliveries, ..Activity::default() }
    }

    fn rates(activity: Activity) -> (Option<u64>, Option<u64>) {
        (activity.messages_per_second, activity.deliveries_per_second)
    }

    #[test]
    fn a_rate_is_what_came_between_two_answers() {
        let mut now = counted(120, 5_000);
        now.follow(&counted(100, 0), Duration::from_secs(10));
        assert_eq!(rates(now), (Some(2), Some(500)));
        let mut soon = counted(121, 5_001);
        soon.follow(&now, Duration::from_millis(10));
        assert_eq!(rates(soon), (Some(2), Some(500)), "too soon to say anything else");
    }

    #[test]
    fn a_process_that_was_replaced_or_says_nothing_has_no_rate() {
        let mut replaced = counted(5, 10_000);
        replaced.follow(&counted(100, 0), Duration::from_secs(10));
        assert_eq!(rates(replaced), (None, Some(1_000)));
        let mut silent = Activity::default();
        silent.follow(&counted(1, 1), Duration::from_secs(10));
        assert_eq!(rates(silent), (None, None));
    }
}
