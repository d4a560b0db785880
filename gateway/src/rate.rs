//! The generic cell rate algorithm (ITU-T I.371) in one number: when what was taken so far will have been paid for.
//!
//! Time is a parameter, in nanoseconds of any clock that does not go back. Who holds the number decides what it is for:
//! commands and bytes of a connection, connections of an address, messages of a channel, or what a pod takes of its stream.

const SECOND_NS: u64 = 1_000_000_000;

/// A limit as times: so many units cost so much, and what is unpaid may reach so far into the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Time that `units` pay for.
    cost_ns: u64,
    units: u64,
    tolerance_ns: u64,
}

impl Limit {
    /// So many units a second, and `burst` of them at once; `None` where nothing is limited.
    pub(crate) fn new(per_second: u32, burst: u32) -> Option<Self> {
        (per_second > 0).then(|| Self::of_units(per_second, 1, u64::from(burst)))
    }

    /// `per_second` times so many units a second (at least one), and `burst` units at once.
    pub(crate) fn of_units(per_second: u32, units: u64, burst: u64) -> Self {
        // Rounded up: a second never holds one more than it may.
        let cost_ns = SECOND_NS.div_ceil(u64::from(per_second.max(1)));
        let units = units.max(1);
        Self { cost_ns, units, tolerance_ns: cost(cost_ns, burst.max(1), units) }
    }

    /// So many more units at `now_ns`: when all of it will have been paid for, or the time (ns) until they fit.
    ///
    /// What was paid under another limit counts for no more than this one lets anybody owe.
    pub(crate) fn pay(self, paid_ns: u64, now_ns: u64, units: u64) -> Result<u64, u64> {
        let latest = now_ns.saturating_add(self.tolerance_ns);
        let paid = paid_ns.clamp(now_ns, latest).saturating_add(self.cost(units));
        if paid > latest { Err(paid - latest) } else { Ok(paid) }
    }

    /// When all of it will have been paid for after so many units that have been taken already: a debt, if that is more than
    /// the limit lets anybody owe.
    pub(crate) fn charge(self, paid_ns: u64, now_ns: u64, units: u64) -> u64 {
        paid_ns.max(now_ns).saturating_add(self.cost(units))
    }

    /// The time (ns) until one more unit fits; 0 if it does now.
    pub(crate) fn wait(self, paid_ns: u64, now_ns: u64) -> u64 {
        let paid = paid_ns.max(now_ns).saturating_add(self.cost(1));
        paid.saturating_sub(now_ns.saturating_add(self.tolerance_ns))
    }

    /// Units that fit now.
    pub(crate) fn room(self, paid_ns: u64, now_ns: u64) -> u64 {
        let latest = now_ns.saturating_add(self.tolerance_ns);
        let free = u128::from(latest.saturating_sub(paid_ns.max(now_ns)));
        let units = free * u128::from(self.units) / u128::from(self.cost_ns);
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    fn cost(self, units: u64) -> u64 {
        cost(self.cost_ns, units, self.units)
    }
}

fn cost(cost_ns: u64, units: u64, per: u64) -> u64 {
    let cost = u128::from(cost_ns) * u128::from(units) / u128::from(per);
    u64::try_from(cost).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limit = Limit::new(10, 5).unwrap();
        let (mut paid, mut taken) = (0, 0);
        while let Ok(next) = limit.pay(paid, SECOND_NS, 1) {
            (paid, taken) = (next, taken + 1);
        }
        assert_eq!(taken, 5);
        assert_eq!(limit.pay(paid, SECOND_NS, 1), Err(SECOND_NS / 10));
        assert_eq!(limit.pay(paid, SECOND_NS + SECOND_NS / 10 - 1, 1), Err(1));
        assert!(limit.pay(paid, SECOND_NS + SECOND_NS / 10, 1).is_ok());
        assert_eq!(Limit::new(0, 5), None);
    }

    #[test]
    fn a_faster_limit_forgives_what_a_slower_one_would_have_had_paid() {
        let slow = Limit::new(1, 1_000).unwrap();
        let owed = (0..1_000).fold(0, |paid, _| slow.pay(paid, 0, 1).unwrap());
        let fast = Limit::new(100, 10).unwrap();
        assert_eq!(fast.pay(owed, 0, 1), Err(SECOND_NS / 100));
    }

    #[test]
    fn what_was_taken_beyond_the_limit_is_paid_before_anything_else_fits() {
        let limit = Limit::new(10, 1).unwrap();
        let paid = limit.charge(0, 0, 50);
        assert_eq!(limit.wait(paid, 0), 5 * SECOND_NS);
        assert_eq!(limit.room(paid, 5 * SECOND_NS - 1), 0);
        assert_eq!((limit.wait(paid, 5 * SECOND_NS), limit.room(paid, 5 * SECOND_NS)), (0, 1));
    }

    proptest! {
        /// Whatever the times: what passes within any span is what the span pays for and the burst.
        #[test]
        fn no_span_holds_more_than_its_rate_and_the_burst(
            per_second in 1..2_000_u32,
            burst in 1..50_u32,
            units in 1..2_000_u64,
            steps in prop::collection::vec((0..400_000_000_u64, 1..60_u64), 1..200),
        ) {
            let limit = Limit::of_units(per_second, units, u64::from(burst));
            let (mut paid, mut now) = (0, 1);
            let mut passed: Vec<(u64, u64)> = Vec::new();
            for (step, count) in steps {
                now += step;
                let room = limit.room(paid, now);
                match limit.pay(paid, now, count) {
                    Ok(next) => {
                        paid = next;
                        passed.push((now, count));
                    }
                    Err(wait) => {
                        prop_assert!(wait > 0 && room < count);
                        prop_assert!(count > u64::from(burst) || limit.pay(paid, now + wait, count).is_ok());
                    }
                }
            }
            for (at, (start, _)) in passed.iter().enumerate() {
                let mut sum = 0_u128;
                for (end, count) in &passed[at..] {
                    sum += u128::from(*count);
                    let rate = u128::from(units) * u128::from(per_second);
                    let span = u128::from(end - start) * rate / u128::from(SECOND_NS);
                    // Each payment is rounded down by less than a nanosecond's worth.
                    let rounding = 1 + passed.len() as u128 * rate / u128::from(SECOND_NS);
                    prop_assert!(sum <= span + u128::from(burst) + rounding);
                }
            }
        }
    }
}
