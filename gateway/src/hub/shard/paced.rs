//! Paced: channels whose rule says how many messages of each a client gets in a second at most (`maxRate`).
//!
//! In: messages of such channels, and the time of the shard. Out: each message at once, or the newest one when the interval
//! of its channel ends, with the offsets of those that it replaces. There is one interval for all clients of a channel in
//! this shard, not one for each: memory and work follow the channels that speak, and all clients share the bytes. No sockets.
//! What must hold: the newest message always leaves; a client that subscribed meanwhile gets nothing that is before its
//! acknowledgement; what is held is bounded.

mod joins;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::encode::{Delivery, Skipped};
use crate::rate::Limit;
use joins::Joins;

/// Channels with an interval under way (about 200 bytes each). Beyond it a further channel has no limit until one of these has
/// been silent for an interval: its messages leave at once, as without a rule.
const MOST_CHANNELS: usize = 65_536;

/// Bytes of messages that wait; beyond it they leave before their time. Shards share the memory of a message.
const MOST_BYTES: usize = 16 << 20;

/// Intervals end together on a grid, so that many channels cost few turns (µs).
const GRID_US: u64 = 5_000;

/// The longest interval: one message a second (µs).
const LONGEST_US: u64 = 1_000_000;

/// The channels of one shard that have an interval under way.
#[derive(Debug, Default)]
pub(super) struct Paced {
    channels: HashMap<Arc<str>, Channel>,
    /// When to look at each of them (µs of the shard's clock): one entry for each.
    ends: BinaryHeap<Reverse<(u64, Arc<str>)>>,
    /// Channels of which a message waits, and bytes of these.
    waiting: usize,
    bytes: usize,
    joins: Joins,
}

#[derive(Debug, Default)]
struct Channel {
    /// When its last message will have been paid for (ns).
    paid_ns: u64,
    /// The newest message, which waits.
    held: Option<Arc<Delivery>>,
    /// What it replaces.
    skipped: Option<Skipped>,
    count: u64,
}

/// A message that is to leave now.
#[derive(Debug)]
pub(super) struct Emission {
    pub delivery: Arc<Delivery>,
    /// Messages before it that nobody gets, and how many these are.
    pub skipped: Option<Skipped>,
    pub count: u64,
}

impl Emission {
    fn plain(delivery: Arc<Delivery>) -> Self {
        Self { delivery, skipped: None, count: 0 }
    }

    /// What a client gets of it whose subscription began after the message at `joined`: nothing, or the message, and what is
    /// to be reported before it.
    pub(super) fn share(&self, joined: u64) -> Option<Option<Skipped>> {
        if joined >= self.delivery.offset {
            return None;
        }
        let skipped = self.skipped.filter(|range| joined < range.to);
        Some(skipped.map(|range| Skipped { from: range.from.max(joined + 1), ..range }))
    }
}

impl Channel {
    /// Takes what waits, as replaced by a newer message.
    fn replace(&mut self) -> (Option<Skipped>, u64) {
        let (mut skipped, mut count) = (self.skipped.take(), std::mem::take(&mut self.count));
        if let Some(older) = self.held.take() {
            skipped = Some(Skipped::with(skipped, older.offset));
            count += 1;
        }
        (skipped, count)
    }
}

impl Paced {
    /// Whether no channel has an interval under way.
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Channels of which a message waits.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// When [`Paced::due`] is to be called (µs of the shard's clock).
    pub(super) fn next_us(&self) -> Option<u64> {
        self.ends.peek().filter(|_| self.waiting > 0).map(|Reverse((at_us, _))| *at_us)
    }

    /// The next message of the stream, whose channel may have a rule: it leaves now, or waits.
    pub(super) fn arrive(&mut self, delivery: Arc<Delivery>, now_us: u64) -> Option<Emission> {
        let limit = Limit::new(u32::from(delivery.treatment.max_rate), 1);
        let Some(channel) = self.channels.get_mut(&delivery.channel) else {
            if let Some(limit) = limit.filter(|_| self.channels.len() < MOST_CHANNELS) {
                self.begin(&delivery.channel, limit, now_us);
            }
            return Some(Emission::plain(delivery));
        };
        if let Some(held) = &channel.held {
            self.waiting -= 1;
            self.bytes -= held.frame.len();
        }
        let (skipped, count) = channel.replace();
        // Without a rule by now: what waited is replaced, and nothing waits any more.
        let pays = limit.map(|limit| limit.pay(channel.paid_ns, now_us.saturating_mul(1_000), 1));
        match pays {
            Some(Err(_)) if self.bytes + delivery.frame.len() <= MOST_BYTES => {
                self.waiting += 1;
                self.bytes += delivery.frame.len();
                (channel.held, channel.skipped, channel.count) = (Some(delivery), skipped, count);
                return None;
            }
            Some(Ok(paid_ns)) => channel.paid_ns = paid_ns,
            Some(Err(_)) | None => {}
        }
        Some(Emission { delivery, skipped, count })
    }

    /// The next message whose time has come.
    pub(super) fn due(&mut self, now_us: u64) -> Option<Emission> {
        // Before an end is taken out: what waits for it may be older than what waits for the others.
        self.joins.forget_before(self.horizon());
        let now_ns = now_us.saturating_mul(1_000);
        while self.ends.peek().is_some_and(|Reverse((at_us, _))| *at_us <= now_us) {
            let Some(Reverse((_, name))) = self.ends.pop() else { break };
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            if channel.paid_ns > now_ns {
                // Something has left since this end was entered.
                self.ends.push(Reverse((on_grid(channel.paid_ns), name)));
                continue;
            }
            let Some(delivery) = channel.held.take() else {
                // Silent for an interval: its next message leaves at once, as that of an unknown channel.
                self.channels.remove(&name);
                continue;
            };
            self.waiting -= 1;
            self.bytes -= delivery.frame.len();
            let (skipped, count) = channel.replace();
            if let Some(limit) = Limit::new(u32::from(delivery.treatment.max_rate), 1) {
                channel.paid_ns = limit.charge(channel.paid_ns, now_ns, 1);
            }
            self.ends.push(Reverse((on_grid(channel.paid_ns), name)));
            return Some(Emission { delivery, skipped, count });
        }
        None
    }

    /// Nobody is subscribed to a channel: what waits is for nobody.
    pub(super) fn forget(&mut self, channel: &str) {
        if let Some(channel) = self.channels.get_mut(channel) {
            if let Some(held) = &channel.held {
                self.waiting -= 1;
                self.bytes -= held.frame.len();
            }
            channel.replace();
        }
    }

    /// What waits is of another stream, whose offsets mean nothing any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A connection has subscribed to a pattern: it gets what follows `position`.
    pub(super) fn joined(&mut self, conn: u32, pattern: u32, position: u64, now_us: u64) {
        // What comes later is after its position anyway.
        if self.waiting > 0 {
            self.joins.forget_before(self.horizon());
            self.joins.add(conn, pattern, position, now_us);
        }
    }

    /// After which message the subscription of a connection to a pattern began; 0: before all that waits.
    pub(super) fn joined_at(&self, conn: u32, pattern: u32) -> u64 {
        self.joins.position(conn, pattern)
    }

    /// Whether all subscriptions are older than what waits or has just waited.
    pub(super) fn has_no_joins(&self) -> bool {
        self.joins.is_empty()
    }

    /// What waits has come after this time (µs), since an interval is not longer.
    fn horizon(&self) -> u64 {
        let next = self.ends.peek().map_or(u64::MAX, |Reverse((at_us, _))| *at_us);
        next.saturating_sub(LONGEST_US + GRID_US)
    }

    fn begin(&mut self, name: &Arc<str>, limit: Limit, now_us: u64) {
        let paid_ns = limit.charge(0, now_us.saturating_mul(1_000), 1);
        self.ends.push(Reverse((on_grid(paid_ns), Arc::clone(name))));
        self.channels.insert(Arc::clone(name), Channel { paid_ns, ..Channel::default() });
    }
}

/// The first time on the grid that is not before this one (ns).
fn on_grid(at_ns: u64) -> u64 {
    at_ns.div_ceil(1_000).div_ceil(GRID_US).saturating_mul(GRID_US)
}

#[cfg(test)]
mod tests;
