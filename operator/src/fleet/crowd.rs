//! Whether a crowd comes or goes (pure): then how many clients each pod has says little about how many it will have.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back it is looked.
const SPAN: Duration = Duration::from_secs(15);
/// What is known of less time says nothing.
const LEAST: Duration = Duration::from_secs(4);
/// Between two numbers that are kept.
const APART: Duration = Duration::from_secs(1);
/// Changes of one in so many, or of so few, are no crowd.
const PART: u64 = 10;
const FEW: u64 = 20;

/// How many clients there were at some moments, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Crowd(VecDeque<(Instant, u64)>);

impl Crowd {
    /// Notes how many there are.
    pub(super) fn note(&mut self, total: u64, now: Instant) {
        let age = |at: &Instant| now.saturating_duration_since(*at);
        // One that is older is kept: without it nothing is known of the time before the next one.
        while self.0.get(1).is_some_and(|(at, _)| age(at) > SPAN) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            Some((at, last)) if age(at) < APART => *last = total,
            _ => self.0.push_back((now, total)),
        }
    }

    /// Whether there were about as many all the time.
    pub(super) fn is_steady(&self, now: Instant) -> bool {
        let known = self.0.front().map(|(at, _)| now.saturating_duration_since(*at));
        let counts = || self.0.iter().map(|(_, total)| *total);
        let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
        let change = most - least;
        known.is_some_and(|known| known >= LEAST) && (change <= FEW || change * PART <= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_that_comes_is_told_from_a_few_and_forgotten_after_a_while() {
        let (mut crowd, start) = (Crowd::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        crowd.note(500, start);
        assert!(!crowd.is_steady(start) && crowd.is_steady(at(5)));
        crowd.note(540, at(5));
        assert!(crowd.is_steady(at(6)));
        crowd.note(900, at(7));
        for second in 8..22 {
            crowd.note(900, at(second));
            assert!(!crowd.is_steady(at(second)), "{second}");
        }
        (22..30).for_each(|second| crowd.note(900, at(second)));
        assert!(crowd.is_steady(at(30)));
        for millisecond in 0..100_000 {
            crowd.note(millisecond % 20, at(40) + Duration::from_millis(millisecond));
        }
        assert!(crowd.0.len() < 20, "{}", crowd.0.len());
    }
}
