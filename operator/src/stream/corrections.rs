//! Somebody who changes a stream back as often as we correct it is noticed, and not fought.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// As many corrections within [`WINDOW`] are repairs; the next one would be a fight, in which each side discards messages by
/// its own limits.
pub(crate) const MOST: usize = 3;
pub(crate) const WINDOW: Duration = Duration::from_secs(600);

/// When a stream was corrected that had been as specified before.
#[derive(Debug, Default)]
pub(crate) struct Corrections {
    /// Generation of the WsGateway that the stream was last made to follow.
    settled: Option<i64>,
    times: VecDeque<Instant>,
}

impl Corrections {
    /// Whether the stream may be changed now.
    ///
    /// # Errors
    /// When it may not: how long to leave it alone.
    pub(crate) fn allow(&mut self, generation: i64, now: Instant) -> Result<(), Duration> {
        if self.settled != Some(generation) {
            return Ok(());
        }
        let age = |since: &Instant| now.saturating_duration_since(*since);
        while self.times.front().is_some_and(|first| age(first) >= WINDOW) {
            self.times.pop_front();
        }
        match self.times.front() {
            Some(first) if self.times.len() >= MOST => Err(WINDOW.saturating_sub(age(first))),
            _ => Ok(()),
        }
    }

    /// The stream was changed and is as specified.
    pub(crate) fn written(&mut self, generation: i64, now: Instant) {
        if self.settled.replace(generation) == Some(generation) {
            self.times.push_back(now);
        }
    }

    /// The stream was found as specified.
    pub(crate) fn found(&mut self, generation: i64) {
        self.settled = Some(generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_corrections_in_ten_minutes_are_repairs_and_the_fourth_waits() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut corrections = Corrections::default();
        corrections.written(1, start);
        for n in 0..3 {
            assert_eq!(corrections.allow(1, start + second * n), Ok(()));
            corrections.written(1, start + second * n);
        }
        assert_eq!(corrections.allow(1, start + second * 10), Err(WINDOW - second * 10));
        assert_eq!(corrections.allow(1, start + WINDOW), Ok(()), "the first is forgotten");
        corrections.written(1, start + WINDOW);
        assert!(corrections.allow(1, start + WINDOW).is_err(), "one at a time from then on");
    }

    #[test]
    fn an_edited_specification_is_no_correction() {
        let now = Instant::now();
        let mut corrections = Corrections::default();
        for generation in 0..20 {
            assert_eq!(corrections.allow(generation, now), Ok(()));
            corrections.written(generation, now);
        }
        assert_eq!(corrections.allow(19, now), Ok(()));
    }
}
