//! The five types of traders: their shares, and how long they stay (seed S2).

use std::time::Duration;

use serde::{Deserialize, Serialize};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// Of 100 traders who leave, so many come back.
pub const RETURN_PERCENT: u32 = 70;
/// Of 100 who come back, so many continue where they were; the others have loaded the page again.
pub const RESUME_PERCENT: u32 = 80;
/// How long they are away: a change of networks up to another tab.
pub const AWAY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// A type of traders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Looks a price up.
    Quick,
    /// Trades for some minutes.
    Active,
    /// Trades for hours.
    Day,
    /// Keeps the page open.
    Holder,
    /// A program.
    Bot,
}

/// Types of traders.
pub const KINDS: usize = 5;

impl Kind {
    /// All of them, in the order of every table.
    pub const ALL: [Self; KINDS] = [Self::Quick, Self::Active, Self::Day, Self::Holder, Self::Bot];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick traders",
            Self::Active => "active traders",
            Self::Day => "day traders",
            Self::Holder => "long holders",
            Self::Bot => "bots",
        }
    }

    /// Its share of all who are connected.
    #[must_use]
    pub fn percent(self) -> u32 {
        match self {
            Self::Quick => 20,
            Self::Active => 35,
            Self::Day => 30,
            Self::Holder => 10,
            Self::Bot => 5,
        }
    }

    /// The shortest and the longest session.
    #[must_use]
    pub fn session(self) -> (Duration, Duration) {
        let (shortest, longest) = match self {
            Self::Quick => (30, 5 * MINUTE),
            Self::Active => (5 * MINUTE, 30 * MINUTE),
            Self::Day => (30 * MINUTE, 4 * HOUR),
            Self::Holder => (4 * HOUR, 8 * HOUR),
            Self::Bot => (24 * HOUR, 48 * HOUR),
        };
        (Duration::from_secs(shortest), Duration::from_secs(longest))
    }
}

/// How many traders of each type there are among `all`: rounded so that they are `all` together.
#[must_use]
pub fn quotas(all: u32) -> [u32; KINDS] {
    let (mut percent, mut given) = (0, 0);
    Kind::ALL.map(|kind| {
        percent += kind.percent();
        let so_far = ((u64::from(all) * u64::from(percent) + 50) / 100) as u32;
        so_far - std::mem::replace(&mut given, so_far)
    })
}

/// A length between two, each ratio as likely as another one: short sessions are common, long ones are not rare.
pub(super) fn drawn(
    (shortest, longest): (Duration, Duration),
    rng: &mut fastrand::Rng,
) -> Duration {
    let ratio = longest.as_secs_f64() / shortest.as_secs_f64();
    shortest.mul_f64(ratio.powf(rng.f64())).clamp(shortest, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_a_hundred_percent_and_quotas_are_everybody() {
        assert_eq!(Kind::ALL.map(Kind::percent).iter().sum::<u32>(), 100);
        assert_eq!(quotas(100), [20, 35, 30, 10, 5]);
        assert_eq!(quotas(2_000), [400, 700, 600, 200, 100]);
        for all in (0..500).chain([99_999, 100_000]) {
            let quotas = quotas(all);
            assert_eq!(quotas.iter().sum::<u32>(), all);
            for (quota, kind) in quotas.iter().zip(Kind::ALL) {
                let exact = f64::from(all * kind.percent()) / 100.0;
                assert!((f64::from(*quota) - exact).abs() <= 1.0, "{all} {kind:?}");
            }
        }
    }

    #[test]
    fn lengths_keep_their_bounds_and_half_of_them_are_below_the_geometric_mean() {
        for (seed, kind) in (1..).zip(Kind::ALL) {
            let (mut rng, bounds) = (fastrand::Rng::with_seed(seed), kind.session());
            let lengths: Vec<Duration> = (0..10_000).map(|_| drawn(bounds, &mut rng)).collect();
            assert!(lengths.iter().all(|length| (bounds.0..=bounds.1).contains(length)));
            let middle = (bounds.0.as_secs_f64() * bounds.1.as_secs_f64()).sqrt();
            let below = lengths.iter().filter(|length| length.as_secs_f64() < middle).count();
            // Five standard deviations of 10,000 throws of a coin.
            assert!(below.abs_diff(5_000) < 250, "{kind:?} {below}");
        }
    }
}
