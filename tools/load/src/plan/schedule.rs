//! When clients connect and messages are due (pure).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When clients connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Ramp {
    /// One after the other over a time.
    Even {
        /// The time.
        over: Duration,
    },
    /// In groups; each connects within the first tenth of its step.
    Steps {
        /// Groups.
        steps: u32,
        /// From one to the next.
        each: Duration,
    },
}

impl Ramp {
    /// When client `number` of `all` begins to connect, after the start.
    #[must_use]
    pub fn due(&self, number: u32, all: u32) -> Duration {
        let (number, all) = (f64::from(number), f64::from(all.max(1)));
        match *self {
            Self::Even { over } => over.mul_f64((number / all).min(1.0)),
            Self::Steps { steps, each } => {
                let steps = f64::from(steps.max(1));
                let at = (number * steps / all).min(steps);
                each.mul_f64(at.floor() + at.fract() / 10.0)
            }
        }
    }

    /// When the last one is due, as good as.
    #[must_use]
    pub fn length(&self) -> Duration {
        match *self {
            Self::Even { over } => over,
            Self::Steps { steps, each } => each.saturating_mul(steps.saturating_sub(1)),
        }
    }
}

/// The schedule of the own publisher: message `k` is due at `start + k / rate`, on channel `k mod channels`.
///
/// Workers know it, too: what is due only after a client's subscription was acknowledged must reach the client.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Publishing {
    /// Tells the messages of this run from those of another one.
    pub run: u32,
    /// Unix time (ns).
    pub start_ns: u64,
    /// Messages a second.
    pub rate: f64,
    /// Channels.
    pub channels: u32,
}

impl Publishing {
    /// When message `k` is due: Unix time (ns).
    #[must_use]
    pub fn due_ns(&self, k: u64) -> u64 {
        self.start_ns.saturating_add((k as f64 / self.rate * 1e9) as u64)
    }

    /// The channel of message `k`, and its number there, from 1 on.
    #[must_use]
    pub fn place(&self, k: u64) -> (u32, u64) {
        let channels = u64::from(self.channels.max(1));
        ((k % channels) as u32, k / channels + 1)
    }

    /// Messages that are due by then.
    #[must_use]
    pub fn due_by(&self, now_ns: u64) -> u64 {
        match now_ns.checked_sub(self.start_ns) {
            // One more than the division says: rounding must not make a message late.
            Some(since) => (since as f64 / 1e9 * self.rate) as u64 + 2,
            None => 0,
        }
    }

    /// Messages of a channel among the first `count`.
    #[must_use]
    pub fn on(&self, channel: u32, count: u64) -> u64 {
        let channels = u64::from(self.channels.max(1));
        count.saturating_add(channels - 1).saturating_sub(u64::from(channel)) / channels
    }

    /// How many of the messages `from` to `to` are on this channel with numbers from `first` to `last`; all ends included.
    #[must_use]
    pub fn between(&self, (from, to): (u64, u64), channel: u32, (first, last): (u64, u64)) -> u64 {
        let first = first.max(self.on(channel, from) + 1);
        let last = last.min(self.on(channel, to.saturating_add(1)));
        (last + 1).saturating_sub(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_ramp_ends_with_its_time() {
        let ramp = Ramp::Even { over: Duration::from_secs(10) };
        let due = [0, 500, 999, 5_000].map(|number| ramp.due(number, 1_000).as_millis());
        assert_eq!(due, [0, 5_000, 9_990, 10_000]);
        assert_eq!(Ramp::Even { over: Duration::ZERO }.due(7, 0), Duration::ZERO);
    }

    #[test]
    fn steps_connect_their_clients_at_their_beginning() {
        let ramp = Ramp::Steps { steps: 4, each: Duration::from_secs(10) };
        let due = [0, 24, 25, 99].map(|number| ramp.due(number, 100).as_millis());
        assert_eq!(due, [0, 960, 10_000, 30_960]);
        assert_eq!(ramp.length(), Duration::from_secs(30));
    }

    #[test]
    fn no_message_is_published_before_workers_count_it_as_due() {
        let schedule = Publishing { run: 1, start_ns: 1_000, rate: 333.3, channels: 3 };
        for k in 0..10_000 {
            let (channel, number) = schedule.place(k);
            let due = schedule.due_ns(k);
            assert!(schedule.due_by(due) > k, "{k}");
            assert!(schedule.on(channel, schedule.due_by(due)) >= number, "{k}");
            assert_eq!(schedule.on(channel, k + 1), number);
        }
        assert_eq!(schedule.due_by(999), 0);
        assert_eq!([0, 1, 2].map(|channel| schedule.on(channel, 4)), [2, 1, 1]);
    }

    #[test]
    fn messages_of_a_range_are_found_on_their_channels() {
        let schedule = Publishing { run: 1, start_ns: 0, rate: 1.0, channels: 3 };
        for (from, to, channel, first, last) in
            [(0, 9, 0, 1, 4), (4, 4, 1, 1, 9), (4, 4, 2, 1, 9), (5, 20, 1, 3, 5), (7, 8, 0, 9, 4)]
        {
            let by_hand = (from..=to).map(|k| schedule.place(k));
            let by_hand = by_hand.filter(|(on, n)| *on == channel && (first..=last).contains(n));
            let found = schedule.between((from, to), channel, (first, last));
            assert_eq!(found, by_hand.count() as u64, "{from} {to} {channel}");
        }
    }
}
