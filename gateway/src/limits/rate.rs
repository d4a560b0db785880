//! The generic cell rate algorithm (ITU-T I.371) in one number: when what was taken so far will have been paid for.

use wsgateway_config::AcceptRate;

const SECOND_NS: u64 = 1_000_000_000;

/// A limit as times: one connection costs so much, and what is unpaid may reach so far into the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    cost_ns: u64,
    tolerance_ns: u64,
}

impl Rate {
    /// None where nothing is limited.
    pub(super) fn new(rate: AcceptRate) -> Option<Self> {
        let cost_ns = SECOND_NS / u64::from(Some(rate.per_second).filter(|rate| *rate > 0)?);
        Some(Self { cost_ns, tolerance_ns: cost_ns * u64::from(rate.burst.max(1)) })
    }

    /// One more at `now_ns`: when all of it will have been paid for, or the time (ns) until one more fits.
    ///
    /// What was paid under another limit counts for no more than this one lets anybody owe.
    pub(super) fn pay(self, paid_ns: u64, now_ns: u64) -> Result<u64, u64> {
        let latest = now_ns.saturating_add(self.tolerance_ns);
        let paid = paid_ns.clamp(now_ns, latest).saturating_add(self.cost_ns);
        if paid > latest { Err(paid - latest) } else { Ok(paid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let rate = Rate::new(AcceptRate { per_second: 10, burst: 5 }).unwrap();
        let (mut paid, mut taken) = (0, 0);
        while let Ok(next) = rate.pay(paid, SECOND_NS) {
            (paid, taken) = (next, taken + 1);
        }
        assert_eq!(taken, 5);
        assert_eq!(rate.pay(paid, SECOND_NS), Err(SECOND_NS / 10));
        assert_eq!(rate.pay(paid, SECOND_NS + SECOND_NS / 10 - 1), Err(1));
        assert!(rate.pay(paid, SECOND_NS + SECOND_NS / 10).is_ok());
        assert_eq!(Rate::new(AcceptRate { per_second: 0, burst: 5 }), None);
    }

    #[test]
    fn a_faster_limit_forgives_what_a_slower_one_would_have_had_paid() {
        let slow = Rate::new(AcceptRate { per_second: 1, burst: 1_000 }).unwrap();
        let owed = (0..1_000).fold(0, |paid, _| slow.pay(paid, 0).unwrap());
        let fast = Rate::new(AcceptRate { per_second: 100, burst: 10 }).unwrap();
        assert_eq!(fast.pay(owed, 0), Err(SECOND_NS / 100));
    }
}
