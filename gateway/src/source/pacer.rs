//! Pacer: how much may be taken from the stream now (`rateLimits.streamMessages` and `rateLimits.deliveries`). Pure.
//!
//! In: what was taken, what it caused, and the time. Out: how long to wait, then how many messages may come. Deliveries are
//! known only after a message was taken, so they are subtracted afterwards: what is beyond the limit is a debt, and nothing
//! is taken before that is paid.

use wsgateway_config::SourceRate;

use crate::rate::Limit;

/// The part of a second that may come at once: large enough for batches, too small for anybody to notice.
const BURSTS_A_SECOND: u32 = 10;

/// Most messages of one batch: few enough that the deliveries of a batch are no surprise.
pub(super) const MOST: u64 = 256;

/// A limit, and when what was taken will have been paid for (ns).
#[derive(Clone, Copy, Debug)]
struct Account {
    limit: Limit,
    paid_ns: u64,
}

impl Account {
    fn new(per_second: u32) -> Option<Self> {
        let limit = Limit::new(per_second, per_second.div_ceil(BURSTS_A_SECOND))?;
        Some(Self { limit, paid_ns: 0 })
    }

    fn charge(&mut self, units: u64, now_ns: u64) {
        self.paid_ns = self.limit.charge(self.paid_ns, now_ns, units);
    }

    fn wait(&self, now_ns: u64) -> u64 {
        self.limit.wait(self.paid_ns, now_ns)
    }

    fn room(&self, now_ns: u64) -> u64 {
        self.limit.room(self.paid_ns, now_ns)
    }
}

/// What a pod takes of its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    messages: Option<Account>,
    deliveries: Option<Account>,
    /// Deliveries of the process that have been subtracted, or were there before.
    counted: u64,
    /// Deliveries that a message has caused lately.
    per_message: u64,
}

impl Pacer {
    /// Begins with nothing owed; the process has made so many deliveries.
    pub(super) fn new(rate: SourceRate, deliveries: u64) -> Self {
        Self {
            messages: Account::new(rate.messages_per_second),
            deliveries: Account::new(rate.deliveries_per_second),
            counted: deliveries,
            per_message: 1,
        }
    }

    /// Whether deliveries are limited.
    pub(super) fn counts_deliveries(&self) -> bool {
        self.deliveries.is_some()
    }

    /// Time (ns) until a message may come; 0: now.
    pub(super) fn wait(&self, now_ns: u64) -> u64 {
        let accounts = self.messages.iter().chain(&self.deliveries);
        accounts.map(|account| account.wait(now_ns)).max().unwrap_or(0)
    }

    /// Messages that may come at once: one at least, since how many deliveries it causes is not known before.
    pub(super) fn batch(&self, now_ns: u64) -> u64 {
        let messages = self.messages.map_or(MOST, |account| account.room(now_ns));
        let deliveries =
            self.deliveries.map_or(MOST, |account| account.room(now_ns) / self.per_message.max(1));
        messages.min(deliveries).clamp(1, MOST)
    }

    /// A message has come.
    pub(super) fn took(&mut self, now_ns: u64) {
        if let Some(account) = &mut self.messages {
            account.charge(1, now_ns);
        }
    }

    /// So many messages have been delivered by now; the process has made so many deliveries in all.
    pub(super) fn delivered(&mut self, messages: u64, deliveries: u64, now_ns: u64) {
        let made = deliveries.saturating_sub(self.counted);
        self.counted = self.counted.max(deliveries);
        if let Some(account) = &mut self.deliveries {
            account.charge(made, now_ns);
            if messages > 0 {
                self.per_message = made.div_ceil(messages).max(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn rate(messages_per_second: u32, deliveries_per_second: u32) -> SourceRate {
        SourceRate { messages_per_second, deliveries_per_second }
    }

    /// Takes whatever the pacer lets through for so long, each message to so many clients; returns messages and deliveries.
    fn run(rate: SourceRate, clients: u64, seconds: u64) -> (u64, u64) {
        let (mut pacer, mut now_ns, mut taken) = (Pacer::new(rate, 0), 1, 0);
        while now_ns < seconds * SECOND_NS {
            let wait = pacer.wait(now_ns);
            if wait > 0 {
                now_ns += wait;
                continue;
            }
            let batch = pacer.batch(now_ns);
            for _ in 0..batch {
                pacer.took(now_ns);
            }
            taken += batch;
            pacer.delivered(batch, taken * clients, now_ns);
            now_ns += 1_000;
        }
        (taken, taken * clients)
    }

    #[test]
    fn messages_come_at_their_rate_and_deliveries_at_theirs() {
        let (taken, _) = run(rate(1_000, 0), 7, 10);
        assert!((10_000..=10_100).contains(&taken), "{taken} messages");
        let (_, made) = run(rate(0, 1_000), 10, 10);
        assert!((9_900..=10_200).contains(&made), "{made} deliveries");
        let (taken, made) = run(rate(100, 100_000), 10, 10);
        assert!((1_000..=1_010).contains(&taken) && made == 10 * taken, "{taken}");
    }

    #[test]
    fn one_message_to_very_many_clients_is_paid_for_before_the_next_one() {
        let mut pacer = Pacer::new(rate(0, 1_000), 500);
        assert_eq!((pacer.wait(SECOND_NS), pacer.batch(SECOND_NS)), (0, 100));
        pacer.delivered(1, 500 + 10_000, SECOND_NS);
        let wait = pacer.wait(SECOND_NS);
        assert!((9 * SECOND_NS..10 * SECOND_NS).contains(&wait), "{wait} ns");
        assert_eq!((pacer.wait(SECOND_NS + wait), pacer.batch(SECOND_NS + wait)), (0, 1));
    }

    proptest! {
        #[test]
        fn no_span_brings_more_than_the_limits_pay_for_and_one_batch(
            messages in prop_oneof![Just(0), 1..5_000_u32],
            deliveries in 1..50_000_u32,
            clients in 0..300_u64,
        ) {
            const SECONDS: u64 = 3;
            prop_assume!(messages > 0 || clients > 0);
            let (taken, made) = run(rate(messages, deliveries), clients, SECONDS);
            if messages > 0 {
                let most = u64::from(messages) * SECONDS + u64::from(messages.div_ceil(10)) + 1;
                prop_assert!(taken <= most, "{taken} messages");
            }
            // The first batch is of unknown cost.
            let most = u64::from(deliveries) * SECONDS + u64::from(deliveries.div_ceil(10)) + MOST * clients.max(1);
            prop_assert!(made <= most, "{made} deliveries");
        }
    }
}
