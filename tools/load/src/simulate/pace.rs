//! How many traders the target's health allows: fewer as soon as it warns, slowly more again afterwards.

use std::time::Duration;

use super::health::Verdict;

/// The fewest of 100 traders: with nobody there nothing would be measured.
const FEWEST: u8 = 10;
/// What a warning leaves of 100 traders, and what an error leaves.
const WARNED: u8 = 80;
const FAILED: u8 = 50;
/// How many of 100 come back at a time once all is well.
const BACK: u8 = 5;
/// Between two changes: the target's own figures are means of a few seconds, and must show the last one.
const REST: Duration = Duration::from_secs(5);
/// Questions in a row without an answer that are as bad as an error.
const SILENT: u32 = 3;

/// The state between two answers.
#[derive(Clone, Debug)]
pub struct Pacer {
    percent: u8,
    changed: Option<Duration>,
    silent: u32,
    /// Times at which it was lowered.
    pub back_offs: u32,
    /// The lowest so far.
    pub lowest: u8,
}

impl Default for Pacer {
    fn default() -> Self {
        Self { percent: 100, changed: None, silent: 0, back_offs: 0, lowest: 100 }
    }
}

impl Pacer {
    /// Traders that are allowed, of 100.
    #[must_use]
    pub fn percent(&self) -> u8 {
        self.percent
    }

    /// Enters an answer at a time since the start (of the clock). Returns the new percentage if it changes.
    pub fn enter(&mut self, verdict: Verdict, now: Duration) -> Option<u8> {
        self.silent = if verdict == Verdict::Silent { self.silent + 1 } else { 0 };
        if self.changed.is_some_and(|at| now.saturating_sub(at) < REST) {
            return None;
        }
        let percent = match verdict {
            Verdict::Healthy => self.percent.saturating_add(BACK).min(100),
            Verdict::Degraded => self.lowered(WARNED),
            Verdict::Unhealthy => self.lowered(FAILED),
            Verdict::Silent if self.silent >= SILENT => self.lowered(FAILED),
            // Nobody knows: it stays as it is.
            Verdict::Silent => self.percent,
        };
        if percent == self.percent {
            return None;
        }
        self.back_offs += u32::from(percent < self.percent);
        self.percent = percent;
        self.lowest = self.lowest.min(percent);
        self.changed = Some(now);
        Some(percent)
    }

    fn lowered(&self, leaves: u8) -> u8 {
        let percent = u16::from(self.percent) * u16::from(leaves) / 100;
        (percent as u8).max(FEWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One answer a second, from `second` on.
    fn seconds(pacer: &mut Pacer, verdicts: &[(Verdict, u64)]) -> Vec<u8> {
        let all = verdicts.iter().flat_map(|(verdict, count)| (0..*count).map(move |_| *verdict));
        let enter = |(second, verdict)| pacer.enter(verdict, Duration::from_secs(second));
        (0..).zip(all).filter_map(enter).collect()
    }

    #[test]
    fn a_target_that_is_well_is_left_alone() {
        let mut pacer = Pacer::default();
        assert!(seconds(&mut pacer, &[(Verdict::Healthy, 1_000)]).is_empty());
        assert_eq!((pacer.percent(), pacer.back_offs, pacer.lowest), (100, 0, 100));
    }

    #[test]
    fn a_warning_sends_a_fifth_away_every_five_seconds_and_never_everybody() {
        let mut pacer = Pacer::default();
        let steps = seconds(&mut pacer, &[(Verdict::Degraded, 60)]);
        assert_eq!(steps, [80, 64, 51, 40, 32, 25, 20, 16, 12, 10]);
        assert_eq!((pacer.back_offs, pacer.lowest), (10, 10));
    }

    #[test]
    fn an_error_sends_half_away_and_they_come_back_in_small_steps() {
        let mut pacer = Pacer::default();
        let steps = seconds(&mut pacer, &[(Verdict::Unhealthy, 1), (Verdict::Healthy, 60)]);
        assert_eq!(steps, [50, 55, 60, 65, 70, 75, 80, 85, 90, 95, 100]);
        assert_eq!((pacer.back_offs, pacer.lowest), (1, 50));
    }

    #[test]
    fn one_missing_answer_changes_nothing_and_three_in_a_row_are_an_error() {
        let mut pacer = Pacer::default();
        let one = [(Verdict::Silent, 2), (Verdict::Healthy, 1)];
        assert!(seconds(&mut pacer, &one.repeat(9)).is_empty());
        assert_eq!(seconds(&mut pacer, &[(Verdict::Silent, 4)]), [50]);
    }
}
