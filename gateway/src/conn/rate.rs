//! Commands a second from one connection: the generic cell rate algorithm in eight bytes.

/// Limits as times: one command costs `cost`, and `burst` of them may come at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimit {
    cost_us: u64,
    tolerance_us: u64,
}

impl RateLimit {
    /// `per_second` and `burst` of at least 1.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let cost_us = (1_000_000 / u64::from(per_second.max(1))).max(1);
        Self { cost_us, tolerance_us: cost_us * u64::from(burst.max(1)) }
    }
}

/// When the commands taken so far will have been paid for (µs of the shard's clock).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    paid_us: u64,
}

impl Rate {
    /// Takes one command at `now_us`; false when it is one too many.
    pub(crate) fn take(&mut self, limit: &RateLimit, now_us: u64) -> bool {
        let paid = self.paid_us.max(now_us) + limit.cost_us;
        if paid > now_us + limit.tolerance_us {
            return false;
        }
        self.paid_us = paid;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limit = RateLimit::new(10, 5);
        let mut rate = Rate::default();
        let taken = (0..20).filter(|_| rate.take(&limit, 1_000_000)).count();
        assert_eq!(taken, 5);
        assert!(!rate.take(&limit, 1_099_999));
        assert!(rate.take(&limit, 1_100_000));
        assert!(!rate.take(&limit, 1_100_001));
    }
}
