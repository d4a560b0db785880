//! Which offsets were delivered, channel by channel, to detect duplicates and holes.

use std::collections::{BTreeMap, HashMap};

/// How many channels are remembered at most, wherever something is remembered by channel.
pub(crate) const MAX_CHANNELS: usize = 4096;

/// A bounded map: beyond its limit the value that was set longest ago is dropped.
#[derive(Debug)]
pub(crate) struct Recent<V> {
    limit: usize,
    next: u64,
    slots: HashMap<String, (u64, V)>,
    order: BTreeMap<u64, String>,
}

impl<V> Recent<V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, next: 0, slots: HashMap::new(), order: BTreeMap::new() }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        self.slots.get(key).map(|(_, value)| value)
    }

    /// Stores a value, and returns the one that had to go for it.
    pub(crate) fn set(&mut self, key: &str, value: V) -> Option<V> {
        self.next += 1;
        let key = match self.slots.get(key) {
            Some((stamp, _)) => self.order.remove(stamp).unwrap_or_else(|| key.to_owned()),
            None => key.to_owned(),
        };
        self.order.insert(self.next, key.clone());
        self.slots.insert(key, (self.next, value));
        if self.order.len() <= self.limit {
            return None;
        }
        let (_, oldest) = self.order.pop_first()?;
        self.slots.remove(&oldest).map(|(_, value)| value)
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.order.clear();
    }

    /// Takes everything out, oldest first.
    pub(crate) fn drain(&mut self) -> Vec<(String, V)> {
        let order = std::mem::take(&mut self.order);
        let mut slots = std::mem::take(&mut self.slots);
        let entry = |key: String| slots.remove(&key).map(|(_, value)| (key, value));
        order.into_values().filter_map(entry).collect()
    }
}

/// The last offset of a channel, and up to where the gateway has reported everything missing.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    offset: i64,
    reported: i64,
}

impl Seen {
    fn top(self) -> i64 {
        self.offset.max(self.reported)
    }
}

/// What it forgets can at worst go unnoticed; it is never reported wrongly and never dropped.
#[derive(Debug)]
pub(crate) struct Ledger {
    channels: Recent<Seen>,
    /// Channels that were forgotten may have been seen up to here.
    forgotten: i64,
}

impl Ledger {
    pub(crate) fn new(limit: usize) -> Self {
        Self { channels: Recent::new(limit), forgotten: 0 }
    }

    /// For when offsets from before mean nothing any more.
    pub(crate) fn clear(&mut self) {
        self.channels.clear();
        self.forgotten = 0;
    }

    pub(crate) fn last(&self, channel: &str) -> i64 {
        self.channels.get(channel).map_or(0, |seen| seen.offset)
    }

    /// A message is about to be delivered, or everything up to `reported` is reported missing.
    pub(crate) fn record(&mut self, channel: &str, offset: i64, reported: i64) {
        let known = self.channels.get(channel).copied().unwrap_or_default();
        let seen =
            Seen { offset: known.offset.max(offset), reported: known.reported.max(reported) };
        if let Some(dropped) = self.channels.set(channel, seen) {
            self.forgotten = self.forgotten.max(dropped.top());
        }
    }

    /// Where the hole before a message begins, when `prev` shows one. Everything after `promised` was to be delivered.
    pub(crate) fn hole(&self, channel: &str, prev: i64, promised: i64) -> Option<i64> {
        let known = self.channels.get(channel).map_or(self.forgotten, |seen| seen.top());
        let top = known.max(promised);
        (prev > top).then(|| top + 1)
    }
}
