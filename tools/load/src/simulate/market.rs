//! The market: how many of its traders are there at a time of day.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const DAY: f64 = 24.0;
const LAST: (f64, f64) = (24.0, NIGHT);
const NIGHT: f64 = 1.0 / 3.0;
const USUAL: f64 = 2.0 / 3.0;

/// Hours (UTC) and the share of all traders at them. Peak hours are those in which Europe and America trade together;
/// between two entries the share changes evenly.
const HOURS: [(f64, f64); 10] = [
    (0.0, NIGHT),
    (6.0, NIGHT),
    (7.0, USUAL),
    (12.0, USUAL),
    (13.0, 1.0),
    (17.0, 1.0),
    (18.0, USUAL),
    (21.0, USUAL),
    (22.0, NIGHT),
    LAST,
];

/// What is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Market {
    /// Where its chances come from.
    pub seed: u64,
    /// Seconds of the market in one of the clock.
    pub speed: f64,
    /// Its time of day at the start (since midnight).
    pub start: Duration,
    /// Over how long traders come at the start (of its time).
    pub ramp: Duration,
    /// How long it is simulated (of its time).
    pub length: Duration,
    /// Whether anybody continues where they were.
    pub resumes: bool,
}

impl Market {
    /// The market's time after so much time of the clock.
    #[must_use]
    pub fn time(&self, elapsed: Duration) -> Duration {
        Duration::try_from_secs_f64(elapsed.as_secs_f64() * self.speed).unwrap_or(Duration::MAX)
    }

    /// How long it takes by the clock.
    #[must_use]
    pub fn lasts(&self, of_market: Duration) -> Duration {
        Duration::try_from_secs_f64(of_market.as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
    }

    /// The time of day (hours) at a time of the market.
    #[must_use]
    pub fn hour(&self, now: Duration) -> f64 {
        (self.start.saturating_add(now).as_secs_f64() / 3_600.0).rem_euclid(DAY)
    }

    /// The time of day, as a clock on a wall has it.
    #[must_use]
    pub fn clock(&self, now: Duration) -> String {
        let minutes = (self.hour(now) * 60.0) as u64;
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// The share of all traders who are there: the hour's, and at the start those who have come so far.
    #[must_use]
    pub fn share(&self, now: Duration) -> f64 {
        let ramp = self.ramp.as_secs_f64();
        let come = if ramp > 0.0 { (now.as_secs_f64() / ramp).min(1.0) } else { 1.0 };
        come * activity(self.hour(now))
    }
}

/// The share of traders at an hour of the day.
fn activity(hour: f64) -> f64 {
    let after = HOURS.iter().position(|(from, _)| *from > hour).unwrap_or(HOURS.len() - 1);
    let (from, to) = (HOURS.get(after.saturating_sub(1)), HOURS.get(after));
    let (from, to) = (from.copied().unwrap_or(LAST), to.copied().unwrap_or(LAST));
    let passed = ((hour - from.0) / (to.0 - from.0).max(1e-9)).clamp(0.0, 1.0);
    from.1 + (to.1 - from.1) * passed
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// A day that begins at peak hours, with everybody there from the start.
    pub(crate) fn market(seed: u64) -> Market {
        let (start, length) = (13 * HOUR, 24 * HOUR);
        Market { seed, speed: 60.0, start, ramp: Duration::ZERO, length, resumes: true }
    }

    #[test]
    fn peak_hours_have_everybody_and_nights_a_third() {
        for (hour, share) in [(0, NIGHT), (3, NIGHT), (9, USUAL), (13, 1.0), (15, 1.0), (20, USUAL)]
        {
            let market = Market { start: hour * HOUR, ..market(1) };
            assert!((market.share(Duration::ZERO) - share).abs() < 1e-9, "{hour}");
        }
    }

    #[test]
    fn the_curve_has_no_jump_not_even_at_midnight() {
        let shares: Vec<f64> = (0..=2 * 1_440)
            .map(|minute| market(1).share(Duration::from_secs(60 * minute)))
            .collect();
        for pair in shares.windows(2) {
            assert!((pair[0] - pair[1]).abs() < 0.01, "{pair:?}");
        }
        assert!(shares.iter().all(|share| (NIGHT - 1e-9..=1.0).contains(share)));
        let mean = shares[..1_440].iter().sum::<f64>() / 1_440.0;
        assert!((0.58..0.62).contains(&mean), "{mean}");
    }

    #[test]
    fn traders_come_gradually_at_the_start() {
        let market = Market { ramp: HOUR, ..market(1) };
        let shares =
            [0, 15, 30, 60, 90].map(|minute| market.share(Duration::from_secs(minute * 60)));
        assert_eq!(shares, [0.0, 0.25, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn the_market_is_faster_than_the_clock_by_its_speed() {
        let market = market(1);
        assert_eq!(market.time(Duration::from_secs(90)), Duration::from_secs(5_400));
        assert_eq!(market.lasts(24 * HOUR), Duration::from_secs(24 * 60));
        assert_eq!(
            [0, 1, 11, 36].map(|hour| market.clock(hour * HOUR)),
            ["13:00", "14:00", "00:00", "01:00"]
        );
        assert_eq!(market.time(Duration::MAX), Duration::MAX);
    }
}
