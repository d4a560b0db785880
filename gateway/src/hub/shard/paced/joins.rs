//! Subscriptions that have begun while messages waited, each with its place in the stream: they get nothing from before.

use std::collections::{HashMap, VecDeque};

#[derive(Debug, Default)]
pub(super) struct Joins {
    /// By connection and pattern: when it began (µs of the shard's clock), and after which message.
    begun: HashMap<(u32, u32), (u64, u64)>,
    /// The same in order; one that began again stands here for each time.
    order: VecDeque<(u64, (u32, u32))>,
}

impl Joins {
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    pub(super) fn add(&mut self, conn: u32, pattern: u32, position: u64, now_us: u64) {
        let key = (conn, pattern);
        self.begun.insert(key, (now_us, position));
        self.order.push_back((now_us, key));
    }

    /// After which message it began; 0 if that is long ago.
    pub(super) fn position(&self, conn: u32, pattern: u32) -> u64 {
        self.begun.get(&(conn, pattern)).map_or(0, |(_, position)| *position)
    }

    /// Forgets those that began before a time.
    pub(super) fn forget_before(&mut self, at_us: u64) {
        while let Some((begun_us, key)) = self.order.pop_front_if(|(begun_us, _)| *begun_us < at_us)
        {
            if self.begun.get(&key).is_some_and(|(last_us, _)| *last_us == begun_us) {
                self.begun.remove(&key);
            }
        }
        if self.begun.is_empty() {
            (self.begun, self.order) = Default::default();
        }
    }
}
