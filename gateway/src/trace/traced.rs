//! Traced messages of one shard between its inbox and their first write.

use std::sync::Arc;
use std::time::SystemTime;

use super::spans::{Trace, Write};
use crate::encode::Delivery;

/// Most traced messages of a shard that are not written yet; others have no span of this shard.
const MOST: usize = 1_024;

/// Traced messages that are due to somebody.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    shard: usize,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    trace: Arc<Trace>,
    channel: Arc<str>,
    offset: u64,
    receivers: usize,
    marked_at: SystemTime,
}

impl Traced {
    /// None yet, of a shard.
    pub(crate) fn of(shard: usize) -> Self {
        Self { shard, waiting: Vec::new() }
    }

    /// Whether none waits, as nearly always.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A message is due to so many connections.
    #[cold]
    pub(crate) fn marked(&mut self, trace: &Arc<Trace>, delivery: &Delivery, receivers: usize) {
        if receivers == 0 || self.waiting.len() >= MOST {
            return;
        }
        self.waiting.push(Waiting {
            trace: Arc::clone(trace),
            channel: Arc::clone(&delivery.channel),
            offset: delivery.offset,
            receivers,
            marked_at: SystemTime::now(),
        });
    }

    /// Messages of these offsets have been written to a connection.
    #[cold]
    pub(crate) fn written(&mut self, offsets: impl Iterator<Item = u64>) {
        for offset in offsets {
            if let Some(at) = self.waiting.iter().position(|waiting| waiting.offset == offset) {
                self.waiting.swap_remove(at).end(self.shard, "written");
            }
        }
    }

    /// Everything due has been dealt with: no socket has taken what is left, it waits in outboxes and answers.
    #[cold]
    pub(crate) fn settle(&mut self) {
        self.waiting.drain(..).for_each(|waiting| waiting.end(self.shard, "queued"));
    }
}

impl Waiting {
    fn end(self, shard: usize, outcome: &'static str) {
        self.trace.written(&Write {
            shard,
            channel: &self.channel,
            offset: self.offset,
            receivers: self.receivers,
            marked_at: self.marked_at,
            ended_at: SystemTime::now(),
            outcome,
        });
    }
}
