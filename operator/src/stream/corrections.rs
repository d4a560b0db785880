//! Somebody who changes a stream back as often as we correct it is noticed, and not fought.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wsgateway_config::StreamConfig;

/// As many corrections within [`WINDOW`] are repairs; the next one would be a fight, in which each side discards messages by
/// its own limits.
pub(crate) const MOST: usize = 3;
pub(crate) const WINDOW: Duration = Duration::from_secs(600);

/// When a stream was corrected that had been as specified before.
#[derive(Debug, Default)]
pub(crate) struct Corrections {
    /// What the stream was last made to be.
    settled: Option<StreamConfig>,
    times: VecDeque<Instant>,
}

impl Corrections {
    /// Whether the stream may be changed now.
    ///
    /// # Errors
    /// When it may not: how long to leave it alone.
    pub(crate) fn allow(&mut self, desired: &StreamConfig, now: Instant) -> Result<(), Duration> {
        if self.settled.as_ref() != Some(desired) {
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
    pub(crate) fn written(&mut self, desired: &StreamConfig, now: Instant) {
        if self.settled.replace(desired.clone()).as_ref() == Some(desired) {
            self.times.push_back(now);
        }
    }

    /// The stream was found as specified.
    pub(crate) fn found(&mut self, desired: &StreamConfig) {
        self.settled = Some(desired.clone());
    }
}

#[cfg(test)]
mod tests {
    use wsgateway_crds::{parse, validate};

    use super::*;

    fn desired(name: &str) -> StreamConfig {
        let text = format!(
            "{{apiVersion: wsgateway.dev/v1alpha1, kind: WsGateway, metadata: {{name: tiny}}, \
             spec: {{nats: {{servers: ['nats://nats']}}, stream: {{name: {name}, subjects: ['tiny.>']}}}}}}"
        );
        let valid = validate(&parse(&text).unwrap()).unwrap();
        valid.source.nats().unwrap().stream.clone()
    }

    #[test]
    fn three_corrections_in_ten_minutes_are_repairs_and_the_fourth_waits() {
        let (start, second, desired) = (Instant::now(), Duration::from_secs(1), desired("A"));
        let mut corrections = Corrections::default();
        corrections.written(&desired, start);
        for n in 0..3 {
            assert_eq!(corrections.allow(&desired, start + second * n), Ok(()));
            corrections.written(&desired, start + second * n);
        }
        assert_eq!(corrections.allow(&desired, start + second * 10), Err(WINDOW - second * 10));
        assert_eq!(corrections.allow(&desired, start + WINDOW), Ok(()), "the first is forgotten");
        corrections.written(&desired, start + WINDOW);
        assert!(corrections.allow(&desired, start + WINDOW).is_err(), "one at a time from then on");
    }

    #[test]
    fn an_edited_specification_is_no_correction() {
        let now = Instant::now();
        let mut corrections = Corrections::default();
        for n in 0..20 {
            let desired = desired(&format!("A{n}"));
            assert_eq!(corrections.allow(&desired, now), Ok(()));
            corrections.written(&desired, now);
            assert_eq!(corrections.allow(&desired, now), Ok(()));
        }
    }
}
