//! What one connection may make the gateway do: a cell rate ([`crate::rate`]) in eight bytes, once for commands and once
//! for bytes.
//!
//! Commands, pings and unasked pongs are counted; and so is every byte of input, since a frame that carries nothing is
//! read all the same, and a command costs what it names.

use crate::rate::Limit;

/// Bytes of input that may come with each command of the limit: more than a hundred channels of usual length.
const BYTES_PER_COMMAND: u64 = 1 << 10;

/// Limits of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimit {
    commands: Limit,
    bytes: Limit,
}

impl RateLimit {
    /// `per_second` and `burst` commands of at least 1, the largest of `command_bytes`; two of those fit at once.
    pub(crate) fn new(per_second: u32, burst: u32, command_bytes: u32) -> Self {
        let burst = u64::from(burst.max(1));
        let burst_bytes = (2 * u64::from(command_bytes)).max(burst * BYTES_PER_COMMAND);
        Self {
            commands: Limit::of_units(per_second, 1, burst),
            bytes: Limit::of_units(per_second, BYTES_PER_COMMAND, burst_bytes),
        }
    }
}

/// When what was taken so far will have been paid for (ns of the shard's clock).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    commands_ns: u64,
    bytes_ns: u64,
}

impl Rate {
    /// Takes one command at `now_us`; false when it is one too many.
    pub(crate) fn take(&mut self, limit: &RateLimit, now_us: u64) -> bool {
        take(&mut self.commands_ns, limit.commands, now_us, 1)
    }

    /// Takes so many bytes of input; false when they are too many.
    pub(crate) fn take_bytes(&mut self, limit: &RateLimit, now_us: u64, bytes: usize) -> bool {
        take(&mut self.bytes_ns, limit.bytes, now_us, bytes as u64)
    }
}

fn take(paid_ns: &mut u64, limit: Limit, now_us: u64, units: u64) -> bool {
    let paid = limit.pay(*paid_ns, now_us.saturating_mul(1_000), units);
    *paid_ns = paid.unwrap_or(*paid_ns);
    paid.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let limit = RateLimit::new(10, 5, 1 << 10);
        let mut rate = Rate::default();
        let taken = (0..20).filter(|_| rate.take(&limit, 1_000_000)).count();
        assert_eq!(taken, 5);
        assert!(!rate.take(&limit, 1_099_999));
        assert!(rate.take(&limit, 1_100_000));
        assert!(!rate.take(&limit, 1_100_001));
    }

    #[test]
    fn bytes_have_a_burst_and_a_rate_and_the_largest_command_passes_with_every_limit() {
        let limit = RateLimit::new(10, 100, 64 << 10);
        let mut rate = Rate::default();
        let taken = (0..200).filter(|_| rate.take_bytes(&limit, 0, 1 << 10)).count();
        assert_eq!(taken, 128, "two commands of 64 KiB");
        assert!(!rate.take_bytes(&limit, 99_999, 1 << 10));
        assert!(
            rate.take_bytes(&limit, 100_000, 1 << 10),
            "a KiB for each of ten commands a second"
        );
        for (per_second, burst) in [(1, 1), (10, 5), (1_000, 10_000)] {
            let limit = RateLimit::new(per_second, burst, 64 << 10);
            assert!(Rate::default().take_bytes(&limit, 0, 64 << 10), "{burst}");
        }
    }
}
