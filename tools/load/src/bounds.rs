//! Another clock against ours, by what it says of moments that lie between two of ours (pure).

use crate::snapshot::Skew;

const MS: i128 = 1_000_000;

/// What is known of a clock. Each moment can only narrow it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// How far ahead it is at least and at most (ns).
    ahead: Option<(i128, i128)>,
}

impl Bounds {
    /// The clock said `theirs_ns`, rounded down to whole ms, between `from_ns` and `to_ns` of ours.
    pub fn enter(&mut self, theirs_ns: u64, (from_ns, to_ns): (u64, u64)) {
        let theirs = i128::from(theirs_ns);
        let (least, most) = (theirs - i128::from(to_ns), theirs + MS - i128::from(from_ns));
        let (known_least, known_most) = self.ahead.unwrap_or((least, most));
        self.ahead = Some((least.max(known_least), most.min(known_most)));
    }

    /// The clock; nothing if no moment was entered, or if moments contradict one another, as when a clock was set.
    #[must_use]
    pub fn skew(&self) -> Option<Skew> {
        let (least, most) = self.ahead.filter(|(least, most)| least <= most)?;
        let ms = |ns: i128| ns as f64 / 1e6;
        Some(Skew { ahead_ms: ms(least + most) / 2.0, error_ms: ms(most - least) / 2.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn each_moment_narrows_what_is_known_of_a_clock() {
        let mut bounds = Bounds::default();
        assert_eq!(bounds.skew(), None);
        bounds.enter(1_100 * MS, (1_000 * MS, 1_009 * MS));
        assert_eq!(bounds.skew(), Some(Skew { ahead_ms: 96.0, error_ms: 5.0 }));
        bounds.enter(2_097 * MS, (2_000 * MS, 2_900 * MS));
        bounds.enter(3_099 * MS, (3_000 * MS, 3_002 * MS));
        assert_eq!(bounds.skew(), Some(Skew { ahead_ms: 97.5, error_ms: 0.5 }));
    }

    #[test]
    fn of_a_clock_that_was_set_nothing_is_known() {
        let mut bounds = Bounds::default();
        bounds.enter(1_000 * MS, (1_000 * MS, 1_001 * MS));
        bounds.enter(9_000 * MS, (2_000 * MS, 2_001 * MS));
        assert_eq!(bounds.skew(), None);
        bounds.enter(u64::MAX, (0, u64::MAX));
    }
}
