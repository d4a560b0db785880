//! How a pod's memory limit is shared: what is fixed first, then what waits for slow clients and the history.

/// What the kernel takes for a client that stopped reading, next to our outbox: measured 154 KiB.
pub(super) const STALLED_KERNEL_BYTES: u64 = 154 << 10;
/// One part in so many of a limit is kept for bursts and the growth of tables.
const RESERVE: u64 = 8;
/// A small pod still bears a few stalled clients.
pub(super) const LEAST_STALLED: u64 = 64;
/// As `history.bytes` demands at least.
const LEAST_HISTORY: u64 = 1 << 20;

/// What takes memory in a pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// Bytes for the program and its connections.
    pub(super) fixed: u64,
    /// Bytes of one outbox.
    pub(super) outbox: u64,
    /// What is wanted of the rest.
    pub(super) most: Budgets,
    /// Whether there may be less history than wanted.
    pub(super) history_may_shrink: bool,
}

/// What may be less than wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budgets {
    /// Clients whose whole outbox may wait.
    pub(super) stalled: u64,
    /// Bytes of messages.
    pub(super) history: u64,
}

impl Parts {
    /// Bytes that the gateway uses at worst.
    pub(super) fn used(&self, budgets: Budgets) -> u64 {
        // Messages, and half as much for last values.
        let history = budgets.history + budgets.history / 2;
        self.fixed + budgets.stalled * self.outbox + history
    }

    /// The same with the kernel's buffers.
    fn charged(&self, budgets: Budgets) -> u64 {
        self.used(budgets) + budgets.stalled * STALLED_KERNEL_BYTES
    }

    fn least(&self) -> Budgets {
        let history = if self.history_may_shrink {
            LEAST_HISTORY.min(self.most.history)
        } else {
            self.most.history
        };
        Budgets { stalled: LEAST_STALLED.min(self.most.stalled), history }
    }

    /// The largest budgets within a limit, each with the same part of what it wants beyond the least; or the least
    /// limit, in whole MiB.
    pub(super) fn within(&self, limit: u64) -> Result<Budgets, u64> {
        let least = self.least();
        let floor = self.charged(least);
        let Some(spare) = (limit - limit / RESERVE).checked_sub(floor) else {
            let needed = (floor * RESERVE).div_ceil(RESERVE - 1);
            return Err(needed.next_multiple_of(1 << 20));
        };
        let wanted = self.charged(self.most) - floor;
        if spare >= wanted {
            return Ok(self.most);
        }
        let part = |from: u64, to: u64| {
            let part = u128::from(to - from) * u128::from(spare) / u128::from(wanted);
            from + u64::try_from(part).unwrap_or_default()
        };
        Ok(Budgets {
            stalled: part(least.stalled, self.most.stalled),
            history: part(least.history, self.most.history),
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parts(fixed: u64, stalled: u64, history_may_shrink: bool) -> Parts {
        let most = Budgets { stalled, history: 64 << 20 };
        Parts { fixed, outbox: 256 << 10, most, history_may_shrink }
    }

    #[rstest]
    fn whatever_fits_leaves_a_part_of_the_limit_free(
        #[values(64 << 20, 278 << 20, 4 << 30)] fixed: u64,
        #[values(64, 1_000, 4_096)] stalled: u64,
        #[values(true, false)] history_may_shrink: bool,
    ) {
        let parts = parts(fixed, stalled, history_may_shrink);
        let least = parts.within(0).unwrap_err();
        assert_eq!(least % (1 << 20), 0);
        assert!(parts.within(least - (1 << 20)).is_err());
        let mut before = parts.least();
        for limit in (0..200).map(|step| least + step * (20 << 20)) {
            let budgets = parts.within(limit).unwrap();
            assert!(parts.charged(budgets) <= limit - limit / RESERVE, "{limit}: {budgets:?}");
            assert!(before.stalled <= budgets.stalled && before.history <= budgets.history);
            assert!(budgets.stalled <= parts.most.stalled && budgets.history <= parts.most.history);
            before = budgets;
        }
        assert_eq!(before, parts.most, "in the end there is enough");
    }

    #[test]
    fn a_history_that_is_given_is_kept_whole() {
        let parts = parts(64 << 20, 1_000, false);
        let least = parts.within(0).unwrap_err();
        assert_eq!(parts.within(least).unwrap().history, 64 << 20);
    }
}
